"""A tree of factors that come in groups, as arrays: layered models and sequences have a million of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hgm.tree.labels import Label, distinct_labels
from hgm.tree.names import GridNames
from hgm.tree.potential import Potential
from hgm.tree.tree import Tree

__all__ = ["assemble", "parents"]


def assemble(
    names: GridNames,
    blocks: Sequence[tuple[int, tuple[int, tuple[Label, ...] | None]]],
    groups: Sequence[tuple[np.ndarray, np.ndarray]],
    potentials: Sequence[Potential],
    grid: tuple[tuple[int, ...], ...] | None = None,
) -> Tree:
    """A tree rooted at variable 0.

    Args:
        names: of all variables.
        blocks: runs of variables of one kind: how many, and their states as read.
        groups: factors of one width: ``(n, width)`` scopes, and ``(n,)`` or ``(1,)`` numbers of their potentials.
        potentials: by their numbers.
        grid: as the attribute of `Tree`.
    """
    counts = [n for n, _ in blocks]
    label_sets, label_of = distinct_labels([labels for _, (_, labels) in blocks])
    widths = [np.full(len(scope), scope.shape[1]) for scope, _ in groups]
    return Tree.build(
        names,
        np.repeat([states for _, (states, _) in blocks], counts).astype(np.int64),
        np.concatenate([[0], np.cumsum(np.concatenate(widths))]).astype(np.int64),
        np.concatenate([scope.ravel() for scope, _ in groups]).astype(np.int64),
        np.concatenate([np.broadcast_to(numbers, len(scope)) for scope, numbers in groups]).astype(np.int64),
        potentials,
        roots=[0],
        label_sets=label_sets,
        label_set=np.repeat(label_of, counts),
        grid=grid,
    )


def parents(above: tuple[int, ...], shape: tuple[int, ...], arity: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Parent index and sibling position of each node of a level, both row-major."""
    coordinates = np.indices(shape).reshape(len(shape), -1)
    arities = np.array(arity)[:, None]
    parent = np.ravel_multi_index(tuple(coordinates // arities), above or (1,) * len(arity))
    position = np.ravel_multi_index(tuple(coordinates % arities), arity)
    return parent.astype(np.int64), position.astype(np.int64)
