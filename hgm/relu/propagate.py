"""How the errors of the single maps add up to errors of beliefs, over a whole plan.

Errors are measured in ``osc(x) = max x - min x``, where normalisation and constants play no part. A map with error
omega and Birkhoff coefficient tau, whose input is a sum of messages, turns input errors E_j into
``omega + tau sum_j E_j``. With d the message from above:

    E_q(f) = omega_f + tau_f sum_{children c} E_h(c)              E_h(v) = sum_{factors f of v} E_q(f)
    E_u(f) = E_d(v) + E_h(v) - E_q(f)                             v the parent of f: the siblings of f only
    E_d(c) = omega_fc + tau_fc ( E_u(f) + sum_{siblings j} E_h(j) )
    E_b(v) = E_d(v) + E_h(v)

All of it is linear in the omegas. Vectorised by stage; torch, so that autograd gives the sensitivities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hgm.compiler.plan import Plan
from hgm.relu.maps import FactorMap, StageMaps

__all__ = ["Errors", "Flow", "StageFlow"]


@dataclass(frozen=True, eq=False)
class StageFlow:
    """Where the messages of one stage come from and go to; factors in op order.

    Attributes:
        below: number of nodes of the children's level.
        up: ``(F,)`` the map of every factor's message to its parent.
        parent: ``(F,)`` position of the parent in its level.
        child: ``(C,)`` positions of the children in their level.
        factor: ``(C,)`` the factor of every child.
        down: ``(C,)`` the map of the message to every child.
    """

    below: int
    up: Tensor
    parent: Tensor
    child: Tensor
    factor: Tensor
    down: Tensor

    def gathered(self, h: Tensor) -> Tensor:
        """``(F,)``: the sum over every factor's children of what `h` ``(n,)`` says of their level."""
        return h.new_zeros(len(self.up)).index_add(0, self.factor, h[self.child])


@dataclass(frozen=True, eq=False)
class Flow:
    """All stages, root first, and all maps.

    Attributes:
        stages: one per pair of levels.
        maps: the maps, in the order in which `hgm.relu.stage.ReluStage` takes them.
        stage: ``(K,)`` the stage of each map.
        upward: ``(K,)`` whether it is a message to a parent.
        count: ``(K,)`` how many factors use it.
        potential: ``(K,)`` index of its potential.
        roots: number of nodes of the root level.
    """

    stages: tuple[StageFlow, ...]
    maps: tuple[FactorMap, ...]
    stage: np.ndarray
    upward: np.ndarray
    count: np.ndarray
    potential: np.ndarray
    roots: int

    @cached_property
    def tau(self) -> Tensor:
        """``(K,)`` contractions."""
        return torch.tensor([m.tau for m in self.maps], dtype=torch.float64)

    def used(self, down: bool) -> np.ndarray:
        """The maps that run in a network that distributes (`down`) or not, ascending."""
        return np.flatnonzero(self.upward | down)

    @classmethod
    def of(cls, plan: Plan, stages: Sequence[StageMaps]) -> Self:
        """The flow of a plan and the maps of its stages, root first."""
        uses: list[tuple[int, bool, int, int]] = []
        flows = []
        for stage in stages:
            up, factor, down, start = [], [], [], 0
            for op, groups in zip(stage.plan.ops, stage.groups, strict=True):
                size = len(op.factors)
                mine = np.empty((op.children + 1, size), dtype=np.int64)  # of every factor: up, then to each child
                for group in groups:
                    mine[:, group.factors] = len(uses) + np.arange(op.children + 1)[:, None]
                    uses += [(stage.plan.level, i == 0, len(group.factors), group.potential) for i in range(len(mine))]
                up.append(mine[0])
                down.append(mine[1:].ravel())
                factor.append(np.tile(np.arange(start, start + size), op.children))
                start += size
            slot_parent = stage.plan.slot_parent
            parent = slot_parent if stage.plan.take is None else slot_parent[np.argsort(stage.plan.take)]
            below = plan.levels[stage.plan.level + 1].nodes
            child = np.arange(below) if stage.plan.arrival is None else stage.plan.arrival
            arrays = (np.concatenate(up), parent, child, np.concatenate(factor), np.concatenate(down))
            flows.append(StageFlow(below, *(torch.from_numpy(np.array(a)) for a in arrays)))
        level, upward, count, potential = np.array(uses, dtype=np.int64).reshape(-1, 4).T
        maps = tuple(spec for stage in stages for spec in stage.maps)
        return cls(tuple(flows), maps, level, upward.astype(bool), count, potential, plan.levels[0].nodes)

    def errors(
        self, omega: Tensor, *, down: bool = True, tau: Tensor | None = None, own: Sequence[Tensor] | None = None
    ) -> Errors:
        """Errors of all messages.

        Args:
            omega: ``(K,)`` error of every map.
            down: whether to go down again; if not, messages from above are left out (0).
            tau: ``(K,)`` contraction of every map, if not their own.
            own: ``(n,)`` per level: what every variable adds to its messages by itself; default nothing, for evidence
                enters exactly.
        """
        tau = self.tau if tau is None else tau
        if own is None:
            own = [omega.new_zeros(self.roots), *(omega.new_zeros(s.below) for s in self.stages)]

        h, q = [own[-1]], []
        for stage, mine in zip(reversed(self.stages), reversed(own[:-1]), strict=True):
            q.append(omega[stage.up] + tau[stage.up] * stage.gathered(h[-1]))
            h.append(mine.index_add(0, stage.parent, q[-1]))
        h.reverse()
        q.reverse()
        if not down:
            return Errors(h, [torch.zeros_like(x) for x in h], [])
        d, u = [torch.zeros_like(h[0])], []
        for i, stage in enumerate(self.stages):
            u.append((d[i] + h[i])[stage.parent] - q[i])
            rest = (u[i] + stage.gathered(h[i + 1]))[stage.factor] - h[i + 1][stage.child]
            r = omega[stage.down] + tau[stage.down] * rest
            d.append(omega.new_zeros(stage.below).index_add(0, stage.child, r))
        return Errors(h, d, u)


@dataclass(frozen=True, eq=False)
class Errors:
    """Bounds on the oscillation error, one vector ``(n,)`` per level, root level first.

    Attributes:
        h: of the messages to the parents.
        d: of the messages from above.
        u: of the cavities, ``(F,)`` per stage.
    """

    h: list[Tensor]
    d: list[Tensor]
    u: list[Tensor]

    @property
    def b(self) -> list[Tensor]:
        """Of the beliefs: on the log posterior of every state."""
        return [h + d for h, d in zip(self.h, self.d, strict=True)]
