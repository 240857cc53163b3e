"""Potentials: the tables of factors.

A potential is a non-negative table psi with one axis per variable of a factor's scope. By convention axis 0 belongs to
the parent and the others to the children in order, but a factor may use any axis as the upward one (that is what
re-rooting changes), so a potential is never transposed or copied. Three kinds:

=========  ========================  ===================================================
kind       table                     for
=========  ========================  ===================================================
`Edge`     ``(S, S')``               one parent, one child
`Table`    ``(S, S_1, ..., S_k)``    a joint factor; with one axis a prior
`Rules`    sparse, ``(R, k + 1)``    a joint factor with few allowed combinations
=========  ========================  ===================================================
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from hgm.errors import BadPotential
from hgm.tree.arrays import Frozen, frozen

__all__ = ["Edge", "Pool", "Potential", "Rules", "Table", "as_potential"]


class Potential(Frozen):
    """A non-negative table over the joint states of a factor's scope. Immutable.

    Attributes:
        shape: cardinality of each axis.
        log_potential: natural log of the stored entries, float64, read-only; ``-inf`` is a hard zero.
    """

    shape: tuple[int, ...]
    log_potential: np.ndarray
    _values: np.ndarray | None  # the entries as they were given, so that writing them out again is exact

    @property
    def axes(self) -> int:
        """Number of variables in the scope."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of stored entries (= weights of a network that uses this potential once)."""
        return self.log_potential.size

    @property
    def has_values(self) -> bool:
        """Whether the entries themselves were given, and not their logs: then `values` is exact."""
        return self._values is not None

    @property
    def values(self) -> np.ndarray:
        """The stored entries themselves, not their logs (may overflow where the logs do not)."""
        return np.exp(self.log_potential) if self._values is None else self._values

    def entries(self) -> np.ndarray:
        """Integers of shape `shape`: which stored entry (counted as in ``log_potential.ravel()``) stands at each place.

        -1 is a hard zero. This says all that a kind of potential is: whatever needs the table works from it, unless a
        kind knows better. Dense: a kind with very many places overrides `support` and `dense_log` too.
        """
        raise NotImplementedError(f"{type(self).__name__} must say which stored entry stands where: entries()")

    def support(self) -> np.ndarray:
        """``(R, axes)`` the joint states at which psi is positive."""
        return np.argwhere(~np.isneginf(self.dense_log()))

    @property
    def complete(self) -> bool:
        """Whether there is a stored entry at every place: no hard zeros by its kind."""
        return bool((self.entries() >= 0).all())

    @property
    def positive(self) -> bool:
        """Whether psi has no zeros."""
        return self.complete and bool(np.isfinite(self.log_potential).all())

    def dense_log(self) -> np.ndarray:
        """log psi as a dense array of shape `shape`."""
        return np.append(self.log_potential.ravel(), -np.inf)[self.entries()]

    def with_log(self, log_potential: npt.ArrayLike) -> Self:
        """The same potential (kind, support) with other log entries, of the shape of `log_potential`.

        Raises `BadPotential` for another shape or a bad entry.
        """
        raise NotImplementedError

    def scaled(self, log_factor: float) -> Self:
        """psi times ``exp(log_factor)``."""
        return self.with_log(self.log_potential + log_factor)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Potential)
            and type(self) is type(other)
            and self.shape == other.shape
            and np.array_equal(self.log_potential, other.log_potential)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'x'.join(map(str, self.shape))})"


