"""The networks by name: `BASELINES`, and what enters one there.

A network is a function of a `Problem` and a width, a whole number from 1 up, whose docstring begins with what it is:

    @baseline("mine")
    def mine(problem: Problem, width: int) -> nn.Module: ...

What it gives is called ``f(z, sigma)``; `Framed` makes that of a module that maps features to features. It never has
fewer parameters when it is wider.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import TypeVar

from torch import nn

from hgm.baselines.problem import Problem
from hgm.errors import BadExtension, BadSpec, brief, did_you_mean

__all__ = ["BASELINES", "Baseline", "Recipe", "baseline", "found", "names"]

Recipe = Callable[[Problem, int], nn.Module]
F = TypeVar("F", bound=Recipe)


@dataclass(frozen=True)
class Baseline:
    """A network's name, what it is in one line, and the function ``f(problem, width)`` that makes it."""

    name: str
    text: str
    recipe: Recipe

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not isinstance(self.text, str):
            raise BadExtension(f"a network has a name and a line of text; got {brief(self.name)}, {brief(self.text)}")
        if not callable(self.recipe):
            raise BadExtension(
                f"the network {self.name!r} must be a function f(problem, width); got {brief(self.recipe)}"
            )
        try:
            signature(self.recipe).bind(None, 1)
        except (TypeError, ValueError) as error:
            raise BadExtension(f"the network {self.name!r} must be a function f(problem, width): {error}") from None


BASELINES: dict[str, Baseline] = {}
"""The networks by name."""


def baseline(name: str, text: str | None = None) -> Callable[[F], F]:
    """Register a function of a `Problem` and a width as the network `name`.

    Args:
        name: a word.
        text: what it is; default the first line of the function's docstring.

    Raises:
        BadExtension: for a name that is none or taken, or a function that cannot be called with (problem, width).
    """
    if not isinstance(name, str) or not name:
        raise BadExtension(f'a network needs a name, as in @baseline("mine"); got {brief(name)}')
    if not isinstance(text, str | None):
        raise BadExtension(f"the text of the network {name!r} must be a line that says what it is; got {brief(text)}")

    def register(recipe: F) -> F:
        if name in BASELINES:
            raise BadExtension(f"there is a network {name!r} already: {BASELINES[name].text}")
        says = text if text is not None else next(iter((recipe.__doc__ or "").strip().splitlines()), "")
        BASELINES[name] = Baseline(name, says, recipe)
        return recipe

    return register


def names() -> list[str]:
    """The names of all networks, as `make` takes them."""
    return list(BASELINES)


def found(name: object) -> Baseline:
    """The network of a name. Raises `BadSpec` if there is none."""
    known = BASELINES.get(name) if isinstance(name, str) else None
    if known is None:
        close = did_you_mean(name, BASELINES)
        raise BadSpec(f"there is no network {brief(name)}; there are {', '.join(BASELINES)}{close}")
    return known
