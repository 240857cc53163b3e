"""What a declaration must keep to: states and their labels, and tables that fit their scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hgm.errors import BadEvidence, BadPotential, BadSpec, listing
from hgm.tree.names import Names
from hgm.tree.potential import Potential

__all__ = [
    "States",
    "check_labels",
    "check_scopes",
    "check_shapes",
    "numbered",
    "read_states",
    "shown",
    "state_number",
    "whole",
]

States = int | Sequence[str]


def read_states(states: States, what: str) -> tuple[int, tuple[str, ...] | None]:
    """How many states are meant, and their labels if they have any.

    Raises `BadSpec`, naming `what` has these states, unless they are a positive number or distinct labels.
    """
    if isinstance(states, (int, np.integer)) and not isinstance(states, bool):
        if states < 1:
            raise BadSpec(f"{what} has {states} states; at least one is needed")
        return int(states), None
    if isinstance(states, str) or not isinstance(states, Iterable):
        raise BadSpec(f"{what} needs a number of states or a list of their labels; got {states!r}")
    labels = tuple(str(label) for label in states)
    if not labels:
        raise BadSpec(f"{what} has an empty list of states; at least one is needed")
    number = numbered(labels)
    if len(number) < len(labels):
        twice = next(label for i, label in enumerate(labels) if number[label] != i)
        raise BadSpec(f"{what} has the state label {twice!r} twice: {listing(labels)}")
    return len(labels), labels


def numbered(labels: Sequence[str]) -> dict[str, int]:
    """The number of the state with each label."""
    return {label: state for state, label in enumerate(labels)}


def state_number(state: int | str | np.integer, name: str, size: int, labels: Mapping[str, int] | None) -> int:
    """Number of a state given by number or by one of the `numbered` labels.

    Raises `BadEvidence` if the variable has no such state.
    """
    if isinstance(state, str):
        if labels is None:
            raise BadEvidence(f"variable {name!r} has no state labels; give {state!r} as a number 0 to {size - 1}")
        if state not in labels:
            raise BadEvidence(f"variable {name!r} has no state {state!r}; its states are {listing(list(labels))}")
        return labels[state]
    if not 0 <= int(state) < size:
        raise BadEvidence(f"variable {name!r} has no state {state}; its states are 0 to {size - 1}")
    return int(state)


def whole(name: str, value: int, least: int) -> int:
    """The value, if it is a whole number of at least `least`; else raises `BadSpec`, naming the argument."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise BadSpec(f"{name} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def check_shapes(
    names: Names,
    cardinality: np.ndarray,
    scope_ptr: np.ndarray,
    scope: np.ndarray,
    potential_id: np.ndarray,
    potentials: Sequence[Potential],
) -> None:
    """Raises `BadPotential` unless every factor's potential has one axis per variable, of its cardinality."""
    sizes = np.diff(scope_ptr)
    axes = np.array([p.axes for p in potentials], dtype=np.int64)
    widest = int(sizes.max(initial=0))
    shapes = np.zeros((len(potentials), widest), dtype=np.int64)
    for i, p in enumerate(potentials):
        shapes[i, : min(p.axes, widest)] = p.shape[:widest]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    wrong = np.zeros(len(sizes), dtype=bool)
    if len(sizes):
        wrong = axes[potential_id] != sizes
        axis = np.arange(len(scope)) - scope_ptr[owner]
        wrong[owner[shapes[potential_id[owner], axis] != cardinality[scope]]] = True
    if wrong.any():
        f = int(np.argmax(wrong))
        members = scope[scope_ptr[f] : scope_ptr[f + 1]]
        raise BadPotential(
            f"the table of factor {shown([names[int(v)] for v in members])} has shape "
            f"{potentials[potential_id[f]].shape}, but its variables have {tuple(cardinality[members].tolist())} "
            "states; axes follow the scope"
        )


def check_labels(
    names: Names, cardinality: np.ndarray, label_sets: Sequence[tuple[str, ...]], label_set: np.ndarray
) -> None:
    """Raises `BadSpec` unless every variable has as many labels as states, or none."""
    sizes = np.array([len(labels) for labels in label_sets] + [0], dtype=np.int64)
    wrong = (label_set >= 0) & (sizes[label_set] != cardinality)
    if wrong.any():
        v = int(np.argmax(wrong))
        raise BadSpec(f"variable {names[v]!r} has {cardinality[v]} states but {sizes[label_set[v]]} state labels")


def check_scopes(names: Names, scope_ptr: np.ndarray, scope: np.ndarray) -> None:
    """Raises `BadSpec` if a variable comes twice in a scope. Slow: for finding out why a graph is not a tree."""
    pairs = np.sort(np.repeat(np.arange(len(scope_ptr) - 1), np.diff(scope_ptr)) * np.int64(len(names)) + scope)
    twice = pairs[:-1][pairs[:-1] == pairs[1:]]
    if len(twice):
        f, v = divmod(int(twice[0]), len(names))
        members = [names[int(u)] for u in scope[scope_ptr[f] : scope_ptr[f + 1]]]
        raise BadSpec(f"variable {names[v]!r} comes twice in the scope {shown(members)} of one factor")


def shown(scope: Sequence[str]) -> str:
    """A scope in a message: ``(a, b)``."""
    return f"({listing(scope)})"
