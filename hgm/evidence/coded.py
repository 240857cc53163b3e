"""Symbols as they are: for each position and row a column of one small table of log evidence, not a copy of it.

    e_v(a) = table[a, code_v]

Code 0 is missing, code 1 + s the symbol s.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hgm.evidence.channel import Channel
from hgm.evidence.symbols import checked_symbols

__all__ = ["Coded", "coded"]


@dataclass(frozen=True, eq=False)
class Coded:
    """Log evidence ``(S, n, B)`` that has few different columns.

    Attributes:
        table: ``(S, K)`` those columns, floats.
        symbols: ``(B, n)`` signed integers, which of them stands where: one less than its code.
        order: ``(n,)`` which of these is each column of the evidence; ``None`` if they are in order.
    """

    table: Tensor
    symbols: Tensor
    order: Tensor | None

    @property
    def dtype(self) -> torch.dtype:
        return self.table.dtype

    @property
    def width(self) -> int:
        """Bytes of the codes of a row."""
        return self.symbols.shape[1] * self._small.itemsize

    @property
    def _small(self) -> torch.dtype:
        return torch.int16 if self.table.shape[1] < torch.iinfo(torch.int16).max else torch.int32

    def codes(self, rows: slice) -> Tensor:
        """``(n, rows)`` codes of some rows, in the order of the symbols: few enough to be turned in cache."""
        return self.symbols[rows].to(self._small).t().contiguous().add_(1)


def coded(channel: Channel, order: Tensor | None, z: Tensor, *noise: Tensor | float) -> Coded | None:
    """What a channel says of symbols ``(B, *positions)``, -1 = missing; ``None`` if that is not one table for all.

    It is one for channels that read each symbol by itself, and with noise, if any, that is one number. Symbols come in
    the order of the positions; `order` is that of the evidence.

    Raises:
        BadEvidence: for integers that are no symbols, and for bad noise.
    """
    number = not any(isinstance(x, Tensor) and x.ndim for x in noise)
    if not (channel.pointwise and channel.reads_symbols and number) or z.is_floating_point() or z.ndim < 1:
        return None
    states = len(channel.table())
    symbols = checked_symbols(z, states).flatten(1)
    each = torch.arange(-1, states, device=z.device).unsqueeze(1)  # as K rows of one position
    return Coded(channel.states_first(each, *noise).squeeze(1), symbols, order)