class Table(Potential):
    """A dense potential ``psi[s, a_1, ..., a_k]``: joint over a parent and all children, or, with one axis, a prior.

    Args:
        values: non-negative entries, any number of axes from 1 on.

    Raises:
        BadPotential: for a NaN, infinite or negative entry, an empty axis, or a table without a positive entry.
    """

    def __init__(self, values: npt.ArrayLike) -> None:
        table = _checked(values, "values")
        if (table < 0).any():
            raise BadPotential(f"a potential must be non-negative; entry {_first(table < 0)} is {table[table < 0][0]}")
        with np.errstate(divide="ignore"):
            self._set(np.log(table), table)

    @classmethod
    def from_log(cls, log_potential: npt.ArrayLike) -> Self:
        """The potential whose natural log is given; ``-inf`` is a hard zero. Raises `BadPotential` as the class."""
        self = cls.__new__(cls)
        self._set(_checked(log_potential, "log_potential"), None)
        return self

    def with_log(self, log_potential: npt.ArrayLike) -> Self:
        """The same kind of potential with other log entries. Raises `BadPotential` for another shape."""
        table = _checked(log_potential, "log_potential")
        if table.shape != self.shape:
            raise BadPotential(f"a potential of shape {self.shape} cannot take entries of shape {table.shape}")
        return type(self).from_log(table)

    def entries(self) -> np.ndarray:
        """All of them, in order."""
        return np.arange(self.size).reshape(self.shape)

    def dense_log(self) -> np.ndarray:
        """log psi, which is dense."""
        return self.log_potential

    @property
    def complete(self) -> bool:
        """Always."""
        return True

    def _set(self, log_potential: np.ndarray, values: np.ndarray | None) -> None:
        if log_potential.ndim < 1 or 0 in log_potential.shape:
            raise BadPotential(
                f"a potential needs at least one axis and no empty one; its shape is {log_potential.shape}"
            )
        if np.isneginf(log_potential).all():
            raise BadPotential(f"the potential of shape {log_potential.shape} is zero everywhere: no state is allowed")
        self.shape = log_potential.shape
        self.log_potential = frozen(log_potential)
        self._values = None if values is None else frozen(values)


class Edge(Table):
    """A matrix ``psi[s, a]``: parent state s, child state a. Arguments and errors as for `Table`."""

    def _set(self, log_potential: np.ndarray, values: np.ndarray | None) -> None:
        if log_potential.ndim != 2:
            raise BadPotential(
                f"an Edge is a matrix (parent states, child states); got shape {log_potential.shape}. "
                "Use Table for a prior or a joint factor"
            )
        super()._set(log_potential, values)


