"""The posterior of a model whose potentials are tensors: with gradients by them, and a batch of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hgm.bp.assignment import Assignment
from hgm.bp.ops import logmaxexp
from hgm.bp.passes import Collected, collect
from hgm.bp.posterior import Lasting, Posterior, check_possible
from hgm.bp.rows import in_rows
from hgm.bp.score import states_of
from hgm.evidence.potentials import GivenPotentials
from hgm.evidence.symbols import allowed
from hgm.tree.tree import Tree

__all__ = ["infer_given"]


def infer_given(tree: Tree, e: Tensor, batched: bool, given: GivenPotentials) -> Posterior:
    """As `hgm.infer`, with tensors in the places of some of the tree's potentials.

    Args:
        tree: the model.
        e: checked log evidence ``(B, S, V)``, B = 1 if it is not `batched`.
        batched: whether results have a batch dimension.
        given: the potentials, without a batch or for each row.

    Raises:
        ImpossibleEvidence: with the rows whose evidence has probability zero.
    """
    e, logs, _ = in_rows(tree, e.double(), batched, given)
    posterior = Posterior(tree, e, batched) if logs is None else GivenPosterior(tree, e, batched, logs)
    check_possible(posterior._collected, tree)
    return posterior


@dataclass(frozen=True, eq=False, repr=False)
class GivenPosterior(Posterior):
    """A `Posterior` with other potentials than the tree's.

    Attributes:
        log_potentials: of each potential of the tree its logs, ``(*shape)`` or one for each row, ``(B, *shape)``.
    """

    log_potentials: Sequence[Tensor] = ()

    @cached_property
    def _collected(self) -> Collected:
        with Lasting():
            return collect(self.tree, self.log_evidence, log_potentials=self.log_potentials)

    @cached_property
    def _best(self) -> Collected:
        logs = [log.detach() for log in self.log_potentials]
        with Lasting():
            return collect(self.tree, self.log_evidence.detach(), logmaxexp, logs)

    def log_prob(self, assignment: Assignment | Tensor | Mapping[str, Any]) -> Tensor:
        """As `Posterior.log_prob`: log Z of the assignment as evidence, beside the evidence, minus that without it."""
        e = self.log_evidence
        x = states_of(self.tree, assignment, e.device)
        shape = torch.broadcast_shapes(x.shape[:-1], e.shape[:1]) if self.batched else x.shape[:-1]
        x = x.expand(*shape, -1).reshape(-1, *e.shape[:1], len(self.tree))  # (N, B, V)
        joint = torch.where(allowed(x, e.shape[1], 2), e, -torch.inf).flatten(0, 1)
        logs = [
            log.expand(len(x), *log.shape).flatten(0, 1) if log.ndim > p.log_potential.ndim else log
            for log, p in zip(self.log_potentials, self.tree.potentials, strict=True)
        ]
        return collect(self.tree, joint, log_potentials=logs).log_partition.reshape(shape) - self.log_partition
