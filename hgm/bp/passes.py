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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hgm.bp.factor import LOWEST, Bank, Choose, Reduce, logsumexp
from hgm.bp.schedule import Group, Step, schedule, take
from hgm.evidence.checked import check_log_evidence
from hgm.tree.tree import Tree

__all__ = ["Collected", "Distributed", "collect", "descend", "distribute", "log_partition"]


@dataclass(frozen=True)
class Collected:
    """What `collect` found. Levels from the roots down; n variables and F factors below them on a level.

    Attributes:
        e: log evidence of each level, ``(B, S, n)``, its largest entry at 0.
        h: messages of the variables upwards, ``(B, S, n)``.
        q: messages of the factors upwards, ``(B, S, F)``.
        log_partition: ``(B,)``; with a maximum, the largest log score.
        bank: the potentials, as tensors.
        reduce: the sum or maximum that was used.
    """

    e: list[Tensor]
    h: list[Tensor]
    q: list[Tensor]
    log_partition: Tensor
    bank: Bank
    reduce: Reduce


@dataclass(frozen=True)
class Distributed:
    """What `distribute` found, per level as in `Collected`.

    Attributes:
        b: log beliefs of the variables up to a constant, ``(B, S, n)``.
        u: messages of the variables down to the factors below them, ``(B, S, F)``.
    """

    b: list[Tensor]
    u: list[Tensor]


def log_partition(tree: Tree, log_evidence: Tensor, log_potentials: Sequence[Tensor] | None = None) -> Tensor:
    """log Z of each row: ``(B,)``, ``-inf`` for impossible evidence (no error here).

    Args:
        tree: the model.
        log_evidence: ``(B, S, V)`` as made by `hgm.log_evidence`.
        log_potentials: tensors to use instead of the tree's own, one per potential, of its `log_potential`'s shape.

    The gradient with respect to `log_evidence` is the marginals, that with respect to `log_potentials` the sum of the
    factor marginals of all tied factors (over the batch too). Both are finite, also at zeros.

    Raises:
        BadEvidence: for log evidence of the wrong shape, NaN or ``+inf``.
    """
    return collect(tree, check_log_evidence(tree, log_evidence), log_potentials=log_potentials).log_partition


def collect(
    tree: Tree, log_evidence: Tensor, reduce: Reduce = logsumexp, log_potentials: Sequence[Tensor] | None = None
) -> Collected:
    """The pass from the leaves to the roots, of log evidence that is checked."""
    e, factor = _normalised(log_evidence.to(torch.float64))
    batch, states, _ = e.shape
    steps = schedule(tree, e.device)
    bank = Bank(tree.potentials, e.device, log_potentials)
    levels = list(e.split([step.variables for step in steps], dim=-1))
    h: list[Tensor] = levels.copy()
    q: list[Tensor] = [e.new_zeros(batch, states, 0)] * len(steps)
    taken = [factor]  # the constants of normalisation; e first: beside large numbers small ones are lost
    for at in reversed(range(len(steps))):
        step = steps[at]
        if not step.groups:
            continue
        sent = []
        for group in step.groups:
            inputs = _inputs(group, None, h[at + 1] if group.children else None)
            message, top = _normalised(bank.kernel(group).send(inputs, group.up, reduce, batch))
            sent.append(_padded(message, states))
            taken.append(top)
        q[at] = take(torch.cat(sent, -1) if len(sent) > 1 else sent[0], step.by_factor)
        h[at] = _pooled(step, levels[at], q[at])
    log_z = torch.cat(taken, -1).sum((1, 2)) + reduce(h[0], 1).sum((1, 2))
    return Collected(levels, h, q, log_z, bank, reduce)


