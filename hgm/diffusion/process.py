"""Forward processes: how data turn into noise as time t goes from 0 to 1.

    continuous     z = alpha(t) value(x) + sigma(t) g          seen through a `Gaussian` channel
    masked         each symbol is erased with probability t    seen through `Erasure`
    uniform        each symbol is kept with probability 1 - t, else drawn anew from all S states: `Flip` with

                   eps(t) = t (S - 1) / S, because Flip goes to one of the *other* states

All continuous processes are one up to scale: z / alpha = value(x) + (sigma / alpha) g, which is what a denoiser takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import cos, log, pi
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadSpec, brief, listing
from hgm.evidence.ambient import check_generator
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Erasure, Flip, Gaussian, inside
from hgm.evidence.noise import check_shape
from hgm.evidence.symbols import MISSING, as_tensor
from hgm.tree.arguments import choice, number, whole
from hgm.tree.tree import Tree

__all__ = [
    "ALPHA_MIN",
    "GaussianProcess",
    "Masked",
    "Process",
    "RectifiedFlow",
    "StochasticLocalisation",
    "Uniform",
    "VarianceExploding",
    "VariancePreserving",
    "checked_process",
]

#: alpha is kept at or above this, so that z / alpha exists also where a process begins with noise alone
ALPHA_MIN = 1e-4


class Process(ABC):
    """Base of all processes.

    Attributes:
        channels: the kinds of channel it is observed through; the first is the default.
    """

    channels: ClassVar[tuple[type[Channel], ...]]

    @abstractmethod
    def noise(self, t: Any, states: int) -> tuple[Tensor, ...]:
        """What the channel takes after the observation at time t: ``()`` or ``(B,)`` each.

        Args:
            t: a number in [0, 1], or one per row ``(B,)``.
            states: S.

        Raises:
            BadSpec: for another time.
        """

    @abstractmethod
    def log_density(self, z: Tensor, t: Any) -> Tensor:
        """``(B,)`` what `Channel.forward` leaves out of the log likelihood of an observation, the same for all states.

        z is ``(B, *positions)``, or ``(B, k, *positions)``, at time t.
        """

    def channel(self, given: Channel | None, states: int) -> Channel:
        """The channel through which it is observed: the one that is given, for leaves with so many states.

        Raises:
            BadSpec: for a channel of another process.
            BadEvidence: for values of another number of states.
        """
        channel = self.channels[0]() if given is None else given
        if given is None and not states:
            raise BadSpec(f"{type(self).__name__} is observed through a channel that knows its values; got None")
        if not isinstance(inside(channel), self.channels):
            names = " or ".join(kind.__name__ for kind in self.channels)
            raise BadSpec(f"{type(self).__name__} is observed through the channel {names}; got {brief(given)}")
        return channel.bound(states)

    def check(self, tree: Tree) -> None:  # noqa: B027  most run on all
        """Raises `BadSpec` if it cannot be run on the leaves of a tree."""

    def observe(self, x: Tensor, t: Any, channel: Channel, generator: torch.Generator | None = None) -> Tensor:
        """Symbols ``(B, *positions)`` at time t, drawn: what the channel sees. Errors as of `Channel.observe`."""
        x = as_tensor(x, "symbols to observe")
        channel = self.channel(channel, len(channel.table()) if isinstance(channel, Channel) else 0)
        return channel.observe(x, *self.noise(t, len(channel.table())), generator=generator)


class GaussianProcess(Process):
    """Base of the continuous processes, which say `alpha_sigma`."""

    channels = (Gaussian,)

    @abstractmethod
    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha > 0 and sigma at times in [0, 1], in float64."""

    def at(self, t: Any) -> tuple[Tensor, Tensor]:
        """alpha and sigma at time t, ``()`` or ``(B,)`` each, in float64; alpha at least `ALPHA_MIN`.

        Raises:
            BadSpec: for a time outside of [0, 1].
        """
        alpha, sigma = self.alpha_sigma(_time(t))
        return alpha.clamp_min(ALPHA_MIN), sigma

    def rates(self, t: Any) -> tuple[Tensor, Tensor]:
        """d alpha / dt and d sigma / dt, ``()`` or ``(B,)`` each: what velocities are made of."""
        t = _time(t)
        return torch.func.jvp(self.alpha_sigma, (t,), (torch.ones_like(t),))[1]

    def noise(self, t: Any, states: int = 0) -> tuple[Tensor, ...]:
        alpha, sigma = self.at(t)
        return sigma, alpha

    def log_density(self, z: Tensor, t: Any) -> Tensor:
        """-d log sigma - d/2 log 2 pi, with d the numbers of a row that are there."""
        d = (~z.isnan()).flatten(1).sum(1)
        return -d * (self.at(t)[1].to(z.device).log() + log(2 * pi) / 2)


