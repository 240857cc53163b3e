"""The E-step: expected counts are the gradient of the log partition with respect to the log potentials.

    d log Z(evidence) / d log psi(x_scope)  =  sum over the factors f that share psi of  p(x_scope of f | evidence)

so one collect through the compiled encoder and one reverse pass count everything, tied factors added up.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from hgm.errors import ImpossibleEvidence
from hgm.evidence.data import Data
from hgm.networks.network import TreeNetwork, compile
from hgm.tree.tree import Tree

__all__ = ["Expectation", "with_flat_log"]

DECADE = log(10)  # a network is built for the smallest entry of each table, rounded down to a power of ten
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
        sizes = torch.tensor([p.size for p in tree.potentials], dtype=torch.int64)
        self._owner = torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(data.states.device)
        self._network: TreeNetwork | None = None
        self._built_for = torch.zeros(0)

    def __call__(self, log_potential: Tensor, counts: bool = True) -> tuple[float, Tensor | None]:
        """``log Z`` summed over the rows, and ``(P,)`` expected counts if wanted, at log potentials ``(P,)`` float64.

        Raises:
            ImpossibleEvidence: naming the rows that have probability zero.
        """
        network = self._fitting(log_potential)
        flat = network.weights.log_potential
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
                    rows = [start + row for row in error.rows]
                    raise ImpossibleEvidence(rows, "(rows of the data, for the potentials to start from)") from None
            total += log_z.item()
            if sums is not None and log_z.requires_grad:  # a tree without factors has nothing to count
                sums += torch.autograd.grad(log_z, flat)[0].double()
        return total, sums

    def _fitting(self, log_potential: Tensor) -> TreeNetwork:
        """The network with these potentials: the last one, if they are in the range that it was built for.

        Which kernels are safe is decided by the zeros and the smallest entries, and building is slow for large trees.
        So a network is built for smallest entries of a power of ten, and serves until they cross the next one.
        """
        none = log_potential.new_zeros(len(self.tree.potentials))
        zero = torch.isneginf(log_potential)
        positive = torch.where(zero, torch.inf, log_potential)
        low = none.scatter_reduce(0, self._owner, positive, "amin", include_self=False)
        high = none.scatter_reduce(0, self._owner, log_potential, "amax", include_self=False)
        zeros = none.index_add(0, self._owner, zero.double()) > 0
        decades = torch.where(high > low, ((high - low) / DECADE).floor() + 1, 0)
        built_for = torch.stack([decades, zeros])
        if self._network is None or not torch.equal(built_for, self._built_for):
            lowered = torch.where(positive == low[self._owner], (high - decades * DECADE)[self._owner], log_potential)
            names = [self.tree.names[int(v)] for v in self.data.variables[self.data.leaves :]]
            tree = with_flat_log(self.tree, lowered)
            self._network = compile(tree, observed=names, trainable=True).to(log_potential.device)
            self._built_for = built_for
        with torch.no_grad():
            self._network.weights.log_potential.copy_(log_potential)
        return self._network


def with_flat_log(tree: Tree, log_potential: Tensor) -> Tree:
    """The tree with the entries of all potentials, one after the other, as given in logs."""
    pieces = log_potential.cpu().split([p.size for p in tree.potentials])
    return tree.with_potentials(
        [
            p.with_log(piece.numpy().reshape(p.log_potential.shape))
            for p, piece in zip(tree.potentials, pieces, strict=True)
        ]
    )
