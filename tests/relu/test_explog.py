"""Constructions A and B: the error that exp makes in a sum, and the count of the baseline."""

import numpy as np
import pytest
from relu.matrices import matrix

from hgm.relu.constructions.choose import baseline_size, build
from hgm.relu.constructions.explog import relative_error
from hgm.relu.pieces.grids import uniform_exp
from hgm.relu.pieces.targets import Exp, minimax
from hgm.relu.pieces.tube import relative_exp


@pytest.mark.parametrize(
    "exp",
    [
        relative_exp(30.0, units=6),
        minimax(Exp(), units=5),
        minimax(Exp(), units=5).moved(up=-0.0079),
        uniform_exp(9),
    ],
    ids=["relative", "minimax", "below exp", "uniform"],
)
@pytest.mark.parametrize("ratio", [0.0, 0.5, 30.0, 2000.0])
def test_relative_error_of_a_sum_is_exact(exp, ratio):
    """Of all sums e^0 + ratio e^x, on a grid, the extreme ones have the error that is claimed for all."""
    x = np.append(np.linspace(-30, 0, 100_001), exp.knots)
    sums = [np.log(exp(0.0) + r * exp(x)) - np.log1p(r * np.exp(x)) for r in np.linspace(0, ratio, 20)]
    low, high = relative_error(exp, ratio)
    assert low <= np.min(sums) and np.max(sums) <= high
    assert low == pytest.approx(np.min(sums), rel=1e-3, abs=1e-9)
    assert high == pytest.approx(np.max(sums), rel=1e-3, abs=1e-9)


def test_baseline_is_counted_as_it_is_built():
    table = matrix("4x4")
    built = build("A", table, 0.3)
    units, parameters_ = baseline_size(table, 0.3)
    assert units == built.units
    assert parameters_ == built.parameter_count
