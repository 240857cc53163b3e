"""`Tree`: it holds the model it was given, whatever the order, and what is tied stays tied."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.promises import check_structure, joint, same_joint
from oracles.trees import CASES, random_cases

import hgm

E22 = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_canonical_trees_are_the_model_they_declare(case):
    assert same_joint(joint(case.tree), case.joint)


@settings(max_examples=40)
@given(random_cases())
def test_random_trees_are_the_model_they_declare(case):
    assert same_joint(joint(case.tree), case.joint)


def test_the_comparison_of_joints_rejects_a_transposed_table():
    tree = hgm.Tree.from_edges([("a", "b", E22)])
    other = hgm.Tree.from_edges([("a", "b", np.transpose(E22))])
    assert not same_joint(joint(tree), joint(other)) and tree != other


@settings(max_examples=30)
@given(random_cases(), st.randoms(use_true_random=False))
def test_the_order_of_declaration_changes_nothing_but_orders(case, random):
    factors = list(case.factors)
    random.shuffle(factors)
    names = list(case.names)
    random.shuffle(names)
    tree = hgm.Tree.from_factors(factors, {name: case.card(name) for name in names})
    check_structure(tree)
    assert same_joint(joint(tree), case.joint)


def test_the_same_object_is_tied_and_an_equal_one_is_not():
    shared, alike = np.array(E22), np.array(E22)
    tree = hgm.Tree.from_edges([("a", "b", shared), ("b", "c", shared), ("c", "d", alike)])
    assert tree.potential_id.tolist() == [0, 0, 1] and len(tree.potentials) == 2
    assert tree != hgm.Tree.from_edges([("a", "b", shared), ("b", "c", shared), ("c", "d", shared)])


def test_replacing_potentials_keeps_the_tree():
    tree = CASES["binary_tied"].tree
    scaled = tree.with_potentials([p.scaled(1.0) for p in tree.potentials])
    assert scaled.names is tree.names and scaled.grid == tree.grid and scaled != tree
    assert scaled.potentials[0].log_potential == pytest.approx(tree.potentials[0].log_potential + 1.0)


def test_replacing_potentials_refuses_another_kind_or_shape():
    tree = hgm.Tree.from_edges([("a", "b", E22)])
    for other in (hgm.Table(E22), hgm.Edge(np.ones((2, 3)))):
        with pytest.raises(hgm.BadPotential, match=r"potential 0 is Edge\(2x2\); it cannot be replaced by"):
            tree.with_potentials([other])
    with pytest.raises(hgm.BadPotential, match="1 distinct potentials; got 0"):
        tree.with_potentials([])


def test_equality_sees_every_part():
    base = {"edges": [("a", "b", E22)], "priors": {"a": [0.5, 0.5]}, "variables": {"a": ["u", "v"]}}
    tree = hgm.Tree.from_edges(**base)
    assert tree == hgm.Tree.from_edges(**base)
    others = [
        base | {"edges": [("a", "c", E22)]},
        base | {"edges": [("a", "b", [[0.9, 0.1], [0.2, 0.7]])]},
        base | {"edges": [("a", "b", hgm.Table(E22))]},
        base | {"priors": {}},
        base | {"priors": {"b": [0.5, 0.5]}},
        base | {"variables": {"a": ["v", "u"]}},
        base | {"variables": {}},
        base | {"variables": {"a": ["u", "v"], "b": ["u", "v"]}},
        base | {"variables": {"a": ["u", "v"], "c": 2}},
    ]
    for other in others:
        assert tree != hgm.Tree.from_edges(**other), other
    assert tree != tree.reroot("b") and tree != "tree"


def test_repr_counts():
    assert repr(hgm.rhm()).startswith(
        "Tree: 63 variables on levels 0 to 5, 32 leaves, 32 factors, 6 distinct potentials"
    )
    assert repr(hgm.forest()).startswith("Forest of 3 trees: 12 variables")


# ---------------------------------------------------------------------- potentials with names


def named(step="step", out="out"):
    step, out = hgm.Edge([[0.9, 0.1], [0.4, 0.6]], name=step), hgm.Edge([[0.7, 0.3], [0.2, 0.8]], name=out)
    return hgm.Tree.from_factors([(("a", "b"), step), (("b", "c"), step), (("c", "x"), out), (("a",), [0.5, 0.5])])


def test_names_of_potentials_are_kept_and_no_part_of_equality(tmp_path):
    tree = named()
    want = ["step", "out", None]
    other = tree.with_potentials([hgm.Edge(np.ones((2, 2))), hgm.Edge(np.ones((2, 2)), name="new"), tree.potentials[2]])
    assert [p.name for p in other.potentials] == ["step", "new", None]
    assert tree == named(None, None) and hash(tree) == hash(named(None, None))
    hgm.save_network(hgm.compile(tree), tmp_path / "net.safetensors")
    data = hgm.infer(tree).sample(20, generator=torch.Generator().manual_seed(0)).states[:, tree.leaves]
    trees = [tree, tree.reroot("c"), hgm.compile(tree).tree(), hgm.compile(tree, trainable=True).tree()]
    trees += [hgm.load_network(tmp_path / "net.safetensors").tree(), copy.deepcopy(tree)]
    trees += [hgm.fit(tree.reroot("a"), data, iterations=2).tree]
    for got in trees:
        assert [p.name for p in got.potentials] == want


def test_a_name_is_for_one_potential():
    with pytest.raises(hgm.BadPotential, match="two potentials of one tree are called 'step'"):
        named("step", "step")
    tree = named()
    with pytest.raises(hgm.BadPotential, match="two potentials of one tree are called 'out'"):
        tree.with_potentials([tree.potentials[0].named("out"), *tree.potentials[1:]])


def test_conditioning_keeps_the_names_of_what_it_does_not_cut():
    step = hgm.Edge([[0.9, 0.1], [0.4, 0.6]], name="step")
    tree = hgm.Tree.from_factors([((x, y), step) for x, y in ("ab", "bc", "cd")], observed={"a": 0})
    assert sorted(str(p.name) for p in tree.potentials) == ["None", "None", "step"]


def test_chains_have_names_for_what_they_tie():
    assert {p.name for p in hgm.chain(4).potentials} == {"prior", "transition"}
    assert {p.name for p in hgm.hmm(4).potentials} == {"prior", "transition", "emission"}
    own = hgm.Edge([[0.9, 0.1], [0.4, 0.6]], name="mine")
    assert {p.name for p in hgm.chain(4, transition=own).potentials} == {"prior", "mine"}
    assert {p.name for p in hgm.chain(4, transition=own.values).potentials} == {"prior", "transition"}
