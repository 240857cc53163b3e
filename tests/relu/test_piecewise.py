"""Piecewise-linear functions: the certificate against dense sampling, and the approximations against their theory."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from hgm.errors import HgmError, Uncertifiable
from hgm.relu.pieces.grids import uniform_exp, uniform_log
from hgm.relu.pieces.piecewise import PiecewiseLinear, certify
from hgm.relu.pieces.targets import Exp, Log, LogRatio, SoftplusTail, minimax
from hgm.relu.pieces.tube import relative_exp


def ratio(a, b, c, d):
    return (
        LogRatio(a, b, c, d),
        lambda x: np.log((np.exp(a) + np.exp(b + x)) / (np.exp(c) + np.exp(d + x))),
        (-45.0, 45.0),
    )


# Each target, the same function in a formula of its own, and an interval that covers where it bends.
TARGETS = {
    "exp": (Exp(), np.exp, (-40.0, 0.0)),
    "log": (Log(0.2, 60.0), np.log, (0.2, 60.0)),
    "softplus tail": (SoftplusTail(), lambda t: np.logaddexp(0.0, -t), (0.0, 40.0)),
    "rising": ratio(0.3, 2.0, -1.0, -2.5),
    "falling": ratio(4.0, 0.0, 0.0, 3.0),
    "weak": ratio(0.0, 0.02, 0.01, 0.0),
}
DENSITY = {"exp": 0.5, "log": math.log(300) / 4, "softplus tail": math.pi / 8}
DENSITY |= {name: TARGETS[name][0].density for name in ("rising", "falling", "weak")}


def sampled(p, name, points=200_001):
    """Smallest and largest error found on a grid, the knots of p, and far out."""
    target, g, (low, high) = TARGETS[name]
    x = np.concatenate((np.linspace(low, high, points), p.knots, [10 * low, 10 * high]))
    x = np.clip(x, target.low, target.high)
    errors = p(x) - g(x)
    return errors.min(), errors.max()


def in_layer(p, facing, x):
    """The function as one hidden layer of ReLUs computes it."""
    w = p.ramps(facing)
    return w.offset + w.slope * x + np.maximum(w.sign * (x[:, None] - w.kinks), 0) @ w.changes


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=15)
def test_certificate_of_any_function_bounds_a_dense_sample_and_is_sharp(name, data):
    target, g, (low, high) = TARGETS[name]
    n = data.draw(st.integers(1, 8))
    cuts = np.sort(data.draw(st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n, unique=True)))
    knots = low - 1 + (high - low + 2) * (cuts if name == "log" else 0.5 + 0.5 * (2 * cuts - 1) ** 3)
    if (np.diff(knots) < 1e-6).any():
        return
    noise = np.array(data.draw(st.lists(st.floats(-0.3, 0.3), min_size=n, max_size=n)))
    values = g(np.clip(knots, low, high)) + noise
    sides = data.draw(st.tuples(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0)))
    flat_left, flat_right = math.isinf(target.low), math.isinf(target.high)
    p = PiecewiseLinear(knots, values, 0.0 if flat_left else sides[0], 0.0 if flat_right else sides[1])
    range_, (least, most) = certify(p, target), sampled(p, name)
    assert range_.low <= least and most <= range_.high
    assert most - least > 0.98 * (range_.high - range_.low) - 1e-4


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


@pytest.mark.parametrize("name", ["exp", "log", "softplus tail", "rising"])
def test_a_moved_knot_is_noticed(name):
    target = TARGETS[name][0]
    p = minimax(target, tol=5e-3)
    claimed = certify(p, target).sup
    gap = np.diff(p.knots).min()
    for i in range(p.knots.size):
        for shift in (-0.1 * gap, 0.1 * gap):
            knots = p.knots.copy()
            knots[i] += shift
            assert certify(PiecewiseLinear(knots, p.values, p.left, p.right), target).sup > 1.01 * claimed, i


@pytest.mark.parametrize("name", ["exp", "log", "softplus tail"])
@pytest.mark.parametrize("change", [-0.01, 0.01])
def test_a_perturbed_weight_is_noticed(name, change):
    target = TARGETS[name][0]
    p = minimax(target, tol=5e-3)
    claimed = certify(p, target).sup
    w = p.ramps("left" if name == "softplus tail" else "right")
    for kink, by in zip(w.kinks, change * w.changes, strict=True):
        values = p.values + by * np.maximum(w.sign * (p.knots - kink), 0)
        left, right = (p.left, p.right + by) if w.sign > 0 else (p.left - by, p.right)
        assert certify(PiecewiseLinear(p.knots, values, left, right), target).sup > claimed * (1 + 1e-5)


def test_a_slope_at_infinity_has_no_finite_error():
    p = minimax(Exp(), units=3)
    assert certify(PiecewiseLinear(p.knots, p.values, 1e-9, p.right), Exp()).low == -math.inf
    q = minimax(SoftplusTail(), units=3)
    assert certify(PiecewiseLinear(q.knots, q.values, q.left, 1e-9), SoftplusTail()).high == math.inf


def test_certificate_of_a_constant():
    low, high = certify(PiecewiseLinear(np.array([-7.0]), np.array([0.25])), Exp())
    assert (low, high) == (pytest.approx(-0.75), pytest.approx(0.25))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("facing", ["left", "right"])
def test_a_layer_computes_the_function(name, facing):
    p = minimax(TARGETS[name][0], tol=3e-3)
    x = np.linspace(*TARGETS[name][2], 2001)
    assert len(p.ramps(facing).kinks) == p.units
    np.testing.assert_allclose(in_layer(p, facing, x), p(x), atol=1e-12)


def test_a_flat_ray_stays_exact_far_out_if_the_relus_face_away():
    p = minimax(Exp(), tol=1e-3)
    assert in_layer(p, "right", np.array([-1e300]))[0] == p.values[0] == p(-np.inf)


def test_moved_and_mirrored():
    p = minimax(Exp(), tol=1e-2)
    x = np.linspace(-9, 3, 101)
    np.testing.assert_allclose(p.moved(2.0, 0.5)(x), p(x - 2.0) + 0.5, atol=1e-14)
    np.testing.assert_allclose(p.moved(2.0, 0.5, mirror=True)(x), p(2.0 - x) + 0.5, atol=1e-14)


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


@pytest.mark.parametrize("units", [0, 1, 7, 300])
def test_uniform_grids(units):
    p, q = uniform_exp(units), uniform_log(0.5, 8.0, units)
    assert p.units == q.units == units
    assert certify(p, Exp()).sup == pytest.approx(1 / (units + 1))
    if units > 100:
        assert certify(q, Log(0.5, 8.0)).sup == pytest.approx((15 / (units + 1)) ** 2 / 8, rel=0.1)


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
