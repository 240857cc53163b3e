"""The numbers of a table as a user has them, read as float64 or refused: nothing is dropped on the way.

Masks, imaginary parts, gradients, labels of rows and dates are refused or followed; NumPy by itself would forget them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hgm.errors import BadPotential, brief, listing
from hgm.tree.labels import Label, StateNames

__all__ = ["Declared", "Order", "arranged", "checked", "checked_name", "first", "label_order", "log", "non_negative"]

Order = tuple[tuple[int, ...], ...]  # for each axis of a table, where each state stands
Declared = tuple[object, tuple[int, tuple[Label, ...] | None] | None]  # name of a variable, its states if declared


def checked(values: npt.ArrayLike, what: str) -> np.ndarray:
    """A float64 copy. Raises `BadPotential`, saying `what` they are, unless all are numbers or ``-inf``."""
    table, raw = _read(values, what)
    bad = np.isnan(table) | np.isposinf(table)
    if bad.any():
        raise BadPotential(f"{what} of a potential must be finite; entry {first(bad)} is {table[bad][0]}")
    lost = (table == 0) & (raw != 0)
    if lost.any():
        raise BadPotential(
            f"entry {first(lost)} of {what} of a potential is {raw[lost][0]}, smaller than float64 holds; give logs "
            "(from_log), or 0 for a zero"
        )
    return table


def non_negative(values: npt.ArrayLike, what: str) -> np.ndarray:
    """A float64 copy. Raises `BadPotential`, saying `what` they are, unless all are numbers from 0 up."""
    table = checked(values, what)
    if (table < 0).any():
        raise BadPotential(f"a potential must be non-negative; entry {first(table < 0)} is {table[table < 0][0]}")
    return table


def log(values: Any) -> np.ndarray:
    """log values, ``-inf`` where they are 0."""
    with np.errstate(divide="ignore"):
        return np.log(values)


def checked_name(name: object) -> str:
    """The name of a potential. Raises `BadPotential` unless it is a string that is not empty."""
    if not isinstance(name, str) or not name:
        raise BadPotential(f"the name of a potential must be a string that is not empty; got {brief(name)}")
    return name


def first(mask: np.ndarray) -> tuple[int, ...]:
    """Index of the first true entry."""
    return tuple(int(i) for i in np.argwhere(mask)[0])


# ---------------------------------------------------------------------- labelled rows and columns


def label_order(given: object, variables: Sequence[Declared] = ()) -> Order | None:
    """Where each state stands on each axis of a table with labels, as pandas has them; ``None`` for another one.

    Args:
        given: the table.
        variables: for each axis the variable, if it is known. Otherwise, and for one without labels, the labels of a
            table are the numbers of states.

    Raises:
        BadPotential: if the labels of an axis are not the states of its variable, each once.
    """
    axes = _axes(given)
    if axes is None:
        return None
    order = []
    for axis, labels in enumerate(axes):
        name, declared = variables[axis] if axis < len(variables) else (None, None)
        names = StateNames(*(declared or (len(labels), None)))
        found = [-1 if (i := names.find(label)) is None else i for label in labels]
        if sorted(found) != list(range(names.size)):
            whose = f"the states of {name!r}, which are {names}" if declared else f"the numbers {names} of states"
            raise BadPotential(
                f"axis {axis} of a table is labelled {listing([repr(label) for label in labels])}, not by "
                f"{whose}; declare these labels for the variable in Tree.from_factors, or give the table without labels"
            )
        order.append(tuple(np.argsort(np.array(found, dtype=np.int64)).tolist()))
    return tuple(order)


def arranged(given: Any, order: Order) -> np.ndarray:
    """The numbers of a table with labels in the order of the states."""
    return np.asarray(given)[np.ix_(*order)]


def _axes(given: Any) -> list[list[object]] | None:
    """The labels of each axis of a table of pandas, ``None`` for anything without labels."""
    library = type(given).__module__.partition(".")[0]
    if library in ("polars", "xarray") and hasattr(given, "to_numpy"):
        raise BadPotential(f"a table of {library} names its rows or columns; give its numbers, table.to_numpy()")
    axes = ("index", "columns") if library == "pandas" else ()
    return [list(getattr(given, axis)) for axis in axes if hasattr(given, axis)] or None


# ---------------------------------------------------------------------- one array


def _read(values: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """A float64 copy, and what it was made of."""
    wanted = f"{what} of a potential must be an array of numbers"
    try:
        raw = np.asarray(_plain(values, what))
        if raw.dtype.kind == "O":
            for entry in raw.ravel().tolist():
                foreign = isinstance(entry, np.generic) and entry.dtype.kind not in "biuf"
                if foreign or not hasattr(entry, "__float__"):
                    raise BadPotential(f"{wanted}; got {brief(entry)} ({type(entry).__name__})")
        elif raw.dtype.kind not in "biuf":
            raise BadPotential(f"{wanted}; got {_KINDS.get(raw.dtype.kind, raw.dtype)}")
        with np.errstate(over="ignore", under="ignore"):
            return np.array(raw, dtype=np.float64), raw
    except BadPotential:
        raise
    except OverflowError:
        raise BadPotential(f"{wanted} that float64 holds; give logs (from_log)") from None
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadPotential(f"{wanted}: {error}") from None


_KINDS = {"c": "complex numbers", "M": "dates", "m": "time differences", "U": "strings", "S": "bytes", "V": "records"}


def _plain(values: Any, what: str) -> Any:
    """What NumPy reads without dropping anything: no mask, label or gradient."""
    if isinstance(values, (list, tuple)):
        if all(type(entry) in (int, float) for entry in values):
            return values
        return [_plain(entry, what) for entry in values]
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        if mask.any():
            raise BadPotential(f"{what} of a potential must be known; entry {first(mask)} is masked")
        return values.data
    if hasattr(values, "requires_grad"):  # a tensor
        if values.requires_grad:
            raise BadPotential(
                f"{what} of a potential are numbers, which keep no gradient; give tensor.detach(), or hand the tensor "
                "to hgm.log_partition as one of its log_potentials"
            )
        if values.is_sparse or not (values.is_floating_point() or values.is_complex()):
            values = values.to_dense()
        return (values.double() if values.is_floating_point() else values).cpu().numpy()
    order = label_order(values)
    return values if order is None else arranged(values, order)
