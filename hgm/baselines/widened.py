"""The same leaves under more hidden states: what makes a compiled network wider.

A hidden state is split into copies that behave alike: in every table an index is repeated, and the weight of a state is
shared among its copies where the variable is a child (or the root), so that the joint law of the leaves stays as it is.
So a constructed network of any width is exact; one with weights drawn at random is the class in which to learn.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgm.tree.arrays import frozen
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.tree import Tree

__all__ = ["drawn", "widened"]


def widened(tree: Tree, more: int, roots: bool = True) -> Tree:
    """The tree with more states at each hidden variable, and the same law of its leaves.

    Args:
        tree: the model.
        more: how many states more, from 0 up; 0 gives the tree itself.
        roots: whether the roots get more too.
    """
    grows = tree.inner & (roots | (tree.level > 0))
    if not more or not grows.any():
        return tree
    card = tree.cardinality + np.where(grows, more, 0)
    states = [np.arange(new) % old for new, old in zip(card.tolist(), tree.cardinality.tolist(), strict=True)]
    share = [-np.log(np.bincount(s, minlength=old)[s]) for s, old in zip(states, tree.cardinality, strict=True)]
    first = {int(v): int(tree.factor_ptr[v]) for v in tree.roots if tree.inner[v]}  # the factor that shares a root
    made: dict[tuple[object, ...], int] = {}
    potentials: list[Potential] = []
    ids = []
    for f in range(tree.factors):
        scope, up = tree.scope_of(f).tolist(), int(tree.up[f])
        shares = [axis != up or first.get(v) == f for axis, v in enumerate(scope)]
        key = (int(tree.potential_id[f]), tuple(card[scope].tolist()), tuple(np.array(shares) & grows[scope]))
        if key not in made:
            log = tree.potential_of(f).dense_log()[np.ix_(*(states[v] for v in scope))]
            for axis, v in enumerate(scope):
                if shares[axis]:
                    log = log + share[v].reshape(-1, *(1,) * (log.ndim - 1 - axis))
            made[key] = len(potentials)
            potentials.append(Edge.from_log(log) if log.ndim == 2 else Table.from_log(log))
        ids.append(made[key])
    return replace(
        tree,
        cardinality=frozen(card),
        potential_id=frozen(np.array(ids, dtype=tree.potential_id.dtype)),
        potentials=tuple(potentials),
        label_sets=(),
        label_set=frozen(np.full_like(tree.label_set, -1)),
    )


def drawn(tree: Tree, rng: np.random.Generator) -> Tree:
    """The tree with all its weights drawn anew: log psi standard normal, zeros kept."""
    return tree.with_potentials([p.with_log(_noise(p.log_potential, rng)) for p in tree.potentials])


def _noise(log: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(np.isneginf(log), log, rng.standard_normal(log.shape))
