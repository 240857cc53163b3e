"""What the cells of the study of U-Nets say together: means over seeds, limits and what is left for training.

An interval is about two things: another seed, and other samples. Of k >= 3 seeds the first is Student's; of fewer the
scatter of log excess between seeds is taken from all networks together. The samples are the same for all networks; what
they leave open is the mean interval of `hgm.compare`. Both are added as squares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from hgm.study.cells import Finished

__all__ = ["Key", "Mean", "Part", "Results", "Runs", "crossing"]


class Mean(NamedTuple):
    """A mean over seeds, and its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """As in a table."""
        return f"{self.value:.4f} ({max(self.low, 0):.4f} to {self.high:.4f})"


class Key(NamedTuple):
    """What runs have in common that differ in their seeds."""

    tree: str
    network: str
    share: float = 1
    size: float = 1


class Part(NamedTuple):
    """The excess of a network, and how much of it is the exact limit of what it sees."""

    noise: float
    excess: Mean
    limit: float
    training: float


@dataclass(frozen=True)
class Runs:
    """Runs that differ in their seeds.

    Attributes:
        key: what they have in common.
        found: of each seed what its cell says, by seed.
        scatter: standard deviation of log excess over seeds, by noise, and its degrees of freedom; of all networks.
    """

    key: Key
    found: dict[int, dict[str, Any]]
    scatter: tuple[np.ndarray, int]

    @cached_property
    def levels(self) -> np.ndarray:
        """``(seeds, K, 5)``: noise, optimum, excess and the ends of its interval over samples."""
        names = ("noise", "optimum", "excess", "low", "high")
        return np.array([[[row[name] for name in names] for row in one["levels"]] for one in self.found.values()])

    @property
    def noise(self) -> list[float]:
        return [float(x) for x in self.levels[0, :, 0]]

    def means(self) -> list[Mean]:
        """The excess at every level of noise."""
        excess, samples = self.levels[:, :, 2], ((self.levels[:, :, 4] - self.levels[:, :, 3]) / 2).mean(0)
        return [
            _mean(excess[:, k], float(samples[k]), float(self.scatter[0][k]), self.scatter[1])
            for k in range(excess.shape[1])
        ]

    def at(self, noise: float) -> Mean:
        """The excess at a level of noise."""
        return self.means()[self.noise.index(noise)]

    def risk(self) -> Mean:
        """The mean of the excess over all levels of noise."""
        excess = self.levels[:, :, 2].mean(1)
        samples = float(((self.levels[:, :, 4] - self.levels[:, :, 3]) / 2).mean())
        return _mean(excess, samples, float(self.scatter[0].mean()), self.scatter[1])

    def of(self, name: str) -> float:
        """The mean of a number over seeds: parameters, multiply_adds, compute, seconds."""
        return float(np.mean([one[name] for one in self.found.values()]))

    @property
    def radius(self) -> int | None:
        """How far its outputs see."""
        return next(iter(self.found.values()))["radius"]


