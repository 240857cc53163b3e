"""`sample`: from noise to data, by a denoiser and a scheduler. Of values and of symbols alike; no path is kept."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from hgm.diffusion.denoiser import Denoiser
from hgm.diffusion.guidance import Guided
from hgm.diffusion.step import Step, callable_as
from hgm.diffusion.symbols import Symbols
from hgm.diffusion.values import Values
from hgm.errors import BadEvidence, BadSpec, brief
from hgm.evidence.ambient import check_generator
from hgm.evidence.channel import Channel
from hgm.tree.arguments import flag, listed, whole

__all__ = ["sample"]


@torch.no_grad()
def sample(
    denoiser: Callable[..., Tensor],
    scheduler: Any = "ddim",
    n: int = 1,
    *,
    steps: int | None = None,
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
        hgm.diffusion.sample(posterior, hgm.diffusion.schedule(tree, 8), 16)

    Args:
        denoiser: ``f(z, sigma)``, z ``(B, *shape)`` and sigma ``(B,)``: a compiled U-Net, `Denoiser`, `guided`,
            `from_diffusers`, or a network of your own. It gives E[x | z], in the shape of z. Of symbols it gives leaf
            posteriors ``(B, S, *shape)``, and is called as ``f(z)`` for masked, ``f(z, eps)`` for uniform diffusion.
        scheduler: of values a name (`hgm.diffusion.scheduler`), or a scheduler of diffusers: DDPM, DDIM, Euler, Heun,
            DPM-Solver++, flow-matching Euler, with any type of prediction. Of symbols ``"masked"``, ``"uniform"``, a
            `Schedule`, or one of diffusers' (`hgm.diffusion.tokens`). It is set to `steps`, and used.
        n: how many samples.
        steps: of the scheduler; default 50, or what a `Schedule` or a scheduler of symbols is set to.
        shape: of the data; default the denoiser's `leaf_shape`.
        channel: whose values or states the data have; default the denoiser's own. Without one, values are in [-1, 1].
        generator: source of randomness, on the device of the denoiser; default torch's global one.
        batch_size: how many at once; default all.
        progress: show a bar.
        callback: is called with every `Step`; to keep the path, copy it.

    Returns:
        ``(n, *shape)`` values: near those of the states, and not rounded to them (`hgm.diffusion.quality` does that);
        for vectors ``(n, k, *shape)``. Of symbols integers.

    Raises:
        BadSpec: for a scheduler that clips, is unknown or cannot take so many steps, or a denoiser without a shape.
        BadEvidence: for a channel, shape or rows of evidence that do not fit, or noise outside of what the denoiser was
            trained for.
        HgmError: if the denoiser gives NaN or another shape; it says at which step.
    """
    from tqdm import tqdm

    callable_as("a denoiser", denoiser)
    whole("n", n, 0)
    if steps is not None:
        whole("steps", steps, 1)
    batch = max(n, 1) if batch_size is None else whole("batch_size", batch_size, 1)
    if callback is not None and not callable(callback):
        raise BadSpec(f"callback must be a function of a Step; got {brief(callback)}")
    channel = getattr(denoiser, "channel", None) if channel is None else channel
    if channel is not None and not isinstance(channel, Channel):
        raise BadEvidence(f"channel must be a Channel, such as hgm.Gaussian(); got {brief(channel)}")
    own = getattr(denoiser, "channel", None)
    if (
        channel is not own
        and isinstance(own, Channel)
        and channel is not None
        and channel.states not in (None, own.states)
    ):
        raise BadEvidence(f"the denoiser is of data with {own.states} values, but the channel has {channel.states}")
    sampler = (Symbols if Symbols.takes(scheduler) else Values)(scheduler, steps, channel)
    row = sampler.shape(_leaf_shape(denoiser, shape))
    device = _device(denoiser, generator)
    check_generator(generator, device)
    have = _rows(denoiser)
    if have not in (None, n):
        raise BadEvidence(f"what the denoiser was given has {have} rows, one for each sample; got n={n}")
    batches = [slice(first, min(first + batch, n)) for first in range(0, n, batch)]
    found = []
    total, hidden = len(batches) * sampler.steps, not flag("progress", progress)
    with tqdm(total=total, desc="sampling", unit="step", leave=False, disable=hidden) as bar:
        for rows in batches:
            x = sampler.nothing(row, device)
            for x, step in sampler.run(_part(denoiser, rows), (rows.stop - rows.start, *row), device, generator):  # noqa: B007
                bar.update()
                if callback is not None:
                    callback(step)
            found.append(x)
    return torch.cat(found) if found else sampler.nothing(row, device)


def _part(denoiser: Any, rows: slice) -> Any:
    """The denoiser of some of the samples: what it was given may have rows of its own."""
    return denoiser.rows(rows) if isinstance(denoiser, Denoiser | Guided) else denoiser


def _rows(denoiser: Any) -> int | None:
    """Of what it was given, if it has rows."""
    if isinstance(denoiser, Guided):
        return len(denoiser.states) if denoiser.states.ndim else _rows(denoiser.denoiser)
    return denoiser.evidence_rows if isinstance(denoiser, Denoiser) else None


def _leaf_shape(denoiser: Any, shape: Any) -> tuple[int, ...]:
    own = getattr(denoiser, "leaf_shape", None)
    if shape is None:
        if own is None:
            raise BadSpec("the denoiser does not say what shape its data have; give shape=")
        return tuple(own)
    sizes = [shape] if isinstance(shape, int) else listed("shape", shape, "sizes")
    asked = tuple(whole("shape", size, 1) for size in sizes)
    if own is not None and asked != tuple(own):
        raise BadEvidence(f"the denoiser is for data of shape {tuple(own)}; got shape={asked}")
    return asked


def _device(denoiser: Any, generator: torch.Generator | None) -> torch.device:
    """That of a module's first tensor, else of the generator."""
    tensors = chain(denoiser.parameters(), denoiser.buffers()) if isinstance(denoiser, nn.Module) else iter(())
    first = next(tensors, None)
    if first is not None:
        return first.device
    return generator.device if isinstance(generator, torch.Generator) else torch.device("cpu")
