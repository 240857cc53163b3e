"""Networks whose layers are the levels of a tree, as in the Random Hierarchy Model's papers; weights are drawn.

    classifier   x one-hot (v, s^L) ─► w channels, stride s, ReLU ─► ... L times ... ─► linear ─► softmax
    U-Net        the same down, and back: each layer up sees the one below it in the tree by a skip

A layer sees s neighbours of the layer below, once: it is as much a part of the tree as a network can be made without
knowing a rule (Cagnetta et al., Phys. Rev. X 14, 031001, 2024).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Shape", "StridedConvNet", "StridedUNet"]


class Shape(NamedTuple):
    """The tree, and how wide its network is.

    Attributes:
        states: number v of symbols.
        arity: s, the side and the stride of every layer.
        depth: L, the number of layers.
        width: channels of every layer.
    """

    states: int
    arity: int
    depth: int
    width: int


class _Strided(nn.Module):
    """What both have: the way up to the root."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        sizes = [shape.states] + [shape.width] * shape.depth
        self.encoder = nn.ModuleList(nn.Conv1d(a, b, shape.arity, shape.arity) for a, b in pairwise(sizes))

    def encoded(self, z: Tensor) -> list[Tensor]:
        """Symbols ``(B, s^L)``, -1 where missing: one-hot ``(B, v, s^L)``, then the features of every level."""
        hot = F.one_hot(z.long() + 1, self.shape.states + 1)[..., 1:].movedim(-1, 1)
        levels = [hot.to(next(self.parameters()).dtype)]
        for layer in self.encoder:
            levels.append(layer(levels[-1]).relu())
        return levels


class StridedConvNet(_Strided):
    """A classifier of ``(B, s^L)`` symbols, called f(z): probabilities ``(B, classes)``."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape)
        self.last = nn.Linear(shape.width, classes)

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.encoded(z)[-1].squeeze(-1)).softmax(1)


class StridedUNet(_Strided):
    """Probabilities ``(B, v, s^L)`` of the symbols, some of which are missing (-1); called f(z), or f(z, t).

    It counts the missing symbols itself, so it makes no use of t, the share that is erased.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        v, s, depth, w = shape
        self.up = nn.ModuleList(nn.ConvTranspose1d(w, w, s, s) for _ in range(depth))
        self.merge = nn.ModuleList(nn.Conv1d(w + (w if level else v), w, 1) for level in range(depth))
        self.last = nn.Conv1d(w, v, 1)

    def forward(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        *skips, h = self.encoded(z)
        for level in reversed(range(self.shape.depth)):
            h = self.merge[level](torch.cat([self.up[level](h).relu(), skips[level]], 1)).relu()
        return self.last(h).softmax(1)
