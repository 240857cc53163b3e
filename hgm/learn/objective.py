"""What a network is shown of clean data, and what its answer costs.

    denoise      mean over leaves of (f - value(x))^2            the least is reached by f = E[value(x) | z]
    posterior    mean over leaves of -log f(x)                   by f = p(x_v | z)
    classify     -log f(y)                                       by f = p(y | z)

So the least loss of each is that of belief propagation, for every distribution of noise levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hgm.errors import BadSpec, HgmError, brief, extension
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Erasure, Flip, Gaussian, inside
from hgm.learn.levels import DECADE, Levels, checked_levels
from hgm.networks.network import Network

__all__ = ["Objective", "Shown", "Task", "device_of", "objective"]

Task = Literal["denoise", "posterior", "classify"]

#: a probability below this counts as it in a cross-entropy, where a network rounds to 0
TINY = float(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class Shown:
    """A training batch.

    Attributes:
        given: what the network is called with: the observation, and perhaps its noise.
        target: values or symbols of the leaves, or labels.
    """

    given: tuple[Tensor, ...]
    target: Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """How a network is asked, and what its answers cost. Made by `objective`.

    Attributes:
        task: what it learns.
        channel: how leaves are observed, on the network's device.
        levels: the distribution of noise; ``None`` if the channel has none.
        tells: whether the network is called with the noise.
        dtype: of observations.
    """

    task: Task
    channel: Channel
    levels: Levels | None
    tells: bool
    dtype: torch.dtype

    def shown(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Shown:
        """Rows of clean data ``(B, *leaf shape)`` as a network sees them."""
        channel, within = self.channel, inside(self.channel)
        values = self._values(x) if isinstance(within, Gaussian) or self.task == "denoise" else x
        level = None if self.levels is None else self.levels.draw(len(x), generator)
        if level is None:
            z = channel.observe(x, generator=generator)
        elif isinstance(within, Gaussian):
            z = within.add_noise(values, level.to(values.dtype), generator=generator)
        elif isinstance(within, Erasure):
            drawn = torch.rand(x.shape, generator=generator, device=x.device, dtype=torch.float64)
            z = channel.observe(x, drawn >= level.reshape(-1, *(1,) * (x.ndim - 1)), generator=generator)
        else:
            z = channel.observe(x, self._precise(level), generator=generator)
        z = z.to(self.dtype) if z.is_floating_point() else z
        given = (z,) if level is None or not self.tells else (z, level.to(self.dtype))
        if self.task == "classify":
            return Shown(given, y)
        return Shown(given, values if self.task == "denoise" else x.long())

    def answer(self, network: nn.Module, given: tuple[Tensor, ...]) -> Tensor:
        """Means, or logs of probabilities."""
        if isinstance(network, Network):  # which knows the logs also where probabilities underflow
            found: Tensor = network(*given, outputs="mean" if self.task == "denoise" else "log_posterior")
            return found
        found = network(*given)
        return found if self.task == "denoise" else found.clamp_min(TINY).log()

    def loss(self, answer: Tensor, target: Tensor) -> Tensor:
        """``()`` in float32 at least."""
        answer = answer.to(torch.promote_types(answer.dtype, torch.float32))
        if self.task != "denoise":
            return -answer.gather(1, target.unsqueeze(1)).mean()
        square = (answer - target.to(answer.dtype)).square()
        return (square.sum(1) if self._vectors else square).mean()

    def try_out(self, network: nn.Module, shown: Shown, states: int, at_least: bool = False) -> None:
        """Ask once, and look at the answer; `states` are those that are asked for, or the fewest that are.

        Raises:
            HgmError: for an answer of another shape, or one that is no mean, or no probability.
            BadExtension: if the network fails.
        """
        name, z = type(network).__name__, shown.given[0]
        with (
            torch.no_grad(),
            extension(f"the network {name}, called as f({', '.join(['z', 'noise'][: len(shown.given)])}),"),
        ):
            out = self.answer(network, shown.given) if isinstance(network, Network) else network(*shown.given)
        target = shown.target
        want = tuple(target.shape) if self.task == "denoise" else (len(target), states, *target.shape[1:])
        if at_least and isinstance(out, Tensor) and out.ndim == len(want):
            want = (want[0], max(states, out.shape[1]), *want[2:])
        what = {"denoise": "means of the leaves", "posterior": "posteriors of the leaves", "classify": "probabilities"}
        if not isinstance(out, Tensor) or tuple(out.shape) != want or not out.is_floating_point():
            got = f"{out.dtype} of shape {tuple(out.shape)}" if isinstance(out, Tensor) else brief(out)
            raise HgmError(f"for task {self.task!r} a network gives {what[self.task]}, {want}; {name} gave {got}")
        if not bool(out.isfinite().all()) and not isinstance(network, Network):
            raise HgmError(
                f"the network {name} gave NaN or infinity for z of shape {tuple(z.shape)} before any training"
            )
        if self.task != "denoise" and not isinstance(network, Network):
            sums = out.detach().float().sum(1)
            if bool((out < 0).any()) or not bool((sums - 1).abs().max() < 1e-2):
                raise HgmError(
                    f"for task {self.task!r} a network gives probabilities, at least 0 and with sum 1 over axis 1; "
                    f"{name} gave others: end it with softmax(1)"
                )

    @property
    def _vectors(self) -> bool:
        return self.channel.values is not None and self.channel.values.ndim == 2

    def _precise(self, level: Tensor) -> Tensor:
        return level if self.dtype == torch.float64 else level.float()

    def _values(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            return x
        clean = self._precise(self.channel.table())[x.long()]
        return clean.movedim(-1, 1) if self._vectors else clean


def objective(network: nn.Module, channel: Channel, task: Task, noise: Any, spread: float) -> Objective:
    """The objective of a network; `spread` is half the range of the values: what default noise is measured by.

    Raises:
        BadSpec: for noise that does not fit the channel, or values where there are none.
    """
    within, device = inside(channel), device_of(network)
    if not channel.noise_names and not isinstance(within, Erasure):
        if noise is not None:
            raise BadSpec(f"the channel {type(within).__name__} has no noise to choose; got noise={brief(noise)}")
        levels = None
    else:
        probability = isinstance(within, Erasure | Flip)
        if noise is None and not isinstance(within, Erasure | Flip | Gaussian):
            raise BadSpec(f"say which noise the channel {type(within).__name__} is to have: noise=(low, high), say")
        most = 1.0 if isinstance(within, Erasure) else 1 - 1 / max(within.states or 2, 2)
        default = (0.0, most) if probability else (spread / DECADE, spread * DECADE)
        levels = checked_levels(default if noise is None else noise, probability)
    if task == "denoise" and channel.values is None and within.reads_symbols:
        raise BadSpec(f"means are of values, and {type(within).__name__} does not know its own; give values=...")
    tells = levels is not None and not (isinstance(within, Erasure) and isinstance(network, Network))
    return Objective(task, channel.to(device), levels, tells, _dtype_of(network))


def device_of(network: nn.Module) -> torch.device:
    """Where the parameters are."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def _dtype_of(network: nn.Module) -> torch.dtype:
    """That which a network says it has, or that of its parameters."""
    own = getattr(network, "dtype", None)
    if isinstance(own, torch.dtype) and own.is_floating_point:
        return own
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.get_default_dtype())