def distribute(tree: Tree, collected: Collected) -> Distributed:
    """The pass from the roots to the leaves. Rows of impossible evidence come out as NaN."""
    c = collected
    steps = schedule(tree, c.e[0].device)
    batch, states, _ = c.e[0].shape
    base, b, u = c.e[0], [c.h[0]], []  # base = e + r
    for at, step in enumerate(steps):
        u.append(_cavity(step, base, c.q[at]))
        sent = []
        for group in step.groups:
            kernel = c.bank.kernel(group)
            if group.children:
                inputs = _inputs(group, u[at], c.h[at + 1])
                for axis in _children(group):
                    sent.append(_padded(_normalised(kernel.send(inputs, axis, c.reduce, batch))[0], states))
        if sent:
            r = take(torch.cat(sent, -1) if len(sent) > 1 else sent[0], step.by_child)
            base = c.e[at + 1] + r
            b.append(r + c.h[at + 1])
    return Distributed(b, u)


def descend(tree: Tree, collected: Collected, choose: Choose, draws: int) -> Tensor:
    """States drawn from the roots down, each child given its parent: ``(draws, B, V)`` in tree order."""
    c = collected
    batch, _, roots = c.h[0].shape
    row = torch.zeros((draws, batch, roots), dtype=torch.int64, device=c.h[0].device)
    x = [choose(c.h[0].movedim(-1, 1).unsqueeze(2), row)]
    for at, step in enumerate(schedule(tree, c.h[0].device)):
        drawn: list[Tensor] = []
        for group in step.groups:
            if group.children:
                inputs = _inputs(group, None, c.h[at + 1])
                drawn += c.bank.kernel(group).draw(inputs, take(x[at], group.parents), c.reduce, choose)
        if drawn:
            x.append(take(torch.cat(drawn, -1), step.by_child))
    return torch.cat(x, -1)


def _children(group: Group) -> list[int]:
    return [axis for axis in range(len(group.shape)) if axis != group.up]


def _inputs(group: Group, u: Tensor | None, h_below: Tensor | None) -> list[Tensor | None]:
    """The messages into a group of factors, one per axis: u of the parents (or ``None``), h of the children."""
    inputs: list[Tensor | None] = [None] * len(group.shape)
    if u is not None:
        inputs[group.up] = take(_cut(u, group.shape[group.up]), group.factors)
    for axis, children in zip(_children(group), group.children, strict=True):
        assert h_below is not None
        inputs[axis] = take(_cut(h_below, group.shape[axis]), children)
    return inputs


def _pooled(step: Step, e: Tensor, q: Tensor) -> Tensor:
    """h_v = e_v + sum of the q of all factors below v."""
    if step.parent is not None:
        return e.index_add(-1, step.parent, q)
    k = step.buckets[0].k
    return e + (q if k == 1 else q.unflatten(-1, (step.variables, k)).sum(-1))


def _cavity(step: Step, base: Tensor, q: Tensor) -> Tensor:
    """u_f = base of f's parent + sum of the q of the other factors below that parent."""
    if not step.buckets:
        return base[..., :0]
    if step.parent is not None:
        base = base.index_select(-1, step.parent)
    elif step.buckets[0].k > 1:
        base = base.repeat_interleave(step.buckets[0].k, -1)
    if all(bucket.k == 1 for bucket in step.buckets):
        return base
    others = [_others(take(q, bucket.factors).unflatten(-1, (-1, bucket.k))).flatten(-2) for bucket in step.buckets]
    return base + take(torch.cat(others, -1), step.by_bucket)


def _others(q: Tensor) -> Tensor:
    """For each entry of the last axis the sum of the other entries: sums from the left plus sums from the right."""
    left = functional.pad(q.cumsum(-1)[..., :-1], (1, 0))
    right = functional.pad(q.flip(-1).cumsum(-1)[..., :-1], (1, 0)).flip(-1)
    return left + right


def _normalised(message: Tensor) -> tuple[Tensor, Tensor]:
    """A message with its largest entry at 0, and what was taken from it, ``(B, 1, n)``, a constant to autograd."""
    top = message.detach().amax(1, keepdim=True).clamp_min(LOWEST)
    return message - top, top


def _cut(message: Tensor, states: int) -> Tensor:
    """The first `states` states of a padded message."""
    return message if message.shape[1] == states else message[:, :states]


def _padded(message: Tensor, states: int) -> Tensor:
    """A message with ``-inf`` for states that the variable does not have, up to `states`."""
    missing = states - message.shape[1]
    return functional.pad(message, (0, 0, 0, missing), value=-torch.inf) if missing else message
