"""What may surround a computation: a tracer, a function transform of torch, a source of randomness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hgm.errors import BadSpec

__all__ = ["check_generator", "concrete", "making", "transformed"]


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


def check_generator(generator: Any, device: torch.device) -> torch.Generator | None:
    """The generator; ``None``, torch's global one, as it is. Raises `BadSpec` if it cannot be used on this device."""
    if generator is None:
        return None
    if not isinstance(generator, torch.Generator):
        raise BadSpec(
            f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0); got {generator!r:.100}"
        )
    if generator.device.type != device.type:
        raise BadSpec(f"the generator is of the device {generator.device}, but the numbers are drawn on {device}")
    return generator
