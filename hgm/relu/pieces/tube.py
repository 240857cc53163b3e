"""Piecewise-linear approximations with few kinks, found by marching through a tube about the function.

Knots are found by marching from the flat tail to the other end; for a given number of kinks the tube is narrowed until
the march just arrives. All of this is numerical and none of it is trusted: errors come from `piecewise.certify`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hgm.errors import HgmError, Uncertifiable
from hgm.relu.pieces.piecewise import PiecewiseLinear

__all__ = ["MOST_UNITS", "Tube", "relative_exp", "softplus"]

#: of one function
MOST_UNITS = 10_000


@dataclass(frozen=True)
class Tube:
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
                from scipy.optimize import brentq  # here, for a light `import hgm`

                return float(brentq(excess, longest * 1e-9, longest, xtol=1e-11 * longest, rtol=1e-11))
            before, slack_before, here, slack = here, slack, new, excess(new)
        return here

    def smallest(self, units: int, high: float) -> float:
        """The size of the narrowest tube for a number of kinks, at most `high`."""
        from scipy.optimize import brentq

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
    tube = Tube(math.exp, math.log, math.log, top=1.0, steepest=1.0, constant=1 / ratio, relative=1.0, anchored=True)
    return tube.best(units, tol)


def softplus(x: float) -> float:
    """``log(1 + e^x)``."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
