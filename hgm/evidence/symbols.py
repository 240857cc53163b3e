"""Integer symbols, -1 = missing, as log evidence: 0 at the symbol, ``-inf`` elsewhere, and 0 everywhere if missing.

And what comes in as numbers of any kind: `as_tensor` for arrays and lists, `unmasked` and `visible` for
those with a mask, `signed` for types that do not hold -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence
from hgm.evidence.ambient import concrete
from hgm.evidence.frames import check_unnamed
from hgm.tree.labels import MISSING

__all__ = [
    "MISSING",
    "allowed",
    "as_tensor",
    "checked_symbols",
    "clamped",
    "plain_values",
    "signed",
    "unmasked",
    "visible",
]

UNSIGNED = (torch.uint8, torch.uint16, torch.uint32, torch.uint64)


def as_tensor(given: Any, what: str) -> Tensor:
    """A tensor as it is; an array or nested lists of booleans, integers or floats as a tensor of its own.

    Raises:
        BadEvidence: for anything else, also a data frame with names of columns; it says `what` should be numbers.
    """
    if isinstance(given, Tensor):
        masked = type(given).__name__ == "MaskedTensor"
        if masked or given.layout != torch.strided or given.is_complex():
            kind = "masked" if masked else "complex" if given.is_complex() else "sparse"
            raise BadEvidence(f"{what} must be an array of real numbers; got a {kind} tensor")
        return given
    check_unnamed(given, "columns", what)
    try:
        if isinstance(given, list | tuple) and given and all(isinstance(row, Tensor) for row in given):
            return torch.stack(list(given))
        array = np.asarray(given)
    except (ValueError, RuntimeError) as error:
        raise BadEvidence(f"{what} must be an array of numbers; got a {type(given).__name__}: {error}") from None
    if array.dtype.kind not in "biuf" or isinstance(given, np.ma.MaskedArray):
        kind = "masked" if isinstance(given, np.ma.MaskedArray) else str(array.dtype)
        raise BadEvidence(f"{what} must be an array of numbers; got a {type(given).__name__} ({kind})")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise BadEvidence(f"{what} holds {int(array.max())}, which is no symbol")
    kind = "int64" if array.dtype.kind == "u" else "float64" if array.dtype.itemsize > 8 else array.dtype.name
    return torch.from_numpy(np.array(array, dtype=kind))


def unmasked(given: Any, what: str) -> tuple[Any, Any]:
    """A tensor, or an array of NumPy, and where it is masked, ``None`` if it has no mask.

    Raises:
        BadEvidence: for a sparse or complex one, and for what NumPy makes no array of; it says `what`.
    """
    if isinstance(given, np.ma.MaskedArray):
        return given.data, np.ma.getmaskarray(given)
    if isinstance(given, Tensor):
        if type(given).__name__ == "MaskedTensor":
            return given.get_data(), ~given.get_mask()  # type: ignore[attr-defined]
        if given.layout != torch.strided or given.is_complex():
            kind = "complex" if given.is_complex() else "sparse"
            raise BadEvidence(f"{what} must be an array of states or real numbers; got a {kind} tensor")
        return given, None
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise BadEvidence(f"{what} must be an array; got a {type(given).__name__}: {error}") from None
    if array.dtype.kind in "cV":
        raise BadEvidence(f"{what} must be an array of states or real numbers; got {array.dtype}")
    return array, None


def plain_values(column: Tensor | np.ndarray | list[Any]) -> list[Any]:
    """The values of a column as Python has them, but a date, which would become a number."""
    plain = isinstance(column, Tensor) or (isinstance(column, np.ndarray) and column.dtype.kind in "biufUO")
    return column.tolist() if plain else list(column)  # type: ignore[union-attr]


def visible(x: Any, hole: Any) -> Any:
    """What `unmasked` gave, flat, with ``None`` where it is masked: what lies under a mask may be anything."""
    x = x.reshape(-1)
    if hole is None:
        return x
    return [None if masked else value for value, masked in zip(plain_values(x), hole.reshape(-1).tolist(), strict=True)]


def signed(symbols: Tensor) -> Tensor:
    """Symbols in a type that holds -1. Raises `BadEvidence` for one that no signed type holds."""
    if symbols.dtype not in UNSIGNED:
        return symbols
    wide = symbols.to(torch.int64)
    if symbols.dtype == torch.uint64 and concrete(symbols) and bool((wide < 0).any()):
        raise BadEvidence("symbols of type uint64 beyond 2^63 are no states")
    return wide


def allowed(symbols: Tensor, states: int, dim: int) -> Tensor:
    """Booleans, on a new axis `dim`: which of the states 0 to `states` - 1 each symbol leaves."""
    shape = [1] * (symbols.ndim + 1)
    shape[dim] = states
    dtype = symbols.dtype if states <= torch.iinfo(symbols.dtype).max else torch.int64
    z = symbols.unsqueeze(dim)
    missing = (z < 0) & (z == MISSING)  # of unsigned types the largest equals -1
    return (z == torch.arange(states, dtype=dtype, device=z.device).reshape(shape)) | missing


def clamped(symbols: Tensor, states: int, dtype: torch.dtype | None = None) -> Tensor:
    """``(S, *shape)`` log evidence of symbols of any shape. Raises `BadEvidence` as `checked_symbols`."""
    symbols = checked_symbols(symbols, states)
    zero = torch.zeros((), dtype=dtype or torch.get_default_dtype(), device=symbols.device)
    return torch.where(allowed(symbols, states, 0), zero, -torch.inf)


def checked_symbols(symbols: Tensor, states: int) -> Tensor:
    """The symbols in a signed type.

    Raises `BadEvidence` for floats, booleans, and symbols that are neither 0 to `states` - 1 nor -1. (Where numbers may
    not be looked at, no state is `allowed` by such a symbol.)
    """
    if symbols.is_floating_point() or symbols.dtype == torch.bool:
        raise BadEvidence(f"symbols must be integers 0 to {states - 1} (-1 = missing); got {symbols.dtype}")
    symbols = signed(symbols)
    if not concrete(symbols) or not symbols.numel():
        return symbols
    least, most = (int(x) for x in symbols.aminmax())
    if least < MISSING or most >= states:
        raise BadEvidence(f"symbols must be 0 to {states - 1} (-1 = missing); got {least} to {most}")
    return symbols
