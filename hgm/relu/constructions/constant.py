"""A constant message, for factors whose rows are nearly proportional: they say (almost) nothing. No units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hgm.errors import Uncertifiable
from hgm.relu.constructions.logmatrix import LogMatrix, checked, weight
from hgm.relu.pieces.piecewise import PiecewiseLinear

__all__ = ["Constant"]


class Constant(LogMatrix):
    """A constant message.

    f(h)_s - f(h)_t lies between the smallest and the largest ``log psi(s, a) / psi(t, a)`` and reaches both, so the
    error is exactly the largest oscillation over s of ``log psi(s, a) - c_s``, at one of the input states a.

    Args:
        log_potential: ``(S_out, S_in)``; no zeros, but for whole columns.
        pieces: none.
    """

    kind = "constant"
    units = 0

    def __init__(self, log_potential: npt.ArrayLike, pieces: Sequence[PiecewiseLinear] = ()) -> None:
        () = pieces
        table = checked(log_potential)
        super().__init__(table, pieces)
        used = table[:, ~np.isneginf(table).all(axis=0)] if len(table) > 1 else np.zeros((1, 1))
        if np.isneginf(used).any():
            raise Uncertifiable("a constant message has no finite bound for a potential with zeros; use construction C")
        centred = used - used.mean(axis=0)
        message = (centred.max(axis=1) + centred.min(axis=1)) / 2
        self.error = float(np.ptp(used - message[:, None], axis=0).max()) * (1 + 1e-14)
        self.message = weight(message[:, None])

    @classmethod
    def build(cls, log_potential: npt.ArrayLike, tol: float) -> Self:
        return cls(log_potential)

    @classmethod
    def cost(cls, log_potential: npt.ArrayLike) -> float:
        """0 where the rows are proportional; elsewhere there are tolerances that no number of units reaches."""
        return 0.0 if cls(log_potential).error < 1e-12 else math.inf

    @classmethod
    def expected_parameters(cls, log_potential: npt.ArrayLike, tol: float) -> float:
        return float(np.shape(log_potential)[0])

    def forward(self, h: Tensor) -> Tensor:
        return self.message + torch.zeros_like(h[..., :1, :])

    def rounding_steps(self, magnitude: float) -> float:
        """The rounding of the constants."""
        return 2 * float(self.message.abs().max())
