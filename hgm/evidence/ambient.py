"""What may surround a computation: a tracer, or a function transform of torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["concrete", "transformed"]


def transformed(x: Tensor) -> bool:
    """Whether a function transform (`torch.func.vmap`, `jvp`, ...) looks on: nothing may be overwritten then."""
    if torch.compiler.is_compiling():  # a tracer does not know of these
        return False
    return forward_ad._current_level >= 0 or torch._C._functorch.is_functorch_wrapped_tensor(x)


def concrete(x: Tensor) -> bool:
    """Whether the numbers of a tensor may be looked at: not in a transform, nor while a program is traced."""
    return not (torch.compiler.is_compiling() or transformed(x))
