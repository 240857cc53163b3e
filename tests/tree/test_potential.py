"""Potentials: what they hold, what they refuse, and that nothing can change them."""

import copy
import pickle

import numpy as np
import pytest

import hgm
from hgm.tree.pool import as_potential


def test_log_potential_is_the_natural_log_with_hard_zeros():
    table = hgm.Table([[1.0, 0.0], [np.e, 1e-300]])
    assert table.log_potential.tolist() == [[0.0, -np.inf], [1.0, np.log(1e-300)]]
    assert table.shape == (2, 2) and table.axes == 2 and table.size == 4


def test_values_are_kept_as_given_and_computed_from_logs():
    given = np.array([0.1, 0.2, 0.7])
    assert hgm.Table(given).has_values and hgm.Table(given).values.tolist() == given.tolist()
    logs = hgm.Table.from_log([0.0, -np.inf])
    assert not logs.has_values and logs.values.tolist() == [1.0, 0.0]


def test_a_potential_is_a_copy_and_read_only():
    array = np.ones((2, 2))
    potential = hgm.Edge(array)
    array[0, 0] = 5.0
    assert potential.values[0, 0] == 1.0
    potential.values[0, 0] = 2.0  # a copy
    assert potential.values[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        potential.log_potential[0, 0] = 2.0


def test_equality_is_of_kind_shape_and_entries():
    edge = hgm.Edge([[1, 2], [3, 4]])
    assert edge == hgm.Edge([[1.0, 2.0], [3.0, 4.0]])
    assert edge != hgm.Edge([[1, 3], [2, 4]]), "transposed"
    assert edge != hgm.Table([[1, 2], [3, 4]]), "another kind"
    assert hgm.Table([1, 2]) != hgm.Table([1, 2, 3])
    assert hgm.Rules((2, 2), [[0, 1]]) != hgm.Rules((2, 2), [[1, 0]]), "other states"
    assert edge != "edge"


def test_scaled_and_with_log_keep_kind_and_support():
    rules = hgm.Rules((2, 2), [[0, 1], [1, 0]], [1.0, 2.0])
    scaled = rules.scaled(np.log(3.0))
    assert isinstance(scaled, hgm.Rules) and np.allclose(scaled.values, [3.0, 6.0])
    edge = hgm.Edge([[1.0, 0.0]]).with_log([[-np.inf, 0.0]])
    assert isinstance(edge, hgm.Edge) and edge.values.tolist() == [[0.0, 1.0]]


def test_a_matrix_becomes_an_edge_and_other_arrays_tables():
    assert type(as_potential([[1, 2]])) is hgm.Edge
    assert type(as_potential([1, 2])) is hgm.Table
    assert type(as_potential(np.ones((2, 2, 2)))) is hgm.Table
    edge = hgm.Edge([[1.0]])
    assert as_potential(edge) is edge


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hgm.Table([0.5, -0.5]), r"non-negative; entry \(1,\) is -0.5"),
        (lambda: hgm.Table([[0.5, np.nan]]), r"finite; entry \(0, 1\) is nan"),
        (lambda: hgm.Table([0.5, np.inf]), r"finite; entry \(1,\) is inf"),
        (lambda: hgm.Table.from_log([0.0, np.inf]), r"finite; entry \(1,\) is inf"),
        (lambda: hgm.Table([0.0, 0.0]), "zero everywhere"),
        (lambda: hgm.Table(0.5), "at least one axis"),
        (lambda: hgm.Table(np.ones((2, 0))), "no empty one"),
        (lambda: hgm.Table([[1], [1, 2]]), "array of numbers"),
        (lambda: hgm.Table("abc"), "array of numbers"),
        (lambda: hgm.Edge([1.0, 2.0]), r"matrix \(parent states, child states\); got shape \(2,\)"),
        (lambda: hgm.Edge(np.ones((2, 2, 2))), "Use Table"),
        (lambda: hgm.Table([1.0, 2.0]).with_log([0.0]), r"Table\(2\) cannot take entries of shape \(1,\)"),
        (lambda: hgm.Edge(np.ones((2, 3))).with_log(np.zeros((3, 2))), r"cannot take entries of shape \(3, 2\)"),
    ],
)
def test_bad_potentials_are_refused(make, message):
    with pytest.raises(hgm.BadPotential, match=message):
        make()


# ---------------------------------------------------------------------- names

MAKERS = {
    "Edge": lambda name: hgm.Edge([[0.25, 0.75], [0.5, 0.5]], name=name),
    "Edge.from_log": lambda name: hgm.Edge.from_log([[0.0, -1.0], [-2.0, -np.inf]], name=name),
    "Table": lambda name: hgm.Table([[0.25, 0.75], [0.5, 0.5]], name=name),
    "Rules": lambda name: hgm.Rules((2, 2), [[0, 0], [1, 1]], [0.5, 0.25], name=name),
    "Rules.from_log": lambda name: hgm.Rules.from_log((2, 2), [[0, 0], [1, 1]], [0.5, 0.25], name=name),
    "named": lambda name: hgm.Table([[1, 2], [3, 4]]).named(name),
}


@pytest.mark.parametrize("made", MAKERS.values(), ids=MAKERS)
def test_a_name_stays_with_other_numbers_and_is_no_part_of_equality(made):
    plain, named = made(None), made("transition")
    assert plain.name is None and named.name == "transition" and "name='transition'" in repr(named)
    assert plain == named and hash(plain) == hash(named)
    others = [named.scaled(1.0), named.with_log(named.log_potential * 2), named.with_values(named.values * 2)]
    others += [copy.deepcopy(named), pickle.loads(pickle.dumps(named))]
    assert [other.name for other in others] == ["transition"] * 5
    assert named.named("b").name == "b" and named.named(None).name is None and named.name == "transition"


@pytest.mark.parametrize("name", [3, "", ("a", "b"), b"x", np.nan])
def test_a_name_is_a_string(name):
    for make in (MAKERS["Edge"], MAKERS["Rules"], MAKERS["named"]):
        with pytest.raises(hgm.BadPotential, match="the name of a potential must be a string that is not empty; got"):
            make(name)
