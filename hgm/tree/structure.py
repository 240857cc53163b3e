"""`Structure`: what a tree is but for its numbers. Frozen arrays, and what can be computed from them once.

Variables come in level order: level 0 holds the roots, level l the variables l factors away from their root; inside a
level they keep the order in which they were declared (row-major on a grid). Factors come in the order of their parents.
A factor's scope lists its variables in the order of its potential's axes; `up` says which axis is the parent's, and the
other axes are the children. So re-rooting a tree changes `up` and the order, never a potential, and tying is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from hgm.errors import BadEvidence, BadSpec, brief, did_you_mean, listing
from hgm.tree.arrays import Frozen, frozen
from hgm.tree.labels import Label, StateNames
from hgm.tree.names import Names

__all__ = ["Structure", "checked_number", "once"]

ARRAYS = ("cardinality", "level_ptr", "scope_ptr", "scope", "up", "potential_id")  # what two structures are compared by

S = TypeVar("S", bound="Structure")
P = ParamSpec("P")
R = TypeVar("R")


def once(compute: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Makes a function of a structure one that is computed once, also for all trees that `with_potentials` makes of it.

    So it must not look at the numbers in a tree's potentials, only at their kinds and shapes. Arguments are hashed.
    """

    @wraps(compute)
    def get(structure: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        key = (compute, args, *kwargs.items())
        if key not in structure.memo:
            structure.memo[key] = compute(structure, *args, **kwargs)
        return structure.memo[key]

    return get


@dataclass(frozen=True, eq=False, repr=False)
class Structure(Frozen):
    """The variables, factors, levels and tying of a rooted tree or forest.

    Its arrays are read-only (``torch.tensor(tree.cardinality)`` copies one); roots, leaves and scopes come as copies.

    V variables, F factors, levels 0 (roots) to `depth`.

    Attributes:
        names: the variables' names, in tree order.
        cardinality: ``(V,)`` number of states of each variable.
        level_ptr: ``(depth + 2,)``; level l is ``level_ptr[l]:level_ptr[l+1]``.
        scope_ptr, scope: CSR; factor f's variables, in the order of its potential's axes.
        up: ``(F,)`` the axis of factor f that is its parent's.
        potential_id: ``(F,)`` number of each factor's potential; factors with the same number are tied.
        label_sets, label_set: state labels; variable v has labels ``label_sets[label_set[v]]``, or none if -1.
        grid: for a layered model with one root, the shape of each level, ``()`` for the root; else ``None``.
        memo: what was computed once.
    """

    names: Names
    cardinality: np.ndarray
    level_ptr: np.ndarray
    scope_ptr: np.ndarray
    scope: np.ndarray
    up: np.ndarray
    potential_id: np.ndarray
    label_sets: tuple[tuple[Label, ...], ...]
    label_set: np.ndarray
    grid: tuple[tuple[int, ...], ...] | None = None
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"memo": {}}

    def __len__(self) -> int:
        return len(self.names)

    # ------------------------------------------------------------------ shape

    @property
    def factors(self) -> int:
        """Number of factors F."""
        return len(self.potential_id)

    @property
    def depth(self) -> int:
        """The deepest level (0 for single nodes)."""
        return len(self.level_ptr) - 2

    @property
    @once
    def level(self) -> np.ndarray:
        """``(V,)`` level of each variable."""
        return frozen(np.repeat(np.arange(self.depth + 1), np.diff(self.level_ptr)))

    def at_level(self, level: int) -> np.ndarray:
        """Indices of the variables of one level, ascending. Raises `BadSpec` if there is no such level."""
        level = checked_number("level", level, self.depth + 1)
        return np.arange(self.level_ptr[level], self.level_ptr[level + 1])

    @property
    def roots(self) -> np.ndarray:
        """Indices of the roots, one per component."""
        return self.at_level(0)

    @property
    @once
    def parent(self) -> np.ndarray:
        """``(F,)`` the parent variable of each factor, ascending."""
        return frozen(self.scope[self.scope_ptr[:-1] + self.up])

    @property
    @once
    def factor_ptr(self) -> np.ndarray:
        """``(V + 1,)``; the factors below variable v are ``factor_ptr[v]:factor_ptr[v+1]``."""
        return frozen(np.searchsorted(self.parent, np.arange(len(self) + 1)))

    @property
    @once
    def parent_factor(self) -> np.ndarray:
        """``(V,)`` the factor above each variable, -1 for roots."""
        above = np.full(len(self), -1, dtype=np.int64)
        owner = np.repeat(np.arange(self.factors), np.diff(self.scope_ptr))
        below = np.ones(len(self.scope), dtype=bool)
        below[self.scope_ptr[:-1] + self.up] = False
        above[self.scope[below]] = owner[below]
        return frozen(above)

    @property
    @once
    def above(self) -> np.ndarray:
        """``(V,)`` the parent of each variable, -1 for roots."""
        factor = self.parent_factor
        above = np.full(len(self), -1, dtype=np.int64)
        above[factor >= 0] = self.parent[factor[factor >= 0]]
        return frozen(above)

    @property
    @once
    def below(self) -> np.ndarray:
        """``(V,)`` how many variables are at or below each."""
        above, count = self.above.tolist(), [1] * len(self)
        for v in range(len(self) - 1, len(self.roots) - 1, -1):  # children come after their parents
            count[above[v]] += count[v]
        return frozen(np.array(count, dtype=np.int64))

    @property
    @once
    def inner(self) -> np.ndarray:
        """``(V,)`` whether each variable has children."""
        inner = np.zeros(len(self), dtype=bool)
        inner[self.parent[np.diff(self.scope_ptr) > 1]] = True
        return frozen(inner)

    @property
    @once
    def _leaves(self) -> np.ndarray:
        return np.flatnonzero(~self.inner)

    @property
    def leaves(self) -> np.ndarray:
        """Indices of the variables without children, ascending; row-major on a grid."""
        return self._leaves.copy()

    @property
    def leaf_shape(self) -> tuple[int, ...]:
        """How the leaves are laid out: ``(n,)`` or ``(H, W)`` on a grid, else ``(number of leaves,)``."""
        return (self.grid and self.grid[-1]) or (len(self._leaves),)

    def scope_of(self, factor: int) -> np.ndarray:
        """The variables of a factor, in the order of its potential's axes. Raises `BadSpec` if there is none."""
        factor = checked_number("factor", factor, self.factors)
        return self.scope[self.scope_ptr[factor] : self.scope_ptr[factor + 1]].copy()

    def children_of(self, factor: int) -> np.ndarray:
        """The children of a factor, in the order of its potential's axes."""
        return np.delete(self.scope_of(factor), self.up[factor])

    def factors_of(self, variable: int) -> range:
        """The factors below a variable. Raises `BadSpec` if there is none."""
        variable = checked_number("variable", variable, len(self))
        return range(int(self.factor_ptr[variable]), int(self.factor_ptr[variable + 1]))

    # ------------------------------------------------------------------ names and states

    def scope_names(self, factor: int) -> tuple[Label, ...]:
        """The names of a factor's variables, in the order of its potential's axes."""
        return tuple(self.names[v] for v in self.scope_of(factor).tolist())

    def index(self, name: Label) -> int:
        """Index of the variable called `name`. Raises `BadEvidence` if there is none."""
        try:
            return self.names.index(name)
        except (KeyError, TypeError):
            close = did_you_mean(name, self.names)
            raise BadEvidence(f"the model has no variable {brief(name)}; it has {listing(self.names)}{close}") from None

    def labels(self, variable: int) -> tuple[Label, ...] | None:
        """State labels of a variable, or ``None`` if its states are only numbered."""
        i = int(self.label_set[checked_number("variable", variable, len(self))])
        return None if i < 0 else self.label_sets[i]

    def state_names(self, variable: int) -> StateNames:
        """What the states of a variable are called."""
        variable = checked_number("variable", variable, len(self))
        return self._state_names(int(self.cardinality[variable]), int(self.label_set[variable]))

    def state(self, variable: int, state: object) -> int:
        """Index of the state that is called so (see `StateNames`). Raises `BadEvidence` if there is none."""
        return self.state_names(variable).state(state, self.names[variable])

    @once
    def _state_names(self, size: int, label_set: int) -> StateNames:
        return StateNames(size, None if label_set < 0 else self.label_sets[label_set])

    # ------------------------------------------------------------------ comparison

    def __eq__(self, other: object) -> bool:
        """Whether names, arrays and the labels of all variables are the same."""
        if not isinstance(other, Structure):
            return NotImplemented
        return (
            all(np.array_equal(getattr(self, a), getattr(other, a)) for a in ARRAYS)
            and self.names == other.names
            and self._has_labels_of(other)
        )

    @once
    def __hash__(self) -> int:
        """Of what `__eq__` compares, but for most of the names and for which variable has which labels."""
        arrays = tuple(getattr(self, a).astype(np.int64).tobytes() for a in ARRAYS)
        labels = frozenset(self.label_sets[i] for i in np.unique(self.label_set) if i >= 0)
        return hash((self.names, arrays, labels))

    def _has_labels_of(self, other: Structure) -> bool:
        """Each pair of label sets that meet is compared once."""
        pairs = np.unique(np.stack([self.label_set, other.label_set]), axis=1).T
        return all(
            a >= 0 and b >= 0 and self.label_sets[a] == other.label_sets[b]
            for a, b in pairs.tolist()
            if a >= 0 or b >= 0
        )


def checked_number(what: str, given: Any, count: int) -> int:
    """The number of a level, factor or variable. Raises `BadSpec` unless it is a whole number below `count`."""
    if type(given) is not int and (not isinstance(given, int | np.integer) or isinstance(given, bool)):
        raise BadSpec(f"the number of a {what} is a whole number, 0 to {count - 1}; got {brief(given)}")
    if not 0 <= given < count:
        raise BadSpec(f"the tree has no {what} {brief(given)}; their numbers are 0 to {count - 1}")
    return int(given)
