"""The operations on messages, for torch tensors and NumPy arrays alike.

All else is written with what both libraries share (indexing, ``+``, ``reshape``, ``cumsum``). For a few numbers NumPy
takes a fraction of the time; torch takes the large problems, other devices, and whatever has gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.evidence.ambient import transformed

__all__ = ["LOWEST", "Array", "Index", "Reduce", "added", "joined", "logmaxexp", "logsumexp", "normalised", "padded",
           "plain", "repeated", "spread", "take"]  # fmt: skip

Array = Tensor | np.ndarray
Reduce = Callable[[Array, int], Array]
"""Sums logs over one axis, which stays with length 1."""
Index = slice | Array | None  # positions along the last axis; None is all of them in order

LOWEST = -1e300  # stands for -inf where a difference from -inf would be NaN; no log of a float64 product comes near
SMALL = 1 << 12  # numbers of a problem up to which NumPy is faster
FEW = 1 << 9  # and of a table, for sums of logs


def plain(x: Tensor) -> Array:
    """The tensor as an array, if it is small and nothing but its numbers is wanted of it."""
    if x.numel() > SMALL or x.requires_grad or x.device.type != "cpu" or transformed(x):
        return x
    return x.numpy()


def logsumexp(x: Array, dim: int) -> Array:
    """log sum exp along one axis, kept. Where all is ``-inf`` the result is ``-inf`` and the gradient 0 (not NaN)."""
    if isinstance(x, np.ndarray):
        if x.size <= FEW:
            return np.logaddexp.reduce(x, dim, keepdims=True)
        return torch.from_numpy(x).logsumexp(dim, keepdim=True).numpy()
    if not (x.requires_grad or transformed(x)):
        return torch.logsumexp(x, dim, keepdim=True)
    top = x.detach().amax(dim, keepdim=True).clamp_min(LOWEST)
    total = (x - top).exp().sum(dim, keepdim=True)
    some = total > 0
    return torch.where(some, torch.where(some, total, 1.0).log() + top, -torch.inf)


def logmaxexp(x: Array, dim: int) -> Array:
    """The maximum along one axis, kept: what `logsumexp` is for sums."""
    return np.maximum.reduce(x, dim, keepdims=True) if isinstance(x, np.ndarray) else x.amax(dim, keepdim=True)


def normalised(message: Array) -> tuple[Array, Array]:
    """A message with its largest entry at 0, and what was taken from it, ``(B, 1, n)``, a constant to autograd."""
    top: Array
    if isinstance(message, np.ndarray):
        top = np.maximum.reduce(message, 1, keepdims=True, initial=LOWEST)
    else:
        top = message.detach().amax(1, keepdim=True).clamp_min(LOWEST)
    return message - top, top


def padded(message: Array, states: int) -> Array:
    """A message with ``-inf`` for states that the variable does not have, up to `states`."""
    missing = states - message.shape[1]
    if not missing:
        return message
    if isinstance(message, np.ndarray):
        batch, _, n = message.shape
        return np.concatenate([message, np.full((batch, missing, n), -np.inf)], 1)
    return functional.pad(message, (0, 0, 0, missing), value=-torch.inf)


def joined(parts: Sequence[Array]) -> Array:
    """The parts one after the other along the last axis; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts, -1) if isinstance(parts[0], np.ndarray) else torch.cat(parts, -1)  # type: ignore[arg-type]


def take(x: Array, index: Index) -> Array:
    """``x[..., index]``."""
    if index is None:
        return x
    if isinstance(index, slice) or isinstance(x, np.ndarray):
        return x[..., index]
    return x.index_select(-1, index)  # type: ignore[arg-type]


def added(x: Array, index: Array, more: Array) -> Array:
    """x, with each entry of `more` added at its index of the last axis."""
    if isinstance(x, np.ndarray):
        total = x.copy()
        np.add.at(total, (..., index), more)  # type: ignore[arg-type]
        return total
    return x.index_add(-1, index, more)  # type: ignore[arg-type]


def repeated(x: Array, times: int) -> Array:
    """Each entry of the last axis so many times."""
    return np.repeat(x, times, -1) if isinstance(x, np.ndarray) else x.repeat_interleave(times, -1)


def spread(x: Array, batch: int, count: int) -> Array:
    """``(B or 1, S, n or 1)`` as ``(B, S, n)``, without a copy."""
    if x.shape[0] == batch and x.shape[2] == count:
        return x
    shape = (batch, x.shape[1], count)
    return np.broadcast_to(x, shape) if isinstance(x, np.ndarray) else x.expand(shape)
