"""The studies by name: `STUDIES`, which `hgm study` lists, and what enters one there.

A study is a function whose docstring begins with what it asks:

    @study("mine")
    def run(out: Path, *, quick: bool) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TypeVar

from hgm.errors import BadExtension, brief
from hgm.files.whole import checked_path
from hgm.tree.arguments import flag

__all__ = ["STUDIES", "Study", "study"]

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Study:
    """A function ``f(out, *, quick)`` under a name: it writes what it finds into the folder `out`."""

    name: str
    function: Callable[..., object]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not callable(self.function):
            raise BadExtension(f"a study is a name and a function; got {brief(self.name)}, {brief(self.function)}")

    @property
    def text(self) -> str:
        """What it asks: the first line of the function's docstring."""
        return next(iter((self.function.__doc__ or "").strip().splitlines()), "")

    def run(self, out: Path, quick: bool = False) -> None:
        """Run it; `quick` for a small version. Raises `BadSpec` for what is no folder's path."""
        self.function(checked_path(out, "the folder of a study"), quick=flag("quick", quick))


STUDIES: dict[str, Study] = {}
"""The studies by name."""


def study(name: str) -> Callable[[F], F]:
    """Register a function as the study `name`.

    Raises:
        BadExtension: for a name that is none or taken, or a function that cannot be called with (out, quick=...).
    """
    if not isinstance(name, str) or not name:
        raise BadExtension(f'a study needs a name, as in @study("mine"); got {brief(name)}')

    def register(function: F) -> F:
        if name in STUDIES:
            raise BadExtension(f"there is a study {name!r} already: {STUDIES[name].text}")
        try:
            signature(function).bind(Path(), quick=True)
        except TypeError as error:
            raise BadExtension(f"the study {name!r} must be a function f(out, *, quick): {error}") from None
        STUDIES[name] = Study(name, function)
        return function

    return register
