"""What a group of factors computes: messages, joint beliefs, and draws of the children given the parent.

A message about a variable with S states to or from n factors is a tensor ``(B, S, n)`` of logs. All functions take
``messages``, one per axis of the potential (that of the axis asked about is not looked at, and may be ``None``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.bp.schedule import Group
from hgm.tree.potential import Potential
from hgm.tree.rules import Rules

__all__ = ["Bank", "Choose", "Kernel", "Reduce", "logmaxexp", "logsumexp"]

Reduce = Callable[[Tensor, int], Tensor]
"""Sums logs over one axis, which stays with length 1."""
Choose = Callable[[Tensor, Tensor], Tensor]
"""From log weights ``(B, n, K, A)`` and rows ``(N, B, n)`` in 0..K-1, one of the A entries per row: ``(N, B, n)``."""
LOWEST = -1e300  # stands for -inf where a difference from -inf would be NaN; no log of a float64 product comes near


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """log sum exp along one axis, kept. Where all is ``-inf`` the result is ``-inf`` and the gradient 0 (not NaN)."""
    if not x.requires_grad:
        return torch.logsumexp(x, dim, keepdim=True)
    top = x.detach().amax(dim, keepdim=True).clamp_min(LOWEST)
    total = (x - top).exp().sum(dim, keepdim=True)
    some = total > 0
    return torch.where(some, torch.where(some, total, 1.0).log() + top, -torch.inf)


def logmaxexp(x: Tensor, dim: int) -> Tensor:
    """The maximum along one axis, kept: what `logsumexp` is for sums."""
    return x.amax(dim, keepdim=True)


class Kernel(Protocol):
    """A group of n factors, ready to compute."""

    def send(self, messages: Sequence[Tensor | None], axis: int, reduce: Reduce, batch: int) -> Tensor:
        """The message to the variables on one axis: ``(B, S_axis, n)``."""

    def joint(self, messages: Sequence[Tensor]) -> Tensor:
        """Log belief over the whole scope, up to a constant: ``(B, *shape, n)``."""

    def draw(self, messages: Sequence[Tensor | None], parent: Tensor, reduce: Reduce, choose: Choose) -> list[Tensor]:
        """States ``(N, B, n)`` of each child in turn, given those of the parent, ``(N, B, n)``."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Factors with a full table: `table` is ``(*shape, n)``, or ``(*shape, 1)`` if they share it."""

    table: Tensor
    up: int
    count: int

    def _along(self, message: Tensor, axis: int) -> Tensor:
        """A message ``(B, S, n)`` as ``(B, 1, .., S, .., 1, n)``."""
        batch, states, n = message.shape
        return message.reshape(batch, *(1,) * axis, states, *(1,) * (self.table.ndim - 2 - axis), n)

    def send(self, messages: Sequence[Tensor | None], axis: int, reduce: Reduce, batch: int) -> Tensor:
        """log sum over all other axes of psi times the messages, one axis at a time (THEORY: "factor")."""
        axes = self.table.ndim - 1
        x = self.table.unsqueeze(0)
        for a in reversed(range(axes)):
            message = messages[a]
            if a != axis and message is not None:
                x = reduce(x + self._along(message, a), a + 1)
        return x.reshape(x.shape[0], self.table.shape[axis], x.shape[-1]).expand(batch, -1, self.count)

    def joint(self, messages: Sequence[Tensor]) -> Tensor:
        x = self.table.unsqueeze(0)
        for a, message in enumerate(messages):
            x = x + self._along(message, a)
        return x

    def draw(self, messages: Sequence[Tensor | None], parent: Tensor, reduce: Reduce, choose: Choose) -> list[Tensor]:
        """The chain rule over the children: the first given the parent, the second given both, and so on."""
        shape = self.table.shape[:-1]
        children = [axis for axis in range(len(shape)) if axis != self.up]
        weights: dict[int, Tensor] = {}
        x = self.table.unsqueeze(0)
        for axis in reversed(children):  # weights[c]: over the parent and the children up to c, later ones summed out
            message = messages[axis]
            assert message is not None
            weights[axis] = x + self._along(message, axis)
            if axis != children[0]:
                x = reduce(weights[axis], axis + 1)
        drawn: list[Tensor] = []
        row = parent
        for axis in children:
            rows = weights[axis].movedim((self.up + 1, -1), (2, 1))
            drawn.append(choose(rows.flatten(2).unflatten(2, (-1, shape[axis])), row))
            row = row * shape[axis] + drawn[-1]
        return drawn


