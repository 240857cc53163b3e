"""A regular stage with linear messages on both sides: nothing to convert, gather or sort, only the formulas."""

from __future__ import annotations

import torch
from torch import Tensor

from hgm.compiler.numerics import product, unkept
from hgm.compiler.plan import LevelPlan, LevelStage
from hgm.compiler.stage import Belief, Message, Scale, Skip
from hgm.compiler.stages.general import General, LevelSkip
from hgm.compiler.unary import Unary

__all__ = ["Regular"]


class Regular(General):
    """Where autograd keeps nothing, q and the deepest h are overwritten on the way down: less memory is faster."""

    def __init__(self, plan: LevelStage, above: LevelPlan, below: LevelPlan) -> None:
        super().__init__(plan, above, below)
        self.several = plan.groups[0].arity > 1  # with one slot, q may be the parents' h itself
        self.deepest = below.deepest

    def collect(self, below: Message, own: Unary, scaled: Tensor | None = None) -> tuple[Message, list[Scale], Skip]:
        (layer,) = self._layers
        w = layer.weight(below.h, scaled)
        q = layer(below.h, w)
        h = product(q) if self.several else q[0]
        h = h if own.inner is None else h * own.inner
        return *self.scaled(h, below.dtype, scaled), LevelSkip(q, below, own, [w])

    def distribute(self, above: Belief, skip: Skip) -> Belief:
        assert isinstance(skip, LevelSkip)
        (layer,) = self._layers
        h, q = skip.child.h, skip.q
        free = unkept(q)
        u = torch.div(above.b, q, out=q) if free and self.several else above.b / q
        r = layer.down(u, h, skip.weights[0])
        x = h if r.ndim == 3 else h.view(r.shape)
        b = x.mul_(r) if free and self.deepest else x * r
        b = b if r.ndim == 3 else b.reshape(h.shape)
        return Belief(b / b.sum(0, keepdim=True) if self.sweep else b, r)
