"""`Tree`: it holds the model it was given, in the order it promises, and refuses what is no tree."""

import tracemalloc
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.enumeration import Joint
from oracles.trees import CASES, random_cases

import hgm
from hgm.tree.names import ReorderedNames

E22 = [[0.9, 0.1], [0.2, 0.8]]


def joint(tree: hgm.Tree) -> Joint:
    """The joint distribution, read off the tree's factors."""
    factors = [
        ([tree.names[v] for v in tree.scope_of(f)], np.exp(tree.potential_of(f).dense_log()))
        for f in range(tree.factors)
    ]
    return Joint(list(tree.names), tree.cardinality.tolist(), factors)


def same_joint(a: Joint, b: Joint) -> bool:
    """Whether two joints over the same names, in any order, are equal up to rounding."""
    return sorted(a.names) == sorted(b.names) and np.allclose(
        np.exp(a.log), np.exp(b.log.transpose([b.names.index(name) for name in a.names])), rtol=1e-12, atol=0.0
    )


def check_structure(tree: hgm.Tree) -> None:
    """Every promise of the class's documentation."""
    assert tree.level_ptr[0] == 0 and tree.level_ptr[-1] == len(tree) and (np.diff(tree.level_ptr) > 0).all()
    assert len(tree.level_ptr) == tree.depth + 2 and len(tree.scope_ptr) == tree.factors + 1
    assert (np.diff(tree.parent) >= 0).all(), "factors come in the order of their parents"
    above = {int(v): -1 for v in range(len(tree))}
    has_children = set()
    for f in range(tree.factors):
        scope, children = tree.scope_of(f).tolist(), tree.children_of(f).tolist()
        parent = scope[tree.up[f]]
        assert parent == tree.parent[f] and sorted([parent, *children]) == sorted(scope) and parent not in children
        assert tree.potential_of(f).shape == tuple(tree.cardinality[scope])
        assert tree.factor_ptr[parent] <= f < tree.factor_ptr[parent + 1]
        for child in children:
            assert above[child] == -1, "one factor above"
            assert tree.level[child] == tree.level[parent] + 1
            above[child] = f
            has_children.add(parent)
    assert tree.parent_factor.tolist() == [above[v] for v in range(len(tree))]
    assert tree.roots.tolist() == [v for v in range(len(tree)) if above[v] == -1] == tree.at_level(0).tolist()
    assert tree.leaves.tolist() == [v for v in range(len(tree)) if v not in has_children]
    assert [tree.index(name) for name in tree.names] == list(range(len(tree)))


# ---------------------------------------------------------------------- the same model


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_canonical_trees_are_the_model_they_declare(case):
    check_structure(case.tree)
    assert same_joint(joint(case.tree), case.joint)


@settings(max_examples=40)
@given(random_cases())
def test_random_trees_are_the_model_they_declare(case):
    check_structure(case.tree)
    assert same_joint(joint(case.tree), case.joint)


def test_the_comparison_of_joints_rejects_a_transposed_table():
    tree = hgm.Tree.from_edges([("a", "b", E22)])
    other = hgm.Tree.from_edges([("a", "b", np.transpose(E22))])
    assert not same_joint(joint(tree), joint(other)) and tree != other


@settings(max_examples=40)
@given(random_cases(), st.data())
def test_rerooting_changes_the_root_and_not_the_model(case, data):
    name = data.draw(st.sampled_from(case.names))
    tree = case.tree.reroot(name)
    check_structure(tree)
    assert tree.level[tree.index(name)] == 0 and len(tree.roots) == len(case.tree.roots)
    assert all(a is b for a, b in zip(tree.potentials, case.tree.potentials, strict=True))
    assert same_joint(joint(tree), case.joint)


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


# ---------------------------------------------------------------------- order, roots


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


# ---------------------------------------------------------------------- ties, states, labels


def test_the_same_object_is_tied_and_an_equal_one_is_not():
    shared, alike = np.array(E22), np.array(E22)
    tree = hgm.Tree.from_edges([("a", "b", shared), ("b", "c", shared), ("c", "d", alike)])
    assert tree.potential_id.tolist() == [0, 0, 1] and len(tree.potentials) == 2
    assert tree != hgm.Tree.from_edges([("a", "b", shared), ("b", "c", shared), ("c", "d", shared)])


def test_states_by_label_and_number():
    tree = hgm.Tree.from_edges([("sky", "mood", [[1, 2, 3], [4, 5, 6]])], variables={"sky": ["sun", "rain"]})
    sky, mood = tree.index("sky"), tree.index("mood")
    assert tree.labels(sky) == ("sun", "rain") and tree.labels(mood) is None
    assert [tree.state(sky, s) for s in ("sun", "rain", 1, np.int64(0))] == [0, 1, 1, 0] and tree.state(mood, 2) == 2


def test_numpy_integers_count_states():
    assert hgm.Tree.from_factors([], {"a": np.int64(3)}).cardinality.tolist() == [3]


