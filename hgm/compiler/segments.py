"""Paths cut into segments: messages along many paths at once, in few steps.

On a path v_0 (bottom) ... v_T (top), with A_t the matrix of the edge from v_t to v_{t-1} and o_t what v_t knows by
itself and from its other children,

    up      s_t = A_t h_{t-1}          h_t = o_t s_t                     h_0 = o_0 m          m: what comes from below
    down    r_{t-1} = A_t' (o_t r_t)                                     r_T: what comes from above

A segment is also one matrix, P = D_T A_T ... D_1 A_1 D_0 with D_t = diag(o_t): its top has h = P m, and what leaves
its bottom is P' r. So a long path is cut into segments whose matrices are accumulated all at once, side by side; then m
and r pass from segment to segment, a product each; and then both sweeps run inside all segments at once. That takes
3 T + 2 G steps for G segments of T variables, in place of 2 T G, and S times the arithmetic for P (Blelloch, Prefix
sums and their applications, 1990; Särkkä and García-Fernández, Temporal parallelization of Bayesian smoothers, 2021).

This file is the algebra alone: it knows arrays and in which order they stand, and no tree. `Layout` says what runs
when; `Linear` and `Logs` are the two number systems. Variables come first, ``(n, S, B)``: a step is one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hgm.compiler.numerics import LOWEST, joined, logsumexp, scale_linear, scale_log

__all__ = ["Layout", "Linear", "Logs", "Swept", "down", "up"]


@dataclass(frozen=True)
class Layout:
    """How the n variables of many paths stand: step by step from the bottom, and in a step segment by segment.

    Segments are numbered by their length, the longest first, so those that run in a step are the first ones.

    Attributes:
        running: of each step, how many segments have a variable there; never more than in the step before.
        tops: ``(paths,)`` number of the top segment of every path.
        every: messages are scaled in every so many steps.
        counts: how many paths have a first segment, a second one, ...
        chain: ``(segments,)`` their numbers: the lowest of every path, the paths with most segments first, then the
            next ones of those that have more, ...
        paths: ``(paths,)`` the paths in that order.
    """

    running: tuple[int, ...]
    tops: Tensor
    every: int
    counts: tuple[int, ...]
    chain: Tensor
    paths: Tensor

    def steps(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(n, ...)`` step by step."""
        return x.split(list(self.running))

    def inside(self, line: Tensor) -> tuple[Tensor, ...]:
        """The matrices inside of segments, step by step."""
        return line.split(list(self.running[1:]))

    def between(self, links: Tensor) -> tuple[Tensor, ...]:
        """The matrices between segments: from all first ones to the second ones, ..."""
        return links.split(list(self.counts[1:]))

    def numbered(self, parts: Sequence[Tensor]) -> Tensor:
        """``(segments, ...)`` by number, of what all first segments have, all second ones, ..."""
        return torch.cat(list(parts)).index_select(0, self.chain.argsort())


class Linear:
    """Probabilities: a product multiplies, a matrix is a matrix product."""

    zero, one = 0.0, 1.0

    @staticmethod
    def times(a: Tensor, b: Tensor) -> Tensor:
        """Elementwise."""
        return a * b

    @staticmethod
    def through(w: Tensor, x: Tensor) -> Tensor:
        """``(k, S, C)``: matrices ``(k, S, S')`` times ``(k, S', C)``."""
        return torch.bmm(w, x)

    @staticmethod
    def ratio(a: Tensor, b: Tensor) -> Tensor:
        """``(k, 1, B)`` the ratio of messages that differ by a factor; one where both are nothing."""
        least = torch.finfo(a.dtype).tiny
        return a.sum(1, keepdim=True).clamp_min(least) / b.sum(1, keepdim=True).clamp_min(least)

    @staticmethod
    def total(x: Tensor, dim: int) -> Tensor:
        """The sum over an axis."""
        return x.sum(dim)

    @staticmethod
    def scaled(x: Tensor) -> tuple[Tensor, Tensor]:
        """Messages ``(k, S, ...)`` with their largest entry 1, and what that was."""
        return scale_linear(x, 1)


