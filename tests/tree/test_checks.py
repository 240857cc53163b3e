"""Declarations that cannot be: states, labels and tables, each refused with what is wrong and where."""

import numpy as np
import pytest

import hgm

E22 = [[0.9, 0.1], [0.2, 0.8]]


def test_numpy_integers_count_states():
    assert hgm.Tree.from_factors([], {"a": np.int64(3)}).cardinality.tolist() == [3]


def test_labels_must_fit_the_states():
    tree = hgm.Tree.from_factors([], {"a": ["u", "v"]})
    with pytest.raises(hgm.BadSpec, match="'a' has 2 states but 3 state labels"):
        hgm.Tree.build(tree.names, tree.cardinality, tree.scope_ptr, tree.scope, tree.potential_id, (),
                       label_sets=(("u", "v", "w"),), label_set=tree.label_set)  # fmt: skip


# ---------------------------------------------------------------------- errors


def tree_of(*factors, states=(), **options):
    """A tree from factors whose scopes are strings of one-letter names."""
    return hgm.Tree.from_factors([(tuple(scope), table) for scope, table in factors], dict(states), **options)


AB = {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
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
        (lambda: tree_of(states={("a", None, ()): 0}), hgm.BadSpec, "has 0 states"),
    ],
)
def test_what_is_wrong_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
