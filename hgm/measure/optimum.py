"""The best answer that exists, and what it leaves: posterior means or posteriors by the exact compiled network.

Everything is computed in float64, from the very numbers that the measured network is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.errors import BadEvidence, BadSpec, brief, extension, listing
from hgm.evidence.ambient import making
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Erasure, Flip, Gaussian, inside
from hgm.evidence.symbols import MISSING, allowed
from hgm.networks.compile import Task, compile
from hgm.tree.labels import Label
from hgm.tree.tree import Tree

__all__ = ["Answer", "Optimum", "Sample", "squares"]


class Sample(NamedTuple):
    """Exact samples: x ``(B, *leaf shape)`` symbols of the leaves, and y, ``(B,)`` each, states of given variables."""

    x: Tensor
    y: tuple[Tensor, ...]


class Answer(NamedTuple):
    """The best answer to observations of B rows, float64.

    Attributes:
        best: means ``(B, *leaf shape)``, of vectors ``(B, k, *leaf shape)``; posteriors ``(B, S, *leaf shape)``, or of
            the root ``(B, S)``.
        left: ``(B, n)`` what it leaves: the posterior variance of every leaf, or the entropy of its posterior, in nats;
            of the root ``(B, 1)``.
        counts: ``(B, n)`` 1 where a leaf is scored, or ``None``: all are. Erased symbols are, as of masked diffusion;
            the others are known.
    """

    best: Tensor
    left: Tensor
    counts: Tensor | None


class Optimum:
    """The exact network for a task, and the samples and observations to ask it about.

    Args:
        tree: the model.
        channel: how the leaves are observed.
        task: as for `hgm.compile`; of ``"classify"`` the root.
        given: names of inner variables whose states are known beside the observation.

    Attributes:
        channel: as it was bound to the leaves.
        erases: whether its noise is the share of symbols that is erased.
        gaussian: whether it adds Gaussian noise.
        values: ``(S, k)`` float64 less their mean.

    Raises:
        BadSpec: for a channel whose noise is not one number, Flip on leaves with unequal numbers of states, and a
            variable given twice.
        BadEvidence: for given variables that are leaves, or unknown.
    """

    def __init__(self, tree: Tree, channel: Channel, task: Task, given: Sequence[Label]) -> None:
        self.tree, self.task = tree, task
        self.given = [tree.index(name) for name in given]
        if len(set(self.given)) < len(self.given):
            raise BadSpec(f"given names a variable twice: {listing(list(given))}")
        for name, v in zip(given, self.given, strict=True):
            if not tree.inner[v]:
                raise BadEvidence(f"given are variables above the leaves, which z tells of; {name!r} is a leaf")
        kind: Task = "posterior" if task == "denoise" else task
        self.network = compile(tree, kind, channel=channel, observed=list(given)).double()
        self.channel = self.network.channel
        within = inside(self.channel)
        self.erases, self.gaussian = isinstance(within, Erasure), isinstance(within, Gaussian)
        if not self.erases and len(self.channel.noise_names) != 1:
            raise BadSpec(
                f"levels of noise are those of a channel with one noise, such as Gaussian, Flip or Erasure; got "
                f"{brief(channel)}"
            )
        several = np.unique(tree.cardinality[tree.leaves])
        if isinstance(within, Flip) and len(several) > 1:
            raise BadSpec(
                f"Flip goes to any of S states, the same at all leaves; these have {listing(several.tolist())}"
            )
        table = self.channel.table().double()
        self.vectors = table.ndim == 2
        self.table = table if self.vectors else table[:, None]
        self.centre = self.table.mean(0)
        self.values = self.table - self.centre  # less is lost where all are large
        with making():
            self._nothing = infer(tree)

    @property
    def states(self) -> int:
        """S."""
        return len(self.table)

    @property
    def shared_values(self) -> bool:
        """Whether some states have the same value."""
        return len(torch.unique(self.table, dim=0)) < self.states

    @property
    def spread(self) -> float:
        """The range of the values, the largest of all components; 1 if they are all the same."""
        return float((self.values.amax(0) - self.values.amin(0)).max()) or 1.0

    def draw(self, count: int, generator: torch.Generator) -> Sample:
        """So many exact samples."""
        with making():
            drawn = self._nothing.sample(count, generator=generator)
        return Sample(drawn.leaves, tuple(drawn.states[:, v] for v in self.given))

    def observe(self, x: Tensor, noise: float, dtype: torch.dtype, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Observations z of symbols at a level of noise, and the noise ``(B,)``, in a precision (symbols keep theirs).

        Of Erasure the noise is the share that is erased.
        """
        with making():
            wide = dtype if dtype in (torch.float32, torch.float64) else torch.float32
            level = torch.full((len(x),), noise, dtype=wide)
            if self.erases:
                keep = torch.rand(x.shape, generator=generator) >= noise
                z = self.channel.observe(x, keep, generator=generator)
            else:
                with extension(f"{type(self.channel).__name__}.observe"):
                    z = self.channel.observe(x, level, generator=generator)
        return (z.to(dtype) if z.is_floating_point() else z), level.to(dtype)

    def answer(self, z: Tensor, level: Tensor, y: Sequence[Tensor]) -> Answer:
        """The best answer to z, at the noise that it has, given y."""
        p = self.posterior(z, level, y)
        if self.task == "denoise":
            return self.means(p)
        left = -torch.xlogy(p, p).sum(1).reshape(len(p), -1)
        counts = (z == MISSING).flatten(1).double() if self.erases and self.task == "posterior" else None
        return Answer(p, left, counts)

    def posterior(self, z: Tensor, level: Tensor, y: Sequence[Tensor]) -> Tensor:
        """``(B, S, *leaf shape)`` posteriors of the leaves, ``(B, S)`` of the root. Arguments as of `answer`."""
        z = z.double() if z.is_floating_point() else z
        noise = () if self.erases else (level.double(),)
        with torch.no_grad():
            found: Tensor = self.network(z, *noise, evidence=self._told(y) if y else None)
        return found

    def _told(self, y: Sequence[Tensor]) -> Tensor:
        hit = allowed(torch.stack(list(y), 1), self.network.states_in, 1)
        return torch.where(hit, 0.0, -torch.inf).double().to(self.network.precision.device)

    def means(self, p: Tensor) -> Answer:
        """The best answer that follows from posteriors of the leaves: their means."""
        values = self.values.to(p)[: p.shape[1]]
        mean = torch.einsum("bs...,sk->bk...", p, values)
        second = torch.einsum("bs...,s->b...", p, values.square().sum(1))
        left = (second - mean.square().sum(1)).clamp_min(0).flatten(1)
        mean = mean + self.centre.to(p).reshape(-1, *(1,) * (mean.ndim - 2))
        return Answer(mean if self.vectors else mean[:, 0], left, None)

    def clean(self, x: Tensor) -> Tensor:
        """The values of symbols ``(B, *leaf shape)``, in the shape of means."""
        values: Any = self.table[x.cpu()]
        return values.movedim(-1, 1) if self.vectors else values[..., 0]


def squares(apart: Tensor, vectors: bool) -> Tensor:
    """``(B, n)`` squares of differences ``(B, *leaf shape)``, of vectors ``(B, k, *leaf shape)``, at each leaf."""
    apart = apart.flatten(2) if vectors else apart.flatten(1).unsqueeze(1)
    return apart.square().sum(1)
