"""Potentials: the tables of factors.

A potential is a non-negative table psi with one axis per variable of a factor's scope. By convention axis 0 belongs to
the parent and the others to the children in order, but a factor may use any axis as the upward one (that is what
re-rooting changes), so a potential is never transposed or copied. Three kinds, and any other that says where its
weights stand (`Potential.entries`):

=========  ========================  ===================================================
kind       table                     for
=========  ========================  ===================================================
`Edge`     ``(S, S')``               one parent, one child
`Table`    ``(S, S_1, ..., S_k)``    a joint factor; with one axis a prior
`Rules`    sparse, ``(R, k + 1)``    a joint factor with few allowed combinations
=========  ========================  ===================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from operator import index
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from hgm.errors import BadExtension, BadPotential, brief, check_free, extension
from hgm.tree.arguments import number
from hgm.tree.arrays import Frozen, frozen, integral
from hgm.tree.entries import checked, checked_name, log, non_negative

__all__ = ["KINDS", "Edge", "Potential", "Table"]

#: the kinds of potentials by the names of their classes: hgm's own, and every subclass that was defined
KINDS: dict[str, type[Potential]] = {}


class Potential(Frozen, ABC):
    """A non-negative table over the joint states of a factor's scope. Immutable.

    Subclass it for a kind of your own. `entries` is all that it must have: everything that hgm does works from that.
    What shape and weights do not say, it keeps as `parts`.

    Args:
        shape: cardinality of each axis.
        log_potential: ``(P,)`` natural log of the weights; ``-inf`` is a hard zero.
        parts: arrays of integers that the kind is made of, by name; they become attributes.
        name: what it is called in a tree, in `hgm.log_partition` for one; at most one potential of a tree has a name.

    Attributes:
        shape: cardinality of each axis.
        log_potential: natural log of the stored entries, float64, read-only; ``-inf`` is a hard zero.
        name: its name or ``None``, kept in trees, networks, learning and files; equal potentials may differ in it.

    Raises:
        BadPotential: for a weight that is NaN or infinite, no positive one, `entries` that do not fit, or a bad name.
        BadExtension: for `entries` that fail, or that depend on more than shape, weights and `parts`.
    """

    shape: tuple[int, ...]
    name: str | None = None
    _values: np.ndarray | None = None  # the entries as they were given, so that writing them out again is exact
    _checked: bool = False

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        name = cls.__name__
        check_free(cls, KINDS.get(name, cls), f"the potential {name}", BadPotential)
        KINDS[name] = cls

    def __init__(
        self,
        shape: Sequence[int],
        log_potential: npt.ArrayLike,
        parts: Mapping[str, np.ndarray] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self._hold(shape, checked(log_potential, "log_potential"), None, parts or {}, name)

    def _hold(
        self,
        shape: Sequence[int],
        log: np.ndarray | None,
        values: np.ndarray | None,
        parts: Mapping[str, np.ndarray],
        name: str | None,
    ) -> None:
        if name is not None:
            self.name = checked_name(name)
        try:
            self.shape = tuple(index(s) for s in shape)
        except TypeError:
            raise BadPotential(f"a potential's shape is one integer for each axis; got {brief(shape)}") from None
        if log is not None:
            self.log_potential = frozen(log)
        self._values = None if values is None else frozen(values)
        for key, part in parts.items():
            setattr(self, key, frozen(part))
        self.check()
        self._checked = True

    @cached_property
    def log_potential(self) -> np.ndarray:
        """Natural log of the stored entries, float64, read-only; ``-inf`` is a hard zero."""
        return frozen(self.logs())

    def logs(self) -> np.ndarray:
        """`log_potential`; where the entries were given and nobody has asked for their logs, it is not kept."""
        kept: np.ndarray | None = vars(self).get("log_potential")
        if kept is None and self._values is None:
            raise AttributeError(f"{type(self).__name__} has no log_potential yet")
        return log(self._values) if kept is None else kept

    @abstractmethod
    def entries(self) -> np.ndarray:
        """Integers of shape `shape`: which stored entry (counted as in ``log_potential.ravel()``) stands at each place.

        -1 is a hard zero. Dense: a kind with very many places overrides `places`, `log_at` and `complete` too.
        """

    def parts(self) -> dict[str, np.ndarray]:
        """The arrays of integers that say, with `shape` and the weights, all that the potential is."""
        return {}

    @classmethod
    def from_parts(
        cls, shape: Sequence[int], log_potential: npt.ArrayLike, parts: Mapping[str, np.ndarray] | None = None
    ) -> Self:
        """The potential of this kind with these weights and `parts`. Raises `BadPotential` as the class does."""
        self = cls.__new__(cls)
        Potential.__init__(self, shape, log_potential, parts)
        return self

    def check(self) -> None:
        """Raises unless `entries` puts every weight somewhere, one is positive, and `from_parts` can make it again."""
        name, log = type(self).__name__, checked(self.log_potential, "log_potential")
        with extension(f"{name}.entries()"):
            entries, size = self.entries(), log.size
        shown = f"{name}.entries() must be integers of shape {self.shape} from -1 to {size - 1}"
        if not integral(entries):
            raise BadPotential(f"{shown}; got {getattr(entries, 'dtype', type(entries).__name__)}")
        if entries.shape != self.shape or not entries.size or entries.min() < -1 or entries.max() >= size:
            limits = f" from {entries.min()} to {entries.max()}" if entries.size else ""
            raise BadPotential(f"{shown}; got shape {entries.shape}{limits}")
        missing = np.setdiff1d(np.arange(size), entries)
        if missing.size:
            raise BadPotential(f"{shown}, each weight somewhere; weight {missing[0]} stands nowhere")
        if np.isneginf(log).all():
            raise BadPotential(f"the potential {self} is zero everywhere: no state is allowed")
        parts = self.parts()
        if not isinstance(parts, Mapping) or not all(map(integral, parts.values())):
            raise BadPotential(f"{name}.parts() must be arrays of integers by name; got {parts!r:.100}")
        if type(self).from_parts.__func__ is Potential.from_parts.__func__:  # type: ignore[attr-defined]
            again = type(self).__new__(type(self))
            vars(again).update(parts, shape=self.shape, log_potential=self.log_potential)
            with extension(f"{name}.entries(), from shape, log_potential and parts() alone,"):
                if not np.array_equal(again.entries(), entries):
                    raise BadExtension(f"{name}.entries() depends on more than shape, log_potential and parts()")

    @property
    def axes(self) -> int:
        """Number of variables in the scope."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of stored entries (= weights of a network that uses this potential once)."""
        return self.log_potential.size if self._values is None else self._values.size

    @property
    def has_values(self) -> bool:
        """Whether the entries themselves were given, and not their logs: then `values` is exact."""
        return self._values is not None

    @property
    def values(self) -> np.ndarray:
        """The stored entries themselves, not their logs (may overflow where the logs do not)."""
        return np.exp(self.log_potential) if self._values is None else self._values.copy()

    @property
    def complete(self) -> bool:
        """Whether there is a stored entry at every place: no hard zeros by its kind."""
        return bool((self.entries() >= 0).all())

    @property
    def positive(self) -> bool:
        """Whether psi has no zeros."""
        return self.complete and bool(self._allowed.all())

    @property
    def _allowed(self) -> np.ndarray:
        return np.isfinite(self.log_potential) if self._values is None else self._values > 0

    def dense_log(self) -> np.ndarray:
        """log psi as a dense array of shape `shape`."""
        return np.append(self.log_potential.ravel(), -np.inf)[self.entries()]

    def log_at(self, states: tuple[np.ndarray, ...]) -> np.ndarray:
        """log psi at joint states, given as one array of states for each axis."""
        return self.dense_log()[states]

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """``(R, axes)`` the joint states that have a stored entry, and ``(R,)`` which one, as `entries` counts."""
        entries = self.entries()
        return np.argwhere(entries >= 0), entries[entries >= 0]

    def support(self) -> np.ndarray:
        """``(R, axes)`` the joint states at which psi is positive."""
        states, entry = self.places()
        return states[~np.isneginf(self.log_potential.ravel()[entry])]

    def with_log(self, log_potential: npt.ArrayLike) -> Self:
        """The same potential (kind, support) with other log entries, of the shape of `log_potential`.

        Raises `BadPotential` for another shape or a bad entry.
        """
        log = checked(log_potential, "log_potential")
        if log.shape != self.log_potential.shape:
            raise BadPotential(
                f"{self} cannot take entries of shape {log.shape}; its own have {self.log_potential.shape}"
            )
        return self.from_parts(self.shape, log, self.parts()).named(self.name)

    def named(self, name: str | None) -> Self:
        """The same potential with this name, ``None`` for no name. Raises `BadPotential` unless it is a string."""
        other = copy(self)
        other.name = None if name is None else checked_name(name)
        return self if other.name == self.name else other

    def with_values(self, values: npt.ArrayLike) -> Self:
        """As `with_log`, from the entries themselves, which it keeps exactly."""
        table = non_negative(values, "values")
        other = self.with_log(log(table))
        other._values = frozen(table)
        return other

    def scaled(self, log_factor: float) -> Self:
        """psi times ``exp(log_factor)``. Raises `BadSpec` unless that is a finite number."""
        return self.with_log(self.log_potential + number(log_factor, "log_factor must be a finite number", np.isfinite))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Potential) or type(self) is not type(other) or self.shape != other.shape:
            return False
        mine, theirs = ({"log": p.log_potential, **p.parts()} for p in (self, other))
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        return hash((type(self), self.shape, (self.log_potential + 0.0).tobytes()))  # + 0.0: equal zeros, equal bytes

    def __repr__(self) -> str:
        called = "" if self.name is None else f", name={self.name!r}"
        return f"{type(self).__name__}({'x'.join(map(str, self.shape))}{called})"


