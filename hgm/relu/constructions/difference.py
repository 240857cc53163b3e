"""Construction D: a 2x2 factor is one function of one number.

Only the difference of the two outputs matters, and it depends on the difference x = h_1 - h_0 of the inputs alone:

    f(h)_1 - f(h)_0 = log((psi_10 + psi_11 e^x) / (psi_00 + psi_01 e^x)),

an odd S-shaped curve about its inflection. Its piecewise-linear approximation is flat outside [first, last], so the
input is clipped there first, which takes the two ReLUs of the outermost kinks and keeps inputs of any size exact:

    z = relu((last - first) - relu(x - first)) = last - clip(x),     output (0, p(last - z)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hgm.errors import Uncertifiable
from hgm.relu.constructions.logmatrix import LogMatrix, checked, require_positive, weight
from hgm.relu.pieces.piecewise import PiecewiseLinear, certify
from hgm.relu.pieces.targets import LogRatio, minimax

__all__ = ["Difference", "log_ratio"]


class Difference(LogMatrix):
    """One piecewise-linear function of h_1 - h_0.

    Args:
        log_potential: ``(2, 2)``, finite.
        pieces: one, an approximation of `log_ratio`, flat on both sides.
    """

    kind = "D"

    def __init__(self, log_potential: npt.ArrayLike, pieces: Sequence[PiecewiseLinear]) -> None:
        super().__init__(log_potential, pieces)
        (p,) = pieces
        self.units = p.units
        self.error = certify(p, log_ratio(log_potential)).sup
        first, last = float(p.knots[0]), float(p.knots[-1])
        ramps = p.moved(last, mirror=True).ramps("right")  # p as a function of z
        inner = (ramps.kinks > 0) & (ramps.kinks < last - first)
        slope = ramps.slope + float(ramps.changes[ramps.kinks <= 0].sum())
        self.first, self.width = weight(first), weight(last - first)
        self.kinks, self.changes = weight(ramps.kinks[inner]), weight(ramps.changes[inner])
        self.slope, self.offset = weight(slope), weight(float(p.values[-1]))
        sizes = np.abs([first, last, *p.values]).max() + abs(slope) * (last - first)
        self._rounding = (p.units + 8) * float(sizes + np.abs(np.diff(p.slopes)).sum() * (last - first))

    @classmethod
    def build(cls, log_potential: npt.ArrayLike, tol: float) -> Self:
        return cls(log_potential, [minimax(log_ratio(log_potential), tol=tol)])

    @classmethod
    def cost(cls, log_potential: npt.ArrayLike) -> float:
        return log_ratio(log_potential).density

    @classmethod
    def expected_parameters(cls, log_potential: npt.ArrayLike, tol: float) -> float:
        return 2 * cls.cost(log_potential) / math.sqrt(tol) + 4

    def forward(self, h: Tensor) -> Tensor:
        x = h[..., 1:, :] - h[..., :1, :]
        z = torch.relu(self.width - torch.relu(x - self.first))
        bends = self.changes @ torch.relu_(z.unsqueeze(-2) - self.kinks.unsqueeze(-1))
        y = self.offset + self.slope * z + bends
        return torch.cat((torch.zeros_like(y), y), dim=-2)

    def rounding_steps(self, magnitude: float) -> float:
        """Inputs beyond the outermost kinks have no effect, so only the reach of the kinks counts."""
        return self._rounding


def log_ratio(log_potential: npt.ArrayLike) -> LogRatio:
    """The difference of the outputs of a positive 2x2 factor as a function of the difference of its inputs."""
    table = checked(log_potential)
    if table.shape != (2, 2):
        raise Uncertifiable(
            f"construction D is for 2x2 potentials; this one is {table.shape[0]}x{table.shape[1]}; use C"
        )
    require_positive(table, "D")
    (a, b), (c, d) = table[::-1] - table.max()  # a common factor plays no part
    return LogRatio(float(a), float(b), float(c), float(d))
