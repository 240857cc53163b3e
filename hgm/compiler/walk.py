"""Collect for many rows: node by node instead of level by level, over blocks of rows that stay in cache.

    h_v = normalize( o_v * prod_{c child of v} psi_c h_c )                   as in `hgm.compiler.stage`, for edges

A stage runs all nodes of a level at once, so that few calls do much; but it reads its messages from memory, writes them
there, and all are kept. Where a batch has so many rows that one edge is worth a call, and only the roots are asked for,
walking costs less: a message is used while it is in cache, and freed when its parent has it. The heaviest child comes
first, so no more than 1 + log2 V messages are alive at a time.

Evidence is either given as logs, or as symbols: then the subtrees of few leaves are tables, and only their columns are
looked up (`hgm.compiler.tables`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hgm.compiler.engine import Engine, Exact
from hgm.compiler.layers import Conv, LocalEdges
from hgm.compiler.numerics import LOWEST, exp_shifted, scale_linear
from hgm.compiler.stage import Message, Scale
from hgm.compiler.stages.gather import Gather
from hgm.compiler.stages.general import General
from hgm.compiler.stages.regular import Regular
from hgm.compiler.tables import Table, merged, own_table
from hgm.evidence.coded import Coded

__all__ = ["ROWS", "Walk", "Walked"]

#: a batch of fewer rows is left to the stages: a call for one edge would cost more than what it does
ROWS = 512

#: numbers of a message in a block of rows (but at least `ROWS` rows): several of them fit in a core's cache
BLOCK = 1 << 13


class Walked(NamedTuple):
    """What is left of a collect at its end, as `Exact.roots` and `Exact.partition` take it."""

    messages: list[Message]
    scales: list[Scale]
    full: Tensor | None = None


class Node(NamedTuple):
    """A variable on the walk.

    Attributes:
        v: its number in the tree.
        level, position: where it is in the plan.
        column: of the evidence, -1 if it is not observed.
        prior: whether it has unary factors.
        edges: to its children: their number, the layer, and which of the layer's matrices.
    """

    v: int
    level: int
    position: int
    column: int
    prior: bool
    edges: list[tuple[int, int, int]]


class Step(NamedTuple):
    """A node whose message differs from row to row.

    Attributes:
        v: its number in the tree.
        children: those whose messages do so too, with their matrices.
        tables: what else is multiplied.
        column: of log evidence, and how many states it is of; -1 if there is none.
        rescale: whether the message is scaled to maximum 1.
    """

    v: int
    children: list[tuple[int, Tensor]]
    tables: list[Table]
    column: tuple[int, int]
    rescale: bool


class Walk:
    """The collects of an engine of which only the roots are asked for, where they are of many rows.

    A walk computes what `Exact.collect` does, in another order: the same products, rescaled at the same levels.

    Args:
        engine: of a network.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._order: list[Node] | None = None

    def pays(self, rows: int, device: torch.device) -> bool:
        """Whether a batch of so many rows is to be walked.

        That is so from `ROWS` rows on a CPU, for models of edges and priors whose kernels are all linear, with weights
        that do not learn, and where nobody looks on: stages have hooks, a walk has none.
        """
        engine = self.engine
        if rows < ROWS or device.type != "cpu" or not isinstance(engine, Exact) or not engine.settled:
            return False
        layers = [layer for stage in engine.stages for layer in stage.layers()]
        return (
            all(level.kernel == "linear" for level in engine.plan.levels)
            and all(type(stage) in (Gather, Regular, General) for stage in engine.stages)
            and all(type(layer) in (Conv, LocalEdges) for layer in layers)
            and not any(_watched(module) for module in engine.encoder.modules())
        )

    @torch.no_grad()
    def __call__(self, e: Tensor | Coded) -> Walked | None:
        """The messages of the roots, from evidence as for `collect`, or from symbols.

        ``None`` if they show a row that is impossible, or not a number: then `collect` says what is wrong.
        """
        engine = self.engine
        assert isinstance(engine, Exact)
        if self._order is None:
            self._order = _order(engine)
        steps, roots = _steps(engine, self._order, e)
        rows = e.symbols.shape[0] if isinstance(e, Coded) else e.shape[2]
        most = max(ROWS, BLOCK // max(level.states for level in engine.plan.levels))
        size = ceil(rows / ceil(rows / most))
        done = [_block(engine, steps, roots, e, slice(i, i + size)) for i in range(0, rows, size)]
        h, taken = (torch.cat(parts, -1) for parts in zip(*done, strict=True))
        if not bool((h.sum(0) > 0).all()):
            return None
        return Walked([Message(h, "linear", e.dtype)], [Scale(taken.view(1, 1, -1), "log")])


def _watched(module: nn.Module) -> bool:
    """Whether hooks see what passes a module, or change it."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _order(engine: Exact) -> list[Node]:
    """All variables, children before their parents, the children with most variables below them first."""
    plan, tree = engine.plan, engine.plan.tree
    size, above = [1] * len(tree), tree.above.tolist()
    for v in range(len(tree) - 1, -1, -1):  # variables are in level order
        if above[v] >= 0:
            size[above[v]] += size[v]
    nodes: list[Node] = [None] * len(tree)  # type: ignore[list-item]
    for level in plan.levels:
        unary = set(level.unary_position.tolist())
        for i, (v, column) in enumerate(zip(level.order.tolist(), level.observed.tolist(), strict=True)):
            nodes[v] = Node(v, level.level, i, column, i in unary, [])
    ops = [op for stage in reversed(plan.stages) for op in stage.ops]
    for layer, op in enumerate(ops):
        parents = tree.parent[op.factors]
        children = tree.scope[tree.scope_ptr[op.factors] + 1 - tree.up[op.factors]]
        which = np.arange(len(op.factors)) * len(op.index) // len(op.factors)  # factors come position by position
        for parent, child, i in zip(parents.tolist(), children.tolist(), which.tolist(), strict=True):
            nodes[parent].edges.append((child, layer, i))
    order, stack = [], tree.roots.tolist()
    while stack:
        order.append(nodes[stack.pop()])
        stack += sorted((child for child, _, _ in order[-1].edges), key=lambda c: -size[c])
    return order[::-1]


def _steps(engine: Exact, order: Sequence[Node], e: Tensor | Coded) -> tuple[list[Step], list[Table | int]]:
    """What is the same for all rows: steps for the messages that are no tables; and the roots, as tables or numbers."""
    like = e.table if isinstance(e, Coded) else e
    weights = [layer.weight(like) for stage in engine.stages for layer in stage.layers()]
    matrices = [w.unbind() if w.ndim == 3 else (w,) for w in weights]
    rescale = [*(stage.rescale for stage in reversed(engine.stages)), engine.rescale_leaves]
    states = engine.plan.tree.cardinality.tolist()
    scaled = engine.weights.scaled()
    tables: dict[int, Table] = {}
    steps: list[Step] = []
    for v, level, position, column, prior, edges in order:
        size, children, parts = states[v], [], []
        for child, layer, which in edges:
            w, shape = matrices[layer][which], (size, states[child])
            w = w if w.shape == shape else w[: shape[0], : shape[1]]
            if child in tables:
                parts.append(tables.pop(child).above(w))
            else:
                children.append((child, w))
        if prior:
            unary = engine.unary[level].prior(scaled)  # type: ignore[operator]
            parts.append(Table(unary[:size, position].to(like.dtype), None, ()))
        if column >= 0 and isinstance(e, Coded):
            mask = engine._mask
            own = e.table[:size]
            parts.append(own_table(own if mask is None else own + mask[:size, column].to(own.dtype), column))
        parts = merged(parts)
        seen = column >= 0 and not isinstance(e, Coded)
        scale = rescale[level] and bool(edges or prior)  # evidence alone has maximum 1
        if len(parts) == 1 and not children and not seen:
            tables[v] = parts[0].rescaled() if scale else parts[0]
        else:
            steps.append(Step(v, children, parts, (column if seen else -1, size), scale))
    return steps, [tables.get(v, v) for v in engine.plan.levels[0].order.tolist()]


def _block(
    engine: Exact, steps: Sequence[Step], roots: Sequence[Table | int], e: Tensor | Coded, rows: slice
) -> tuple[Tensor, Tensor]:
    """``(S, n, B)`` the messages of the roots for a block of rows, and ``(B,)`` float64 logs of what was taken."""
    if isinstance(e, Coded):
        codes, base = e.codes(rows).unbind(), e.table.shape[1]
        linear, total = e.table, torch.zeros(codes[0].shape[0], dtype=torch.float64)
    else:
        logs = e[..., rows] if engine._mask is None else e[..., rows] + engine._mask.to(e.dtype)
        top = logs.amax(0, keepdim=True).clamp_min_(LOWEST)
        codes, base = (), 0
        linear, total = exp_shifted(logs, top), top.sum((0, 1), dtype=torch.float64)
    live: dict[int, Tensor] = {}
    for v, children, tables, (column, size), rescale in steps:
        factors = [torch.mm(w, live.pop(child)) for child, w in children]
        if column >= 0:
            factors.append(linear[:size, column])
        for table in tables[::-1]:  # the largest first: one that is the same for all rows cannot be that
            factor, taken = table.look_up(codes, base)
            factors.append(factor)
            total = total if taken is None else total.add_(taken)
        h = factors[0]
        for factor in factors[1:]:
            h = h.mul_(factor)
        if rescale:
            top = h.amax(0).clamp_min_(torch.finfo(h.dtype).tiny)
            h = h.div_(top)
            total += top.log_()
        live[v] = h
    states = engine.plan.levels[0].states
    found = []
    for root in roots:
        if isinstance(root, Table):
            h, taken = root.look_up(codes, base)
            h = h.expand(-1, len(total))
            total = total if taken is None else total.add_(taken)
        else:
            h = live.pop(root)
        found.append(torch.nn.functional.pad(h, (0, 0, 0, states - h.shape[0])))
    return torch.stack(found, 1), total
