"""An irregular stage of edges with linear messages on both sides, node by node in memory: ``(n, S, B)``.

A gather then copies whole nodes, and the batched matrix products need no strides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hgm.compiler.numerics import joined, product
from hgm.compiler.stage import Belief, Message, Scale, Skip
from hgm.compiler.stages.general import General, LevelSkip
from hgm.compiler.unary import Unary

__all__ = ["Gather"]


class Gather(General):
    """It computes what `General` does, in another layout of memory."""

    layout = "nodes"

    def collect(self, below: Message, own: Unary, scaled: Tensor | None = None) -> tuple[Message, list[Scale], Skip]:
        (layer,) = self._layers
        x = below.h.transpose(0, 1)
        x = x if self.arrival is None else x.index_select(0, self.arrival)
        w = layer.weight(x, scaled)
        q = layer(x.transpose(0, 1), w).transpose(1, 2).flatten(0, 1)
        blocks = zip(q.split(self.group_slots), self.groups, strict=True)
        parts = [product(block.unflatten(0, group)) for block, group in blocks]
        if own.inner is not None:
            inner = own.inner.transpose(0, 1)
            parts = [joined(parts, 0) * inner]
        if own.leaf is not None:
            parts.append(own.leaf.transpose(0, 1).expand(-1, -1, x.shape[-1]))
        h = joined(parts, 0).transpose(0, 1)
        return *self.scaled(h, below.dtype, scaled), LevelSkip(q, below, own, [w])

    def distribute(self, above: Belief, skip: Skip) -> Belief:
        assert isinstance(skip, LevelSkip)
        u = above.b.transpose(0, 1).index_select(0, self.slot_parent) / skip.q
        r = torch.bmm(skip.weights[0].mT, u)
        r = (r if self.unarrival is None else r.index_select(0, self.unarrival)).transpose(0, 1)
        b = skip.child.h * r
        return Belief(b / b.sum(0, keepdim=True) if self.sweep else b, r)
