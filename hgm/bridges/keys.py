"""Names of variables that other libraries call by any hashable object."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from hgm.errors import BadSpec

__all__ = ["as_names"]


def as_names(keys: Iterable[Hashable]) -> dict[Hashable, str]:
    """The name of each variable: ``str(key)``. Raises `BadSpec` if two keys, such as 1 and "1", get the same name."""
    names = {key: str(key) for key in keys}
    taken: dict[str, Hashable] = {}
    for key, name in names.items():
        if name in taken:
            raise BadSpec(
                f"the variables {taken[name]!r} and {key!r} would both be called {name!r}; rename one of them"
            )
        taken[name] = key
    return names
