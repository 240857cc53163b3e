"""The score of complete assignments: the sum of the log potentials, without inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bp.assignment import Assignment
from hgm.errors import BadEvidence, listing
from hgm.evidence.column import column_of
from hgm.evidence.frames import by_name
from hgm.evidence.leaves import check_no_labels
from hgm.evidence.noise import with_numbers
from hgm.evidence.symbols import MISSING, as_tensor, signed
from hgm.tree.tree import Tree

__all__ = ["log_score", "states_of"]


def log_score(tree: Tree, states: Tensor) -> Tensor:
    """log of the product of all potentials at complete assignments ``(..., V)``, as `states_of` reads them."""
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
    """Complete assignments, in the forms of `hgm.log_likelihood`, as checked ``(..., V)`` integers in tree order.

    Raises:
        BadEvidence: for an unknown variable or state, one that is missing, or another shape.
    """
    if isinstance(assignments, Assignment):
        return _of_tree(tree, assignments.tree, assignments.states).to(device)
    mapping = by_name(assignments)
    if mapping is not None:
        return _by_name(tree, mapping).to(device)
    x = as_tensor(assignments, "complete assignments")
    x = with_numbers(x, torch.empty(0), "complete assignments").to(device)
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool or x.ndim < 1 or x.shape[-1] != len(tree):
        raise BadEvidence(
            f"complete assignments are integer states of shape (..., {len(tree)}), variables in tree order, "
            f"or a mapping from names; got {x.dtype} of shape {tuple(x.shape)}"
        )
    check_no_labels(tree, np.arange(len(tree)))
    rows = signed(x).long().reshape(-1, len(tree))
    outside = (rows < 0) | (rows >= torch.as_tensor(tree.cardinality.copy(), device=x.device))
    if outside.any():
        row, v = (int(i) for i in outside.nonzero()[0])
        raise BadEvidence(
            f"variable {tree.names[v]!r} has no state {int(rows[row, v])} (row {row}); its states are 0 to "
            f"{int(tree.cardinality[v]) - 1}, and a complete assignment has no missing ones"
        )
    return rows.reshape(x.shape)


def _of_tree(tree: Tree, other: Tree, states: Tensor) -> Tensor:
    """States ``(..., V)`` of another tree's variables as those of this tree's, by names and labels."""
    if other is tree:
        return states
    place = {tree.index(name): u for u, name in enumerate(other.names)}
    columns = []
    for v, name in enumerate(tree.names):
        if v not in place:
            raise BadEvidence(f"a complete assignment gives every variable a state; missing: {name}")
        x, names, own = states[..., place[v]], tree.state_names(v), other.state_names(place[v])
        if (own.size, own.labels) != (names.size, names.labels):
            found = [names.find(state) for state in own.labels or range(own.size)]
            x = torch.tensor([MISSING if state is None else state for state in found], device=x.device)[x]
            if bool((x == MISSING).any()):
                raise BadEvidence(f"the states of variable {name!r} are {names}; in the tree of the assignment {own}")
        columns.append(x)
    return torch.stack(columns, -1)


def _by_name(tree: Tree, assignments: Mapping[Any, Any]) -> Tensor:
    columns = {}
    for name, given in assignments.items():
        v = tree.index(name)
        columns[v] = column_of(tree, v, given)
    if len(columns) < len(tree):
        missing = [tree.names[v] for v in range(len(tree)) if v not in columns]
        raise BadEvidence(f"a complete assignment gives every variable a state; missing: {listing(missing)}")
    hole = next((v for v, column in columns.items() if bool((column == MISSING).any())), None)
    if hole is not None:
        raise BadEvidence(f"a complete assignment has no missing states; variable {tree.names[hole]!r} has one")
    try:
        return torch.stack(torch.broadcast_tensors(*(columns[v] for v in range(len(tree)))), dim=-1)
    except RuntimeError:
        shapes = {tuple(column.shape) for column in columns.values()}
        message = f"the batches of an assignment must have the same size; got shapes {listing(sorted(shapes))}"
        raise BadEvidence(message) from None
