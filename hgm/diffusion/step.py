"""A step of a sampling run, as a callback sees it; and the answer of a denoiser of values, checked."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hgm.errors import BadSpec, HgmError, brief, extension, listing

__all__ = ["Step", "answered", "callable_as"]


class Step(NamedTuple):
    """A step of a sampling run.

    Attributes:
        number: from 0; of a solver that asks twice in a step, each time counts.
        steps: how many there are.
        z: ``(n, *leaf shape)`` what the denoiser was shown, x + sigma g in the units of the channel's values; of
            symbols the state after the step, -1 where hidden.
        sigma: the noise of z; NaN of symbols.
        mean: in the shape of z, what the denoiser said, E[x | z]; ``None`` of symbols.
    """

    number: int
    steps: int
    z: Tensor
    sigma: float = nan
    mean: Tensor | None = None


def callable_as(what: str, given: Any) -> Any:
    """A network that is called as f(z, sigma). Raises `BadSpec`, which says `what` it is, for what cannot be called."""
    if not callable(given) or isinstance(given, type):
        raise BadSpec(f"{what} is called as f(z, sigma); got {brief(given)}")
    return given


def answered(denoiser: Callable[..., Any], z: Tensor, sigma: float | Tensor, where: str) -> Tensor:
    """What a denoiser of values says of z ``(B, ...)`` with noise sigma, a number or ``(B,)``, checked.

    Raises:
        HgmError: for NaN, infinities, another shape, or what is no tensor; it says `where`.
        BadExtension: if it fails.
    """
    name = getattr(denoiser, "__name__", type(denoiser).__name__)
    with extension(f"the denoiser {name}"):
        noise = sigma if isinstance(sigma, Tensor) else torch.full((len(z),), sigma, dtype=z.dtype, device=z.device)
        mean = denoiser(z, noise)
    if not isinstance(mean, Tensor) or mean.shape != z.shape:
        got = tuple(mean.shape) if isinstance(mean, Tensor) else brief(mean)
        raise HgmError(f"a denoiser gives E[x | z] in the shape of z, {tuple(z.shape)}; {name} gave {got} {where}")
    if not bool(mean.sum().isfinite()) and not bool(mean.isfinite().all()):  # a sum is quicker
        rows = (~mean.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        raise HgmError(f"{name} gave NaN or infinity {where}, in batch rows {listing(rows)}")
    return mean
