"""Uniform grids: their units and their errors."""

import pytest

from hgm.relu.pieces.grids import uniform_exp, uniform_log
from hgm.relu.pieces.piecewise import certify
from hgm.relu.pieces.targets import Exp, Log


@pytest.mark.parametrize("units", [0, 1, 7, 300])
def test_uniform_grids(units):
    p, q = uniform_exp(units), uniform_log(0.5, 8.0, units)
    assert p.units == q.units == units
    assert certify(p, Exp()).sup == pytest.approx(1 / (units + 1))
    if units > 100:
        assert certify(q, Log(0.5, 8.0)).sup == pytest.approx((15 / (units + 1)) ** 2 / 8, rel=0.1)
