"""Which trees remember their root: d lambda^2, the number of Kesten and Stigum, for any tree.

Of an edge with joint probabilities p(a, b) let lambda be the second singular value of p(a, b) / sqrt(p(a) p(b)), whose
first is 1. A node's children see it by the sum of their lambda^2; with d children and a symmetric channel this is d
lambda^2. Above 1 what is far away in the image, but near in the tree, tells about a leaf; below 1 hardly anything does
(Kesten and Stigum, Additional limit theorems for indecomposable multidimensional Galton-Watson processes, 1966).
"""

from __future__ import annotations

import numpy as np

from hgm.bp.posterior import infer
from hgm.tree.tree import Tree, checked_tree

__all__ = ["siblings"]


def siblings(tree: Tree) -> list[float]:
    """The sum of lambda^2 over the children of a node: of each level 1 to `depth` the mean over the nodes above it.

    Nodes without children do not count. Raises `BadSpec` for what is no tree, `ImpossibleEvidence` for one that allows
    nothing.
    """
    posterior = infer(checked_tree(tree))
    sums = np.zeros(len(tree))
    for f in range(tree.factors):
        joint, up = posterior.factor_marginals(f).numpy(), int(tree.up[f])
        for axis in range(joint.ndim):
            if axis != up:
                sums[tree.parent[f]] += _second(joint.sum(tuple(set(range(joint.ndim)) - {axis, up}))) ** 2
    return [float(sums[(tree.level == level) & tree.inner].mean()) for level in range(tree.depth)]


def _second(joint: np.ndarray) -> float:
    """The second singular value of a joint law of two variables, in its units."""
    rows, columns = joint.sum(1), joint.sum(0)
    seen = joint[rows > 0][:, columns > 0]
    scaled = seen / np.sqrt(np.outer(rows[rows > 0], columns[columns > 0]))
    values = np.linalg.svd(scaled, compute_uv=False)
    return float(values[1]) if len(values) > 1 else 0.0
