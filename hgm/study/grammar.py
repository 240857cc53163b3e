"""How much of a grammar leaves obey and a network knows, level by level.

obeyed   A grammar in which a right-hand side tells its symbol, such as `hgm.rhm`, is parsed without search: where all
         children of a node have a symbol, their rule gives the node's; where no rule has them, it has none.
unused   Of a node of level l the last child's leaves H are hidden, its other leaves A are shown, and all else is
         erased. A tells I(A; H) of H, through rules of level l and below alone. A network q leaves

             E[log p(H|A) - log q(H|A)] / E[log p(H|A) - log p(H)]

         of it unused: 0 for the posterior, 1 for what knows the words below and not what goes together at level l.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadSpec
from hgm.networks.compile import compile
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree

__all__ = ["obeyed", "unused"]


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


@torch.no_grad()
def unused(tree: Tree, net: Callable[[Tensor], Tensor], leaves: Tensor) -> list[float]:
    """The share of what siblings tell that a network leaves unused, of level l = 1, the parents of leaves, to L.

    Args:
        tree: layered, of one arity s, with d = s^L leaves in a row, of any potentials.
        net: called with ``(B, d)`` symbols, -1 where missing, it gives their probabilities ``(B, S, d)``. It is asked
            for one hidden symbol after the other, those before it shown.
        leaves: ``(B, d)`` samples of the tree, over which the means are taken, and over all nodes of a level.
    """
    exact = compile(tree, task="posterior")
    arity = round(len(tree.leaves) ** (1 / tree.depth))
    shares = []
    for level in range(1, tree.depth + 1):
        size = arity**level
        left = told = 0.0
        for first in range(0, len(tree.leaves), size):
            hidden = range(first + size - size // arity, first + size)
            shown, nothing = torch.full_like(leaves, -1), torch.full_like(leaves, -1)
            shown[:, first : hidden.start] = leaves[:, first : hidden.start]
            truth = _nats(exact, shown, leaves, hidden)
            left += truth - _nats(net, shown, leaves, hidden)
            told += truth - _nats(exact, nothing, leaves, hidden)
        shares.append(left / told)
    return shares


def _nats(net: Callable[[Tensor], Tensor], shown: Tensor, leaves: Tensor, hidden: range) -> float:
    """The mean log probability of hidden symbols, each given what is shown and the hidden ones before it."""
    shown, nats = shown.clone(), 0.0
    for i in hidden:
        p = net(shown)[torch.arange(len(leaves)), leaves[:, i], i].double()
        nats += float(p.clamp_min(torch.finfo(torch.float32).tiny).log().mean())
        shown[:, i] = leaves[:, i]
    return nats


def _table(potential: object) -> np.ndarray | None:
    """The symbol of every word, -1 where it is no right-hand side; ``None`` of what is no grammar."""
    if not isinstance(potential, Rules):
        return None
    words = tuple(potential.states[:, 1:].T)
    table = np.full(potential.shape[1:], -1)
    table[words] = potential.states[:, 0]
    return table if (table >= 0).sum() == len(potential.states) else None
