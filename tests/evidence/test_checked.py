"""Log evidence as a tensor, of the leaves and of all variables: what is right passes, and what is wrong is named."""

import math

import numpy as np
import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.evidence.checked import check_log_evidence
from hgm.tree.tree import Tree

INF = math.inf


@pytest.fixture
def tree() -> Tree:
    """Variables a (2 states), b (3, labelled), c (1)."""
    return Tree.from_edges(
        [("a", "b", np.ones((2, 3))), ("a", "c", np.ones((2, 1)))], variables={"a": 2, "b": ["red", "green", "blue"]}
    )


# ---------------------------------------------------------------------- leaves


def test_leaf_evidence_on_a_grid_is_put_at_the_leaves_row_by_row():
    case = CASES["quad_2d"]
    e = torch.randn(2, 2, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    full = hgm.log_evidence(case.tree, e)
    assert full.shape == (2, 3, len(case.tree))
    for row in range(2):
        for at in range(4):
            v = case.tree.index(f"x{row}_{at}")
            torch.testing.assert_close(full[:, :2, v], e[:, :, row, at])
    assert torch.isneginf(full[:, 2, case.tree.leaves.copy()]).all()
    assert (full[:, :, 0] == 0).all()
    full[:, :2, case.tree.leaves.copy()].sum().backward()
    assert (e.grad == 1).all()


@pytest.mark.parametrize("name", ["ragged", "forest", "polytree", "single", "single_without_factor"])
def test_leaf_evidence_of_an_irregular_tree_follows_its_leaves(name):
    tree = CASES[name].tree
    states = int(tree.cardinality[tree.leaves].max())
    e = torch.randn(1, states, len(tree.leaves), generator=torch.Generator().manual_seed(1))
    full = hgm.log_evidence(tree, e, dtype=e.dtype)
    assert full.dtype == torch.float32
    for i, v in enumerate(tree.leaves.tolist()):
        card = int(tree.cardinality[v])
        torch.testing.assert_close(full[:, :card, v], e[:, :card, i])
        assert torch.isneginf(full[:, card:, v]).all()


def test_leaf_evidence_of_a_layered_model_without_levels():
    tree = hgm.ghm(levels=[], root=3)
    assert hgm.log_evidence(tree, torch.zeros(2, 3, 1)).shape == (2, 3, 1)


@pytest.mark.parametrize("shape", [(1, 2, 8), (1, 3, 2, 4), (1, 2, 4, 2), (2, 2, 4)])
def test_leaf_evidence_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(
        hgm.BadEvidence,
        match=r"of shape \(B, 2, 2, 4\): rows, states, leaves, or \(B, 3, 13\) .*got \(",
    ):
        hgm.log_evidence(CASES["quad_2d"].tree, torch.zeros(shape))


def test_leaf_evidence_with_a_nan_is_refused():
    e = torch.zeros(1, 2, 2, 4)
    e[0, 1, 1, 2] = math.nan
    with pytest.raises(hgm.BadEvidence, match=r"variable 'x1_2', state 1, is nan in batch row 0"):
        hgm.log_evidence(CASES["quad_2d"].tree, e)


# ---------------------------------------------------------------------- raw tensors


def test_what_stands_in_the_padding_does_not_matter(tree):
    e = torch.randn(2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    padded = e.clone()
    padded[:, 2:, tree.index("a")] = math.nan
    padded[:, 1:, tree.index("c")] = 7.0
    checked = check_log_evidence(tree, padded)
    assert torch.isneginf(checked[:, 2, tree.index("a")]).all()
    torch.testing.assert_close(hgm.infer(tree, padded).marginals, hgm.infer(tree, e).marginals)


@pytest.mark.parametrize(
    ("e", "message"),
    [
        (torch.zeros(3, 3), r"must have shape \(B, 3, 3\): batch, states, variables in tree order; got \(3, 3\)"),
        (torch.zeros(1, 2, 3), r"must have shape \(B, 3, 3\).*got \(1, 2, 3\)"),
        (torch.zeros(1, 3, 4), r"must have shape \(B, 3, 3\).*got \(1, 3, 4\)"),
        (torch.zeros(1, 3, 3, dtype=torch.int64), r"a tensor of floats.*got a tensor of torch.int64"),
        (np.zeros((1, 3, 3)), r"a tensor of floats.*got a ndarray"),
        (torch.zeros(2, 3, 3).index_put((torch.tensor(1), torch.tensor(0), torch.tensor(1)), torch.tensor(math.nan)),
         r"variable 'b', state 0, is nan in batch row 1; expected a number or -inf"),
        (torch.zeros(2, 3, 3).index_put((torch.tensor(1), torch.tensor(2), torch.tensor(1)), torch.tensor(INF)),
         r"variable 'b', state 2, is inf in batch row 1"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_no_log_evidence_is_refused(tree, e, message):
    with pytest.raises(hgm.BadEvidence, match=message):
        check_log_evidence(tree, e)
