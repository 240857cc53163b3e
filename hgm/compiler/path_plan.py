"""What a plan by paths has besides: the stage of a level of paths. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hgm.compiler.ops import PathOp
from hgm.compiler.plan import LevelPlan, LevelStage, StagePlan

__all__ = ["PathStage"]


@dataclass(frozen=True)
class PathStage(StagePlan):
    """A stage of paths: along all paths of level l + 1 at once, by segments, then from their tops to level l.

    `hgm.compiler.segments` has the algebra. The ops are those of `light`, then `line` and, if paths are cut, `links`.

    Attributes:
        light: the stage between level l and the tops of the paths.
        tops: `light`'s children: the paths' top variables, as a level.
        line: the edges inside of segments.
        links: those between segments; ``None`` if every path is one segment.
        arrange: ``(n',)`` position in level l + 1 of what stands where along the segments, or ``None`` if equal.
        running, heads, counts, chain, paths: as `hgm.compiler.segments.Layout` has them; `heads` are its `tops`.
        every: messages are scaled in every so many steps.
    """

    along: ClassVar[bool] = True

    light: LevelStage
    tops: LevelPlan
    line: PathOp
    links: PathOp | None
    arrange: np.ndarray | None
    running: tuple[int, ...]
    heads: np.ndarray
    counts: tuple[int, ...]
    chain: np.ndarray
    paths: np.ndarray
    every: int

    @property
    def steps(self) -> int:
        """2 T along paths; 3 T + 2 G in segments."""
        along = len(self.running)
        return self.light.steps + (3 * along + 2 * len(self.counts) if self.links is not None else 2 * along)

    @property
    def flops(self) -> int:
        """With the matrices of segments."""
        cut = self.line.states_in if self.links is not None else 0
        return sum(op.flops for op in self.ops) + cut * self.line.flops // 2

    def rows(self, above: LevelPlan, below: LevelPlan) -> list[dict[str, object]]:
        rows = super().rows(above, below)
        for row, op in zip(rows, self.ops, strict=True):
            if isinstance(op, PathOp):
                row |= {"level": f"{self.level + 1}", "nodes": f"{below.nodes:,}"}
                row["skips"] = f"o ({below.states}, {below.nodes:,})"
            else:
                row["nodes"] = f"{self.tops.nodes:,} -> {above.nodes:,}"
                row["skips"] = f"h ({below.states}, {self.tops.nodes:,}), q ({op.states_out}, {len(op.factors):,})"
        return rows
