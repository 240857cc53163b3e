"""The approximation of exp for sums: its weighted tolerance."""

import math

import numpy as np
import pytest

from hgm.relu.pieces.tube import relative_exp


@pytest.mark.parametrize("ratio", [1e-3, 1.0, 300.0, 1e6])
@pytest.mark.parametrize("tol", [0.5, 1e-2, 1e-3])
def test_relative_exp_keeps_its_weighted_tolerance(ratio, tol):
    p = relative_exp(ratio, tol=tol)
    x = np.append(np.linspace(-60, 0, 100_001), p.knots)
    assert p(0.0) == pytest.approx(1.0, abs=1e-12)
    used = np.abs(p(x) - np.exp(x)) / (np.exp(x) + 1 / ratio)
    assert used.max() <= tol * (1 + 1e-6)
    if p.units > 5:
        assert p.units == pytest.approx(math.asinh(math.sqrt(ratio)) / (2 * math.sqrt(tol)), rel=0.1, abs=1.5)