def test_replacing_potentials_keeps_the_tree():
    tree = CASES["binary_tied"].tree
    scaled = tree.with_potentials([p.scaled(1.0) for p in tree.potentials])
    assert scaled.names is tree.names and scaled.grid == tree.grid and scaled != tree
    assert scaled.potentials[0].log_potential == pytest.approx(tree.potentials[0].log_potential + 1.0)


# ---------------------------------------------------------------------- observed


@pytest.mark.parametrize("kind", ["table", "rules"])
def test_conditioning_slices_factors_and_keeps_what_they_weigh(kind):
    rng = np.random.default_rng(5)
    table = rng.uniform(0.5, 2.0, (2, 3, 2, 2))
    potential = hgm.Table(table)
    if kind == "rules":
        table[rng.random(table.shape) < 0.4] = 0.0
        potential = hgm.Rules(table.shape, np.argwhere(table > 0), table[table > 0])
    factors = [(("a", "b", "c", "d"), potential), (("d", "e"), E22), (("a",), [2.0, 3.0]), (("c", "f"), E22)]
    plain = Joint(
        "abcdef", (2, 3, 2, 2, 2, 2), [(s, np.exp(hgm.tree.potential.as_potential(p).dense_log())) for s, p in factors]
    )
    tree = hgm.Tree.from_factors(
        factors, {name: 3 if name == "b" else 2 for name in "abcdef"}, observed={"a": 1, "d": 0}
    )
    check_structure(tree)
    assert same_joint(joint(tree), plain.given({"a": np.array([0, 1]), "d": np.array([1, 0])}))
    assert tree.parent_factor[tree.index("a")] == tree.parent_factor[tree.index("d")] == -1, "on their own"
    sliced = tree.potential_of(tree.parent_factor[tree.index("c")])
    assert type(sliced) is (hgm.Rules if kind == "rules" else hgm.Edge)


def test_conditioning_cuts_cycles():
    ring = [(pair, E22) for pair in (("a", "b"), ("b", "c"), ("c", "a"))]
    with pytest.raises(hgm.NotATree):
        hgm.Tree.from_factors(ring)
    tree = hgm.Tree.from_factors(ring, {"a": ["no", "yes"]}, observed={"a": "yes"})
    plain = Joint("abc", (2, 2, 2), [(pair, np.array(E22)) for pair, _ in ring])
    assert same_joint(joint(tree), plain.given({"a": np.array([0, 1])}))


def test_conditioning_keeps_ties_of_what_is_cut_alike():
    shared = hgm.Table(np.random.default_rng(0).uniform(1, 2, (2, 2, 2)))
    factors = [(("a", f"x{i}", f"y{i}"), shared) for i in range(4)]
    tree = hgm.Tree.from_factors(factors, observed={"a": 0})
    assert len({int(i) for i in tree.potential_id[tree.parent_factor[[tree.index(f"y{i}") for i in range(4)]]]}) == 1
    tree = hgm.Tree.from_factors(factors, observed={"a": 0, "x1": 0, "x2": 0, "x3": 1})
    ids = [int(tree.potential_id[tree.factor_ptr[tree.index(f"y{i}")]]) for i in (1, 2, 3)]
    assert ids[0] == ids[1] != ids[2]


# ---------------------------------------------------------------------- frozen, equal, shown


def test_nothing_in_a_tree_can_be_changed():
    tree = CASES["ragged"].tree
    with pytest.raises(FrozenInstanceError):
        tree.scope = tree.scope
    for name in ("cardinality", "level_ptr", "scope_ptr", "scope", "up", "potential_id", "label_set", "level", "parent",
                 "parent_factor", "factor_ptr", "leaves", "roots"):  # fmt: skip
        assert not getattr(tree, name).flags.writeable, name
    with pytest.raises(TypeError, match="unhashable"):
        hash(tree)


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


# ---------------------------------------------------------------------- size


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


def test_a_long_chain_does_not_recurse():
    tree = hgm.chain(100_000)
    assert tree.depth == 99_999 and tree.reroot("x50000").depth == 50_000


# ---------------------------------------------------------------------- errors


def tree_of(*factors, states=(), **options):
    """A tree from factors whose scopes are strings of one-letter names."""
    return hgm.Tree.from_factors([(tuple(scope), table) for scope, table in factors], dict(states), **options)


def edges(*pairs):
    return hgm.Tree.from_edges([(*pair, E22) for pair in pairs])


