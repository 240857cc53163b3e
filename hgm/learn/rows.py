"""Clean data for training, step by step: fresh from a tree, or a sample of fixed size over and over.

Both are functions of the seed and the step: what was drawn before plays no part.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.learn.seeds import Drawn, generator_for
from hgm.tree.tree import Tree

__all__ = ["Fixed", "Fresh", "Rows", "digest", "drawn"]

#: the reference sampler is fast on many rows at once: 10 to 30 times as fast as on a batch
BLOCK_ROWS, BLOCK_NUMBERS = 4096, 1 << 21


class Rows(Protocol):
    """What a training step is given: x, and y if labels are wanted."""

    def at(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """`size` rows, symbols ``(size, *leaf shape)`` or values, and their labels ``(size,)``, for a step."""


class Fresh:
    """New rows at every step.

    Args:
        tree: the model.
        label: index of the variable whose states are the labels.
        seed: of everything.
        device: where the rows are wanted.
    """

    def __init__(self, tree: Tree, label: int, seed: int, device: torch.device) -> None:
        self.tree, self.label, self.seed, self.device = tree, label, seed, device
        self._posterior = infer(tree)
        self._block: tuple[int, int, Tensor, Tensor] | None = None

    def at(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        per_block = max(1, min(BLOCK_ROWS, BLOCK_NUMBERS // len(self.tree)) // size)  # steps that a block serves
        block, place = divmod(step, per_block)
        if self._block is None or self._block[:2] != (block, size):
            x, y = self.draw(per_block * size, "sample", block)
            self._block = (block, size, x.to(self.device), y.to(self.device))
        part = slice(place * size, (place + 1) * size)
        return self._block[2][part], self._block[3][part]

    def draw(self, n: int, what: Drawn, number: int = 0) -> tuple[Tensor, Tensor]:
        """n rows with a seed of their own, on the CPU."""
        sample = self._posterior.sample(n, generator=generator_for(self.seed, what, number))
        return sample.leaves, sample.states[:, self.label]


class Fixed:
    """N rows, all of them once in every N, in an order that is drawn anew each time.

    Args:
        x: ``(N, *leaf shape)`` symbols, or values.
        y: ``(N,)`` labels.
        seed: of the orders.
        device: where the rows are wanted.
    """

    def __init__(self, x: Tensor, y: Tensor, seed: int, device: torch.device) -> None:
        self.x, self.y, self.seed = x.to(device), y.to(device), seed
        self._orders: dict[int, Tensor] = {}

    def at(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        n, first = len(self.x), step * size
        epochs = range(first // n, (first + size - 1) // n + 1)
        self._orders = {epoch: self._order(epoch) for epoch in epochs}
        start = first - epochs[0] * n
        index = torch.cat(list(self._orders.values()))[start : start + size]
        return self.x[index], self.y[index]

    def _order(self, epoch: int) -> Tensor:
        if epoch in self._orders:
            return self._orders[epoch]
        return torch.randperm(len(self.x), generator=generator_for(self.seed, "rows", epoch)).to(self.x.device)


def drawn(tree: Tree, label: int, n: int, seed: int, what: Drawn) -> tuple[Tensor, Tensor]:
    """n rows of a tree and their labels, drawn once."""
    return Fresh(tree, label, seed, torch.device("cpu")).draw(n, what)


def digest(*tensors: Tensor) -> str:
    """The same for equal data, another for others."""
    found = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().numpy()
        found.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()
