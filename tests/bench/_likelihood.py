"""Collect as phylogenetics programs write it: node by node, partial likelihoods ``(S, sites)``, scaled now and then."""

from __future__ import annotations

import numpy as np
import torch
from _models import Edges
from torch import Tensor

__all__ = ["LEAVES", "NodeByNode", "postorder"]

#: rescale where this many leaves have been multiplied since the last time: float32 is far from underflow until then
LEAVES = 12


class NodeByNode:
    """log likelihood of each site, from the leaves' likelihoods ``(n, S, sites)``, linear.

    Sites are taken `block` at a time (default all: fewer and longer calls won over a smaller cache footprint).
    """

    def __init__(self, model: Edges, sites: int, block: int | None = None) -> None:
        self.prior = torch.tensor(model.prior[0], dtype=torch.float32)
        block = sites if block is None else block
        self.sites, self.block = sites, block
        states = int(model.cardinality.max())
        leaf = {int(v): i for i, v in enumerate(model.leaves)}
        children: dict[int, list[int]] = {}
        for v, p in enumerate(model.parent):
            if p >= 0:
                children.setdefault(int(p), []).append(v)
        since = dict.fromkeys(leaf, 1)  # leaves multiplied since the last rescaling
        where: dict[int, Tensor] = {}  # buffers of partial likelihoods
        free: list[Tensor] = []  # those used up, the hottest last
        self.steps = []
        for v in postorder(children):
            since[v] = sum(since[c] for c in children[v])
            scale = since[v] > LEAVES
            out = free.pop() if free else torch.empty(states, block)
            terms = []
            for c in children[v]:
                w = torch.tensor(np.ascontiguousarray(model.matrices[c]), dtype=torch.float32)
                terms.append((w, leaf.get(c, -1), where.get(c)))
                if c in where:
                    free.append(where.pop(c))
            where[v] = out
            since[v] = 1 if scale else since[v]
            self.steps.append((out, terms, scale))
        self.top = where[0]
        self.scratch = torch.empty(states, block)

    def __call__(self, leaves: Tensor) -> Tensor:
        out = torch.empty(self.sites)
        for start in range(0, self.sites, self.block):
            stop = min(start + self.block, self.sites)
            self._block(leaves[:, :, start:stop], out[start:stop])
        return out

    def _block(self, leaves: Tensor, log_likelihood: Tensor) -> None:
        size = leaves.shape[2]
        total = torch.zeros(size)
        scratch = self.scratch[:, :size]
        for buffer, terms, scale in self.steps:
            out = buffer[:, :size]
            for i, (w, leaf, partial) in enumerate(terms):
                torch.mm(w, leaves[leaf] if partial is None else partial[:, :size], out=scratch if i else out)
                if i:
                    out *= scratch
            if scale:
                top = out.amax(0)
                out /= top
                total += top.log_()
        torch.add((self.prior @ self.top[:, :size]).log_(), total, out=log_likelihood)


def postorder(children: dict[int, list[int]]) -> list[int]:
    """Inner nodes, every one after its children and soon after them, from node 0."""
    order, stack = [], [0]
    while stack:
        v = stack.pop()
        if v in children:
            order.append(v)
            stack += children[v]
    return order[::-1]
