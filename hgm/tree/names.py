"""Names of variables, also for a million of them without a million strings.

A `Tree` asks two things of its names: the name of variable i, and the index of a name. `ListedNames` stores them, and
they may be strings, numbers, tuples: what the source of a model calls its variables. `GridNames` computes them from a
level's prefix and the node's position; `ReorderedNames` are others in another order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from math import prod
from operator import index
from typing import SupportsIndex, overload

import numpy as np

from hgm.errors import BadSpec, brief, listing
from hgm.tree.labels import Label, read_key

__all__ = ["GridNames", "ListedNames", "Names", "ReorderedNames"]


class Names:
    """An indexed set of distinct names: ``names[i]``, ``names.index(name)``, ``len(names)``, iteration.

    As in a tuple, negative positions count from the end, and a slice is a tuple of names.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def _name(self, i: int) -> Label:
        """Name i, 0 <= i < len(self)."""
        raise NotImplementedError

    @overload
    def __getitem__(self, i: SupportsIndex) -> Label: ...

    @overload
    def __getitem__(self, i: slice) -> tuple[Label, ...]: ...

    def __getitem__(self, i: SupportsIndex | slice) -> Label | tuple[Label, ...]:
        if isinstance(i, slice):
            return tuple(self._name(j) for j in range(*i.indices(len(self))))
        at = index(i)
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._name(at % len(self))

    def index(self, name: Label) -> int:
        """Position of `name`. Raises `KeyError` if there is none."""
        raise NotImplementedError

    def take(self, order: np.ndarray) -> Names:
        """The names reordered: entry i of the result is entry ``order[i]`` of this."""
        if np.array_equal(order, np.arange(len(self))):
            return self
        return self._reordered(order)

    def _reordered(self, order: np.ndarray) -> Names:
        return ReorderedNames(self, order)

    def __iter__(self) -> Iterator[Label]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Names)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    def __hash__(self) -> int:
        return hash((len(self), self[:1], self[-1:]))  # of a million names too it takes no time

    def __contains__(self, name: object) -> bool:
        try:
            self.index(name)
        except (KeyError, TypeError):
            return False
        return True

    def __repr__(self) -> str:
        return f"Names({listing(self)})"


class ListedNames(Names):
    """Names stored one by one. Raises `BadSpec` if one comes twice or cannot be a name (`read_key`)."""

    def __init__(self, names: Sequence[Label]) -> None:
        self._names = tuple(read_key(name, "a variable's name") for name in names)
        if len(self._index) < len(self._names):
            twice = next(name for i, name in enumerate(self._names) if self._index[name] != i)
            raise BadSpec(f"variable {twice!r} is declared twice; names must be distinct")

    @cached_property
    def _index(self) -> dict[Label, int]:
        return {name: i for i, name in enumerate(self._names)}

    def _reordered(self, order: np.ndarray) -> Names:
        return ListedNames([self._names[i] for i in order])

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, i: SupportsIndex) -> Label: ...

    @overload
    def __getitem__(self, i: slice) -> tuple[Label, ...]: ...

    def __getitem__(self, i: SupportsIndex | slice) -> Label | tuple[Label, ...]:
        return self._names[i]

    def __iter__(self) -> Iterator[Label]:
        return iter(self._names)

    def index(self, name: Label) -> int:
        """Position of `name`. Raises `KeyError` if there is none."""
        return self._index[name]


class ReorderedNames(Names):
    """The names of `base` in another order: name i is ``base[order[i]]``; ``order`` is a permutation."""

    def __init__(self, base: Names, order: np.ndarray) -> None:
        self.base = base
        self.order = order

    @cached_property
    def _rank(self) -> np.ndarray:
        rank = np.empty_like(self.order)
        rank[self.order] = np.arange(len(self.order))
        return rank

    def _reordered(self, order: np.ndarray) -> Names:
        return self.base.take(self.order[order])

    def __len__(self) -> int:
        return len(self.order)

    def _name(self, i: int) -> Label:
        return self.base[int(self.order[i])]

    def index(self, name: Label) -> int:
        """Position of `name`. Raises `KeyError` if there is none."""
        return int(self._rank[self.base.index(name)])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ReorderedNames) and np.array_equal(self.order, other.order):
            return self.base == other.base
        return super().__eq__(other)

    __hash__ = Names.__hash__


class GridNames(Names):
    """Names of a layered model: ``prefix``, or ``prefix + "3"``, or ``prefix + "3_5"`` (row, column), level by level.

    Args:
        prefixes: one per level, distinct, none the beginning of another followed by a digit.
        shapes: one per level: ``()`` for a single node named by the bare prefix, ``(n,)`` or ``(H, W)``.

    Raises:
        BadSpec: for prefixes that could give two nodes one name.
    """

    def __init__(self, prefixes: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> None:
        self.prefixes = tuple(prefixes)
        for prefix in self.prefixes:
            if not isinstance(prefix, str):
                raise BadSpec(f"the name of a level is a string, what its variables are called by; got {brief(prefix)}")
        self.shapes = tuple(shapes)
        if len(set(self.prefixes)) < len(self.prefixes):
            raise BadSpec(f"the names of the levels must be distinct; got {listing(self.prefixes)}")
        for prefix in self.prefixes:
            stem = len(prefix.rstrip("0123456789_"))
            short = next((prefix[:n] for n in range(stem, len(prefix)) if prefix[:n] in self.prefixes), None)
            if short is not None:
                raise BadSpec(
                    f"levels named {short!r} and {prefix!r} could give two variables one name; "
                    "choose names of which none is another followed by digits"
                )
        self._start = [0, *accumulate(map(prod, shapes))]

    def __len__(self) -> int:
        return self._start[-1]

    def _name(self, i: int) -> str:
        level = bisect_right(self._start, i) - 1
        rest, position = i - self._start[level], []
        for size in reversed(self.shapes[level]):
            rest, x = divmod(rest, size)
            position.append(str(x))
        return self.prefixes[level] + "_".join(reversed(position))

    def index(self, name: Label) -> int:
        """Position of `name`. Raises `KeyError` if there is none."""
        if not isinstance(name, str) or len(name) > 60 + max(map(len, self.prefixes)):  # longer than any of these
            raise KeyError(name)
        for level, (prefix, shape) in enumerate(zip(self.prefixes, self.shapes, strict=True)):
            if name.startswith(prefix):
                parts = name[len(prefix) :].split("_") if shape else []
                if len(parts) != len(shape) or not (shape or name == prefix) or not all(map(str.isdecimal, parts)):
                    continue
                i = 0
                for part, size in zip(parts, shape, strict=True):
                    x = int(part)
                    if x >= size or str(x) != part:  # "03" is no name
                        break
                    i = i * size + x
                else:
                    return self._start[level] + i
        raise KeyError(name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GridNames):
            return self.prefixes == other.prefixes and self.shapes == other.shapes
        return super().__eq__(other)

    __hash__ = Names.__hash__
