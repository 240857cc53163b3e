"""The E-step: expected counts are the gradient of the log partition with respect to the log potentials.

    d log Z(evidence) / d log psi(x_scope)  =  sum over the factors f that share psi of  p(x_scope of f | evidence)

so one collect through the compiled encoder and one reverse pass count everything, tied factors added up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hgm.compiler.exact import Exact
from hgm.compiler.ranges import Ranges
from hgm.compiler.schedule import AUTO, planned
from hgm.compiler.weights import Weights
from hgm.errors import ImpossibleEvidence
from hgm.evidence.data import Data
from hgm.learn.observations import Observations
from hgm.networks.compile import compile
from hgm.networks.network import Network
from hgm.tree.tree import Tree

__all__ = ["Expectation", "Expectations"]

NUMBERS = 1 << 20  # messages held at once in a batch of the default size


class Expectation:
    """Log likelihood and expected counts of data, under potentials that change.

    Args:
        tree: its structure and tying.
        data: the observations.
        dtype: of the network's messages.
        batch_size: rows at once; default as many as fit comfortably. The result does not depend on it.
    """

    def __init__(self, tree: Tree, data: Data, dtype: torch.dtype, batch_size: int | None) -> None:
        self.tree, self.data, self.dtype = tree, data, dtype
        self.batch_size = batch_size or max(1, NUMBERS // (int(tree.cardinality.max()) * len(tree)))
        self._network: Network | None = None

    def __call__(self, log_potential: Tensor, counts: bool = True) -> tuple[float, Tensor | None]:
        """``log Z`` summed over the rows, and ``(P,)`` expected counts if wanted, at log potentials ``(P,)`` float64.

        Raises:
            ImpossibleEvidence: naming the rows that have probability zero.
        """
        network, weights = self._fitting(log_potential)
        flat = weights.log_potential
        total = 0.0
        sums = torch.zeros_like(flat) if counts else None
        for start in range(0, self.data.rows, self.batch_size):
            e = self.data.log_evidence(start, min(start + self.batch_size, self.data.rows), self.dtype)
            leaves = e[..., : self.data.leaves].unflatten(2, network.leaf_shape)
            others = e[..., self.data.leaves :] if network.extra else None
            with torch.set_grad_enabled(counts):
                try:
                    log_z = network.log_partition(leaves, evidence=others).double().sum()
                except ImpossibleEvidence as error:
                    raise ImpossibleEvidence([start + row for row in error.rows]) from None
            total += log_z.item()
            if sums is not None and len(flat):  # a tree without factors has nothing to count
                sums += torch.autograd.grad(log_z, flat)[0].double()
        return total, None if sums is None else weights.full(sums, zero=0.0)

    def _fitting(self, log_potential: Tensor) -> tuple[Network, Weights]:
        """The network with these potentials, and its weights: the last one, if they are in the ranges of its plan.

        Which kernels are safe is decided by the zeros and the smallest entries, and building is slow for large trees.
        So a network is planned for smallest entries of a power of ten, and serves until they cross the next one.
        """
        ranges = Ranges.of(self.tree.potentials, log_potential.cpu().numpy()).rounded()
        if self._network is None or ranges != self._network.plan.ranges:
            names = [self.tree.names[int(v)] for v in self.data.variables[self.data.leaves :]]
            plan = planned(AUTO, self.tree, self.data.variables, ranges)
            self._network = compile(self.tree, observed=names, trainable=True, plan=plan).to(log_potential.device)
        engine = self._network.engine
        assert isinstance(engine, Exact)
        with torch.no_grad():
            engine.weights.log_potential.copy_(engine.weights.stored(log_potential))
        return self._network, engine.weights


class Expectations:
    """The sum of the `Expectation` of each part of the observations. Other arguments and errors as for that."""

    def __init__(self, observed: Observations, dtype: torch.dtype, batch_size: int | None) -> None:
        self._parts = [(part.rows, Expectation(part.tree, part.data, dtype, batch_size)) for part in observed.parts]

    def __call__(self, log_potential: Tensor, counts: bool = True) -> tuple[float, Tensor | None]:
        total, sums = 0.0, torch.zeros_like(log_potential) if counts else None
        impossible: list[int] = []
        for rows, expect in self._parts:
            try:
                log_z, own = expect(log_potential, counts)
            except ImpossibleEvidence as error:
                impossible += rows[list(error.rows)].tolist()
                continue
            total += log_z
            if sums is not None and own is not None:
                sums += own
        if impossible:
            raise ImpossibleEvidence(sorted(impossible), "(rows of the data, for the potentials to start from)")
        return total, sums
