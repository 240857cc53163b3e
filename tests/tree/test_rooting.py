"""Rooting: levels, orders and roots are those that were asked for, and what is no tree is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.promises import check_structure, joint, same_joint
from oracles.trees import CASES, random_cases

import hgm

E22 = [[0.9, 0.1], [0.2, 0.8]]


@settings(max_examples=40)
@given(random_cases(), st.data())
def test_rerooting_changes_the_root_and_not_the_model(case, data):
    name = data.draw(st.sampled_from(case.names))
    tree = case.tree.reroot(name)
    check_structure(tree)
    assert tree.level[tree.index(name)] == 0 and len(tree.roots) == len(case.tree.roots)
    assert all(a is b for a, b in zip(tree.potentials, case.tree.potentials, strict=True))
    assert same_joint(joint(tree), case.joint)


def test_variables_keep_their_declared_order_inside_a_level():
    edges = [("r", name, E22) for name in ("d", "b", "a", "c")]
    tree = hgm.Tree.from_edges([*edges, ("a", "z", E22), ("d", "y", E22)])
    assert list(tree.names) == ["r", "d", "b", "a", "c", "z", "y"]
    variables = {name: 2 for name in ("r", "y", "z", "a", "b", "c", "d")}
    tree = hgm.Tree.from_edges([*edges, ("a", "z", E22), ("d", "y", E22)], variables=variables)
    assert list(tree.names) == ["r", "a", "b", "c", "d", "y", "z"]


def test_the_default_root_is_the_first_declared_variable_of_each_component():
    factors = [(("b", "a"), E22), (("d", "c"), E22)]
    assert [n for n in hgm.Tree.from_factors(factors).names][:2] == ["b", "d"]
    tree = hgm.Tree.from_factors(factors, roots=["c"])
    assert [tree.names[v] for v in tree.roots] == ["b", "c"]
    assert tree.up.tolist() == [0, 1], "the second factor hangs from its second axis"


def test_edges_point_away_from_the_roots_whatever_their_order():
    tree = hgm.Tree.from_edges([("b", "c", E22), ("a", "b", E22)], priors={"a": [0.5, 0.5]}, variables={"e": 3})
    assert [tree.names[v] for v in tree.roots] == ["a", "e"] or [tree.names[v] for v in tree.roots] == ["e", "a"]
    assert tree.level[tree.index("c")] == 2 and tree.factors == 3


def test_rerooting_at_a_root_is_the_same_object():
    tree = CASES["ragged"].tree
    assert tree.reroot(tree.names[0]) is tree and tree.reroot() is tree


def test_rerooting_one_tree_of_a_forest_keeps_the_other_roots():
    tree = hgm.forest((5, 4, 1))
    turned = tree.reroot("t1_x3")
    assert sorted(turned.names[v] for v in turned.roots) == ["t0_x0", "t1_x3", "t2_x0"]
    assert same_joint(joint(turned), joint(tree))


def test_a_long_chain_does_not_recurse():
    tree = hgm.chain(100_000)
    assert tree.depth == 99_999 and tree.reroot("x50000").depth == 50_000


# ---------------------------------------------------------------------- errors


def tree_of(*factors, states=(), **options):
    """A tree from factors whose scopes are strings of one-letter names."""
    return hgm.Tree.from_factors([(tuple(scope), table) for scope, table in factors], dict(states), **options)


def edges(*pairs):
    return hgm.Tree.from_edges([(*pair, E22) for pair in pairs])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tree_of(("ab", E22), ("bc", E22), ("ca", E22)), hgm.NotATree, "a cycle: . - . - . - .. hgm is exact"),
        (lambda: tree_of(("ab", E22), ("ba", E22)), hgm.NotATree, "a and b share two factors"),
        (lambda: tree_of(("ab", E22), roots=["a", "b"]), hgm.NotATree, "'a' and 'b' are both wanted as roots"),
        (lambda: edges("ac", "bc"), hgm.NotATree, "'c' has two parents, 'a' and 'b'"),
        (lambda: edges("ab", "ba"), hgm.NotATree, "a cycle: a and b share two factors|a cycle: b and a share"),
        (lambda: edges("ab").reroot("a", "b"), hgm.NotATree, "'a' and 'b' are both wanted as roots"),
        (lambda: edges("ab").reroot("q"), hgm.BadEvidence, "no variable 'q'; it has a, b"),
        (lambda: tree_of(("ab", E22), roots=["q"]), hgm.BadSpec, "'q' is wanted as a root"),
    ],
)
def test_what_is_no_tree_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
