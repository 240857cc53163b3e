"""The steps of a walk: in which order variables are visited, what each step computes, and how a block of rows runs.

    h_v = normalize( o_v * prod_{c child of v} psi_c h_c )                   as in `hgm.compiler.stage`, for edges

Children come before their parents, the heaviest first, and what they say is multiplied at once into what their parent
has heard so far: no more than 2 + log2 V messages are alive at a time. Messages that are tables (`hgm.compiler.tables`)
are computed once, for all rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hgm.compiler.exact import Exact
from hgm.compiler.numerics import LOWEST, exp_shifted
from hgm.compiler.ranges import rescaled
from hgm.compiler.tables import Table, merged, own_table
from hgm.evidence.coded import Coded

__all__ = ["Program"]


class Node(NamedTuple):
    """A variable on the walk.

    Attributes:
        v: its number in the tree.
        level, position: where it is in the plan.
        column: of the evidence, -1 if it is not observed.
        prior: whether it has unary factors.
        rescale: whether its message must be scaled to maximum 1.
        edge: the parent's number, the layer, and which of the layer's matrices; ``None`` at a root.
    """

    v: int
    level: int
    position: int
    column: int
    prior: bool
    rescale: bool
    edge: tuple[int, int, int] | None


class Step(NamedTuple):
    """A variable whose message differs from row to row.

    Attributes:
        v: its number in the tree.
        states: S.
        tables: what is multiplied with what the children say, the smallest first.
        column: of log evidence that is multiplied too, -1 if there is none.
        rescale: whether the message is scaled to maximum 1.
        up: the parent's number and the edge's matrix; ``None`` at a root.
    """

    v: int
    states: int
    tables: list[Table]
    column: int
    rescale: bool
    up: tuple[int, Tensor] | None


class Program:
    """The steps of a model with its current weights: for log evidence, or for the symbols of one table of it.

    Args:
        engine: of edges and priors, all in the linear kernel, with weights that do not learn.
        e: the evidence, or other of its kind.
    """

    def __init__(self, engine: Exact, e: Tensor | Coded) -> None:
        self.weights, self.version = engine._fixed_of, engine._fixed_at
        self.table = e.table if isinstance(e, Coded) else None
        self.mask = None if engine._mask is None else engine._mask.to(e.dtype)
        self.states = engine.plan.levels[0].states
        self.steps: list[Step] = []
        like = e.table if isinstance(e, Coded) else e
        weights = [layer.weight(like) for stage in engine.stages for layer in stage.layers()]
        matrices = [w.unbind() if w.ndim == 3 else (w,) for w in weights]
        always = engine.rescales_always  # for weights that were loaded
        states, scaled = engine.plan.tree.cardinality.tolist(), engine.weights.scaled()
        heard: dict[int, list[Table]] = {}
        tables: dict[int, Table] = {}  # of roots
        differ: set[int] = set()  # variables with a child whose message is no table
        for v, level, position, column, prior, rescale, edge in _order(engine):
            size, parts, seen = states[v], heard.pop(v, []), -1
            inner = bool(parts) or v in differ
            if prior:
                unary = engine.unary[level].prior(scaled)  # type: ignore[operator]
                parts.append(Table(unary[:size, position].to(like.dtype), None, ()))
            if column >= 0 and isinstance(e, Coded):
                own = e.table[:size] if self.mask is None else e.table[:size] + self.mask[:size, column]
                parts.append(own_table(own, column if e.order is None else int(e.order[column])))
            elif column >= 0:
                seen = column
            elif not inner and not prior:  # a leaf that was never observed
                parts.append(Table(torch.ones(size, 1, dtype=like.dtype), None, ()))
            parts = merged(parts)
            scale = (rescale or always) and (inner or prior)  # evidence alone has maximum 1
            up = None
            if edge is not None:
                parent, layer, which = edge
                w, shape = matrices[layer][which], (states[parent], size)
                up = parent, w if w.shape == shape else w[: shape[0], : shape[1]]
            if len(parts) != 1 or v in differ or seen >= 0:
                self.steps.append(Step(v, size, parts, seen, scale, up))
                if up is not None:
                    differ.add(up[0])
                continue
            table = parts[0].rescaled() if scale else parts[0]
            if up is None:
                tables[v] = table
            else:
                heard.setdefault(up[0], []).append(table.above(up[1]))
        self.roots = [tables.get(v, v) for v in engine.plan.levels[0].order.tolist()]

    def fits(self, engine: Exact, e: Tensor | Coded) -> bool:
        """Whether it is for the weights of today, and, of evidence of its kind, for the same table."""
        same = self.weights is engine._fixed_of and self.version == engine._fixed_at
        return same and (self.table is None or (isinstance(e, Coded) and torch.equal(self.table, e.table)))

    def run(self, e: Tensor | Coded, rows: slice) -> tuple[Tensor, Tensor]:
        """``(S, n, B)`` the messages of the roots for a block of rows, and ``(B,)`` float64 logs of what was taken."""
        if isinstance(e, Coded):
            codes, base = e.codes(rows).unbind(), e.table.shape[1]
            linear, total = e.table, torch.zeros(codes[0].shape[0], dtype=torch.float64)
        else:
            logs = e[..., rows] if self.mask is None else e[..., rows] + self.mask
            top = logs.amax(0, keepdim=True).clamp_min_(LOWEST)
            codes, base = (), 0
            linear, total = exp_shifted(logs, top), top.sum((0, 1), dtype=torch.float64)
        tiny = torch.finfo(linear.dtype).tiny
        live: dict[int, Tensor] = {}
        for v, states, tables, column, rescale, up in self.steps:
            factors = [live.pop(v)] if v in live else []
            if column >= 0:
                factors.append(linear[:states, column])
            for table in tables[::-1]:  # the largest first: one that is the same for all rows cannot be that
                factor, taken = table.look_up(codes, base)
                factors.append(factor)
                total = total if taken is None else total.add_(taken)
            h = factors[0]
            for factor in factors[1:]:
                h = h.mul_(factor)
            if rescale:
                top = h.amax(0).clamp_min_(tiny)
                h = h.div_(top)
                total += top.log_()
            if up is None:
                live[v] = h
                continue
            parent, w = up
            q = torch.mm(w, h)
            live[parent] = live[parent].mul_(q) if parent in live else q
        found = []
        for root in self.roots:
            if isinstance(root, Table):
                h, taken = root.look_up(codes, base)
                total = total if taken is None else total.add_(taken)
                h = h.expand(-1, len(total))
            else:
                h = live.pop(root)
            found.append(F.pad(h, (0, 0, 0, self.states - h.shape[0])))
        return torch.stack(found, 1), total


def _order(engine: Exact) -> list[Node]:
    """All variables, children before their parents, the children with most variables below them first."""
    plan, tree = engine.plan, engine.plan.tree
    size = tree.below.tolist()
    rescale = rescaled(tree, plan.inputs, plan.ranges).tolist()
    nodes: list[Node] = [None] * len(tree)  # type: ignore[list-item]
    for level in plan.levels:
        unary = set(level.unary_position.tolist())
        for i, (v, column) in enumerate(zip(level.order.tolist(), level.observed.tolist(), strict=True)):
            nodes[v] = Node(v, level.level, i, column, i in unary, rescale[v], None)
    below: list[list[int]] = [[] for _ in nodes]
    ops = [op for stage in reversed(plan.stages) for op in stage.ops]
    for layer, op in enumerate(ops):
        parents = tree.parent[op.factors]
        children = tree.scope[tree.scope_ptr[op.factors] + 1 - tree.up[op.factors]]
        which = np.arange(len(op.factors)) * len(op.index) // len(op.factors)  # factors come position by position
        for parent, child, i in zip(parents.tolist(), children.tolist(), which.tolist(), strict=True):
            nodes[child] = nodes[child]._replace(edge=(parent, layer, i))
            below[parent].append(child)
    order, stack = [], tree.roots.tolist()
    while stack:
        order.append(nodes[stack.pop()])
        stack += sorted(below[order[-1].v], key=lambda c: -size[c])
    return order[::-1]
