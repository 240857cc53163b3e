"""The functions that are approximated, each with its best piecewise-linear approximation.

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

All but log, whose knots have a closed form, march through the tube (`hgm.relu.pieces.tube`). Exp, SoftplusTail and
LogRatio are flat beyond their outermost knots, where their error is that of the tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hgm.errors import BadExtension, HgmError, Uncertifiable, extension
from hgm.relu.pieces.grids import geometric_log, log_units
from hgm.relu.pieces.piecewise import Floats, PiecewiseLinear, Target, certify, check_target, positive
from hgm.relu.pieces.tube import Tube, softplus

__all__ = ["Exp", "Log", "LogRatio", "SoftplusTail", "minimax"]


def minimax(target: Target, *, units: int | None = None, tol: float | None = None) -> PiecewiseLinear:
    """The best approximation of `target` with a number of kinks, or the best one with the fewest kinks for a tolerance.

    Args:
        target: what to approximate.
        units: number of kinks, >= 0; for LogRatio an odd number counts as the even one below it.
        tol: largest absolute error, > 0; then ``certify(p, target).sup <= tol``. Give either `units` or `tol`.

    Raises:
        BadExtension: for a target from outside that does not do what it must.
        Uncertifiable: if the tolerance takes more than 10,000 kinks, or is too small for float64.
    """
    if (units is None) == (tol is None):
        raise HgmError(f"give either units or tol; got units={units}, tol={tol}")
    p = _best(target, units, tol)
    for _ in range(3):
        if tol is None or certify(p, target).sup <= tol:
            return p
        p = _best(target, p.units + target.step, None)  # rounding took it just beyond the tolerance
    raise Uncertifiable(f"a tolerance of {tol:g} on {target} is below what float64 can certify; raise it")


def _best(target: Target, units: int | None, tol: float | None) -> PiecewiseLinear:
    """`Target.best`. Raises `BadExtension` unless that gives a piecewise-linear function."""
    check_target(target)
    what = f"{type(target).__name__}.best"
    with extension(what):
        p = target.best(units, tol)
    if not isinstance(p, PiecewiseLinear):
        raise BadExtension(f"{what} must give a PiecewiseLinear; got a {type(p).__name__}")
    return p


@dataclass(frozen=True)
class Exp(Target):
    """``e^x`` for x <= 0."""

    low = -np.inf
    high = 0.0

    def __call__(self, x: npt.ArrayLike) -> Floats:
        return np.asarray(np.exp(x))

    def tangents(self, slopes: Floats) -> Floats:
        return np.log(positive(slopes))[None]

    def limit(self, end: float) -> tuple[float, float]:
        return 0.0, 0.0

    def best(self, units: int | None, tol: float | None) -> PiecewiseLinear:
        """Flat left of its first knot."""
        return Tube(math.exp, math.log, math.log, top=1.0, steepest=1.0).best(units, tol)


@dataclass(frozen=True)
class Log(Target):
    """``log x`` for 0 < low <= x <= high."""

    low: float
    high: float

    def __call__(self, x: npt.ArrayLike) -> Floats:
        return np.asarray(np.log(x))

    def tangents(self, slopes: Floats) -> Floats:
        return (1 / positive(slopes))[None]

    def best(self, units: int | None, tol: float | None) -> PiecewiseLinear:
        """Knots in geometric progression."""
        whole = math.log(self.high / self.low)
        if units is None:
            assert tol is not None
            units = int(log_units(whole, tol))
        return geometric_log(self.low, whole, units)


@dataclass(frozen=True)
class SoftplusTail(Target):
    """``log(1 + e^-t)`` for t >= 0: what log(e^a + e^b) adds to max(a, b) when t = |a - b|."""

    low = 0.0
    high = np.inf

    def __call__(self, x: npt.ArrayLike) -> Floats:
        return np.asarray(np.log1p(np.exp(-np.asarray(x, dtype=np.float64))))

    def tangents(self, slopes: Floats) -> Floats:
        return np.log(positive((1 + slopes) / positive(-slopes)))[None]

    def limit(self, end: float) -> tuple[float, float]:
        return 0.0, 0.0

    def best(self, units: int | None, tol: float | None) -> PiecewiseLinear:
        """Flat right of its last knot."""
        return _tail(units, tol)


@lru_cache(maxsize=4096)
def _tail(units: int | None, tol: float | None) -> PiecewiseLinear:
    """That of log(1 + e^x) for x <= 0, mirrored. The same few functions serve every pair of every factor."""
    tube = Tube(
        value=softplus,
        tangent=lambda slope: math.log(slope / (1 - slope)),
        inverse=lambda value: math.log(math.expm1(value)),
        top=math.log(2),
        steepest=0.5,
    )
    return tube.best(units, tol).moved(mirror=True)


@dataclass(frozen=True)
class LogRatio(Target):
    """``g(x) = log((a + b e^x) / (c + d e^x))`` on the whole line, for positive a, b, c, d given by their logs.

    With ``center = (log a/b + log c/d) / 2`` and ``bend = (log bc/ad) / 2``,

        g(center + u) = middle + softplus(u + bend) - softplus(u - bend) - bend,

    an odd function of u about its inflection, from -bend to bend, whose steepest slope is tanh(bend / 2).
    """

    log_a: float
    log_b: float
    log_c: float
    log_d: float
    low = -np.inf
    high = np.inf
    step = 2

    @property
    def center(self) -> float:
        """The inflection point, about which g is odd."""
        return 0.5 * ((self.log_a - self.log_b) + (self.log_c - self.log_d))

    @property
    def bend(self) -> float:
        """Half the rise of g from one end of the line to the other; negative if g falls."""
        return 0.5 * ((self.log_b - self.log_d) - (self.log_a - self.log_c))

    @property
    def middle(self) -> float:
        """The value at the inflection point."""
        return 0.5 * ((self.log_a - self.log_c) + (self.log_b - self.log_d))

    def __call__(self, x: npt.ArrayLike) -> Floats:
        x = np.asarray(x, dtype=np.float64)
        return np.asarray(np.logaddexp(self.log_a, self.log_b + x) - np.logaddexp(self.log_c, self.log_d + x))

    def tangents(self, slopes: Floats) -> Floats:
        """Two points, symmetric about the inflection."""
        # g'(u) = sinh k / (cosh u + cosh k); with q = e^-2k this reads cosh u = e^k ((1 - c) - q (1 + c)) / 2c.
        bend = abs(self.bend)
        c = positive(slopes * np.sign(self.bend))
        log_cosh = bend + np.log(positive(((1 - c) - np.exp(-2 * bend) * (1 + c)) / (2 * c)))
        log_cosh = np.where(log_cosh >= 0, log_cosh, np.nan)
        u = log_cosh + np.log1p(np.sqrt(-np.expm1(-2 * log_cosh)))
        return self.center + np.stack((-u, u))

    def limit(self, end: float) -> tuple[float, float]:
        return 0.0, self.log_a - self.log_c if end < 0 else self.log_b - self.log_d

    def best(self, units: int | None, tol: float | None) -> PiecewiseLinear:
        """Odd about the inflection, too: ``units // 2`` kinks on each side of it, and a straight piece through it."""
        k, flat = abs(self.bend), PiecewiseLinear(np.array([self.center]), np.array([self.middle]))
        if k == 0:
            return flat
        shrink = math.exp(-2 * k)

        def tangent(slope: float) -> float:
            # sinh k / (cosh u + cosh k) = slope
            cosh_over_exp = ((1 - slope) - shrink * (1 + slope)) / (2 * slope)
            log_cosh = k + math.log(cosh_over_exp) if cosh_over_exp > 0 else 0.0
            return -(log_cosh + math.log1p(math.sqrt(-math.expm1(-2 * log_cosh)))) if log_cosh > 0 else 0.0

        half = Tube(
            value=lambda u: softplus(u + k) - softplus(u - k),
            tangent=tangent,
            inverse=lambda value: value + math.log(-math.expm1(-value)) - k - math.log1p(-math.exp(value - 2 * k)),
            top=k,
            steepest=math.tanh(k / 2),
            anchored=True,
        )
        p = half.best(None if units is None else units // 2, tol)
        if p.units == 0:
            return flat
        rise = math.copysign(1.0, self.bend) * (k - p.values)
        knots, values = np.concatenate((p.knots, -p.knots[::-1])), np.concatenate((-rise, rise[::-1]))
        return PiecewiseLinear(self.center + knots, self.middle + values)

    @property
    def density(self) -> float:
        """The constant c of ``pieces = c / sqrt(delta)``: a quarter of the integral of sqrt(|g''|) over the line."""
        return _density(abs(self.bend))


@lru_cache(maxsize=4096)
def _density(k: float) -> float:
    """`LogRatio.density` for a bend of k. It is asked for at every error that is tried of a map."""
    from scipy.integrate import quad  # here, for a light `import hgm`

    if k == 0:
        return 0.0

    # |g''(u)| = sinh k sinh u / (cosh u + cosh k)^2; numerator and denominator are divided by e^(2 max(u, k)).
    def root(u: float) -> float:
        low, high = min(u, k), max(u, k)
        numerator = 0.5 * math.exp(-0.5 * (high - low)) * math.sqrt(math.expm1(-2 * u) * math.expm1(-2 * k))
        return numerator / (0.5 * (1 + math.exp(-2 * high) + math.exp(low - high) + math.exp(-low - high)))

    return 0.5 * float(quad(root, max(0.0, k - 80), k)[0] + quad(root, k, k + 80)[0])
