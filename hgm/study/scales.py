"""Symbols on a symmetric tree, looked at scale by scale, and held against closed forms.

A symmetric tree has one channel on all edges: a child has the symbol of its parent with probability lambda, else one of
S at random (with lambda = 1 - eps S / (S - 1) that is `hgm.broadcast`). Two leaves whose lowest common ancestor is h
levels above them are then equal with probability 1/S + (1 - 1/S) lambda^(2h); so

    correlation      (S P(equal) - 1) / (S - 1) = lambda^(2h)
    information      log S + a log a + (S - 1) b log b,     a = P(equal), b = (1 - a) / (S - 1)

and inner nodes are read as what is most probable given the leaves below them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log, prod

import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.evidence.channels import Gaussian
from hgm.networks.compile import compile
from hgm.tree.tree import Tree
from hgm.zoo.layered import broadcast

__all__ = ["STATES", "Symmetric", "blocks_of", "correlations", "informations", "seams"]

STATES = 4


@dataclass(frozen=True)
class Symmetric:
    """A symmetric tree of four symbols, seen as values from -1.5 to 1.5.

    Args:
        depth: levels below the root.
        arity: children of a node, along each axis.
        kept: lambda.
    """

    depth: int
    arity: tuple[int, ...]
    kept: float

    def below(self, level: int) -> Tree:
        """The law of the nodes below one of a level, that one for a root."""
        eps = (1 - self.kept) * (STATES - 1) / STATES
        arity = self.arity if len(self.arity) == 2 else self.arity[0]
        return broadcast(self.depth - level, STATES, arity, eps=eps)

    @cached_property
    def tree(self) -> Tree:
        """The whole of it."""
        return self.below(0)

    @property
    def channel(self) -> Gaussian:
        """What its leaves are seen through."""
        return Gaussian([-1.5, -0.5, 0.5, 1.5])

    @property
    def branching(self) -> float:
        """d lambda^2, d the number of children: above 1 the leaves tell of the root however far it is."""
        return prod(self.arity) * self.kept**2

    def correlation(self, height: int) -> float:
        """Of two leaves with their lowest common ancestor so many levels above them."""
        return float(self.kept ** (2 * height))

    def information(self, height: int) -> float:
        """Mutual information of two such leaves, in nats."""
        equal = (1 + (STATES - 1) * self.correlation(height)) / STATES
        other = (1 - equal) / (STATES - 1)
        return log(STATES) + equal * log(equal) + (STATES - 1) * other * log(other)

    def log_prob(self, x: Tensor) -> Tensor:
        """``(n,)`` log p of symbols ``(n, *leaf shape)``, in nats."""
        return torch.cat([infer(self.tree, part).log_partition for part in x.split(1024)]).double()

    def log_prob_of_blocks(self, x: Tensor, level: int) -> Tensor:
        """``(n,)`` what log p would be if the blocks below the nodes of a level were independent."""
        parts = blocks_of(x, self.arity, level)
        tree = self.below(level)
        rows = parts.flatten(0, 1).reshape(-1, *tree.leaf_shape)  # a single leaf has an axis of its own
        found = torch.cat([infer(tree, part).log_partition for part in rows.split(1 << 14)])
        return found.double().reshape(len(x), -1).sum(1)

    def decoded(self, x: Tensor, level: int) -> Tensor:
        """``(n, *level shape)`` the most probable symbol of each node of a level, given the leaves below it."""
        if level == self.depth:
            return x
        parts = blocks_of(x, self.arity, level)
        net = compile(self.below(level), "classify").double()
        with torch.no_grad():
            found = torch.cat([net(part).argmax(1) for part in parts.flatten(0, 1).split(1 << 14)])
        return found.reshape(len(x), *(m**level for m in self.arity))

    def siblings(self, x: Tensor) -> Tensor:
        """``(n, depth)`` correlation of siblings of level 1, 2, ..., each decoded from its own leaves."""
        found = [correlations(self.decoded(x, level), self.arity)[:, 0] for level in range(1, self.depth + 1)]
        return torch.stack(found, 1)


def blocks_of(x: Tensor, arity: tuple[int, ...], level: int) -> Tensor:
    """``(n, nodes of the level, *block shape)`` the leaves below each node of a level, of leaves ``(n, *shape)``."""
    counts = [m**level for m in arity]
    split = [size for have, count in zip(x.shape[1:], counts, strict=True) for size in (count, have // count)]
    axes = range(1, 1 + 2 * len(arity), 2)
    parts = x.reshape(len(x), *split).permute(0, *axes, *(axis + 1 for axis in axes))
    return parts.flatten(1, len(arity))


def correlations(x: Tensor, arity: tuple[int, ...]) -> Tensor:
    """``(n, heights)`` mean over the pairs of leaves whose lowest common ancestor is at height 1, 2, ... above them.

    Within a block of m leaves with N_s of symbol s there are sum_s N_s (N_s - 1) / 2 equal pairs of m (m - 1) / 2.
    """
    tables = _pairs(x, arity).double()
    equal = tables.diagonal(dim1=2, dim2=3).sum(2) / tables.sum((2, 3))
    return (STATES * equal - 1) / (STATES - 1)


def informations(x: Tensor, arity: tuple[int, ...]) -> Tensor:
    """``(heights,)`` mutual information of such pairs, in nats: of their table over all samples and pairs."""
    joint = _pairs(x, arity).sum(0).double()
    joint = joint / joint.sum((1, 2), keepdim=True)
    alone = joint.sum(2)
    return torch.xlogy(joint, joint).sum((1, 2)) - 2 * torch.xlogy(alone, alone).sum(1)


def _pairs(x: Tensor, arity: tuple[int, ...]) -> Tensor:
    """``(n, heights, S, S)`` how many ordered pairs there are of each two symbols, by the height of the ancestor."""
    depth = next(k for k in range(64) if arity[0] ** k >= x.shape[1])
    found, before = [], torch.diag_embed(_counts(x, arity, 0)).sum(1)
    for height in range(1, depth + 1):
        counts = _counts(x, arity, depth - height)
        now = torch.einsum("nba,nbc->nac", counts, counts)
        found.append(now - before)
        before = now
    return torch.stack(found, 1)


def _counts(x: Tensor, arity: tuple[int, ...], level: int) -> Tensor:
    """``(n, blocks, S)`` how often each symbol is in each block."""
    parts = blocks_of(x, arity, level).flatten(2)
    return torch.nn.functional.one_hot(parts, STATES).sum(2).double()


def seams(x: Tensor) -> Tensor:
    """``(n, 2)`` correlations of leaves of different halves: next to one another, and half of the width apart.

    In the tree both are the same, lambda^(2 depth): leaves that meet in the middle have no nearer ancestor.
    """
    found = []
    for width in (1, x.shape[-1] // 2):
        equal = []
        for axis in range(1, x.ndim):
            half = x.shape[axis] // 2
            ahead = half if width > 1 else 1
            left = x.narrow(axis, half - ahead, ahead)
            right = x.narrow(axis, half, ahead)
            equal.append((left == right).flatten(1).double().mean(1))
        found.append(torch.stack(equal).mean(0))
    return (STATES * torch.stack(found, 1) - 1) / (STATES - 1)
