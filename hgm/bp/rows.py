"""Potentials that are given with the evidence, brought to the rows of a batch: what `collect` takes of both."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadPotential
from hgm.evidence.ambient import concrete
from hgm.evidence.potentials import GivenPotentials
from hgm.tree.possible import forbidden
from hgm.tree.tree import Tree

__all__ = ["in_rows"]


def in_rows(
    tree: Tree, e: Tensor, batched: bool, given: GivenPotentials
) -> tuple[Tensor, list[Tensor] | None, tuple[int, ...]]:
    """Log evidence, all log potentials (``None``: the tree's own) and the batch that both have together.

    Args:
        tree: the model.
        e: float64 log evidence ``(B, S, V)``, B = 1 if it is not `batched`.
        batched: whether the evidence has a batch of its own.
        given: potentials in the places of some of the tree's.

    Raises:
        BadPotential: for batches that do not fit together.
    """
    own = tuple(e.shape[:1]) if batched else ()
    try:
        batch = tuple(torch.broadcast_shapes(own, given.batch))
    except RuntimeError:
        raise BadPotential(
            f"the batch {tuple(given.batch)} of the log potentials does not fit that of the evidence, {own}"
        ) from None

    def rows(x: Tensor, before: int) -> Tensor:
        """One row for each of the batch, from a tensor whose first axes are its own batch."""
        return x.expand(*batch, *x.shape[before:]).reshape(prod(batch), *x.shape[before:])

    if not given.tensors:
        return e, None, batch
    logs = [torch.tensor(p.log_potential, device=e.device) for p in tree.potentials]
    for i, log in given.tensors.items():
        before = log.ndim - given.axes[i]
        logs[i] = (rows(log, before) if before else log).to(e.device)
    e = _allowed(tree, e, given)
    return (rows(e if batched else e[0], int(batched)) if given.batch else e), logs, batch


def _allowed(tree: Tree, e: Tensor, given: GivenPotentials) -> Tensor:
    """Log evidence, ``-inf`` at the states that are `forbidden` by zeros of the tree, and by those given for all rows.

    Where numbers may not be looked at, what is given may be zero nowhere.
    """
    potentials = list(tree.potentials)
    for i, log in given.tensors.items():
        zeros = np.zeros(potentials[i].log_potential.shape)
        if concrete(log):
            zeros[log.detach().reshape(-1, *zeros.shape).isneginf().all(0).cpu().numpy()] = -np.inf
        if np.isneginf(zeros).all():  # which is no potential
            return e
        potentials[i] = potentials[i].with_log(zeros)
    no_states = forbidden(tree.with_potentials(potentials))
    return e if no_states is None else e + torch.from_numpy(no_states).to(e.device)
