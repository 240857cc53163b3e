"""The layers of a ReLU network: linear maps, ReLUs, sums, and the max normalisation over channels. No exp, no log.

Messages are logs. Shapes as in `hgm.compiler.layers`: states first, batch last; F factors (slots) of a stage, n
parents, n' children.

    collect      q_u = map_u(h_children)          h_v = normalize( e_v + sum_u q_u ),      normalize(x) = x - max_s x
    distribute   u_u = normalize( b_v - q_u )     r_c = map_u'(u_u, h_siblings),           b_c = normalize( r_c + h_c )

b_v contains the very q_u that is subtracted, so the error of a factor's own message cancels on the way down. States
that a variable does not have, or that are impossible, are -inf: a constant, set by the evidence layer; no map reads
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.numerics import joined
from hgm.compiler.plan import LevelPlan, Plan
from hgm.compiler.stage import Moving, Up
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.maps import FactorMap, StageMaps

__all__ = ["MapLayer", "ReluEvidence", "ReluStage", "ReluUp", "normalize"]

#: bytes of ReLUs at once, about what stays in a core's cache
BLOCK = 1 << 23


def normalize(x: Tensor) -> Tensor:
    """``x - max_s x``, states first."""
    return x - x.amax(0, keepdim=True)


class MapLayer(nn.Module):
    """A 0/1 convolution that adds up the senders' states column by column, a construction, and the receiver's states.

    Args:
        spec: the map.
        matrix: a construction for ``spec.log_psi``.
        sender: S of the first sender's messages.
        receiver: S of the receiver's messages; 0 is sent to states that are not among ``spec.rows``.
    """

    place: Tensor | None

    def __init__(self, spec: FactorMap, matrix: LogMatrix, sender: int, receiver: int) -> None:
        super().__init__()
        self.matrix = matrix
        self.senders = len(spec.takes)
        self.identity = self.senders == 1 and np.array_equal(spec.takes[0], np.arange(sender))
        self.normalizes = matrix.needs_normalised and not spec.complete
        for j, take in enumerate(spec.takes):
            self.register_buffer(f"take_{j}", torch.from_numpy(np.array(take)), persistent=False)
        place = np.full(receiver, len(spec.rows))
        place[spec.rows] = np.arange(len(spec.rows))
        same = np.array_equal(place, np.arange(len(spec.rows)))
        self.register_buffer("place", None if same else torch.from_numpy(place), persistent=False)

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Messages ``(S_j, F, B)`` of the senders to that of the receiver, ``(S, F, B)``."""
        x = parts[0] if self.identity else parts[0].index_select(0, self.take_0)  # type: ignore[arg-type]
        for j in range(1, self.senders):
            x = x + parts[j].index_select(0, getattr(self, f"take_{j}"))
        columns = normalize(x.flatten(1)) if self.normalizes else x.flatten(1)
        size = max(1, BLOCK // (columns.element_size() * max(1, self.matrix.units)))
        blocks = [columns] if torch.compiler.is_compiling() else columns.split(size, 1)
        y = joined([self.matrix(block) for block in blocks])
        if self.place is not None:
            y = F.pad(y, (0, 0, 0, 1)).index_select(0, self.place)
        return y.view(y.shape[0], *x.shape[1:])


class ReluOp(nn.Module):
    """The factors of one op, group by group of tied ones: for every group its map up and its maps down.

    Args:
        sizes: number of factors of every group.
        maps: its `MapLayer` for every group: up, then down to each child (if at all).
        children: number of children of each factor.
    """

    def __init__(self, sizes: list[int], maps: list[list[MapLayer]], children: int) -> None:
        super().__init__()
        self.sizes, self.factors, self.children_per_factor = sizes, sum(sizes), children
        self.up = nn.ModuleList(layers[0] for layers in maps)
        self.down = nn.ModuleList(nn.ModuleList(layers[1:]) for layers in maps)

    def collect(self, x: Tensor) -> Tensor:
        """Children's messages ``(S', k F, B)``, child by child, to ``(S, F, B)``."""
        parts = self._split(x)
        return joined([layer([p[g] for p in parts]) for g, layer in enumerate(self.up)])

    def distribute(self, u: Tensor, x: Tensor) -> Tensor:
        """Cavities ``(S, F, B)`` and the children's messages, read if there are siblings, to ``(S', k F, B)``."""
        cavity = u.split(self.sizes, 1)
        parts = self._split(x) if self.children_per_factor > 1 else []
        out = []
        for i in range(self.children_per_factor):
            siblings = parts[:i] + parts[i + 1 :]
            out += [layers[i]([cavity[g], *(p[g] for p in siblings)]) for g, layers in enumerate(self.down)]  # type: ignore[index]
        return joined(out)

    def _split(self, x: Tensor) -> list[tuple[Tensor, ...]]:
        """``[child][group]``."""
        return [part.split(self.sizes, 1) for part in x.split(self.factors, 1)]

    def extra_repr(self) -> str:
        return f"factors={self.factors}, groups={len(self.sizes)}, children per factor={self.children_per_factor}"


class ReluStage(Moving):
    """The factors between level l (parents) and level l + 1 (children), both ways. Calling it is collect.

    Args:
        maps: the stage's maps.
        built: a construction for each of them: op by op, group by group, up first; ``None`` for messages down in a
            network that does not distribute.
        above: the parents' level.
        below: the children's level.
    """

    def __init__(self, maps: StageMaps, built: Sequence[LogMatrix | None], above: LevelPlan, below: LevelPlan) -> None:
        super().__init__()
        plan = maps.plan
        self.level = plan.level
        self.groups = [(g.arity, g.nodes) for g in plan.groups]
        self.joint = any(op.children > 1 for op in plan.ops)
        ways = (below.states, above.states), (above.states, below.states)
        supply = iter(built)
        self.ops = nn.ModuleList()
        self.sizes: list[int] = []
        self.child_sizes: list[int] = []
        factors, children = [], []  # where the factors and children of the groups, one after the other, are in the plan
        for op, groups in zip(plan.ops, maps.groups, strict=True):
            layers = [
                [
                    MapLayer(spec, matrix, *ways[receiver > 0])
                    for receiver, spec in enumerate(group.maps)
                    if (matrix := next(supply)) is not None
                ]
                for group in groups
            ]
            self.ops.append(ReluOp([len(group.factors) for group in groups], layers, op.children))
            mine = np.concatenate([group.factors for group in groups])
            factors.append(sum(self.sizes) + mine)
            children += [sum(self.child_sizes) + i * len(mine) + mine for i in range(op.children)]
            self.sizes.append(len(mine))
            self.child_sizes.append(len(mine) * op.children)
        place = np.argsort(np.concatenate(factors))
        arrival = np.concatenate(children)
        self.set_moves(
            place if plan.take is None else place[plan.take],
            arrival if plan.arrival is None else plan.arrival[arrival],
            plan.slot_parent,
        )

    def forward(self, h: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Children's messages ``(S', n', B)`` and the parents' own evidence ``(S, n, B)`` to h ``(S, n, B)`` and q."""
        x = h if self.arrival is None else h.index_select(1, self.arrival)
        q = joined([op.collect(part) for op, part in zip(self.ops, x.split(self.child_sizes, 1), strict=True)])  # type: ignore[operator]
        q = q if self.take is None else q.index_select(1, self.take)
        return normalize(self._pool(q) + own), q

    def distribute(self, b: Tensor, q: Tensor, h: Tensor) -> Tensor:
        """Beliefs of the parents ``(S, n, B)``, the skips q and h, to beliefs of the children ``(S', n', B)``."""
        if len(self.groups) == 1:
            u = (b.unsqueeze(1) - q.unflatten(1, self.groups[0])).flatten(1, 2)
        else:
            u = b.index_select(1, self.slot_parent) - q
        u = normalize(u)
        u = u if self.untake is None else u.index_select(1, self.untake)
        x = h if self.arrival is None or not self.joint else h.index_select(1, self.arrival)
        inputs = zip(self.ops, u.split(self.sizes, 1), x.split(self.child_sizes, 1), strict=True)
        r = joined([op.distribute(cavity, part) for op, cavity, part in inputs])  # type: ignore[operator]
        r = r if self.unarrival is None else r.index_select(1, self.unarrival)
        return normalize(r + h)

    def _pool(self, q: Tensor) -> Tensor:
        """``(S, n, B)``: the sum over each parent's slots, 0 for parents without."""
        blocks = q.split([k * n for k, n in self.groups], 1)
        return joined(
            [
                block.unflatten(1, (k, n)).sum(1) if k else q.new_zeros(q.shape[0], n, q.shape[2])
                for (k, n), block in zip(self.groups, blocks, strict=True)
            ]
        )

    def extra_repr(self) -> str:
        return f"level {self.level + 1} -> {self.level}"


class ReluUp(Up):
    """One decoder stage: the maps down of an encoder stage, which holds them."""

    def extra_repr(self) -> str:
        level = self._stage[0].level
        return f"level {level} -> {level + 1}, skips q and h"


class ReluEvidence(nn.Module):
    """What the variables of a level know by themselves: their evidence, their priors, and -inf in impossible states.

    Args:
        level: the level.
        plan: the plan.
        possible: ``(S, V)`` from `hgm.tree.possible.possible_states`.
    """

    bias: Tensor
    columns: Tensor | None

    def __init__(self, level: LevelPlan, plan: Plan, possible: np.ndarray) -> None:
        super().__init__()
        self.states = level.states
        bias = np.where(possible[: level.states, level.order], 0.0, -np.inf)
        for factor, position in zip(level.unary, level.unary_position, strict=True):
            table = plan.tree.potential_of(int(factor)).dense_log()
            bias[: len(table), position] += table
        values = torch.from_numpy(bias[:, :, None])
        if len(level.unary):
            self.bias = nn.Parameter(values, requires_grad=False)
        else:
            self.register_buffer("bias", values)
        seen = level.observed[level.observed >= 0]
        self.first, self.nodes = (int(seen[0]) if len(seen) else -1), level.nodes
        gaps = np.where(level.observed < 0, len(plan.inputs), level.observed) if 0 < len(seen) < level.nodes else None
        self.register_buffer("columns", None if gaps is None else torch.from_numpy(gaps), persistent=False)

    def forward(self, e: Tensor) -> Tensor:
        """The engine's evidence ``(S_in, n_in, B)`` to ``(S, n, B)``."""
        if self.first < 0:
            return self.bias.expand(-1, -1, e.shape[2])
        e = e[: self.states]
        if self.columns is None:
            e = e if self.nodes == e.shape[1] else e.narrow(1, self.first, self.nodes)
        else:
            e = F.pad(e, (0, 0, 0, 1)).index_select(1, self.columns)
        e = F.pad(e, (0, 0, 0, 0, 0, self.states - e.shape[0])) if e.shape[0] < self.states else e
        return e + self.bias
