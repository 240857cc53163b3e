"""The noise of a channel: a number, or one per batch row, per position, or per state. The rank decides, never a size.

    ()  (1,)  (B,)                 a number, or one per batch row
    (B, *positions)                one per position
    (B, S, *positions)             one per state of each position

An axis of the last two may be 1, for all: ``(B, 1, 1)`` on a grid is one per row, ``(1, S, 1, 1)`` one per state.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from hgm.errors import BadEvidence
from hgm.evidence.symbols import as_tensor
from hgm.tree.arguments import listed

__all__ = ["along", "as_noise", "check_shape", "reordered", "several", "states_first", "with_numbers"]


def as_noise(value: Any, z: Tensor, name: str) -> Tensor:
    """A tensor on the device of z, in its precision, or in its own where z holds symbols."""
    given = isinstance(value, Tensor)
    dtype = z.dtype if z.is_floating_point() else torch.get_default_dtype()
    if isinstance(value, int | float):  # by `full`: `as_tensor` would make torch.compile compile for every number
        value = float(value) if isinstance(value, int) else value
        return torch.full((), value, dtype=dtype, device=z.device)
    value = with_numbers(as_tensor(value, name), z, name)
    if given and not z.is_floating_point() and value.is_floating_point():
        dtype = value.dtype
    return value.to(z.device, dtype)


def several(name: str, given: Any) -> list[Any]:
    """Several levels, or one, as a list of what they are: a list, array or tensor, or a number.

    Raises:
        BadSpec: for what is neither; whether they are numbers is not looked at.
    """
    odd = isinstance(given, Tensor) and (given.is_meta or given.layout != torch.strided)  # it has no numbers
    found = given.tolist() if hasattr(given, "tolist") and not odd else given
    return [found] if isinstance(found, int | float) else listed(name, found, "numbers")


def with_numbers(value: Tensor, z: Tensor, name: str) -> Tensor:
    """The tensor. Raises `BadEvidence` for one on the meta device, which has no numbers, unless z is there too."""
    if value.is_meta and not z.is_meta:
        raise BadEvidence(f"{name} must be numbers; got a tensor on the meta device, of shape {tuple(value.shape)}")
    return value


def check_shape(value: Tensor, batch: int, states: int, positions: tuple[int, ...], name: str) -> None:
    """Raise `BadEvidence` for noise that has none of the shapes; it says `name`."""
    rank = value.ndim - 1 - len(positions)  # 0: per position, 1: per state
    want = (batch, states, *positions) if rank == 1 else (batch, *positions) if rank == 0 else (batch,)[: value.ndim]
    sizes = zip(value.shape, want, strict=False)
    if value.ndim != len(want) or any(
        size != 1 and size != full for size, full in sizes
    ):  # not "in": see torch.compile
        at = "".join(f", {n}" for n in positions)
        raise BadEvidence(
            f"{name} must be a number, one per batch row ({batch},), one per position ({batch}{at}) or one per state "
            f"({batch}, {states}{at}), where axes of the last two may be 1; got shape {tuple(value.shape)}"
        )


def states_first(value: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Noise as it fits ``(S, n, B)``: ``(B or 1,)``, ``(n or 1, B or 1)`` or ``(S or 1, n or 1, B or 1)``."""
    if value.ndim < 2:
        return value.reshape(-1)
    return _flat(value, positions).movedim(0, -1).contiguous()  # as log evidence is to be


def along(value: Tensor, x: Tensor) -> Tensor:
    """Noise as it fits symbols x ``(B, *positions)``: where it is one per state, that of each symbol."""
    if value.ndim < 2:
        return value.reshape(-1, *(1,) * (x.ndim - 1))
    if value.ndim == x.ndim:
        return value
    every = value.expand(x.shape[0], value.shape[1], *x.shape[1:])
    index = x.clamp_min(0).unsqueeze(1) if value.shape[1] > 1 else torch.zeros_like(x).unsqueeze(1)
    return every.gather(1, index.long()).squeeze(1)


def reordered(value: Any, order: Tensor, positions: tuple[int, ...]) -> Any:
    """Noise for positions that are flattened and put in another order; what is a number or one per row stays."""
    if not isinstance(value, Tensor) or value.ndim < max(2, 1 + len(positions)):
        return value
    flat = _flat(value, positions)
    return flat if flat.shape[-1] == 1 else flat.index_select(-1, order)


def _flat(value: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Noise ``(..., *positions)`` as ``(..., n)``, or ``(..., 1)`` where it is the same at all positions."""
    lead = value.shape[: value.ndim - len(positions)]
    if all(size == 1 for size in value.shape[len(lead) :]):
        return value.reshape(*lead, 1)
    return value.expand(*lead, *positions).reshape(*lead, prod(positions))
