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
from hgm.tree.names import ListedNames
from hgm.tree.potential import Potential, Table
from hgm.tree.tree import Tree

__all__ = ["ancestors", "below", "blocks"]


def blocks(tree: Tree, level: int) -> Tree:
    """The forest of the blocks below the nodes of a level, independent, each with the law that it has in the tree.

    Its leaves are the tree's, in the tree's order.
    """
    forest = _forest(tree, level)
    whole, alone = infer(tree).marginals.log(), infer(forest).marginals.log()
    priors: list[Potential] = []
    for v in forest.roots.tolist():
        states = int(forest.cardinality[v])
        p, u = whole[:states, tree.index(forest.names[v])], alone[:states, v]
        priors.append(Table.from_log(torch.where(p > -torch.inf, p - u, -torch.inf).numpy()))
    return _built(forest, np.arange(len(forest)), np.arange(forest.factors), priors)


def ancestors(tree: Tree, level: int) -> np.ndarray:
    """``(n,)`` the variable above each leaf at a level, or the leaf itself if that is above the level."""
    factor = tree.parent_factor
    v = tree.leaves
    while (deep := tree.level[v] > level).any():
        v = np.where(deep, tree.parent[factor[v]], v)
    return v


def below(tree: Tree, level: int) -> Tensor:
    """``(n, S, S')`` float64: at [v, s, x] the probability that leaf v is x given that its ancestor at a level is s.

    Where the ancestor cannot be s it is that of a state that it can have.
    """
    forest = _forest(tree, level)
    possible = infer(forest).marginals > 0  # (S, V)
    states, roots = len(possible), torch.from_numpy(forest.roots)
    told, _ = read_evidence(forest, None)
    told = told.repeat(states, 1, 1)
    for s in range(states):
        state = torch.where(possible[s, roots], s, possible[:, roots].int().argmax(0))
        told[s][:, roots] = torch.where(torch.arange(states)[:, None] == state, 0.0, -torch.inf).to(told)
    p = infer(forest, told).marginals[:, :, torch.from_numpy(forest.leaves)]  # (s, x, v)
    return p[:, : int(forest.cardinality[forest.leaves].max())].permute(2, 0, 1).contiguous()


def _forest(tree: Tree, level: int) -> Tree:
    """What the tree has at a level and below, and its leaves above that."""
    kept = (tree.level >= level) | ~tree.inner
    owner = np.repeat(np.arange(tree.factors), np.diff(tree.scope_ptr))
    whole = np.bincount(owner, ~kept[tree.scope], tree.factors) == 0
    return _built(tree, np.flatnonzero(kept), np.flatnonzero(whole), [])


def _built(tree: Tree, variables: np.ndarray, factors: np.ndarray, priors: list[Potential]) -> Tree:
    """A tree of some variables and factors of another one, with priors of its first variables."""
    place = np.full(len(tree), -1)
    place[variables] = np.arange(len(variables))
    scopes = [place[tree.scope_of(int(f))] for f in factors] + [np.array([v]) for v in range(len(priors))]
    sizes = [len(scope) for scope in scopes]
    number = np.arange(len(priors)) + len(tree.potentials)
    return Tree.build(
        ListedNames([tree.names[int(v)] for v in variables]),
        tree.cardinality[variables],
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate(scopes).astype(np.int64) if scopes else np.zeros(0, dtype=np.int64),
        np.concatenate([tree.potential_id[factors], number]).astype(np.int64),
        [*tree.potentials, *priors],
        roots=[int(place[v]) for v in variables[tree.parent_factor[variables] < 0]],
        label_sets=tree.label_sets,
        label_set=tree.label_set[variables],
    )
