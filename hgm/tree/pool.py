"""`Pool`: which factors share a potential. What is the same object is tied."""

from __future__ import annotations

import numpy.typing as npt

from hgm.tree.potential import Potential, as_potential

__all__ = ["Pool"]


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
