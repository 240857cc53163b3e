"""`ConvNet` and `UNet`: read-outs of any engine. A ConvNet is a collect, a U-Net a collect, a distribute and skips."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hgm.compiler.engine import Engine
from hgm.compiler.numerics import joined, nodes
from hgm.evidence.channel import Channel
from hgm.networks.network import Network

__all__ = ["ConvNet", "UNet"]


class ConvNet(Network):
    """The posterior of one variable, by a collect towards it: a convolutional classifier with constructed weights.

    ``net(observation) -> (B, S)`` probabilities.
    """

    task = "classify"

    def __init__(self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray) -> None:
        super().__init__(engine, channel, leaf_shape, query)
        (root,) = query
        self.position = int(np.flatnonzero(self.plan.levels[0].order == root)[0])
        self.states = int(self.plan.tree.cardinality[root])

    def _answer(self, e: Tensor, first_row: int = 0) -> Tensor:
        roots = self.engine.roots(self.engine.collect(e, first_row))
        return roots[: self.states, self.position].t().to(e.dtype)


class UNet(Network):
    """Posteriors of many variables, by a collect and a distribute: a U-Net with constructed weights.

    ``net(observation)`` gives, by `task`:

    * ``"posterior"``: marginals ``(B, S, n)`` of the `query` variables, in their order (``(B, S, *leaf shape)`` for the
      leaves), 0 in states that a variable does not have. In memory the batch runs fastest, as inside the network;
    * ``"denoise"``: posterior means ``(B, *leaf shape)`` of the channel's values, ``(B, k, *leaf shape)`` for vectors.
    """

    places: Tensor | None

    def __init__(
        self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray, *, mean: bool
    ) -> None:
        super().__init__(engine, channel, leaf_shape, query)
        tree = self.plan.tree
        self.task = "denoise" if mean else "posterior"
        self.query_shape = leaf_shape if np.array_equal(query, tree.leaves) else (len(query),)
        self.query_states = int(tree.cardinality[query].max())
        self.read, places = self.plan.places(query)
        self.register_buffer("places", None if places is None else torch.from_numpy(places), persistent=False)

    def _answer(self, e: Tensor, first_row: int = 0) -> Tensor:
        parts = self.engine.distribute(self.engine.collect(e, first_row), self.read)
        if len(parts) > 1:  # to one number of states
            parts = [F.pad(p, (0, 0, 0, 0, 0, max(0, self.query_states - p.shape[0]))) for p in parts]
        parts = [p[: self.query_states] for p in parts]
        p = joined(parts)
        if self.task == "posterior":
            return self._outside(p).to(e.dtype)
        values = self.channel.table()[: p.shape[0]].to(p.dtype)
        table = values if values.ndim == 2 else values[:, None]
        means = (table - table[:1]).t() @ p.flatten(1) + table[:1].t()  # exact where all values are large
        means = self._outside(means.view(-1, *p.shape[1:])).to(e.dtype)
        return means if values.ndim == 2 else means.squeeze(1)

    def _outside(self, x: Tensor) -> Tensor:
        """``(S, n, B)`` by levels as ``(B, S, *query shape)``."""
        x = x if self.places is None else nodes(x, self.places)
        return x.permute(2, 0, 1).reshape(x.shape[2], x.shape[0], *self.query_shape)
