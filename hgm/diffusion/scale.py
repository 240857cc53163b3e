"""Values of data as diffusion models have them, between -1 and 1, and back.

    y = (x - centre) / half          so z = x + sigma g is centre + half (y + (sigma / half) g)

One `half` for all components of vectors, as the noise is the same in all directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hgm.evidence.channel import Channel

__all__ = ["Scale", "components", "row_shape"]


@dataclass(frozen=True)
class Scale:
    """An affine map of values to [-1, 1].

    Attributes:
        centre: in the middle of the values, one number for each component.
        half: half their range, the largest of all components.
    """

    centre: tuple[float, ...] = (0.0,)
    half: float = 1.0

    @classmethod
    def of(cls, channel: Channel | None) -> Self:
        """Of a channel's values; ``None``: data are in [-1, 1] already."""
        if channel is None:
            return cls()
        values = channel.table().double().reshape(len(channel.table()), -1)
        low, high = values.amin(0), values.amax(0)
        half = float((high - low).max()) / 2
        return cls(tuple(((low + high) / 2).tolist()), half or 1.0)

    def into(self, x: Tensor) -> Tensor:
        """Values ``(B, ...)``, of vectors ``(B, k, ...)``, as data in [-1, 1]."""
        return (x - self._centre(x)) / self.half

    def out(self, y: Tensor) -> Tensor:
        """Data in [-1, 1] as values."""
        return y * self.half + self._centre(y)

    def _centre(self, x: Tensor) -> Tensor | float:
        if len(self.centre) == 1:
            return self.centre[0]
        return torch.tensor(self.centre, dtype=x.dtype, device=x.device).reshape(-1, *(1,) * (x.ndim - 2))


def components(channel: Channel | None) -> int | None:
    """k of a channel whose values are vectors; ``None`` for numbers, or no channel."""
    return channel.table().shape[1] if channel is not None and channel.table().ndim == 2 else None


def row_shape(leaf_shape: Sequence[int], channel: Channel | None) -> tuple[int, ...]:
    """The shape of a row of data: that of the leaves, with the components of vectors before it."""
    k = components(channel)
    return tuple(leaf_shape) if k is None else (k, *leaf_shape)
