"""The model of diffusers that holds a denoiser of hgm: what a saved pipeline names. It needs diffusers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.outputs import BaseOutput
from torch import Tensor

from hgm.diffusion.prediction import DIFFUSERS, convert
from hgm.diffusion.scale import Scale, components
from hgm.diffusion.step import answered
from hgm.errors import BadEvidence, BadSpec, brief
from hgm.evidence.noise import along
from hgm.evidence.symbols import as_tensor
from hgm.files.network import load_network, save_network

__all__ = ["HgmModel"]

WEIGHTS = "diffusion_pytorch_model.safetensors"  # where diffusers looks; it holds a network file of hgm


class _Output(BaseOutput):
    """What a model of diffusers returns.

    Attributes:
        sample: ``(B, C, *shape)``.
    """

    sample: Tensor


class HgmModel(ModelMixin, ConfigMixin):  # type: ignore[misc]  # both name the file of the config
    """``model(u, t).sample`` for u = alpha y + sigma g at timestep t. Made by `hgm.diffusion.as_diffusers`.

    To load a saved pipeline in a new process, import this module before: diffusers imports nothing that a file names.

    Args:
        sample_size: the shape of the data.
        in_channels: 1, or the components of vectors.
        alphas_cumprod: alpha^2 of every timestep.
        prediction_type: what it answers: ``"sample"``, ``"epsilon"`` or ``"v_prediction"``.

    Attributes:
        network: the denoiser ``f(z, sigma)``.
    """

    @register_to_config
    def __init__(
        self, sample_size: list[int], in_channels: int, alphas_cumprod: list[float], prediction_type: str
    ) -> None:
        super().__init__()
        self.hold(None)
        self.square = torch.tensor(alphas_cumprod, dtype=torch.float64)  # no buffer: 1 - alpha^2 is 0 in float16

    def hold(self, network: Any) -> None:
        """Take the denoiser that it is to show to diffusers."""
        self.network = network
        channel = getattr(network, "channel", None)
        self.scale, self.vectors = Scale.of(channel), components(channel) is not None

    @property
    def dtype(self) -> torch.dtype:
        """In which pipelines draw: that of the network's answers to symbols, by default torch's own."""
        return getattr(self.network, "dtype", torch.get_default_dtype())

    def forward(self, sample: Tensor, timestep: Any, return_dict: bool = True, **_: Any) -> Any:
        """The prediction for a noisy sample.

        Args:
            sample: ``(B, C, *shape)``.
            timestep: one for all rows, or one for each.
            return_dict: an object with `sample`, or else a tuple.

        Raises:
            BadEvidence: for a timestep that is not one of the scheduler's, or another shape.
            HgmError: if the network gives NaN.
        """
        config: Any = self.config
        want = (config.in_channels, *config.sample_size)
        if tuple(sample.shape[1:]) != want or not sample.is_floating_point():
            got = f"{tuple(sample.shape)} of {sample.dtype}"
            raise BadEvidence(f"the model takes floats {('B', *want)}; got {got}".replace("'B'", "B"))
        square = self._squares(timestep, len(sample)).to(sample.device)
        u = sample.to(torch.promote_types(sample.dtype, torch.float32))
        u = u if self.vectors else u[:, 0]
        alpha, sigma = (x.to(u) for x in (square.sqrt(), (1 - square).sqrt()))
        z = self.scale.out(u / (alpha.item() if len(square) == 1 else along(alpha, u)))
        noise = (self.scale.half * sigma / alpha).expand(len(u))
        y = self.scale.into(answered(self.network, z, noise, "in a model of diffusers"))
        if config.prediction_type != "sample":
            y = convert(y, "x0", DIFFUSERS[config.prediction_type], u, alpha=alpha, sigma=sigma)
        out = (y if self.vectors else y.unsqueeze(1)).to(sample.dtype)
        return _Output(sample=out) if return_dict else (out,)

    def _squares(self, timestep: Any, rows: int) -> Tensor:
        """``(1,)`` alpha^2 at a timestep, or ``(B,)`` at one for each row."""
        table = self.square
        t = as_tensor(timestep, "the timestep").to(table.device).reshape(-1)
        index = t.long()
        if not bool(((index == t) & (index >= 0) & (index < len(table))).all()) or len(t) not in (1, rows):
            raise BadEvidence(
                f"timesteps are whole numbers 0 to {len(table) - 1} of the scheduler that the model was made with, one "
                f"or one for each row; got {brief(timestep)}"
            )
        return table[index]

    def save_pretrained(self, save_directory: str | os.PathLike[str], *_: Any, **__: Any) -> None:
        """Write the config, and the network as a file of hgm, into a folder.

        Raises:
            BadSpec: unless the network is one that `hgm.compile` made.
        """
        place = Path(save_directory)
        place.mkdir(parents=True, exist_ok=True)
        save_network(self.network, place / WEIGHTS)
        self.save_config(place)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, **kwargs: Any) -> Self:
        """The model in a folder that `save_pretrained` wrote.

        Raises:
            BadSpec: if there is none.
        """
        place = Path(str(pretrained_model_name_or_path)) / (kwargs.get("subfolder") or "")
        if not (place / str(cls.config_name)).is_file():
            raise BadSpec(f"{place} is no folder with a model of hgm: it has no {cls.config_name}")
        model: Any = cls.from_config(cls.load_config(place))  # type: ignore[arg-type]
        model.hold(load_network(place / WEIGHTS))
        dtype = kwargs.get("torch_dtype")
        return model.to(dtype) if isinstance(dtype, torch.dtype) else model
