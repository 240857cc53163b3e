"""Observed variables: the model that is left is the model given what was observed."""

import numpy as np
import pytest
from oracles.enumeration import Joint
from oracles.promises import check_structure, joint, same_joint

import hgm
from hgm.tree.pool import as_potential

E22 = [[0.9, 0.1], [0.2, 0.8]]
ZERO = [[0, 0], [1, 1]]


@pytest.mark.parametrize("kind", ["table", "rules"])
def test_conditioning_slices_factors_and_keeps_what_they_weigh(kind):
    rng = np.random.default_rng(5)
    table = rng.uniform(0.5, 2.0, (2, 3, 2, 2))
    potential = hgm.Table(table)
    if kind == "rules":
        table[rng.random(table.shape) < 0.4] = 0.0
        potential = hgm.Rules(table.shape, np.argwhere(table > 0), table[table > 0])
    factors = [(("a", "b", "c", "d"), potential), (("d", "e"), E22), (("a",), [2.0, 3.0]), (("c", "f"), E22)]
    plain = Joint("abcdef", (2, 3, 2, 2, 2, 2), [(s, np.exp(as_potential(p).dense_log())) for s, p in factors])
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


@pytest.mark.parametrize(
    ("table", "observed", "error", "message"),
    [
        (E22, {"q": 0}, hgm.BadEvidence, "'q' is not in the model"),
        (E22, {"a": 2}, hgm.BadEvidence, "'a' has no state 2; its states are 0 to 1"),
        (E22, {"a": "u"}, hgm.BadEvidence, "'a' has no state labels; give 'u' as a number 0 to 1"),
        (E22, {"b": "u"}, hgm.BadEvidence, "'b' has no state 'u'; its states are no, yes"),
        (ZERO, {"a": 0, "b": 1}, hgm.ImpossibleEvidence, "'a' is zero there"),
        (ZERO, {"a": 0}, hgm.ImpossibleEvidence, "probability zero"),
        ([[1, 2, 3]] * 2, {"a": 0}, hgm.BadPotential, r"\(a, b\) has shape \(2, 3\), but .* \(2, 2\) states"),
    ],
)
def test_what_cannot_be_observed_is_named(table, observed, error, message):
    with pytest.raises(error, match=message):
        hgm.Tree.from_factors([(("a", "b"), table)], {"a": 2, "b": ["no", "yes"]}, observed=observed)
