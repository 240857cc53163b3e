"""Chains, whose variables come one after the other in time: which trees they are, and how they are cut short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgm.errors import BadSpec
from hgm.tree.names import ListedNames
from hgm.tree.structure import Structure, once
from hgm.tree.tree import Tree

__all__ = ["Timeline", "cut", "timeline"]


@dataclass(frozen=True)
class Timeline:
    """The T steps of a chain, from the root on.

    Attributes:
        path: ``(T,)`` the variable of each step.
        observed: ``(T,)`` the variable of each step that is observed: its leaf, or where there is none itself.
    """

    path: np.ndarray
    observed: np.ndarray


@once
def timeline(tree: Structure) -> Timeline | None:
    """The steps of a tree that is a chain; ``None`` if it is none.

    Chains are trees of one root whose factors are over one or two variables, of two kinds: a path from the root (as
    `hgm.chain`), and a path with one leaf at each of its variables (as `hgm.hmm`, or a caterpillar of one leg). Two
    variables could be either.

    Raises:
        BadSpec: for a tree of two variables.
    """
    if len(tree.roots) > 1 or np.diff(tree.scope_ptr).max(initial=0) > 2:
        return None
    path, leaves = np.flatnonzero(tree.inner), tree.leaves
    if not len(path):
        return Timeline(leaves, leaves)
    if not np.array_equal(tree.level[path], np.arange(len(path))):
        return None
    below = np.bincount(tree.level[leaves] - 1, minlength=len(path))  # the leaves at each variable of the path
    if len(tree) == 2:
        raise BadSpec(
            "a tree of two variables may be a chain of two steps, or one step with its observation; so a list of "
            "sequences says too little: give what was seen by name"
        )
    if (below == 1).all():
        return Timeline(path, leaves)
    if below[-1] == 1 and not below[:-1].any():
        whole = np.append(path, leaves)
        return Timeline(whole, whole)
    return None


def cut(tree: Tree, length: int) -> tuple[Tree, np.ndarray]:
    """A chain without what comes after its first steps, and the variables of the tree that it keeps, in its order.

    What lies over the border is left out, not summed out: for tables that are directed in time that is the same. All
    potentials stay, in their order, so that weights mean the same to both.
    """
    steps = timeline(tree)
    assert steps is not None
    if length == len(steps.path):
        return tree, np.arange(len(tree))
    kept = np.zeros(len(tree), dtype=bool)
    kept[steps.path[:length]] = kept[steps.observed[:length]] = True
    variables = np.flatnonzero(kept)
    width = np.diff(tree.scope_ptr)
    inside = np.logical_and.reduceat(kept[tree.scope], tree.scope_ptr[:-1]) if tree.factors else np.zeros(0, dtype=bool)
    shorter = Tree.build(
        ListedNames([tree.names[v] for v in variables.tolist()]),
        tree.cardinality[variables],
        np.append(0, np.cumsum(width[inside])),
        (np.cumsum(kept) - 1)[tree.scope[np.repeat(inside, width)]],
        tree.potential_id[inside],
        tree.potentials,
        roots=[0],
        label_sets=tree.label_sets,
        label_set=tree.label_set[variables],
    )
    return shorter, variables
