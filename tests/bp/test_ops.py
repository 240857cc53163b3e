"""Messages as arrays and as tensors: the same answers, and each where it belongs."""

import copy
import pickle

import numpy as np
import pytest
import torch
from oracles.trees import CASES, KINDS, draw_evidence

import hgm
from hgm.bp import ops

pytestmark = pytest.mark.broad

LOOKS = {
    "log_partition": lambda p: p.log_partition,
    "marginals": lambda p: p.marginals,
    "factors": lambda p: torch.cat([p.factor_marginals(f).flatten() for f in range(p.tree.factors)] or [torch.ones(1)]),
    "mode": lambda p: p.mode().log_prob,
    "samples": lambda p: p.sample(20, generator=torch.Generator().manual_seed(3)).states,
}


def kind(post):
    return type(post._collected.log_partition)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_arrays_and_tensors_say_the_same(case, kinds, monkeypatch):
    given = draw_evidence(case, kinds).given
    arrays = hgm.infer(case.tree, given)
    monkeypatch.setattr(ops, "SMALL", 0)
    tensors = hgm.infer(case.tree, given)
    assert (kind(arrays), kind(tensors)) == (np.ndarray, torch.Tensor)
    for name, look in LOOKS.items():
        torch.testing.assert_close(look(arrays), look(tensors), rtol=1e-13, atol=1e-13, msg=name)


@pytest.mark.parametrize("few", [0, 1 << 20])
@pytest.mark.parametrize("name", ["ragged", "hard_zeros", "rhm", "joint_table", "wide_range"])
def test_both_sums_of_logs_are_exact(name, few, monkeypatch):
    case = CASES[name]
    want = hgm.infer(case.tree, draw_evidence(case, "zeros").given).marginals
    monkeypatch.setattr(ops, "FEW", few)
    got = hgm.infer(case.tree, draw_evidence(case, "zeros").given).marginals
    torch.testing.assert_close(got, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_name_is_answered_without_the_levels_below(case):
    want = hgm.infer(case.tree, draw_evidence(case, "batch").given).marginals
    for v, name in enumerate(case.tree.names):
        post = hgm.infer(case.tree, draw_evidence(case, "batch").given)
        torch.testing.assert_close(post[name], want[:, : case.card(name), v], rtol=0, atol=1e-14)
        assert len(post._distributed.b) == case.tree.level[v] + 1


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_kept_of_a_tree_without_evidence_serves_evidence_anywhere(case, monkeypatch):
    rng = np.random.default_rng(0)
    given = [{}, *({name: rng.uniform(0.1, 1, (1, case.card(name)))} for name in case.names)]
    arrays = [hgm.infer(case.tree, one) for one in given]
    assert "quiet" in case.tree.kept
    monkeypatch.setattr(ops, "SMALL", 0)
    for one, post in zip(given, arrays, strict=True):
        tensors = hgm.infer(case.tree, one)
        for name, look in LOOKS.items():
            torch.testing.assert_close(look(post), look(tensors), rtol=1e-13, atol=1e-13, msg=name)


def test_what_has_gradients_is_a_tensor_and_so_is_what_is_large():
    tree = hgm.chain(10, 3)
    e = hgm.log_evidence(tree, {"x3": 1})
    assert kind(hgm.infer(tree, e)) is np.ndarray
    assert kind(hgm.infer(tree, e.clone().requires_grad_())) is torch.Tensor
    assert kind(hgm.infer(tree, e.expand(1000, -1, -1))) is torch.Tensor


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_results_of_arrays_serve_autograd(mode):
    tree = hgm.chain(4, 3)
    with mode():
        post = hgm.infer(tree, {"x1": 2})
        post["x2"], post.sample(2), post.factor_marginals(1), post.mode()
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    (x * post["x2"].sum() + x * post.marginals.sum() + x * post.log_partition).backward()
    assert x.grad == pytest.approx(5 + post.log_partition.item())


def test_potentials_are_kept_with_their_tree_only():
    tree = hgm.Tree.from_edges([("a", "b", [[1.0, 2.0], [3.0, 4.0]])])
    assert hgm.infer(tree).log_partition.exp().item() == pytest.approx(10)
    assert tree.kept and copy.deepcopy(tree).kept == pickle.loads(pickle.dumps(tree)).kept == {}
    other = tree.with_potentials([hgm.Edge([[4.0, 1.0], [1.0, 1.0]])])
    assert other.memo is tree.memo and not other.kept
    assert hgm.infer(other).log_partition.exp().item() == pytest.approx(7)
    assert hgm.infer(tree).log_partition.exp().item() == pytest.approx(10)
    large = hgm.chain(2, 300)
    hgm.infer(large)
    assert not large.kept, "a copy of large tables costs memory"
