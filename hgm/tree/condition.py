"""Observed variables, cut out of a model's factors before a tree is built of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hgm.errors import BadEvidence, ImpossibleEvidence, did_you_mean
from hgm.tree.labels import Label, StateNames
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.rules import Rules

__all__ = ["condition"]


def condition(
    scopes: Sequence[tuple[Label, ...]],
    potentials: Sequence[Potential],
    observed: Mapping[Label, object],
    variables: Mapping[Label, tuple[int, tuple[Label, ...] | None]],
) -> tuple[list[tuple[Label, ...]], list[Potential]]:
    """The factors with the observed variables sliced out, plus for each one a factor that allows only its state.

    `variables` gives the number of states of each variable, and their labels or ``None``.

    Raises:
        BadEvidence: if an observed variable or state does not exist.
        ImpossibleEvidence: if a factor is zero at the observed states.
    """
    seen_as = {}
    for name, state in observed.items():
        if name not in variables:
            raise BadEvidence(f"the observed variable {name!r} is not in the model{did_you_mean(name, variables)}")
        seen_as[name] = StateNames(*variables[name]).state(state, name)
    new_scopes: list[tuple[Label, ...]] = []
    new_potentials: list[Potential] = []
    weight = dict.fromkeys(observed, 0.0)  # log of the constants that slicing leaves behind
    # what is tied and is cut alike stays tied
    sliced: dict[tuple[int, tuple[int | None, ...]], Potential | float] = {}
    for scope, potential in zip(scopes, potentials, strict=True):
        seen = [name for name in scope if name in observed]
        if not seen:
            new_scopes.append(scope)
            new_potentials.append(potential)
            continue
        states = tuple(seen_as.get(name) for name in scope)
        key = (id(potential), states)
        if key not in sliced:
            sliced[key] = _slice(potential, states)
        piece = sliced[key]
        if isinstance(piece, Potential):
            new_scopes.append(tuple(name for name in scope if name not in observed))
            new_potentials.append(piece)
        else:
            weight[seen[0]] += piece
    for name, state in seen_as.items():
        if np.isneginf(weight[name]):
            raise ImpossibleEvidence([0], f"(observed={seen_as}: a factor over {name!r} is zero there)")
        only = np.full(variables[name][0], -np.inf)
        only[state] = weight[name]
        new_scopes.append((name,))
        new_potentials.append(Table.from_log(only))
    return new_scopes, new_potentials


def _slice(potential: Potential, states: Sequence[int | None]) -> Potential | float:
    """A potential at the given states (``None``: the axis stays), or the log of the constant that is left of it."""
    free = [axis for axis, state in enumerate(states) if state is None]
    if not free:
        return float(potential.log_at(tuple(np.array(state) for state in states)))
    if potential.complete:
        table = potential.dense_log()[tuple(slice(None) if state is None else state for state in states)]
        if np.isneginf(table).all():
            return -np.inf
        return Edge.from_log(table) if len(free) == 2 else Table.from_log(table)
    fixed = [axis for axis in range(potential.axes) if axis not in free]
    rows, entry = potential.places()
    keep = (rows[:, fixed] == [states[axis] for axis in fixed]).all(axis=1)
    log = potential.log_potential.ravel()[entry[keep]]
    if np.isneginf(log).all():
        return -np.inf
    return Rules.from_log(tuple(potential.shape[axis] for axis in free), rows[keep][:, free], log)
