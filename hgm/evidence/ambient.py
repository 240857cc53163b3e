"""What may surround a computation: a tracer, a function transform of torch, a source of randomness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hgm.errors import BadSpec, brief

__all__ = ["check_generator", "checked_device", "checked_dtype", "concrete", "making", "seeded", "transformed"]


def transformed(x: Tensor) -> bool:
    """Whether a function transform (`torch.func.vmap`, `jvp`, ...) looks on: nothing may be overwritten then."""
    if torch.compiler.is_compiling():  # a tracer does not know of these
        return False
    return forward_ad._current_level >= 0 or torch._C._functorch.is_functorch_wrapped_tensor(x)


def concrete(x: Tensor) -> bool:
    """Whether a tensor has numbers (one on the meta device has none) that may be looked at: no transform, no tracer."""
    return not (torch.compiler.is_compiling() or x.is_meta or transformed(x))


@contextmanager
def making() -> Iterator[None]:
    """Around what makes a network: on the CPU, to be trained and differentiated, whatever is ambient."""
    with torch.inference_mode(False), torch.device("cpu"):
        yield


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Around what draws from torch's global generator, as layers do their weights: here from a seed, and no other."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def checked_dtype(dtype: Any) -> torch.dtype:
    """A type of floats. Raises `BadSpec` for what is none."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise BadSpec(f"dtype must be one of torch's floats, such as torch.float64; got {brief(dtype)}")
    return dtype


def checked_device(device: Any) -> torch.device:
    """A device of torch. Raises `BadSpec` for what is none."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise BadSpec(f"device must be a torch.device or its name, such as 'cuda'; got {brief(device)}") from None


def check_generator(generator: Any, device: torch.device) -> torch.Generator | None:
    """The generator; ``None``, torch's global one, as it is. Raises `BadSpec` if it cannot be used on this device."""
    if generator is None:
        return None
    if not isinstance(generator, torch.Generator):
        raise BadSpec(
            f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0); got {brief(generator)}"
        )
    if generator.device.type != device.type:
        raise BadSpec(f"the generator is of the device {generator.device}, but the numbers are drawn on {device}")
    return generator
