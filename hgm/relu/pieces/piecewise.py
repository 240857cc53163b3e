"""Continuous piecewise-linear functions of one variable, and the exact error they make.

A network of ReLUs computes piecewise-linear functions: one ReLU per kink. The networks of this package replace exp, log
and log(1 + e^-t) by such functions, and their certificate rests on one computation, `certify`: the largest and the
smallest value of p - g over a whole domain, for any piecewise-linear p and any target g below. On one piece p is a
line of slope c, so p - g is extreme at the ends of the piece or where g' = c, and for these g that equation has a
closed form. Nothing is sampled, and nothing is assumed about where p came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hgm.errors import BadExtension, HgmError, extension

__all__ = ["ErrorRange", "Floats", "PiecewiseLinear", "Ramps", "Target", "certify", "check_target", "positive"]

Floats = npt.NDArray[np.float64]


class Ramps(NamedTuple):
    """A piecewise-linear function as a layer: ``offset + slope x + sum_i changes_i relu(sign (x - kinks_i))``."""

    sign: float
    kinks: Floats
    changes: Floats
    slope: float
    offset: float


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """The continuous function that is linear between its knots and has given slopes outside them.

    Attributes:
        knots: ``(n,)`` increasing, n >= 1.
        values: ``(n,)`` the function at the knots.
        left: slope to the left of the first knot.
        right: slope to the right of the last knot.

    Raises:
        HgmError: if the knots are not increasing, or a number is not finite.
    """

    knots: Floats
    values: Floats
    left: float = 0.0
    right: float = 0.0

    def __post_init__(self) -> None:
        knots, values = (np.array(v, dtype=np.float64) for v in (self.knots, self.values))
        if knots.ndim != 1 or knots.size == 0 or knots.shape != values.shape:
            raise HgmError(f"knots and values must be two vectors of one length; got {knots.shape} and {values.shape}")
        if not (np.isfinite([*knots, *values, self.left, self.right]).all() and (np.diff(knots) > 0).all()):
            raise HgmError(
                "a piecewise-linear function needs finite, strictly increasing knots, finite values and slopes"
            )
        knots.flags.writeable = values.flags.writeable = False
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "values", values)

    @property
    def slopes(self) -> Floats:
        """``(n + 1,)`` slope of every piece, from the leftmost ray to the rightmost."""
        return np.concatenate(([self.left], np.diff(self.values) / np.diff(self.knots), [self.right]))

    @property
    def units(self) -> int:
        """Number of kinks, which is the number of ReLUs that compute the function."""
        return int(np.count_nonzero(np.diff(self.slopes)))

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """The function at `x`, any shape."""
        x = np.asarray(x, dtype=np.float64)
        below, above = np.minimum(x - self.knots[0], 0.0), np.maximum(x - self.knots[-1], 0.0)
        # Slope 0 times an infinite distance is 0 here: a flat ray stays flat.
        with np.errstate(invalid="ignore"):
            outside = np.nan_to_num(self.left * below, nan=0.0) + np.nan_to_num(self.right * above, nan=0.0)
        return np.asarray(np.interp(x, self.knots, self.values) + outside)

    def moved(self, right: float = 0.0, up: float = 0.0, mirror: bool = False) -> PiecewiseLinear:
        """The function ``p(x - right) + up``; with `mirror`, ``p(right - x) + up``."""
        if mirror:
            return PiecewiseLinear(right - self.knots[::-1], self.values[::-1] + up, -self.right, -self.left)
        return PiecewiseLinear(self.knots + right, self.values + up, self.left, self.right)

    def ramps(self, facing: Literal["left", "right"] = "right") -> Ramps:
        """The weights of a Linear-ReLU-Linear layer that computes the function.

        Args:
            facing: the side on which the ReLUs are active. Let them face away from a flat ray: there all are off, and
                the value stays exact however far out x lies.
        """
        change = np.diff(self.slopes)
        kept = change != 0
        sign, end, slope = (1.0, 0, self.left) if facing == "right" else (-1.0, -1, self.right)
        offset = float(self.values[end] - slope * self.knots[end])
        return Ramps(sign, self.knots[kept], change[kept], float(slope), offset)


class Target:
    """A smooth function g on an interval, with what an exact comparison with straight lines needs.

    A target of your own says its values, its `tangents`, its `limit` at an infinite end, and its `best` approximation.

    Attributes:
        low: lower end of the domain, possibly -inf.
        high: upper end of the domain, possibly inf.
        step: by how many kinks its best approximations grow.
    """

    low: float
    high: float
    step: ClassVar[int] = 1

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """g at finite `x`, any shape."""
        raise NotImplementedError

    def tangents(self, slopes: Floats) -> Floats:
        """``(k, n)``: the at most k solutions x of g'(x) = c for each of n slopes c; NaN where there are fewer."""
        raise NotImplementedError

    def limit(self, end: float) -> tuple[float, float]:
        """The line (slope, value at 0) that g approaches at an infinite `end` of its domain."""
        raise HgmError(f"{self} has no asymptote at {end}")

    def best(self, units: int | None, tol: float | None) -> PiecewiseLinear:
        """The best approximation for a number of kinks, or the best one with the fewest kinks for a largest error.

        Numerical and not trusted: `hgm.relu.pieces.targets.minimax` asks for it, and certifies what comes.

        Args:
            units: number of kinks, >= 0, or ``None`` where `tol` is given.
            tol: largest absolute error, > 0.
        """
        raise NotImplementedError


