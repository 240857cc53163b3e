"""Piecewise-linear functions: the certificate against dense sampling and sabotage, and their layers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relu.functions import TARGETS, sampled

from hgm.relu.pieces.piecewise import PiecewiseLinear, certify
from hgm.relu.pieces.targets import Exp, SoftplusTail, minimax


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
