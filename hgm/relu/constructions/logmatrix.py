"""What every ReLU network for one factor has in common.

A factor sends the message ``f(h)_s = log sum_a psi(s, a) e^(h_a)``. Messages matter only up to a constant, so errors
are measured in the oscillation ``osc(x) = max x - min x`` and two constructions may differ by one constant per column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hgm.errors import BadPotential, Uncertifiable
from hgm.relu.pieces.piecewise import ErrorRange, Floats, PiecewiseLinear

__all__ = ["LogMatrix", "checked", "contraction", "oscillation", "require_positive", "weight"]


class LogMatrix(nn.Module):
    """A ReLU network for ``f(h)_s = log sum_a psi(s, a) e^(h_a)``, up to one constant per column: a construction.

    ``forward`` takes ``(..., S_in, N)`` to ``(..., S_out, N)``, each of the N columns by itself, and is made of linear
    maps, ReLUs and sums only. Its inputs are finite. Weights are parameters that require no gradients until asked to.

    A construction of your own is a subclass: it sets `kind`, finds its `units` and its `error` when it is made from its
    pieces, and says its `build` and its `rounding_steps`; with a `cost` it also competes for the fewest units.
    ``hgm.relu.constructions.choose.CONSTRUCTIONS[kind] = ...`` makes it known.

    Args:
        log_potential: ``(S_out, S_in)``, -inf for zeros.
        pieces: the scalar functions that it is made of, which is all that a file keeps of it.

    Attributes:
        kind: the name under which it is registered.
        needs_normalised: whether ``forward`` wants inputs whose columns have maximum 0.
        shape: (S_out, S_in) of psi.
        error: proven bound on osc(forward(h) - f(h)) over all admissible h, in exact arithmetic.
        units: number of ReLUs per column.
        pieces: the scalar functions.
    """

    kind: ClassVar[str]
    needs_normalised: ClassVar[bool] = False
    shape: tuple[int, ...]
    error: float
    units: int
    pieces: tuple[PiecewiseLinear, ...]

    def __init__(self, log_potential: npt.ArrayLike, pieces: Sequence[PiecewiseLinear]) -> None:
        super().__init__()
        self.shape, self.pieces = np.shape(log_potential), tuple(pieces)

    @classmethod
    def build(cls, log_potential: npt.ArrayLike, tol: float) -> Self:
        """The construction with few units for a tolerance on the oscillation.

        Raises:
            Uncertifiable: if it does not apply to the potential or cannot reach the tolerance.
        """
        raise NotImplementedError

    @classmethod
    def cost(cls, log_potential: npt.ArrayLike) -> float:
        """The constant c of ``units = c / sqrt(tol)`` for small tolerances; infinite if it takes more than that.

        Raises:
            Uncertifiable: if it does not apply to the potential.
        """
        return math.inf

    @classmethod
    def expected_parameters(cls, log_potential: npt.ArrayLike, tol: float) -> float:
        """About how many weights it has, for small tolerances. Raises `Uncertifiable` as `cost` does."""
        return math.inf

    @property
    def parameter_count(self) -> int:
        """Number of weights stored."""
        return sum(p.numel() for p in self.parameters())

    def rounding_steps(self, magnitude: float) -> float:
        """Bound on what floating point adds to `error`, to first order and in units of eps, for |h| <= magnitude."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.shape[1]} -> {self.shape[0]}, kind={self.kind}, units={self.units}, error={self.error:.3g}"


def weight(values: npt.ArrayLike) -> nn.Parameter:
    """A float64 weight that is not trained unless asked to."""
    return nn.Parameter(torch.tensor(np.asarray(values, dtype=np.float64)), requires_grad=False)


def checked(log_potential: npt.ArrayLike) -> Floats:
    """A log potential as a float64 matrix ``(S_out, S_in)``.

    Raises:
        BadPotential: for a wrong shape, a NaN or +inf.
        Uncertifiable: for an output state that no input state allows: its message is -inf whatever the input.
    """
    table = np.asarray(log_potential, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise BadPotential(f"a log potential must be a matrix (output states, input states); got shape {table.shape}")
    if np.isnan(table).any() or np.isposinf(table).any():
        raise BadPotential(
            f"a log potential must be below +inf and not NaN; entry {np.argwhere(~(table < np.inf))[0]} is not"
        )
    impossible = np.flatnonzero(np.isneginf(table).all(axis=1))
    if impossible.size:
        raise Uncertifiable(
            f"output state {impossible[0]} is impossible: its row of the potential is zero, so its log message is -inf "
            "whatever the input. Remove the state, or give it a small positive weight"
        )
    return table


def require_positive(table: Floats, kind: str) -> None:
    """Raise `Uncertifiable` if the potential has zeros."""
    if np.isneginf(table).any():
        row, column = np.argwhere(np.isneginf(table))[0]
        raise Uncertifiable(
            f"construction {kind} has no finite bound for a potential with zeros, here at ({row}, {column}); use "
            "construction C, or give every entry a positive weight"
        )


def oscillation(rows: Sequence[ErrorRange]) -> float:
    """Largest difference between the errors of two different outputs, each known to lie in a range."""
    if len(rows) < 2:
        return 0.0
    lows, highs = np.array(rows).T
    first, last = int(highs.argmax()), int(lows.argmin())
    if first != last:
        return float(highs[first] - lows[last])
    others = np.arange(len(rows)) != first
    return float(max(highs[others].max() - lows[last], highs[first] - lows[others].min()))


def contraction(log_potential: npt.ArrayLike) -> float:
    """Birkhoff's coefficient tau: ``osc(f(h) - f(h')) <= tau osc(h - h')`` for all h, h'.

    ``tau = tanh(Delta / 4)`` with ``Delta = max log psi(i,k) psi(j,l) / (psi(i,l) psi(j,k))``. All-zero rows and
    columns play no part; tau is 1 for any other pattern of zeros. (Birkhoff, 1957.)

    Args:
        log_potential: ``(S_out, S_in)``, -inf for zeros. The reverse direction is the transposed matrix.
    """
    table = np.asarray(log_potential, dtype=np.float64)
    table = table[~np.isneginf(table).all(axis=1)]
    table = table[:, ~np.isneginf(table).all(axis=0)]
    if np.isneginf(table).any():
        return 1.0
    widest = max((float(np.ptp(table - row, axis=1).max()) for row in table), default=0.0)
    return float(np.tanh(widest / 4))
