"""Which trees are chains, and what is left of them when they are cut."""

import numpy as np
import pytest

import hgm
from hgm.errors import BadSpec
from hgm.tree.timeline import cut, timeline

E22 = [[0.9, 0.1], [0.2, 0.8]]


def edges(*pairs):
    return hgm.Tree.from_edges([(a, b, E22) for a, b in pairs])


def names(tree, variables):
    return [tree.names[v] for v in variables.tolist()]


@pytest.mark.parametrize("length", [1, 3, 4, 9])
def test_a_path_is_a_chain_in_the_order_of_time(length):
    tree = hgm.chain(length)
    assert names(tree, timeline(tree).path) == names(tree, timeline(tree).observed) == [f"x{i}" for i in range(length)]


@pytest.mark.parametrize("make", [hgm.hmm, hgm.caterpillar])
@pytest.mark.parametrize("length", [2, 3, 9])
def test_a_path_with_a_leaf_at_each_variable_is_observed_at_the_leaves(make, length):
    tree = make(length)
    assert names(tree, timeline(tree).path) == [f"z{i}" for i in range(length)]
    assert names(tree, timeline(tree).observed) == [f"x{i}" for i in range(length)]


@pytest.mark.parametrize(
    "tree",
    [
        hgm.caterpillar(4, legs=2),
        hgm.star(3),
        hgm.ghm([hgm.Level(2, 2, hgm.Edge(E22)), hgm.Level(2, 2, hgm.Edge(E22))], 2),
        hgm.forest(),
        edges(("a", "b"), ("b", "c"), ("c", "d"), ("b", "e")),  # a leaf at some variables only
        edges(("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")),  # rooted in the middle
        hgm.Tree.from_factors([(("a", "b", "c"), np.ones((2, 2, 2)))]),
    ],
)
def test_other_trees_are_no_chains(tree):
    assert timeline(tree) is None


def test_two_variables_could_be_either_kind():
    for tree in (hgm.chain(2), hgm.hmm(1)):
        with pytest.raises(BadSpec, match="may be a chain of two steps"):
            timeline(tree)


@pytest.mark.parametrize("make", [hgm.chain, hgm.hmm, lambda n: hgm.caterpillar(n, seed=3)])
@pytest.mark.parametrize("length", [1, 2, 4, 5])
def test_a_cut_chain_is_that_of_the_first_steps(make, length):
    tree = make(5)
    shorter, variables = cut(tree, length)
    assert names(tree, variables) == list(shorter.names)
    assert shorter.potentials == tree.potentials, "so that weights mean the same"
    kept = {v for v in tree.names if int(v[1:]) < length}
    assert set(shorter.names) == kept
    scopes = {tree.scope_names(f): int(tree.potential_id[f]) for f in range(tree.factors)}
    got = {shorter.scope_names(f): int(shorter.potential_id[f]) for f in range(shorter.factors)}
    assert got == {scope: i for scope, i in scopes.items() if set(scope) <= kept}
    assert shorter.roots.tolist() == [0] and shorter.names[0] == tree.names[0]


def test_labels_and_states_of_each_variable_stay():
    tree = hgm.Tree.from_edges(
        [("a", "b", np.ones((2, 3))), ("b", "c", np.ones((3, 4)))],
        {"a": [1, 2]},
        {"a": ["no", "yes"], "c": ["p", "q", "r", "s"]},
    )
    shorter, _ = cut(tree, 2)
    assert shorter.cardinality.tolist() == [2, 3] and shorter.labels(0) == ("no", "yes") and shorter.labels(1) is None


def test_a_cut_chain_can_be_used_like_any_tree(tmp_path):
    shorter, _ = cut(hgm.hmm(5), 1)
    hgm.save(shorter, tmp_path / "m.yaml")
    z = hgm.infer(shorter, {"x0": 1}).log_partition
    assert hgm.infer(hgm.load(tmp_path / "m.yaml"), {"x0": 1}).log_partition == pytest.approx(float(z), abs=1e-14)
    assert hgm.compile(shorter).log_partition(np.array([[1]])).item() == pytest.approx(float(z), abs=1e-6)
