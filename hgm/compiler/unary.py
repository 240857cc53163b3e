"""What the variables of a level know by themselves: the evidence at each times its unary potentials.

    o_v(s) = exp(e_v(s)) * prod_{unary factors f at v} psi_f(s)        0 for states that v does not have

Where nothing was seen, e_v = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.numerics import nodes
from hgm.compiler.ops import PAD, ZERO
from hgm.compiler.plan import LevelPlan, Plan
from hgm.tree.possible import forbidden

__all__ = ["SILENT", "Unary", "UnaryTerms", "limits", "unary_entries"]


@dataclass(slots=True)
class Unary:
    """The level's own knowledge, states first, in the level's kernel.

    `inner` is for the parents with child factors (``None`` if they know nothing), `leaf` for the others.
    """

    inner: Tensor | None
    leaf: Tensor | None


#: a level that knows nothing by itself
SILENT = Unary(None, None)


class UnaryTerms(nn.Module):
    """`Unary` of one level, from the engine's evidence.

    Args:
        level: the level.
        plan: the plan, for the unary potentials and the number of inputs.
    """

    unary: Tensor
    unary_position: Tensor
    mask: Tensor | None
    inner_columns: Tensor | None
    leaf_columns: Tensor | None
    seen: Tensor
    columns: Tensor

    def __init__(self, level: LevelPlan, plan: Plan) -> None:
        super().__init__()
        inner = level.inner
        self.kernel, self.states, self.nodes, self.inner = level.kernel, level.states, level.nodes, inner
        self.register_buffer("unary", torch.from_numpy(unary_entries(level, plan)), persistent=False)
        self.register_buffer("unary_position", torch.from_numpy(level.unary_position), persistent=False)
        exists = np.arange(level.states)[:, None] < level.cardinality
        mask = torch.from_numpy(np.where(exists, 0.0, -np.inf)) if level.mixed else None
        self.register_buffer("mask", mask, persistent=False)
        self.flat = mask is None and not len(level.unary)
        self.neutral = 0.0 if level.kernel == "log" else 1.0
        self.impossible = -torch.inf if level.kernel == "log" else 0.0
        self.first: list[int] = []  # of the inner nodes and of the leaves: the first column, -1 if none is observed
        self.gaps: list[bool] = []  # and whether some are observed and others are not
        for name, part in (("inner_columns", level.observed[:inner]), ("leaf_columns", level.observed[inner:])):
            seen = part[part >= 0]
            self.first.append(int(seen[0]) if len(seen) else -1)
            gaps = np.where(part < 0, len(plan.inputs), part) if 0 < len(seen) < len(part) else None
            self.gaps.append(gaps is not None)
            self.register_buffer(name, None if gaps is None else torch.from_numpy(gaps), persistent=False)
        seen = np.flatnonzero(level.observed >= 0)
        self.limits = len(seen) > 0 and len(level.unary) > 0
        self.register_buffer("seen", torch.from_numpy(seen), persistent=False)
        self.register_buffer("columns", torch.from_numpy(level.observed[seen]), persistent=False)
        self.speaks = inner < level.nodes or self.first[0] >= 0 or not self.flat
        self._fixed: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def prior(self, scaled: Tensor) -> Tensor | None:
        """``(S, n, 1)``: the unary factors of each state, linear or logs like the level; ``None`` if there are none."""
        if self.flat:
            return None
        shape = (self.states, self.nodes)
        total = scaled.new_zeros(shape) if self.mask is None else self.mask.to(scaled.dtype)
        if len(self.unary):
            total = total.index_add(1, self.unary_position, scaled[self.unary].t())
        return (total.exp() if self.kernel == "linear" else total).unsqueeze(2)

    def forbidden(self, scaled: Tensor, states: int) -> Tensor:
        """``(states, observed nodes, 1)``: -inf where a unary factor is zero, else 0."""
        zeros = torch.isneginf(scaled.detach()[self.unary]).to(scaled.dtype)
        count = scaled.new_zeros(self.nodes, self.states).index_add(0, self.unary_position, zeros)
        logs = torch.where(count > 0, -torch.inf, 0.0).to(scaled.dtype)[self.seen].t()[:states]
        return F.pad(logs, (0, 0, 0, states - len(logs))).unsqueeze(2)

    def fix(self, scaled: Callable[[], Tensor]) -> None:
        """Compute the prior once and keep it, in both precisions: for networks that are not trained."""
        prior = None if self.flat else self.prior(scaled().detach())
        self._fixed = {} if prior is None else {(d, prior.device): prior.to(d) for d in (torch.float64, torch.float32)}

    def forward(self, logs: Tensor | None, linear: Tensor | None, scaled: Tensor | None, like: Tensor) -> Unary:
        """The level's knowledge.

        Args:
            logs: the evidence ``(S_in, n_in, B)``, maximum 0, in float64; read if the level's kernel is log.
            linear: the same as probabilities, maximum 1; read if the level's kernel is linear.
            scaled: `Weights.scaled` of a trained network, ``None`` for fixed weights.
            like: a tensor with the dtype and device of linear messages.
        """
        x = logs if self.kernel == "log" else linear
        dtype = torch.float64 if self.kernel == "log" else like.dtype
        prior: Tensor | None = None
        if not self.flat:
            kept = self._fixed[dtype, like.device] if scaled is None else self.prior(scaled)
            prior = None if kept is None else kept.to(dtype)
        inner: Tensor | None = None
        leaf: Tensor | None = None
        if self.inner:
            before = prior if prior is None or self.inner == self.nodes else prior[:, : self.inner]
            inner = self._part(x, 0, self.inner, before)
        if self.inner < self.nodes:
            after = prior if prior is None else prior[:, self.inner :]
            leaf = self._part(x, 1, self.nodes - self.inner, after)
            if leaf is None:
                shape = (self.states, self.nodes - self.inner, 1)
                leaf = torch.full(shape, self.neutral, dtype=dtype, device=like.device)
        return Unary(inner, leaf)

    def _part(self, x: Tensor | None, which: int, size: int, prior: Tensor | None) -> Tensor | None:
        first = self.first[which]
        if first < 0:
            return prior
        assert x is not None
        gaps = (self.inner_columns if which == 0 else self.leaf_columns) if self.gaps[which] else None
        part = x if gaps is not None or size == x.shape[1] else x.narrow(1, first, size)
        if self.states < part.shape[0]:
            part = part[: self.states]
        elif self.states > part.shape[0]:
            part = F.pad(part, (0, 0, 0, 0, 0, self.states - part.shape[0]), value=self.impossible)
        if gaps is not None:  # those that are not observed may have more states than any that is
            part = nodes(torch.cat([part, torch.full_like(part[:, :1], self.neutral)], 1), gaps)
        if prior is None or not (gaps is not None or which == 0 or len(self.unary)):
            return part  # the evidence's own mask has seen to the states that a variable does not have
        return part * prior if self.kernel == "linear" else part + prior


def limits(plan: Plan) -> list[Tensor | None]:
    """Two ``(S, n_in, 1)`` in the engine's order: -inf in states that an input does not have, or that zeros forbid.

    The first of states that there are not only, and both else 0; ``None`` where that is everywhere.
    """
    inputs = plan.inputs[plan.arrangement]
    cardinality = plan.tree.cardinality[inputs]
    exist = np.where(np.arange(cardinality.max())[:, None] < cardinality, 0.0, -np.inf)
    no_state = forbidden(plan.tree)
    masks = exist, exist if no_state is None else no_state[: len(exist), inputs]
    return [torch.from_numpy(mask).unsqueeze(2) if mask.any() else None for mask in masks]


def unary_entries(level: LevelPlan, plan: Plan) -> np.ndarray:
    """``(U, S)`` entry numbers of the level's unary potentials in `Weights.scaled`."""
    index = np.full((len(level.unary), level.states), PAD, dtype=np.int64)
    for row, factor in zip(index, level.unary, strict=True):
        entries = plan.tree.potential_of(int(factor)).entries()
        row[: len(entries)] = np.where(entries >= 0, plan.offset[plan.tree.potential_id[factor]] + entries, ZERO)
    return index
