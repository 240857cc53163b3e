"""Potentials that are given with the evidence: tensors in the place of some of a tree's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadPotential
from hgm.evidence.ambient import concrete
from hgm.tree.called import potential_called, potential_number
from hgm.tree.tree import Tree

__all__ = ["GivenPotentials", "read_potentials"]


@dataclass(frozen=True)
class GivenPotentials:
    """Log potentials that take the place of some of a tree's.

    Attributes:
        tensors: by the numbers of the potentials, ``(*batch, *shape)`` each, with the shapes of their `log_potential`.
        axes: of each, how many axes the shape has; those before are the batch.
        batch: the batches of all, broadcast.
        dtype: the widest of the tensors.
    """

    tensors: dict[int, Tensor]
    axes: dict[int, int]
    batch: tuple[int, ...]
    dtype: torch.dtype


def read_potentials(tree: Tree, log_potentials: Mapping[Any, Any]) -> GivenPotentials:
    """Log potentials by name or scope (`hgm.tree.called`), checked. Their numbers are not looked at in a transform.

    Args:
        tree: the model.
        log_potentials: natural logs, ``-inf`` for zeros: tensors, arrays or nested lists ``(*batch, *shape)``. Shape is
            that of the potential's `log_potential`: of a table its shape, of `Rules` ``(R,)``.

    Raises:
        BadPotential: for an unknown potential, one that comes twice, a wrong shape or type, a NaN or ``+inf``, or
            batches that do not broadcast.
    """
    if not isinstance(log_potentials, Mapping):
        raise BadPotential(
            "log_potentials is a mapping from names of potentials, or tuples of variables, to logs of tables; got a "
            f"{type(log_potentials).__name__}"
        )
    tensors: dict[int, Tensor] = {}
    axes: dict[int, int] = {}
    batch: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    for key, given in log_potentials.items():
        number = potential_number(tree, key)
        if number in tensors:
            raise BadPotential(
                f"the potential {potential_called(tree.potentials, number)} is given twice, once as {key!r}"
            )
        log, shape = log_tensor(key, given), tree.potentials[number].log_potential.shape
        before = log.ndim - len(shape)
        if before < 0 or tuple(log.shape[before:]) != shape:
            batched = ", ".join(map(str, ("*batch", *shape)))
            raise BadPotential(
                f"the log potential {key!r} must have shape {shape}, or a batch ({batched}); got {tuple(log.shape)}"
            )
        try:
            batch = torch.broadcast_shapes(batch, log.shape[:before])
        except RuntimeError:
            raise BadPotential(
                f"the batch {tuple(log.shape[:before])} of the log potential {key!r} does not fit that of the others, "
                f"{tuple(batch)}"
            ) from None
        if concrete(log):
            _check_numbers(key, log.detach())
        tensors[number], axes[number] = log, len(shape)
        dtype = log.dtype if dtype is None else torch.promote_types(dtype, log.dtype)
    return GivenPotentials(tensors, axes, tuple(batch), dtype or torch.float64)


def log_tensor(key: Any, given: Any) -> Tensor:
    """A log potential as a tensor of floats. Raises `BadPotential` for what is none; its numbers are not looked at."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.getmaskarray(given).any():
        raise BadPotential(f"the log potential {key!r} must be known; part of it is masked")
    try:
        log = given if isinstance(given, Tensor) else torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadPotential(f"the log potential {key!r} must be a tensor of floats: {error}") from None
    if not log.is_floating_point():
        raise BadPotential(f"the log potential {key!r} must be a tensor of floats; got {log.dtype}")
    return log


def _check_numbers(key: Any, log: Tensor) -> None:
    bad = ~(log < torch.inf)
    if bool(bad.any()):
        at = tuple(int(i) for i in bad.nonzero()[0])
        raise BadPotential(f"the log potential {key!r} must be numbers or -inf; entry {at} is {log[at].item()}")
