"""Where the nodes of a tree lie among the cells of an activation, and the leaves around an output.

A node of level k covers a block of leaves, a cell of an activation another. What a node is told is the mean over its
block: of many cells where the resolution is finer than the level, of the one that holds the node where it is coarser.
Or the one cell in the middle of its block.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadSpec, brief
from hgm.tree.tree import Tree

__all__ = ["at_nodes", "by_distance", "groups", "sides_of", "spread"]

Sides = tuple[int, ...]


def sides_of(tree: Tree) -> list[Sides]:
    """The sides of every level, the root first, with an axis for each of the leaves'."""
    shape = tree.leaf_shape
    if tree.grid is None:
        raise BadSpec(f"activations are at places of a grid, and this tree has none: {brief(tree)}")
    grid = [sides or (1,) * len(shape) for sides in tree.grid]
    if any(leaves % side for sides in grid for leaves, side in zip(shape, sides, strict=True)):
        raise BadSpec(f"the blocks of a level must have equal sides; the levels are {list(tree.grid)}")
    return grid


def _overlap(nodes: int, cells: int, leaves: int, padded: int) -> Tensor:
    """``(nodes, cells)`` the share of each cell in a node's mean, along one axis."""
    side, cell = leaves / nodes, padded / cells
    start, first = torch.arange(nodes).double()[:, None] * side, torch.arange(cells).double() * cell
    return (torch.minimum(start + side, first + cell) - torch.maximum(start, first)).clamp_min(0) / side


def _middle(nodes: int, cells: int, leaves: int, padded: int) -> Tensor:
    """``(nodes, cells)`` 1 for the cell in which the middle of a node lies, along one axis."""
    place = (torch.arange(nodes).double() + 0.5) * (leaves / nodes) * (cells / padded)
    return torch.nn.functional.one_hot(place.long(), cells).double()


def at_nodes(h: Tensor, around: Sides, shape: Sides, sides: Sides, middle: bool = False) -> Tensor:
    """``(n, C, *sides)`` features ``(n, C, *positions)`` at the nodes of a level: means, or of the middle cell."""
    for axis, (nodes, leaves, padded) in enumerate(zip(sides, shape, around, strict=True), 2):
        weights = (_middle if middle else _overlap)(nodes, h.shape[axis], leaves, padded)
        h = torch.tensordot(h, weights, ([axis], [1])).movedim(-1, axis)
    return h


def groups(
    h: Tensor, around: Sides, shape: Sides, sides: Sides, y: Tensor, middle: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """Features and targets of nodes that lie in their cells alike; those of the same cells are one target."""
    x = at_nodes(h, around, shape, sides, middle).flatten(2).movedim(1, -1)
    within = []
    for nodes, leaves, padded, cells in zip(sides, shape, around, h.shape[2:], strict=True):
        within.append(np.round(np.arange(nodes) * (leaves / nodes) % (padded / cells), 6))
    places = np.stack([axis.ravel() for axis in np.meshgrid(*within, indexing="ij")], 1)
    found: list[tuple[Tensor, list[Tensor]]] = []
    for place in np.unique(places, axis=0):
        here = np.flatnonzero((places == place).all(1))
        alike = [targets for features, targets in found if torch.equal(features, x[:, here])]
        if alike:
            alike[0].append(y[:, here])
        else:
            found.append((x[:, here], [y[:, here]]))
    return [(features, torch.cat(targets, -1)) for features, targets in found]


def spread(m: Tensor, sides: Sides) -> Tensor:
    """``(n, C, *sides)`` a level's means at the nodes of a finer one."""
    for axis, side in enumerate(sides, 2):
        m = m.repeat_interleave(side // m.shape[axis], axis)
    return m


def by_distance(energy: Tensor, at: Sides, grid: list[Sides]) -> tuple[Tensor, Tensor]:
    """Shares of energy by Chebyshev distance, and by the level of the last common ancestor."""
    shape = tuple(energy.shape)
    index = np.indices(shape)
    away = np.abs(index - np.reshape(at, (-1, *(1,) * len(shape)))).max(0)
    common = np.zeros(shape, dtype=np.int64)
    for k, sides in enumerate(grid):
        same = [i * s // n == a * s // n for i, s, n, a in zip(index, sides, shape, at, strict=True)]
        common = np.where(np.logical_and.reduce(same), k, common)
    weights = energy.numpy().ravel()
    rings = np.bincount(away.ravel(), weights, max(shape))
    return torch.from_numpy(rings), torch.from_numpy(np.bincount(common.ravel(), weights, len(grid)))
