"""`log_partition`: log Z as a function of evidence and of potentials: tensors with gradients, and batches of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hgm.bp.passes import collect
from hgm.bp.rows import in_rows
from hgm.evidence.channel import Channel
from hgm.evidence.given import read_evidence
from hgm.evidence.potentials import read_potentials
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
    e, logs, batch = in_rows(tree, e.double(), batched, given)
    return collect(tree, e, log_potentials=logs).log_partition.reshape(batch).to(dtype)