@dataclass(frozen=True, slots=True)
class Sparse:
    """Factors that share a `Rules` potential: only the R listed combinations are ever looked at."""

    rules: _RuleTable
    up: int
    count: int

    def _weights(self, messages: Sequence[Tensor | None], axis: int) -> Tensor:
        """``(B, R, n)``: log weight of each rule times the messages of its states on all axes but one."""
        x = self.rules.weights[:, None].expand(1, -1, self.count)
        for a, message in enumerate(messages):
            if a != axis and message is not None:
                x = x + message[:, self.rules.states[a]]
        return x

    def send(self, messages: Sequence[Tensor | None], axis: int, reduce: Reduce, batch: int) -> Tensor:
        """Per state of one axis, the log sum over the rules with that state."""
        return reduce(self.rules.by_state(self._weights(messages, axis), axis), 2).squeeze(2).expand(batch, -1, -1)

    def joint(self, messages: Sequence[Tensor]) -> Tensor:
        x = self._weights(messages, -1)
        dense = x.new_full((len(x), *self.rules.shape, self.count), -torch.inf)
        rows = torch.arange(len(x), device=x.device)[:, None]
        return dense.index_put((rows, *(states[None] for states in self.rules.states)), x)

    def draw(self, messages: Sequence[Tensor | None], parent: Tensor, reduce: Reduce, choose: Choose) -> list[Tensor]:
        """One of the rules of the parent's state."""
        rows = self.rules.by_state(self._weights(messages, self.up), self.up)
        which = choose(rows.movedim(-1, 1), parent)
        rule = self.rules.index[self.up][parent, which]
        return [states[rule] for axis, states in enumerate(self.rules.states) if axis != self.up]


class _RuleTable:
    """A `Rules` potential as tensors: `weights` ``(R,)``, `states` one ``(R,)`` per axis."""

    def __init__(self, rules: Rules, weights: Tensor) -> None:
        self.shape = rules.shape
        self.weights = weights
        self._states = rules.states

    @cached_property
    def states(self) -> list[Tensor]:
        return [torch.tensor(column, device=self.weights.device) for column in self._states.T]

    @cached_property
    def index(self) -> list[Tensor]:
        """For each axis ``(S, width)``: the rules with each state, filled up with R, which is no rule."""
        tables = []
        for axis, size in enumerate(self.shape):
            order = np.argsort(self._states[:, axis], kind="stable")
            state = self._states[order, axis]
            count = np.bincount(state, minlength=size)
            table = np.full((size, count.max()), len(order))
            table[state, np.arange(len(order)) - (np.cumsum(count) - count)[state]] = order
            tables.append(torch.from_numpy(table).to(self.weights.device))
        return tables

    def by_state(self, x: Tensor, axis: int) -> Tensor:
        """``(B, R, n)`` as ``(B, S, width, n)``, ``-inf`` where a state has fewer rules."""
        return functional.pad(x, (0, 0, 0, 1), value=-torch.inf)[:, self.index[axis]]


class Bank:
    """The potentials of a tree as float64 tensors, those of one shape in one tensor.

    Args:
        potentials: the tree's potentials.
        device: where to compute.
        log_potentials: tensors of the shapes of their `log_potential` to use instead, for gradients.
    """

    def __init__(
        self, potentials: Sequence[Potential], device: torch.device, log_potentials: Sequence[Tensor] | None = None
    ) -> None:
        self._rules: dict[int, _RuleTable] = {}
        self._slot: list[int] = []
        members: dict[tuple[int, ...], list[int]] = {}
        for i, p in enumerate(potentials):
            if isinstance(p, Rules):
                weights = torch.tensor(p.log_potential) if log_potentials is None else log_potentials[i]
                self._rules[i] = _RuleTable(p, weights.to(device, torch.float64))
                self._slot.append(-1)
            else:
                own = members.setdefault(p.shape, [])
                self._slot.append(len(own))
                own.append(i)
        self._members = members
        self._given = log_potentials
        self._potentials = potentials
        self._device = device
        self._tables: dict[tuple[int, ...], Tensor] = {}
        self._kernels: dict[tuple[int, int, int], Kernel] = {}

    def _dense(self, shape: tuple[int, ...]) -> Tensor:
        """``(*shape, P)``: all potentials of this shape."""
        if shape not in self._tables:
            members = self._members[shape]
            if self._given is None:
                table = torch.from_numpy(np.stack([self._potentials[i].dense_log() for i in members], axis=-1))
            else:
                table = torch.stack([self._spread(i) for i in members], dim=-1)
            self._tables[shape] = table.to(self._device, torch.float64)
        return self._tables[shape]

    def _spread(self, i: int) -> Tensor:
        """A given log potential, its entries where they stand."""
        assert self._given is not None
        entries = torch.from_numpy(self._potentials[i].entries()).to(self._given[i].device)
        return functional.pad(self._given[i].flatten(), (0, 1), value=-torch.inf)[entries]

    def kernel(self, group: Group) -> Kernel:
        """The group's factors, ready to compute."""
        if len(group.potentials) == 1:
            return self.single(int(group.potentials[0]), group.up, group.count)
        slots = torch.tensor([self._slot[i] for i in group.potentials.tolist()], device=self._device)
        return Dense(self._dense(group.shape).index_select(-1, slots), group.up, group.count)

    def single(self, potential: int, up: int, count: int = 1) -> Kernel:
        """`count` factors that share a potential."""
        kernel = self._kernels.get((potential, up, count))
        if kernel is None:
            slot = self._slot[potential]
            if potential in self._rules:
                kernel = Sparse(self._rules[potential], up, count)
            else:
                kernel = Dense(self._dense(self._potentials[potential].shape)[..., slot : slot + 1], up, count)
            self._kernels[potential, up, count] = kernel
        return kernel
