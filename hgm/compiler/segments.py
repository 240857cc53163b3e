"""Paths cut into segments: messages along all paths of a level at once, in few steps.

On a path v_0 (bottom) ... v_T (top), with A_t the matrix of the edge from v_t to v_{t-1} and o_t what v_t knows by
itself and from its other children,

    up      s_t = A_t h_{t-1}          h_t = o_t s_t                     h_0 = o_0 m          m: what comes from below
    down    r_{t-1} = A_t' (o_t r_t)                                     r_T: what comes from above

A segment is also one matrix, P = D_T A_T ... D_1 A_1 D_0 with D_t = diag(o_t): its top has h = P m, and what leaves its
bottom, P' r. So a long path is cut into segments whose matrices are accumulated all at once, side by side; then m and r
pass from segment to segment, a product each; and then both sweeps run inside all segments at once. That takes 3 T + 2 G
steps for G segments of T variables, in place of 2 T G, and S times the arithmetic for P (Blelloch, Prefix sums and their
applications, 1990; Särkkä and García-Fernández, Temporal parallelization of Bayesian smoothers, 2021).

This file is the algebra alone: it knows arrays and in which order they stand, and no tree. `Layout` says what runs when;
`Linear` and `Logs` are the two number systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hgm.compiler.numerics import logsumexp, scale_linear, scale_log

__all__ = ["Layout", "Linear", "Logs", "Swept", "down", "up"]


@dataclass(frozen=True)
class Layout:
    """How the n variables of a level of paths stand: step by step from the bottom, and in a step segment by segment.

    Segments are numbered by their length, the longest first, so those that run in a step are the first ones.

    Attributes:
        running: of each step, how many segments have a variable there; never more than in the step before.
        every: messages are scaled in every so many steps.
        above: pairs (numbers of segments, numbers of those right above them in their paths): first the lowest of every
            path, then the next ones, ... Empty if every path is one segment.
        top: ``(paths,)`` number of the top segment of every path.
    """

    running: tuple[int, ...]
    every: int
    above: tuple[tuple[Tensor, Tensor], ...]
    top: Tensor

    @property
    def starts(self) -> list[int]:
        """Where each step begins, and the last one ends."""
        found = [0]
        for count in self.running:
            found.append(found[-1] + count)
        return found


class Linear:
    """Probabilities: a product multiplies, a matrix is a matrix product."""

    one = 1.0

    @staticmethod
    def times(a: Tensor, b: Tensor) -> Tensor:
        """Elementwise."""
        return a * b

    @staticmethod
    def through(w: Tensor, x: Tensor) -> Tensor:
        """``(S, k, C)``: matrices ``(k or 1, S, S')`` times vectors ``(S', k, C)``."""
        if len(w) == 1:
            return torch.mm(w[0], x.flatten(1)).view(-1, *x.shape[1:])
        return torch.bmm(w, x.transpose(0, 1)).transpose(0, 1)

    @staticmethod
    def over(a: Tensor, b: Tensor) -> Tensor:
        """Elementwise; b is not zero."""
        return a / b

    @staticmethod
    def total(x: Tensor, dim: int) -> Tensor:
        """The sum over an axis."""
        return x.sum(dim)

    @staticmethod
    def scaled(x: Tensor) -> tuple[Tensor, Tensor]:
        """Messages ``(S, ...)`` with their largest entry 1, and what that was."""
        return scale_linear(x)


class Logs:
    """Their logs, in which hard zeros are -inf: a product adds, a matrix is a log-sum-exp."""

    one = 0.0

    @staticmethod
    def times(a: Tensor, b: Tensor) -> Tensor:
        """Elementwise."""
        return a + b

    @staticmethod
    def through(w: Tensor, x: Tensor) -> Tensor:
        """``(S, k, C)``: matrices ``(k or 1, S, S')`` times vectors ``(S', k, C)``."""
        return logsumexp(w.transpose(0, 1).unsqueeze(3) + x.transpose(0, 1), 2)

    @staticmethod
    def over(a: Tensor, b: Tensor) -> Tensor:
        """Elementwise; b is not -inf."""
        return a - b

    @staticmethod
    def total(x: Tensor, dim: int) -> Tensor:
        """The sum over an axis."""
        return logsumexp(x, dim)

    @staticmethod
    def scaled(x: Tensor) -> tuple[Tensor, Tensor]:
        """Messages ``(S, ...)`` with their largest entry 0, and what that was."""
        return scale_log(x)


Algebra = type[Linear] | type[Logs]


@dataclass(slots=True)
class Swept:
    """What `up` finds and `down` needs.

    Attributes:
        h: ``(S, n, B)`` messages upwards, the variables as `Layout` has them.
        below: of each step what arrives from the variables below, ``(S, k, B)``; ``None`` where nothing does.
        taken: what was divided out of messages on the way, each ``(1, k, B)``.
        matrices: ``(S, S', segments, B)`` P of every segment; ``None`` if every path is one segment.
    """

    h: Tensor
    below: list[Tensor | None]
    taken: list[Tensor]
    matrices: Tensor | None


def up(of: Algebra, o: Tensor, line: Tensor, links: Tensor, layout: Layout) -> Swept:
    """Messages from the bottoms of all paths to their tops.

    Args:
        of: the number system.
        o: ``(S, n, B)`` what each variable knows without its path, the largest entry one.
        line: ``(n - segments or 1, S, S')`` the matrices inside of segments, step by step; one if all are the same.
        links: ``(segments - paths or 1, S, S')`` those between segments, as `Layout.above` has them.
        layout: the order.
    """
    own = [o[:, a:b] for a, b in pairwise(layout.starts)]
    inside, between = _parted(line, layout.running[1:]), _parted(links, [len(low) for low, _ in layout.above])
    matrices = _matrices(of, own, inside, layout) if layout.above else None
    entering = None if matrices is None else _entering(of, matrices, between, layout)
    h: list[Tensor] = []
    below: list[Tensor | None] = []
    taken: list[Tensor] = []
    for t, mine in enumerate(own):
        arrives = of.through(inside[t - 1], h[-1][:, : layout.running[t]]) if t else entering
        new = mine if arrives is None else of.times(mine, arrives)
        if t % layout.every == layout.every - 1:
            new, top = of.scaled(new)
            taken.append(top)
        h.append(new)
        below.append(arrives)
    for (low, high), w in zip(layout.above, between, strict=True):  # what entered a segment was scaled: by how much
        assert entering is not None
        sent = of.through(w, _tops(h, layout).index_select(1, low))
        taken.append(of.over(sent.amax(0, keepdim=True), entering.index_select(1, high).amax(0, keepdim=True)))
    return Swept(torch.cat(h, 1), below, taken, matrices)


def down(of: Algebra, o: Tensor, r: Tensor, line: Tensor, links: Tensor, swept: Swept, layout: Layout) -> Tensor:
    """``(S, n, B)`` what all that is above says of each variable, up to a factor for each variable and row.

    Args:
        of, o, line, links, layout: as of `up`.
        r: ``(S, paths, B)`` what arrives at the top of every path, in the order of their top segments.
        swept: what `up` found.
    """
    own = [o[:, a:b] for a, b in pairwise(layout.starts)]
    inside, between = _parted(line, layout.running[1:]), _parted(links, [len(low) for low, _ in layout.above])
    entering = _from_above(of, swept.matrices, r, between, layout)
    found: list[Tensor] = []
    last = len(own) - 1
    for t in reversed(range(len(own))):
        new = entering[:, (layout.running[t + 1] if t < last else 0) : layout.running[t]]
        if t < last:
            sent = of.through(inside[t].mT, of.times(own[t + 1], found[-1]))
            sent = of.scaled(sent)[0] if t % layout.every == 0 else sent
            new = sent if layout.running[t + 1] == layout.running[t] else torch.cat([sent, new], 1)
        found.append(new)
    return torch.cat(found[::-1], 1)


def _parted(w: Tensor, counts: list[int] | tuple[int, ...]) -> list[Tensor]:
    """Matrices by steps; one that serves all is every step's."""
    return [w] * len(counts) if len(w) == 1 else list(w.split(list(counts)))


def _tops(h: list[Tensor], layout: Layout) -> Tensor:
    """``(S, segments, B)`` the messages of the top variable of every segment."""
    ends = (*layout.running[1:], 0)
    return torch.cat([mine[:, end:] for mine, end in zip(reversed(h), reversed(ends), strict=True)], 1)


def _matrices(of: Algebra, own: list[Tensor], inside: list[Tensor], layout: Layout) -> Tensor:
    """``(S, S', segments, B)`` the matrix of every segment, from its bottom variable to its top, up to a factor."""
    states, _, rows = own[0].shape
    eye = torch.eye(states, dtype=own[0].dtype, device=own[0].device)
    eye = eye if of is Linear else eye.log()
    running = of.times(own[0].unsqueeze(1), eye[:, :, None, None])
    done: list[Tensor] = []
    for t, mine in enumerate(own[1:], start=1):
        k = layout.running[t]
        done.append(running[:, :, k:])
        moved = of.through(inside[t - 1], running[:, :, :k].transpose(1, 2).flatten(2))  # (S, k, S' * B)
        running = of.times(moved.unflatten(2, (states, rows)).transpose(1, 2), mine.unsqueeze(1))
        if t % layout.every == 0:
            running = of.scaled(running.flatten(0, 1))[0].unflatten(0, (states, states))
    return torch.cat([running, *reversed(done)], 2)


def _entering(of: Algebra, matrices: Tensor, between: list[Tensor], layout: Layout) -> Tensor:
    """``(S, segments, B)`` what enters every segment from below, the largest entry one."""
    entering = torch.full_like(matrices[0], of.one)
    for (low, high), w in zip(layout.above, between, strict=True):
        tops = of.total(of.times(matrices[:, :, low], entering[:, low].unsqueeze(0)), 1)
        entering = entering.index_copy(1, high, of.scaled(of.through(w, tops))[0])
    return entering


def _from_above(of: Algebra, matrices: Tensor | None, r: Tensor, between: list[Tensor], layout: Layout) -> Tensor:
    """``(S, segments, B)`` what enters every segment from above."""
    entering = r.new_empty(r.shape[0], layout.running[0], r.shape[2]).index_copy(1, layout.top, r)
    for (low, high), w in zip(reversed(layout.above), reversed(between), strict=True):
        assert matrices is not None
        bottoms = of.total(of.times(matrices[:, :, high], entering[:, high].unsqueeze(1)), 0)
        entering = entering.index_copy(1, low, of.scaled(of.through(w.mT, bottoms))[0])
    return entering
