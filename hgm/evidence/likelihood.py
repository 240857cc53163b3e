"""`Likelihood`: an array that says how likely what was seen is under each state of a variable."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from hgm.errors import BadEvidence
from hgm.evidence.frames import check_unnamed
from hgm.evidence.symbols import as_tensor

__all__ = ["Likelihood"]


class Likelihood:
    """The likelihood of each state of one variable: soft evidence.

        hgm.infer(tree, {"wet": hgm.Likelihood([0.2, 0.9])})
        hgm.infer(tree, {"wet": hgm.Likelihood.log(network(image))})        # (B, S) logits

    Args:
        values: ``(S,)``, or ``(B, S)`` for a batch: non-negative, of any scale. Gradients reach a tensor.

    Attributes:
        values: as a tensor of floats.
        is_log: whether they are natural logs.

    Raises:
        BadEvidence: for another shape, what is no array of numbers, or a table with names, whose order may be another.
    """

    def __init__(self, values: Any) -> None:
        self.values, self.is_log = _floats(values), False

    @classmethod
    def log(cls, values: Any) -> Self:
        """From natural logs, up to a constant for each row; ``-inf`` for a likelihood of 0."""
        self = cls.__new__(cls)
        self.values, self.is_log = _floats(values), True
        return self

    def __repr__(self) -> str:
        return f"Likelihood{'.log' if self.is_log else ''}({self.values.tolist()})"


def _floats(values: Any) -> Tensor:
    if isinstance(values, Likelihood):
        raise BadEvidence("a Likelihood is made of an array; got a Likelihood")
    check_unnamed(values, "index" if getattr(values, "ndim", 0) == 1 else "columns", "a likelihood")
    x = as_tensor(values, "a likelihood")
    if x.is_complex() or x.ndim not in (1, 2):
        raise BadEvidence(
            f"a likelihood has shape (S,), or (B, S) for a batch; got {x.dtype} of shape {tuple(x.shape)}"
        )
    return x.clone() if x.is_floating_point() else x.to(torch.float64)
