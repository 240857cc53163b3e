"""Power laws: exponents with intervals over seeds, and where a curve crosses a level.

    log y = a + sum_k b_k log x_k

is fitted by least squares for every seed by itself, and the exponents b_k of the seeds are a sample whose mean has
Student's interval. So the interval is about everything that a seed decides: the model that is drawn, its data, the
start of the network. It is not about a law that is no power: that is told by what the fit leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hgm.errors import BadSpec
from hgm.measure.interval import Estimate

__all__ = ["Power", "crossing", "mean_of", "power_law"]


class Power(NamedTuple):
    """A fitted power law.

    Attributes:
        exponents: of each x, with its 95% interval over seeds.
        left: what the fit leaves: the root mean square of log y minus its line, over points, of the mean over seeds. A
            spread of 0.1 is about 10% of y.
        points: how many points each seed has.
        seeds: how many seeds.
    """

    exponents: tuple[Estimate, ...]
    left: float
    points: int
    seeds: int


def power_law(x: npt.ArrayLike, y: npt.ArrayLike) -> Power:
    """The exponents of y as a product of powers.

    Args:
        x: ``(points,)`` or ``(points, k)`` positive: the same for all seeds.
        y: ``(seeds, points)`` positive.

    Raises:
        BadSpec: for fewer than 2 seeds, fewer points than exponents and one more, or numbers that are not positive.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    x = x.reshape(len(x), -1)
    if y.ndim != 2 or len(y) < 2 or y.shape[1] != len(x) or len(x) < x.shape[1] + 2:
        raise BadSpec(f"a power law needs 2 seeds and more points than numbers to fit; got x {x.shape}, y {y.shape}")
    if not ((x > 0).all() and (y > 0).all() and np.isfinite(y).all()):
        raise BadSpec("a power law is of positive numbers")
    design = np.column_stack([np.ones(len(x)), np.log(x)])
    fitted, *_ = np.linalg.lstsq(design, np.log(y).T, rcond=None)  # (1 + k, seeds)
    rest = np.log(y).mean(0) - design @ fitted.mean(1)
    return Power(tuple(mean_of(each) for each in fitted[1:]), float(np.sqrt((rest**2).mean())), len(x), len(y))


def mean_of(found: npt.ArrayLike) -> Estimate:
    """The mean of a few numbers, at least 2, and Student's 95% interval of it."""
    from scipy.special import stdtrit  # here, because scipy is slow to import

    found = np.asarray(found, dtype=float)
    half = float(stdtrit(len(found) - 1, 0.975) * found.std(ddof=1) / len(found) ** 0.5)
    mean = float(found.mean())
    return Estimate(mean, mean - half, mean + half)


def crossing(x: npt.ArrayLike, y: npt.ArrayLike, level: float) -> float | None:
    """Where y, which falls with x but for noise, first comes down to a level: linear in log x between two points.

    Args:
        x: ``(points,)`` positive, rising.
        y: ``(points,)``.
        level: the level; ``None`` is given where y begins below it, or never comes there.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    below = np.flatnonzero(y <= level)
    if not len(below) or below[0] == 0:
        return None
    last = below[0]
    share = (y[last - 1] - level) / (y[last - 1] - y[last])
    return float(np.exp(np.log(x[last - 1]) + share * (np.log(x[last]) - np.log(x[last - 1]))))
