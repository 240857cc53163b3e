"""The score of complete assignments: the sum of the log potentials, without inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence, listing
from hgm.tree.tree import Tree

__all__ = ["log_score", "states_of"]


def log_score(tree: Tree, assignments: Any) -> Tensor:
    """log of the product of all potentials at complete assignments: `hgm.log_likelihood` without the normalisation."""
    states = states_of(tree, assignments)
    x = states.reshape(-1, len(tree)).cpu().numpy()
    score = np.zeros(len(x))
    order = np.argsort(tree.potential_id, kind="stable")
    ptr = np.searchsorted(tree.potential_id[order], np.arange(len(tree.potentials) + 1))
    for i, potential in enumerate(tree.potentials):
        factors = order[ptr[i] : ptr[i + 1]]
        if len(factors) == 0:
            continue
        scope = tree.scope[tree.scope_ptr[factors][:, None] + np.arange(potential.axes)]
        index = tuple(x[:, scope[:, axis]] for axis in range(potential.axes))
        score += potential.log_at(index).sum(axis=1)
    return torch.from_numpy(score).to(states.device).reshape(states.shape[:-1])


def states_of(tree: Tree, assignments: Any, device: torch.device | str | None = None) -> Tensor:
    """Complete assignments as checked ``(..., V)`` integers in tree order, given as to `hgm.log_likelihood`.

    Raises `BadEvidence` as that does.
    """
    states = getattr(assignments, "states", assignments)
    if isinstance(states, Mapping):
        states = _by_name(tree, states)
    x = torch.as_tensor(states, device=device)
    if x.is_floating_point() or x.dtype == torch.bool or x.ndim < 1 or x.shape[-1] != len(tree):
        raise BadEvidence(
            f"complete assignments are integer states of shape (..., {len(tree)}), variables in tree order, "
            f"or a mapping from names; got {x.dtype} of shape {tuple(x.shape)}"
        )
    card = torch.as_tensor(tree.cardinality.copy(), device=x.device)
    rows = x.reshape(-1, len(tree))
    outside = (rows < 0) | (rows >= card)
    if outside.any():
        row, v = (int(i) for i in outside.nonzero()[0])
        raise BadEvidence(
            f"variable {tree.names[v]!r} has no state {int(rows[row, v])} (row {row}); its states are 0 to "
            f"{int(tree.cardinality[v]) - 1}, and a complete assignment has no missing ones"
        )
    return x.long()


def _by_name(tree: Tree, assignments: Mapping[str, Any]) -> Tensor:
    columns: dict[int, Tensor] = {}
    for name, given in assignments.items():
        v = tree.index(name)
        if isinstance(given, str):
            given = tree.state(v, given)
        elif not isinstance(given, Tensor):
            array = np.asarray(given)
            if array.dtype.kind in "OUS":
                given = np.array([tree.state(v, state) for state in array.ravel().tolist()]).reshape(array.shape)
        columns[v] = torch.as_tensor(given)
    if len(columns) < len(tree):
        missing = [tree.names[v] for v in range(len(tree)) if v not in columns]
        raise BadEvidence(f"a complete assignment gives every variable a state; missing: {listing(missing)}")
    try:
        return torch.stack(torch.broadcast_tensors(*(columns[v] for v in range(len(tree)))), dim=-1)
    except RuntimeError:
        shapes = {tuple(column.shape) for column in columns.values()}
        message = f"the batches of an assignment must have the same size; got shapes {listing(sorted(shapes))}"
        raise BadEvidence(message) from None