class Logs:
    """Their logs, in which hard zeros are -inf: a product adds, a matrix is a log-sum-exp."""

    zero, one = -torch.inf, 0.0

    @staticmethod
    def times(a: Tensor, b: Tensor) -> Tensor:
        """Elementwise."""
        return a + b

    @staticmethod
    def through(w: Tensor, x: Tensor) -> Tensor:
        """``(k, S, C)``: matrices ``(k, S, S')`` times ``(k, S', C)``."""
        return logsumexp(w.unsqueeze(3) + x.unsqueeze(1), 2)

    @staticmethod
    def ratio(a: Tensor, b: Tensor) -> Tensor:
        """``(k, 1, B)`` the ratio of messages that differ by a factor; one where both are nothing."""
        return (logsumexp(a, 1).clamp_min(LOWEST) - logsumexp(b, 1).clamp_min(LOWEST)).unsqueeze(1)

    @staticmethod
    def total(x: Tensor, dim: int) -> Tensor:
        """The sum over an axis."""
        return logsumexp(x, dim)

    @staticmethod
    def scaled(x: Tensor) -> tuple[Tensor, Tensor]:
        """Messages ``(k, S, ...)`` with their largest entry 0, and what that was."""
        return scale_log(x, 1)


Algebra = type[Linear] | type[Logs]


@dataclass(slots=True)
class Swept:
    """What `up` finds and `down` needs.

    Attributes:
        tops: ``(paths, S, B)`` messages of the top variables, the largest entry one.
        below: ``(n, S, B)`` what arrives at each variable from the one below it in its path; `one` where there is none.
        taken: what was divided out of messages on the way, each ``(k, 1, B)``.
        matrices: ``(segments, S, S', B)`` P of every segment, in the order of `Layout.chain`; ``None`` if every path is
            one segment.
    """

    tops: Tensor
    below: Tensor
    taken: list[Tensor]
    matrices: Tensor | None


def up(of: Algebra, o: Tensor, line: Tensor, links: Tensor | None, layout: Layout) -> Swept:
    """Messages from the bottoms of all paths to their tops.

    Args:
        of: the number system.
        o: ``(n, S, B)`` what each variable knows without its path, the largest entry one.
        line: ``(n - segments, S, S')`` the matrices inside of segments, step by step.
        links: ``(segments - paths, S, S')`` those between segments, in the order of the upper ones in `Layout.chain`;
            ``None`` if every path is one segment.
        layout: the order.
    """
    own, inside = layout.steps(o), layout.inside(line)
    entering = matrices = None
    if links is not None:
        matrices = _matrices(of, own, inside, layout.every).index_select(0, layout.chain)
        entering = layout.numbered(_entering(of, matrices, links, layout))
    h: list[Tensor] = []
    below = [torch.full_like(own[0], of.one) if entering is None else entering]
    taken: list[Tensor] = []
    for t, mine in enumerate(own):
        if t:
            below.append(of.through(inside[t - 1], h[-1][: len(mine)]))
        new = mine if t == 0 and entering is None else of.times(mine, below[-1])
        if t % layout.every == layout.every - 1:
            new, top = of.scaled(new)
            taken.append(top)
        h.append(new)
    ends = _ends(h)
    if links is not None and entering is not None:  # what enters a segment was scaled: by how much
        low, high = _joined_by(layout)
        sent = of.through(links, ends.index_select(0, low))
        taken.append(of.ratio(sent, entering.index_select(0, high)))
    tops, top = of.scaled(ends.index_select(0, layout.tops))
    return Swept(tops, torch.cat(below), [*taken, top], matrices)


