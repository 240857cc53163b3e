"""Directions of trees: which entries make one distribution, and which variable each factor produces."""

import numpy as np
import pytest
from kinds import Circulant
from oracles.trees import CASES

import hgm
from hgm.tree.direction import direct, produced
from hgm.tree.flat import flatten


def rows_of(tree):
    """The entries of each distribution of a tree, by the direction's numbers."""
    direction, flat = direct(tree), np.exp(flatten(tree.potentials))
    return [flat[direction.row == i] for i in range(direction.rows)]


def test_top_down_the_parent_is_given():
    rng = np.random.default_rng(0)
    table = rng.random((2, 3, 2))
    tree = hgm.Tree.from_factors([(("a",), [0.4, 0.6]), (("b", "a", "c"), table.transpose(1, 0, 2))], roots=["a"])
    rows = rows_of(tree)
    assert [row.tolist() for row in rows[:1]] == [[0.4, 0.6]]
    for s in range(2):
        np.testing.assert_allclose(rows[1 + s], table[s].ravel(), rtol=1e-15)
    assert direct(tree).used.all() and direct(tree).log_normaliser == 0.0


def test_in_a_bayesian_network_all_but_the_produced_variable_are_given():
    table = np.random.default_rng(1).random((2, 3, 2))
    factors = [(("a",), [0.4, 0.6]), (("b",), [0.2, 0.3, 0.5]), (("a", "b", "c"), table)]
    tree = hgm.Tree.from_factors(factors)
    rows = rows_of(tree)
    assert len(rows) == 2 + 6
    np.testing.assert_allclose(rows[2:], table.reshape(6, 2), rtol=1e-15)
    child, owner = produced(tree)
    assert sorted(child) == [0, 1, 2] and [child[f] for f in owner] == [0, 1, 2]


def test_rules_have_a_distribution_for_each_state_of_the_parent_and_some_may_be_empty():
    rules = hgm.Rules((3, 2, 2), [[2, 0, 1], [0, 1, 1], [0, 0, 0]], [0.7, 0.1, 0.9])
    tree = hgm.Tree.from_factors([(("a", "b", "c"), rules)])
    assert [np.round(row, 12).tolist() for row in rows_of(tree)] == [[0.1, 0.9], [], [0.7]]
    assert direct(tree).log_normaliser == pytest.approx(np.log(3)), "a root without a prior"


def test_distributions_that_share_all_their_entries_count_as_one():
    tree = hgm.Tree.from_edges([("a", "b", Circulant([0.5, 0.3, 0.2]))], {"a": [0.5, 0.2, 0.3]})
    assert sorted(sorted(np.round(row, 12).tolist()) for row in rows_of(tree)) == [[0.2, 0.3, 0.5]] * 2


def test_a_potential_that_no_factor_uses_is_not_learned():
    tree = hgm.Tree.from_edges([("a", "b", [[0.5, 0.5], [0.1, 0.9]])])
    spare = hgm.Tree.build(tree.names, tree.cardinality, tree.scope_ptr, tree.scope, tree.potential_id,
                           [*tree.potentials, hgm.Table([1.0, 2.0])])  # fmt: skip
    assert direct(spare).used.tolist() == [True] * 4 + [False] * 2


def test_what_is_left_over_produces_nothing():
    child, owner = produced(hgm.Tree.from_edges([("a", "b", [[1, 2], [3, 4]])]))
    assert child == [-1] and owner == [-1, -1]
    polytree = CASES["polytree"].tree
    child, owner = produced(polytree)
    assert all(owner[v] == f for f, v in enumerate(child) if v >= 0)


def test_tied_factors_of_two_directions_are_refused():
    shared = hgm.Edge([[0.5, 0.5], [0.1, 0.9]])
    factors = [(("a",), [0.5, 0.5]), (("a", "b"), shared), (("c", "a"), shared)]
    with pytest.raises(hgm.BadSpec, match="share a potential, but they are directed differently"):
        direct(hgm.Tree.from_factors(factors, roots=["a"]))
