"""Which rules of a grammar some leaves obey, level by level: exact parsing from the leaves up.

A grammar in which a right-hand side tells its symbol, such as `hgm.rhm`, is parsed without search: where all children
of a node have a symbol, their rule gives the node's; where no rule has them on its right, the node has none.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from hgm.errors import BadSpec
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree

__all__ = ["chance", "obeyed"]


def obeyed(tree: Tree, leaves: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How many nodes of each level could obey a rule, and how many do.

    Args:
        tree: whose factors, but for the root's prior, are `Rules` of a parent and its children, none of them ambiguous.
        leaves: ``(B, *leaf shape)`` symbols.

    Returns:
        ``(L,)`` and ``(L,)`` counts over all rows, of level l = 1, the parents of leaves, to L, the root: the nodes
        whose children all have a symbol, and those of them whose children are a right-hand side.

    Raises:
        BadSpec: for a tree that is no such grammar.
    """
    symbols = np.full((len(leaves), len(tree)), -1)
    symbols[:, tree.leaves] = leaves.flatten(1).numpy()
    could, do = np.zeros(tree.depth, dtype=int), np.zeros(tree.depth, dtype=int)
    tables = [_table(potential) for potential in tree.potentials]
    for f in sorted(range(tree.factors), key=lambda f: -int(tree.level[tree.scope_of(f)[tree.up[f]]])):
        parent, *children = tree.scope_of(f).tolist()
        if not children:
            continue
        table = tables[int(tree.potential_id[f])]
        if table is None or tree.up[f] != 0:
            raise BadSpec("only a grammar can be parsed: a tree of hgm.Rules, the parent first, such as hgm.rhm")
        known = (symbols[:, children] >= 0).all(1)
        symbols[known, parent] = table[tuple(symbols[known][:, children].T)]
        level = tree.depth - int(tree.level[parent]) - 1
        could[level] += known.sum()
        do[level] += (symbols[:, parent] >= 0).sum()
    return could, do


def chance(tree: Tree) -> list[float]:
    """The share of all words that are right-hand sides, of level 1 to L: what symbols drawn by themselves obey."""
    shares = [1.0] * tree.depth
    for f in range(tree.factors):
        potential = tree.potential_of(f)
        if isinstance(potential, Rules) and potential.axes > 1:
            level = tree.depth - int(tree.level[tree.scope_of(f)[0]]) - 1
            shares[level] = len(potential.states) / float(np.prod(potential.shape[1:]))
    return shares


def _table(potential: object) -> np.ndarray | None:
    """The symbol of every word, -1 where it is no right-hand side; ``None`` of what is no grammar."""
    if not isinstance(potential, Rules):
        return None
    words = tuple(potential.states[:, 1:].T)
    table = np.full(potential.shape[1:], -1)
    table[words] = potential.states[:, 0]
    return table if (table >= 0).sum() == len(potential.states) else None
