"""What an answer costs beyond the best one, for every sample and every part: no noise of x is in it.

squared error      E|f - x|^2 = E|D - x|^2 + E|f - D|^2            D = E[x | z]
cross-entropy      E[-log f(x)] = E H(p) + E KL(p || f)            p = p(x | z)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hgm.measure.optimum import Answer, squares
from hgm.tree.tree import Tree

__all__ = ["Blocks", "divergences", "squared"]


def squared(answer: Tensor, best: Answer, vectors: bool) -> Tensor:
    """``(B, n)`` |f - D|^2 at every leaf."""
    return squares(answer - best.best, vectors)


def divergences(answer: Tensor, best: Answer) -> Tensor:
    """``(B, n)`` KL(p || f) of every leaf, in nats; 0 where it is not scored.

        KL = sum_s p h(f / p),   h(r) = r - 1 - log r >= 0        f normalised

    has no terms that cancel, so it is of second order in rounding. Where f is 0 and p not, it is infinite, unless the
    precision of f holds no number as small as p.
    """
    smallest = torch.finfo(answer.dtype).tiny
    p, f = (x.reshape(*x.shape[:2], -1) for x in (best.best, answer.double()))
    f = f / f.sum(1, keepdim=True)
    apart = torch.where(p > 0, (f - p) / p, 0.0)
    cost = torch.where(p > 0, p * (apart - torch.log1p(apart)), f)
    cost = torch.where((f == 0) & (p < smallest), p, cost)
    found = cost.sum(1).reshape(len(p), -1)
    return found if best.counts is None else found.masked_fill(best.counts == 0, 0.0)


class Blocks:
    """The leaves in blocks, those below each node of a level: averages over them, from coarse to fine.

    What is left of a function in averages over blocks of level k and not over those of level k - 1 is orthogonal for
    different k, so the squares of these parts add up. A leaf above level k is a block by itself.

    Args:
        tree: the model.

    Attributes:
        levels: how many there are.
    """

    def __init__(self, tree: Tree) -> None:
        self.levels = tree.depth + 1
        rows: list[np.ndarray] = []
        for k in reversed(range(self.levels)):
            below = tree.leaves if not rows else rows[-1]
            rows.append(np.where(tree.level[below] > k, tree.above[below], below))
        self.block = [torch.from_numpy(np.unique(row, return_inverse=True)[1]) for row in reversed(rows)]

    def parts(self, apart: Tensor) -> Tensor:
        """``(B, levels)`` sums of squares of the part of each level, of ``(B, ..., n)`` numbers at the leaves."""
        apart, before, found = apart.reshape(len(apart), -1, apart.shape[-1]), apart.new_zeros(()), []
        for block in self.block:
            block = block.to(apart.device)
            sizes = torch.bincount(block).to(apart)
            sums = apart.new_zeros(*apart.shape[:2], len(sizes)).index_add_(2, block, apart)
            now = (sums / sizes)[..., block]
            found.append((now - before).square().sum((1, 2)))
            before = now
        return torch.stack(found, 1)
