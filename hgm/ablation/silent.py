"""Skips cut below a level: the decoder has the beliefs of that level, and nothing else says anything.

    sum_s b_a(s) E[x_v | x_a = s]        b_a: the posterior of the node a above v, of all that was observed

This is what a decoder does whose skips are silent. It is no bound: a decoder that was trained on the beliefs can do
better, because together they know more about z than each of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hgm.ablation.cut import ancestors, below
from hgm.ablation.restricted import Ablation, Restricted
from hgm.compiler.numerics import nodes
from hgm.evidence.channel import Channel
from hgm.tree.tree import Tree

__all__ = ["Silent"]


class Silent(Restricted):
    """Each leaf given the belief about its ancestor at a level.

    Args:
        tree: the model.
        channel: how leaves are observed, bound to them.
        ablation: what is missing.
        level: of the ancestors.
    """

    ancestor: Tensor
    law: Tensor

    def __init__(self, tree: Tree, channel: Channel, ablation: Ablation, level: int) -> None:
        super().__init__(tree, channel, ablation, tree.leaf_shape)
        above, of_leaf = np.unique(ancestors(tree, level), return_inverse=True)
        self.above, places = self.plan.places(above)
        places = np.arange(len(above)) if places is None else places
        self.register_buffer("ancestor", torch.from_numpy(places[of_leaf]), persistent=False)
        self.register_buffer("law", below(tree, level), persistent=False)

    def _posterior(self, e: Tensor, first_row: int) -> Tensor:
        collected = self.engine.collect(e, first_row)
        levels = self.engine.read(collected, self.above, ["posterior"])["posterior"]
        states = self.law.shape[1]
        filled = [torch.nn.functional.pad(b[:states], (0, 0, 0, 0, 0, max(0, states - len(b)))) for b in levels]
        belief = nodes(torch.cat(filled, 1), self.ancestor)  # (S, n, B)
        return torch.einsum("nsx,snb->xnb", self.law.to(belief), belief)
