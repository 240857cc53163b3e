"""What callers hand in, looked at before it is used: each function gives it back, or raises one line that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from io import IOBase
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np

from hgm.errors import BadSpec, HgmError, brief, did_you_mean

__all__ = ["MOST", "choice", "flag", "is_series", "listed", "mapping", "number", "seeded", "whole"]

#: nodes of a level and entries of random tables: above that memory ends before the user learns why
MOST = 10**8
LARGEST = 2**63 - 1


def whole(name: str, value: Any, least: int, most: int = LARGEST) -> int:
    """The value, if it is a whole number from `least` to `most`; else raises `BadSpec`, naming the argument."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise BadSpec(f"{name} must be a whole number of at least {least}; got {brief(value)}")
    if value > most:
        raise BadSpec(f"{name} must be a whole number of at most {most}; got {brief(value)}")
    return int(value)


def number(value: Any, says: str, fits: Callable[[float], bool]) -> float:
    """The value as a float, if it is a real number that fits; else raises `BadSpec`, which `says` what it must be."""
    try:
        if isinstance(value, Real) and value is not True and value is not False and fits(float(value)):
            return float(value)
    except OverflowError:
        pass
    raise BadSpec(f"{says}; got {brief(value)}")


def flag(name: str, value: Any) -> bool:
    """The value, if it is a boolean; else raises `BadSpec`, naming the argument."""
    if not isinstance(value, bool | np.bool_):
        raise BadSpec(f"{name} must be True or False; got {brief(value)}")
    return bool(value)


def seeded(seed: Any) -> np.random.Generator:
    """A source of randomness. Raises `BadSpec` unless the seed is a whole number from 0 up."""
    return np.random.default_rng(whole("seed", seed, 0))


def choice(name: str, value: Any, among: Sequence[str], error: type[HgmError] = BadSpec) -> str:
    """The value, if it is one of the words `among`; else raises `error`, naming the argument."""
    if isinstance(value, str) and value in among:
        return value
    words = [repr(word) for word in among]
    wanted = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    raise error(f"{name} must be {wanted}; got {brief(value)}{did_you_mean(value, among)}")


def mapping(name: str, value: Any, of: str, error: type[HgmError] = BadSpec) -> Mapping[Any, Any]:
    """The value, if it is a mapping, `of` one thing to another, or ``None`` for an empty one; else raises `error`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise error(f"{name} must be a mapping {of}; got {brief(value)}")
    return value


def listed(name: str, value: Any, of: str, error: type[HgmError] = BadSpec) -> list[Any]:
    """The value as a list, if it is a series of things, `of` one kind, in an order; else raises `error`."""
    if not is_series(value):
        raise error(f"{name} must be a list of {of}; got {brief(value)}")
    return list(value)


def is_series(value: Any) -> bool:
    """Whether this is a list, a tuple, an array of one axis or the like: several things in an order."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping | AbstractSet | IOBase | PathLike):
        return False
    return getattr(value, "ndim", 1) == 1 and not getattr(value, "is_meta", False)
