"""95% intervals for the mean of many numbers that are never negative and often skewed, from their first three moments.

Student's interval is too short on the long side of a skewed distribution. Hall's correction (J. R. Stat. Soc. B 54,
221, 1992) puts the statistic T = (mean - mu) / s through a cubic that has no skewness left to first order,

    g(T) = T + c T^2 / 3 + c^2 T^3 / 27 + c / (6 n)          c: the skewness, s: the standard deviation

and back: g is monotone, so its inverse exists, and the interval lies more to the right where few numbers are large.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Estimate", "Tally"]


class Estimate(NamedTuple):
    """A mean over samples, and its 95% interval."""

    value: float
    low: float
    high: float


class Tally:
    """Running mean and central moments of numbers that come in batches, one after the other (Pébay, SAND2008-6212).

    Attributes:
        count: how many there were.
        mean: ``(...)`` float64, as every number has parts.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.second = self.third = torch.zeros(
            (), dtype=torch.float64, device="cpu"
        )  # sums of powers about the mean

    def add(self, x: Tensor) -> None:
        """Numbers ``(B, ...)``."""
        if not len(x):
            return
        x = x.double().cpu()
        mean, n, m = x.mean(0), self.count, len(x)
        apart, total = x - mean, self.count + len(x)
        second, third, step = apart.square().sum(0), apart.pow(3).sum(0), mean - self.mean
        third = third + self.third + step.pow(3) * (n * m * (n - m) / total**2)
        self.third = third + 3 * step * (n * second - m * self.second) / total
        self.second = second + self.second + step.square() * (n * m / total)
        self.mean = self.mean + step * (m / total)
        self.count = total

    def estimates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(...)`` each: means, and the ends of their intervals, not below 0. All are infinite where a number was."""
        from scipy.special import stdtrit  # here, because scipy is slow to import

        n, mean = self.count, self.mean.numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.sqrt(self.second.numpy() / (n - 1))
            skew = np.nan_to_num(self.third.numpy() / n / (self.second.numpy() / n) ** 1.5)
            t = float(stdtrit(n - 1, 0.975)) / n**0.5
            low, high = (mean - spread * _back(side * t, skew, n) for side in (1, -1))
        finite = np.isfinite(mean)
        mean, low, high = (np.where(finite, x, np.inf) for x in (mean, np.clip(low, 0, mean), np.maximum(high, mean)))
        return mean, low, high

    def estimate(self) -> Estimate:
        """Of numbers ``(B,)``."""
        return Estimate(*(float(x) for x in self.estimates()))


def _back(u: float, skew: np.ndarray, n: int) -> np.ndarray:
    """The T with g(T) = u; for little skewness as without."""
    inside = 1 + skew * (u - skew / (6 * n))
    return np.where(np.abs(skew) < 1e-4, u, 3 / np.where(skew == 0, 1, skew) * (np.cbrt(inside) - 1))
