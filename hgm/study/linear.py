"""How much of one thing is a linear function of another, on samples that were not fitted: R².

    y_v  =  a_v + W x_v                        x (C,) features at a place v, y (K,) targets there; W is shared by all
    R²   =  1 - sum |y - a_v - W x|² / sum |y - mean_v|²            both sums over samples that neither was fitted on

Every place has its own constant, as convolutions do not know their place: so what is explained is what differs from
sample to sample. Each half of the samples is held out once. W is by ridge regression on features of spread 1; the ridge
is chosen by five-fold cross-validation over the samples of the half that is fitted, so that features that say nothing
give about 0 however many they are, and less than 0 by no more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Share", "explained", "held_out"]

RIDGES = 10.0 ** torch.arange(-8, 3, dtype=torch.float64)  # of features with variance 1
FOLDS = 5
SURE = 1.96


class Share(NamedTuple):
    """A share of a variance, and its 95% interval over samples; the fit is taken as it is."""

    value: float
    low: float
    high: float


def explained(groups: Sequence[tuple[Tensor, Tensor]]) -> Share:
    """R² of linear probes, each of a group of places, together.

    Args:
        groups: features ``(n, places, C)`` and targets ``(n, places, K)``, of the same n samples.

    Returns:
        R² and its interval, by the spread of a ratio of means over samples. 0 where the targets do not vary.
    """
    parts = [held_out(x.double(), y.double()) for x, y in groups]
    left, whole = (torch.stack(side).sum(0) for side in zip(*parts, strict=True))
    mean = float(whole.mean())
    if mean <= 0:
        return Share(0.0, 0.0, 0.0)
    ratio = float(left.mean()) / mean
    half = SURE * float((left - ratio * whole).std()) / mean / len(left) ** 0.5
    return Share(1 - ratio, 1 - ratio - half, 1 - ratio + half)


def held_out(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``(n,)`` each: the squared error of the probe at every sample, and that of the mean; neither saw the sample."""
    left, whole = x.new_zeros(len(x)), x.new_zeros(len(x))
    halves = torch.arange(len(x), device=x.device).chunk(2)
    for fitted, asked in (halves, halves[::-1]):
        centre, mean = x[fitted].mean(0), y[fitted].mean(0)
        spread = (x[fitted] - centre).square().mean((0, 1)).sqrt()
        spread = torch.where(spread > 0, spread, 1.0)
        features, targets = (x - centre) / spread, y - mean
        weights = _ridge(features[fitted], targets[fitted])
        left[asked] = (targets[asked] - features[asked] @ weights).square().sum((1, 2))
        whole[asked] = targets[asked].square().sum((1, 2))
    return left, whole


def _ridge(x: Tensor, y: Tensor) -> Tensor:
    """``(C, K)`` weights, of the ridge that is best in cross-validation over samples."""
    folds = [(_product(a, a), _product(a, b), a.shape[0] * a.shape[1]) for a, b in _chunks(x, y)]
    gram, mixed, rows = (sum(part[i] for part in folds) for i in range(3))
    cost = torch.zeros(len(RIDGES), dtype=x.dtype)
    for own, cross, count in folds:
        values, axes = torch.linalg.eigh((gram - own) / (rows - count))
        turned, into = axes.T @ (mixed - cross) / (rows - count), axes.T @ cross
        inner = axes.T @ own @ axes
        for i, ridge in enumerate(RIDGES):
            w = turned / (values.clamp_min(0) + ridge)[:, None]
            cost[i] += float((w * (inner @ w - 2 * into)).sum())
    ridge = RIDGES[int(cost.argmin())]
    values, axes = torch.linalg.eigh(gram / rows)
    return axes @ ((axes.T @ mixed / rows) / (values.clamp_min(0) + ridge)[:, None])


def _chunks(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x.chunk(FOLDS), y.chunk(FOLDS), strict=True))


def _product(a: Tensor, b: Tensor) -> Tensor:
    return a.flatten(0, 1).T @ b.flatten(0, 1)
