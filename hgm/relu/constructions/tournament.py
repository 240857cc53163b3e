"""Construction C: log-sum-exp of a row as a tournament of pairs.

``log(e^a + e^b) = max(a, b) + g(|a - b|)`` with ``g(t) = log(1 + e^-t)``; with r = relu(a - b),

    max(a, b) = b + r,     |a - b| = 2 r - (a - b),     g(t) = level + sum_i c_i relu(k_i - t),

so a pair takes one ReLU and one per kink of g. A row of width w plays ceil(log2 w) rounds of w - 1 pairs in all. A
state with psi = 0 does not enter, so zeros are welcome, and no range or normalisation of h is assumed.

Errors: the exact pair is monotone and commutes with adding a constant to both inputs, so inputs that are off by errors
in [l, u] move it by a number in [l, u], and the pair's own error adds to it. The error of a row is therefore the sum of
one error per round, and the oscillation the difference of two rows' errors. With n_r pairs in round r and pieces of
error delta_r, minimising ``sum_r n_r / sqrt(delta_r)`` for a given ``sum_r delta_r`` gives delta_r ~ n_r^(2/3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hgm.errors import Uncertifiable
from hgm.relu.constructions.logmatrix import LogMatrix, checked, oscillation, weight
from hgm.relu.pieces.piecewise import ErrorRange, Floats, PiecewiseLinear, certify
from hgm.relu.pieces.targets import SoftplusTail, minimax
from hgm.relu.pieces.tube import MOST_UNITS

__all__ = ["Tournament"]


class Tournament(LogMatrix):
    """Rounds of pairwise log-sum-exp over the non-zero entries of every row.

    Args:
        log_potential: ``(S_out, S_in)``, -inf for zeros; every row has a non-zero entry.
        pieces: for each round an approximation of log(1 + e^-t) on t >= 0, flat to the right.
    """

    kind = "C"

    def __init__(self, log_potential: npt.ArrayLike, pieces: Sequence[PiecewiseLinear]) -> None:
        table, tails = checked(log_potential), pieces
        super().__init__(table, pieces)
        rows, columns = np.nonzero(np.isfinite(table))
        self.entry: Tensor
        self.register_buffer("entry", torch.tensor(columns))
        self.log_psi = weight(table[rows, columns][:, None])

        draws = _draw(_widths(table))
        self.rounds = nn.ModuleList(_Round(draw, tail) for draw, tail in zip(draws, tails, strict=True))
        self.units = sum(len(draw.left) * (1 + tail.units) for draw, tail in zip(draws, tails, strict=True))
        self.error = oscillation(_row_errors(_widths(table), [certify(tail, SoftplusTail()) for tail in tails]))
        self._sizes = (
            float(np.abs(table[np.isfinite(table)]).max()),
            [(tail.units + 6) * (1 + float(tail.knots[-1])) for tail in tails],
        )

    @classmethod
    def build(cls, log_potential: npt.ArrayLike, tol: float) -> Self:
        widths = _widths(checked(log_potential))
        pairs, times = _shares(widths)

        def error(kinks: Sequence[int]) -> float:
            return oscillation(_row_errors(widths, [_tail_error(k) for k in kinks]))

        def gain(kinks: Sequence[int], r: int) -> float:
            return (_tail_error(kinks[r]).sup - _tail_error(kinks[r] + 1).sup) / pairs[r]

        whole = sum(n ** (2 / 3) for n in pairs)
        shares = [tol / times * n ** (2 / 3) / whole for n in pairs]
        kinks = [max(_tail_kinks(share) - 1, 0) for share in shares]
        while error(kinks) > tol:
            kinks[max(range(len(kinks)), key=lambda r: gain(kinks, r))] += 1
        for r in sorted(range(len(kinks)), key=lambda r: -pairs[r]):
            while kinks[r] > 0 and error([*kinks[:r], kinks[r] - 1, *kinks[r + 1 :]]) <= tol:
                kinks[r] -= 1
        return cls(log_potential, [minimax(SoftplusTail(), units=k) for k in kinks])

    @classmethod
    def cost(cls, log_potential: npt.ArrayLike) -> float:
        pairs, times = _shares(_widths(checked(log_potential)))
        return math.pi / 8 * math.sqrt(times) * sum(n ** (2 / 3) for n in pairs) ** 1.5

    @classmethod
    def expected_parameters(cls, log_potential: npt.ArrayLike, tol: float) -> float:
        """All pairs of a round share one function."""
        table = checked(log_potential)
        pairs, times = _shares(_widths(table))
        whole = sum(n ** (2 / 3) for n in pairs)
        kinks = sum(math.pi / 8 / math.sqrt(tol / times * n ** (2 / 3) / whole) for n in pairs)
        return 2 * kinks + len(pairs) + float(np.isfinite(table).sum())

    def forward(self, h: Tensor) -> Tensor:
        x = h.index_select(-2, self.entry) + self.log_psi
        for round_ in self.rounds:
            x = round_(x)
        return x

    def rounding_steps(self, magnitude: float) -> float:
        """Every entry and every round rounds numbers of the size of its inputs; a pair does not amplify errors."""
        log_psi, tails = self._sizes
        size = magnitude + log_psi + len(tails)
        return 2 * (size + sum(6 * size + tail for tail in tails))


class _Round(nn.Module):
    """One round: some slots meet in pairs, the others pass."""

    def __init__(self, draw: _Draw, tail: PiecewiseLinear) -> None:
        super().__init__()
        self.left: Tensor
        self.right: Tensor
        self.order: Tensor
        for name, slots in draw._asdict().items():
            self.register_buffer(name, torch.tensor(slots))
        self.paired = draw.order == list(range(len(draw.left)))  # every slot meets its neighbour: nothing to gather
        ramps = tail.ramps("left")  # all off where t is large: a lone winner passes with no error but the level's
        self.kinks, self.changes, self.level = weight(ramps.kinks), weight(ramps.changes), weight(ramps.offset)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., slots, N) -> (..., slots of the next round, N)``."""
        if self.paired:
            a, b = x.unflatten(-2, (-1, 2)).unbind(-2)
        else:
            a, b = x.index_select(-2, self.left), x.index_select(-2, self.right)
        gap = a - b
        ahead = torch.relu(gap)
        distance = 2 * ahead - gap
        bonus = self.changes @ torch.relu_(self.kinks.unsqueeze(-1) - distance.unsqueeze(-2)) + self.level
        winners = b + ahead + bonus
        return winners if self.paired else torch.cat((winners, x), dim=-2).index_select(-2, self.order)