class Table(Potential):
    """A dense potential ``psi[s, a_1, ..., a_k]``: joint over a parent and all children, or, with one axis, a prior.

    Args:
        values: non-negative entries, any number of axes from 1 on. Labelled rows and columns, as in pandas, must be
            labelled by the numbers of states here; `Tree.from_factors` knows the labels of variables too.
        name: as for `Potential`.

    Raises:
        BadPotential: for a NaN, infinite or negative entry, an empty axis, or a table without a positive entry.
    """

    def __init__(self, values: npt.ArrayLike, *, name: str | None = None) -> None:
        table = non_negative(values, "values")
        self._hold(table.shape, None, table, {}, name)

    @classmethod
    def from_log(cls, log_potential: npt.ArrayLike, *, name: str | None = None) -> Self:
        """The potential whose natural log is given; ``-inf`` is a hard zero. Raises `BadPotential` as the class."""
        log = checked(log_potential, "log_potential")
        return cls.from_parts(log.shape, log).named(name)

    @classmethod
    def from_parts(
        cls, shape: Sequence[int], log_potential: npt.ArrayLike, parts: Mapping[str, np.ndarray] | None = None
    ) -> Self:
        """The table of this shape with these log entries, in order."""
        if np.size(log_potential) != np.prod(shape, dtype=float):
            raise BadPotential(f"a table of shape {tuple(shape)} cannot have {np.size(log_potential)} entries")
        return super().from_parts(shape, np.reshape(log_potential, shape), parts)

    def check(self) -> None:
        """Raises `BadPotential` unless it has an axis, no empty one, and a positive entry."""
        if self.axes < 1 or 0 in self.shape:
            raise BadPotential(f"a potential needs at least one axis and no empty one; its shape is {self.shape}")
        if not self._allowed.any():
            raise BadPotential(f"the potential of shape {self.shape} is zero everywhere: no state is allowed")

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


class Edge(Table):
    """A matrix ``psi[s, a]``: parent state s, child state a. Arguments and errors as for `Table`."""

    def check(self) -> None:
        """Raises `BadPotential` unless it is a matrix that is a `Table`."""
        if self.axes != 2:
            raise BadPotential(
                f"an Edge is a matrix (parent states, child states); got shape {self.shape}. "
                "Use Table for a prior or a joint factor"
            )
        super().check()