@dataclass(frozen=True)
class VariancePreserving(GaussianProcess):
    """alpha^2 + sigma^2 = 1.

        linear    alpha^2 = exp(-(0.1 t + 19.9 t^2 / 2))                      Song et al., arXiv 2011.13456
        cosine    alpha = cos(pi/2 (t + s)/(1 + s)) / cos(pi/2 s/(1 + s))     s = 0.008; Nichol, Dhariwal, 2102.09672

    Args:
        kind: ``"linear"`` (of the rate of noise) or ``"cosine"``.
    """

    kind: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        choice("kind", self.kind, ("linear", "cosine"))

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "linear":
            log_square = -(0.1 * t + 19.9 * t.square() / 2)
            return (log_square / 2).exp(), (-torch.expm1(log_square)).sqrt()
        s = 0.008
        start = pi / 2 * s / (1 + s)
        angle = pi / 2 * (t + s) / (1 + s)
        # 1 - cos^2(a)/cos^2(b) = sin(a + b) sin(a - b) / cos^2(b), which is exact near t = 0
        square = torch.sin(angle + start) * torch.sin(angle - start) / cos(start) ** 2
        return torch.cos(angle) / cos(start), square.clamp(0, 1).sqrt()


@dataclass(frozen=True)
class VarianceExploding(GaussianProcess):
    """alpha = 1, sigma = low (high / low)^t. Song et al., arXiv 2011.13456.

    Args:
        low: sigma at time 0, above 0.
        high: sigma at time 1, above `low`.
    """

    low: float = 0.01
    high: float = 100.0

    def __post_init__(self) -> None:
        number(self.low, "low must be a positive number", lambda x: 0 < x < torch.inf)
        number(self.high, f"high must be a number above low, which is {self.low}", lambda x: self.low < x < torch.inf)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.low * (t * log(self.high / self.low)).exp()


@dataclass(frozen=True)
class RectifiedFlow(GaussianProcess):
    """z = (1 - t) x + t g: linear interpolation. Liu et al., arXiv 2209.03003; Lipman et al., 2210.02747."""

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t


@dataclass(frozen=True)
class StochasticLocalisation(GaussianProcess):
    """z = tau x + sqrt(tau) g: a Brownian motion with drift x in a time of its own.

    That is tau = (1 - t) / t, the signal to noise ratio, kept within 1e-4 to 1e4. Song Mei, arXiv 2404.18444.
    """

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        tau = ((1 - t) / t.clamp_min(ALPHA_MIN)).clamp_min(ALPHA_MIN)
        return tau, tau.sqrt()


@dataclass(frozen=True)
class Masked(Process):
    """Masked diffusion: each symbol is erased (-1) with probability t, by itself."""

    channels = (Erasure,)

    def noise(self, t: Any, states: int = 0) -> tuple[Tensor, ...]:
        _time(t)
        return ()

    def log_density(self, z: Tensor, t: Any) -> Tensor:
        """log t for each symbol that is erased, log(1 - t) for each that is not."""
        t = _time(t).to(z.device)
        erased, kept = ((z == MISSING).flatten(1).sum(1), (z != MISSING).flatten(1).sum(1))
        return torch.special.xlogy(erased, t) + torch.special.xlog1py(kept, -t)

    def observe(self, x: Tensor, t: Any, channel: Channel, generator: torch.Generator | None = None) -> Tensor:
        x = as_tensor(x, "symbols to observe")
        channel = self.channel(channel, len(channel.table()) if isinstance(channel, Channel) else 0)
        t, generator = _time(t).to(x.device), check_generator(generator, x.device)
        check_shape(t, len(x) if x.ndim else 1, 0, tuple(x.shape[1:]), "the time t")
        drawn = torch.rand(x.shape, generator=generator, device=x.device, dtype=torch.float64)
        return channel.observe(x, drawn >= t.reshape(-1, *(1,) * (x.ndim - 1)), generator=generator)


@dataclass(frozen=True)
class Uniform(Process):
    """Uniform diffusion: each symbol is drawn anew, from all S states, with probability t."""

    channels = (Flip,)

    def noise(self, t: Any, states: int) -> tuple[Tensor, ...]:
        whole("states", states, 1)
        return (_time(t) * (states - 1) / states,)

    def check(self, tree: Tree) -> None:
        cards = np.unique(tree.cardinality[tree.leaves])
        if len(cards) > 1:
            raise BadSpec(
                f"uniform diffusion draws from the same states everywhere; these leaves have {listing(cards.tolist())}"
            )

    def log_density(self, z: Tensor, t: Any) -> Tensor:
        """0: the evidence of `Flip` is a normalised likelihood."""
        _time(t)
        return torch.zeros(len(z), dtype=torch.float64, device=z.device)


def checked_process(process: Any) -> Process:
    """The process. Raises `BadSpec` for what is none."""
    if not isinstance(process, Process):
        raise BadSpec(f"process must be one of hgm.diffusion, such as VariancePreserving(); got {brief(process)}")
    return process


def _time(t: Any) -> Tensor:
    time = as_tensor(t, "the time t").double()
    if time.ndim > 1 or not bool(((time >= 0) & (time <= 1)).all()):
        raise BadSpec(f"the time t must be a number from 0 (data) to 1 (noise), or one per row (B,); got {brief(t)}")
    return time
