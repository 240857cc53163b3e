"""Which factor is the conditional distribution of which variables: what the M-step normalises.

EM has its closed form where the model is directed, p(x) = prod_f psi_f(what f produces | what f is given), and every
variable is produced by one factor. Two kinds of tree are:

* **top-down**: factors over one variable stand at roots only, at most one each. Then every other factor produces its
  children, jointly, given its parent; a factor at a root is its prior. A root without one is uniform.
* **Bayesian networks**, polytrees with tables of several parents among them: every factor produces one variable given
  the others. In a forest there is at most one way to match factors and variables, and peeling finds it: a factor over
  one variable produces that one, which leaves the other factors over it with one variable less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hgm.errors import BadSpec, listing
from hgm.tree.potential import Rules
from hgm.tree.tree import Tree

__all__ = ["Direction", "direct"]

ADVICE = (
    "multiply factors over one variable into the tables beside them, or learn with the gradient of log_partition "
    "(hgm.compile(..., trainable=True))"
)

_ROLE = {True: "parent's", False: "child's"}


@dataclass(frozen=True)
class Direction:
    """The conditional distributions among the entries of a tree's potentials, all in one flat vector of P entries.

    Attributes:
        row: ``(P,)`` number of the distribution that each entry belongs to: its entries sum to 1.
        rows: how many there are.
        used: ``(P,)`` whether some factor uses the entry's potential.
        log_normaliser: log Z of the directed model: log of the number of states of all roots without a prior.
    """

    row: np.ndarray
    rows: int
    used: np.ndarray
    log_normaliser: float


def direct(tree: Tree) -> Direction:
    """How the factors of a tree are directed.

    Raises:
        BadSpec: if they are not, or if tied factors are directed in different ways; it names the factor.
    """
    unary = np.diff(tree.scope_ptr) == 1
    at = tree.parent[unary]
    top_down = bool((tree.level[at] == 0).all() and (np.bincount(at, minlength=1) <= 1).all())
    if top_down:  # the one axis that is given, -1 for a prior
        axis = np.where(unary, -1, tree.up)
        free = np.setdiff1d(tree.roots, at)
    else:  # the one axis that is produced
        child = _children(tree)
        axis = np.array([int(np.flatnonzero(tree.scope_of(f) == v)[0]) for f, v in enumerate(child)], dtype=np.int64)
        free = np.setdiff1d(np.arange(len(tree)), child)
    first = np.full(len(tree.potentials), -1, dtype=np.int64)
    first[tree.potential_id[::-1]] = np.arange(tree.factors)[::-1]
    other = np.flatnonzero(axis != axis[first[tree.potential_id]])
    if len(other):
        one, two = int(first[tree.potential_id[other[0]]]), int(other[0])
        raise BadSpec(
            f"factors {_name(tree, one)} and {_name(tree, two)} share a potential, but they are directed differently: "
            f"axis {int(axis[one])} of one and axis {int(axis[two])} of the other is the {_ROLE[top_down]}; give them "
            "potentials of their own, or transpose the table of one"
        )

    pieces: list[np.ndarray] = []
    rows = 0
    for p, f in zip(tree.potentials, first.tolist(), strict=True):
        if f < 0:
            given: list[int] = []
        elif top_down:
            given = [int(axis[f])] if axis[f] >= 0 else []
        else:
            given = [a for a in range(p.axes) if a != axis[f]]
        shape = tuple(p.shape[a] for a in given)
        if not given:
            number = np.zeros(p.size, dtype=np.int64)
        elif isinstance(p, Rules):
            number = np.ravel_multi_index(tuple(p.states[:, a] for a in given), shape)
        else:
            grid = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
            grid = np.expand_dims(grid, [a for a in range(p.axes) if a not in given])
            number = np.broadcast_to(grid, p.shape).ravel()
        pieces.append(rows + number)
        rows += int(np.prod(shape, dtype=np.int64))
    sizes = [p.size for p in tree.potentials]
    return Direction(
        row=np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64),
        rows=rows,
        used=np.repeat(first >= 0, sizes),
        log_normaliser=float(np.log(tree.cardinality[free]).sum()),
    )


def _children(tree: Tree) -> list[int]:
    """The variable that each factor produces, where each produces one."""
    unowned = [set(tree.scope_of(f).tolist()) for f in range(tree.factors)]
    around: list[list[int]] = [[] for _ in range(len(tree))]
    for f, scope in enumerate(unowned):
        for v in scope:
            around[v].append(f)
    child, owner = [-1] * tree.factors, [-1] * len(tree)
    ready = [f for f, scope in enumerate(unowned) if len(scope) == 1]
    for f in ready:  # it grows meanwhile
        if unowned[f]:
            (v,) = unowned[f]
            child[f], owner[v] = v, f
            for g in around[v]:
                unowned[g].discard(v)
                if len(unowned[g]) == 1:
                    ready.append(g)
    bad = next((f for f, v in enumerate(child) if v < 0), None)
    if bad is None:
        return child
    members = [int(v) for v in tree.scope_of(bad)]
    if all(owner[v] >= 0 for v in members):
        others = ", ".join(f"{tree.names[v]!r} by factor {_name(tree, owner[v])}" for v in members[:4])
        why = f"all its variables are produced by other factors already ({others})"
    else:
        why = f"it could produce any of {listing([tree.names[v] for v in members if owner[v] < 0])}"
    tops = [tree.names[v] for v in np.unique(tree.parent[np.diff(tree.scope_ptr) == 1]).tolist()]
    turn = f"take the variable that has the prior as the root (tree.reroot({tops[0]!r})), " if len(tops) == 1 else ""
    raise BadSpec(
        f"factor {_name(tree, bad)} is no conditional distribution of one variable: {why}. EM learns directed models: "
        f"{turn}{ADVICE}"
    )


def _name(tree: Tree, factor: int) -> str:
    return f"({listing([tree.names[int(v)] for v in tree.scope_of(factor)])})"
