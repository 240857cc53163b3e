"""Parts of a sample whose exact distribution is known: pairs and blocks of leaves.

Leaves are numbered 0 to n - 1 in tree order, row-major on a grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import Posterior
from hgm.errors import ImpossibleEvidence
from hgm.networks.compile import compile
from hgm.networks.network import Network
from hgm.tree.tree import Tree

__all__ = ["answers", "blocks", "codes", "evenly", "joint_tables", "pairs"]

NEIGHBOURS, FAR, BLOCKS = 64, 16, 32  # at most so many of each
TOGETHER = 4  # leaves of a block
PATTERNS = 8192  # of a block
ROWS = 4096  # of evidence that are given at a time


def evenly(items: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the items, evenly chosen, in their order."""
    if len(items) <= most:
        return items
    return items[np.linspace(0, len(items) - 1, most).round().astype(np.int64)]


def pairs(tree: Tree) -> list[np.ndarray]:
    """Pairs of leaves: neighbours along each axis, and leaves half of every axis apart."""
    place = np.arange(len(tree.leaves)).reshape(tree.leaf_shape)
    near = []
    for axis, size in enumerate(place.shape):
        sides = (place.take(range(size - 1), axis), place.take(range(1, size), axis))
        near.append(np.stack([side.ravel() for side in sides], 1))
    first = place[tuple(slice(None, size - size // 2) for size in place.shape)]
    last = place[tuple(slice(size // 2, None) for size in place.shape)]
    far = np.stack([side.ravel()[: min(first.size, last.size)] for side in (first, last)], 1)
    chosen = np.concatenate([evenly(np.concatenate(near), NEIGHBOURS), evenly(far, FAR)])
    return list(np.unique(chosen[chosen[:, 0] != chosen[:, 1]], axis=0))


def blocks(tree: Tree) -> list[np.ndarray]:
    """Leaves that share a parent variable, for parents with at least 2: the first 4, or fewer of many states."""
    parent = tree.above[tree.leaves]
    states, most = int(tree.cardinality[tree.leaves].max()), TOGETHER
    while most > 2 and states**most > PATTERNS:
        most -= 1
    own = [np.flatnonzero(parent == v)[:most] for v in np.unique(parent[parent >= 0])]
    own = [block for block in own if len(block) > 1]
    return [own[i] for i in evenly(np.arange(len(own)), BLOCKS)]


def codes(x: np.ndarray, groups: Sequence[np.ndarray], states: int) -> np.ndarray:
    """``(N, T)`` one number for the pattern at each of T groups of leaves: the digits of samples ``(N, n)``, base S."""
    return np.stack([x[:, group] @ states ** np.arange(len(group))[::-1] for group in groups], 1)


def joint_tables(nothing: Posterior, groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Exact joint distributions of groups of leaves, and what they were if the leaves were independent.

    p(a, ..., y, z) = p(a, ..., y) p(z | a, ..., y): all leaves but the last are clamped, to every pattern.

    Args:
        nothing: what the tree says without evidence.
        groups: T groups of at least 2 leaves.

    Returns:
        Two arrays ``(T, M)`` by the `codes` of patterns, 0 where a group has no such pattern.
    """
    tree, log_z = nothing.tree, float(nothing.log_partition)
    states = int(tree.cardinality[tree.leaves].max())
    marginals = nothing.marginals.numpy()[:states, tree.leaves].T  # (n, S)
    last = np.unique([group[-1] for group in groups])
    net = compile(tree, query=[tree.names[int(v)] for v in tree.leaves[last]]).double()
    lengths = np.array([len(group) for group in groups])
    longest = int(lengths.max())
    joint, alone = (np.zeros((len(groups), states ** (longest - 1), states)) for _ in range(2))
    for t, group in enumerate(groups):
        product = np.ones(1)
        for leaf in group[:-1]:
            product = (product[:, None] * marginals[leaf]).ravel()
        alone[t, : len(product)] = product[:, None] * marginals[group[-1]]
    owner, code = np.nonzero(alone.sum(2))  # without states that a leaf does not have
    for first in range(0, len(owner), ROWS):
        of, a = owner[first : first + ROWS], code[first : first + ROWS]
        z = torch.full((len(of), len(marginals)), -1)
        for i in range(2, longest + 1):  # the i-th leaf from the end
            has = np.flatnonzero(lengths[of] >= i)
            leaf = np.array([groups[k][-i] for k in of[has]], dtype=np.int64)
            z[has, leaf] = torch.from_numpy(a[has] // states ** (i - 2) % states)
        possible, log_p, given = answers(net, z.unflatten(1, tree.leaf_shape))
        of, a = of[possible], a[possible]
        column = np.searchsorted(last, [groups[k][-1] for k in of])
        given = given[np.arange(len(of)), :, column]
        joint[of, a, : given.shape[1]] = np.exp(log_p - log_z)[:, None] * given
    return joint.reshape(len(groups), -1), alone.reshape(len(groups), -1)


def answers(net: Network, z: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(B,)`` which rows are possible, and of those the log partition and the posterior ``(., S, n)``."""
    asked = ("posterior", "log_partition")
    possible = np.ones(len(z), dtype=bool)
    try:
        posterior, log_p = net(z, outputs=asked)
    except ImpossibleEvidence as error:
        possible[list(error.rows)] = False
        posterior, log_p = net(z[torch.from_numpy(possible)], outputs=asked)
    return possible, log_p.numpy(), posterior.flatten(2).numpy()
