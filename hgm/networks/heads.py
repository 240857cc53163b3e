"""`ConvNet` and `UNet`: read-outs of any engine. A ConvNet is a collect, a U-Net a collect, a distribute and skips."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

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

    ``net(observation) -> (B, S)`` probabilities; ``outputs=`` asks for more.
    """

    task = "classify"
    answer = "posterior"
    upward = frozenset({"posterior", "log_partition"})

    def __init__(self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray) -> None:
        super().__init__(engine, channel, leaf_shape, query)
        self.lacks = {"mean": "a ConvNet answers for one variable; compile for task 'denoise'"} | self.lacks
        (root,) = query
        self.position = int(np.flatnonzero(self.plan.levels[0].order == root)[0])
        self.states = int(self.plan.tree.cardinality[root])

    def _read(self, collected: Any, names: Sequence[str]) -> dict[str, Tensor]:
        more = [name for name in names if name != "posterior"]
        read = {name: x for name, (x,) in self.engine.read(collected, [0], more).items()} if more else {}
        if "posterior" in names:
            read["posterior"] = self.engine.roots(collected)
        return {name: x[: self.states, self.position].t() for name, x in read.items()}


class UNet(Network):
    """Posteriors of many variables, by a collect and a distribute: a U-Net with constructed weights.

    ``net(observation)`` gives, by `task`:

    * ``"posterior"``: marginals ``(B, S, n)`` of the `query` variables, in their order (``(B, S, *leaf shape)`` for the
      leaves), 0 in states that a variable does not have. In memory the batch runs fastest, as inside the network;
    * ``"denoise"``: posterior means ``(B, *leaf shape)`` of the channel's values, ``(B, k, *leaf shape)`` for vectors.

    ``outputs=`` asks for something else, or more.
    """

    places: Tensor | None

    def __init__(
        self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray, *, mean: bool
    ) -> None:
        super().__init__(engine, channel, leaf_shape, query)
        tree = self.plan.tree
        self.task = "denoise" if mean else "posterior"
        self.answer = "mean" if mean else "posterior"
        seen = self.plan.inputs[: prod(leaf_shape)]
        of_leaves, of_seen = np.array_equal(query, tree.leaves), np.array_equal(query, seen)
        self.query_shape = leaf_shape if of_seen else tree.leaf_shape if of_leaves else (len(query),)
        if not of_seen:
            them, name = ("the leaves", "leaves") if np.array_equal(seen, tree.leaves) else ("all variables", "all")
            why = f"means are of {them}, and it answers for other variables; compile it with query={name!r}"
            self.lacks = {"mean": why} | self.lacks
        self.query_states = int(tree.cardinality[query].max())
        self.read, places = self.plan.places(query)
        self.register_buffer("places", None if places is None else torch.from_numpy(places), persistent=False)

    def _read(self, collected: Any, names: Sequence[str]) -> dict[str, Tensor]:
        kinds = dict.fromkeys("posterior" if name == "mean" else name for name in names)
        levels = self.engine.read(collected, self.read, kinds)
        read = {kind: self._joined(parts, kind) for kind, parts in levels.items()}
        found = {name: self._outside(read[name]) for name in names if name != "mean"}
        if "mean" in names:
            found["mean"] = self._mean(read["posterior"])
        return found

    def _joined(self, parts: list[Tensor], kind: str) -> Tensor:
        """The levels side by side, with as many states as the answer has."""
        if len(parts) > 1:
            nothing = -torch.inf if kind == "log_posterior" else 0.0
            size = self.query_states
            parts = [
                p if p.shape[0] >= size else F.pad(p, (0, 0, 0, 0, 0, size - p.shape[0]), value=nothing) for p in parts
            ]
        return joined([p if p.shape[0] <= self.query_states else p[: self.query_states] for p in parts])

    def _mean(self, p: Tensor) -> Tensor:
        values = self.channel.table()[: p.shape[0]].to(p.dtype)
        table = values if values.ndim == 2 else values[:, None]
        means = (table - table[:1]).t() @ p.flatten(1) + table[:1].t()  # exact where all values are large
        means = self._outside(means.view(table.shape[1], *p.shape[1:]))
        return means if values.ndim == 2 else means.squeeze(1)

    def _outside(self, x: Tensor) -> Tensor:
        """``(S, n, B)`` by levels as ``(B, S, *query shape)``."""
        x = x if self.places is None else nodes(x, self.places)
        return x.permute(2, 0, 1).reshape(x.shape[2], x.shape[0], *self.query_shape)
