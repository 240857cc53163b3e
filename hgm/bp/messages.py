"""Every message of belief propagation by itself, with the formula that it comes from.

In products, as one computes by hand; e is the evidence (left out where nothing was seen), psi a potential, and the
letters are those of `hgm.bp.passes`:

    up      q(f -> v) = sum over the children of f of  psi_f  prod h(child)      from a factor to its parent
            h(v)      = e(v)  prod q(f -> v)                                     from a variable to the factor above it
    down    u(v -> f) = e(v)  r(v)  prod q(f' -> v) over the other factors       from a variable to a factor below it
            r(v)      = sum over parent and siblings of  psi_f  u  prod h        from a factor to its child
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from hgm.bp.passes import Distributed, collect
from hgm.bp.tables import ROWS, called_states, chances
from hgm.tree.labels import Label
from hgm.tree.showing import Shown, TextTable
from hgm.tree.tree import Tree

__all__ = ["Message", "Messages", "messages_of"]


@dataclass(frozen=True, eq=False)
class Message:
    """One message. It is a function of one variable's states.

    Attributes:
        letter: ``"q"``, ``"h"``, ``"u"`` or ``"r"``.
        variable: the name of the variable.
        factor: the number of the factor, which sends q and r and receives h and u.
        formula: what it is computed from.
        log: ``(card,)`` or ``(B, card)`` float64, up to a constant.
    """

    letter: str
    variable: Label
    factor: int
    formula: str
    log: Tensor

    @property
    def values(self) -> Tensor:
        """``(card,)`` or ``(B, card)``, scaled so that they sum to 1."""
        return self.log.softmax(-1)

    @property
    def up(self) -> bool:
        """Whether it goes towards the root."""
        return self.letter in "qh"


class Messages(Shown, Sequence[Message]):
    """All messages, in the order in which they are passed. `print`, and a notebook, show a table."""

    def __init__(self, tree: Tree, messages: Sequence[Message]) -> None:
        self.tree, self._messages = tree, tuple(messages)

    @overload
    def __getitem__(self, i: int) -> Message: ...

    @overload
    def __getitem__(self, i: slice) -> Messages: ...

    def __getitem__(self, i: int | slice) -> Message | Messages:
        found = self._messages[i]
        return found if isinstance(found, Message) else Messages(self.tree, found)

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def shown(self) -> Iterable[str | TextTable]:
        if any(len(m.log) == 0 for m in self._messages[:1]):
            yield "no rows"
            return
        rows = []
        for i, m in enumerate(self._messages[:ROWS]):
            p = m.values if m.log.ndim == 1 else m.values[0]
            states = called_states(self.tree, self.tree.index(m.variable))
            rows.append([str(i), "up" if m.up else "down", m.formula, chances(states, p.tolist())])
        yield TextTable(rows, ["", "", "message", "scaled to sum 1"])
        if len(self) > ROWS:
            yield f"... and {len(self) - ROWS:,} more: messages[{ROWS}:] shows them"
        if self._messages and self._messages[0].log.ndim > 1:
            yield f"row 0 of {len(self._messages[0].log)}"

    def __repr__(self) -> str:
        return f"Messages: {sum(m.up for m in self)} up, {sum(not m.up for m in self)} down"


def messages_of(tree: Tree, log_evidence: Tensor, out: Callable[[Any], Tensor]) -> Messages:
    """The messages of a collect and a distribute of their own, in which no state is left out that some table forbids.

    Args:
        tree: the model.
        log_evidence: ``(B, S, V)``.
        out: makes what was computed, with a batch dimension, a result of the caller's own.
    """
    tables = [torch.tensor(p.log_potential, device=log_evidence.device) for p in tree.potentials]
    collected = collect(tree, log_evidence, log_potentials=tables)
    distributed = Distributed(collected)
    own = torch.arange(log_evidence.shape[1])[:, None] < torch.from_numpy(tree.cardinality.copy())
    seen = ((log_evidence.detach().cpu() != 0) & own).any(0).any(0)
    words = _Words(tree, seen.tolist())
    starts, ends = tree.level_ptr.tolist(), tree.factor_ptr[tree.level_ptr].tolist()
    found: list[Message] = []

    def one(letter: str, of: Any, v: int, f: int, formula: str, place: int) -> Message:
        return Message(letter, tree.names[v], f, formula, out(of[:, : int(tree.cardinality[v]), place]))

    for at in reversed(range(tree.depth + 1)):
        found += [
            one("q", collected.q[at], int(tree.parent[f]), f, words.q(f), f - ends[at])
            for f in range(ends[at], ends[at + 1])
        ]
        found += [
            one("h", collected.h[at], v, int(tree.parent_factor[v]), words.h(v), v - starts[at])
            for v in (range(starts[at], starts[at + 1]) if at else ())
        ]
    for at in range(tree.depth):
        u, r = distributed.down_to(at + 1).u[at], distributed.received(at)
        found += [
            one("u", u, int(tree.parent[f]), f, words.u(f), f - ends[at])
            for f in range(ends[at], ends[at + 1])
            if len(tree.children_of(f))
        ]
        found += [
            one("r", r, v, int(tree.parent_factor[v]), words.r(v), v - starts[at + 1])
            for v in range(starts[at + 1], starts[at + 2])
        ]
    return Messages(tree, found)


class _Words:
    """The formula of each message.

    Args:
        tree: the model.
        seen: of each variable, whether there is evidence of it in any row.
    """

    def __init__(self, tree: Tree, seen: Sequence[bool]) -> None:
        self.tree, self.seen = tree, seen

    def q(self, f: int) -> str:
        children = self.tree.children_of(f).tolist()
        return f"{self._q(f)} = {self._sum(children, f)}{_product(map(self._h, children))}".rstrip()

    def h(self, v: int) -> str:
        return f"{self._h(v)} = {_product([*self._e(v), *map(self._q, self.tree.factors_of(v))]) or '1'}"

    def u(self, f: int) -> str:
        v = int(self.tree.parent[f])
        others = [self._q(g) for g in self.tree.factors_of(v) if g != f]
        return f"{self._u(f)} = {_product([*self._e(v), *self._r(v), *others]) or '1'}"

    def r(self, v: int) -> str:
        f = int(self.tree.parent_factor[v])
        siblings = [c for c in self.tree.children_of(f).tolist() if c != v]
        summed = self._sum([int(self.tree.parent[f]), *siblings], f)
        return f"{self._r(v)[0]} = {summed}{_product([self._u(f), *map(self._h, siblings)])}"

    def _name(self, v: int) -> str:
        return str(self.tree.names[v])

    def _names(self, variables: Iterable[int]) -> str:
        return ", ".join(map(self._name, variables))

    def _sum(self, over: Sequence[int], f: int) -> str:
        """The sum over some variables, and the potential under it."""
        sign = f"sum over {self._names(over)} of " if over else ""
        return f"{sign}psi({self._names(self.tree.scope_of(f).tolist())}) "

    def _e(self, v: int) -> list[str]:
        return [f"e({self._name(v)})"] if self.seen[v] else []

    def _r(self, v: int) -> list[str]:
        return [f"r({self._name(v)})"] if self.tree.parent_factor[v] >= 0 else []

    def _h(self, v: int) -> str:
        return f"h({self._name(v)})"

    def _q(self, f: int) -> str:
        children, parent = self.tree.children_of(f).tolist(), self._name(int(self.tree.parent[f]))
        if children:
            return f"q({self._names(children)} -> {parent})"
        alone = [g for g in self.tree.factors_of(int(self.tree.parent[f])) if not len(self.tree.children_of(g))]
        return f"q{alone.index(f) + 1 if len(alone) > 1 else ''}({parent})"

    def _u(self, f: int) -> str:
        return f"u({self._name(int(self.tree.parent[f]))} -> {self._names(self.tree.children_of(f).tolist())})"


def _product(factors: Iterable[str]) -> str:
    return " ".join(factors)
