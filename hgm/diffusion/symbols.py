"""A sampling run of symbols: which sampler is meant, and the steps that it takes.

"masked", Masked()       ancestral, in equal steps of time          `unmask_in_time`
a Schedule               so many symbols in each step               `unmask`
"uniform", Uniform()     ancestral, in equal steps of time          `unflip`
of diffusers             what the scheduler does                    `TOKENS`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hgm.diffusion.ancestral import unflip, unmask, unmask_in_time
from hgm.diffusion.process import Masked, Process, Uniform
from hgm.diffusion.step import Step
from hgm.diffusion.tokens import TOKENS, Run, driver_of
from hgm.diffusion.unmasking import Schedule
from hgm.errors import BadSpec, extension
from hgm.evidence.channel import Channel
from hgm.evidence.symbols import MISSING
from hgm.networks.network import Network

__all__ = ["NAMES", "Symbols"]

#: the samplers by name
NAMES: dict[str, Process] = {"masked": Masked(), "uniform": Uniform()}


class Symbols:
    """A run of a sampler of symbols.

    Args:
        given: a name, `Masked`, `Uniform`, a `Schedule`, or a scheduler of diffusers.
        steps: how many; default 50, or what a scheduler is set to.
        channel: what says how many states there are, that of the denoiser.

    Raises:
        BadSpec: for a denoiser of another process, or one that does not say how many states there are.
    """

    def __init__(self, given: Any, steps: int | None, channel: Channel | None) -> None:
        self.given = NAMES[given] if isinstance(given, str) else given
        process = self.given if isinstance(self.given, Process) else Masked()
        if isinstance(self.given, Schedule):
            if steps not in (None, len(self.given.sizes)):
                raise BadSpec(f"this schedule has {len(self.given.sizes)} steps; got steps={steps}")
            self.steps = len(self.given.sizes)
        elif isinstance(self.given, Process):
            self.steps = 50 if steps is None else steps
        else:
            process = driver_of(self.given).process
            if steps is not None:
                heat = getattr(self.given, "temperatures", None)  # of AmusedScheduler, which would forget them
                kept = {} if heat is None else {"temperature": (float(heat[0]), float(heat[-1]))}
                self.given.set_timesteps(steps, **kept)
            self.steps = len(self.given.timesteps) if self.given.timesteps is not None else 0
        name = process.channels[0].__name__
        if channel is None or channel.states is None:
            raise BadSpec(f"the denoiser does not say how many states there are; give channel=hgm.{name}(states=...)")
        process.channel(channel, channel.states)
        self.process, self.states = process, channel.states

    @staticmethod
    def takes(given: Any) -> bool:
        """Whether this draws symbols, and not values."""
        if isinstance(given, str):
            return given in NAMES
        return isinstance(given, Masked | Uniform | Schedule) or any(k.__name__ in TOKENS for k in type(given).__mro__)

    def shape(self, leaf_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of a sample."""
        return tuple(leaf_shape)

    def nothing(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """No samples."""
        return torch.zeros(0, *shape, dtype=torch.int64, device=device)

    def run(
        self, denoiser: Any, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Step]]:
        """The symbols ``(B, *leaf shape)`` after each step, and the step; `BadExtension` if a scheduler fails."""
        network = getattr(denoiser, "network", denoiser)
        if isinstance(network, Network):
            self.process.check(network.plan.tree)
        with extension(f"the sampler {type(self.given).__name__}"):
            for number, z in enumerate(self._states(denoiser, shape, device, generator)):
                yield z, Step(number, self.steps, z)

    def _states(
        self, denoiser: Any, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None
    ) -> Iterator[Tensor]:
        hidden = torch.full(shape, MISSING, device=device)
        if isinstance(self.given, Schedule):
            order = self.given.positions
            return unmask(denoiser, hidden, self.given.sizes, order=order, generator=generator)
        if not isinstance(self.given, Process):
            return driver_of(self.given).steps(Run(denoiser, self.given, shape, self.states, generator, device))
        times = [1 - i / self.steps for i in range(self.steps + 1)]
        if isinstance(self.given, Masked):
            return unmask_in_time(denoiser, hidden, times, generator=generator)
        noise = torch.randint(self.states, shape, generator=generator, device=device)
        return unflip(denoiser, noise, self.states, times, generator=generator)