class Results:
    """All finished cells.

    Attributes:
        cells: as they are.
        runs: trained networks by `Key`.
    """

    def __init__(self, cells: Sequence[Finished]) -> None:
        self.cells = list(cells)
        by: dict[Key, dict[int, dict[str, Any]]] = {}
        for cell, found, _ in self.cells:
            if "network" in cell:
                key = Key(cell["tree"], cell["network"], cell["share"], cell["size"])
                by.setdefault(key, {})[cell["seed"]] = found
        scatter = _scatter(seeds for key, seeds in by.items() if key.network != "compiled")  # that is 0 to rounding
        self.runs = {key: Runs(key, found, scatter) for key, found in by.items()}

    @property
    def base(self) -> str:
        """The tree that most is about: the one above the threshold, or else the first."""
        trees = [key.tree for key in self.runs]
        return "above" if "above" in trees or not trees else trees[0]

    def of_tree(self, tree: str) -> list[Runs]:
        """The networks that were trained on a tree."""
        return [runs for key, runs in self.runs.items() if key.tree == tree]

    def get(self, tree: str, network: str, share: float | None = None, size: float = 1) -> Runs | None:
        """The runs of a network, if there are any; without a share of compute the main ones."""
        shares = [share] if share is not None else [1, 0.5, 1e-3]
        return next((self.runs[key] for s in shares if (key := Key(tree, network, s, size)) in self.runs), None)

    def limit(self, tree: str, ablation: str, **given: Any) -> list[dict[str, float]] | None:
        """The levels of a restricted optimum, if it was measured."""
        wanted = {"tree": tree, "ablation": ablation, **given}
        for cell, found, _ in self.cells:
            if wanted.items() <= cell.items():
                return found["levels"]
        return None

    def bound(self, runs: Runs) -> list[dict[str, float]] | None:
        """The levels of the limit that no network of its kind can beat; ``None`` if it sees everything."""
        return None if runs.radius is None else self.limit(runs.key.tree, "window", radius=runs.radius)

    def parts(self, runs: Runs) -> list[Part]:
        """The excess, its limit and what is left, by noise; the limit of what sees everything is 0."""
        bound = self.bound(runs)
        rows = zip(runs.noise, runs.means(), bound or [{"excess": 0.0}] * len(runs.noise), strict=True)
        return [Part(noise, mean, row["excess"], mean.value - row["excess"]) for noise, mean, row in rows]

    def beaten(self) -> tuple[int, list[str]]:
        """How often a run was held against its limit, and where its interval lies below that of the limit."""
        count, where = 0, []
        for runs in self.runs.values():
            bound = self.bound(runs)
            for seed, levels in zip(runs.found, runs.levels, strict=True) if bound else ():
                for row, limit in zip(levels, bound or (), strict=True):
                    count += 1
                    if row[4] < limit["low"]:
                        where.append(f"{runs.key.network} on {runs.key.tree}, seed {seed}, sigma {row[0]:g}")
        return count, where

    def curve(self, tree: str, network: str) -> list[tuple[float, Mean]]:
        """Compute and risk of a network trained for longer and shorter, in order."""
        mine = [runs for key, runs in self.runs.items() if key[:2] == (tree, network) and key.size == 1]
        return sorted((runs.of("compute"), runs.risk()) for runs in mine)


def crossing(curve: Sequence[tuple[float, Mean]], risk: float) -> tuple[float, bool] | None:
    """The compute at which a curve comes down to a risk, straight between logarithms, and whether it crosses it there.

    If it is below from its first point on, that compute and False; ``None`` if it never is.
    """
    for (before, above), (compute, mean) in zip([curve[0], *curve], curve, strict=False):
        if mean.value <= risk:
            if above.value <= risk:
                return compute, False
            t = np.log(above.value / risk) / np.log(above.value / mean.value)
            return float(before * (compute / before) ** t), True
    return None


def _mean(x: np.ndarray, samples: float, scatter: float, freedom: int) -> Mean:
    """The mean of what seeds found ``(k,)``, with half an interval over samples and the scatter of log x of all."""
    from scipy.special import stdtrit

    k, mean = len(x), float(x.mean())
    if k >= 3:
        half = float(stdtrit(k - 1, 0.975)) * float(x.std(ddof=1)) / k**0.5
    else:
        half = mean * scatter * float(stdtrit(freedom, 0.975)) / k**0.5 if freedom else 0.0
    half = (half**2 + samples**2) ** 0.5
    return Mean(mean, mean - half, mean + half)


def _scatter(runs: Iterable[dict[int, dict[str, Any]]]) -> tuple[np.ndarray, int]:
    """Standard deviation of log excess over seeds by noise, of all networks together, and its degrees of freedom."""
    squares: Any = 0.0
    freedom, levels = 0, 1
    for seeds in runs:
        logs = np.log([[max(row["excess"], 1e-12) for row in one["levels"]] for one in seeds.values()])
        levels = logs.shape[1]
        if len(logs) > 1:
            squares = squares + ((logs - logs.mean(0)) ** 2).sum(0)
            freedom += len(logs) - 1
    return (np.sqrt(squares / freedom) if freedom else np.zeros(levels)), freedom
