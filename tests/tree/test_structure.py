"""`Structure`: the views keep their promises, are computed once for a structure, and nothing can be changed."""

import copy
import pickle
import tracemalloc
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from oracles.promises import check_structure
from oracles.trees import CASES, random_cases

import hgm
from hgm.bp.schedule import schedule
from hgm.tree.names import ListedNames, ReorderedNames
from hgm.tree.structure import Structure, once

E22 = [[0.9, 0.1], [0.2, 0.8]]
COPIES = {
    "pickle": lambda tree: pickle.loads(pickle.dumps(tree)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "replace": lambda tree: replace(tree, potentials=tree.potentials),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_canonical_trees_keep_every_promise(case):
    check_structure(case.tree)


@settings(max_examples=40)
@given(random_cases())
def test_random_trees_keep_every_promise(case):
    check_structure(case.tree)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_leaves_have_the_shape_of_the_last_level_on_a_grid_and_are_a_row_elsewhere(case):
    grid = case.tree.grid
    assert np.prod(case.tree.leaf_shape) == len(case.tree.leaves)
    assert case.tree.leaf_shape == (grid[-1] if grid else (len(case.tree.leaves),))
    assert hgm.ghm([], 3).leaf_shape == (1,)


# ---------------------------------------------------------------------- computed once


def test_what_is_computed_once_serves_all_trees_of_the_structure():
    calls = []

    @once
    def twice(tree, number, *, more=0):
        calls.append(number + more)
        return [2 * (number + more)]

    tree = CASES["ragged"].tree.reroot(CASES["ragged"].names[-1])
    other = tree.with_potentials([p.scaled(1.0) for p in tree.potentials])
    assert twice(tree, 1) is twice(other, 1) and twice(other, 2) == [4] and twice(tree, 1, more=1) == [4]
    assert calls == [1, 2, 2]
    assert other.level is tree.level and schedule(other, torch.device("cpu")) is schedule(tree, torch.device("cpu"))
    turned = replace(tree, up=tree.up)
    assert twice(turned, 1) == [2] and len(calls) == 4, "a structure of its own"


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("name", ["ragged", "quad_2d", "rhm"])
def test_a_copy_is_equal_and_cannot_be_changed_either(name, copied):
    tree = CASES[name].tree
    z = hgm.infer(tree).log_partition
    twin = copied(tree)
    assert twin == tree and twin.grid == tree.grid and twin.memo == {}
    assert torch.equal(hgm.infer(twin).log_partition, z)
    for array in (twin.scope, twin.cardinality, twin.potentials[0].log_potential):
        assert not array.flags.writeable


def test_nothing_in_a_tree_can_be_changed():
    tree = CASES["ragged"].tree
    with pytest.raises(FrozenInstanceError):
        tree.scope = tree.scope
    for name in ("cardinality", "level_ptr", "scope_ptr", "scope", "up", "potential_id", "label_set", "level", "parent",
                 "parent_factor", "factor_ptr"):  # fmt: skip
        assert not getattr(tree, name).flags.writeable, name
    for get in (lambda: tree.leaves, lambda: tree.roots, lambda: tree.scope_of(0), lambda: tree.potentials[0].values):
        before = get()
        get().fill(7)
        assert np.array_equal(get(), before)


# ---------------------------------------------------------------------- names, states, comparison


@pytest.mark.parametrize("name", CASES)
def test_equal_trees_hash_equal(name):
    tree = CASES[name].tree
    listed = replace(tree, names=ListedNames(list(tree.names)))
    zeros = tree.with_potentials([p.with_log(np.where(p.log_potential == 0, -0.0, p.log_potential)) for p in
                                  tree.potentials])  # fmt: skip
    wide = replace(tree, cardinality=tree.cardinality.astype(np.int32))
    others = [copied(tree) for copied in COPIES.values()] + [listed, zeros, wide]
    assert all(other == tree and hash(other) == hash(tree) for other in others)
    assert {tree: 1}[others[0]] == 1


def test_trees_that_differ_are_told_apart_by_a_set():
    tables = [E22, E22], [E22, np.array(E22) * 2], [np.array(E22) * 2, E22]
    trees = {hgm.Tree.from_edges([("a", "b", one), ("b", "c", two)]) for one, two in tables}
    trees |= {hgm.Tree.from_edges([("a", "b", E22)], variables={"a": labels}) for labels in (2, ["u", "v"], ["v", "u"])}
    assert len(trees) == 6 and len({hash(tree) for tree in trees}) == 6


def test_an_unknown_variable_is_told_with_the_right_count_and_a_close_name():
    tree = hgm.chain(300, 2)
    with pytest.raises(
        hgm.BadEvidence, match=r"no variable 'X12'; it has x0, .*, x7, \.\.\. \(300 in all\); did you mean 'x12'\?$"
    ):
        tree.index("X12")
    with pytest.raises(hgm.BadEvidence, match=r"\(300 in all\)$"):
        tree.index("weather")


def test_states_by_label_and_number():
    tree = hgm.Tree.from_edges([("sky", "mood", [[1, 2, 3], [4, 5, 6]])], variables={"sky": ["sun", "rain"]})
    sky, mood = tree.index("sky"), tree.index("mood")
    assert tree.labels(sky) == ("sun", "rain") and tree.labels(mood) is None
    assert [tree.state(sky, s) for s in ("sun", "rain", 1, np.int64(0))] == [0, 1, 1, 0] and tree.state(mood, 2) == 2


def test_errors_about_states():
    tree = hgm.Tree.from_edges([("a", "b", E22)], variables={"a": ["u", "v"]})
    a, b = tree.index("a"), tree.index("b")
    for variable, state, message in [
        (a, "w", "'a' has no state 'w'; its states are u, v"),
        (a, 2, "'a' has no state 2; its labels are 'u', 'v'"),
        (b, "u", "'b' has no state labels; give 'u' as a number 0 to 1"),
        (b, -1, "'b' has no state -1"),
    ]:
        with pytest.raises(hgm.BadEvidence, match=message):
            tree.state(variable, state)
    with pytest.raises(hgm.BadEvidence, match=r"no variable 'q'; it has x0, x1, .*\.\.\."):
        hgm.chain(1000).index("q")


def test_equal_structures_may_differ_in_their_numbers_and_grid_only():
    tree = CASES["quad_2d"].tree
    other = tree.with_potentials([p.scaled(1.0) for p in tree.potentials])
    assert Structure.__eq__(tree, other) and tree != other
    assert Structure.__eq__(tree, replace(tree, grid=None)) and not Structure.__eq__(tree, CASES["ragged"].tree)


# ---------------------------------------------------------------------- size


@pytest.mark.long
def test_a_million_nodes_take_arrays_and_no_objects():
    tracemalloc.start()
    tree = hgm.ghm([hgm.Level((2, 2), 4) for _ in range(10)], 10, grid=(1024, 1024))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(tree) == (4**11 - 1) // 3 and len(tree.leaves) == 1 << 20
    assert kept < 100 * len(tree), "bytes kept: ten 8-byte numbers for each node and no more"
    assert peak < 500 * len(tree)
    assert tree.names[len(tree) - 1] == "x1023_1023" and tree.index("x512_3") in tree.leaves
    turned = tree.reroot("x512_3")
    assert isinstance(turned.names, ReorderedNames) and turned.names[0] == "x512_3"
    assert turned.depth == 20 and turned.index("label") in turned.at_level(10)


def test_labels_of_very_many_states_are_found_each_by_one_look():
    size = 40_000  # one comparison with every other label would be 1.6 billion
    labels = [f"s{i}" for i in range(size)]
    tree = hgm.Tree.from_factors([(("x",), np.ones(size)), (("y",), [1, 1])], {"x": labels, "y": ["s1", "s0"]})
    assert [tree.state(0, label) for label in labels] == list(range(size))
    assert [tree.state(1, label) for label in ("s0", "s1")] == [1, 0]
    with pytest.raises(hgm.BadSpec, match=f"state label 's{size - 1}' twice"):
        hgm.Tree.from_factors([(("x",), np.ones(size + 1))], {"x": [*labels, labels[-1]]})
