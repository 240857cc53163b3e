"""How errors add up, by hand."""

import numpy as np
import pytest
import torch

import hgm
from hgm.compiler.levels import by_levels as plan
from hgm.relu.maps import stage_maps
from hgm.relu.propagate import Flow
from hgm.tree.possible import possible_states


def test_errors_propagate_as_written_in_the_formulas():
    """Against the recursion on a star and a chain, worked out by hand."""
    tree = hgm.Tree.from_edges([("r", "a", np.eye(2) + 1), ("r", "b", np.eye(2) + 2), ("a", "c", np.eye(2) + 3)])
    planned = plan(tree)
    flow = Flow.of(planned, stage_maps(planned, possible_states(tree)))
    tau = {"a": np.tanh(np.log(2) / 2), "b": np.tanh(np.log(1.5) / 2), "c": np.tanh(np.log(4 / 3) / 2)}
    assert sorted(float(t) for t in flow.tau) == pytest.approx(sorted([*tau.values(), *tau.values()]))
    errors = flow.errors(torch.ones(len(flow.maps), dtype=torch.float64))
    got = {tree.names[int(v)]: float(e) for level, bs in zip(planned.levels, errors.b, strict=True)
           for v, e in zip(level.order, bs, strict=True)}  # fmt: skip
    q = {"c": 1.0, "a": 1 + tau["a"] * 1.0, "b": 1.0}
    assert got["r"] == pytest.approx(q["a"] + q["b"])
    d_a = 1 + tau["a"] * q["b"]
    assert got["a"] == pytest.approx(d_a + q["c"])
    assert got["b"] == pytest.approx(1 + tau["b"] * q["a"])
    assert got["c"] == pytest.approx(1 + tau["c"] * d_a)
