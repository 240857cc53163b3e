"""Tables of data by name: mappings, and the data frames of pandas, polars and others, through narwhals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from hgm.errors import BadEvidence, brief, listing

__all__ = ["by_name", "check_rows", "check_unnamed"]


def by_name(given: Any) -> Mapping[Any, Any] | None:
    """What was seen of each variable: a mapping as it is, the columns of a data frame; ``None`` for anything else.

    Raises:
        BadEvidence: for a result that is no evidence, a frame that has two columns of one name, and one that is not
            read yet (a lazy one).
    """
    if isinstance(given, Mapping):
        if hasattr(given, "check_evidence"):  # a result
            given.check_evidence()
        return given
    if given is None or isinstance(given, Tensor | np.ndarray | list | tuple | str) or not hasattr(given, "columns"):
        return None
    import narwhals as nw  # takes a moment

    try:
        frame = nw.from_native(given, eager_only=True)
        return {column.name: column.to_native() for column in frame.iter_columns()}
    except nw.exceptions.DuplicateError as error:
        raise BadEvidence(f"a data frame with two columns of one name: {' '.join(str(error).split())}") from None
    except TypeError:
        raise BadEvidence(
            f"data come as a mapping from variables or a data frame held in memory; got {brief(given)}"
        ) from None


def check_rows(columns: Mapping[Any, Any]) -> None:
    """Raises `BadEvidence` if columns that name their rows (Series of pandas) name them differently."""
    first, of = None, None
    for name, column in columns.items():
        rows = None if isinstance(column, str | int | list | Tensor) else getattr(column, "index", None)
        if rows is None or callable(rows) or not hasattr(rows, "equals"):
            continue
        if first is not None and not first.equals(rows):
            raise BadEvidence(
                f"the columns of {of!r} and {name!r} name their rows differently; put them into one data frame, which "
                "aligns them, or give their values in order, .to_numpy()"
            )
        first, of = rows, name


def check_unnamed(given: Any, axis: str, what: str) -> None:
    """Raises `BadEvidence`, saying `what`, if a table names what stands on this axis: an array would forget the names.

    Args:
        given: a table of pandas or polars; anything else passes.
        axis: ``"columns"``, or ``"index"`` of a Series. Names that only count, 0, 1, 2, ..., are none.
        what: what is read.
    """
    names = None if isinstance(given, Tensor | np.ndarray | list | tuple) else getattr(given, axis, None)
    if names is None or callable(names) or list(names) == list(range(len(names))):
        return
    raise BadEvidence(
        f"{what} is an array in a fixed order, and this {type(given).__name__} has names of its own: "
        f"{listing([repr(name) for name in list(names)[:9]], total=len(names))}; give it by name, or its numbers "
        "in that order, .to_numpy()"
    )
