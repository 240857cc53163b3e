"""One stage of a network: the factors between two levels, run up (collect) or down (distribute).

Collect, for every parent v with evidence and priors o_v ("own"):

    h_v = normalize( o_v * prod_{u in slots(v)} q_u ),      q_u = layer.up(h_children)       normalize: max_s h = 1

Distribute, with b the normalised beliefs:

    u_u = o_v * r_v * prod_{w in slots(v), w != u} q_w      the cavity: everything but what u itself said (skip of q)
    b_c = h_c * r_c,   r_c = layer.down(u)                  (skip of h)

In a linear stage every q is positive (`hgm.compiler.plan`), so the cavity is b_v / q_u. In a log stage it is a sum
over the others, because b_v - q_u would be -inf + inf under hard evidence. Beliefs need no normalisation on the way
down: sum_a h_c(a) r_c(a) = sum_s u_u(s) q_u(s) = sum_s b_v(s), which is 1 at the root; rounding is swept up every
`SWEEP` levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hgm.compiler.layers import FactorLayer
from hgm.compiler.numerics import (
    LOWEST,
    exp,
    logsumexp,
    others,
    product,
    safe_log,
    scale_linear,
    scale_log,
    to_linear,
)
from hgm.compiler.plan import EdgeOp, Kernel, LevelPlan, StagePlan
from hgm.compiler.rules import lower

__all__ = ["GatherStage", "LinearStage", "Message", "Own", "Skip", "Stage", "build_stage"]


#: distribute renormalises the beliefs of every so many levels
SWEEP = 4


@dataclass(slots=True)
class Own:
    """What a level's variables know by themselves, states first: evidence times priors, in the level's kernel.

    `inner` is for the parents with child factors (``None`` if they know nothing), `leaf` for the others.
    """

    inner: Tensor | None
    leaf: Tensor | None


@dataclass(slots=True)
class Message:
    """Messages of a level to its parents: ``h (S, n, B)``, maximum 1 (linear, where rescaled) or 0 (log)."""

    h: Tensor
    kernel: Kernel


@dataclass(slots=True)
class Skip:
    """What collect keeps for distribute: q ``(k, S, n, B)``, the children's h, the parents' own knowledge."""

    q: Tensor
    child: Message
    own: Own
    weights: list[Tensor]


class Stage(nn.Module):
    """The layers between level l (parents) and level l + 1 (children), and how their messages combine."""

    take: Tensor | None
    untake: Tensor | None
    arrival: Tensor | None
    unarrival: Tensor | None
    slot_parent: Tensor

    def __init__(self, stage: StagePlan, above: LevelPlan, below: LevelPlan) -> None:
        super().__init__()
        self.level = stage.level
        self.kernel: Kernel = above.kernel
        self.rescale = above.rescale
        self.sweep = self.kernel == "log" or self.level % SWEEP == SWEEP - 1  # a log cavity is rescaled on its way
        self.nodes, self.states = above.nodes, above.states
        self.groups = [(g.arity, g.nodes) for g in stage.groups]
        self.inner = sum(n for k, n in self.groups if k)
        self.regular = stage.regular
        slots = stage.groups[0].arity if stage.regular else 1
        self.layers = nn.ModuleList(lower(op, slots) for op in stage.ops)
        self.sizes = [len(op.factors) for op in stage.ops]
        self.child_sizes = [len(op.factors) * op.children for op in stage.ops]
        for name, order in (("take", stage.take), ("arrival", stage.arrival)):
            there = None if order is None else torch.from_numpy(order)
            self.register_buffer(name, there, persistent=False)
            self.register_buffer("un" + name, None if there is None else torch.argsort(there), persistent=False)
        self.register_buffer("slot_parent", torch.from_numpy(stage.slot_parent), persistent=False)

    @property
    def factor_layers(self) -> list[FactorLayer]:
        """The stage's layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, FactorLayer)]

    def collect(
        self, child: Message, own: Own, scaled: Tensor | None, dtype: torch.dtype
    ) -> tuple[Message, Tensor | None, Skip]:
        """Messages of the parents, the scale ``(1, n, B)`` taken from them (``None``: 1), and `distribute`'s skip.

        `dtype` is that of the linear messages; a linear layer below a log level works in float64 like the level.
        """
        dtype = torch.float64 if self.kernel == "log" and child.kernel == "log" else dtype
        parts, weights, start = [], [], 0
        scale: Tensor | None = None
        x = child.h if self.arrival is None else child.h.index_select(1, self.arrival)
        for layer, size in zip(self.factor_layers, self.child_sizes, strict=True):
            mine = _convert(
                x if len(self.child_sizes) == 1 else x.narrow(1, start, size), child.kernel, layer.kernel, dtype
            )
            weights.append(layer.weight(mine, scaled))
            q = layer.up(mine, weights[-1])
            parts.append(safe_log(q).double() if layer.kernel != self.kernel else q)
            start += size
        q = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
        q = q if self.take is None else q.index_select(2, self.take)
        h = self._combine(q, own)
        if self.rescale:
            h, scale = scale_linear(h) if self.kernel == "linear" else scale_log(h)
        return Message(h, self.kernel), scale, Skip(q, child, own, weights)

    def distribute(self, b: Tensor, r: Tensor | None, skip: Skip) -> tuple[Tensor, Tensor]:
        """Beliefs of the children, and the messages they got from above.

        `b` and `r` are the parents' beliefs and messages from above (``None`` at the roots), in the level's kernel.
        """
        u = self._cavity(b, r, skip)
        u = u if self.untake is None else u.index_select(2, self.untake)
        x = skip.child.h if self.arrival is None else skip.child.h.index_select(1, self.arrival)
        parts, start, slot = [], 0, 0
        for layer, w, size, factors in zip(self.factor_layers, skip.weights, self.child_sizes, self.sizes, strict=True):
            mine = x if len(self.sizes) == 1 else x.narrow(1, start, size)
            cavity = u if len(self.sizes) == 1 else u.narrow(2, slot, factors)
            if layer.kernel != self.kernel:
                cavity = exp(cavity - cavity.detach().amax(1, keepdim=True).clamp_min(LOWEST)).to(w.dtype)
            if layer.child_count > 1:
                mine = _convert(mine, skip.child.kernel, layer.kernel, w.dtype)
            message = layer.down(cavity, mine, w)
            parts.append(safe_log(message).double() if layer.kernel != skip.child.kernel else message)
            start, slot = start + size, slot + factors
        down = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        h = skip.child.h
        if self.unarrival is not None:
            down = down.reshape(h.shape).index_select(1, self.unarrival)
        if skip.child.kernel == "linear":
            b = (h.reshape(down.shape) * down).reshape(h.shape)
            return (b / b.sum(0, keepdim=True) if self.sweep else b), down
        down = scale_log(down.reshape(h.shape))[0]
        b = h + down
        return b - logsumexp(b, 0), down

    def _combine(self, q: Tensor, own: Own) -> Tensor:
        """``(S, n, B)``: own knowledge times the messages of all slots."""
        linear = self.kernel == "linear"
        if self.regular:
            h = product(q) if linear else q.sum(0)
        else:
            parts, start = [], 0
            for k, n in self.groups:
                if k:
                    block = q[0, :, start : start + k * n].unflatten(1, (k, n))
                    parts.append(product(block, 1) if linear else block.sum(1))
                    start += k * n
            h = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if own.inner is not None:
            h = h * own.inner if linear else h + own.inner
        if own.leaf is not None:
            h = torch.cat([h, own.leaf.to(h.dtype).expand(-1, -1, h.shape[-1])], 1)
        return h

    def _cavity(self, b: Tensor, r: Tensor | None, skip: Skip) -> Tensor:
        """``(k, S, n, B)``: for each slot the parent's belief without the slot's own message."""
        q = skip.q
        if self.kernel == "linear":
            return b / q if self.regular else b.index_select(1, self.slot_parent) / q
        t = torch.zeros_like(b) if r is None else r
        if skip.own.inner is not None:
            t = (
                torch.cat([t[:, : self.inner] + skip.own.inner, t[:, self.inner :]], 1)
                if self.inner < self.nodes
                else t + skip.own.inner
            )
        if self.regular:
            return t + others(q)
        parts, start, parent = [], 0, 0
        for k, n in self.groups:
            if k:
                block = q[0, :, start : start + k * n].unflatten(1, (k, n)).transpose(0, 1)
                parts.append((t[:, parent : parent + n] + others(block)).transpose(0, 1).flatten(1, 2))
                start, parent = start + k * n, parent + n
        return torch.cat(parts, 1)[None]

    def extra_repr(self) -> str:
        combine = "product" if self.kernel == "linear" else "sum of logs"
        return f"level {self.level + 1} -> {self.level}, {self.nodes} nodes, combine={combine}"


