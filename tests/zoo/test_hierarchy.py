"""Layered models: who is whose parent, which table is where, what is tied, and what is refused."""

import numpy as np
import pytest
from oracles.trees import CASES

import hgm
from hgm import Level


def parent_of(tree, name):
    """The parent's name, and the potential's number, of a variable."""
    f = tree.parent_factor[tree.index(name)]
    return tree.names[tree.parent[f]], int(tree.potential_id[f])


def matrices(count, above=2, below=2):
    return [np.arange(1.0, above * below + 1).reshape(above, below) + 10 * i for i in range(count)]


# ---------------------------------------------------------------------- shape


def test_a_line_hangs_children_in_order():
    tree = hgm.ghm([Level(3, 2), Level(2, 4)], 5)
    assert list(tree.names) == ["label", "h1_0", "h1_1", "h1_2", *(f"x{i}" for i in range(6))]
    assert tree.cardinality.tolist() == [5, 2, 2, 2] + [4] * 6
    assert [parent_of(tree, f"x{i}")[0] for i in range(6)] == ["h1_0", "h1_0", "h1_1", "h1_1", "h1_2", "h1_2"]
    assert tree.grid == ((), (3,), (6,)) and tree.depth == 2


def test_a_grid_hangs_children_in_blocks():
    tree = hgm.ghm([Level((2, 1), 2), Level((2, 3), 2)], 2, grid=(4, 3))
    assert tree.grid == ((), (2, 1), (4, 3))
    for r in range(4):
        for c in range(3):
            assert parent_of(tree, f"x{r}_{c}")[0] == f"h1_{r // 2}_{c // 3}"


def test_variables_are_row_major_inside_a_level():
    tree = hgm.ghm([Level((2, 2), 2), Level((2, 2), 2)], 2)
    assert [tree.names[v] for v in tree.at_level(2)] == [f"x{r}_{c}" for r in range(4) for c in range(4)]
    assert tree.leaves.tolist() == tree.at_level(2).tolist()


def test_no_levels_make_a_single_variable():
    tree = hgm.ghm([], 3, prior=[1, 2, 3], root_name="class")
    assert len(tree) == 1 and tree.names[0] == "class" and tree.grid == ((),)
    assert tree.potentials[0].values.tolist() == [1, 2, 3]


def test_names_and_labels():
    tree = hgm.ghm([Level(2, ("u", "v"), name="part"), Level(1, 3, name="pixel_")], ["cat", "dog"])
    assert list(tree.names) == ["label", "part0", "part1", "pixel_0", "pixel_1"]
    assert [tree.labels(v) for v in (0, 1, 2, 3)] == [("cat", "dog"), ("u", "v"), ("u", "v"), None]


# ---------------------------------------------------------------------- tables and ties


def test_one_matrix_is_shared_by_the_level():
    tree = hgm.ghm([Level(2, 2, matrices(1)[0]), Level(2, 2, matrices(1)[0])], 2)
    assert tree.potential_id[1:].tolist() == [1, 1, 2, 2, 2, 2], "equal arrays on two levels are not tied"


@pytest.mark.parametrize("given", [matrices(6), np.array(matrices(6))], ids=["list", "array"])
def test_a_matrix_for_each_position(given):
    tree = hgm.ghm([Level((2, 1), 2), Level((2, 3), 2, given)], 2)
    for r in range(4):
        for c in range(3):
            potential = tree.potentials[parent_of(tree, f"x{r}_{c}")[1]]
            assert np.array_equal(potential.values, given[3 * (r % 2) + c])
    assert len(tree.potentials) == 1 + 2 + 6


def test_a_matrix_for_each_node_row_by_row():
    given = matrices(8)
    tree = hgm.ghm([Level((1, 2), 2), Level((2, 2), 2, given)], 2)
    for r in range(2):
        for c in range(4):
            assert np.array_equal(tree.potentials[parent_of(tree, f"x{r}_{c}")[1]].values, given[4 * r + c])


