"""What is exact about a tree under a forward process, at every time.

log p_t(z)   = log Z(z) - log Z() + log of the constants       Z: the sum over states of potentials times evidence
score        = grad_z log p_t(z) = (alpha E[x | z] - z) / sigma^2                                       Tweedie
Cov[x | z]   = (sigma^2 / alpha) dE[x | z]/dz
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from hgm.bp.assignment import Assignment
from hgm.bp.partition import log_partition
from hgm.bp.posterior import infer
from hgm.diffusion.denoiser import Denoiser, differentiable, with_rows
from hgm.diffusion.process import GaussianProcess, Process, checked_process
from hgm.diffusion.scale import components
from hgm.errors import BadEvidence, BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.evidence.given import log_evidence
from hgm.evidence.noise import along
from hgm.evidence.symbols import as_tensor
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Exact"]

LARGEST = 1 << 28  # numbers of the covariances of a batch


class Exact(nn.Module):
    """A tree whose leaves are seen through a forward process: density, score, moments and samples at every time.

        exact = hgm.diffusion.Exact(tree, hgm.diffusion.VariancePreserving(), hgm.Gaussian(values))
        exact.log_prob(z, 0.3), exact.score(z, 0.3), exact.variance(z, 0.3), exact.sample(z, 0.3, n=10)

    Everywhere z is ``(B, *leaf shape)`` as the process makes it (of values in R^k ``(B, k, *leaf shape)``; symbols for
    the discrete processes), and t the time, a number in [0, 1] or one per row ``(B,)``. Results have z's precision.
    The noise is in the units of the channel's values: the same t is more of it for values up to 1 than up to 16.

    Args:
        tree: the model.
        process: how data turn into noise.
        channel: the values of the states; default `Gaussian()`, `Erasure()` or `Flip()`, with values 0 to S - 1.
        evidence: what else is known, as for `hgm.infer`: then everything is given that too.

    Attributes:
        tree, process: as given.
        channel: as it was bound to the leaves.
        evidence_log: ``()`` or ``(B,)`` log Z of the evidence alone.

    Raises:
        BadSpec: for a channel of another process, or leaves that it cannot run on.
        BadEvidence: for evidence or values that do not fit the tree.
        ImpossibleEvidence: for evidence of probability zero.
    """

    evidence_log: Tensor
    told: Tensor | None

    def __init__(self, tree: Tree, process: Process, channel: Channel | None = None, evidence: Any = None) -> None:
        super().__init__()
        states = int(checked_tree(tree).cardinality[tree.leaves].max())
        self.tree, self.process = tree, checked_process(process)
        process.check(tree)
        self.channel = process.channel(channel, states)
        self.continuous = isinstance(process, GaussianProcess)
        task = "denoise" if self.continuous else "posterior"
        self.denoiser = Denoiser(tree, self.channel, evidence, task)  # type: ignore[arg-type]
        self.everything = Denoiser(tree, self.channel, evidence, "posterior", "all")
        self.states = states
        told = None if evidence is None else log_evidence(tree, evidence)
        self.register_buffer("told", told)
        log_z = log_partition(tree, evidence)
        self.register_buffer("evidence_log", log_z if log_z.ndim == 0 or len(log_z) != 1 else log_z[0])

    def _read(self, z: Any) -> Tensor:
        z = with_rows(z)
        return z if z.is_floating_point() or not self.continuous else z.to(torch.get_default_dtype())

    def _holes(self, z: Tensor) -> Tensor:
        """Where z is NaN; a hole in any component of a vector is a hole."""
        hole = z.isnan()
        return hole if components(self.channel) is None else hole.any(1, keepdim=True)

    def _whole(self, z: Any) -> Tensor:
        z = self._read(z)
        if not z.is_meta and bool(z.isnan().any()):
            raise BadEvidence(
                "z has NaN, by which nothing can be derived; variance and sample take holes (hgm.Missing)"
            )
        return z

    def _noise(self, t: Any, z: Tensor) -> tuple[Tensor, ...]:
        """What the channel takes, on the device of z."""
        times = as_tensor(t, "the time t")
        if times.ndim == 1 and len(times) not in (1, len(z)):
            raise BadEvidence(f"the time t is a number, or one per row ({len(z)},); got {len(times)} times")
        noise = self.process.noise(t, self.states)
        if self.continuous and not bool((noise[0] > 0).all()):
            raise BadSpec(f"there is no density without noise, as at time {brief(t)}; take a later one")
        return tuple(x.to(z.device) for x in noise)

    def _continuous(self, what: str) -> GaussianProcess:
        if not isinstance(self.process, GaussianProcess):
            raise BadSpec(f"{what} is of continuous processes; {type(self.process).__name__} has symbols")
        return self.process

    def observe(self, x: Any, t: Any, *, generator: torch.Generator | None = None) -> Tensor:
        """Symbols ``(B, *leaf shape)`` as the process makes them by time t, drawn: a z. Errors: `Process.observe`."""
        return self.process.observe(x, t, self.channel, generator)

    def mean(self, z: Any, t: Any) -> Tensor:
        """``(B, *leaf shape)`` E[x | z]: what the best denoiser gives. Continuous processes only."""
        self._continuous("a mean")
        z = self._read(z)
        found: Tensor = self.denoiser(z, *self._noise(t, z))
        return found

    def posterior(self, z: Any, t: Any) -> Tensor:
        """``(B, S, *leaf shape)`` p(x_v | z) of each leaf."""
        z = self._read(z)
        found: Tensor = self.denoiser(z, *self._noise(t, z), outputs="posterior")
        return found

    def log_prob(self, z: Any, t: Any) -> Tensor:
        """``(B,)`` log p_t(z), a density (for symbols a probability) with all its constants, given the evidence."""
        z = self._read(z)
        noise = self._noise(t, z)
        log_z = self.denoiser.log_partition(z, *noise)
        seen = z.detach().masked_fill(self._holes(z), torch.nan) if self.continuous else z
        constant = self.process.log_density(seen, t).to(z.device) - self.evidence_log.to(z.device)
        return log_z + constant.to(log_z.dtype)

    def score(self, z: Any, t: Any) -> Tensor:
        """``(B, *leaf shape)`` the gradient of log p_t(z) by z, 0 at holes. Continuous processes only."""
        process = self._continuous("a score")
        z = self._read(z)
        alpha, sigma = (along(x.to(z), z) for x in process.at(t))
        return ((alpha * self.mean(z, t) - z) / sigma.square()).masked_fill(self._holes(z), 0.0)

    # ------------------------------------------------------------------ second moments

    def variance(self, z: Any, t: Any) -> Tensor:
        """``(B, *leaf shape)`` Var[x_v | z]: the diagonal of the covariance, from the marginals of the leaves."""
        self._continuous("a variance")
        p = self.posterior(z, t)
        values = self.channel.table().to(p)
        values = values if values.ndim == 2 else values[:, None]
        values = values - values.mean(0)  # less is lost where all are large
        first, second = (torch.einsum("bs...,sk->bk...", p, moment) for moment in (values, values.square()))
        variance = (second - first.square()).clamp_min(0)
        return variance if components(self.channel) is not None else variance[:, 0]

    def covariance(self, z: Any, t: Any) -> Tensor:
        """``(B, d, d)`` Cov[x | z], with the d numbers of a row in their order: the derivative of the denoiser.

        Raises:
            BadSpec: if that is too large; there is `covariance_times`.
            BadEvidence: for holes in z, by which nothing can be derived.
        """
        process = self._continuous("a covariance")
        z = self._whole(z)
        d = prod(z.shape[1:])
        if len(z) * d * d > LARGEST:
            raise BadSpec(f"{len(z)} covariances of {d:,} x {d:,} are too large; take products, by covariance_times")
        alpha, sigma = (x.to(z) for x in process.at(t))
        if not len(z):
            return z.new_zeros(0, d, d)
        with differentiable(z) as x:
            mean = self.mean(x, t)
            units = torch.eye(d, dtype=z.dtype, device=z.device).reshape(d, 1, *z.shape[1:]).expand(d, *z.shape)
            (rows,) = torch.autograd.grad(mean, x, units.contiguous(), is_grads_batched=True)
        return rows.flatten(2).transpose(0, 1) * (sigma.square() / alpha).reshape(-1, 1, 1)

    def covariance_times(self, z: Any, t: Any, vector: Any) -> Tensor:
        """``(B, *leaf shape)`` Cov[x | z] times a vector in the shape of z: sigma^2 / alpha d/dz <E[x | z], vector>.

        Raises:
            BadEvidence: for a vector of another shape, and holes in z, by which nothing can be derived.
        """
        process = self._continuous("a covariance")
        z, vector = self._whole(z), as_tensor(vector, "the vector")
        if vector.shape != z.shape:
            raise BadEvidence(f"the vector must have the shape of z, {tuple(z.shape)}; got {tuple(vector.shape)}")
        alpha, sigma = (along(x.to(z), z) for x in process.at(t))
        if not len(z):
            return z.clone()
        with differentiable(z) as x:
            (slope,) = torch.autograd.grad((self.mean(x, t) * vector.to(x)).sum(), x)
        return slope * sigma.square() / alpha

    # ------------------------------------------------------------------ all variables

    def sample(self, z: Any, t: Any, n: int = 1, *, generator: torch.Generator | None = None) -> Assignment:
        """n exact samples of all variables given each row of z: the clean leaves, and what is above them.

        Args:
            z: as everywhere.
            t: as everywhere.
            n: how many for each row.
            generator: source of randomness; default torch's global one.

        Returns:
            States ``(n, B, V)``: `Assignment.leaves` and `Assignment.values` are the clean data.
        """
        z = with_rows(self._read(z), self.denoiser.evidence_rows)
        e = log_evidence(self.tree, z, *self._noise(t, z), channel=self.channel)
        return infer(self.tree, e if self.told is None else e + self.told.to(e)).sample(n, generator=generator)

    def entropy(self, z: Any, t: Any) -> Tensor:
        """``(B, L + 1)`` nats: for each level, root first, the sum over its variables v of H(x_v | z)."""
        z = self._read(z)
        p: Tensor = self.everything(z, *self._noise(t, z))
        each = torch.special.entr(p.clamp(0, 1)).sum(1)
        return torch.stack(
            [each[:, slice(*self.tree.level_ptr[level : level + 2])].sum(1) for level in range(self.tree.depth + 1)], 1
        )
