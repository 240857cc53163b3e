"""Names of variables, also for a million of them without a million strings.

A `Tree` asks two things of its names: the name of variable i, and the index of a name. `ListedNames` stores the strings;
`GridNames` computes them from a level's prefix and the node's position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import prod

import numpy as np

from hgm.errors import BadSpec

__all__ = ["GridNames", "ListedNames", "Names"]


class Names:
    """An indexed set of distinct strings: ``names[i]``, ``names.index(name)``, ``len(names)``, iteration."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, i: int) -> str:
        raise NotImplementedError

    def index(self, name: str) -> int:
        """Position of `name`. Raises `KeyError` if there is none."""
        raise NotImplementedError

    def take(self, order: np.ndarray) -> Names:
        """The names reordered: entry i of the result is entry ``order[i]`` of this."""
        if np.array_equal(order, np.arange(len(self))):
            return self
        return ListedNames([self[int(i)] for i in order])

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Names) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))


class ListedNames(Names):
    """Names stored one by one. Raises `BadSpec` if one comes twice or is not a string."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        for name in self._names:
            if not isinstance(name, str):
                raise BadSpec(f"a variable's name must be a string; got {name!r} ({type(name).__name__})")
        if len(self._index) < len(self._names):
            twice = next(name for i, name in enumerate(self._names) if self._index[name] != i)
            raise BadSpec(f"variable {twice!r} is declared twice; names must be distinct")

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self._names)}

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, i: int) -> str:
        return self._names[i]

    def index(self, name: str) -> int:
        return self._index[name]


class GridNames(Names):
    """Names of a layered model: level l's nodes are ``prefix``, or ``prefix + "3"``, or ``prefix + "3_5"`` (row, column).

    Args:
        prefixes: one per level, distinct, none the beginning of another followed by a digit.
        shapes: one per level: ``()`` for a single node named by the bare prefix, ``(n,)`` or ``(H, W)``.
    """

    def __init__(self, prefixes: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> None:
        self.prefixes = tuple(prefixes)
        self.shapes = tuple(shapes)
        self._start = np.concatenate([[0], np.cumsum([prod(shape) for shape in shapes])])

    def __len__(self) -> int:
        return int(self._start[-1])

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < len(self):
            raise IndexError(i)
        level = int(np.searchsorted(self._start, i, side="right")) - 1
        position = np.unravel_index(i - int(self._start[level]), self.shapes[level]) if self.shapes[level] else ()
        return self.prefixes[level] + "_".join(str(int(x)) for x in position)

    def index(self, name: str) -> int:
        for level, (prefix, shape) in enumerate(zip(self.prefixes, self.shapes, strict=True)):
            if name.startswith(prefix):
                parts = name[len(prefix) :].split("_") if shape else []
                if len(parts) == len(shape) and (shape or name == prefix) and all(part.isdecimal() for part in parts):
                    position = tuple(int(part) for part in parts)
                    if all(x < size for x, size in zip(position, shape, strict=True)):
                        i = int(self._start[level]) + int(np.ravel_multi_index(position, shape) if shape else 0)
                        if self[i] == name:
                            return i
        raise KeyError(name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GridNames):
            return self.prefixes == other.prefixes and self.shapes == other.shapes
        return super().__eq__(other)
