"""A stage of paths: o of a level ─► along all its paths ─► messages of their tops ─► a stage by levels ─► o above.

A level of paths keeps o, what each variable knows by itself and from its light children, where a level of the tree
keeps h; and its beliefs are

    b_v = o_v rho_v        rho_v = r_v s_v        r: what comes from above, s: from the next variable below in the path

so what hangs on a path sees the path as one more thing from above: nothing of the stages by levels changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hgm.compiler.layers import FactorLayer, layer_of
from hgm.compiler.numerics import logsumexp
from hgm.compiler.path_plan import PathStage
from hgm.compiler.plan import LevelPlan
from hgm.compiler.segments import Layout, Linear, Logs, Swept, down, up
from hgm.compiler.stage import Belief, Message, Scale, Skip, Stage
from hgm.compiler.stages.choose import level_stage
from hgm.compiler.unary import Unary

__all__ = ["Paths"]


@dataclass(slots=True)
class PathSkip(Skip):
    """What a stage of paths keeps.

    Attributes:
        o: ``(n, S, B)`` what the paths' variables know without their paths.
        swept: messages along the paths.
        line, links: the matrices.
        order: what ran when.
        light: what the stage of the tops keeps.
    """

    o: Tensor
    swept: Swept
    line: Tensor
    links: Tensor | None
    order: Layout
    light: Skip


class Paths(Stage):
    """All paths of level l + 1 by segments, and from their tops to level l."""

    layout = "nodes"

    arrange: Tensor | None
    unarrange: Tensor | None
    heads: Tensor
    chain: Tensor
    paths: Tensor

    def __init__(self, plan: PathStage, above: LevelPlan, below: LevelPlan) -> None:
        super().__init__(plan, above, below)
        self.light = level_stage(plan.light, above, plan.tops)
        self.line = layer_of(plan.line, 1)
        self.links = None if plan.links is None else layer_of(plan.links, 1)
        self.kernel, self.every, self.running = below.kernel, plan.every, plan.running
        self.states = plan.tops.states
        self.counts = plan.counts
        arrange = None if plan.arrange is None else torch.from_numpy(plan.arrange)
        self.register_buffer("arrange", arrange, persistent=False)
        self.register_buffer("unarrange", None if arrange is None else torch.argsort(arrange), persistent=False)
        for name in ("heads", "chain", "paths"):
            self.register_buffer(name, torch.from_numpy(getattr(plan, name)), persistent=False)

    def layers(self) -> Iterator[FactorLayer]:
        yield from self.light.layers()
        yield self.line
        if self.links is not None:
            yield self.links

    def rescale_always(self) -> None:
        super().rescale_always()
        self.light.rescale_always()
        self.every = 1

    def order(self, every: int) -> Layout:
        """What runs when."""
        return Layout(self.running, self.heads, every, self.counts, self.chain, self.paths)

    def collect(self, below: Message, own: Unary, scaled: Tensor | None = None) -> tuple[Message, list[Scale], Skip]:
        o = below.h.transpose(0, 1)
        o = o.contiguous() if self.arrange is None else o.index_select(0, self.arrange)
        line, links = self.line.weight(o, scaled), None if self.links is None else self.links.weight(o, scaled)
        order = self.order(self.every if scaled is None else 1)
        swept = up(self.of, o, line, links, order)
        tops = Message(swept.tops.transpose(0, 1)[: self.states], self.kernel, below.dtype)
        message, scales, light = self.light(tops, own, scaled)
        scales = [*(Scale(taken.transpose(0, 1), self.kernel) for taken in swept.taken), *scales]
        return message, scales, PathSkip(o, swept, line, links, order, light)

    def distribute(self, above: Belief, skip: Skip) -> Belief:
        assert isinstance(skip, PathSkip)
        of, r = self.of, self.light.distribute(above, skip.light).r
        assert r is not None
        r = F.pad(
            r.reshape(self.states, -1, r.shape[-1]), (0, 0, 0, 0, 0, skip.o.shape[1] - self.states), value=of.zero
        )
        r = of.scaled(r.transpose(0, 1))[0]
        r = down(of, skip.o, r, skip.line, skip.links, skip.swept, skip.order)
        rho = of.times(r, skip.swept.below)
        b = of.times(skip.o, rho)
        b = b / b.sum(1, keepdim=True) if self.kernel == "linear" else b - logsumexp(b, 1).unsqueeze(1)
        if self.unarrange is not None:
            b, rho = b.index_select(0, self.unarrange), rho.index_select(0, self.unarrange)
        return Belief(b.transpose(0, 1), rho.transpose(0, 1))

    @property
    def of(self) -> type[Linear] | type[Logs]:
        """The number system."""
        return Linear if self.kernel == "linear" else Logs

    def extra_repr(self) -> str:
        cut = f", {self.running[0]} segments of up to {len(self.running)}" if self.links is not None else ""
        return f"level {self.level + 1}: {len(self.heads)} paths{cut}"
