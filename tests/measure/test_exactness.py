"""`verify`: it accepts the networks of every canonical tree, and rejects each deliberate mistake."""

import numpy as np
import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.measure import exactness
from hgm.networks.compile import compile as compile_tree

TREE = CASES["binary_tied"].tree


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_networks_of_every_tree_pass(name):
    result = hgm.verify(CASES[name].tree, batch=3)
    assert result.ok, f"\n{result}"
    assert {(d.task, d.dtype) for d in result.differences} == {
        (task, dtype) for task in ("classify", "denoise", "posterior") for dtype in (torch.float64, torch.float32)
    }


def test_any_variable_can_be_classified():
    assert hgm.verify(TREE, ["classify"], query="x3").ok


def test_the_seed_decides_the_evidence():
    one, same, other = (hgm.verify(TREE, ["posterior"], seed=seed) for seed in (1, 1, 2))
    assert one.differences == same.differences
    assert one.differences != other.differences


def _sabotaged(tree, change):
    """`compile`, but from a tree whose potentials were changed."""
    other = tree.with_potentials([change(i, p) for i, p in enumerate(tree.potentials)])
    return lambda tree, *args, **kwargs: compile_tree(other, *args, **kwargs)


@pytest.mark.parametrize(
    "change",
    [
        lambda i, p: hgm.Edge(p.values.T) if p.shape == (2, 2) else p,
        lambda i, p: hgm.Table(p.values[::-1]) if p.axes == 1 else p,
        lambda i, p: p.with_log(np.zeros(p.shape)),
        lambda i, p: p.scaled(1e-9),
        lambda i, p: p.with_log(p.log_potential + (1e-4 * np.arange(p.size).reshape(p.shape) if i == 3 else 0.0)),
    ],
    ids=["a transposed table", "a reversed prior", "a constant model", "a scaled potential", "one potential a bit off"],
)
def test_a_mistake_is_found(monkeypatch, change):
    tree = TREE.with_potentials([hgm.Table([0.3, 0.7]) if p.axes == 1 else p for p in TREE.potentials])
    monkeypatch.setattr(exactness, "compile", _sabotaged(tree, change))
    result = hgm.verify(tree, ["posterior"], batch=4)
    assert not result.ok
    assert "NO" in str(result)


@pytest.mark.parametrize("task", ["classify", "denoise", "posterior"])
def test_a_predictor_that_gives_nan_is_found(monkeypatch, task):
    monkeypatch.setattr(hgm.ConvNet, "_answers", _nan)
    monkeypatch.setattr(hgm.UNet, "_answers", _nan)
    assert not hgm.verify(TREE, [task], batch=2).ok


def _nan(self, names, e, first_row=0, full=None):
    return tuple(torch.full((e.shape[2], 1, 1), torch.nan, dtype=e.dtype) for _ in names)


def test_it_prints_a_table():
    text = str(hgm.verify(TREE, ["denoise"], batch=2))
    assert "log partition" in text and "1e-12" in text and "1e-06" in text
    assert len(text.splitlines()) == 3 + 7  # headers, and the kinds of evidence


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        ({"batch": 0}, hgm.BadSpec, "batch must be a whole number of at least 1; got 0"),
        ({"tasks": ["clasify"]}, hgm.BadSpec, "clasify"),
        ({"query": "nobody"}, hgm.BadEvidence, "nobody"),
    ],
)
def test_bad_arguments(wrong, kind, text):
    with pytest.raises(kind, match=text):
        hgm.verify(TREE, **wrong)


def test_a_model_that_allows_nothing_is_impossible():
    tree = hgm.Tree.from_factors([(["a"], [1.0, 0.0]), (["a"], [0.0, 1.0])])
    with pytest.raises(hgm.ImpossibleEvidence):
        hgm.verify(tree)
