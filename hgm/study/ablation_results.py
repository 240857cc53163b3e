"""What the cells of the study of ablations found, as the numbers that pages and figures speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, log, nan
from typing import Any, NamedTuple

import numpy as np

from hgm.measure.interval import Estimate
from hgm.study.ablation_cells import Asked
from hgm.study.ablation_trees import Subject

__all__ = ["SEEN", "Curve", "Half", "Need", "Results", "Worth"]

#: levels of noise at which the optimum is a smaller share of its largest value are left out of relative statements
SEEN = 0.01


class Curve(NamedTuple):
    """An excess against noise, ``(K,)`` arrays, per leaf, and in nats per sample.

    Attributes:
        noise, optimum, excess, low, high: as of `hgm.compare`.
        leaves: of the tree.
        nats: over all noise; ``None`` where it is not finite.
        bound: whether no network with this restriction can do better.
    """

    noise: np.ndarray
    optimum: np.ndarray
    excess: np.ndarray
    low: np.ndarray
    high: np.ndarray
    leaves: int
    nats: Estimate | None
    bound: bool

    @property
    def seen(self) -> np.ndarray:
        """Where enough is uncertain that a share of the optimum means something."""
        return np.asarray(self.optimum >= SEEN * self.optimum.max())

    @property
    def worst(self) -> tuple[Estimate, float]:
        """The largest excess as a share of the optimum, with its interval, and the noise where that is."""
        share = np.where(self.seen, self.excess / np.maximum(self.optimum, 1e-300), -inf)
        k = int(share.argmax())
        return Estimate(*(float(x[k] / self.optimum[k]) for x in (self.excess, self.low, self.high))), float(
            self.noise[k]
        )

    def share(self, noise: float) -> Estimate | None:
        """The excess as a share of the optimum, interpolated in log noise; ``None`` where that is not `seen`."""
        order = self.noise.argsort()
        x = log(noise)
        at = np.log(self.noise[order])
        if not at[0] - 1e-9 <= x <= at[-1] + 1e-9 or np.interp(x, at, self.seen[order]) < 1:
            return None
        return Estimate(*(float(np.interp(x, at, (c / np.maximum(self.optimum, 1e-300))[order])) for c in self[2:5]))


class Worth(NamedTuple):
    """What it is worth to see the blocks of level k - 1 in the place of those of level k.

    Attributes:
        level: k - 1: the level that is added.
        density: ``(K,)`` nats for an octave of noise.
        nats: their sum, by the integral.
        entropies: the same by entropies: mean and standard error.
        middle: the noise below which half of the nats are.
        ends: and those below which a tenth and nine tenths are.
    """

    level: int
    density: np.ndarray
    nats: float
    half: float
    entropies: tuple[float, float]
    middle: float
    ends: tuple[float, float]


class Half(NamedTuple):
    """When a level is decided.

    Attributes:
        level: of the tree.
        prior: the entropy of a node a priori, in nats.
        least: the share of it that is left with the least noise.
        noise: where half of it is left; ``nan`` if that never is.
        ends: its 95% interval.
    """

    level: int
    prior: float
    least: float
    noise: float
    ends: tuple[float, float]


class Need(NamedTuple):
    """The smallest radius of a window whose excess is within a share of the optimum; its interval. ``inf``: none is."""

    radius: float
    low: float
    high: float


class Results:
    """All that was found, by what was asked.

    Args:
        found: by what was asked, what `hgm.study.ablation_cells.measure` gave.
    """

    def __init__(self, found: Mapping[Asked, Mapping[str, Any]]) -> None:
        self.found = found

    def curve(self, asked: Asked) -> Curve:
        """An excess against the noise."""
        x = self.found[asked]
        columns = {name: np.array(x[name]) for name in ("noise", "optimum", "excess", "low", "high")}
        return Curve(**columns, leaves=x["leaves"], nats=x["nats"] and Estimate(*x["nats"]), bound=x["bound"])

    def share(self, asked: Asked, noise: float) -> Estimate | None:
        """The excess as a share of the optimum at a level of noise: measured there, or between those of the grid."""
        single = asked._replace(nats=False)
        return self.curve(single if single in self.found else asked).share(noise)

    def siblings(self, subject: Subject) -> list[float]:
        """d lambda^2 by level."""
        return list(self.found[Asked(subject.name, "siblings")]["siblings"])

    def entropy(self, subject: Subject) -> tuple[float, float]:
        """H(x) in nats: mean and standard error."""
        mean, error = self.found[Asked(subject.name, "entropies")]["entropy"]
        return mean, error

    def cost(self, subject: Subject, level: int) -> tuple[float, float]:
        """What blocks of a level cost in nats by entropies: mean and standard error."""
        mean, error = self.found[Asked(subject.name, "entropies")]["costs"][level]
        return mean, error

    def worths(self, subject: Subject, channel: str = "gaussian") -> list[Worth]:
        """What each level adds, from the coarsest (the root) to the finest (four pixels, or two letters).

        Excesses of blocks of neighbouring levels differ by E|D_k - D_(k-1)|^2, because the finer blocks see a part of
        what the coarser ones see. So differences are what a level adds, and densities are never negative.
        """
        steps = self.found[Asked(subject.name, "entropies")]["steps"]
        found, before = [], None
        for k in range(1, subject.depth + 1):
            curve = self.curve(Asked(subject.name, "block", k, channel))
            assert curve.nats is not None
            more = curve.excess - (0.0 if before is None else before.excess)
            density = log(2) * curve.leaves * more / curve.noise**2  # 1/2 E d snr = E snr d log(1 / sigma)
            halves = [(c.nats.high - c.nats.low) / 2 for c in (curve, before) if c is not None and c.nats is not None]
            nats = curve.nats.value - (0.0 if before is None or before.nats is None else before.nats.value)
            ends = _below(curve.noise, density, (0.1, 0.5, 0.9))
            # both are of the same samples, so the interval of their difference is narrower than this one
            half = float(np.hypot.reduce(halves))
            found.append(Worth(k - 1, density, nats, half, tuple(steps[k - 1]), ends[1], (ends[0], ends[2])))
            before = curve
        return found

    def shares(self, subject: Subject) -> tuple[np.ndarray, np.ndarray]:
        """Noise ``(K,)``, and the share of a node's entropy that is left ``(K, levels, 2)``: mean, standard error."""
        x = self.found[Asked(subject.name, "decided")]
        return np.array(x["noise"]), np.array(x["left"]) / np.array(x["prior"])[None, :, None]

    def halves(self, subject: Subject) -> list[Half]:
        """When each level is decided, from the root to the leaves."""
        noise, shares = self.shares(subject)
        prior = self.found[Asked(subject.name, "decided")]["prior"]
        found = []
        for level in range(subject.depth + 1):
            middle, error = shares[:, level].T
            ends = [_crossing(noise, middle + side * 1.96 * error) for side in (1, -1)]
            found.append(Half(level, prior[level], float(middle[0]), _crossing(noise, middle), (ends[0], ends[1])))
        return found

    def need(self, subject: Subject, noise: float, share: float) -> Need:
        """The radius that a share of the optimum needs at a level of noise."""
        curves = [(r, self.curve(Asked(subject.name, "window", r, nats=False))) for r in subject.radii]

        def first(column: str) -> float:
            for radius, curve in curves:
                k = int(np.abs(curve.noise - noise).argmin())
                if getattr(curve, column)[k] <= share * curve.optimum[k]:
                    return radius
            return inf

        return Need(first("excess"), first("low"), first("high"))


def _below(noise: np.ndarray, density: np.ndarray, shares: Sequence[float]) -> list[float]:
    """Noise below which such shares of an area over log noise are."""
    order = noise.argsort()
    x, y = np.log(noise[order]), density[order].clip(0)
    area = np.concatenate([[0.0], np.cumsum((y[1:] + y[:-1]) / 2 * np.diff(x))])
    if not area[-1] > 0:
        return [nan] * len(shares)
    return [float(np.exp(np.interp(share * area[-1], area, x))) for share in shares]


def _crossing(noise: np.ndarray, share: np.ndarray, at: float = 0.5) -> float:
    """The noise at which a growing share is `at`; 0 or ``inf`` beyond the ends, ``nan`` where it is above with none.

    It is interpolated in log noise.
    """
    above = share >= at
    if above[0]:
        return nan
    if not above.any():
        return inf
    k = int(above.argmax())
    t = (at - share[k - 1]) / (share[k] - share[k - 1])
    return float(noise[k - 1] * (noise[k] / noise[k - 1]) ** t)
