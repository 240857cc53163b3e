"""The best function of a window around each leaf: E[x_v | z_W(v)], which is what a plain CNN can do at most.

After r layers of 3x3 an output sees 2r + 1 positions along each axis. Zero padding tells a network where the border is,
and the posterior knows it too. All windows run as rows of one batch, one row for each leaf, in which all leaves outside
of its window say nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hgm.ablation.restricted import Ablation, Restricted
from hgm.errors import BadSpec
from hgm.evidence.ambient import checking
from hgm.evidence.channel import Channel
from hgm.networks.running import SLICE
from hgm.tree.tree import Tree

__all__ = ["Windowed", "windows"]


def windows(tree: Tree, radius: int) -> np.ndarray:
    """``(n, n)``: whether leaf u is in the window of leaf v, at [v, u]; the window's sides are 2 radius + 1.

    Raises:
        BadSpec: for leaves that lie on no grid.
    """
    if tree.grid is None:
        raise BadSpec("a window needs leaves in a row or on a grid, as of hgm.ghm; those of this tree lie on none")
    places = np.indices(tree.leaf_shape).reshape(len(tree.leaf_shape), -1)
    near: np.ndarray = (np.abs(places[:, :, None] - places[:, None]) <= radius).all(0)
    return near


class Windowed(Restricted):
    """Each leaf given the leaves of its window.

    Args:
        tree: the model.
        channel: how leaves are observed, bound to them.
        ablation: what is missing.
        seen: ``(n, n)`` which leaves each leaf sees, as of `windows`.
    """

    seen: Tensor

    def __init__(self, tree: Tree, channel: Channel, ablation: Ablation, seen: np.ndarray) -> None:
        super().__init__(tree, channel, ablation, tree.leaf_shape)
        rows = torch.from_numpy(seen.T.copy())  # (u, v)
        rows = rows if self.leaf_order is None else rows[self.leaf_order]  # u as the engine has them
        self.register_buffer("seen", rows, persistent=False)
        self.together = max(1, min(len(rows), SLICE // self.row_size))  # leaves whose windows run at once
        self.row_size *= self.together

    def _posterior(self, e: Tensor, first_row: int) -> Tensor:
        parts = []
        for first in range(0, len(self.seen), self.together):
            seen = self.seen[:, first : first + self.together]
            mine = torch.arange(first, first + seen.shape[1], device=e.device)
            told = torch.where(seen[:, None], e.unsqueeze(3), 0.0)  # (S, n, B, leaves)
            with checking(False):  # rows of the engine are no rows of the batch
                collected = self.engine.collect(told.flatten(2))
            log_z = self.engine.partition(collected).unflatten(0, (-1, seen.shape[1]))
            self.engine.deferred.check(log_z.t(), first_row, self.engine.check_weights)
            p = self._of_leaves(collected).unflatten(2, (-1, seen.shape[1]))  # not B: a batch of any size is exported
            parts.append(p.gather(1, mine.expand(p.shape[0], 1, p.shape[2], -1)).squeeze(1))
        return torch.cat(parts, 2).transpose(1, 2)
