"""What the variables of a level know by themselves: their evidence, their priors, and which states they have.

o_v(s) = exp(e_v(s)) * prod_{unary factors f at v} psi_f(s)        0 for states that v does not have
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.numerics import nodes
from hgm.compiler.plan import LevelPlan, Plan
from hgm.compiler.stage import Own
from hgm.tree.potential import Rules

__all__ = ["SILENT", "OwnEvidence"]

#: a level that knows nothing by itself
SILENT = Own(None, None)


class OwnEvidence(nn.Module):
    """`Own` of one level, from the network's input.

    Args:
        level: the level.
        inner: how many of its nodes have child factors (they come first).
        plan: the plan, for the unary potentials and the number of inputs.
    """

    unary: Tensor
    unary_position: Tensor
    mask: Tensor | None
    inner_columns: Tensor | None
    leaf_columns: Tensor | None

    def __init__(self, level: LevelPlan, inner: int, plan: Plan) -> None:
        super().__init__()
        self.kernel, self.states, self.nodes, self.inner = level.kernel, level.states, level.nodes, inner
        self.register_buffer("unary", torch.from_numpy(_entries(level, plan)), persistent=False)
        self.register_buffer("unary_position", torch.from_numpy(level.unary_position), persistent=False)
        exists = np.arange(level.states)[:, None] < level.cardinality
        mask = torch.from_numpy(np.where(exists, 0.0, -np.inf)) if level.mixed else None
        self.register_buffer("mask", mask, persistent=False)
        self.flat = mask is None and not len(level.unary)
        self.neutral = 0.0 if level.kernel == "log" else 1.0
        self.impossible = -torch.inf if level.kernel == "log" else 0.0
        self.seen: list[tuple[bool, bool]] = []  # of the inner nodes and of the leaves: are some observed, are some not
        for name, part in (("inner_columns", level.observed[:inner]), ("leaf_columns", level.observed[inner:])):
            self.seen.append((bool((part >= 0).any()), bool((part < 0).any())))
            columns = np.where(part < 0, len(plan.inputs), part)
            same = np.array_equal(columns, np.arange(len(plan.inputs)))
            self.register_buffer(name, None if same else torch.from_numpy(columns), persistent=False)
        self.speaks = inner < level.nodes or self.seen[0][0] or not self.flat
        self._fixed: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def prior(self, scaled: Tensor) -> Tensor | None:
        """``(S, n, 1)``: the unary factors of each state, linear or logs like the level; ``None`` if there are none."""
        if self.flat:
            return None
        shape = (self.states, self.nodes)
        total = scaled.new_zeros(shape) if self.mask is None else self.mask.to(scaled.dtype)
        if len(self.unary):
            tables = F.pad(scaled, (0, 1), value=-torch.inf)[self.unary]
            total = total.index_add(1, self.unary_position, tables.t())
        return (total.exp() if self.kernel == "linear" else total).unsqueeze(2)

    def fix(self, scaled: Tensor) -> None:
        """Compute the prior once and keep it, in both precisions: for networks that are not trained."""
        prior = self.prior(scaled.detach())
        self._fixed = {} if prior is None else {(d, prior.device): prior.to(d) for d in (torch.float64, torch.float32)}

    def forward(self, logs: Tensor | None, linear: Tensor | None, scaled: Tensor | None, like: Tensor) -> Own:
        """The level's knowledge.

        Args:
            logs: the input ``(S_in, n_in, B)``, maximum 0, in float64; read if the level's kernel is log.
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
            inner = self._part(x, 0, self.inner_columns, before)
        if self.inner < self.nodes:
            leaf = self._part(x, 1, self.leaf_columns, prior if prior is None else prior[:, self.inner :])
            if leaf is None:
                leaf = torch.full(
                    (self.states, self.nodes - self.inner, 1), self.neutral, dtype=dtype, device=like.device
                )
        return Own(inner, leaf)

    def _part(self, x: Tensor | None, which: int, columns: Tensor | None, prior: Tensor | None) -> Tensor | None:
        some, gaps = self.seen[which]
        if not some:
            return prior
        assert x is not None
        if self.states > x.shape[0]:
            x = F.pad(x, (0, 0, 0, 0, 0, self.states - x.shape[0]), value=self.impossible)
        if gaps:
            x = torch.cat([x, torch.full_like(x[:, :1], self.neutral)], 1)
        part = (x if columns is None else nodes(x, columns))[: self.states]
        if prior is None or not (gaps or which == 0 or len(self.unary)):
            return part  # the input's own mask has seen to the states that a variable does not have
        return part * prior if self.kernel == "linear" else part + prior


def _entries(level: LevelPlan, plan: Plan) -> np.ndarray:
    """``(U, S)`` entry numbers of the level's unary potentials in `Weights.scaled`; P + 1 stands for a hard zero."""
    index = np.full((len(level.unary), level.states), -2, dtype=np.int64)  # -2: the neutral padding of `Weights.scaled`
    for row, factor in enumerate(level.unary):
        potential_id = int(plan.tree.potential_id[factor])
        table = plan.tree.potentials[potential_id]
        states: np.ndarray = np.arange(table.size)
        if isinstance(table, Rules):  # a prior given as rules lists its states; the others are impossible
            index[row, : table.shape[0]] = -1
            states = table.states[:, 0]
        index[row, states] = plan.offset[potential_id] + np.arange(table.size)
    return index
