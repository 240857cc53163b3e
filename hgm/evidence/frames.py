"""Tables of data by name: mappings, and the data frames of pandas, polars and others, through narwhals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from hgm.errors import BadEvidence

__all__ = ["by_name"]


def by_name(given: Any) -> Mapping[Any, Any] | None:
    """What was seen of each variable: a mapping as it is, the columns of a data frame; ``None`` for anything else.

    Raises:
        BadEvidence: for a frame that has two columns of one name, or is not read yet (a lazy one).
    """
    if isinstance(given, Mapping):
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
            f"data come as a mapping from variables or a data frame held in memory; got a {type(given).__name__}"
        ) from None
