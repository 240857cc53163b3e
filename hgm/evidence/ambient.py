"""What may surround a computation: a tracer, a function transform of torch, a check, a source of randomness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hgm.errors import BadSpec, brief, did_you_mean

__all__ = [
    "Check",
    "check_generator",
    "check_of",
    "checked_check",
    "checked_device",
    "checked_dtype",
    "checking",
    "concrete",
    "making",
    "seeded",
    "transformed",
    "watched",
]

#: when numbers are looked at that only an error may come of: at once, when somebody asks, never
Check = Literal["now", "later", False]

_check: ContextVar[Check] = ContextVar("check", default="now")


def transformed(x: Tensor) -> bool:
    """Whether a function transform (`torch.func.vmap`, `jvp`, ...) looks on: nothing may be overwritten then."""
    if torch.compiler.is_compiling():  # a tracer does not know of these
        return False
    return forward_ad._current_level >= 0 or torch._C._functorch.is_functorch_wrapped_tensor(x)


def watched() -> bool:
    """Whether somebody follows each operation, as a tracer or a mode of torch does: none is left out then, or kept."""
    return torch.compiler.is_compiling() or bool(
        torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack() or torch._C._get_tracing_state()
    )


def check_of(*given: Tensor) -> Check:
    """When to look at the numbers of tensors.

    Never where they have none: in a transform, under a tracer, on the meta device. Else as it was said by `checking`.
    To look is to wait for the device.
    """
    if torch.compiler.is_compiling() or any(x.is_meta or transformed(x) for x in given):
        return False
    return _check.get()


def concrete(x: Tensor) -> bool:
    """Whether a tensor has numbers that may be looked at now: `check_of`."""
    return check_of(x) == "now"


def checking(check: Check) -> AbstractContextManager[None]:
    """Around a computation: when its numbers are looked at. A traced program never looks."""
    return nullcontext() if torch.compiler.is_compiling() else _checking(check)


@contextmanager
def _checking(check: Check) -> Iterator[None]:
    before = _check.set(check)
    try:
        yield
    finally:
        _check.reset(before)


def checked_check(check: Any) -> Check:
    """The argument `check`. Raises `BadSpec` unless it is ``"now"``, ``"later"`` or ``False``."""
    words: tuple[Check, ...] = ("now", "later")
    for word in words:
        if isinstance(check, str) and check == word:
            return word
    if check is False:
        return False
    raise BadSpec(f"check must be 'now', 'later' or False; got {brief(check)}{did_you_mean(check, words)}")


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
