"""Interpolation on grids: log on a geometric one, which is best; exp and log on uniform ones, the textbook's."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hgm.errors import HgmError
from hgm.relu.pieces.piecewise import PiecewiseLinear

__all__ = ["geometric_log", "log_units", "uniform_exp", "uniform_log"]


def geometric_log(low: float, span: float, units: int) -> PiecewiseLinear:
    """log on ``[low, low e^span]``: the error of a chord from y to ratio y does not depend on y."""
    grid = low * np.exp(span * np.arange(units + 2) / (units + 1))
    return _through(grid, np.log(grid) + _half_error(span / (units + 1)))


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
    from scipy.optimize import brentq  # here, for a light `import hgm`

    return float(brentq(lambda step: _half_error(step) - tol, 0.0, top, rtol=1e-12)) * (1 - 1e-11)


def _through(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> PiecewiseLinear:
    """The function through at least two points whose first and last are no kinks."""
    p = PiecewiseLinear(x, y)
    left, right = float(p.slopes[1]), float(p.slopes[-2])
    kept = slice(1, -1) if len(x) > 2 else slice(1)  # one knot is needed
    return PiecewiseLinear(x[kept], y[kept], left, right)


def uniform_exp(units: int) -> PiecewiseLinear:
    """exp on x <= 0, uniform in e^x. The error is 1 / (units + 1), that of the flat tail."""
    fractions = np.arange(1, units + 2) / (units + 1)
    p = PiecewiseLinear(np.log(fractions), fractions)
    return PiecewiseLinear(p.knots, p.values, 0.0, float(p.slopes[-2]))


def uniform_log(low: float, high: float, units: int) -> PiecewiseLinear:
    """log on [m, M], uniform in x. The error is about ``((M/m - 1) / (units + 1))^2 / 8``."""
    fractions = np.arange(1, units + 2) / (units + 1)
    grid = low + (high - low) * np.concatenate(([0.0], fractions))
    return _through(grid, np.log(grid))
