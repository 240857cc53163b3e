"""Where the nodes of a drawn tree go: a tidy layout, in which no two subtrees overlap. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hgm.tree.tree import Tree

__all__ = ["children_in_order", "tidy"]

COUSINS = 1.4  # distance of neighbours with different parents; siblings are 1 apart
FOREST = 2.0  # distance of neighbours in different trees


def children_in_order(tree: Tree, variables: Sequence[int]) -> dict[int, list[int]]:
    """The children of each of some variables, factor by factor and in the order of the axes."""
    return {v: [child for f in tree.factors_of(v) for child in tree.children_of(f).tolist()] for v in variables}


def tidy(children: Mapping[int, Sequence[int]], roots: Sequence[int], *, straight: bool = False) -> dict[int, float]:
    """Positions of the nodes of a forest across its levels: siblings 1 apart, subtrees as close as they fit.

    A parent is in the middle of its children, or, if `straight`, in line with its deepest child, so that a long chain
    is a straight line. The smallest position is 0. No recursion.

    Args:
        children: of every node, in order; nodes that are not among its keys are left out.
        roots: of the forest.
        straight: see above.
    """
    order = list(roots)
    for v in order:
        order += [c for c in children[v] if c in children]
    shift: dict[int, float] = {}  # of each node's subtree against its parent
    contours: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # of finished subtrees, by depth, the node itself at 0
    for v in reversed(order):
        below = [c for c in children[v] if c in children]
        low = high = np.zeros(0)
        if below:
            deepest = max(range(len(below)), key=lambda i: len(contours[below[i]][0]))
            offsets, low, high = _side_by_side([contours.pop(c) for c in below], 1.0, COUSINS)
            middle = offsets[deepest] if straight else (offsets[0] + offsets[-1]) / 2
            shift.update(zip(below, (offsets - middle).tolist(), strict=True))
            low, high = low - middle, high - middle
        contours[v] = np.concatenate([[0.0], low]), np.concatenate([[0.0], high])
    offsets, low, _ = _side_by_side([contours[v] for v in roots], FOREST, FOREST)
    position = dict(zip(roots, (offsets - low.min()).tolist(), strict=True))
    for v in order:
        for c in children[v]:
            if c in children:
                position[c] = position[v] + shift[c]
    return position


def _side_by_side(
    contours: Sequence[tuple[np.ndarray, np.ndarray]], heads: float, others: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets of subtrees that stand next to each other, and the contours of all of them together.

    Args:
        contours: left and right contour of each subtree.
        heads: least distance of the subtrees' first nodes.
        others: least distance of their other nodes.
    """
    offsets = np.zeros(len(contours))
    low, high = contours[0]
    for i, (left, right) in enumerate(contours[1:], start=1):
        both = min(len(high), len(left))
        gap = np.full(both, others)
        gap[0] = heads
        offsets[i] = (high[:both] - left[:both] + gap).max()
        low = np.concatenate([low, left[len(low) :] + offsets[i]])
        high = np.concatenate([right + offsets[i], high[len(right) :]])
    return offsets, low, high
