"""What goes around a network of features: scaling in and out, the noise level, the answer's form.

A *body* maps ``(y, t)``, features ``(B, inputs, *shape)`` and a time ``(B,)``, to ``(B, outputs, *shape)``. With y the
data in [-1, 1] (`hgm.diffusion.scale`), s = sigma / half their noise, and v the variance of values of which each is as
likely, a denoiser is one of these (Karras et al., Elucidating the design space, 2206.00364, with v for sigma_data²):

    "skip"     D = v / (s² + v) y + s sqrt(v / (s² + v)) F(y / sqrt(s² + v), t)        their preconditioning
    "scale"    D = F(y / sqrt(s² + v), t)                                            no way past the network
    "blind"    D = F(asinh y)                                                        sigma is seen nowhere

The first is for networks that have a skip at the finest level anyway: what it adds is another. The time is
t = 100 log s, in which a step of 1 is about a step of DDPM; for symbols it is 1000 eps, or 1000 times the share erased.
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.baselines.problem import Problem
from hgm.diffusion.scale import Scale
from hgm.errors import BadEvidence, BadSpec, brief
from hgm.evidence.ambient import concrete
from hgm.evidence.noise import as_noise
from hgm.evidence.symbols import MISSING, as_tensor, checked_symbols
from hgm.tree.arguments import choice, whole

__all__ = ["Framed", "Sees"]

Sees = Literal["skip", "scale", "blind"]


class Framed(nn.Module):
    """A network of features, called ``f(z, sigma)``.

    Args:
        problem: what it is for.
        body: the network, as above; of type `torch.nn.Module`, with at least one parameter.
        sees: how it sees the noise: ``"skip"``, ``"scale"`` or ``"blind"``. The first is the second where the answer is
            no mean.
        multiple: what it can take as a side: 8 if it halves its resolution three times. Data are padded with zeros to
            the next multiple of that, and the answer is cut.
        window: how many positions along each axis, of which the middle one is its own, an output sees at most; ``None``
            where that is not stated.

    Raises:
        BadSpec: for what is no problem, no module with parameters, or no such number.

    Attributes:
        task, channel, leaf_shape: as of the networks that `hgm.compile` makes.
        body, sees, window: as given.
    """

    missing: Tensor | None

    def __init__(
        self, problem: Problem, body: nn.Module, sees: Sees = "skip", multiple: int = 1, window: int | None = None
    ) -> None:
        super().__init__()
        if not isinstance(problem, Problem):
            raise BadSpec(f"problem must be a hgm.baselines.Problem; got {brief(problem)}")
        if not isinstance(body, nn.Module) or next(body.parameters(), None) is None:
            raise BadSpec(f"body must be a torch.nn.Module with parameters; got {brief(body)}")
        self.body, self.window = body, None if window is None else whole("window", window, 1)
        self.axes = problem.axes
        self.task, self.channel, self.leaf_shape = problem.task, problem.channel, problem.leaf_shape
        self.row_shape = problem.row_shape
        choice("sees", sees, get_args(Sees))
        self.sees = "scale" if sees == "skip" and self.task != "denoise" else sees
        self.multiple = whole("multiple", multiple, 1)
        self.scale = Scale.of(None if self.channel.reads_symbols else self.channel)
        y = self.scale.into(self.channel.table().double().reshape(problem.states, -1))
        self.variance = float(y.var(0, correction=0).mean()) or 1.0
        fewer = np.arange(problem.states)[:, None] >= problem.tree.cardinality[problem.tree.leaves]
        masked = self.task == "posterior" and fewer.any()  # states that a leaf does not have
        missing = torch.tensor(fewer).unflatten(1, self.leaf_shape) if masked else None
        self.register_buffer("missing", missing, persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights, in which it computes."""
        return next(self.parameters()).dtype

    def forward(self, z: Any, noise: Any = None) -> Tensor:
        """The answer to noisy leaves.

        Args:
            z: ``(B, *leaf shape)``, or ``(B, k, *leaf shape)`` of vectors; of symbols integers, -1 where erased.
            noise: sigma > 0 of `Gaussian`; eps of `Flip`; of `Erasure` the share t that is erased. A number or
                ``(B,)``. A blind network needs none.

        Returns:
            E[x | z] in the shape of z; for the task ``"posterior"`` probabilities ``(B, S, *leaf shape)``, 0 in states
            that a leaf does not have; for ``"classify"`` ``(B, S)``. In the precision of z, for integers in that of the
            weights.

        Raises:
            BadEvidence: for a wrong shape, symbols that are none, or noise that is none.
        """
        z = as_tensor(z, "z")
        if tuple(z.shape[1:]) != self.row_shape or not z.ndim:
            shape = ", ".join(map(str, self.row_shape))
            raise BadEvidence(f"z must be of shape (B, {shape}); got {tuple(z.shape)}")
        if not self.channel.reads_symbols and (z.dtype == torch.bool or not z.is_floating_point()):
            z = z.to(self.dtype)
        t = self._noise(noise, z)
        if not len(z):
            return self._answer(z.new_zeros(1, *z.shape[1:]), t.new_ones(1))[:0]
        answer = self._answer(z, t)
        return answer.to(z.dtype) if z.is_floating_point() else answer

    def _noise(self, noise: Any, z: Tensor) -> Tensor:
        """``(B,)`` sigma, eps or t."""
        name = (*self.channel.noise_names, "t")[0]
        if noise is None and self.sees == "blind":
            return z.new_ones(len(z), dtype=self.dtype)
        if noise is None:
            raise BadEvidence(f"this network is called f(z, {name}): {name} is a number, or one per row of z")
        noise = as_noise(noise, z, name).to(self.dtype)
        if tuple(noise.shape) not in ((), (1,), (len(z),)):
            raise BadEvidence(f"{name} must be a number or of shape ({len(z)},), one per row; got {tuple(noise.shape)}")
        if concrete(noise):
            symbols = self.channel.reads_symbols
            right = (noise >= 0) & (noise <= 1) if symbols else (noise > 0) & noise.isfinite()
            if not bool(right.all()):
                wanted = "a probability, 0 to 1" if symbols else "positive and finite"
                raise BadEvidence(f"{name} must be {wanted}; got {brief(noise[~right].flatten()[0].item())}")
        return noise.expand(len(z))

    def _answer(self, z: Tensor, noise: Tensor) -> Tensor:
        if self.channel.reads_symbols:
            y = self._one_hot(z)
            out = self._features(y, 1000 * noise)
        else:
            y = self.scale.into(z.to(self.dtype))
            y = y if self.channel.table().ndim == 2 else y.unsqueeze(1)
            s = noise / self.scale.half
            out = self._seen(y, s)
        if self.task == "classify":
            return out.flatten(2).mean(2).softmax(1)
        if self.task == "posterior":
            return (out if self.missing is None else out.masked_fill(self.missing, -torch.inf)).softmax(1)
        return self.scale.out(out if self.channel.table().ndim == 2 else out.squeeze(1))

    def _seen(self, y: Tensor, s: Tensor) -> Tensor:
        """The network's output for data with noise s ``(B,)``."""
        t, total = 100 * s.log(), (s.square() + self.variance).reshape(-1, *(1,) * (y.ndim - 1))
        if self.sees == "blind":
            return self._features(y.asinh(), torch.zeros_like(t))
        out = self._features(y / total.sqrt(), t)
        if self.sees == "scale":
            return out
        s = s.reshape(total.shape)
        return self.variance / total * y + s * (self.variance / total).sqrt() * out

    def _features(self, y: Tensor, t: Tensor) -> Tensor:
        """The body on padded features."""
        pad = [-size % self.multiple for size in self.leaf_shape]
        if any(pad):
            y = F.pad(y, [n for right in reversed(pad) for n in (0, right)])
        out: Tensor = self.body(y, t)
        for axis, size in enumerate(self.leaf_shape, 2):
            out = out.narrow(axis, 0, size)
        return out

    def _one_hot(self, z: Tensor) -> Tensor:
        """``(B, S, *leaf shape)``, zeros where a symbol is missing."""
        states = len(self.channel.table())
        z = checked_symbols(z, states).long()
        hot = z.unsqueeze(1) == torch.arange(states, device=z.device).reshape(-1, *(1,) * self.axes)
        return (hot & (z != MISSING).unsqueeze(1)).to(self.dtype)

    def extra_repr(self) -> str:
        return f"{self.task} of {prod(self.leaf_shape)} leaves {self.leaf_shape}, sees={self.sees!r}"