def down(of: Algebra, o: Tensor, r: Tensor, line: Tensor, links: Tensor | None, swept: Swept, layout: Layout) -> Tensor:
    """``(n, S, B)`` what all that is above says of each variable, up to a factor for each variable and row.

    Args:
        of: as of `up`.
        o: as of `up`.
        r: ``(paths, S, B)`` what arrives at the top of every path, the largest entry one.
        line: as of `up`.
        links: as of `up`.
        swept: what `up` found.
        layout: the order.
    """
    own, inside = layout.steps(o), layout.inside(line)
    if links is None or swept.matrices is None:
        entering = r.index_select(0, layout.tops.argsort())
    else:
        entering = layout.numbered(_leaving(of, swept.matrices, r, links, layout))
    found: list[Tensor] = []
    for t in reversed(range(len(own))):
        begins = entering[(len(own[t + 1]) if found else 0) : len(own[t])]
        if found:
            sent = of.through(inside[t].mT, of.times(own[t + 1], found[-1]))
            sent = of.scaled(sent)[0] if t % layout.every == 0 else sent
            begins = joined([sent, begins], 0) if len(begins) else sent
        found.append(begins)
    return torch.cat(found[::-1])


def _ends(steps: Sequence[Tensor]) -> Tensor:
    """``(segments, ...)`` what the top variable of every segment has, of what the variables of each step have."""
    ends = [mine[len(after) :] for mine, after in pairwise(steps)]
    return torch.cat([steps[-1], *reversed(ends)])


def _matrices(of: Algebra, own: Sequence[Tensor], inside: Sequence[Tensor], every: int) -> Tensor:
    """``(segments, S, S', B)`` the matrix of every segment, from its bottom variable to its top, up to a factor."""
    _, states, rows = own[0].shape
    eye = torch.where(torch.eye(states, dtype=torch.bool, device=own[0].device), of.one, of.zero).to(own[0])

    running = of.times(eye[:, :, None], own[0].unsqueeze(2))
    ended: list[Tensor] = []
    for t, (mine, w) in enumerate(zip(own[1:], inside, strict=True), 1):
        if len(mine) < len(running):
            ended.append(running[len(mine) :])
        running = of.through(w, running[: len(mine)].flatten(2)).unflatten(2, (states, rows))
        running = of.times(running, mine.unsqueeze(2))
        if t % every == 0:
            running = of.scaled(running.flatten(1, 2))[0].view_as(running)
    return torch.cat([running, *reversed(ended)])


def _entering(of: Algebra, matrices: Tensor, links: Tensor, layout: Layout) -> list[Tensor]:
    """What enters all first segments from below, all second ones, ..., each ``(k, S, B)``, the largest entry one."""
    found: list[Tensor] = [torch.full_like(matrices[: layout.counts[0], 0], of.one)]
    for p, w in zip(matrices.split(list(layout.counts)), layout.between(links), strict=False):
        k = len(w)
        tops = of.total(of.times(p[:k], found[-1][:k].unsqueeze(1)), 2)
        found.append(of.scaled(of.through(w, tops))[0])
    return found


def _leaving(of: Algebra, matrices: Tensor, r: Tensor, links: Tensor, layout: Layout) -> list[Tensor]:
    """What enters all first segments from above, all second ones, ..., each ``(k, S, B)``, the largest entry one."""
    r = r.index_select(0, layout.paths)
    found = [r[: layout.counts[-1]]]
    parts = zip(matrices.split(list(layout.counts))[1:], layout.between(links), layout.counts, strict=False)
    for p, w, count in reversed(list(parts)):
        bottoms = of.total(of.times(p, found[-1].unsqueeze(2)), 1)
        sent = of.scaled(of.through(w.mT, bottoms))[0]
        found.append(joined([sent, r[len(sent) : count]], 0) if len(sent) < count else sent)
    return found[::-1]


def _joined_by(layout: Layout) -> tuple[Tensor, Tensor]:
    """The numbers of the segments below and above each link, in the order of the links."""
    by_place = layout.chain.split(list(layout.counts))
    low = [below[: len(above)] for below, above in pairwise(by_place)]
    return torch.cat(low), layout.chain[layout.counts[0] :]
