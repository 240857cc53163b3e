"""A sampling run of values, on a scheduler of diffusers.

At each step the scheduler says what noise its state has; the denoiser is shown the state as z = x + sigma g and gives
E[x | z]; the scheduler is told that in the form that it wants, and takes its step.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from hgm.diffusion.prediction import convert
from hgm.diffusion.scale import Scale, row_shape
from hgm.diffusion.schedulers import checked_scheduler, levels, predicts, scheduler
from hgm.diffusion.step import Step, answered
from hgm.errors import BadEvidence, BadSpec, brief, extension
from hgm.evidence.channel import Channel

__all__ = ["Values"]


class Values:
    """A run on a scheduler of values.

    Args:
        given: the name of a scheduler, or a scheduler of diffusers.
        steps: how many; default 50.
        channel: whose values the data have; ``None``: they are in [-1, 1].

    Raises:
        BadSpec: for a scheduler that clips, is unknown or cannot take so many steps.
        BadEvidence: for a channel of symbols.
    """

    def __init__(self, given: Any, steps: int | None, channel: Channel | None) -> None:
        if channel is not None and channel.reads_symbols:
            raise BadEvidence(
                f"the data of this scheduler are values, as of hgm.Gaussian; the channel is {brief(channel)}"
            )
        self.scheduler = scheduler(given) if isinstance(given, str) else checked_scheduler(given)
        self.asked, self.channel, self.scale = 50 if steps is None else steps, channel, Scale.of(channel)
        self.wanted = predicts(self.scheduler)
        self.draws = "generator" in signature(self.scheduler.step).parameters
        self._start()

    def _start(self) -> None:
        """From noise: multistep schedulers remember where they are."""
        try:
            self.scheduler.set_timesteps(self.asked)
        except ValueError as error:
            raise BadSpec(f"{type(self.scheduler).__name__} cannot take {self.asked} steps: {error}") from None
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(0)

    @property
    def steps(self) -> int:
        """How often the denoiser is asked."""
        return len(self.scheduler.timesteps)

    def shape(self, leaf_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of a sample."""
        return row_shape(leaf_shape, self.channel)

    def nothing(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """No samples."""
        return torch.zeros(0, *shape, device=device)

    def run(
        self, denoiser: Any, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Step]]:
        """The values ``(B, ...)`` after each step, and the step. Raises `HgmError` for what is no answer."""
        self._start()
        y = torch.randn(shape, generator=generator, device=device) * float(
            getattr(self.scheduler, "init_noise_sigma", 1.0)
        )
        more = {"generator": generator} if self.draws else {}
        for number, t in enumerate(self.scheduler.timesteps):
            u = self.scheduler.scale_model_input(y, t) if hasattr(self.scheduler, "scale_model_input") else y
            alpha, sigma = (float(x) for x in levels(self.scheduler, number, t))
            z, noise = self.scale.out(u / alpha), self.scale.half * sigma / alpha
            mean = answered(denoiser, z, noise, f"at step {number} of {self.steps} (sigma {noise:.4g})")
            told = self.scale.into(mean)
            if self.wanted != "x0":
                told = convert(told, "x0", self.wanted, u, alpha=alpha, sigma=sigma)
            with extension(f"the scheduler {type(self.scheduler).__name__}"):
                y = self.scheduler.step(told, t, y, **more, return_dict=False)[0]
            yield self.scale.out(y), Step(number, self.steps, z, noise, mean)
