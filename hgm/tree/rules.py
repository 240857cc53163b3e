"""`Rules`: a joint table of which few entries are not zero, kept as a list of them."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from hgm.errors import BadPotential
from hgm.tree.entries import checked, first, non_negative
from hgm.tree.potential import Potential

__all__ = ["Rules"]


class Rules(Potential):
    """A joint table with sparse support: psi is zero except for R listed combinations of states.

    The production rules of the Random Hierarchy Model: rule r lets a parent in state ``states[r, 0]`` have children in
    states ``states[r, 1:]``, with weight ``weights[r]``.

    Args:
        shape: cardinality of each axis, parent first.
        states: ``(R, len(shape))`` integers, each row one allowed combination, no row twice.
        weights: ``(R,)`` non-negative entries; default all one.
        name: as for `Potential`.

    Raises:
        BadPotential: for a wrong shape, a state out of range, a repeated rule or a bad weight.
    """

    states: np.ndarray

    def __init__(
        self,
        shape: tuple[int, ...],
        states: npt.ArrayLike,
        weights: npt.ArrayLike | None = None,
        *,
        name: str | None = None,
    ) -> None:
        rows = _rows(states)
        table = non_negative(np.ones(len(rows)) if weights is None else weights, "weights")
        self._hold(shape, None, table, {"states": rows}, name)

    @classmethod
    def from_log(
        cls, shape: tuple[int, ...], states: npt.ArrayLike, log_weights: npt.ArrayLike, *, name: str | None = None
    ) -> Self:
        """Rules with weights ``exp(log_weights)``. Raises `BadPotential` as the class does."""
        return cls.from_parts(shape, checked(log_weights, "log_weights"), {"states": _rows(states)}).named(name)

    def check(self) -> None:
        """Raises `BadPotential` unless every rule is in range, no rule comes twice, and one has a positive weight."""
        shape, states = self.shape, self.states
        if len(shape) < 1 or min(shape) < 1:
            raise BadPotential(f"rules need at least one axis and no empty one; their shape is {shape}")
        if states.shape[1] != len(shape) or not np.issubdtype(states.dtype, np.integer):
            raise BadPotential(
                f"rules over axes {shape} need integer states of shape (R, {len(shape)}); "
                f"got {states.dtype} of shape {states.shape}"
            )
        if self.log_potential.shape != (len(states),):
            raise BadPotential(
                f"{len(states)} rules need as many weights; got an array of shape {self.log_potential.shape}"
            )
        outside = (states < 0) | (states >= np.asarray(shape))
        if outside.any():
            rule, axis = first(outside)
            raise BadPotential(
                f"rule {rule} has state {states[rule, axis]} on axis {axis}; allowed are 0 to {shape[axis] - 1}"
            )
        if len(np.unique(states, axis=0)) < len(states):
            raise BadPotential("a rule (one combination of states) is listed twice; add its weights into one")
        if len(states) == 0 or np.isneginf(self.log_potential).all():
            raise BadPotential("rules without a positive weight: no state is allowed")

    def parts(self) -> dict[str, np.ndarray]:
        """The states of the rules."""
        return {"states": self.states}

    def entries(self) -> np.ndarray:
        """The number of the rule at each place, -1 where there is none. Dense, though rules are not."""
        entries = np.full(self.shape, -1, dtype=np.int64)
        entries[tuple(self.states.T)] = np.arange(self.size)
        return entries

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The states and the numbers of all rules."""
        return self.states, np.arange(self.size)

    def log_at(self, states: tuple[np.ndarray, ...]) -> np.ndarray:
        """log weight of the rules that allow these states, ``-inf`` where none does."""
        asked = np.stack(states, axis=-1)
        together = np.concatenate([self.states, asked.reshape(-1, self.axes)])
        known, number = np.unique(together, axis=0, return_inverse=True)
        log = np.full(len(known), -np.inf)
        log[number.ravel()[: self.size]] = self.log_potential
        return log[number.ravel()[self.size :]].reshape(asked.shape[:-1])

    @property
    def complete(self) -> bool:
        """Whether every combination is a rule."""
        return self.size == np.prod(self.shape, dtype=float)

    def __repr__(self) -> str:
        called = "" if self.name is None else f", name={self.name!r}"
        return f"Rules({'x'.join(map(str, self.shape))}, {len(self.states)} rules{called})"


def _rows(states: npt.ArrayLike) -> np.ndarray:
    if isinstance(states, np.ma.MaskedArray) and np.ma.getmaskarray(states).any():
        raise BadPotential("the states of rules must be known; some of them are masked")
    try:
        rows = np.asarray(states)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadPotential(f"the states of rules must be a matrix of integers: {error}") from None
    if rows.ndim != 2:
        raise BadPotential(f"the states of rules must be a matrix (rules, axes); got shape {rows.shape}")
    return rows
