"""The few numerical primitives that the exact layers share, each safe under hard zeros, forward and backward.

A message is held either *linear* (a non-negative array with maximum 1 over the states) or in *logs* (maximum 0,
float64).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hgm.evidence.ambient import transformed

__all__ = [
    "LOG2_E",
    "LOWEST",
    "exp",
    "exp_shifted",
    "joined",
    "logsumexp",
    "nodes",
    "other_products",
    "others",
    "product",
    "safe_log",
    "scale_linear",
    "scale_log",
    "summing",
    "to_linear",
    "unkept",
]


#: exp x = 2^(x log2 e): `torch.exp` is up to 40 times slower on -inf and on results that underflow, `torch.exp2`
#: never is
LOG2_E = 1.4426950408889634

#: stands for the maximum of a message that is -inf everywhere, so that -inf - maximum stays -inf
LOWEST = -3e38


def exp(x: Tensor) -> Tensor:
    """exp x in float64 (in float32 use `exp_shifted`, which rounds once)."""
    return (x * LOG2_E).exp2_()


def exp_shifted(x: Tensor, top: Tensor) -> Tensor:
    """exp(x - top). The difference comes first: where exp of it is not 0 it is exact, by Sterbenz, if top is large.

    (To multiply x and top by log2 e before, in one step with the difference, loses what distinguishes the states.)
    """
    return (x - top).mul_(LOG2_E).exp2_()


def joined(parts: Sequence[Tensor], dim: int = 1) -> Tensor:
    """The parts side by side; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)  # type: ignore[arg-type]


def safe_log(x: Tensor) -> Tensor:
    """log x, with ``log 0 = -inf`` and a zero gradient there (that of `torch.log` is infinite, and 0 * inf is NaN)."""
    zero = x <= 0
    return torch.where(zero, -torch.inf, torch.where(zero, 1.0, x).log())


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """log sum exp x, ``-inf`` with a zero gradient where all terms are ``-inf``."""
    x, top = scale_log(x, dim)
    return safe_log(exp(x).sum(dim)) + top.squeeze(dim)


def scale_linear(x: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """x / max x and max x over the states; an all-zero message stays zero. The maximum is a constant to autograd."""
    top = x.detach().amax(dim, keepdim=True).clamp_min_(torch.finfo(x.dtype).tiny)
    return x / top, top


def scale_log(x: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """x - max x and max x over the states; an all -inf message stays -inf. The maximum is a constant to autograd."""
    top = x.detach().amax(dim, keepdim=True).clamp_min_(LOWEST)
    return x - top, top


def to_linear(x: Tensor, dtype: torch.dtype, dim: int = 0) -> Tensor:
    """exp(x - max x over the states), in `dtype`."""
    return exp(scale_log(x, dim)[0]).to(dtype)


def unkept(*x: Tensor) -> bool:
    """Whether neither autograd nor a function transform keeps what is computed from these: it may be overwritten."""
    return not any((torch.is_grad_enabled() and t.requires_grad) or transformed(t) for t in x)


def nodes(x: Tensor, index: Tensor) -> Tensor:
    """``x[:, index]`` of ``(S, n, B)``, kept node by node in memory if x is: then a node is one block to copy."""
    if x.stride(1) > x.stride(0):
        return x.transpose(0, 1).index_select(0, index).transpose(0, 1)
    return x.index_select(1, index)


def product(x: Tensor, dim: int = 0) -> Tensor:
    """Product over a dimension by halving it: log2 k multiplications, and a gradient that needs no division."""
    k = x.shape[dim]
    while k > 2:
        half = k // 2
        left, right = x.narrow(dim, 0, half), x.narrow(dim, half, half)
        x = left * right if 2 * half == k else torch.cat([left * right, x.narrow(dim, 2 * half, 1)], dim)
        k = x.shape[dim]
    parts = x.unbind(dim)
    return parts[0] if k == 1 else parts[0] * parts[1]


def others(x: Tensor) -> Tensor:
    """For each i the sum of ``x[j]``, j != i, over the first dimension: prefix plus suffix sums, no subtraction.

    (``x.sum(0) - x[i]`` would give -inf + inf = NaN under hard evidence, and lose digits otherwise.)
    """
    if x.shape[0] == 1:
        return torch.zeros_like(x)
    if x.shape[0] == 2:
        return x.flip(0)
    nothing = torch.zeros_like(x[:1])
    before = torch.cat([nothing, x[:-1].cumsum(0)])
    after = torch.cat([nothing, x.flip(0)[:-1].cumsum(0)]).flip(0)
    return before + after


def other_products(x: Tensor) -> Tensor:
    """For each i the product of ``x[j]``, j != i, over the first dimension: no division, which a zero would forbid.

    Pairs are multiplied, the others of each pair found in the same way, and each of two gets the other one besides: 2 k
    multiplications in log2 k steps, and a gradient that needs no division either.
    """
    k, half = x.shape[0], x.shape[0] // 2
    if k == 1:
        return torch.ones_like(x)
    if k == 2:
        return x.flip(0)
    left, right = x[:half], x[half : 2 * half]
    rest = other_products(torch.cat([left * right, x[2 * half :]]))
    return torch.cat([rest[:half] * right, rest[:half] * left, rest[half:]])


def summing(group: np.ndarray, groups: int) -> list[np.ndarray]:
    """Tables that sum n terms by their groups ``(n,)``, one after the other, in memory linear in n and the groups.

    A row of a table lists terms of one group, padded with the number n, which stands for "no term". A group that is far
    larger than most is cut into several rows, which are the terms of the next table; the last has a row for each group.
    """
    tables: list[np.ndarray] = []
    while not tables or len(group) > groups:
        n, count = len(group), np.bincount(group, minlength=groups)
        width = min(int(count.max()), 16 + 2 * n // groups)
        rows = np.maximum(-(-count // width), 1)
        rank = np.arange(n) - np.repeat(np.cumsum(count) - count, count)
        row = np.repeat(np.cumsum(rows) - rows, count) + rank // width
        table = np.full((int(rows.sum()), width), n)
        table[row, rank % width] = np.argsort(group, kind="stable")
        tables.append(table)
        group = np.repeat(np.arange(groups), rows)
    return tables
