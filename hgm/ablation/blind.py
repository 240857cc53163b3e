"""The best denoiser that is not told the noise level: it has a prior over levels, and infers which one it sees.

    E[x | z] = sum_s pi(s | z) E[x | z, s]          pi(s | z) ~ pi(s) p_s(z)

log p_s(z) is the log partition of z at level s, with the channel's own constants: of a Gaussian -log s for each number
of z.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from hgm.ablation.restricted import Ablation, Restricted
from hgm.errors import BadEvidence, ImpossibleEvidence
from hgm.evidence.ambient import checking, concrete
from hgm.evidence.channel import Channel
from hgm.tree.tree import Tree

__all__ = ["Blind"]


class Blind(Restricted):
    """Each leaf given the observation, and not its noise. It is called f(z, sigma), and does not look at sigma.

    Args:
        tree: the model.
        channel: how leaves are observed, bound to them: Gaussian or Flip.
        ablation: what is missing.
        noise: ``(K,)`` levels.
        weights: ``(K,)`` their prior probabilities.
    """

    levels: Tensor
    prior: Tensor

    def __init__(
        self, tree: Tree, channel: Channel, ablation: Ablation, noise: np.ndarray, weights: np.ndarray
    ) -> None:
        super().__init__(tree, channel, ablation, tree.leaf_shape)
        self.register_buffer("levels", torch.from_numpy(noise.copy()), persistent=False)
        self.register_buffer("prior", torch.from_numpy(np.log(weights)), persistent=False)
        self.row_size *= len(noise)

    def _leaves(self, z: Tensor, *noise: Tensor) -> Tensor:
        """``(S, n, K * B)``: the evidence at every level, one after the other."""
        if len(noise) > 1:
            raise BadEvidence("a blind denoiser sees z at alpha = 1; got a scale besides the noise")
        # a level for each state, though they are equal: so the evidence has its constants
        real = z if z.is_floating_point() else self.precision
        shape = (1, self.leaf_states, *(1,) * len(self.leaf_shape))
        return torch.cat([super(Blind, self)._leaves(z, level.to(real).expand(shape)) for level in self.levels], 2)

    def _posterior(self, e: Tensor, first_row: int) -> Tensor:
        if e.shape[2] == 1:  # an empty batch runs as one row
            e = e.expand(-1, -1, len(self.levels))
        rows, looks = e.shape[2] // len(self.levels), concrete(e)
        try:
            with checking("now" if looks else False):  # rows of the engine are no rows of the batch
                collected, impossible = self.engine.collect(e), []
        except ImpossibleEvidence as error:  # at some levels, which so are not the level, or at all
            impossible = list(error.rows)
            levels = Counter(row % rows for row in impossible)
            if at_all := sorted(first_row + row for row, count in levels.items() if count == len(self.levels)):
                raise ImpossibleEvidence(at_all) from None
            collected = self.engine.collect(e.index_fill(2, torch.tensor(impossible, device=e.device), 0.0))
        log = self.engine.partition(collected)
        if impossible:
            log = log.index_fill(0, torch.tensor(impossible, device=log.device), -torch.inf)
        p = self._of_leaves(collected)
        if not looks:  # the same without an error: a level at which z is impossible counts for nothing
            self.engine.deferred.check(log.unflatten(0, (-1, rows)).amax(0), first_row, self.engine.check_weights)
            p = p.masked_fill(log.isneginf(), 0.0)
        share = (log.unflatten(0, (len(self.levels), -1)) + self.prior[:, None]).log_softmax(0).exp().to(p)  # (K, B)
        return torch.einsum("snkb,kb->snb", p.unflatten(2, (len(self.levels), -1)), share)