class ErrorRange(NamedTuple):
    """The range of an error p - g over the whole domain of g: ``low <= p - g <= high``."""

    low: float
    high: float

    @property
    def sup(self) -> float:
        """Largest absolute error."""
        return max(-self.low, self.high)

    def plus(self, other: ErrorRange) -> ErrorRange:
        """A range of the sum of two errors, whatever their relation."""
        return ErrorRange(self.low + other.low, self.high + other.high)


def certify(p: PiecewiseLinear, target: Target) -> ErrorRange:
    """The exact range of ``p - target`` over the target's whole domain, infinite ends included.

    On each piece the error is extreme at an end of the piece or where the target's slope is the piece's: closed forms
    (`Target.tangents`). At an infinite end the error tends to a constant if p has the slope of the target's asymptote,
    and is unbounded otherwise. The candidates are evaluated in float64 and the range is widened on both sides by
    64 eps (1 + X + Y), with eps = 2^-52 and X, Y the largest ``|x|`` and ``|p|`` or ``|g|`` met. That covers rounding:
    evaluating p and g costs a few eps times these sizes, and a tangent point that is off by r shifts an extreme value,
    where the derivative vanishes, only by r^2.

    Args:
        p: any piecewise-linear function.
        target: the function it stands for.

    Returns:
        The range of the error; infinite where the error is unbounded.

    Raises:
        BadExtension: for a target from outside whose domain, values, tangents or limits are not what they must be.
    """
    check_target(target)
    name = type(target).__name__
    inside = (p.knots > target.low) & (p.knots < target.high)
    edges = np.concatenate(([target.low], p.knots[inside], [target.high]))
    first = int(np.count_nonzero(p.knots <= target.low))
    slopes = p.slopes[first : first + len(edges) - 1]
    with extension(f"{name}.tangents"), np.errstate(all="ignore"):
        tangents = target.tangents(slopes)
    _check_floats(f"{name}.tangents", tangents, ("k", len(slopes)))
    x = np.concatenate((edges[np.isfinite(edges)], tangents[(tangents > edges[:-1]) & (tangents < edges[1:])]))
    with extension(f"{name}.__call__"):
        ours, exact = p(x), target(x)
    _check_floats(f"{name}.__call__", exact, x.shape)
    if np.isnan(exact).any():
        raise BadExtension(f"{name}.__call__ gives NaN at {x[np.isnan(exact)][0]:g}, in its domain")
    errors = list(ours - exact)
    for end, knot, slope in ((target.low, 0, p.left), (target.high, -1, p.right)):
        if np.isinf(end):
            with extension(f"{name}.limit"):
                asymptote, at_zero = (float(number) for number in target.limit(end))
            if not np.isfinite([asymptote, at_zero]).all():
                raise BadExtension(f"{name}.limit must give two finite numbers; got {asymptote}, {at_zero}")
            if slope != asymptote:
                errors.append(np.inf * np.sign(end) * (slope - asymptote))
            else:
                errors.append(p.values[knot] - slope * p.knots[knot] - at_zero)
    sizes = np.abs(np.concatenate((ours, exact))).max(initial=0.0) + np.abs(x).max(initial=0.0)
    allowance = 64 * np.finfo(np.float64).eps * (1 + sizes)
    return ErrorRange(float(min(errors) - allowance), float(max(errors) + allowance))


def check_target(target: object) -> None:
    """Raise `BadExtension` unless this is a target that has a domain and a step."""
    if not isinstance(target, Target):
        raise BadExtension(f"a function to approximate must be a Target, such as Exp(); got {target!r:.100}")
    name, low, high = type(target).__name__, getattr(target, "low", None), getattr(target, "high", None)
    if not isinstance(low, Real) or not isinstance(high, Real) or not low <= high:
        raise BadExtension(f"{name} must have numbers low <= high, the ends of its domain; got {low!r} and {high!r}")
    if not isinstance(target.step, int) or target.step < 1:
        raise BadExtension(f"{name}.step must be a whole number of kinks, from 1 up; got {target.step!r:.100}")


def _check_floats(what: str, got: object, shape: tuple[int | str, ...]) -> None:
    """Raise `BadExtension` unless `got` is an array of floats of this shape, in which a word stands for any number."""
    if isinstance(got, np.ndarray) and got.dtype.kind == "f" and got.ndim == len(shape):
        wrong = [n for n, want in zip(got.shape, shape, strict=True) if n != want and not isinstance(want, str)]
        if not wrong:
            return
    shown = f"{got.dtype}s of shape {got.shape}" if isinstance(got, np.ndarray) else f"a {type(got).__name__}"
    raise BadExtension(f"{what} must give an array of floats of shape ({', '.join(map(str, shape))}); got {shown}")


def positive(x: Floats) -> Floats:
    """`x` where positive, NaN elsewhere: no solution."""
    return np.where(x > 0, x, np.nan)
