"""The two passes of belief propagation, and a third that draws states: collect, distribute, descend.

Notation (logs throughout; f a factor, v its parent, u its children, e the log evidence):

    collect      q_f(s) = log sum_a psi_f(s, a) prod_u exp h_u(a_u)          from a factor to its parent
                 h_v    = e_v + sum_f q_f                                    of all factors below v
                 log Z  = log sum_s exp h_root(s)                            summed over the roots
    distribute   u_f    = e_v + r_v + sum_{f' != f} q_f'                     what the parent says without f
                 r_u(a) = log sum psi_f(s, ..a..) exp(u_f(s) + h_others)     from a factor to each child
                 b_v    = r_v + h_v                                          log marginal, up to a constant

Every q and r is normalised to a largest entry of 0; what that takes from q is added up and belongs to log Z. A cavity
(u_f, "the others") is a sum over the others, never a belief minus a message, which would be NaN for hard evidence.
With a maximum for the sum the same passes give max-marginals and the mode.

Both work on tensors and, for a few numbers without gradients, on arrays (`hgm.bp.ops`); what they find is of that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.bp.factor import Bank, Choose, bank_of
from hgm.bp.ops import Array, Reduce, added, joined, logsumexp, normalised, padded, repeated, take
from hgm.bp.schedule import Group, Step, schedule
from hgm.evidence.checked import unobserved
from hgm.tree.tree import Tree

__all__ = ["Collected", "Distributed", "collect", "descend", "distribute", "in_tensors", "messages_into"]


@dataclass(frozen=True)
class Collected:
    """What `collect` found. Levels from the roots down; n variables and F factors below them on a level.

    Attributes:
        e: log evidence of each level, ``(B, S, n)``, its largest entry at 0.
        h: messages of the variables upwards, ``(B, S, n)``.
        q: messages of the factors upwards, ``(B, S, F)``.
        taken: the constants of normalisation, of e and then of q, ``(B, 1, n)``.
        log_partition: ``(B,)``; with a maximum, the largest log score.
        steps: the schedule.
        bank: the potentials.
        reduce: the sum or maximum that was used.
    """

    e: list[Any]
    h: list[Any]
    q: list[Any]
    taken: list[Any]
    log_partition: Any
    steps: Sequence[Step]
    bank: Bank
    reduce: Reduce


class Distributed:
    """What `distribute` finds, per level as in `Collected`, as far down as it was asked for.

    Attributes:
        b: log beliefs of the variables up to a constant, ``(B, S, n)``.
        u: messages of the variables down to the factors below them, ``(B, S, F)``.
    """

    def __init__(self, collected: Collected) -> None:
        self._collected = collected
        self._base = collected.e[0]  # e + r of the deepest level of b
        self.b: list[Any] = [collected.h[0]]
        self.u: list[Any] = []

    def down_to(self, level: int) -> Distributed:
        """The same, with b of all levels down to this one, and u of those above it."""
        while len(self.u) < level:
            self._step(len(self.u))
        return self

    def _step(self, at: int) -> None:
        c = self._collected
        self.u.append(_cavity(c.steps[at], self._base, c.q[at]))
        r = self.received(at)
        if r is not None:
            self._base = c.e[at + 1] + r
            self.b.append(r + c.h[at + 1])

    def received(self, at: int) -> Any:
        """The messages r from the factors below a level to their children, ``(B, S, n)``; ``None`` without children."""
        c = self._collected
        step, (batch, states, _) = c.steps[at], c.e[0].shape
        sent = []
        for group in step.groups:
            if group.below:
                inputs, kernel = messages_into(group, self.u[at], c.h[at + 1]), c.bank.kernel(group)
                for axis in group.below:
                    sent.append(padded(normalised(kernel.send(inputs, axis, c.reduce, batch))[0], states))
        return take(joined(sent), step.by_child) if sent else None


def collect(
    tree: Tree, log_evidence: Array, reduce: Reduce = logsumexp, log_potentials: Sequence[Tensor] | None = None
) -> Collected:
    """The pass from the leaves to the roots, of log evidence that is checked: a tensor, or a float64 array.

    With `log_potentials`, tensors of the shapes of the potentials' own, those are used instead, and are differentiated:
    the gradient of log Z by them is the sum of the factor marginals of all tied factors, over the batch too.
    """
    if isinstance(log_evidence, Tensor):
        log_evidence = log_evidence.to(torch.float64)
        device = log_evidence.device
        bank = bank_of(tree, device) if log_potentials is None else Bank(tree.potentials, device, log_potentials)
        if log_potentials is None and bank.forbidden(tree) is not None:
            log_evidence = log_evidence + bank.forbidden(tree)
        return _collect(tree, *normalised(log_evidence), schedule(tree, device), bank, reduce)
    steps, bank = schedule(tree, None), bank_of(tree, None)
    forbidden = bank.forbidden(tree)
    e, factor = normalised(log_evidence if forbidden is None else log_evidence + forbidden)
    if len(e) != 1 or reduce is not logsumexp or None not in tree.kept:  # a large tree keeps nothing
        return _collect(tree, e, factor, steps, bank, reduce)
    if "quiet" not in tree.kept:
        blank = unobserved(tree, 1, torch.float64, "cpu").numpy()
        blank = blank if forbidden is None else blank + forbidden
        tree.kept["quiet"] = blank, _collect(tree, blank, np.zeros_like(factor), steps, bank, reduce)
    blank, quiet = tree.kept["quiet"]
    seen = np.flatnonzero((e != blank).any((0, 1)))
    return _collect(tree, e, factor, steps, bank, reduce, (quiet, int(tree.level[seen[-1]]) if len(seen) else 0))


def _collect(
    tree: Tree,
    e: Any,
    factor: Any,
    steps: Sequence[Step],
    bank: Bank,
    reduce: Reduce,
    quiet: tuple[Collected, int] | None = None,
) -> Collected:
    """`collect` of normalised evidence; `quiet` is what was found without any, and the deepest level that has some."""
    batch, states, _ = e.shape
    ends = tree.level_ptr.tolist()
    levels: list[Any] = [e[..., first:last] for first, last in pairwise(ends)]
    h: list[Any] = levels.copy()
    q: list[Any] = [e[..., :0]] * len(steps)
    taken = [factor]  # the constants of normalisation; e first: beside large numbers small ones are lost
    known = len(steps)  # q is known of this level and of those below it
    if quiet is not None:
        found, known = quiet
        h[known + 1 :], q[known:] = found.h[known + 1 :], found.q[known:]
        taken += found.taken[1 : 1 + sum(len(step.groups) for step in steps[known:])]
    for at in reversed(range(len(steps))[: known + 1]):
        step = steps[at]
        if not step.groups:
            continue
        if at < known:
            sent = []
            for group in step.groups:
                inputs = messages_into(group, None, h[at + 1] if group.below else None)
                message, top = normalised(bank.kernel(group).send(inputs, group.up, reduce, batch))
                sent.append(padded(message, states))
                taken.append(top)
            q[at] = take(joined(sent), step.by_factor)
        h[at] = _pooled(step, levels[at], q[at])
    log_z = joined(taken).sum((1, 2)) + reduce(h[0], 1).sum((1, 2))
    return Collected(levels, h, q, taken, log_z, steps, bank, reduce)


def in_tensors(tree: Tree, collected: Collected) -> Collected:
    """What was found in arrays, for `descend`, which draws with torch: of the messages, h is all that it looks at."""
    device = torch.device("cpu")
    h = [torch.from_numpy(message) for message in collected.h]
    return replace(collected, h=h, steps=schedule(tree, device), bank=bank_of(tree, device))


def distribute(collected: Collected) -> Distributed:
    """The pass from the roots to the leaves. Rows of impossible evidence come out as NaN."""
    return Distributed(collected).down_to(len(collected.steps))


def descend(collected: Collected, choose: Choose, draws: int) -> Tensor:
    """States drawn from the roots down, each child given its parent: ``(draws, B, V)`` in tree order. For tensors."""
    c = collected
    batch, _, roots = c.h[0].shape
    row = torch.zeros((draws, batch, roots), dtype=torch.int64, device=c.h[0].device)
    x = [choose(c.h[0].movedim(-1, 1).unsqueeze(2), row)]
    for at, step in enumerate(c.steps):
        drawn: list[Array] = []
        for group in step.groups:
            if group.below:
                inputs, parent = messages_into(group, None, c.h[at + 1]), take(x[at], group.parents)
                drawn += c.bank.kernel(group).draw(inputs, parent, c.reduce, choose)  # type: ignore[arg-type]
        if drawn:
            x.append(take(joined(drawn), step.by_child))  # type: ignore[arg-type]
    return torch.cat(x, -1)


def messages_into(group: Group, u: Array | None, h_below: Array | None) -> list[Any]:
    """The messages into a group of factors, one per axis: u of the parents (or ``None``), h of the children."""
    inputs: list[Any] = [None] * len(group.shape)
    if u is not None:
        inputs[group.up] = take(_cut(u, group.shape[group.up]), group.factors)
    for axis, children in zip(group.below, group.children, strict=True):
        assert h_below is not None
        inputs[axis] = take(_cut(h_below, group.shape[axis]), children)
    return inputs


def _pooled(step: Step, e: Array, q: Array) -> Array:
    """h_v = e_v + sum of the q of all factors below v."""
    if step.parent is not None:
        return added(e, step.parent, q)
    k = step.buckets[0].k
    return e + (q if k == 1 else q.reshape(*q.shape[:2], step.variables, k).sum(-1))


def _cavity(step: Step, base: Array, q: Array) -> Array:
    """u_f = base of f's parent + sum of the q of the other factors below that parent."""
    if not step.buckets:
        return base[..., :0]
    if step.parent is not None:
        base = take(base, step.parent)
    elif step.buckets[0].k > 1:
        base = repeated(base, step.buckets[0].k)
    if all(bucket.k == 1 for bucket in step.buckets):
        return base
    others = [_others(take(q, bucket.factors), bucket.k) for bucket in step.buckets]
    return base + take(joined(others), step.by_bucket)


def _others(q: Array, k: int) -> Array:
    """For each entry of a run of k along the last axis the sum of the run's other entries.

    That is sums from the left plus sums from the right.
    """
    runs: Any = q.reshape(*q.shape[:2], q.shape[2] // k, k)
    others: Any
    if isinstance(runs, np.ndarray):
        others = np.zeros_like(runs)
        others[..., 1:] += runs[..., :-1].cumsum(-1)
        others[..., :-1] += runs[..., :0:-1].cumsum(-1)[..., ::-1]
    else:
        left = functional.pad(runs.cumsum(-1)[..., :-1], (1, 0))
        others = left + functional.pad(runs.flip(-1).cumsum(-1)[..., :-1], (1, 0)).flip(-1)
    return others.reshape(q.shape)


def _cut(message: Array, states: int) -> Array:
    """The first `states` states of a padded message."""
    return message if message.shape[1] == states else message[:, :states]
