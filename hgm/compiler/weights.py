"""All distinct weights of a network in one vector, as a module: a buffer, or a parameter if they are trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hgm.tree.flat import flatten, owners, unflatten
from hgm.tree.potential import Potential

__all__ = ["Weights"]


class Weights(nn.Module):
    """Entry p of the vector is log psi of one entry of one potential (`hgm.tree.flat`).

    Tied factors read the same entries, so tying needs no further care; `potentials` gives them back as a tree's.

    Args:
        potentials: the tree's.
        uses: ``(len(potentials),)`` how many factors use each.
        trainable: make the vector a parameter instead of a buffer.
    """

    log_potential: Tensor
    owner: Tensor
    uses: Tensor
    beyond: Tensor

    def __init__(self, potentials: tuple[Potential, ...], uses: Tensor, trainable: bool) -> None:
        super().__init__()
        self.of = potentials
        flat = torch.from_numpy(flatten(potentials))
        if trainable:
            self.log_potential = nn.Parameter(flat)
        else:
            self.register_buffer("log_potential", flat)
        self.register_buffer("owner", torch.from_numpy(owners(potentials)), persistent=False)
        self.register_buffer("uses", uses.to(torch.float64), persistent=False)
        self.register_buffer("beyond", torch.tensor([0.0, -torch.inf], dtype=torch.float64), persistent=False)

    def largest(self) -> Tensor:
        """``(len(potentials),)`` the largest log entry of each; a constant to autograd."""
        flat = self.log_potential.detach()
        return flat.new_full((len(self.of),), -torch.inf).scatter_reduce(0, self.owner, flat, "amax")

    def ranges(self) -> Tensor:
        """``(len(potentials),)`` log(smallest / largest entry) of each; the zeros of priors do not count."""
        flat = self.log_potential.detach()
        prior = torch.tensor([p.axes == 1 for p in self.of], dtype=torch.bool, device=flat.device)[self.owner]
        counted = torch.where(prior & flat.isneginf(), torch.inf, flat)
        empty = flat.new_full((len(self.of),), torch.inf)
        return empty.scatter_reduce(0, self.owner, counted, "amin") - self.largest()

    def scaled(self) -> Tensor:
        """``(P + 2,)`` log weights, every potential's largest at 0; then what `PAD` and `ZERO` stand for: 0, -inf."""
        return torch.cat([self.log_potential - self.largest()[self.owner], self.beyond.to(self.log_potential.dtype)])

    def constant(self) -> Tensor:
        """What the scaling took from log Z: the sum over all factors of their largest log entry."""
        return (self.uses * self.largest()).sum()

    def potentials(self) -> tuple[Potential, ...]:
        """The current weights as potentials."""
        return unflatten(self.of, self.log_potential.detach().double().cpu().numpy())

    def extra_repr(self) -> str:
        kind = "trainable" if isinstance(self.log_potential, nn.Parameter) else "fixed"
        return f"{len(self.log_potential)} in {len(self.of)} potentials, {kind}"