class LinearStage(Stage):
    """A regular stage with linear messages on both sides: nothing to convert, gather or sort, only the formulas.

    Where autograd keeps nothing, q and the deepest level's h are overwritten on the way down: less memory is faster.
    """

    def __init__(self, plan: StagePlan, above: LevelPlan, below: LevelPlan) -> None:
        super().__init__(plan, above, below)
        self.several = plan.groups[0].arity > 1  # with one slot, q may be the parents' h itself
        self.deepest = below.deepest

    def collect(
        self, child: Message, own: Own, scaled: Tensor | None, dtype: torch.dtype
    ) -> tuple[Message, Tensor | None, Skip]:
        layer: FactorLayer = self.layers[0]  # type: ignore[assignment]
        w = layer.weight(child.h, scaled)
        q = layer.up(child.h, w)
        h = product(q) if own.inner is None else product(q) * own.inner
        h, scale = scale_linear(h) if self.rescale else (h, None)
        return Message(h, "linear"), scale, Skip(q, child, own, [w])

    def distribute(self, b: Tensor, r: Tensor | None, skip: Skip) -> tuple[Tensor, Tensor]:
        layer: FactorLayer = self.layers[0]  # type: ignore[assignment]
        h, q = skip.child.h, skip.q
        free = not (torch.is_grad_enabled() and q.requires_grad)
        u = torch.div(b, q, out=q) if free and self.several else b / q
        r = layer.down(u, h, skip.weights[0])
        b = (h.view(r.shape).mul_(r) if free and self.deepest else h.view(r.shape) * r).reshape(h.shape)
        return (b / b.sum(0, keepdim=True) if self.sweep else b), r


