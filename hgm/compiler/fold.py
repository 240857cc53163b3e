"""Folding: factors of one stage that run as one batched op. The registry from a kind of potential to its op.

Edges, also of different matrices, fold into one op, joint tables of one shape into one, by `Potential.entries`. A kind
with an op of its own registers a function, which gets the factors of one potential and one upward axis at a time:

    @fold.register
    def _(potential: Banded, batch: Factors) -> Op: ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, singledispatch

import numpy as np

from hgm.compiler.ops import PAD, ZERO, ConvOp, EdgeOp, JointOp, Op, PathOp, RulesOp, Whole
from hgm.compiler.plan import Group
from hgm.compiler.ranges import Kernel
from hgm.errors import BadExtension, extension
from hgm.tree.potential import Potential, Table
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree

__all__ = ["Factors", "fold", "fold_path", "fold_stage", "plain_edges"]


@dataclass(frozen=True, eq=False)
class Factors:
    """Factors between two levels that are to run as one op.

    Attributes:
        tree: the tree.
        factors: ``(F,)`` factor indices, in slot order.
        groups: the parents by number of child factors, in network order.
        alone: whether these are all factors of the stage.
        offset: where each potential starts in the vector of all weights.
        grid: the shapes of both levels, if the tree has one.
        states_out, states_in: S of the parents, S' of the children.
        linear: ``(factors of the tree,)`` which factors may be linear.
    """

    tree: Tree
    factors: np.ndarray
    groups: Sequence[Group]
    alone: bool
    offset: np.ndarray
    grid: tuple[tuple[int, ...], tuple[int, ...]] | None
    states_out: int
    states_in: int
    linear: np.ndarray

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel of the op, if its layer has both: linear if all factors are."""
        return "linear" if self.linear[self.factors].all() else "log"

    @cached_property
    def distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """The pairs (potential, upward axis) that occur, ``(n, 2)``, and which of them each factor has, ``(F,)``."""
        ids, up = self.tree.potential_id[self.factors], self.tree.up[self.factors]
        axes = int(up.max()) + 1
        keys = ids * axes + up
        if int(keys.max()) < 4 * len(keys):  # counting takes a million factors in no time; sorting does not
            found = np.flatnonzero(np.bincount(keys))
            rank = np.zeros(int(keys.max()) + 1, dtype=np.int64)
            rank[found] = np.arange(len(found))
            which = rank[keys]
        else:
            found, which = np.unique(keys, return_inverse=True)
        return np.stack(np.divmod(found, axes), axis=1), which

    def entries(self, potential_id: int, axis: int) -> np.ndarray:
        """A potential's places in the vector of weights, the parent's axis first; `ZERO` at its hard zeros."""
        entries = self.tree.potentials[potential_id].entries()
        return np.moveaxis(np.where(entries >= 0, self.offset[potential_id] + entries, ZERO), axis, 0)

    @property
    def arity(self) -> tuple[int, ...]:
        """Children of each parent, on a regular level: ``(m,)``, or ``(m1, m2)`` on a 2-D grid."""
        if self.grid is not None and len(self.grid[1]) == 2:
            above = self.grid[0] or (1, 1)
            return tuple(n // m for n, m in zip(self.grid[1], above, strict=True))
        return (self.groups[0].arity,)


@singledispatch
def fold(potential: Potential, batch: Factors) -> Op:
    """The op of factors of a kind of potential; `potential` is that of the first of them."""
    return _edges(batch) if potential.axes == 2 else _joint(batch)


@fold.register
def _(potential: Rules, batch: Factors) -> RulesOp:
    ((potential_id, axis),) = batch.distinct[0]
    axes = [axis, *(a for a in range(potential.axes) if a != axis)]
    shape = tuple(potential.shape[a] for a in axes)
    index = batch.offset[potential_id] + np.arange(potential.size)
    wide = int(np.prod(shape[1:]))
    return RulesOp(batch.factors, batch.states_out, wide, index, "log", potential.states[:, axes], shape)


def fold_stage(every: Factors) -> tuple[np.ndarray, list[Op]]:
    """The ops of all factors of a stage, and which op each of them belongs to, ``(F,)``."""
    tree, seen = every.tree, dict[object, int]()
    pairs, which = every.distinct
    kinds = []
    for potential_id, axis in pairs:
        potential = tree.potentials[potential_id]
        own = fold.dispatch(type(potential))
        if own is not fold.dispatch(Potential):
            kind: object = (own, int(potential_id), int(axis))
        elif potential.axes == 2:
            kind = "edge"
        else:
            kind = (potential.shape[axis], *np.delete(potential.shape, axis).tolist())
        kinds.append(seen.setdefault(kind, len(seen)))
    op_of = np.array(kinds)[which]
    batches = [every]
    if len(seen) > 1:
        batches = [replace(every, factors=every.factors[op_of == i], alone=False) for i in range(len(seen))]
    return op_of, [_folded(tree.potential_of(int(batch.factors[0])), batch) for batch in batches]


def _folded(potential: Potential, batch: Factors) -> Op:
    """`fold`. Raises `BadExtension` if what is registered for a kind fails, or gives no op of these factors."""
    if fold.dispatch(type(potential)) is fold.dispatch(Potential):
        return fold(potential, batch)
    what = f"what is registered to fold {type(potential).__name__}"
    with extension(what):
        op = fold(potential, batch)
    if not isinstance(op, Op):
        raise BadExtension(f"{what} must give an Op (hgm.compiler.ops); got {op!r:.100}")
    if not isinstance(op.factors, np.ndarray) or not np.array_equal(op.factors, batch.factors):
        raise BadExtension(f"{what} must keep factors={batch.factors}; got {op.factors!r:.100}")
    if op.kernel not in ("linear", "log"):
        raise BadExtension(f"{what} must say kernel='linear' or 'log'; got {op.kernel!r}")
    if op.states_out != batch.states_out:
        raise BadExtension(f"{what} must say states_out={batch.states_out}; got {op.states_out!r}")
    index, last = op.index, int(batch.offset[-1]) - 1
    if (
        not isinstance(index, np.ndarray)
        or index.dtype != np.int64
        or not PAD <= index.min(initial=0) <= index.max(initial=0) <= last
    ):
        raise BadExtension(f"{what} must give an index, an array of int64s from {PAD} to {last}")
    return op


def plain_edges(tree: Tree) -> np.ndarray:
    """``(F,)`` which factors are edges with a matrix, and no kind of potential that has an op of its own."""
    plain = fold.dispatch(Potential)
    kinds = [potential.axes == 2 and fold.dispatch(type(potential)) is plain for potential in tree.potentials]
    return np.array(kinds, dtype=bool)[tree.potential_id]


def fold_path(batch: Factors, kernel: Kernel) -> PathOp:
    """The op of edges along paths."""
    pairs, which = batch.distinct
    index = _index(batch, which if len(pairs) > 1 else np.zeros(1, dtype=int))
    return PathOp(batch.factors, batch.states_out, batch.states_in, index, kernel)


def _index(batch: Factors, which: np.ndarray) -> np.ndarray | Whole:
    """The index of edges, each with one of the different tables of a batch, ``(F,)``."""
    pairs, _ = batch.distinct
    axis, shape = int(pairs[0, 1]), (batch.states_out, batch.states_in)
    potentials = [batch.tree.potentials[i] for i in pairs[:, 0]]
    dense = all(type(p).entries is Table.entries and p.shape == shape[:: 1 - 2 * axis] for p in potentials)
    if dense and (pairs[:, 1] == axis).all():
        start = batch.offset[pairs[:, 0]]
        return Whole(start[which], batch.entries(int(pairs[0, 0]), axis) - start[0])
    tables = np.full((len(pairs), *shape), PAD, dtype=np.int64)
    for table, (potential_id, up) in zip(tables, pairs, strict=True):
        entries = batch.entries(potential_id, up)
        table[: entries.shape[0], : entries.shape[1]] = entries
    return tables[which]


def _edges(batch: Factors) -> Op:
    pairs, which = batch.distinct
    common = (batch.factors, batch.states_out, batch.states_in)
    even = batch.alone and len(batch.groups) == 1
    if len(pairs) == 1 and batch.alone:
        # all edges share one matrix; off a regular level that is a pointwise convolution
        return ConvOp(*common, _index(batch, np.zeros(1, dtype=int)), batch.kernel, batch.arity if even else (1,))
    if even:
        by_position = which.reshape(batch.groups[0].arity, batch.groups[0].nodes)
        if (by_position == by_position[:, :1]).all():
            return ConvOp(*common, _index(batch, by_position[:, 0]), batch.kernel, batch.arity)
    index = _index(batch, which)
    regular = even and (isinstance(index, Whole) or bool((index != PAD).all()))
    return EdgeOp(*common, index, batch.kernel, regular=regular)


def _joint(batch: Factors) -> JointOp:
    pairs, which = batch.distinct
    tables = np.stack([batch.entries(potential_id, axis) for potential_id, axis in pairs])
    index = tables if len(tables) == 1 else tables[which]
    return JointOp(batch.factors, batch.states_out, int(np.prod(index.shape[2:])), index, batch.kernel)
