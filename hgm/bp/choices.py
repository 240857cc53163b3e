"""How `descend` chooses states: the likeliest, for a mode, or at random, for a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from hgm.bp.factor import Choose
from hgm.bp.ops import LOWEST

__all__ = ["largest", "sampler"]

CHUNK = 1 << 24  # entries of the largest tensor in sampling


def largest(weights: Tensor, row: Tensor) -> Tensor:
    """The first largest entry of each row: with a maximum for the sum, this backtracks to one mode."""
    return _rows(weights.argmax(-1, keepdim=True), row).squeeze(-1)


def sampler(generator: torch.Generator | None) -> Choose:
    """A choice with probability in proportion to the weights, by inversion of the distribution function."""

    def choose(weights: Tensor, row: Tensor) -> Tensor:
        top = weights.amax(-1, keepdim=True).clamp_min(LOWEST)
        cumulative = (weights - top).exp().cumsum(-1)
        rows_at_once = max(1, CHUNK // max(1, row.shape[1:].numel() * weights.shape[-1]))
        drawn = []
        for part in row.split(rows_at_once):
            steps = _rows(cumulative, part)
            uniform = torch.rand(part.shape, generator=generator, dtype=weights.dtype, device=weights.device)
            # the first entry above a random height: never one of weight 0, which does not rise above the one before it
            drawn.append((steps <= uniform[..., None] * steps[..., -1:]).sum(-1))
        return torch.cat(drawn)

    return choose


def _rows(weights: Tensor, row: Tensor) -> Tensor:
    """``weights[b, i, row[., b, i]]``: ``(N, B, n, A)`` from weights ``(B, n, K, A)`` and rows ``(N, B, n)``."""
    batch, n, k, size = weights.shape
    start = torch.arange(0, batch * n * k, k, device=row.device).reshape(batch, n)
    return weights.reshape(-1, size)[start + row]
