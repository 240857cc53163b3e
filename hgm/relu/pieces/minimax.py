"""Piecewise-linear approximations with few kinks: on a uniform grid, and with free knots.

Let g be convex and increasing. The best function with n kinks and error delta lives in the tube between ``g - delta``
and ``g + delta``: each of its pieces runs from the lower edge to the lower edge and touches the upper edge in between,
so the error equi-oscillates. A piece of width w then has w^2 g'' / 16 = delta, hence

    n = integral of sqrt(g'') / (4 sqrt(delta))  pieces:

=====================================  ============================================
exp on [-B, 0]                         (1 - e^(-B/2)) / (2 sqrt(delta))
log on [m, M]                          log(M/m) / (4 sqrt(delta))
log(1 + e^-t), t >= 0                  pi / (8 sqrt(delta))  =  0.39 / sqrt(delta)
log((a + b e^x) / (c + d e^x))         `density` / sqrt(delta), at most pi / (2 sqrt(delta))
=====================================  ============================================

Knots are found by marching from the flat tail to the other end; for a given number of kinks the tube is narrowed until
the march just arrives. All of this is numerical and none of it is trusted: errors come from `piecewise.certify`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.optimize import brentq

from hgm.errors import HgmError, Uncertifiable
from hgm.relu.pieces.piecewise import Exp, Log, LogRatio, PiecewiseLinear, SoftplusTail, Target, certify

__all__ = ["density", "log_units", "minimax", "relative_exp", "uniform"]

MOST_UNITS = 10_000


def minimax(target: Target, *, units: int | None = None, tol: float | None = None) -> PiecewiseLinear:
    """The best approximation of `target` with a number of kinks, or the best one with the fewest kinks for a tolerance.

    Exp, SoftplusTail and LogRatio are flat beyond their outermost knots, where their error is that of the tail.
    LogRatio is odd about its inflection and its approximation too, so its number of kinks is even.

    Args:
        target: what to approximate.
        units: number of kinks, >= 0; for LogRatio an odd number counts as the even one below it.
        tol: largest absolute error, > 0; then ``certify(p, target).sup <= tol``. Give either `units` or `tol`.

    Raises:
        Uncertifiable: if the tolerance takes more than 10,000 kinks, or is too small for float64.
    """
    if (units is None) == (tol is None):
        raise HgmError(f"give either units or tol; got units={units}, tol={tol}")
    p = _minimax(target, units, tol)
    for _ in range(3):
        if tol is None or certify(p, target).sup <= tol:
            return p
        # Rounding took it just beyond the tolerance.
        p = _minimax(target, p.units + (2 if isinstance(target, LogRatio) else 1), None)
    raise Uncertifiable(f"a tolerance of {tol:g} on {target} is below what float64 can certify; raise it")


def _minimax(target: Target, units: int | None, tol: float | None) -> PiecewiseLinear:
    if isinstance(target, Log):
        return _log(target, units, tol)
    if isinstance(target, Exp):
        p = _exp(units, None if tol is None else tol / target.scale)
        return PiecewiseLinear(p.knots, target.scale * p.values, 0.0, target.scale * p.right)
    if isinstance(target, SoftplusTail):
        return _tail(units, tol)
    if isinstance(target, LogRatio):
        return _odd(target, None if units is None else units // 2, tol)
    raise HgmError(f"no minimax approximation is known for {target}")


def _exp(units: int | None, tol: float | None) -> PiecewiseLinear:
    return _Half(math.exp, math.log, math.log, top=1.0, steepest=1.0).best(units, tol)


@lru_cache(maxsize=4096)
def _tail(units: int | None, tol: float | None) -> PiecewiseLinear:
    """log(1 + e^x) for x <= 0, mirrored: the same few functions serve every pair of every factor."""
    half = _Half(
        value=_softplus,
        tangent=lambda slope: math.log(slope / (1 - slope)),
        inverse=lambda value: math.log(math.expm1(value)),
        top=math.log(2),
        steepest=0.5,
    )
    return half.best(units, tol).moved(mirror=True)


def _odd(target: LogRatio, units: int | None, tol: float | None) -> PiecewiseLinear:
    """`units` kinks on each side of the inflection, and a straight piece through it."""
    k = abs(target.bend)
    if k == 0:
        return PiecewiseLinear(np.array([target.center]), np.array([target.middle]))
    shrink = math.exp(-2 * k)

    def tangent(slope: float) -> float:
        # sinh k / (cosh u + cosh k) = slope
        cosh_over_exp = ((1 - slope) - shrink * (1 + slope)) / (2 * slope)
        log_cosh = k + math.log(cosh_over_exp) if cosh_over_exp > 0 else 0.0
        return -(log_cosh + math.log1p(math.sqrt(-math.expm1(-2 * log_cosh)))) if log_cosh > 0 else 0.0

    half = _Half(
        value=lambda u: _softplus(u + k) - _softplus(u - k),
        tangent=tangent,
        inverse=lambda value: value + math.log(-math.expm1(-value)) - k - math.log1p(-math.exp(value - 2 * k)),
        top=k,
        steepest=math.tanh(k / 2),
        anchored=True,
    )
    p = half.best(units, tol)
    if p.units == 0:
        return PiecewiseLinear(np.array([target.center]), np.array([target.middle]))
    rise = math.copysign(1.0, target.bend) * (k - p.values)
    return PiecewiseLinear(
        target.center + np.concatenate((p.knots, -p.knots[::-1])),
        target.middle + np.concatenate((-rise, rise[::-1])),
    )


def _log(target: Log, units: int | None, tol: float | None) -> PiecewiseLinear:
    """Knots in geometric progression: the error of a chord from y to ratio y does not depend on y."""
    whole = math.log(target.high / target.low)
    if units is None:
        assert tol is not None
        units = int(log_units(whole, tol))
    grid = target.low * np.exp(whole * np.arange(units + 2) / (units + 1))
    return _through(grid, np.log(grid) + _half_error(whole / (units + 1)))


def log_units(spans: npt.ArrayLike, tol: float) -> npt.NDArray[np.int64]:
    """Kinks that the best approximations of log take for a tolerance, on intervals with ``log(M/m) = spans``."""
    return np.maximum(np.ceil(np.asarray(spans) / _widest_step(tol)).astype(np.int64) - 1, 0)


def _half_error(step: float) -> float:
    """Half the largest error of the chord of log on [1, e^step], whose slope is c = step / expm1(step)."""
    slope = step / math.expm1(step) if step > 0 else 1.0
    return 0.5 * (slope - 1 - math.log(slope))  # log - chord is c - 1 - log c at 1/c


@lru_cache(maxsize=4096)
def _widest_step(tol: float) -> float:
    """The step whose half error is the tolerance, or a little less."""
    if not tol > 0:
        raise HgmError(f"a tolerance must be positive; got {tol}")
    top = min(math.sqrt(16 * tol), 100.0)
    while _half_error(top) < tol and top < 700:
        top *= 2
    if _half_error(top) < tol:
        return top
    return float(brentq(lambda step: _half_error(step) - tol, 0.0, top, rtol=1e-12)) * (1 - 1e-11)


def _through(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> PiecewiseLinear:
    """The function through at least two points whose first and last are no kinks."""
    p = PiecewiseLinear(x, y)
    left, right = float(p.slopes[1]), float(p.slopes[-2])
    if len(x) == 2:
        return PiecewiseLinear(x[:1], y[:1], left, left)
    return PiecewiseLinear(x[1:-1], y[1:-1], left, right)


def uniform(target: Exp | Log, *, units: int) -> PiecewiseLinear:
    """Interpolation on a uniform grid, the textbook construction: for exp uniform in e^x, for log uniform in x.

    For exp the error is 1 / (units + 1), that of the flat tail; for log on [m, M] it is about
    ((M/m - 1) / (units + 1))^2 / 8.
    """
    fractions = np.arange(1, units + 2) / (units + 1)
    if isinstance(target, Exp):
        p = PiecewiseLinear(np.log(fractions), target.scale * fractions)
        return PiecewiseLinear(p.knots, p.values, 0.0, float(p.slopes[-2]))
    grid = target.low + (target.high - target.low) * np.concatenate(([0.0], fractions))
    return _through(grid, np.log(grid))


def relative_exp(ratio: float, *, units: int | None = None, tol: float | None = None) -> PiecewiseLinear:
    """The best E for sums of exponentials: ``E(0) = 1`` and ``|E(x) - e^x| <= eps (e^x + 1/ratio)`` for all x <= 0.

    In a sum ``y = w + sum_a w_a e^(x_a)`` with ``sum_a w_a <= ratio w``, replacing exp by E changes y by at most
    ``eps (sum_a w_a e^(x_a) + w) = eps y``: the relative error is eps, and E may be coarse wherever e^x is large or
    negligible. It takes asinh(sqrt(ratio)) / (2 sqrt(eps)) pieces, against sqrt(ratio) / (2 sqrt(eps)) for the uniform
    error eps / ratio that would do as well.

    Args:
        ratio: how much heavier the approximated terms can be than the exact one.
        units: number of kinks.
        tol: largest eps. Exactly one of `units` and `tol` is given.
    """
    half = _Half(math.exp, math.log, math.log, top=1.0, steepest=1.0, constant=1 / ratio, relative=1.0, anchored=True)
    return half.best(units, tol)


def density(target: LogRatio) -> float:
    """The constant c of ``pieces = c / sqrt(delta)``: a quarter of the integral of sqrt(|g''|) over the line."""
    k = abs(target.bend)
    if k == 0:
        return 0.0

    # |g''(u)| = sinh k sinh u / (cosh u + cosh k)^2; numerator and denominator are divided by e^(2 max(u, k)).
    def root(u: float) -> float:
        low, high = min(u, k), max(u, k)
        numerator = 0.5 * math.exp(-0.5 * (high - low)) * math.sqrt(math.expm1(-2 * u) * math.expm1(-2 * k))
        return numerator / (0.5 * (1 + math.exp(-2 * high) + math.exp(low - high) + math.exp(-low - high)))

    return 0.5 * float(quad(root, max(0.0, k - 80), k)[0] + quad(root, k, k + 80)[0])


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@dataclass(frozen=True)
class _Half:
    """A convex increasing g on x <= 0 that tends to 0 at -inf, and the tubes about it.

    The tube of size eps reaches from ``g - eps (constant + relative g)`` to ``g + eps (constant + relative g)``. The
    approximation starts flat, at the upper edge of the tail, runs along the lower edge, and ends at 0 on the lower edge
    or, if `anchored`, at the exact value.
    """

    value: Callable[[float], float]
    tangent: Callable[[float], float]  # x with g'(x) = slope, for slopes below the steepest
    inverse: Callable[[float], float]  # x with g(x) = value
    top: float  # g(0)
    steepest: float  # g'(0)
    constant: float = 1.0
    relative: float = 0.0
    anchored: bool = False

    def best(self, units: int | None, tol: float | None) -> PiecewiseLinear:
        """The approximation for a number of kinks, or the best one with the fewest kinks for a tube."""
        if units is not None:
            return self.function(units, self.smallest(units, math.inf))
        if tol is None or not tol > 0:
            raise HgmError(f"a tolerance must be positive; got {tol}")
        knots, used = self.march(tol, MOST_UNITS)
        if used > 1:
            raise Uncertifiable(
                f"a tolerance of {tol:g} on one scalar function takes over {MOST_UNITS} ReLUs; raise it"
            )
        return self.function(len(knots), self.smallest(len(knots), tol))

    def lower(self, x: float, eps: float) -> float:
        """The lower edge of the tube."""
        return (1 - self.relative * eps) * self.value(x) - self.constant * eps

    def width(self, x: float, eps: float) -> float:
        """The width of the tube."""
        return 2 * eps * (self.constant + self.relative * self.value(x))

    def overshoot(self, x: float, y: float, x1: float, y1: float, eps: float) -> float:
        """How far the line from (x, y) to (x1, y1) rises above the upper edge of the tube."""
        stretch = 1 + self.relative * eps
        slope = (y1 - y) / (x1 - x)
        if slope <= 0:
            return -self.constant * eps
        touch = min(max(self.tangent(slope / stretch), x), x1) if slope < stretch * self.steepest else x1
        return y + slope * (touch - x) - stretch * self.value(touch) - self.constant * eps

    def end(self, eps: float) -> float:
        """The value of the approximation at 0."""
        return self.top if self.anchored else self.lower(0.0, eps)

    def march(self, eps: float, most: int) -> tuple[list[float], float]:
        """At most `most` knots from the tail on, and how much of its tube a last piece from there to 0 uses.

        That piece stays in the tube if it uses at most 1; it uses about the share of 0's distance in a whole piece.
        """
        level, end = self.constant * eps, self.end(eps)
        if end <= level:
            return [], 1.0
        if most == 0:
            return [], math.inf
        start = 2 * level / (1 - self.relative * eps) if self.relative * eps < 1 else math.inf
        # A start above the top: the lower edge is below the tail everywhere, only an anchored end is above it.
        knots = [self.inverse(start) if start < self.top else -1e-9]
        step = 0.0
        while True:
            x = knots[-1]
            y = self.lower(x, eps) if start < self.top else level
            used = 1 + self.overshoot(x, y, 0.0, end, eps) / self.width(0.0, eps)
            if used <= 1 or len(knots) == most:
                return knots, math.sqrt(max(used, 0.0))
            step = self.step(x, y, step, eps)
            knots.append(min(x + step, x * 1e-9))

    def step(self, x: float, y: float, guess: float, eps: float) -> float:
        """Length of the line from (x, y) that touches the upper edge and ends on the lower edge, at most just before 0.

        The root of the used part of the tube is nearly proportional to the length, so the secant rule is fast. A small
        error is harmless: knots are not trusted.
        """

        def excess(step: float) -> float:
            over = self.overshoot(x, y, x + step, self.lower(x + step, eps), eps)
            return math.sqrt(max(1 + over / self.width(x, eps), 0.0)) - 1

        longest = -x
        before, slack_before, here = 0.0, -1.0, guess if 0 < guess < longest else longest
        slack = excess(here)
        for _ in range(8):
            if abs(slack) < 1e-9:
                break
            new = here - slack * (here - before) / (slack - slack_before) if slack != slack_before else 0.0
            if not 0 < new < longest:
                if excess(longest) <= 0:
                    return longest
                return float(brentq(excess, longest * 1e-9, longest, xtol=1e-11 * longest, rtol=1e-11))
            before, slack_before, here, slack = here, slack, new, excess(new)
        return here

    def smallest(self, units: int, high: float) -> float:
        """The size of the narrowest tube for a number of kinks, at most `high`."""
        # Without kinks the level of the tail must be the value at the end.
        flat = self.top / (self.constant if self.anchored else 2 * self.constant + self.relative * self.top)
        high = min(high, flat)
        if units == 0:
            return high

        def missing(log_eps: float) -> float:
            """Pieces needed beyond those at hand, counting the last one by the share of the tube that it uses."""
            knots, used = self.march(math.exp(log_eps), units + 2)
            return len(knots) - units + used - 1

        eps = high
        for _ in range(5):  # pieces are nearly proportional to eps^(-1/2)
            eps = min(eps * ((missing(math.log(eps)) + units + 1) / (units + 1)) ** 2, high)
        low = top = eps
        factor = 1 + 1e-6
        while missing(math.log(low)) <= 0:
            low, factor = low / factor, factor**4
        factor = 1 + 1e-6
        while top < high and missing(math.log(top)) > 0:
            top, factor = min(top * factor, high), factor**4
        if top > low * (1 + 1e-6):
            top = min(top, math.exp(brentq(missing, math.log(low), math.log(top), xtol=1e-7)) * (1 + 2e-7))
        return top

    def function(self, units: int, eps: float) -> PiecewiseLinear:
        """The approximation on x <= 0: flat to the left, its last piece continued to the right."""
        end = self.end(eps)
        knots = np.array(self.march(eps, units)[0] if units > 0 else [])
        if knots.size == 0:
            return PiecewiseLinear(np.array([0.0]), np.array([end]))
        values = np.array([self.lower(x, eps) for x in knots])
        return PiecewiseLinear(knots, values, 0.0, float(end - values[-1]) / -float(knots[-1]))
