"""What the ensembles share: how their numbers and tables are given, and random tables."""

from __future__ import annotations

import numpy as np

from hgm.tree.arguments import MOST, number, whole
from hgm.tree.potential import Potential

__all__ = ["DEEPEST", "WIDEST", "Arity", "fraction", "is_one", "log_uniform", "sides", "stochastic"]

Arity = int | tuple[int, int]

DEEPEST = 10**6  # levels of a layered model
WIDEST = 63  # children of a joint table: NumPy has arrays of 64 axes


def sides(arity: Arity) -> tuple[int, ...]:
    """An arity as a tuple, one number for each axis of the grid. Raises `BadSpec` unless they are positive."""
    return tuple(whole("arity", m, 1, MOST) for m in (arity if isinstance(arity, tuple) else (arity,)))


def fraction(name: str, value: float) -> float:
    """The value, if it is in [0, 1]; else raises `BadSpec`, naming the argument."""
    return number(value, f"{name} is a probability and must be 0 to 1", lambda x: 0 <= x <= 1)


def is_one(given: object) -> bool:
    """Whether this is one table, a potential or a matrix, and not several."""
    try:
        return isinstance(given, Potential) or np.ndim(given) == 2  # type: ignore[arg-type]
    except (ValueError, TypeError, RuntimeError):  # matrices of several shapes, or what is no matrix
        return False


def stochastic(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random probability vectors along the last axis, uniform on the simplex."""
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def log_uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...]) -> np.ndarray:
    """Entries in ``[1 / bound, bound]`` whose logs are uniform. Raises `BadSpec` for a bound below 1."""
    bound = number(bound, "bound is the K of 1/K <= psi <= K and must be at least 1", lambda k: 1 <= k < np.inf)
    return np.exp(rng.uniform(-np.log(bound), np.log(bound), size=shape))
