"""What is handed in for a table becomes a potential; `Pool`: which factors share one. The same object is tied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from hgm.errors import BadExtension
from hgm.tree.entries import Declared, Order, arranged, checked, label_order
from hgm.tree.potential import Edge, Potential, Table

__all__ = ["Pool", "as_potential"]


class Pool:
    """Numbers potentials by identity: the same object gets the same number, so that its uses are tied.

    Attributes:
        potentials: the distinct potentials, in the order of their numbers.
    """

    def __init__(self) -> None:
        self.potentials: list[Potential] = []
        # keeps each object alive, so that its id stays its own
        self._numbers: dict[tuple[int, Order | None], tuple[object, int]] = {}

    def number(self, given: Potential | npt.ArrayLike, variables: Sequence[Declared] = ()) -> int:
        """The number of a potential or array. Raises `BadPotential` for an array that is none.

        A table with labelled rows and columns is put in the order of the states of the `variables` of its axes
        (`hgm.tree.entries.label_order`); uses in different orders are different potentials.
        """
        order = label_order(given, variables)
        key = (id(given), order)
        if key not in self._numbers:
            self.potentials.append(as_potential(given if order is None else arranged(given, order)))
            self._numbers[key] = (given, len(self.potentials) - 1)
        return self._numbers[key][1]


def as_potential(given: Potential | npt.ArrayLike) -> Potential:
    """A checked potential as it is, a matrix as an `Edge`, any other array as a `Table`. Raises `BadPotential`."""
    if isinstance(given, Potential):
        if not given._checked:  # of a kind that has its own way of making them
            if not (hasattr(given, "shape") and hasattr(given, "log_potential")):
                raise BadExtension(f"{type(given).__name__}.__init__ must call super().__init__(shape, log_potential)")
            given.check()
        return given
    values = checked(given, "values")
    return Edge(values) if values.ndim == 2 else Table(values)
