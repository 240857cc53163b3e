"""What a declaration must keep to: as many labels as states, and tables that fit their scopes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hgm.errors import BadPotential, BadSpec, listing
from hgm.tree.labels import Label
from hgm.tree.names import Names
from hgm.tree.potential import Potential

__all__ = ["check_labels", "check_potential_names", "check_scopes", "check_shapes", "shown"]


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


def check_potential_names(potentials: Sequence[Potential]) -> None:
    """Raises `BadPotential` if two of them, which are not tied, have one name."""
    named: set[str] = set()
    for potential in potentials:
        if potential.name in named:
            raise BadPotential(
                f"two potentials of one tree are called {potential.name!r}: a name stands for one potential; give all "
                "factors that it is for the same object, or the potentials different names"
            )
        named |= {potential.name} if potential.name is not None else set()


def check_labels(
    names: Names, cardinality: np.ndarray, label_sets: Sequence[tuple[Label, ...]], label_set: np.ndarray
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


def shown(scope: Sequence[Label]) -> str:
    """A scope in a message: ``(a, b)``."""
    return f"({listing(scope)})"
