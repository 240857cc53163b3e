"""d lambda^2: of symmetric channels a formula, of other trees the singular values of enumerated joint laws."""

import numpy as np
import pytest
from oracles.trees import CASES

import hgm
from hgm.measure.threshold import siblings


@pytest.mark.parametrize(("states", "arity", "eps"), [(2, 2, 0.1), (4, (2, 2), 0.15), (4, (2, 2), 0.45), (3, 5, 0.9)])
def test_of_a_symmetric_channel_it_is_the_number_of_children_times_lambda_squared(states, arity, eps):
    tree = hgm.broadcast(3, states, arity, eps=eps)
    children = np.prod(arity)
    slope = 1 - eps * states / (states - 1)
    np.testing.assert_allclose(siblings(tree), [children * slope**2] * 3, rtol=1e-10)


def test_independent_leaves_tell_nothing_and_copies_all():
    assert siblings(hgm.broadcast(2, 3, 2, eps=2 / 3)) == pytest.approx([0, 0], abs=1e-12)
    assert siblings(hgm.broadcast(2, 3, 4, eps=0.0)) == pytest.approx([4, 4])


@pytest.mark.parametrize("name", CASES)
def test_of_any_tree_it_is_that_of_the_joint_laws_of_parent_and_child(name):
    case = CASES[name]
    tree, total = case.tree, np.zeros(len(case.tree))
    for f in range(tree.factors):
        parent = int(tree.parent[f])
        for child in tree.children_of(f).tolist():
            joint = case.joint.marginal(tree.names[parent], tree.names[child])
            rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
            with np.errstate(invalid="ignore"):
                # chi-square of the pair is the sum of all lambda^2 but the first; of two states there is no other
                apart = np.nan_to_num((joint - rows * columns) / np.sqrt(rows * columns))
            total[parent] += np.linalg.norm(apart, 2) ** 2
    want = [total[(tree.level == level) & tree.inner].mean() for level in range(tree.depth)]
    np.testing.assert_allclose(siblings(tree), want, atol=1e-9)


def test_single_nodes_have_no_level():
    assert siblings(hgm.ghm([], 3)) == []
