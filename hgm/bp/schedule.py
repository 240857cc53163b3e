"""The order of message passing: which factors of a level are computed together, and where their messages go.

Factors of one level that have the same potential and the same upward axis make one group, which is one batched tensor
operation. Potentials used by few factors of the level would make many small groups; there the factors with tables of
one shape are put together instead. Everything here depends on the tree's shape only, so it is computed once per tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hgm.bp.ops import Array, Index
from hgm.tree.rules import Rules
from hgm.tree.structure import once
from hgm.tree.tree import Tree

__all__ = ["Bucket", "Group", "Step", "schedule"]

FEW = 8  # factors of a level that share a potential; fewer are grouped by shape


@dataclass(frozen=True, slots=True)
class Group:
    """n factors of one level that are computed together.

    Attributes:
        potentials: ``(1,)`` if they share a potential, else ``(n,)``: their potential ids.
        shape: of their tables.
        up: the axis of their parents.
        below: the other axes.
        factors: positions of the factors in the level's factors.
        parents: positions of the parents in the level.
        children: for each child axis in order, positions of the children in the next level.
        count: n.
    """

    potentials: np.ndarray
    shape: tuple[int, ...]
    up: int
    below: tuple[int, ...]
    factors: Index
    parents: Index
    children: tuple[Index, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """The factors below those variables of a level that have k of them: ``factors`` (n * k), by variable."""

    k: int
    factors: Index


@dataclass(frozen=True, slots=True)
class Step:
    """One level: its variables, the factors below them, the variables below those.

    Attributes:
        variables: number of variables of the level.
        groups: the factors, in groups.
        by_factor: puts what the groups give, one after the other, into the order of the level's factors.
        by_child: puts what the groups give for their children, axis by axis, into the order of the next level.
        parent: ``(factors,)`` position of each factor's parent; ``None`` if all variables have the same number below.
        buckets: the factors by the number of their siblings.
        by_bucket: puts what the buckets give, one after the other, into the order of the level's factors.
    """

    variables: int
    groups: tuple[Group, ...]
    by_factor: Index
    by_child: Index
    parent: Array | None
    buckets: tuple[Bucket, ...]
    by_bucket: Index


@once
@torch.inference_mode(False)  # the steps are kept, and must serve outside of that mode too
def schedule(tree: Tree, device: torch.device | None) -> Sequence[Step]:
    """The steps of levels 0 to depth, for tensors of a device, or, without one, for arrays."""
    level = tree.level[tree.parent]
    key = _group_keys(tree, level)
    order, group_ptr = _runs(key, level)
    of_level = np.searchsorted(level[order[group_ptr[:-1]]], np.arange(tree.depth + 2)).tolist()
    factor_start = tree.factor_ptr[tree.level_ptr].tolist()
    level_start = tree.level_ptr.tolist()
    below = np.diff(tree.factor_ptr)

    steps = []
    for at in range(tree.depth + 1):
        first, last = level_start[at], level_start[at + 1]
        factors = factor_start[at + 1] - factor_start[at]
        following = level_start[at + 2] - last if at < tree.depth else 0
        groups, outputs = [], []
        for g in range(of_level[at], of_level[at + 1]):
            members = order[group_ptr[g] : group_ptr[g + 1]]
            f = int(members[0])
            ids, up, axes = tree.potential_id[members], int(tree.up[f]), int(tree.scope_ptr[f + 1] - tree.scope_ptr[f])
            start = tree.scope_ptr[members]
            children = [tree.scope[start + axis] - last for axis in range(axes) if axis != up]
            outputs += children
            groups.append(
                Group(
                    ids[:1] if len(ids) == 1 or (ids == ids[0]).all() else ids,
                    tree.potentials[ids[0]].shape,
                    up,
                    tuple(axis for axis in range(axes) if axis != up),
                    _positions(members - factor_start[at], factors, device),
                    _positions(tree.parent[members] - first, last - first, device),
                    tuple(_positions(child, following, device) for child in children),
                    len(members),
                )
            )
        members = order[group_ptr[of_level[at]] : group_ptr[of_level[at + 1]]]
        buckets, by_bucket = _buckets(below[first:last], factors, device)
        parent = None
        if len(buckets) > 1 or factors != (last - first) * below[first]:
            parent = _on(tree.parent[factor_start[at] : factor_start[at + 1]] - first, device)
        steps.append(
            Step(
                last - first,
                tuple(groups),
                _inverse(members - factor_start[at], device),
                _inverse(np.concatenate(outputs), device) if outputs else None,
                parent,
                buckets,
                by_bucket,
            )
        )
    return steps


def _group_keys(tree: Tree, level: np.ndarray) -> np.ndarray:
    """``(F,)`` numbers; factors of one level with the same number are computed together."""
    shapes: dict[tuple[int, ...], int] = {}
    numbers = [-1 if isinstance(p, Rules) else shapes.setdefault(p.shape, len(shapes)) for p in tree.potentials]
    shape = np.array(numbers, dtype=np.int64)[tree.potential_id]
    axes = int(tree.up.max(initial=0)) + 1
    alone, together = (tree.potential_id * axes + tree.up) * 2, (shape * axes + tree.up) * 2 + 1
    # how many factors of its level each factor shares potential and axis with
    order, ptr = _runs(alone, level)
    sharing = np.empty(len(order), dtype=np.int64)
    sharing[order] = np.repeat(np.diff(ptr), np.diff(ptr))
    return np.where((sharing < FEW) & (shape >= 0), together, alone)


def _runs(key: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factors by level and key, and where each run of equal ones starts and the last one ends."""
    order = np.lexsort((key, level))  # stable: inside a run the factors keep their order
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(key[order]) != 0) | (np.diff(level[order]) != 0)
    return order, np.append(np.flatnonzero(new), len(order))


def _buckets(below: np.ndarray, factors: int, device: torch.device | None) -> tuple[tuple[Bucket, ...], Index]:
    """The factors of one level by how many there are below the same variable."""
    if factors == 0:
        return (), None
    if (below == below[0]).all():
        return (Bucket(int(below[0]), None),), None
    start = np.cumsum(below) - below
    buckets, order = [], []
    for k in np.unique(below[below > 0]).tolist():
        parents = np.flatnonzero(below == k)
        members = (start[parents][:, None] + np.arange(k)).ravel()
        order.append(members)
        buckets.append(Bucket(k, _positions(members, factors, device)))
    return tuple(buckets), _inverse(np.concatenate(order), device)


def _positions(index: np.ndarray, size: int, device: torch.device | None) -> Index:
    """`index` into an axis of length `size`, as a slice where it is one (also with a step)."""
    first, n = int(index[0]), len(index)
    step = int(index[1]) - first if n > 1 else 1
    if step > 0 and (n <= 2 or bool((np.diff(index) == step).all())):
        return None if n == size else slice(first, first + step * (n - 1) + 1, step)
    return _on(index, device)


def _inverse(order: np.ndarray, device: torch.device | None) -> Index:
    """What puts things found in this order into the order 0, 1, ..."""
    if len(order) == 0:
        return None
    inverse = np.empty(len(order), dtype=np.int64)
    inverse[order] = np.arange(len(order))
    return _positions(inverse, len(inverse), device)


def _on(index: np.ndarray, device: torch.device | None) -> Array:
    return index if device is None else torch.from_numpy(index).to(device)
