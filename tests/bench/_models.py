"""The workloads' models as bare arrays, for the peers: they share no code with hgm, only these numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hgm import Tree

__all__ = ["Edges", "Regular", "edges", "regular", "yule"]


@dataclass(frozen=True)
class Regular:
    """A complete tree whose matrices are tied per level and sibling position.

    Attributes:
        weights: one array ``(m, S, S')`` per level, root first: position, parent state, child state.
        prior: ``(S,)`` of the root.
        order: leaf column of each leaf when siblings are put side by side, ``None`` if they are so already.
    """

    weights: list[np.ndarray]
    prior: np.ndarray
    order: np.ndarray | None


@dataclass(frozen=True)
class Edges:
    """Any tree of pairwise factors, nodes in level order.

    Attributes:
        parent: ``(V,)``, -1 for the root.
        level: ``(V,)`` ascending.
        cardinality: ``(V,)``.
        matrices: per node ``(S of the parent, S of the node)``; ``None`` for the root.
        prior: per node ``(S,)`` or ``None``.
        leaves: the observed and queried nodes, in the order of the evidence's columns.
    """

    parent: np.ndarray
    level: np.ndarray
    cardinality: np.ndarray
    matrices: list[np.ndarray | None]
    prior: list[np.ndarray | None]
    leaves: np.ndarray


def regular(tree: Tree) -> Regular:
    """The arrays of a layered model that is tied per sibling position."""
    grid = tree.grid
    assert grid is not None
    weights, order = [], np.zeros(1, dtype=np.int64)
    for above, below in pairwise(grid):
        above = above or (1,) * len(below)
        arity = tuple(n // m for n, m in zip(below, above, strict=True))
        here = np.stack(np.unravel_index(order, above))  # the parents, siblings side by side
        offset = np.indices(arity).reshape(len(arity), -1)
        children = here[:, :, None] * np.array(arity)[:, None, None] + offset[:, None]
        order = np.ravel_multi_index(tuple(children.reshape(len(arity), -1)), below)
        start = sum(int(np.prod(shape)) for shape in grid[: len(weights) + 1])
        first = [int(tree.parent_factor[start + v]) for v in order[: offset.shape[1]]]  # of the first parent's children
        assert all(tree.up[f] == 0 for f in first)
        weights.append(np.stack([np.exp(tree.potential_of(f).log_potential) for f in first]))
    same = bool((order == np.arange(len(order))).all())
    return Regular(weights, _prior(tree)[0], None if same else order)


def edges(tree: Tree) -> Edges:
    """The arrays of any tree whose factors have at most two variables."""
    parent = np.full(len(tree), -1, dtype=np.int64)
    matrices: list[np.ndarray | None] = [None] * len(tree)
    for f in np.flatnonzero(np.diff(tree.scope_ptr) == 2):
        table = np.exp(tree.potential_of(int(f)).dense_log())
        child = int(tree.children_of(int(f))[0])
        parent[child] = tree.parent[f]
        matrices[child] = table if tree.up[f] == 0 else table.T
    return Edges(parent, tree.level, tree.cardinality, matrices, list(_prior(tree)), tree.leaves)


def _prior(tree: Tree) -> list[np.ndarray]:
    priors = [np.ones(int(n)) for n in tree.cardinality]
    for f in np.flatnonzero(np.diff(tree.scope_ptr) == 1):
        v = int(tree.parent[f])
        priors[v] = priors[v] * np.exp(tree.potential_of(int(f)).dense_log())
    return priors


def yule(leaves: int, states: int, seed: int = 0) -> Tree:
    """A random binary tree as in phylogenetics: lineages split one after the other, each edge has its own matrix.

    A matrix is exp(Q t) of a random reversible rate matrix Q, scaled to one change per unit of time, and an exponential
    branch length t of mean 0.1; the root has Q's stationary distribution.
    """
    rng = np.random.default_rng(seed)
    frequency = rng.dirichlet(np.full(states, 10.0))
    exchange = rng.uniform(0.5, 2.0, (states, states))
    rate = (exchange + exchange.T) * frequency
    np.fill_diagonal(rate, 0.0)
    rate -= np.diag(rate.sum(1))
    rate /= -(frequency * np.diag(rate)).sum()
    eigenvalues, vectors = np.linalg.eig(rate)
    inverse = np.linalg.inv(vectors)
    tips, count, pairs = [0], 1, []
    while len(tips) < leaves:
        node = tips.pop(int(rng.integers(len(tips))))
        pairs += [(node, count), (node, count + 1)]
        tips += [count, count + 1]
        count += 2
    table = []
    for _ in pairs:
        moves = ((vectors * np.exp(eigenvalues * rng.exponential(0.1))) @ inverse).real
        moves = np.clip(moves, 1e-12, None)
        table.append(moves / moves.sum(1, keepdims=True))
    return Tree.from_edges([(f"n{a}", f"n{b}", t) for (a, b), t in zip(pairs, table, strict=True)], {"n0": frequency})
