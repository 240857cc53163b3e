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

__all__ = ["possible_states"]


def possible_states(tree: Tree) -> np.ndarray:
    """``(S, V)``: which states have positive probability under finite evidence; false in the padding.

    Raises:
        ImpossibleEvidence: if the model allows nothing at all.
    """
    can = np.arange(int(tree.cardinality.max()))[:, None] < tree.cardinality
    allowed = [None if p.positive else p.support() for p in tree.potentials]
    limiting = [f for f in range(tree.factors) if allowed[tree.potential_id[f]] is not None]

    def restrict(factor: int, receivers: list[int]) -> None:
        """The receivers keep the states that some allowed combination of the factor gives them."""
        combinations, scope = allowed[tree.potential_id[factor]], tree.scope_of(factor)
        assert combinations is not None
        for axis in receivers:
            senders = [a for a in range(len(scope)) if a != axis]
            kept = np.logical_and.reduce([can[combinations[:, a], scope[a]] for a in senders] or [True])
            reached = np.zeros(len(can), dtype=bool)
            reached[combinations[np.broadcast_to(kept, len(combinations)), axis]] = True
            can[:, scope[axis]] &= reached

    for factor in reversed(limiting):  # factors come in the order of their parents, so children's first
        restrict(factor, [int(tree.up[factor])])
    if not can.any(axis=0).all():
        raise ImpossibleEvidence([0])
    for factor in limiting:
        restrict(factor, [axis for axis in range(len(tree.scope_of(factor))) if axis != tree.up[factor]])
    return can
