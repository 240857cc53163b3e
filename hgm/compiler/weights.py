"""All distinct weights of a network in one vector, as a module: a buffer, or a parameter if they are trained.

    full = [ log psi_0 entries | log psi_1 entries | ... ]  (P,)           log_potential = full without its zeros  (N,)

Zeros are structure, as in `Potential.entries`: they are no weights, so nothing that changes weights, a weight decay
say, can move or spoil them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.numerics import unkept
from hgm.errors import BadPotential, listing
from hgm.evidence.potentials import GivenPotentials
from hgm.tree.called import potential_called
from hgm.tree.flat import CHUNK, flatten, owners, unflatten
from hgm.tree.potential import Potential
from hgm.tree.tree import Tree

__all__ = ["Weights"]


class Weights(nn.Module):
    """The entries of all potentials that are not zero.

    Tied factors read the same entries, so tying needs no further care; `potentials` gives them back as a tree's. The
    methods below are about all entries ``(P,)`` (`hgm.tree.flat`): the current ones, or those given as `full`, of which
    some take a batch ``(*batch, P)`` too.

    Args:
        tree: whose potentials they are.
        trainable: make the vector a parameter instead of a buffer.

    Attributes:
        log_potential: ``(N,)`` the logs of the entries that are not zero.
    """

    log_potential: Tensor
    place: Tensor | None
    sizes: Tensor
    uses: Tensor
    beyond: Tensor
    unary: Tensor
    _owner: Tensor | None

    def __init__(self, tree: Tree, trainable: bool) -> None:
        super().__init__()
        self.of = potentials = tree.potentials
        self.size = sum(p.size for p in potentials)
        full = flatten(potentials)
        kept = ~np.isneginf(full)
        log = torch.from_numpy(full if kept.all() else full[kept])
        if trainable:
            self.log_potential = nn.Parameter(log)
        else:
            self.register_buffer("log_potential", log)
        place = None if len(log) == len(full) else torch.from_numpy(np.where(kept, np.cumsum(kept) - 1, len(log)))
        self.register_buffer("place", place, persistent=False)  # of each entry; that of a zero is N
        self.register_buffer("sizes", torch.tensor([p.size for p in potentials], dtype=torch.int64), persistent=False)
        owner = torch.from_numpy(owners(potentials)) if trainable else None
        self.register_buffer("_owner", owner, persistent=False)
        unary = torch.tensor([p.axes == 1 for p in potentials], dtype=torch.bool)
        self.register_buffer("unary", unary, persistent=False)  # which potentials are of one variable
        uses = np.bincount(tree.potential_id, minlength=len(potentials)).astype(float)
        self.register_buffer("uses", torch.from_numpy(uses), persistent=False)
        self.register_buffer("beyond", torch.tensor([0.0, -torch.inf], dtype=torch.float64), persistent=False)

    def version(self) -> int:
        """How often the vector was changed in place; one of inference mode does not count that."""
        return -1 if self.log_potential.is_inference() else self.log_potential._version

    @property
    def owner(self) -> Tensor:
        """``(P,)`` the potential of each entry; as large as the weights, and kept where they learn."""
        if self._owner is not None:
            return self._owner
        return self._owners(slice(0, self.size))

    def _owners(self, some: slice) -> Tensor:
        """The potentials of some entries."""
        entries = torch.arange(some.start, some.stop, device=self.sizes.device)
        return torch.bucketize(entries, self.sizes.cumsum(0), right=True)

    def _alone(self, full: Tensor) -> bool:
        """Whether nobody looks on: then nothing as large as all weights is needed beside them."""
        alone = self._owner is None and full.ndim == 1 and len(full) > 0 and full.is_cpu
        return alone and not torch.compiler.is_compiling() and unkept(full)

    def full(self, entries: Tensor | None = None, zero: float = -torch.inf) -> Tensor:
        """``(P,)`` all entries, `zero` where a potential is zero, from those that are not ``(N,)``."""
        entries = self.log_potential if entries is None else entries
        return entries if self.place is None else F.pad(entries, (0, 1), value=zero)[self.place]

    def stored(self, full: Tensor) -> Tensor:
        """``(N,)`` the entries that are not zero, of all entries ``(P,)``. A vector of another length stays as it is.

        Raises:
            BadPotential: for an entry at which a potential is zero.
        """
        if self.place is None or full.shape != self.place.shape:
            return full
        kept = self.place.to(full.device) < len(self.log_potential)
        moved = ~kept & ~full.isneginf()
        if bool(moved.any()):
            which = torch.unique(self.owner[moved.to(self.owner.device)]).tolist()
            raise BadPotential(
                f"zeros are no weights: those of potentials {self.called(which)} cannot become positive; compile a "
                "network from a tree that has no zeros there"
            )
        return full[kept]

    def keeps_zeros(self, full: Tensor) -> bool:
        """Whether entries ``(*batch, P)`` are zero wherever a potential is."""
        return self.place is None or not bool((~full.isneginf() & (self.place >= len(self.log_potential))).any())

    def largest(self, full: Tensor | None = None) -> Tensor:
        """``(len(potentials),)`` the largest log entry of each; a constant to autograd."""
        flat = (self.full() if full is None else full).detach()
        if self._alone(flat):
            return torch.segment_reduce(flat, "max", lengths=self.sizes)
        empty = flat.new_full((*flat.shape[:-1], len(self.of)), -torch.inf)
        return empty.scatter_reduce(-1, self.owner.expand(flat.shape), flat, "amax")

    def ranges(self, full: Tensor | None = None) -> Tensor:
        """``(len(potentials),)`` log(smallest / largest entry) of each; the zeros of priors do not count."""
        flat = (self.full() if full is None else full).detach()
        counted = torch.where(self.unary[self.owner] & flat.isneginf(), torch.inf, flat)
        empty = flat.new_full((*flat.shape[:-1], len(self.of)), torch.inf)
        return empty.scatter_reduce(-1, self.owner.expand(flat.shape), counted, "amin") - self.largest(flat)

    def spread(self, full: Tensor | None = None) -> float:
        """sum_f c_f: the log ranges of the positive entries of all factors (`hgm.compiler.reach`)."""
        flat = (self.full() if full is None else full).detach()
        counted = torch.where(flat.isneginf(), torch.inf, flat)
        low = flat.new_full((len(self.of),), torch.inf).scatter_reduce(-1, self.owner, counted, "amin")
        return float((self.uses * (self.largest(flat) - low)).sum())

    def scaled(self, full: Tensor | None = None) -> Tensor:
        """``(P + 2,)`` log weights, every potential's largest at 0; then what `PAD` and `ZERO` stand for: 0, -inf."""
        full = self.full() if full is None else full
        scaled, largest = torch.cat([full, self.beyond.to(full.dtype)]), self.largest(full)
        if self._alone(full):
            for first in range(0, len(full), CHUNK):
                some = slice(first, min(first + CHUNK, len(full)))
                scaled[some] -= largest[self._owners(some)]
            return scaled
        scaled[: len(full)] -= largest[self.owner]
        return scaled

    def constant(self, full: Tensor | None = None) -> Tensor:
        """What the scaling took from log Z: the sum over all factors of their largest log entry."""
        return (self.uses * self.largest(full)).sum()

    def check(self, full: Tensor, least: Tensor, advice: str = "compile a new network from net.tree()") -> None:
        """Raise `BadPotential` if entries ``(*batch, P)`` are no numbers, or `ranges` of them are below `least`."""
        ranges, finite = self.ranges(full), self.largest(full).isfinite()
        if bool(((ranges >= least) & finite).all()):
            return

        def which(wrong: Tensor) -> list[int]:
            return torch.nonzero(wrong.reshape(-1, len(self.of)).any(0)).flatten().tolist()

        if broken := which(~finite):
            raise BadPotential(
                f"the weights of potentials {self.called(broken)} are NaN, +inf, or all zero: an optimiser may have "
                "diverged, or a file of weights be damaged"
            )
        raise BadPotential(
            f"the weights of potentials {self.called(which(ranges < least))} have left the range for which this "
            f"network's kernels were chosen; {advice}"
        )

    def inside(self, full: Tensor, least: Tensor) -> Tensor:
        """Entries ``(*batch, P)`` as they are, or NaN where `check` would raise an error: without looking at them."""
        good = (self.ranges(full) >= least).all(-1, keepdim=True)
        return torch.where(good, full, torch.nan)

    def given(self, given: GivenPotentials) -> Tensor:
        """``(P,)`` or ``(*batch, P)`` the current entries with those of given potentials in their places."""
        own = self.full()
        parts = list(own.split([p.size for p in self.of]))
        for i, log in given.tensors.items():
            parts[i] = log.flatten(log.ndim - given.axes[i]).to(own)
        return torch.cat([part.expand(*given.batch, -1) for part in parts], -1)

    def potentials(self) -> tuple[Potential, ...]:
        """The current weights as potentials, with their zeros. Raises `BadPotential` if one is NaN or infinite."""
        return unflatten(self.of, self.full().detach().double().cpu().numpy())

    def called(self, which: list[int]) -> str:
        """Some of the potentials, for a message: by their names, or numbers."""
        return listing([potential_called(self.of, i) for i in which])

    def extra_repr(self) -> str:
        kind = "trainable" if isinstance(self.log_potential, nn.Parameter) else "fixed"
        return f"{len(self.log_potential)} in {len(self.of)} potentials, {kind}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        key = f"{prefix}log_potential"
        if key in state_dict:  # of a version that kept the zeros too
            state_dict[key] = self.stored(state_dict[key])
        super()._load_from_state_dict(state_dict, prefix, *rest)
