"""Potentials: what they hold, what they refuse, and that nothing can change them."""

import numpy as np
import pytest

import hgm
from hgm.tree.potential import Pool, as_potential


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
    for held in (potential.values, potential.log_potential):
        with pytest.raises(ValueError, match="read-only"):
            held[0, 0] = 2.0


def test_rules_are_the_dense_table_with_zeros_elsewhere():
    rules = hgm.Rules((2, 3, 2), [[0, 1, 1], [1, 2, 0]], [0.5, 2.0])
    dense = np.zeros((2, 3, 2))
    dense[0, 1, 1], dense[1, 2, 0] = 0.5, 2.0
    assert np.array_equal(np.exp(rules.dense_log()), dense)
    assert hgm.Rules((2, 2), [[0, 1]]).values.tolist() == [1.0], "weights default to one"


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


def test_a_pool_numbers_objects_and_not_values():
    pool = Pool()
    matrix, same = np.ones((2, 2)), np.ones((2, 2))
    assert [pool.number(p) for p in (matrix, same, matrix)] == [0, 1, 0]
    assert len(pool.potentials) == 2
    # temporaries must not share a number because they shared a place in memory
    assert len({pool.number(np.full(2, 1.0 + i)) for i in range(100)}) == 100


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
        (lambda: hgm.Table([1.0, 2.0]).with_log([0.0]), r"shape \(2,\) cannot take entries of shape \(1,\)"),
        (lambda: hgm.Edge(np.ones((2, 3))).with_log(np.zeros((3, 2))), r"cannot take entries of shape \(3, 2\)"),
        (lambda: hgm.Rules((2, 2), [[0, 2]]), "rule 0 has state 2 on axis 1; allowed are 0 to 1"),
        (lambda: hgm.Rules((2, 2), [[0, -1]]), "rule 0 has state -1"),
        (lambda: hgm.Rules((2, 2), [[0, 1], [0, 1]]), "listed twice"),
        (lambda: hgm.Rules((2, 2), [[0.5, 1.0]]), "integer states"),
        (lambda: hgm.Rules((2, 2), [[0, 1, 1]]), r"integer states of shape \(R, 2\)"),
        (lambda: hgm.Rules((2, 2), [0, 1]), "matrix"),
        (lambda: hgm.Rules((2, 2), [[0], [0, 1]]), "matrix"),
        (lambda: hgm.Rules((2, 2), [[0, 1]], [1.0, 2.0]), "1 rules need as many weights"),
        (lambda: hgm.Rules((2, 2), [[0, 1]], [-1.0]), "non-negative"),
        (lambda: hgm.Rules((2, 2), [[0, 1]], [0.0]), "without a positive weight"),
        (lambda: hgm.Rules((), np.zeros((0, 0), dtype=int)), "at least one axis"),
        (lambda: hgm.Rules((2, 2), [[0, 1]]).with_log([0.0, 0.0]), "1 rules need as many weights"),
    ],
)
def test_bad_potentials_are_refused(make, message):
    with pytest.raises(hgm.BadPotential, match=message):
        make()
