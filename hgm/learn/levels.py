"""Which noise the rows of a training step are shown with: one level each, drawn from a distribution.

a number           always that one
(low, high)        sigma: log-uniform between the two.  eps, t: uniform, for they are probabilities
[a, b, ...]        one of these
f(rows, generator) whatever it draws
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from hgm.errors import BadSpec, brief, extension
from hgm.evidence.symbols import as_tensor
from hgm.tree.arguments import number

__all__ = ["DECADE", "Levels", "checked_levels"]

#: by default sigma goes from half the range of the values over this to that times it
DECADE = 10.0


@dataclass(frozen=True)
class Levels:
    """A distribution of noise levels.

    Attributes:
        says: what it is, for checkpoints.
        draw: from the number of rows and a generator ``(rows,)`` levels, float64, on the generator's device.
    """

    says: str
    draw: Callable[[int, torch.Generator], Tensor]


def checked_levels(noise: Any, probability: bool) -> Levels:
    """The distribution that a user means; of probabilities (eps, t) or of a scale (sigma).

    Raises:
        BadSpec: for what is none, or levels out of range.
    """
    says = f"noise is {_range(probability)}: a number, (low, high), a list, or a function of rows and a generator"
    if callable(noise) and not isinstance(noise, type | torch.nn.Module):
        return _own(noise, probability)
    if isinstance(noise, Real):
        return _among(torch.tensor([_number(noise, says, probability)], dtype=torch.float64))
    if isinstance(noise, tuple):
        if len(noise) != 2:
            raise BadSpec(f"{says}; a tuple is a range (low, high), and this has {len(noise)} numbers: {brief(noise)}")
        low, high = (_number(x, says, probability) for x in noise)
        if not low < high:
            raise BadSpec(f"{says}; the range (low, high) must have low below high; got {brief(noise)}")
        return _between(low, high, probability)
    if not isinstance(noise, list | Tensor) and not hasattr(noise, "__array__"):
        raise BadSpec(f"{says}; got {brief(noise)}")
    levels = as_tensor(noise, "noise")
    if levels.ndim != 1 or not len(levels) or levels.is_meta or levels.dtype == torch.bool:
        raise BadSpec(f"{says}; got {brief(noise)}")
    if not bool(_fits(levels.double(), probability).all()):
        raise BadSpec(f"{says}; got {brief(noise)}")
    return _among(levels.detach().double().cpu().clone())


def _own(noise: Callable[..., Any], probability: bool) -> Levels:
    def draw(rows: int, generator: torch.Generator) -> Tensor:
        with extension(f"noise({rows}, generator)"):
            levels = noise(rows, generator)
        if not isinstance(levels, Tensor) or levels.shape != (rows,) or not levels.is_floating_point():
            raise BadSpec(f"noise(rows, generator) must give a tensor of floats, here ({rows},); got {brief(levels)}")
        if not bool(_fits(levels, probability).all()):
            raise BadSpec(f"noise(rows, generator) must give levels {_range(probability)}; got {brief(levels)}")
        return levels.double()

    return Levels(f"the function {getattr(noise, '__qualname__', type(noise).__name__)}", draw)


def _among(levels: Tensor) -> Levels:
    def draw(rows: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(levels), (rows,), generator=generator, device=generator.device)
        return levels.to(generator.device)[index]

    return Levels(f"one of {levels.tolist()}", draw)


def _between(low: float, high: float, probability: bool) -> Levels:
    def draw(rows: int, generator: torch.Generator) -> Tensor:
        u = torch.rand(rows, generator=generator, dtype=torch.float64, device=generator.device)
        if probability:
            return low + (high - low) * u
        return (log(low) + (log(high) - log(low)) * u).exp().clamp(low, high)

    return Levels(f"between {low!r} and {high!r}", draw)


def _number(value: Any, says: str, probability: bool) -> float:
    return number(value, says, lambda x: bool(_fits(torch.tensor(x, dtype=torch.float64), probability)))


def _fits(levels: Tensor, probability: bool) -> Tensor:
    """A probability may be 0 and 1; a scale is positive and finite."""
    return (levels >= 0) & (levels <= 1) if probability else (levels > 0) & (levels < torch.inf)


def _range(probability: bool) -> str:
    return "from 0 to 1" if probability else "positive and finite"
