"""The exact denoiser of a tree given evidence: E[x | z, evidence], by a compiled network.

Evidence of inner variables goes in beside the leaves; that of leaves, as in inpainting, adds to what their noisy values
say: independent observations of one variable multiply.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hgm.bp.posterior import infer
from hgm.errors import BadEvidence, brief
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Gaussian
from hgm.evidence.given import read_evidence
from hgm.evidence.symbols import as_tensor
from hgm.networks.compile import Task, compile
from hgm.networks.outputs import Outputs
from hgm.tree.labels import Label
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Denoiser", "differentiable", "with_rows"]


class Denoiser(nn.Module):
    """``denoiser(z, sigma)``: the posterior mean of the leaves, given noisy leaves and evidence. Exact.

        hgm.diffusion.Denoiser(tree, hgm.Gaussian(values), {"label": 3})(z, sigma)

    Without evidence it is the compiled U-Net ``hgm.compile(tree, "denoise", channel=channel)``.

    Args:
        tree: the model.
        channel: how the leaves are observed; default `Gaussian`.
        evidence: what else is known of any variables, as for `hgm.infer`; ``None`` for nothing. With rows, they are
            those of z, or one for all.
        task: ``"denoise"``, or ``"posterior"`` for marginals of the `query`.
        query: as for `hgm.compile`.

    Attributes:
        network: the compiled `UNet`.
        channel: as it was bound to the leaves.
        leaf_shape: of the data.

    Raises:
        BadEvidence: for evidence that does not fit the model.
        ImpossibleEvidence: for evidence of probability zero.
    """

    told: Tensor | None
    known: Tensor | None

    def __init__(
        self,
        tree: Tree,
        channel: Channel | None = None,
        evidence: Any = None,
        task: Task = "denoise",
        query: Label | list[Label] | None = None,
    ) -> None:
        super().__init__()
        channel = Gaussian() if channel is None else channel
        e, inner, leaves, rows = _parted(checked_tree(tree), evidence)
        self.evidence_rows = rows
        names = [tree.names[int(v)] for v in inner]
        over = channel.bound(_states(tree)) if isinstance(channel, Channel) else channel
        self.network = compile(tree, task, channel=_Known(over) if leaves else over, observed=names, query=query)
        self.channel, self.leaf_shape = over, self.network.leaf_shape
        states = self.network.states_in
        told = e[:, :states, torch.from_numpy(inner)].clone() if len(inner) else None
        known = e[:, : self.network.leaf_states, torch.from_numpy(tree.leaves)] if leaves else None
        self.register_buffer("told", told)
        self.register_buffer("known", None if known is None else known.unflatten(2, self.leaf_shape).clone())

    @property
    def dtype(self) -> torch.dtype:
        """What integer symbols give."""
        return self.network.dtype

    def rows(self, part: slice) -> Denoiser:
        """The same for some rows of the evidence; for evidence of one row itself."""
        if self.evidence_rows is None:
            return self
        other = nn.Module.__new__(Denoiser)
        nn.Module.__init__(other)
        other.network, other.channel, other.leaf_shape = self.network, self.channel, self.leaf_shape
        other.evidence_rows = len(range(*part.indices(self.evidence_rows)))
        other.register_buffer("told", None if self.told is None else self.told[part])
        other.register_buffer("known", None if self.known is None else self.known[part])
        return other

    def forward(self, z: Any, *noise: Any, outputs: Outputs | None = None) -> Any:
        """The answer to an observation of the leaves. Arguments, results and errors as of `UNet.forward`.

        Args:
            z: ``(B, *leaf shape)``, or ``(B, k, *leaf shape)`` of vectors.
            noise: what the channel takes next: of `Gaussian` sigma, and perhaps alpha.
            outputs: what is asked for; default means, or posteriors.
        """
        z = with_rows(z, self.evidence_rows)
        first = () if self.known is None else (self.known,)
        return self.network(z, *first, *noise, evidence=self.told, outputs=outputs)

    def log_partition(self, z: Any, *noise: Any) -> Tensor:
        """``(B,)`` log of the sum over all states of potentials, evidence and observation."""
        found: Tensor = self(z, *noise, outputs="log_partition")
        return found


def with_rows(z: Any, rows: int | None = None) -> Tensor:
    """An observation as a tensor. Raises `BadEvidence` for one without a batch axis, or of other rows than evidence."""
    z = as_tensor(z, "z")
    if not z.ndim:
        raise BadEvidence(f"z has a batch as its first axis; got one number, {brief(z.item() if not z.is_meta else z)}")
    if rows not in (None, len(z)):
        raise BadEvidence(f"the evidence has {rows} rows, but the observation has {len(z)}")
    return z


@contextmanager
def differentiable(z: Tensor) -> Iterator[Tensor]:
    """A copy of z to take derivatives by, whatever mode of autograd is outside."""
    with torch.inference_mode(False), torch.enable_grad():
        yield z.detach().clone().requires_grad_()


class _Known(Channel):
    """Another channel beside log evidence of its own: the first argument, ``(B or 1, S, *positions)``."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel.values)
        self.channel = channel
        self.reads_symbols, self.noise_names = channel.reads_symbols, channel.noise_names

    def bound(self, states: int) -> _Known:
        return type(self)(self.channel.bound(states))

    def positions(self, z: Tensor) -> tuple[int, ...]:
        return self.channel.positions(z)

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        known, *noise = noise  # type: ignore[assignment]
        assert isinstance(known, Tensor)
        shape, positions = tuple(known.shape[2:]), self.channel.positions(z)
        if positions != shape:
            raise BadEvidence(f"the observation must be of leaves {shape}; got {positions}")
        e = self.channel.states_first(z, *noise)
        return e + known.flatten(2).permute(1, 2, 0).to(e)


def _states(tree: Tree) -> int:
    return int(tree.cardinality[tree.leaves].max())


def _parted(tree: Tree, evidence: Any) -> tuple[Tensor, np.ndarray, bool, int | None]:
    """Log evidence ``(B, S, V)``; which inner variables it tells of, whether of leaves; and its rows, if any."""
    if evidence is None:
        return torch.zeros(1, 1, len(tree)), np.zeros(0, dtype=np.int64), False, None
    e, batched = read_evidence(tree, evidence)
    infer(tree, e)  # which must be possible
    nothing, _ = read_evidence(tree, None)
    tells = (e.detach() != nothing).any(1).any(0).cpu().numpy()
    rows = len(e) if batched and len(e) != 1 else None  # one row is that of all
    return e, np.flatnonzero(tells & tree.inner), bool(tells[~tree.inner].any()), rows
