"""What a group of factors computes: messages, joint beliefs, and draws of the children given the parent.

A message about a variable with S states to or from n factors is an array ``(B, S, n)`` of logs. All functions take
``messages``, one per axis of the potential (that of the axis asked about is not looked at, and may be ``None``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.bp.ops import Array, Reduce, padded, spread, take
from hgm.bp.schedule import Group
from hgm.tree.possible import forbidden
from hgm.tree.potential import Potential
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree

__all__ = ["Bank", "Choose", "Kernel", "bank_of"]

Choose = Callable[[Tensor, Tensor], Tensor]
"""From log weights ``(B, n, K, A)`` and rows ``(N, B, n)`` in 0..K-1, one of the A entries per row: ``(N, B, n)``."""

KEPT = 1 << 16  # weights up to which a tree keeps them as they are needed here


class Kernel(Protocol):
    """A group of n factors, ready to compute."""

    def send(self, messages: Sequence[Array | None], axis: int, reduce: Reduce, batch: int) -> Array:
        """The message to the variables on one axis: ``(B, S_axis, n)``."""

    def joint(self, messages: Sequence[Array]) -> Array:
        """Log belief over the whole scope, up to a constant: ``(B, *shape, n)``."""

    def draw(self, messages: Sequence[Tensor | None], parent: Tensor, reduce: Reduce, choose: Choose) -> list[Tensor]:
        """States ``(N, B, n)`` of each child in turn, given those of the parent, ``(N, B, n)``."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Factors with a full table: `table` is ``(B or 1, *shape, n)``, or ``(B or 1, *shape, 1)`` if they share it."""

    table: Array
    up: int
    count: int

    def _along(self, message: Array, axis: int) -> Array:
        """A message ``(B, S, n)`` as ``(B, 1, .., S, .., 1, n)``."""
        batch, states, n = message.shape
        return message.reshape(batch, *(1,) * axis, states, *(1,) * (self.table.ndim - 3 - axis), n)

    def send(self, messages: Sequence[Array | None], axis: int, reduce: Reduce, batch: int) -> Array:
        """log sum over all other axes of psi times the messages, one axis at a time."""
        x = self.table
        for a in reversed(range(self.table.ndim - 2)):
            message = messages[a]
            if a != axis and message is not None:
                x = reduce(x + self._along(message, a), a + 1)
        return spread(x.reshape(x.shape[0], self.table.shape[axis + 1], x.shape[-1]), batch, self.count)

    def joint(self, messages: Sequence[Array]) -> Array:
        x = self.table
        for a, message in enumerate(messages):
            x = x + self._along(message, a)
        return x

    def draw(self, messages: Sequence[Tensor | None], parent: Tensor, reduce: Reduce, choose: Choose) -> list[Tensor]:
        """The chain rule over the children: the first given the parent, the second given both, and so on."""
        shape = self.table.shape[1:-1]
        children = [axis for axis in range(len(shape)) if axis != self.up]
        weights: dict[int, Any] = {}
        x: Any = self.table
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

    def _weights(self, messages: Sequence[Array | None], axis: int) -> Array:
        """``(B, R, n)``: log weight of each rule times the messages of its states on all axes but one."""
        x = self.rules.weights[:, :, None]
        for a, message in enumerate(messages):
            if a != axis and message is not None:
                x = x + message[:, self.rules.states[a]]
        return x

    def send(self, messages: Sequence[Array | None], axis: int, reduce: Reduce, batch: int) -> Array:
        """Per state of one axis, the log sum over the rules with that state."""
        sums = reduce(self.rules.by_state(self._weights(messages, axis), axis), 2)
        return spread(sums[:, :, 0], batch, self.count)

    def joint(self, messages: Sequence[Array]) -> Array:
        x = self._weights(messages, -1)
        shape = (len(x), *self.rules.shape, self.count)
        if isinstance(x, np.ndarray):
            full = np.full(shape, -np.inf)
            full[:, *self.rules.states] = x
            return full
        rows = torch.arange(len(x), device=x.device)[:, None]
        places = (rows, *(states[None] for states in self.rules.states))
        return x.new_full(shape, -torch.inf).index_put(places, x)

    def draw(self, messages: Sequence[Tensor | None], parent: Tensor, reduce: Reduce, choose: Choose) -> list[Tensor]:
        """One of the rules of the parent's state."""
        weights = spread(self._weights(messages, self.up), parent.shape[1], self.count)
        rows: Any = self.rules.by_state(weights, self.up)
        which = choose(rows.movedim(-1, 1), parent)
        rule = self.rules.index[self.up][parent, which]
        return [states[rule] for axis, states in enumerate(self.rules.states) if axis != self.up]