@pytest.mark.parametrize("count", [1, 2], ids=["shared", "one for each parent"])
def test_joint_tables_take_the_children_by_position(count):
    rng = np.random.default_rng(0)
    given = [hgm.Table(rng.uniform(1, 2, (2, 3, 3, 3, 3))) for _ in range(count)]
    tree = hgm.ghm([Level((1, 2), 2), Level((2, 2), 3, given if count > 1 else given[0])], 2)
    for i, parent in enumerate(("h1_0_0", "h1_0_1")):
        f = tree.factor_ptr[tree.index(parent)]
        scope = [tree.names[v] for v in tree.scope_of(f)]
        assert scope == [parent, *(f"x{r}_{2 * i + c}" for r in (0, 1) for c in (0, 1))]
        assert tree.potential_of(f) is given[i % count]


def test_rules_are_joint_also_with_one_child():
    rules = hgm.Rules((2, 2), [[0, 1], [1, 0]])
    tree = hgm.ghm([Level(2, 2, hgm.Rules((2, 2, 2), [[0, 1, 0], [1, 0, 0]])), Level(1, 2, rules)], 2)
    assert tree.factors == 1 + 1 + 2 and tree.potential_of(3) is rules


def test_one_object_is_tied_wherever_it_is_given():
    shared, matrix = hgm.Edge(matrices(1)[0]), matrices(1)[0]
    tree = hgm.ghm([Level(2, 2, shared), Level(2, 2, [shared, matrix]), Level(2, 2, matrix)], 2)
    assert len(tree.potentials) == 3
    assert [parent_of(tree, name)[1] for name in ("h1_0", "h1_1", "h2_0", "h2_1", "x0", "x7")] == [1, 1, 1, 2, 2, 2]


def test_random_tables_are_conditional_reproducible_and_tied_as_told():
    def build(tie, seed=3):
        return hgm.ghm([Level((2, 2), 3, tie=tie), Level((2, 1), 4, tie=tie)], 2, seed=seed)

    for tie, count in (("position", 4 + 2), ("level", 1 + 1), ("none", 4 + 8)):
        tree = build(tie)
        assert len(tree.potentials) == 1 + count, tie
        assert tree == build(tie) and tree != build(tie, 4)
        for potential in tree.potentials:
            assert potential.values.sum(-1) == pytest.approx(np.ones(potential.shape[:-1]))


def test_the_prior_is_uniform_unless_given():
    assert hgm.ghm([Level(2, 2)], 4).potentials[0].values.tolist() == [0.25] * 4
    logs = hgm.Table.from_log([0.0, -np.inf])
    assert hgm.ghm([Level(2, 2)], 2, prior=logs).potentials[0] is logs


