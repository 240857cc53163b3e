"""Every stage by levels: kernels and ops of all kinds, parents with any number of factors.

In a linear stage every q is positive (`hgm.compiler.ranges`), so the cavity is b_v / q_u. Where messages may be zero
(`LevelStage.zeros`) it is a product over the others, and is rescaled like messages up. In a log stage that is a sum
over the others, because b_v - q_u would be -inf + inf under hard evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hgm.compiler.layers import FactorLayer, layer_of
from hgm.compiler.numerics import (
    joined,
    logsumexp,
    other_products,
    others,
    product,
    safe_log,
    scale_linear,
    scale_log,
    to_linear,
)
from hgm.compiler.plan import LevelPlan, LevelStage
from hgm.compiler.ranges import Kernel
from hgm.compiler.stage import SWEEP, Belief, Message, Moving, Scale, Skip, Stage
from hgm.compiler.unary import Unary

__all__ = ["General", "LevelSkip"]


@dataclass(slots=True)
class LevelSkip(Skip):
    """What a stage by levels keeps.

    Attributes:
        q: ``(k, S, n, B)`` the messages of the factors.
        child: the children's messages.
        own: the parents' own knowledge.
        weights: of the layers.
    """

    q: Tensor
    child: Message
    own: Unary
    weights: list[Tensor]


class General(Moving, Stage):
    """A stage by levels, whatever is in it."""

    def __init__(self, plan: LevelStage, above: LevelPlan, below: LevelPlan) -> None:
        super().__init__(plan, above, below)
        self.kernel: Kernel = above.kernel
        self.divides = self.kernel == "linear" and not plan.zeros
        self.sweep = not self.divides or self.level % SWEEP == SWEEP - 1  # other cavities are rescaled on their way
        self.groups = [(g.arity, g.nodes) for g in plan.groups if g.arity]  # the parents without factors come last
        self.group_slots = [k * n for k, n in self.groups]
        self.inner = sum(n for _, n in self.groups)
        self.regular = plan.regular
        slots = plan.groups[0].arity if plan.regular else 1
        self._layers = tuple(layer_of(op, slots) for op in plan.ops)
        self.folded = nn.ModuleList(self._layers)
        self.sizes = [len(op.factors) for op in plan.ops]
        self.child_sizes = [len(op.factors) * op.children for op in plan.ops]
        self.set_moves(plan.take, plan.arrival, plan.slot_parent)

    def layers(self) -> Iterator[FactorLayer]:
        return iter(self._layers)

    def collect(self, below: Message, own: Unary, scaled: Tensor | None = None) -> tuple[Message, list[Scale], Skip]:
        # a linear layer below a log level works in float64 like the level
        dtype = torch.float64 if self.kernel == "log" and below.kernel == "log" else below.dtype
        parts, weights = [], []
        x = below.h if self.arrival is None else below.h.index_select(1, self.arrival)
        for layer, mine in zip(self.layers(), x.split(self.child_sizes, 1), strict=True):
            mine = _convert(mine, below.kernel, layer.kernel, dtype)
            weights.append(layer.weight(mine, scaled))
            q = layer(mine, weights[-1])
            parts.append(safe_log(q).double() if layer.kernel != self.kernel else q)
        q = joined(parts, 2)
        q = q if self.take is None else q.index_select(2, self.take)
        return *self.scaled(self._combine(q, own), below.dtype, scaled), LevelSkip(q, below, own, weights)

    def scaled(self, h: Tensor, dtype: torch.dtype, weights: Tensor | None) -> tuple[Message, list[Scale]]:
        """The parents' messages, with maximum 1 or 0 where the stage rescales, and what was taken for that.

        With `weights` that were not there when the stage was planned it always does.
        """
        if not self.rescale and weights is None:
            return Message(h, self.kernel, dtype), []
        h, taken = scale_linear(h) if self.kernel == "linear" else scale_log(h)
        return Message(h, self.kernel, dtype), [Scale(taken, self.kernel)]

    def distribute(self, above: Belief, skip: Skip) -> Belief:
        assert isinstance(skip, LevelSkip)
        u = self._cavity(above.b, above.r, skip)
        u = u if self.untake is None else u.index_select(2, self.untake)
        x = skip.child.h if self.arrival is None else skip.child.h.index_select(1, self.arrival)
        parts = []
        inputs = [u] if self.regular else u.split(self.sizes, 2), x.split(self.child_sizes, 1)
        for layer, w, cavity, mine in zip(self.layers(), skip.weights, *inputs, strict=True):
            if layer.kernel != self.kernel:
                cavity = to_linear(cavity, w.dtype, 1)
            if layer.child_count > 1:
                mine = _convert(mine, skip.child.kernel, layer.kernel, w.dtype)
            message = layer.down(cavity, mine, w)
            parts.append(safe_log(message).double() if layer.kernel != skip.child.kernel else message)
        down = joined(parts)
        h = skip.child.h
        if self.unarrival is not None:
            down = down.reshape(h.shape).index_select(1, self.unarrival)
        if skip.child.kernel == "linear":
            down = down if self.divides or self.kernel == "log" else scale_linear(down.reshape(h.shape))[0]
            b = (h.reshape(down.shape) * down).reshape(h.shape)
            return Belief(b / b.sum(0, keepdim=True) if self.sweep else b, down)
        down = scale_log(down.reshape(h.shape))[0]
        b = h + down
        return Belief(b - logsumexp(b, 0), down)

    def _combine(self, q: Tensor, own: Unary) -> Tensor:
        """``(S, n, B)``: own knowledge times the messages of all slots."""
        linear = self.kernel == "linear"
        if self.regular:
            h = product(q) if linear else q.sum(0)
        else:
            h = joined([product(block, 1) if linear else block.sum(1) for block in self._blocks(q)])
        if own.inner is not None:
            h = h * own.inner if linear else h + own.inner
        if own.leaf is not None:
            h = torch.cat([h, own.leaf.to(h.dtype).expand(-1, -1, h.shape[-1])], 1)
        return h

    def _cavity(self, b: Tensor, r: Tensor | None, skip: LevelSkip) -> Tensor:
        """``(k, S, n, B)``: for each slot the parent's belief without the slot's own message."""
        q = skip.q
        if self.divides:
            return b / q if self.regular else b.index_select(1, self.slot_parent) / q
        linear = self.kernel == "linear"
        times, rest = (torch.mul, other_products) if linear else (torch.add, others)
        t = torch.full_like(b, float(linear)) if r is None else r.reshape(b.shape)
        t = t[:, : self.inner]
        t = t if skip.own.inner is None else times(t, skip.own.inner)
        if self.regular:
            u = times(t, rest(q))
        else:
            above = t.split([n for _, n in self.groups], 1)
            parts = [
                times(mine, rest(block.transpose(0, 1))).transpose(0, 1).flatten(1, 2)
                for mine, block in zip(above, self._blocks(q), strict=True)
            ]
            u = torch.cat(parts, 1)[None]
        return scale_linear(u.transpose(0, 1))[0].transpose(0, 1) if linear else u

    def _blocks(self, q: Tensor) -> list[Tensor]:
        """``(S, k, n, B)`` for each group of parents: the messages of an irregular stage's slots."""
        parts = q[0].split(self.group_slots, 1)
        return [part.unflatten(1, group) for part, group in zip(parts, self.groups, strict=True)]

    def extra_repr(self) -> str:
        combine = "product" if self.kernel == "linear" else "sum of logs"
        return f"level {self.level + 1} -> {self.level}, {self.nodes} nodes, combine={combine}"


def _convert(x: Tensor, have: Kernel, want: Kernel, dtype: torch.dtype) -> Tensor:
    """A message in the kernel that a layer wants: levels next to a log layer are log, so only log -> linear occurs."""
    return x if have == want else to_linear(x, dtype)
