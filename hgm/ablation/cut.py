"""The tree cut at a level: the blocks below its nodes, each by itself, or given the state of the node above it.

    blocks      p_a(s) / u_a(s) times what is below a          p_a: the marginal of a; u_a: what its block sends up
    below       p(x_v = x | x_a = s)                           of every leaf v below a

A network of L - k resolutions whose blocks do not overlap knows the first and nothing more. The second is what a
decoder can do with a belief about a if its skips further down are silent. A leaf above the level is a block by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.evidence.given import read_evidence
from hgm.evidence.likelihood import Likelihood
from hgm.evidence.told import told
from hgm.tree.names import ListedNames
from hgm.tree.tree import Tree

__all__ = ["ancestors", "below", "blocks"]


def blocks(tree: Tree, level: int) -> Tree:
    """The forest of the blocks below the nodes of a level, independent, each with the law that it has in the tree.

    Its leaves are the tree's, in the tree's order.
    """
    forest = _forest(tree, level)
    whole, alone = infer(tree).marginals.log(), infer(forest).marginals.log()
    priors = {}
    for v in forest.roots.tolist():
        name, states = forest.names[v], int(forest.cardinality[v])
        p, u = whole[:states, tree.index(name)], alone[:states, v]
        priors[name] = Likelihood.log(torch.where(p > -torch.inf, p - u, -torch.inf))
    return told(forest, priors)


def ancestors(tree: Tree, level: int) -> np.ndarray:
    """``(n,)`` the variable above each leaf at a level, or the leaf itself if that is above the level."""
    v = tree.leaves
    while (deep := tree.level[v] > level).any():
        v = np.where(deep, tree.above[v], v)
    return v


def below(tree: Tree, level: int) -> Tensor:
    """``(n, S, S')`` float64: at [v, s, x] the probability that leaf v is x given that its ancestor at a level is s.

    Where the ancestor cannot be s it is that of a state that it can have.
    """
    forest = _forest(tree, level)
    possible = infer(forest).marginals > 0  # (S, V)
    states, roots = len(possible), torch.from_numpy(forest.roots)
    given, _ = read_evidence(forest, None)
    given = given.repeat(states, 1, 1)
    for s in range(states):
        state = torch.where(possible[s, roots], s, possible[:, roots].int().argmax(0))
        given[s][:, roots] = torch.where(torch.arange(states)[:, None] == state, 0.0, -torch.inf).to(given)
    p = infer(forest, given).marginals[:, :, torch.from_numpy(forest.leaves)]  # (s, x, v)
    return p[:, : int(forest.cardinality[forest.leaves].max())].permute(2, 0, 1).contiguous()


def _forest(tree: Tree, level: int) -> Tree:
    """What the tree has at a level and below, and its leaves above that."""
    kept = (tree.level >= level) | ~tree.inner
    owner = np.repeat(np.arange(tree.factors), np.diff(tree.scope_ptr))
    variables = np.flatnonzero(kept)
    factors = np.flatnonzero(np.bincount(owner, ~kept[tree.scope], tree.factors) == 0)
    place = np.cumsum(kept) - 1
    scopes = [place[tree.scope_of(int(f))] for f in factors]
    return Tree.build(
        ListedNames([tree.names[int(v)] for v in variables]),
        tree.cardinality[variables],
        np.cumsum([0, *map(len, scopes)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *scopes]),
        tree.potential_id[factors],
        tree.potentials,
        roots=place[variables[np.isin(tree.above[variables], variables, invert=True)]].tolist(),
        label_sets=tree.label_sets,
        label_set=tree.label_set[variables],
    )
