"""`log_partition`: log Z as a function of evidence and of potentials: tensors with gradients, and batches of them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bp.passes import collect
from hgm.errors import BadPotential
from hgm.evidence.ambient import concrete
from hgm.evidence.channel import Channel
from hgm.evidence.given import read_evidence
from hgm.evidence.potentials import GivenPotentials, read_potentials
from hgm.tree.possible import forbidden
from hgm.tree.tree import Tree, checked_tree

__all__ = ["log_partition"]


def log_partition(
    tree: Tree,
    observation: Any = None,
    *noise: Any,
    channel: Channel | None = None,
    evidence: Any = None,
    log_potentials: Mapping[Any, Any] | None = None,
) -> Tensor:
    """log of the sum over all assignments of the product of potentials and likelihoods, as a differentiable function.

        rate = torch.tensor(0.3, requires_grad=True)
        step = torch.matrix_exp(Q * rate).log()
        hgm.log_partition(tree, {"x3": "A"}, log_potentials={"transition": step}).backward()

    Args:
        tree: the model.
        observation: what was seen, in the forms that `hgm.infer` takes.
        noise: what the channel takes after the observation.
        channel: how the leaves were observed.
        evidence: of further variables, by name.
        log_potentials: natural logs of tables to use in the place of the tree's own, ``-inf`` for zeros. A key is the
            name of a potential (`Edge(..., name="transition")`), which is replaced in all its factors, or the tuple of
            the variables of one factor, in the order of its axes. A value is a tensor ``(*batch, *shape)``, where shape
            is that of the table, of `Rules` ``(R,)``. Batches and that of the evidence are broadcast.

    Returns:
        ``(*batch)``: ``()`` if nothing has a batch. ``-inf`` where the evidence is impossible, which is no error here.
        In the widest dtype of the log potentials and of log evidence that is given as a tensor, else float64; it is
        computed in float64. The gradient by a log potential is how often each of its entries is expected to be used; it
        is finite, and 0 at zeros. `torch.func` transforms (vmap, jvp, jacrev, hessian) pass.

    Raises:
        BadEvidence: as `hgm.infer`.
        BadPotential: for an unknown potential, a wrong shape, a NaN or ``+inf`` (not looked for in a transform), or
            batches that do not fit together.
    """
    given = read_potentials(checked_tree(tree), {} if log_potentials is None else log_potentials)
    dtypes = [given.dtype] if given.tensors else []
    if isinstance(observation, Tensor) and observation.is_floating_point():
        dtypes.append(observation.dtype)
    devices = [log.device for log in given.tensors.values()]
    e, batched = read_evidence(tree, observation, noise, channel, evidence, device=devices[0] if devices else None)
    dtype = torch.float64
    if dtypes:
        dtype = dtypes[0] if len(dtypes) == 1 else torch.promote_types(*dtypes)
    return _log_partition(tree, e.double(), batched, given).to(dtype)


def _log_partition(tree: Tree, e: Tensor, batched: bool, given: GivenPotentials) -> Tensor:
    """``(*batch)`` log Z of float64 log evidence ``(B, S, V)``, B = 1 if it is not `batched`."""
    own = tuple(e.shape[:1]) if batched else ()
    try:
        batch = torch.broadcast_shapes(own, given.batch)
    except RuntimeError:
        raise BadPotential(
            f"the batch {tuple(given.batch)} of the log potentials does not fit that of the evidence, {own}"
        ) from None

    def rows(x: Tensor, before: int) -> Tensor:
        """One row for each of the batch, from a tensor whose first axes are its own batch."""
        return x.expand(*batch, *x.shape[before:]).reshape(prod(batch), *x.shape[before:])

    if not given.tensors:
        return collect(tree, e).log_partition.reshape(batch)
    logs = [torch.tensor(p.log_potential, device=e.device) for p in tree.potentials]
    for i, log in given.tensors.items():
        before = log.ndim - given.axes[i]
        logs[i] = (rows(log, before) if before else log).to(e.device)
    e = _allowed(tree, e, given)
    e = rows(e if batched else e[0], int(batched)) if given.batch else e
    return collect(tree, e, log_potentials=logs).log_partition.reshape(batch)


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
