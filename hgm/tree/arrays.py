"""Arrays that do not change: what makes trees and potentials values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Frozen", "frozen", "integral"]


def frozen(array: np.ndarray) -> np.ndarray:
    """The array, read-only and contiguous."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def integral(array: object) -> bool:
    """Whether it is an array of integers."""
    return isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.integer)


class Frozen:
    """An object of read-only arrays. They are so in its copies too, where NumPy would make them writeable."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update({k: frozen(v) if isinstance(v, np.ndarray) else v for k, v in state.items()})