class GatherStage(Stage):
    """An irregular stage of edges with linear messages on both sides, node by node in memory: ``(n, S, B)``.

    A gather then copies whole nodes, and the batched matrix products need no strides.
    """

    def __init__(self, plan: StagePlan, above: LevelPlan, below: LevelPlan) -> None:
        super().__init__(plan, above, below)
        self.blocks: list[tuple[int, int, int]] = []  # first slot, number of slots, slots per parent
        start = 0
        for k, n in self.groups:
            if k:
                self.blocks.append((start, k * n, k))
                start += k * n

    def collect(
        self, child: Message, own: Own, scaled: Tensor | None, dtype: torch.dtype
    ) -> tuple[Message, Tensor | None, Skip]:
        layer: FactorLayer = self.layers[0]  # type: ignore[assignment]
        x = child.h.transpose(0, 1)
        x = x if self.arrival is None else x.index_select(0, self.arrival)
        w = layer.weight(x, scaled)
        q = torch.bmm(w, x)
        parts = [product(q.narrow(0, first, size).unflatten(0, (k, -1))) for first, size, k in self.blocks]
        if own.inner is not None:
            inner = own.inner.transpose(0, 1)
            parts = [(parts[0] if len(parts) == 1 else torch.cat(parts)) * inner]
        if own.leaf is not None:
            parts.append(own.leaf.transpose(0, 1).expand(-1, -1, x.shape[-1]))
        h = (parts[0] if len(parts) == 1 else torch.cat(parts)).transpose(0, 1)
        h, scale = scale_linear(h) if self.rescale else (h, None)
        return Message(h, "linear"), scale, Skip(q, child, own, [w])

    def distribute(self, b: Tensor, r: Tensor | None, skip: Skip) -> tuple[Tensor, Tensor]:
        u = b.transpose(0, 1).index_select(0, self.slot_parent) / skip.q
        r = torch.bmm(skip.weights[0].mT, u)
        r = (r if self.unarrival is None else r.index_select(0, self.unarrival)).transpose(0, 1)
        b = skip.child.h * r
        return (b / b.sum(0, keepdim=True) if self.sweep else b), r


def build_stage(plan: StagePlan, above: LevelPlan, below: LevelPlan) -> Stage:
    """The stage for a plan's stage: `LinearStage` or `GatherStage` where they apply, which compute the same."""
    if len(plan.ops) == 1 and above.kernel == below.kernel == plan.ops[0].kernel == "linear":
        if plan.regular and plan.arrival is None:
            return LinearStage(plan, above, below)
        if isinstance(plan.ops[0], EdgeOp):
            return GatherStage(plan, above, below)
    return Stage(plan, above, below)


def _convert(x: Tensor, have: Kernel, want: Kernel, dtype: torch.dtype) -> Tensor:
    """A message in the kernel that a layer wants: levels next to a log layer are log, so only log -> linear occurs."""
    return x if have == want else to_linear(x, dtype)
