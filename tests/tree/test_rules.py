"""Rules: a table of few entries."""

import numpy as np
import pytest

import hgm


def test_rules_are_the_dense_table_with_zeros_elsewhere():
    rules = hgm.Rules((2, 3, 2), [[0, 1, 1], [1, 2, 0]], [0.5, 2.0])
    dense = np.zeros((2, 3, 2))
    dense[0, 1, 1], dense[1, 2, 0] = 0.5, 2.0
    assert np.array_equal(np.exp(rules.dense_log()), dense)
    assert hgm.Rules((2, 2), [[0, 1]]).values.tolist() == [1.0], "weights default to one"


def test_log_weights_of_any_states_in_any_shape():
    rules = hgm.Rules((2, 3, 2), [[0, 1, 1], [1, 2, 0]], [0.5, 2.0])
    at = tuple(np.indices(rules.shape))
    assert np.array_equal(rules.log_at(at), rules.dense_log())
    assert rules.log_at(tuple(np.array(x) for x in (1, 2, 0))) == np.log(2.0)


def test_huge_rules_are_never_made_dense():
    shape = (1000,) * 6
    rules = hgm.Rules(shape, [[7] * 6, [8] * 6], [1.0, 0.0])
    tree = hgm.Tree.from_factors([(tuple("abcdef"), rules)])
    assert not rules.positive and rules.support().tolist() == [[7] * 6]
    assert float(hgm.infer(tree).log_partition) == 0.0
    assert hgm.Tree.from_factors([(tuple("abcdef"), rules)], observed={"a": 7}).potentials[0].shape == shape[1:]


@pytest.mark.parametrize(
    ("make", "message"),
    [
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
        (lambda: hgm.Rules((2, 2), [[0, 1]]).with_log([0.0, 0.0]), r"shape \(2,\); its own have \(1,\)"),
    ],
)
def test_bad_rules_are_refused(make, message):
    with pytest.raises(hgm.BadPotential, match=message):
        make()
