"""Heavy paths: any tree as few levels of paths.

Every variable but the roots lies on one path, which goes on from it to its child with the largest subtree; its other
children begin paths of their own. A path hangs on a variable of the level of paths above, its *anchor*. Whoever walks
from a leaf to the root changes paths at most log2 V times, because each change at least doubles the subtree: so V
variables make at most log2 V + 2 levels, the roots among them, however deep the tree is. (Sleator and Tarjan, A data
structure for dynamic trees, 1983.)

Only edges continue a path, and of them those that are allowed to. The children of a joint factor begin paths, because
what such a factor sends to one child depends on all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgm.tree.arrays import frozen
from hgm.tree.structure import Structure

__all__ = ["HeavyPaths", "heavy_paths"]


@dataclass(frozen=True, eq=False)
class HeavyPaths:
    """The paths of a tree.

    Attributes:
        level: ``(V,)`` the level of paths of each variable, 0 for the roots.
        top: ``(V,)`` the first variable of its path, which is nearest to the root.
        place: ``(V,)`` how many variables of its path are above it.
        below: ``(V,)`` the next variable of its path, -1 at the end.
    """

    level: np.ndarray
    top: np.ndarray
    place: np.ndarray
    below: np.ndarray

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return int(self.level.max()) + 1


def heavy_paths(tree: Structure, edges: np.ndarray) -> HeavyPaths:
    """The heavy paths of a tree or forest, in time linear in its size.

    Args:
        tree: the tree.
        edges: ``(F,)`` which factors may continue a path; those of two variables that are among them do.
    """
    variables = len(tree)
    edge = edges & (np.diff(tree.scope_ptr) == 2)
    factor, parent = tree.parent_factor, tree.above
    has = factor >= 0
    continues = np.zeros(variables, dtype=bool)
    continues[has] = edge[factor[has]] & (tree.level[parent[has]] > 0)
    heavy = np.full(variables, -1, dtype=np.int64)
    candidates = np.flatnonzero(continues)
    ascending = candidates[np.argsort(tree.below[candidates], kind="stable")]
    heavy[parent[ascending]] = ascending  # the largest is written last
    above = parent.tolist()
    level, top, place = [0] * variables, list(range(variables)), [0] * variables
    follows = heavy.tolist()
    for v in range(len(tree.roots), variables):
        u = above[v]
        if follows[u] == v:
            level[v], top[v], place[v] = level[u], top[u], place[u] + 1
        else:
            level[v] = level[u] + 1
    return HeavyPaths(*(frozen(np.array(x, dtype=np.int64)) for x in (level, top, place, heavy)))