@pytest.mark.parametrize("name", ["binary_tied", "binary_untied", "quad_2d", "joint_table", "rhm"])
def test_layered_cases_are_what_plain_factors_make(name):
    """The plain model of each case spells out parents and tables by itself, in `tests/oracles/trees.py`."""
    case = CASES[name]
    plain = hgm.Tree.from_factors(case.factors, roots=["label"])
    assert list(plain.names) == list(case.tree.names) and case.tree.grid is not None
    for f in range(plain.factors):
        assert plain.scope_of(f).tolist() == case.tree.scope_of(f).tolist()
        a, b = (np.exp(tree.potential_of(f).dense_log()) for tree in (plain, case.tree))
        assert np.allclose(a, b, rtol=1e-13)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: hgm.ghm([Level(0, 2)], 2), hgm.BadSpec, "level 1 has arity 0; .* one number of at least 1"),
        (
            lambda: hgm.ghm([Level(2, 2), Level((2, 2), 2)], 2),
            hgm.BadSpec,
            r"level 1 has arity 2; .* \(rows, columns\)",
        ),
        (lambda: hgm.ghm([Level((2, 2, 2), 2)], 2), hgm.BadSpec, r"arity \(2, 2, 2\)"),
        (lambda: hgm.ghm([Level([2, 2], 2)], 2), hgm.BadSpec, r"arity \[2, 2\]"),
        (lambda: hgm.ghm([Level(2.0, 2)], 2), hgm.BadSpec, "arity 2.0"),
        (lambda: hgm.ghm([Level(True, 2)], 2), hgm.BadSpec, "arity True"),
        (lambda: hgm.ghm([Level(10**6, 2)] * 4, 2), hgm.BadSpec, "level 2 has 1000000000000 nodes"),
        (lambda: hgm.ghm([Level(2, 10**6, tie="none")], 10**6), hgm.BadSpec, "random tables would have"),
        (lambda: hgm.ghm([Level(2, 0)], 2), hgm.BadSpec, "level 1 has 0 states"),
        (lambda: hgm.ghm([Level(2, 2)], 0), hgm.BadSpec, "the root has 0 states"),
        (lambda: hgm.ghm([Level(2, "ab")], 2), hgm.BadSpec, "level 1 needs a number of states .* 'ab'"),
        (lambda: hgm.ghm([Level(2, ["a", "a"])], 2), hgm.BadSpec, "level 1 has the state label 'a' twice"),
        (lambda: hgm.ghm([Level(2, 2, tie="all")], 2), hgm.BadSpec, "level 1: tie must be .* got 'all'"),
        (
            lambda: hgm.ghm([Level(2, 2, name="label")], 2),
            hgm.BadSpec,
            "level 1 is named 'label', and so is the root; .* by root_name=",
        ),
        (lambda: hgm.ghm([Level(2, 2, name="x"), Level(2, 2, name="x1")], 2), hgm.BadSpec, "could give two variables"),
        (lambda: hgm.ghm([Level(2, 2)], 2, grid=(3,)), hgm.BadSpec, r"grid \(3,\) does not fit: .* multiply to \(2,\)"),
        (lambda: hgm.ghm([Level((2, 2), 2)], 2, grid=(4,)), hgm.BadSpec, r"multiply to \(2, 2\)"),
        (lambda: hgm.ghm([Level(3, 2, matrices(2))], 2), hgm.BadSpec, r"got 2 potentials; expected one of \[1, 3\]"),
        (lambda: hgm.ghm([Level(2, 2, [])], 2), hgm.BadSpec, "got 0 potentials"),
        (lambda: hgm.ghm([Level(2, 2, 0.5)], 2), hgm.BadSpec, "level 1 needs a potential or a list of them; got 0.5"),
        (
            lambda: hgm.ghm([Level(2, 2), Level(2, 2, [hgm.Table(np.ones((2, 2, 2)))] * 3)], 2),
            hgm.BadSpec,
            r"level 2: got 3 potentials; expected one of \[1, 2\] \(shared, or one per parent\)",
        ),
        (
            lambda: hgm.ghm([Level(2, 3, matrices(1, 3, 2))], 2),
            hgm.BadPotential,
            r"level 1: a potential has shape \(3, 2\), expected \(2, 3\) \(parent states first\)",
        ),
        (
            lambda: hgm.ghm([Level(3, 2, hgm.Table(np.ones((2, 2, 2))))], 2),
            hgm.BadPotential,
            r"shape \(2, 2, 2\), expected \(2, 2, 2, 2\)",
        ),
        (lambda: hgm.ghm([Level(2, 2, [[1, -1], [1, 1]])], 2), hgm.BadPotential, "level 1: .* non-negative"),
        (lambda: hgm.ghm([Level(2, 2)], 2, prior=[1, 1, 1]), hgm.BadPotential, r"prior has shape \(3,\); .* 2 states"),
        (lambda: hgm.ghm([Level(2, 2)], 2, prior=[1, -1]), hgm.BadPotential, "non-negative"),
    ],
)
def test_what_is_wrong_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
