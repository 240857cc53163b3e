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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hgm.errors import BadSpec, listing
from hgm.tree.checks import shown
from hgm.tree.potential import Potential
from hgm.tree.structure import Structure
from hgm.tree.tree import Tree

__all__ = ["Direction", "direct", "produced"]

GRADIENT = "the gradient of log_partition (hgm.compile(..., trainable=True))"
ADVICE = f"multiply factors over one variable into the tables beside them, or learn with {GRADIENT}"

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
        number, count = (
            (np.zeros(p.size, dtype=np.int64), 1)
            if f < 0
            else _distributions(p, [a for a in range(p.axes) if (a == axis[f]) == top_down])
        )
        if number is None:
            raise BadSpec(
                f"{p} of factor {_name(tree, f)} has one weight in distributions that differ in others, or twice in "
                f"one: EM has no closed form for that; learn with {GRADIENT}"
            )
        pieces.append(rows + number)
        rows += count
    sizes = [p.size for p in tree.potentials]
    return Direction(
        row=np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64),
        rows=rows,
        used=np.repeat(first >= 0, sizes),
        log_normaliser=float(np.log(tree.cardinality[free]).sum()),
    )


def _distributions(p: Potential, given: list[int]) -> tuple[np.ndarray | None, int]:
    """For each stored entry the number of the distribution over the other axes that it belongs to, and how many.

    Entries may stand in several places (a circulant, say). Distributions that share entries must then be made of the
    same ones, once each, and count as one; if they are not, there are no such numbers.
    """
    shape = tuple(p.shape[a] for a in given)
    rows = int(np.prod(shape, dtype=np.int64))
    states, entry = p.places()
    row = np.ravel_multi_index(tuple(states[:, a] for a in given), shape) if given else np.zeros_like(entry)
    if len(entry) == p.size:  # each stands in one place
        number = np.empty(p.size, dtype=np.int64)
        number[entry] = row
        return number, rows
    size = rows + p.size
    once, times = np.unique(row * p.size + entry, return_counts=True)
    shares = coo_array((times, (once // p.size, rows + once % p.size)), shape=(size, size))
    count, part = connected_components(shares, directed=False)
    here, members = np.bincount(part[:rows], minlength=count), np.bincount(part[rows:], minlength=count)
    same = (times == 1).all() and (np.bincount(part[row], minlength=count) == here * members).all()
    return part[rows:].astype(np.int64) if same else None, count


def produced(tree: Structure) -> tuple[list[int], list[int]]:
    """The variable that each factor produces, and the factor that produces each variable; -1 where there is none."""
    unowned = [set(tree.scope_of(f).tolist()) for f in range(tree.factors)]
    around: list[list[int]] = [[] for _ in range(len(tree))]
    for f, scope in enumerate(unowned):
        for v in scope:
            around[v].append(f)
    child, owner = [-1] * tree.factors, [-1] * len(tree)
    ready = [f for f, scope in enumerate(unowned) if len(scope) == 1]
    for f in ready:  # it grows meanwhile
        if unowned[f]:  # else another factor took its last variable
            (v,) = unowned[f]
            child[f], owner[v] = v, f
            for g in around[v]:
                unowned[g].discard(v)
                if len(unowned[g]) == 1:
                    ready.append(g)
    return child, owner


def _children(tree: Tree) -> list[int]:
    """The variable that each factor produces, where each produces one."""
    child, owner = produced(tree)
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
    return shown(tree.scope_names(factor))
