"""Networks of hgm as models of diffusers, and models of diffusers as denoisers.

    as_diffusers(net, scheduler)       model(u, t).sample, u = alpha y + sigma g        a ModelMixin for pipelines
    from_diffusers(model, scheduler)   f(z, sigma), z = x + sigma g                     a denoiser for hgm.diffusion

y are the channel's values mapped to [-1, 1] (`Scale`). The shapes of diffusers are ``(B, C, H, W)`` and ``(B, C, L)``,
with C = 1, or the components of vectors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hgm.diffusion.denoiser import with_rows
from hgm.diffusion.prediction import convert
from hgm.diffusion.scale import Scale, components, row_shape
from hgm.diffusion.schedulers import checked_scheduler, predicts, squares
from hgm.diffusion.step import answered, callable_as
from hgm.errors import BadEvidence, BadSpec, brief, listing
from hgm.evidence.channel import Channel
from hgm.evidence.noise import along, as_noise, check_shape

__all__ = ["FromDiffusers", "as_diffusers", "from_diffusers"]

#: schedulers that the pipelines of diffusers drive rightly: they show a model the state as it is
DRIVEN = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")


def as_diffusers(net: Any, scheduler: Any) -> Any:
    """A compiled U-Net as a model of diffusers, for `DDPMPipeline`, `DDIMPipeline` and the like.

        pipeline = diffusers.DDIMPipeline(hgm.diffusion.as_diffusers(unet, scheduler), scheduler)
        pipeline(batch_size=16, num_inference_steps=50, output_type="np").images

    The model is a `ModelMixin` and `ConfigMixin`. Its config holds the scheduler's alphas and type of prediction, in
    which it answers, so it is saved and loaded with `save_pretrained` and `from_pretrained`, offline, and needs
    nothing else. Of leaves in one dimension pipelines give tensors only (``output_type="pt"``); `sample` gives all.

    Args:
        net: ``f(z, sigma)``: a compiled U-Net, or any denoiser with a `leaf_shape`; only the first can be saved.
        scheduler: that of the pipeline: DDPM, DDIM or DPM-Solver++ without clipping.

    Raises:
        BadSpec: for a scheduler that clips, or that pipelines do not drive rightly (Euler, Heun, LMS, KDPM2, ...), or a
            network without a shape.
    """
    kind = type(scheduler).__name__
    if kind not in DRIVEN:
        raise BadSpec(
            f"pipelines show a model the state as it is: right for {', '.join(DRIVEN)}, wrong for {kind}; take "
            "one of those, or hgm.diffusion.sample, which drives Euler, Heun and flow matching too"
        )
    alphas = squares(checked_scheduler(scheduler)).tolist()
    if not getattr(callable_as("a network", net), "leaf_shape", None):
        raise BadSpec(f"a network for diffusers says what shape its data have, as leaf_shape; got {brief(net)}")
    shape, channel = tuple(net.leaf_shape), getattr(net, "channel", None)
    _check_values(channel)
    from hgm.diffusion.model import HgmModel  # which loads diffusers

    with torch.no_grad():
        answered(net, torch.zeros(1, *row_shape(shape, channel)), 1.0, "when it was tried out")
    model = HgmModel(list(shape), components(channel) or 1, alphas, scheduler.config.prediction_type)
    model.hold(net)
    return model


def from_diffusers(model: Any, scheduler: Any, channel: Channel | None = None) -> FromDiffusers:
    """A model of diffusers, such as `UNet2DModel`, as a denoiser: ``f(z, sigma)`` for z = x + sigma g.

    Args:
        model: called as ``model(u, t).sample``, with ``(B, C, *shape)``.
        scheduler: that it was trained with: its alphas and its type of prediction.
        channel: the values of the data, which are mapped to [-1, 1]; default: data are in [-1, 1].

    Raises:
        BadSpec: for a scheduler without alphas, or what is no model.
    """
    if not callable(model) or isinstance(model, type):
        raise BadSpec(f"a model of diffusers is called as model(u, t); got {brief(model)}")
    if not hasattr(scheduler, "config"):
        raise BadSpec(f"give the scheduler of diffusers that the model was trained with; got {brief(scheduler)}")
    predicts(scheduler)
    squares(scheduler)
    _check_values(channel)
    found = FromDiffusers(model, scheduler, channel)
    if channel is not None and found.channels not in (None, components(channel) or 1):
        raise BadEvidence(
            f"the model is of data with {found.channels} channels; the values of {brief(channel)} have "
            f"{components(channel) or 1}"
        )
    return found


class FromDiffusers(nn.Module):
    """What `from_diffusers` makes.

    Attributes:
        leaf_shape: that of the data, if the model says; with their channels, if there are several and no channel of
            hgm says what they are.
        channels: C, if the model says.
        least, most: the noise that it was trained for, in the units of the data.
    """

    log_ratio: Tensor

    def __init__(self, model: Any, scheduler: Any, channel: Channel | None) -> None:
        super().__init__()
        self.model, self.wanted = model, predicts(scheduler)
        self.channel, self.scale = channel, Scale.of(channel)
        config = getattr(model, "config", None)
        size, self.channels = getattr(config, "sample_size", None), getattr(config, "in_channels", None)
        self.vectors = components(channel) is not None or (channel is None and self.channels not in (None, 1))
        if size is not None:
            line = type(model).__name__ == "UNet1DModel"
            shape = tuple(size) if not isinstance(size, int) else (size,) if line else (size, size)
            self.leaf_shape = (self.channels, *shape) if channel is None and self.vectors else shape
        square = squares(scheduler)
        self.register_buffer("log_ratio", ((1 - square) / square).log() / 2)  # log sigma / alpha, ascending
        self.least, self.most = (self.scale.half * float(x.exp()) for x in (self.log_ratio[0], self.log_ratio[-1]))

    def forward(self, z: Any, sigma: Any, alpha: Any = 1.0) -> Tensor:
        """E[x | z] as the model has it, in the shape of z.

        Args:
            z: ``(B, *shape)``, or ``(B, C, *shape)`` of vectors.
            sigma: a number or ``(B,)``.
            alpha: of z = alpha x + sigma g.

        Raises:
            BadEvidence: for noise outside of what the model was trained for, or of another shape.
        """
        z = with_rows(z)
        z = z if z.is_floating_point() else z.to(torch.get_default_dtype())
        a, s = (_level(x, z, name) for x, name in ((alpha, "alpha"), (sigma, "sigma")))
        if not len(z):
            return z.clone()
        ratio = s.double() / a.double()
        outside = ~((ratio >= self.least * (1 - 1e-4)) & (ratio <= self.most * (1 + 1e-4)))
        if bool(outside.any()):
            raise BadEvidence(
                f"the model was trained for noise of {self.least:.4g} to {self.most:.4g}; got "
                f"{float(ratio[outside][0]):.4g}, in batch rows {listing(outside.nonzero().flatten().tolist())}"
            )
        log_ratio = (ratio / self.scale.half).log().clamp(self.log_ratio[0], self.log_ratio[-1])
        above = torch.searchsorted(self.log_ratio, log_ratio).clamp(1, len(self.log_ratio) - 1)
        low, high = self.log_ratio[above - 1], self.log_ratio[above]
        t = above - 1 + (log_ratio - low) / (high - low)
        t = torch.where((t - t.round()).abs() < 1e-3, t.round(), t)  # the time itself, where rounding hides it
        alpha_u = torch.rsqrt(1 + (2 * log_ratio).exp())
        sigma_u = (log_ratio.exp() * alpha_u).to(z)
        u = self.scale.into(z / along(a, z)) * along(alpha_u.to(z), z)
        shown = (u if self.vectors else u.unsqueeze(1)).to(getattr(self.model, "dtype", u.dtype))
        whole = bool((t == t.round()).all())
        out = self.model(shown, t.long() if whole else t.to(z), return_dict=False)[0].to(u)
        out = out if self.vectors else out[:, 0]
        return self.scale.out(convert(out, self.wanted, "x0", u, alpha=alpha_u.to(z), sigma=sigma_u))


def _check_values(channel: Any) -> None:
    if channel is not None and (not isinstance(channel, Channel) or channel.reads_symbols):
        raise BadEvidence(f"the data of diffusers are values, as of hgm.Gaussian; the channel is {brief(channel)}")


def _level(value: Any, z: Tensor, name: str) -> Tensor:
    """``(B,)`` alpha or sigma."""
    noise = as_noise(value, z, name)
    if noise.ndim > 1:
        raise BadEvidence(f"{name} must be a number, or one per batch row ({len(z)},); got shape {tuple(noise.shape)}")
    check_shape(noise, len(z), 0, tuple(z.shape[1:]), name)
    return noise.expand(len(z))
