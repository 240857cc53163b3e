"""Which states can be: those of positive probability under finite evidence. Two boolean sweeps over the factors.

    up    can_v(s) = for every factor f below v:  some entry psi_f(s, a) > 0 with can_u(a_u) for all children u
    down  can_u(a) and some entry psi_f(s, ..a..) > 0 with can_v(s), and can for the other children

Sums of non-negative numbers are positive exactly where one term is, so these are collect and distribute of belief
propagation with "or" and "and" in place of sum and product, however small the numbers are.
"""

from __future__ import annotations

import numpy as np

from hgm.errors import ImpossibleEvidence
from hgm.tree.tree import Tree

__all__ = ["forbidden", "possible_states"]


def forbidden(tree: Tree) -> np.ndarray | None:
    """``(S, V)``: ``-inf`` at states that the zeros of potentials forbid and in the padding, else 0.

    Log evidence at such states says nothing, and where it is large, what it says of others would drown beside it.
    ``None`` if no potential has zeros, or the model allows nothing at all.
    """
    if all(p.positive for p in tree.potentials):
        return None
    try:
        return np.where(possible_states(tree), 0.0, -np.inf)
    except ImpossibleEvidence:
        return None


def possible_states(tree: Tree) -> np.ndarray:
    """``(S, V)``: which states have positive probability under finite evidence; false in the padding.

    Raises:
        ImpossibleEvidence: if the model allows nothing at all.
    """
    can = np.arange(int(tree.cardinality.max()))[:, None] < tree.cardinality
    groups = _limiting(tree)
    for support, scope, up in reversed(groups):
        _restrict(can, support, scope, up)
    if not can.any(axis=0).all():
        raise ImpossibleEvidence([0])
    for support, scope, up in groups:
        for axis in range(len(scope)):
            if axis != up:
                _restrict(can, support, scope, axis)
    return can


def _limiting(tree: Tree) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """The factors that have zeros, root first, those of a level that share a potential and its upward axis together.

    For n of them: ``(R, axes)`` the combinations that they allow, ``(axes, n)`` their scopes, and the upward axis.
    """
    has_zeros = np.array([not p.positive for p in tree.potentials], dtype=bool)
    factors = np.flatnonzero(has_zeros[tree.potential_id])
    key = np.stack([tree.level[tree.parent[factors]], tree.potential_id[factors], tree.up[factors]])
    kinds, which = np.unique(key, axis=1, return_inverse=True)
    support = {int(i): tree.potentials[i].support() for i in np.unique(kinds[1])}
    members = np.split(factors[np.argsort(which.ravel(), kind="stable")], np.cumsum(np.bincount(which.ravel())))
    groups = []
    for mine, (_, potential, up) in zip(members[:-1], kinds.T.tolist(), strict=True):
        axes = np.arange(tree.potentials[potential].axes)[:, None]
        groups.append((support[potential], tree.scope[tree.scope_ptr[mine] + axes], up))
    return groups


def _restrict(can: np.ndarray, support: np.ndarray, scope: np.ndarray, axis: int) -> None:
    """The variables on one axis of n factors keep the states that some allowed combination gives them, in place."""
    kept = np.ones((len(support), scope.shape[1]), dtype=bool)
    for sender in range(len(scope)):
        if sender != axis:
            kept &= can[support[:, sender, None], scope[sender]]
    rule, factor = np.nonzero(kept)
    reached = np.zeros((len(can), scope.shape[1]), dtype=bool)
    reached[support[rule, axis], factor] = True
    state, factor = np.nonzero(~reached)
    can[state, scope[axis, factor]] = False
