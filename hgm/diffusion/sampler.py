"""`sample`: from noise to data, by a denoiser and a scheduler of diffusers.

At each step the scheduler says what noise its state has; the denoiser is shown the state as z = x + sigma g and gives
E[x | z]; the scheduler is told that in the form that it wants, and takes its step. Nothing of the path is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hgm.diffusion.denoiser import Denoiser
from hgm.diffusion.guidance import Guided
from hgm.diffusion.prediction import convert
from hgm.diffusion.scale import Scale, row_shape
from hgm.diffusion.schedulers import checked_scheduler, levels, predicts
from hgm.diffusion.schedulers import scheduler as made
from hgm.errors import BadEvidence, BadSpec, HgmError, brief, listing
from hgm.evidence.ambient import check_generator
from hgm.evidence.channel import Channel
from hgm.tree.arguments import flag, listed, whole

__all__ = ["Step", "answered", "sample"]


class Step(NamedTuple):
    """A step of a sampling run, as a callback sees it.

    Attributes:
        number: from 0; of a solver that asks twice in a step, each time counts.
        steps: how many there are.
        sigma: the noise of z.
        z: ``(n, *leaf shape)`` what the denoiser was shown, x + sigma g in the units of the channel's values.
        mean: in the same shape, what it said: E[x | z].
    """

    number: int
    steps: int
    sigma: float
    z: Tensor
    mean: Tensor


@torch.no_grad()
def sample(
    denoiser: Callable[..., Tensor],
    scheduler: Any = "ddim",
    n: int = 1,
    *,
    steps: int = 50,
    shape: Any = None,
    channel: Channel | None = None,
    generator: torch.Generator | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    callback: Callable[[Step], None] | None = None,
) -> Tensor:
    """Samples from noise, by any denoiser.

        hgm.diffusion.sample(unet, "ddim", 16, steps=50)
        hgm.diffusion.sample(hgm.diffusion.Denoiser(tree, channel, {"label": 3}), "heun", 16)

    Args:
        denoiser: ``f(z, sigma)``, z ``(B, *shape)`` and sigma ``(B,)``: a compiled U-Net, `Denoiser`, `guided`,
            `from_diffusers`, or a network of your own. It gives E[x | z], in the shape of z.
        scheduler: a name (`hgm.diffusion.scheduler`) or a scheduler of diffusers: DDPM, DDIM, Euler, Heun,
            DPM-Solver++, flow-matching Euler, with any type of prediction. It is set to `steps`, and used.
        n: how many samples.
        steps: of the scheduler.
        shape: of the data; default the denoiser's `leaf_shape`.
        channel: whose values the data have; default the denoiser's own. Without one, data are in [-1, 1].
        generator: source of randomness, on the device of the denoiser; default torch's global one.
        batch_size: how many at once; default all.
        progress: show a bar.
        callback: is called with every `Step`; to keep the path, copy it.

    Returns:
        ``(n, *shape)`` values: near those of the states, and not rounded to them (`hgm.diffusion.quality` does that).
        For vectors ``(n, k, *shape)``.

    Raises:
        BadSpec: for a scheduler that clips, is unknown or cannot take so many steps, or a denoiser without a shape.
        BadEvidence: for a channel or shape that do not fit, or noise outside of what the denoiser was trained for.
        HgmError: if the denoiser gives NaN or another shape; it says at which step.
    """
    if not callable(denoiser):
        raise BadSpec(f"a denoiser is called as f(z, sigma); got {brief(denoiser)}")
    scheduler = made(scheduler) if isinstance(scheduler, str) else checked_scheduler(scheduler)
    whole("n", n, 0), whole("steps", steps, 1), flag("progress", progress)
    batch = max(n, 1) if batch_size is None else whole("batch_size", batch_size, 1)
    if callback is not None and not callable(callback):
        raise BadSpec(f"callback must be a function of a Step; got {brief(callback)}")
    channel = getattr(denoiser, "channel", None) if channel is None else channel
    if channel is not None and (not isinstance(channel, Channel) or channel.reads_symbols):
        raise BadEvidence(f"the data of this scheduler are values, as of hgm.Gaussian; the channel is {brief(channel)}")
    shape = _shape(denoiser, shape, channel)
    device = _device(denoiser, generator)
    parts = [slice(first, min(first + batch, n)) for first in range(0, n, batch)]
    run = _Run(scheduler, steps, Scale.of(channel), device, check_generator(generator, device), callback)
    bar = _bar(len(parts) * len(run.timesteps), progress)
    try:
        found = [run(_part(denoiser, rows), (rows.stop - rows.start, *shape), bar) for rows in parts]
    finally:
        bar.close()
    return torch.cat(found) if found else torch.zeros(0, *shape, device=device)


class _Run:
    """One scheduler, batch after batch."""

    def __init__(
        self,
        scheduler: Any,
        steps: int,
        scale: Scale,
        device: torch.device,
        generator: torch.Generator | None,
        callback: Callable[[Step], None] | None,
    ) -> None:
        self.scheduler, self.steps, self.scale = scheduler, steps, scale
        self.device, self.generator, self.callback = device, generator, callback
        self.wanted = predicts(scheduler)
        self.draws = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
        self._start()

    def _start(self) -> None:
        try:
            self.scheduler.set_timesteps(self.steps)
        except ValueError as error:
            raise BadSpec(f"{type(self.scheduler).__name__} cannot take {self.steps} steps: {error}") from None
        self.timesteps = self.scheduler.timesteps
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(0)

    def __call__(self, denoiser: Any, shape: tuple[int, ...], bar: Any) -> Tensor:
        self._start()  # multistep schedulers remember
        y = torch.randn(shape, generator=self.generator, device=self.device)
        y = y * float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        for index, t in enumerate(self.timesteps):
            scaled = self.scheduler.scale_model_input(y, t) if hasattr(self.scheduler, "scale_model_input") else y
            alpha, sigma = levels(self.scheduler, index, t)
            z, noise = self.scale.out(scaled / float(alpha)), self.scale.half * float(sigma / alpha)
            mean = answered(denoiser, z, noise, f"at step {index} of {len(self.timesteps)} (sigma {noise:.4g})")
            told = self.scale.into(mean)
            if self.wanted != "x0":
                told = convert(told, "x0", self.wanted, scaled, alpha=float(alpha), sigma=float(sigma))
            y = self.scheduler.step(told, t, y, **self.draws, return_dict=False)[0]
            if self.callback is not None:
                self.callback(Step(index, len(self.timesteps), noise, z, mean))
            bar.update()
        return self.scale.out(y)


def answered(denoiser: Callable[..., Any], z: Tensor, sigma: float, where: str) -> Tensor:
    """What a denoiser says of z ``(B, ...)`` with noise sigma, checked.

    Raises:
        HgmError: for NaN, infinities, another shape, or what is no tensor; it says `where`.
    """
    mean = denoiser(z, torch.full((len(z),), sigma, dtype=z.dtype, device=z.device))
    name = type(denoiser).__name__
    if not isinstance(mean, Tensor) or mean.shape != z.shape:
        got = tuple(mean.shape) if isinstance(mean, Tensor) else brief(mean)
        raise HgmError(f"a denoiser gives E[x | z] in the shape of z, {tuple(z.shape)}; {name} gave {got} {where}")
    if not bool(mean.isfinite().all()):
        rows = (~mean.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
        raise HgmError(f"{name} gave NaN or infinity {where}, in batch rows {listing(rows)}")
    return mean


def _part(denoiser: Any, rows: slice) -> Any:
    """The denoiser of some of the samples: what it was given may have rows of its own."""
    return denoiser.rows(rows) if isinstance(denoiser, Denoiser | Guided) else denoiser


def _shape(denoiser: Any, shape: Any, channel: Channel | None) -> tuple[int, ...]:
    """The shape of a sample, with the components of vectors before the positions."""
    own = getattr(denoiser, "leaf_shape", None)
    if shape is None and own is None:
        raise BadSpec("the denoiser does not say what shape its data have; give shape=")
    if shape is not None:
        sizes = [shape] if isinstance(shape, int) else listed("shape", shape, "sizes")
        shape = tuple(whole("shape", size, 1) for size in sizes)
        if own is not None and shape != tuple(own):
            raise BadEvidence(f"the denoiser is for data of shape {tuple(own)}; got shape={shape}")
    return row_shape(own if shape is None else shape, channel)  # type: ignore[arg-type]


def _device(denoiser: Any, generator: torch.Generator | None) -> torch.device:
    """That of a module's first tensor, else of the generator."""
    tensors: Iterator[Tensor] = iter(())
    if isinstance(denoiser, nn.Module):
        tensors = chain(denoiser.parameters(), denoiser.buffers())
    first = next(tensors, None)
    if first is not None:
        return first.device
    return generator.device if isinstance(generator, torch.Generator) else torch.device("cpu")


def _bar(total: int, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc="sampling", unit="step", leave=False, disable=not progress)
