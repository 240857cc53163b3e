"""Best approximations: their tolerances, their numbers of pieces by the theory, and against a direct search."""

import math

import numpy as np
import pytest
from relu.functions import TARGETS, sampled
from scipy.optimize import minimize

from hgm.errors import HgmError, Uncertifiable
from hgm.relu.pieces.piecewise import PiecewiseLinear, certify
from hgm.relu.pieces.targets import Exp, LogRatio, minimax

DENSITY = {"exp": 0.5, "log": math.log(300) / 4, "softplus tail": math.pi / 8}

DENSITY |= {name: TARGETS[name][0].density for name in ("rising", "falling", "weak")}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("tol", [0.2, 1e-2, 1e-3])
def test_minimax_keeps_its_tolerance_and_its_certificate_is_sharp(name, tol):
    target = TARGETS[name][0]
    p = minimax(target, tol=tol)
    range_, (least, most) = certify(p, target), sampled(p, name)
    assert range_.sup <= tol
    assert range_.low <= least and most <= range_.high
    assert range_.high <= 1.02 * most and range_.low >= 1.02 * least
    assert range_.high == pytest.approx(-range_.low, rel=1e-4)  # the error reaches both edges of the tube


@pytest.mark.parametrize("name", ["exp", "log", "softplus tail", "rising", "falling"])
@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_one_unit_less_misses_the_tolerance(name, tol):
    target = TARGETS[name][0]
    p = minimax(target, tol=tol)
    step = 2 if isinstance(target, LogRatio) else 1
    assert certify(minimax(target, units=p.units - step), target).sup > tol
    same = minimax(target, units=p.units)
    assert same.units == p.units and certify(same, target).sup == pytest.approx(certify(p, target).sup, rel=1e-4)


@pytest.mark.parametrize("name", ["exp", "log", "softplus tail", "rising", "falling", "weak"])
def test_number_of_pieces_follows_the_formula(name):
    target = TARGETS[name][0]
    pieces = minimax(target, tol=1e-5).units + 1
    assert pieces * math.sqrt(1e-5) == pytest.approx(DENSITY[name], rel=0.03)


def test_density_of_a_steep_ratio_is_that_of_two_separate_bends():
    assert LogRatio(0.0, 400.0, 0.0, -400.0).density == pytest.approx(math.pi / 2, rel=1e-3)
    assert LogRatio(1.0, 3.0, 0.0, 2.0).density == 0.0


@pytest.mark.parametrize(("name", "units"), [("exp", 1), ("exp", 2), ("softplus tail", 1), ("softplus tail", 2)])
def test_no_other_function_with_as_few_kinks_does_better(name, units):
    """A direct search over knots and values, from random starts, ends where the march does."""
    target, g, (low, high) = TARGETS[name]
    grid = np.linspace(low, high, 8001)
    rng = np.random.default_rng(0)
    best = minimax(target, units=units)

    def function(free):
        left, right = (0.0, free[-1]) if name == "exp" else (free[-1], 0.0)
        return PiecewiseLinear(free[:units], free[units:-1], left, right)

    def error(free):
        return np.abs(function(free)(grid) - g(grid)).max() if (np.diff(free[:units]) > 1e-3).all() else 10.0

    ours = np.array([*best.knots, *best.values, best.right if name == "exp" else best.left])
    starts = ours * (1 + 0.2 * rng.standard_normal((4, ours.size)))
    found = [minimize(error, start, method="Nelder-Mead", options={"maxfev": 1500}).x for start in starts]
    least = min(certify(function(free), target).sup for free in found)
    assert certify(best, target).sup <= least <= 1.1 * certify(best, target).sup


@pytest.mark.parametrize("bend", [1e-9, 1e-4, 30.0, 900.0])
@pytest.mark.parametrize("tol", [0.1, 1e-3])
def test_ratios_weak_and_extreme(bend, tol):
    target = LogRatio(700.0, 700.0 + bend, -700.0, -700.0 - bend)
    p = minimax(target, tol=tol)
    assert certify(p, target).sup <= tol
    x = target.center + np.concatenate((np.linspace(-2, 2, 1001) * (bend + 40), [-1e6, 1e6]))
    exact = np.logaddexp(700.0, 700.0 + bend + x) - np.logaddexp(-700.0, -700.0 - bend + x)
    assert np.abs(p(x) - exact).max() <= tol + 1e-9


def test_bad_requests_are_refused():
    with pytest.raises(HgmError, match="either units or tol"):
        minimax(Exp())
    with pytest.raises(HgmError, match="positive"):
        minimax(Exp(), tol=0.0)
    with pytest.raises(Uncertifiable, match="10000"):
        minimax(Exp(), tol=1e-12)
    with pytest.raises(HgmError, match="increasing"):
        PiecewiseLinear(np.array([1.0, 0.0]), np.array([0.0, 0.0]))
    with pytest.raises(HgmError, match="length"):
        PiecewiseLinear(np.array([1.0, 2.0]), np.array([0.0]))
