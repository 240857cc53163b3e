"""How small the messages of a row can get: what decides whether it may run linear beside zeros.

A zero in a table can leave a state that is arbitrarily unlikely elsewhere as the only one allowed, so nothing that is
possible may underflow. How small it can get is bounded by the row's own evidence:

    R = sum_i r_i + sum_f (c_f + n_f) + max_v sum_{f above v} (m_f - n_f)+

with r_i the range (largest minus smallest finite log evidence) at observed variable i, c_f the log range of the
positive entries of factor f, n_f the log of the largest number of them at one state of its parent, and m_f the same at
one state of the child through which the path from v to its root goes. Every finite entry of every message, relative to
its largest, and every product and sum that it is made of while messages have maximum 1, is at least exp(-R). For a
message that goes up, by induction over the siblings and their evidence,

    q_f(s) >= exp(-c_f) prod_u min h_u,    max q_f <= exp(n_f),    so    min h / max h >= exp(-R of the subtree)

and one that goes down passes the factors above it from the other side. Evidence of -inf is an exact zero and does not
count. Counts belong to the structure, where zeros are; c_f is that of the current weights.

If evidence leaves every state that is possible (`hgm.tree.possible`), each term of a message has one likelihood of each
observed variable, between exp(-r_i) and 1, so it is at least exp(-sum_i r_i) times what it is without evidence. Then
what is measured once, without evidence, stands for the sums over f.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hgm.tree.potential import Potential
from hgm.tree.tree import Tree

__all__ = ["LIMIT", "evidence_range", "growth"]

#: float64 has normal numbers down to exp(-708)
LIMIT = 700.0


def evidence_range(e: Tensor, dead: int) -> tuple[Tensor, Tensor]:
    """``(B,)`` sum_i r_i of each row, and whether its evidence leaves all states that are possible.

    Args:
        e: ``(S, n, B)`` log evidence, -inf in `dead` states of each row that are none or impossible anyway.
        dead: how many those are.
    """
    e = e.detach()
    zero = e.isneginf()
    top = e.amax(0)
    low = torch.where(zero, top, e).amin(0)
    return (top - low).sum(0, dtype=torch.float64), zero.sum((0, 1)) == dead


def growth(tree: Tree) -> float:
    """sum_f n_f + max_v sum_{f above v} (m_f - n_f)+: how many assignments there are, from whichever side."""
    counts = [_counts(p) for p in tree.potentials]
    start = np.concatenate([[0], np.cumsum([len(count) for count in counts], dtype=np.int64)])[tree.potential_id]
    owner = np.repeat(np.arange(tree.factors), np.diff(tree.scope_ptr))
    axis = np.arange(len(tree.scope)) - tree.scope_ptr[owner]
    count = np.concatenate([np.zeros(0), *counts])[start[owner] + axis]  # at each place of a scope
    n = count[tree.scope_ptr[:-1] + tree.up]
    below = axis != tree.up[owner]
    path = np.zeros(len(tree))
    path[tree.scope[below]] = np.maximum(count - n[owner], 0.0)[below]
    for level in range(1, tree.depth + 1):
        v = tree.at_level(level)
        path[v] += path[tree.above[v]]
    return float(n.sum() + path.max())


def _counts(potential: Potential) -> np.ndarray:
    """``(axes,)`` log of the largest number of positive entries at one state of each axis."""
    return np.log([np.bincount(states).max() for states in potential.support().T])
