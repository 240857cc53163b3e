"""What a ReLU network is asked for, and what follows from it before anything is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from hgm.compiler.plan import Plan
from hgm.evidence.channel import Channel
from hgm.relu.constructions.choose import construction
from hgm.relu.maps import StageMaps, stage_maps
from hgm.relu.propagate import Flow
from hgm.tree.arguments import choice, number
from hgm.tree.possible import possible_states

__all__ = ["Allocation", "Bound", "Question"]

Bound = Literal["log_posterior", "tv", "mean"]
Allocation = Literal["optimal", "uniform"]


def _is_positive(x: float) -> bool:
    return 0 < x < math.inf


@dataclass(frozen=True, eq=False)
class Question:
    """A model, the variables that are asked for, and how far off the answer may be.

    Attributes:
        plan: the plan.
        channel: the channel of the leaves.
        leaf_shape: shape of the leaf level.
        query: ``(n,)`` tree indices of the asked-for variables.
        down: whether the network distributes; if not, the query is among the roots.
        tol: the tolerance.
        bound: what it holds for.
        allocation: how it is shared among the maps.
        construction: the only construction to use, or ``None`` for the cheapest of each map.
        floor: B, to floor log evidence at -B below the largest among the possible states.

    Raises:
        BadSpec: for a bad option.
    """

    plan: Plan
    channel: Channel
    leaf_shape: tuple[int, ...]
    query: np.ndarray
    down: bool
    tol: float
    bound: Bound = "log_posterior"
    allocation: Allocation = "optimal"
    construction: str | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        tol = number(self.tol, "the tolerance tol must be positive and finite", _is_positive)
        object.__setattr__(self, "tol", tol)  # as a float
        if self.floor is not None:
            says = "a floor B must be positive and finite, as log evidence is floored at -B"
            object.__setattr__(self, "floor", number(self.floor, says, _is_positive))
        choice("bound", self.bound, get_args(Bound))
        choice("allocation", self.allocation, get_args(Allocation))
        if self.construction is not None:
            construction(self.construction)

    @cached_property
    def possible(self) -> np.ndarray:
        """``(S, V)`` from `hgm.tree.possible.possible_states`."""
        return possible_states(self.plan.tree)

    @cached_property
    def maps(self) -> tuple[StageMaps, ...]:
        """The maps of every stage, root first."""
        return stage_maps(self.plan, self.possible)

    @cached_property
    def flow(self) -> Flow:
        """How their errors add up."""
        return Flow.of(self.plan, self.maps)

    @cached_property
    def asked(self) -> list[np.ndarray]:
        """Per level the positions of the asked-for variables."""
        return [np.flatnonzero(np.isin(level.order, self.query)) for level in self.plan.levels]

    @cached_property
    def limits(self) -> list[np.ndarray]:
        """Per level the largest E_b for which the tolerance holds, for the asked-for variables."""
        spans, _ = self.values
        return [self._limit(spans[level.order[at]]) for level, at in zip(self.plan.levels, self.asked, strict=True)]

    def _limit(self, spans: np.ndarray) -> np.ndarray:
        """The formulas of `hgm.relu.certificate`, solved for E_b, for variables whose values span ``spans``."""
        if self.bound == "log_posterior":
            return np.full(len(spans), self.tol)
        spans = spans if self.bound == "mean" else np.ones(len(spans))
        return np.array([4 * math.atanh(min(self.tol / s, 0.999) if s > 0 else 0.999) for s in spans])

    @cached_property
    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """``(V,)`` each: largest distance between two values, and largest value.

        Values are the channel's at the leaves, state numbers elsewhere.
        """
        cards = self.plan.tree.cardinality
        spans = (cards - 1).astype(np.float64)
        sizes = spans.copy()
        leaves = self.plan.inputs[: math.prod(self.leaf_shape)]
        if self.channel.values is not None:
            values = self.channel.values.detach().double().cpu()
            table = (values if values.ndim == 2 else values[:, None]).numpy()
            for size in np.unique(cards[leaves]):
                part = table[: int(size)]
                mine = leaves[cards[leaves] == size]
                spans[mine] = np.sqrt(((part[:, None] - part[None]) ** 2).sum(-1)).max()
                sizes[mine] = np.linalg.norm(part, axis=1).max()
        return spans, sizes
