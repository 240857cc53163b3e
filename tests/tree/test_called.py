"""Potentials are found by their names, or by the variables of their factors; never by what could mean another one."""

import pytest

import hgm
from hgm.tree.called import potential_called, potential_number

STEP = hgm.Edge([[0.9, 0.1], [0.4, 0.6]], name="step")
TREE = hgm.Tree.from_factors(
    [
        (("a", "b"), STEP),
        (("b", "c"), STEP),
        (("x", "c"), hgm.Edge([[0.7, 0.3], [0.2, 0.8]])),
        (("c", "d", "e"), hgm.Rules((2, 2, 2), [[0, 0, 1], [1, 1, 0]], name="fork")),
        (("a",), [0.5, 0.5]),
        (("d",), [0.2, 0.3]),
        (("d",), [0.1, 0.4]),
    ],
    roots=["b"],
)


def test_by_name_and_by_scope():
    for key, name in (("step", "step"), ("fork", "fork"), (("c", "d", "e"), "fork")):
        assert TREE.potentials[potential_number(TREE, key)].name == name
    for key in (("x", "c"), ("a",)):
        number = potential_number(TREE, key)
        (factor,) = (f for f in range(TREE.factors) if TREE.scope_names(f) == key)
        assert number == TREE.potential_id[factor] and potential_called(TREE.potentials, number) == str(number)
    assert potential_called(TREE.potentials, potential_number(TREE, "step")) == "'step'"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("stepp", r"no potential of this tree is called 'stepp'; did you mean 'step'\?; names are step, fork"),
        ("a", "a factor is called by the tuple of its variables"),
        (("c", "x"), r"the axes of the factor over \(c, x\) are \(x, c\); name its variables in that order"),
        (("a", "b"), r"the potential of \(a, b\) is that of 2 factors; call it by its name, 'step'"),
        (("a", "c"), r"no factor over \(a, c\)"),
        (("b",), r"no factor over \(b\)"),
        (("d",), r"several factors over \(d\)"),
        (("a", "b", "c"), "no factor over"),
        (("a", "a"), "no factor over"),
        ((), "by its name or the tuple"),
        (3, "by its name or the tuple"),
        (None, "by its name or the tuple"),
        (["a", "b"], "by its name or the tuple"),
    ],
)
def test_what_calls_no_potential_is_refused(key, message):
    with pytest.raises(hgm.BadPotential, match=message):
        potential_number(TREE, key)


def test_an_unknown_variable_and_trees_without_names():
    with pytest.raises(hgm.BadEvidence, match="no variable 'z'"):
        potential_number(TREE, ("a", "z"))
    tree = hgm.Tree.from_factors([(("a", "b"), tied := hgm.Edge([[1, 2], [3, 4]])), (("b", "c"), tied)])
    with pytest.raises(hgm.BadPotential, match="none has a name"):
        potential_number(tree, "step")
    with pytest.raises(hgm.BadPotential, match="is that of 2 factors; give it a name, or each factor its own table"):
        potential_number(tree, ("a", "b"))
