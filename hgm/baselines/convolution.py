"""Plain CNNs at constant resolution: r layers of 3x3 see 2r + 1 positions along each axis and nothing else.

No layer normalises over positions: GroupNorm would show every output the whole image.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from hgm.baselines.framed import Framed
from hgm.baselines.layers import Block, Sort, Time, conv
from hgm.baselines.problem import Problem
from hgm.baselines.registry import baseline

__all__ = ["CNN", "cnn"]

WINDOWS = (1, 3, 5, 7, 9, 11, 15, 21)


class CNN(nn.Module):
    """Residual blocks of a 3x3 and a 1x1 convolution, one for every step of the window; of 1x1 for a window of 1."""

    def __init__(self, problem: Problem, width: int, window: int) -> None:
        super().__init__()
        axes = problem.axes
        self.time, sort = Time(2 * width), Sort(axes, 2 * width)
        self.first = conv(axes, problem.inputs, width, 1)
        kernels = [(3, 1)] * (window // 2) or [(1, 1), (1, 1)]
        self.blocks = nn.ModuleList(Block(sort, width, width, kernel) for kernel in kernels)
        self.last = conv(axes, width, problem.outputs, 1)

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        h, features = self.first(y), self.time(t)
        for block in self.blocks:
            h = block(h, features)
        return self.last(h)


def cnn(problem: Problem, width: int, window: int) -> Framed:
    """A CNN whose outputs see a window of so many positions along each axis."""
    return Framed(problem, CNN(problem, width + 1, window), "skip", window=window)


for window in WINDOWS:
    size = f"{window}x{window}" if window > 1 else "each position alone"
    baseline(f"cnn_{window}", f"a CNN at constant resolution that sees {size}, without normalisation over positions.")(
        partial(cnn, window=window)
    )
