"""What is read from a level once messages have passed: probabilities, their logs, and those without own evidence.

    p_v(a)  ~ h_v(a) r_v(a)                     posterior: what v and its children say, times what the rest says
    l_v(a)  ~ h0_v(a) r_v(a)                    leave one out: h0 is h without the evidence at v itself
    log p_v = e_v + log h0_v + log r_v - c      exact also where exp of the evidence underflows

At a leaf h0 is its prior alone: leave one out is the decoder without its last skip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hgm.compiler.numerics import exp, logsumexp, safe_log
from hgm.compiler.ranges import Kernel
from hgm.compiler.stage import Belief, Message, Scale, Skip, Stage
from hgm.compiler.unary import UnaryTerms

__all__ = ["Collected", "evidence_of", "leave_one_out", "log_posterior", "silenced", "unseen"]


@dataclass(slots=True)
class Collected:
    """Messages of every level, root first; skips and scales, leaves' stage first; and what they came from.

    Attributes:
        e: the evidence, -inf in states that are impossible by themselves.
        mask: 0 and -inf, which made that, if any are.
        full: all weights ``(P,)``, of a network that is trained, or as they were given with the evidence.
        scaled: `Weights.scaled` of them.
    """

    messages: list[Message]
    skips: list[Skip]
    scales: list[Scale]
    e: Tensor
    mask: Tensor | None
    full: Tensor | None
    scaled: Tensor | None


def unseen(collected: Collected, level: int, unary: UnaryTerms, stages: Sequence[Stage]) -> Tensor:
    """``(S, n, B or 1)``: a level's messages without the evidence at its own variables, in its kernel.

    Args:
        collected: before it is distributed, which may overwrite messages.
        level: which.
        unary: of the level.
        stages: the network's, leaves first.
    """
    h, e, mask = collected.messages[level].h, collected.e, collected.mask
    if not len(unary.seen):
        return h
    logs = e.new_zeros(*e.shape[:2], 1) if mask is None else mask
    own = unary(logs.double(), logs.exp().to(e.dtype), collected.scaled, e)
    if level == len(stages):
        return own.leaf
    if unary.first[0] >= 0:  # parents that are observed: combine once more what their children say
        return stages[-1 - level].collect(collected.messages[level + 1], own, collected.scaled)[0].h
    return torch.cat([h[:, : unary.inner], own.leaf.to(h.dtype).expand(-1, -1, h.shape[2])], 1)


def evidence_of(unary: UnaryTerms, e: Tensor) -> Tensor | None:
    """``(S, n, B)`` log evidence at the variables of a level, 0 where there is none, from that of the engine."""
    if not len(unary.seen):
        return None
    seen = e[: unary.states].index_select(1, unary.columns)
    seen = F.pad(seen, (0, 0, 0, 0, 0, unary.states - seen.shape[0]))
    if len(unary.seen) == unary.nodes:
        return seen
    return seen.new_zeros(unary.states, unary.nodes, seen.shape[2]).index_copy(1, unary.seen, seen)


def leave_one_out(h: Tensor, belief: Belief, kernel: Kernel) -> Tensor:
    """``(S, n, B)`` probabilities from messages without own evidence."""
    r = belief.r
    if kernel == "log":
        t = h if r is None else h + r.reshape(belief.b.shape)
        p = exp(t - logsumexp(t, 0))
    else:
        t = h if r is None else h * r.reshape(belief.b.shape)
        p = t / t.sum(0, keepdim=True)
    return p.expand_as(belief.b)


def log_posterior(h: Tensor | None, e: Tensor | None, belief: Belief, kernel: Kernel) -> Tensor:
    """``(S, n, B)`` float64 logs from messages without own evidence, and that evidence; ``-inf`` has gradient 0."""
    if kernel == "log":
        x = belief.b
    else:
        assert h is not None
        x = safe_log(h).double()
        if belief.r is not None:
            x = x + safe_log(belief.r.reshape(belief.b.shape))
        x = x if e is None else x + e
        x = x.expand_as(belief.b)
    return silenced(x - logsumexp(x, 0))


def silenced(x: Tensor) -> Tensor:
    """x, with gradient 0 where it is ``-inf``."""
    return torch.where(torch.isneginf(x), -torch.inf, x)
