"""The studies by name.

A study of your own is a function and a line above it::

@study("mine")
def run(out: Path, *, quick: bool) -> None:
    \"\"\"What it asks, in one line.\"\"\"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hgm.errors import HgmError

__all__ = ["STUDIES", "Study", "study"]


class Function(Protocol):
    """What a study does: answer, and write what it found into the folder `out`; `quick` wants a small version."""

    def __call__(self, out: Path, *, quick: bool) -> Any:
        """Run it."""


F = TypeVar("F", bound=Function)


@dataclass(frozen=True)
class Study:
    """A function under a name.

    Attributes:
        name: as the command line takes it.
        function: what it does.
    """

    name: str
    function: Function

    @property
    def text(self) -> str:
        """What it asks: the first line of the function's docstring."""
        return next(iter((self.function.__doc__ or "").strip().splitlines()), "")

    def run(self, out: Path, quick: bool = False) -> None:
        """Run it, and write what it found into the folder `out`."""
        self.function(out, quick=quick)


STUDIES: dict[str, Study] = {}


def study(name: str) -> Callable[[F], F]:
    """Register a function as the study `name`. Raises `HgmError` for a name that is taken."""

    def register(function: F) -> F:
        if name in STUDIES:
            raise HgmError(f"there is a study {name!r} already: {STUDIES[name].text}")
        STUDIES[name] = Study(name, function)
        return function

    return register
