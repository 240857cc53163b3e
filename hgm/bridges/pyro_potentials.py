"""Potentials for a `TreeDistribution`: tables or their logs, and where they are no numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadPotential
from hgm.evidence.ambient import concrete
from hgm.evidence.potentials import GivenPotentials, log_tensor, read_potentials
from hgm.tree.arguments import mapping
from hgm.tree.called import potential_number
from hgm.tree.tree import Tree

__all__ = ["checked_potentials"]


def checked_potentials(
    tree: Tree, potentials: Mapping[Any, Any] | None, log_potentials: Mapping[Any, Any] | None, validate: bool
) -> tuple[GivenPotentials, Tensor | None]:
    """The potentials by logs, and ``(*batch)`` which models have one that is no number; ``None``: they are checked.

    Args:
        tree: the model.
        potentials: tables of non-negative numbers, by the names of potentials or the variables of a factor.
        log_potentials: the same by natural logs.
        validate: raise for an entry that is no such number; else 1 takes its place.

    Raises:
        BadPotential: as `hgm.evidence.potentials.read_potentials`, or for one that is in both.
    """
    logs = dict(mapping("log_potentials", log_potentials, "{name: logs of a table}", BadPotential))
    for key, values in mapping("potentials", potentials, "{name: table}", BadPotential).items():
        if key in logs:
            raise BadPotential(f"the potential {key!r} is given by its values and by its logs; give one of them")
        logs[key] = _log(key, values, validate)
    if validate:
        return read_potentials(tree, logs), None
    logs = {key: log_tensor(key, log) for key, log in logs.items()}
    known = {key: log < torch.inf for key, log in logs.items()}
    given = read_potentials(tree, {key: torch.where(known[key], log, 0.0) for key, log in logs.items()})
    broken = torch.zeros(given.batch, dtype=torch.bool)
    for key, fine in known.items():
        axes = given.axes[potential_number(tree, key)]
        broken = broken.to(fine.device) | ~fine.flatten(fine.ndim - axes).all(-1)
    return given, broken


def _log(key: Any, values: Any, validate: bool) -> Tensor:
    """The log of a table: ``-inf`` with gradient 0 at a zero, NaN for what is below."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise BadPotential(f"the potential {key!r} must be known; part of it is masked")
    try:
        x = values if isinstance(values, Tensor) else torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadPotential(f"the potential {key!r} must be a tensor of numbers: {error}") from None
    if x.is_complex():
        raise BadPotential(f"the potential {key!r} must be a tensor of real numbers; got {x.dtype}")
    if not x.is_floating_point() or x.dtype.itemsize < 4:
        x = x.to(torch.get_default_dtype() if not x.is_floating_point() else torch.float32)
    if validate and concrete(x):
        bad = ~((x.detach() >= 0) & (x.detach() < torch.inf))
        if bool(bad.any()):
            at = tuple(int(i) for i in bad.nonzero()[0])
            raise BadPotential(f"the potential {key!r} must be numbers from 0 up; entry {at} is {x[at].item()}")
    positive = x > 0
    other = torch.where(x == 0, -torch.inf, torch.nan).to(x)
    return torch.where(positive, torch.where(positive, x, 1.0).log(), other)