def _widths(table: Floats) -> list[int]:
    """Number of non-zero entries of every row."""
    return [int(n) for n in np.isfinite(table).sum(axis=1)]


class _Draw(NamedTuple):
    """One round: the slots that meet, and for each slot of the next round its place among winners, then old slots."""

    left: list[int]
    right: list[int]
    order: list[int]


def _draw(widths: Sequence[int]) -> list[_Draw]:
    """The rounds of all rows, the slots of a row side by side; the last slot of an odd row passes."""
    rounds = []
    while max(widths) > 1:
        draw, winners, start = _Draw([], [], []), sum(width // 2 for width in widths), 0
        for width in widths:
            for slot in range(start, start + width - 1, 2):
                draw.order.append(len(draw.left))
                draw.left.append(slot)
                draw.right.append(slot + 1)
            if width % 2:
                draw.order.append(winners + start + width - 1)
            start += width
        rounds.append(draw)
        widths = [(width + 1) // 2 for width in widths]
    return rounds


def _row_errors(widths: Sequence[int], errors: Sequence[ErrorRange]) -> list[ErrorRange]:
    """The error of every row: the sum over its rounds. An entry that passes a round has no error there, hence the 0."""
    depths = [(width - 1).bit_length() for width in widths]
    low, high = [min(e.low, 0.0) for e in errors], [max(e.high, 0.0) for e in errors]
    return [ErrorRange(sum(low[:d]), sum(high[:d])) for d in depths]


@lru_cache(maxsize=4096)
def _tail_error(units: int) -> ErrorRange:
    return certify(minimax(SoftplusTail(), units=units), SoftplusTail())


def _tail_kinks(tol: float) -> int:
    """The fewest kinks of the tail for a tolerance."""
    kinks = max(int(math.pi / 8 / math.sqrt(tol)) - 1, 0)  # asymptotically
    if kinks > MOST_UNITS:
        raise Uncertifiable(f"a tolerance of {tol:g} on one scalar function takes over {MOST_UNITS} ReLUs; raise it")
    while _tail_error(kinks).sup > tol:
        kinks += 1
    while kinks > 0 and _tail_error(kinks - 1).sup <= tol:
        kinks -= 1
    return kinks


def _shares(widths: Sequence[int]) -> tuple[list[int], float]:
    """Pairs in every round, and how often the sum of the rounds' errors enters the oscillation."""
    pairs = [len(draw.left) for draw in _draw(widths)]
    return pairs, 2.0 if sum(width > 1 for width in widths) > 1 else 1.0