class Rules(Potential):
    """A joint table with sparse support: psi is zero except for R listed combinations of states.

    The production rules of the Random Hierarchy Model: rule r lets a parent in state ``states[r, 0]`` have children in
    states ``states[r, 1:]``, with weight ``weights[r]``.

    Args:
        shape: cardinality of each axis, parent first.
        states: ``(R, len(shape))`` integers, each row one allowed combination, no row twice.
        weights: ``(R,)`` non-negative entries; default all one.

    Raises:
        BadPotential: for a wrong shape, a state out of range, a repeated rule or a bad weight.
    """

    def __init__(self, shape: tuple[int, ...], states: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> None:
        rows = _rows(states)
        table = _checked(np.ones(len(rows)) if weights is None else weights, "weights")
        if (table < 0).any():
            raise BadPotential(f"rule weights must be non-negative; rule {_first(table < 0)} has {table[table < 0][0]}")
        with np.errstate(divide="ignore"):
            self._set(tuple(int(s) for s in shape), rows, np.log(table), table)

    @classmethod
    def from_log(cls, shape: tuple[int, ...], states: npt.ArrayLike, log_weights: npt.ArrayLike) -> Self:
        """Rules with weights ``exp(log_weights)``. Raises `BadPotential` as the class does."""
        self = cls.__new__(cls)
        self._set(tuple(int(s) for s in shape), _rows(states), _checked(log_weights, "log_weights"), None)
        return self

    def with_log(self, log_potential: npt.ArrayLike) -> Self:
        """The same rules with other log weights, ``(R,)``. Raises `BadPotential` for another shape."""
        return type(self).from_log(self.shape, self.states, log_potential)

    def _set(
        self, shape: tuple[int, ...], states: np.ndarray, log_weights: np.ndarray, weights: np.ndarray | None
    ) -> None:
        if len(shape) < 1 or min(shape) < 1:
            raise BadPotential(f"rules need at least one axis and no empty one; their shape is {shape}")
        if states.ndim != 2 or states.shape[1] != len(shape) or not np.issubdtype(states.dtype, np.integer):
            raise BadPotential(
                f"rules over axes {shape} need integer states of shape (R, {len(shape)}); "
                f"got {states.dtype} of shape {states.shape}"
            )
        if log_weights.shape != (len(states),):
            raise BadPotential(f"{len(states)} rules need as many weights; got an array of shape {log_weights.shape}")
        outside = (states < 0) | (states >= np.asarray(shape))
        if outside.any():
            rule, axis = _first(outside)
            raise BadPotential(
                f"rule {rule} has state {states[rule, axis]} on axis {axis}; allowed are 0 to {shape[axis] - 1}"
            )
        if len(np.unique(states, axis=0)) < len(states):
            raise BadPotential("a rule (one combination of states) is listed twice; add its weights into one")
        if len(states) == 0 or np.isneginf(log_weights).all():
            raise BadPotential("rules without a positive weight: no state is allowed")
        self.shape = shape
        self.states = frozen(states.astype(np.int64))
        self.log_potential = frozen(log_weights)
        self._values = None if weights is None else frozen(weights)

    def entries(self) -> np.ndarray:
        """The number of the rule at each place, -1 where there is none. Dense, though rules are not."""
        entries = np.full(self.shape, -1, dtype=np.int64)
        entries[tuple(self.states.T)] = np.arange(self.size)
        return entries

    def support(self) -> np.ndarray:
        """The states of all rules with positive weight."""
        return self.states[~np.isneginf(self.log_potential)]

    @property
    def complete(self) -> bool:
        """Whether every combination is a rule."""
        return self.size == np.prod(self.shape, dtype=float)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, Rules) and np.array_equal(self.states, other.states)

    def __repr__(self) -> str:
        return f"Rules({'x'.join(map(str, self.shape))}, {len(self.states)} rules)"


def as_potential(given: Potential | npt.ArrayLike) -> Potential:
    """A potential as it is, a matrix as an `Edge`, any other array as a `Table`. Raises `BadPotential`."""
    if isinstance(given, Potential):
        return given
    values = _checked(given, "values")
    return Edge(values) if values.ndim == 2 else Table(values)


class Pool:
    """Numbers potentials by identity: the same object gets the same number, so that its uses are tied.

    Attributes:
        potentials: the distinct potentials, in the order of their numbers.
    """

    def __init__(self) -> None:
        self.potentials: list[Potential] = []
        self._numbers: dict[int, tuple[object, int]] = {}  # keeps each object alive, so that its id stays its own

    def number(self, given: Potential | npt.ArrayLike) -> int:
        """The number of a potential or array. Raises `BadPotential` for an array that is none."""
        if id(given) not in self._numbers:
            self.potentials.append(as_potential(given))
            self._numbers[id(given)] = (given, len(self.potentials) - 1)
        return self._numbers[id(given)][1]


def _checked(values: npt.ArrayLike, what: str) -> np.ndarray:
    try:
        table = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadPotential(f"{what} of a potential must be an array of numbers: {error}") from None
    bad = np.isnan(table) | np.isposinf(table)
    if bad.any():
        raise BadPotential(f"{what} of a potential must be finite; entry {_first(bad)} is {table[bad][0]}")
    return table


def _rows(states: npt.ArrayLike) -> np.ndarray:
    try:
        rows = np.asarray(states)
    except ValueError as error:
        raise BadPotential(f"the states of rules must be a matrix of integers: {error}") from None
    if rows.ndim != 2:
        raise BadPotential(f"the states of rules must be a matrix (rules, axes); got shape {rows.shape}")
    return rows


def _first(mask: np.ndarray) -> tuple[int, ...]:
    """Index of the first true entry."""
    return tuple(int(i) for i in np.argwhere(mask)[0])