class _RuleTable:
    """A `Rules` potential: `weights` ``(B or 1, R)``, `states` one ``(R,)`` per axis, all tensors or all arrays."""

    def __init__(self, rules: Rules, weights: Array) -> None:
        self.shape = rules.shape
        self.weights = weights
        self._states = rules.states

    def _like(self, index: np.ndarray) -> Any:
        return index if isinstance(self.weights, np.ndarray) else torch.tensor(index, device=self.weights.device)

    @cached_property
    def states(self) -> list[Any]:
        return [self._like(column) for column in self._states.T]

    @cached_property
    def index(self) -> list[Any]:
        """For each axis ``(S, width)``: the rules with each state, filled up with R, which is no rule."""
        tables = []
        for axis, size in enumerate(self.shape):
            order = np.argsort(self._states[:, axis], kind="stable")
            state = self._states[order, axis]
            count = np.bincount(state, minlength=size)
            table = np.full((size, count.max()), len(order))
            table[state, np.arange(len(order)) - (np.cumsum(count) - count)[state]] = order
            tables.append(self._like(table))
        return tables

    def by_state(self, x: Array, axis: int) -> Array:
        """``(B, R, n)`` as ``(B, S, width, n)``, ``-inf`` where a state has fewer rules."""
        return padded(x, x.shape[1] + 1)[:, self.index[axis]]


class Bank:
    """The potentials of a tree as float64 tensors or arrays, those of one shape in one.

    Args:
        potentials: the tree's potentials.
        device: where to compute; ``None`` for arrays.
        log_potentials: tensors to use instead, for gradients: of the shapes of their `log_potential`, or with one batch
            axis before them, ``(B or 1, *shape)``.
    """

    def __init__(
        self,
        potentials: Sequence[Potential],
        device: torch.device | None,
        log_potentials: Sequence[Tensor] | None = None,
    ) -> None:
        self._rules: dict[int, _RuleTable] = {}
        self._slot: list[int] = []
        members: dict[tuple[int, ...], list[int]] = {}
        given = None
        if log_potentials is not None:
            pairs = zip(log_potentials, potentials, strict=True)
            given = [log if log.ndim > p.log_potential.ndim else log[None] for log, p in pairs]
        for i, p in enumerate(potentials):
            if isinstance(p, Rules):
                weights = self._on(p.log_potential[None].copy(), device) if given is None else given[i]
                weights = weights.to(device, torch.float64) if isinstance(weights, Tensor) else weights
                self._rules[i] = _RuleTable(p, weights)
                self._slot.append(-1)
            else:
                own = members.setdefault(p.shape, [])
                self._slot.append(len(own))
                own.append(i)
        self._members = members
        self._given = given
        self._potentials = potentials
        self._device = device
        self._tables: dict[tuple[int, ...], Array] = {}
        self._kernels: dict[int, Kernel] = {}
        self._forbidden: tuple[Any] | None = None

    @staticmethod
    def _on(array: np.ndarray, device: torch.device | None) -> Any:
        return array if device is None else torch.from_numpy(array).to(device, torch.float64)

    def _dense(self, shape: tuple[int, ...]) -> Any:
        """``(B or 1, *shape, P)``: all potentials of this shape."""
        if shape not in self._tables:
            members = self._members[shape]
            if self._given is None:
                table = self._on(np.stack([self._potentials[i].dense_log() for i in members], -1)[None], self._device)
            else:
                parts = torch.broadcast_tensors(*(self._spread(i) for i in members))
                table = torch.stack(parts, dim=-1).to(self._device, torch.float64)
            self._tables[shape] = table
        return self._tables[shape]

    def _spread(self, i: int) -> Tensor:
        """``(B or 1, *shape)``: a given log potential, its entries where they stand."""
        assert self._given is not None
        entries = torch.from_numpy(self._potentials[i].entries()).to(self._given[i].device)
        return functional.pad(self._given[i].flatten(1), (0, 1), value=-torch.inf)[:, entries]

    def forbidden(self, tree: Tree) -> Any:
        """What `hgm.tree.possible.forbidden` says of the tree, whose potentials these are."""
        if self._forbidden is None:
            found = forbidden(tree)
            with torch.inference_mode(False):
                self._forbidden = (None if found is None else self._on(found, self._device),)
        return self._forbidden[0]

    def kernel(self, group: Group) -> Kernel:
        """The group's factors, ready to compute."""
        kernel = self._kernels.get(id(group))  # a tree's groups last as long as its bank
        if kernel is None:
            if len(group.potentials) == 1:
                kernel = self.single(int(group.potentials[0]), group.up, group.count)
            else:
                slots = np.array([self._slot[i] for i in group.potentials.tolist()])
                index = slots if self._device is None else torch.from_numpy(slots).to(self._device)
                kernel = Dense(take(self._dense(group.shape), index), group.up, group.count)
            self._kernels[id(group)] = kernel
        return kernel

    def single(self, potential: int, up: int, count: int = 1) -> Kernel:
        """`count` factors that share a potential."""
        if potential in self._rules:
            return Sparse(self._rules[potential], up, count)
        slot = self._slot[potential]
        return Dense(self._dense(self._potentials[potential].shape)[..., slot : slot + 1], up, count)


def bank_of(tree: Tree, device: torch.device | None) -> Bank:
    """The tree's own potentials; those of a small tree are kept with it."""
    bank = tree.kept.get(device)
    if bank is None:
        with torch.inference_mode(False):
            bank = Bank(tree.potentials, device)
        if sum(p.size for p in tree.potentials) <= KEPT:
            tree.kept[device] = bank
    return bank
