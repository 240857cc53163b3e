"""A function to approximate, from outside: best, certified and refused as those of the library."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from hgm.errors import Uncertifiable
from hgm.relu.pieces.piecewise import PiecewiseLinear, Target, certify
from hgm.relu.pieces.targets import minimax


@dataclass(frozen=True)
class Square(Target):
    """``x^2`` for 0 <= x <= 1: the chord of a piece of width w is off by up to w^2 / 4, half of that once shifted."""

    low = 0.0
    high = 1.0

    def __call__(self, x):
        return np.square(x)

    def tangents(self, slopes):
        return slopes[None] / 2

    def best(self, units, tol):
        pieces = math.ceil(1 / math.sqrt(8 * tol)) if units is None else units + 1
        x = np.arange(pieces + 1) / pieces
        slopes = (x[1:] + x[:-1])[[0, -1]]
        inner = slice(1, -1) if pieces > 1 else slice(0, 1)
        return PiecewiseLinear(x[inner], (x**2 - 1 / (8 * pieces**2))[inner], *slopes)


@pytest.mark.parametrize("tol", [0.2, 1e-2, 1e-5])
def test_its_tolerance_is_kept_with_the_fewest_kinks(tol):
    p = minimax(Square(), tol=tol)
    x = np.linspace(0, 1, 100_001)
    errors = p(x) - x**2
    proved = certify(p, Square())
    assert proved.low <= errors.min() and errors.max() <= proved.high <= tol
    assert proved.sup == pytest.approx(np.abs(errors).max(), rel=1e-3)
    if p.units:
        assert certify(minimax(Square(), units=p.units - 1), Square()).sup > tol


def test_a_best_approximation_that_is_none_is_refused():
    class Boastful(Square):
        def best(self, units, tol):
            return super().best(2, None)

    with pytest.raises(Uncertifiable, match="below what float64 can certify"):
        minimax(Boastful(), tol=1e-3)