AB = {"a": 2, "b": 2}
ZERO = [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tree_of(("ab", E22), ("bc", E22), ("ca", E22)), hgm.NotATree, "a cycle: . - . - . - .. hgm is exact"),
        (lambda: tree_of(("ab", E22), ("ba", E22)), hgm.NotATree, "a and b share two factors"),
        (lambda: tree_of(("ab", E22), roots="ab"), hgm.NotATree, "'a' and 'b' are both wanted as roots"),
        (lambda: edges("ac", "bc"), hgm.NotATree, "'c' has two parents, 'a' and 'b'"),
        (lambda: edges("ab", "ba"), hgm.NotATree, "a cycle: a and b share two factors|a cycle: b and a share"),
        (lambda: edges("ab").reroot("a", "b"), hgm.NotATree, "'a' and 'b' are both wanted as roots"),
        (lambda: edges("ab").reroot("q"), hgm.BadEvidence, "no variable 'q'; it has a, b"),
        (lambda: tree_of(("ab", E22), roots=["q"]), hgm.BadSpec, "'q' is wanted as a root"),
        (lambda: tree_of(("aa", E22)), hgm.BadSpec, r"'a' comes twice in the scope \(a, a\)"),
        (lambda: tree_of(), hgm.BadSpec, "at least one variable"),
        (lambda: tree_of(("abc", E22)), hgm.BadPotential, r"\(a, b, c\) has 3 variables but .* \(2, 2\)"),
        (lambda: tree_of(("", E22)), hgm.BadPotential, r"\(\) has 0 variables"),
        (lambda: tree_of(("ab", [[1, 2, 3]] * 2), states=AB), hgm.BadPotential, r"\(2, 3\), .* \(2, 2\) states; axes"),
        (lambda: tree_of(("ab", [[1, -1]])), hgm.BadPotential, r"factor \(a, b\): .* non-negative"),
        (lambda: tree_of(("ab", [[1], [1, 2]])), hgm.BadPotential, r"factor \(a, b\): .* array of numbers"),
        (lambda: tree_of(("ab", E22), ("ac", [[1, 2]] * 3)), hgm.BadPotential, r"\(a, c\) has shape \(3, 2\)"),
        (lambda: tree_of(states={"a": 0}), hgm.BadSpec, "'a' has 0 states"),
        (lambda: tree_of(states={"a": []}), hgm.BadSpec, "'a' has an empty list of states"),
        (lambda: tree_of(states={"a": "xyz"}), hgm.BadSpec, "'a' needs a number of states or a list .* 'xyz'"),
        (lambda: tree_of(states={"a": 2.5}), hgm.BadSpec, "got 2.5"),
        (lambda: tree_of(states={"a": True}), hgm.BadSpec, "got True"),
        (lambda: tree_of(states={"a": ["u", "v", "u"]}), hgm.BadSpec, "the state label 'u' twice: u, v, u"),
        (lambda: tree_of(states={3: 2}), hgm.BadSpec, "must be a string; got 3"),
        (lambda: tree_of(("ab", E22), observed={"q": 0}), hgm.BadEvidence, "'q' is not in the model"),
        (lambda: tree_of(("ab", E22), observed={"a": 2}), hgm.BadEvidence, "'a' has no state 2; its states are 0, 1"),
        (lambda: tree_of(("ab", E22), observed={"a": "u"}), hgm.BadEvidence, "'a' has no state 'u'"),
        (lambda: tree_of(("ab", ZERO), observed={"a": 0, "b": 1}), hgm.ImpossibleEvidence, "'a' is zero there"),
        (lambda: tree_of(("ab", ZERO), observed={"a": 0}), hgm.ImpossibleEvidence, "probability zero"),
        (lambda: edges("ab").with_potentials([]), hgm.BadPotential, "1 distinct potentials; got 0"),
    ],
)
def test_what_is_wrong_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_errors_about_states():
    tree = hgm.Tree.from_edges([("a", "b", E22)], variables={"a": ["u", "v"]})
    a, b = tree.index("a"), tree.index("b")
    for variable, state, message in [
        (a, "w", "'a' has no state 'w'; its states are u, v"),
        (a, 2, "'a' has no state 2; its states are 0 to 1"),
        (b, "u", "'b' has no state labels; give 'u' as a number 0 to 1"),
        (b, -1, "'b' has no state -1"),
    ]:
        with pytest.raises(hgm.BadEvidence, match=message):
            tree.state(variable, state)
    with pytest.raises(hgm.BadEvidence, match=r"no variable 'q'; it has x0, x1, .*\.\.\."):
        hgm.chain(1000).index("q")


def test_replacing_potentials_refuses_another_kind_or_shape():
    tree = hgm.Tree.from_edges([("a", "b", E22)])
    for other in (hgm.Table(E22), hgm.Edge(np.ones((2, 3)))):
        with pytest.raises(hgm.BadPotential, match=r"potential 0 is Edge\(2x2\); it cannot be replaced by"):
            tree.with_potentials([other])


def test_labels_must_fit_the_states():
    tree = hgm.Tree.from_factors([], {"a": ["u", "v"]})
    with pytest.raises(hgm.BadSpec, match="'a' has 2 states but 3 state labels"):
        hgm.Tree.build(tree.names, tree.cardinality, tree.scope_ptr, tree.scope, tree.potential_id, (),
                       label_sets=(("u", "v", "w"),), label_set=tree.label_set)  # fmt: skip
