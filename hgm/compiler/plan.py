"""The vocabulary of a plan: which batched operations a network runs, in which order, on which numbers. No torch.

A plan has one `LevelPlan` per level (its variables and what is observed there) and one `StagePlan` per pair of levels
(the factors between them). Levels are those of the tree, or levels of paths (`hgm.compiler.paths`). Inside a stage the
factors are *folded* (`hgm.compiler.fold`): factors of one shape become one batched op, and a regular level with tied
matrices becomes a strided convolution. A plan is data: it can be printed, changed, and handed to `hgm.compile`.

**Order.** Inside a network the variables of a level are permuted so that nothing has to be moved while it runs. Parents
are sorted by their number of child factors k; the parents with the same k form a `Group`, and their factors (the
group's *slots*) are laid out position by position: all first factors, then all second ones, ... So the messages of a
group are one block ``(k, n)``, combining siblings is a product over its first axis, and a convolution's inputs are
plain slices.

**Kernels.** Messages are held either as rescaled probabilities (``"linear"``: products and matrix products, no exp or
log) or as log messages in float64 (``"log"``). `hgm.compiler.ranges` decides.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from hgm.compiler.ops import Op
from hgm.compiler.ranges import Kernel, Ranges
from hgm.tree.showing import Shown, TextTable
from hgm.tree.tree import Tree

__all__ = [
    "Group",
    "LevelPlan",
    "LevelStage",
    "Plan",
    "StagePlan",
]


@dataclass(frozen=True)
class Group:
    """`nodes` consecutive parents with `arity` child factors each."""

    arity: int
    nodes: int


@dataclass(frozen=True)
class LevelPlan:
    """The variables of one level, in network order.

    Attributes:
        level: number of the level, 0 for the roots.
        order: ``(n,)`` tree indices.
        states: S, the largest cardinality.
        cardinality: ``(n,)``.
        kernel: how this level's messages are held.
        observed: ``(n,)`` column of the engine's evidence (see `Plan.arrangement`), -1 where unobserved.
        unary: factors over one variable of this level; their tables are multiplied into the evidence.
        unary_position: ``(U,)`` which node each belongs to.
        rescale: whether the messages must be rescaled to maximum 1 here; if not, bounds on the tables show that nothing
            can underflow before the next level that does it.
        deepest: whether this is the last level.
        inner: how many variables, which come first, have factors of the stage below.
    """

    level: int
    order: np.ndarray
    states: int
    cardinality: np.ndarray
    kernel: Kernel
    observed: np.ndarray
    unary: np.ndarray
    unary_position: np.ndarray
    rescale: bool
    deepest: bool
    inner: int

    @property
    def nodes(self) -> int:
        return len(self.order)

    @property
    def mixed(self) -> bool:
        """True if some variable has fewer than S states, so that padding states must be masked."""
        return bool((self.cardinality < self.states).any())


@dataclass(frozen=True)
class StagePlan(ABC):
    """The factors between level l and level l + 1: base of the kinds of stage.

    A new kind is a subclass, a module that runs it (`hgm.compiler.stage.stage_for`), and a schedule that plans it.

    Attributes:
        level: l, the parents' level.
        ops: the folded factors. Their slots, one op after the other, are the *op order*.
        along: whether level l + 1 has edges of its own, along which messages pass.
    """

    along: ClassVar[bool] = False

    level: int
    ops: tuple[Op, ...]

    @property
    def steps(self) -> int:
        """Steps in sequence, both directions."""
        return 2

    @property
    def flops(self) -> int:
        """Multiply-adds per batch row, both directions."""
        return sum(op.flops for op in self.ops)

    def rows(self, above: LevelPlan, below: LevelPlan) -> list[dict[str, object]]:
        """What a printed plan and a picture say of the stage, one row per op."""
        return [
            {
                "level": f"{self.level + 1} -> {self.level}",
                "op": op.name,
                "nodes": f"{below.nodes:,} -> {above.nodes:,}",
                "states": f"{op.states_in} -> {op.states_out}",
                "factors": len(op.factors),
                "weights": op.weights,
                "flops": op.flops,
                "kernel": op.kernel,
                "skips": f"h ({below.states}, {below.nodes:,}), q ({op.states_out}, {len(op.factors):,})",
            }
            for op in self.ops
        ]


@dataclass(frozen=True)
class LevelStage(StagePlan):
    """A stage that combines the messages of each parent's factors at once.

    Attributes:
        groups: parents by number of child factors, in network order.
        take: ``(F,)`` op order -> slot order, or ``None`` if equal.
        slot_parent: ``(F,)`` position of each slot's parent in its level.
        arrival: ``(n',)`` position in level l + 1 of the ops' children, one op after the other, or ``None`` if equal.
        zeros: whether linear messages may be 0, or so small that nothing can be divided by them.
    """

    groups: tuple[Group, ...]
    take: np.ndarray | None
    slot_parent: np.ndarray
    arrival: np.ndarray | None
    zeros: bool = False

    @property
    def regular(self) -> bool:
        """One op, every parent with the same number of factors: messages stay one block."""
        return len(self.ops) == 1 and len(self.groups) == 1


@dataclass(frozen=True)
class Plan(Shown):
    """What a network does, stage by stage. `print` shows it as a table.

    Attributes:
        tree: the tree, rooted as the network needs it.
        levels: one per level, root first.
        stages: one per pair of levels, root first.
        inputs: ``(n_in,)`` the observed variables, in the order of the network's input.
        offset: ``(len(potentials) + 1,)`` where each potential starts in the vector of all weights.
        ranges: of the potentials for which the kernels were chosen.
        schedule: name of the schedule that made the plan.
    """

    tree: Tree
    levels: tuple[LevelPlan, ...]
    stages: tuple[StagePlan, ...]
    inputs: np.ndarray
    offset: np.ndarray
    ranges: Ranges
    schedule: str

    @cached_property
    def arrangement(self) -> np.ndarray:
        """``(n_in,)`` which of `inputs` stands in each column of the engine's evidence.

        The engine has them level by level, in network order, so that the evidence of a level is a slice.
        """
        place = np.full(len(self.tree), -1, dtype=np.int64)
        place[self.inputs] = np.arange(len(self.inputs))
        seen = np.concatenate([level.order[level.observed >= 0] for level in self.levels])
        columns = np.concatenate([level.observed[level.observed >= 0] for level in self.levels])
        return place[seen[np.argsort(columns)]]

    @property
    def weights(self) -> int:
        """Number of distinct weights."""
        return int(self.offset[-1])

    @cached_property
    def level(self) -> np.ndarray:
        """``(V,)`` the number of the level that each variable is in."""
        level = np.empty(len(self.tree), dtype=np.int64)
        for each in self.levels:
            level[each.order] = each.level
        return level

    @property
    def guarded(self) -> np.ndarray:
        """``(n,)`` the variables at which the range of the factor above counts (`hgm.compiler.ranges`)."""
        return np.arange(len(self.tree)) if any(stage.along for stage in self.stages) else self.inputs

    @property
    def linear_at(self) -> np.ndarray:
        """``(V,)`` which variables have linear messages."""
        return np.array([level.kernel == "linear" for level in self.levels])[self.level]

    @property
    def linear(self) -> np.ndarray:
        """``(F,)`` which factors run in the linear kernel: by their ops, or, over one variable, by its level."""
        linear = self.linear_at[self.tree.parent]
        for op in (op for stage in self.stages for op in stage.ops):
            linear[op.factors] = op.kernel == "linear"
        return linear

    @property
    def flops(self) -> int:
        """Multiply-adds per batch row of a collect and a distribute."""
        return sum(stage.flops for stage in self.stages)

    @property
    def steps(self) -> int:
        """Steps in sequence of a collect and a distribute: the network's depth."""
        return sum(stage.steps for stage in self.stages)

    def shape(self, level: LevelPlan) -> tuple[int, ...]:
        """How the variables of a level are laid out: ``(H, W)`` on a grid of the tree's, else ``(n,)``."""
        grid = self.tree.grid
        if grid is not None and bool((self.tree.level[level.order] == level.level).all()):
            return grid[level.level] if len(grid[level.level]) == 2 else (level.nodes,)
        return (level.nodes,)

    def places(self, query: np.ndarray) -> tuple[list[int], np.ndarray | None]:
        """The levels that hold the `query` variables, and where each of these is when the levels are laid end to end.

        ``None`` stands for places in order, so that nothing has to be gathered.
        """
        levels = sorted({int(level) for level in self.level[query]})
        order = np.concatenate([self.levels[level].order for level in levels])
        place = np.full(len(self.tree), -1, dtype=np.int64)
        place[order] = np.arange(len(order))
        return levels, None if np.array_equal(query, order) else place[query]

    def rows(self) -> list[dict[str, object]]:
        """The rows of all stages, in the order in which a collect runs them."""
        levels = self.levels
        return [row for s in reversed(self.stages) for row in s.rows(levels[s.level], levels[s.level + 1])]

    def shown(self) -> Iterable[str | TextTable]:
        yield repr(self.tree)
        yield (
            f"{len(self.inputs):,} observed variables, {self.weights:,} weights, {self.flops:,} multiply-adds, "
            f"depth in steps {self.steps:,} (schedule {self.schedule!r})"
        )
        table = TextTable(self.rows(), "keys", intfmt=",", disable_numparse=False)
        yield table if self.stages else "(no stages: single nodes)"

    __repr__ = Shown.__str__
