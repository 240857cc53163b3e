"""Integer symbols, -1 = missing, as log evidence: 0 at the symbol, ``-inf`` elsewhere, and 0 everywhere if missing."""

from __future__ import annotations

import torch
from torch import Tensor

from hgm.errors import BadEvidence

__all__ = ["MISSING", "allowed", "check_symbols", "clamped"]

#: stands for a symbol that was not seen
MISSING = -1


def allowed(symbols: Tensor, states: int, dim: int) -> Tensor:
    """Booleans, on a new axis `dim`: which of the states 0 to `states` - 1 each symbol leaves."""
    shape = [1] * (symbols.ndim + 1)
    shape[dim] = states
    dtype = symbols.dtype if states <= torch.iinfo(symbols.dtype).max else torch.int64
    z = symbols.unsqueeze(dim)
    return (z == torch.arange(states, dtype=dtype, device=z.device).reshape(shape)) | (z < 0)


def clamped(symbols: Tensor, states: int, dtype: torch.dtype | None = None) -> Tensor:
    """``(S, *shape)`` log evidence of symbols of any shape. Raises `BadEvidence` as `check_symbols`."""
    check_symbols(symbols, states)
    zero = torch.zeros((), dtype=dtype or torch.get_default_dtype(), device=symbols.device)
    return torch.where(allowed(symbols, states, 0), zero, -torch.inf)


def check_symbols(symbols: Tensor, states: int) -> None:
    """Raises `BadEvidence` for floats, booleans, and symbols that are neither 0 to `states` - 1 nor -1."""
    if symbols.is_floating_point() or symbols.dtype == torch.bool:
        raise BadEvidence(f"symbols must be integers 0 to {states - 1} (-1 = missing); got {symbols.dtype}")
    if torch.compiler.is_compiling() or not symbols.numel():
        return
    least, most = int(symbols.min()), int(symbols.max())
    if least < MISSING or most >= states:
        raise BadEvidence(f"symbols must be 0 to {states - 1} (-1 = missing); got {least} to {most}")
