"""The standard diffusion U-Nets, as diffusers has them: `UNet2DModel` of images and `UNet1DModel` of sequences.

Residual blocks with GroupNorm, sinusoidal times, concatenated skips, attention at the lowest resolution. GroupNorm and
attention see all positions. Sizes are small here: up to 4 resolutions, one layer per block, 2 groups.

The defaults of `UNet1DModel` do not run; these settings do: residual blocks (``DownResnetBlock1D`` and its kin), as
many up as down, so that the finest skip is used too, and a time that is embedded (``use_timestep_embedding``). Its
blocks with attention need 32 channels and halve once more; instead diffusers' `SelfAttention1d` stands behind the
middle block.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hgm.baselines.framed import Framed
from hgm.baselines.problem import Problem
from hgm.baselines.registry import baseline

__all__ = ["Diffusers", "standard", "standard_convolutional"]

GROUPS = {1: 8, 2: 2}  # by axes: UNet1DModel has 8 in its blocks


class Diffusers(nn.Module):
    """A model of diffusers as a body."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        found: Tensor = self.model(y, t).sample
        return found


class Attended(nn.Module):
    """A middle block and attention behind it."""

    def __init__(self, middle: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.middle, self.attention = middle, attention

    def forward(self, h: Tensor, features: Tensor) -> Tensor:
        return self.attention(self.middle(h, features))


@baseline("standard")
def standard(problem: Problem, width: int) -> Framed:
    """The standard diffusion U-Net of diffusers, with attention at the lowest resolution."""
    return _framed(problem, width, True)


@baseline("standard_convolutional")
def standard_convolutional(problem: Problem, width: int) -> Framed:
    """The standard diffusion U-Net of diffusers, without attention."""
    return _framed(problem, width, False)


def _framed(problem: Problem, width: int, attention: bool) -> Framed:
    levels, groups = problem.levels(), GROUPS[problem.axes]
    channels = tuple(groups * ((width + level + levels - 1) // levels) for level in range(levels))  # coarse ones first
    made = (_sequences, _images)[problem.axes - 1](problem, channels, attention)
    return Framed(problem, Diffusers(made), "skip", 2 ** (levels - 1))


def _images(problem: Problem, channels: tuple[int, ...], attention: bool) -> Any:
    from diffusers import UNet2DModel

    plain = len(channels) - 1
    low = "Attn" if attention else ""
    return UNet2DModel(
        in_channels=problem.inputs,
        out_channels=problem.outputs,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * plain + (f"{low}DownBlock2D",),
        up_block_types=(f"{low}UpBlock2D",) + ("UpBlock2D",) * plain,
        layers_per_block=1,
        norm_num_groups=GROUPS[2],
        attention_head_dim=None,
        add_attention=attention,
    )


def _sequences(problem: Problem, channels: tuple[int, ...], attention: bool) -> Any:
    from diffusers import UNet1DModel
    from diffusers.models.unets.unet_1d_blocks import SelfAttention1d

    model: Any = UNet1DModel(
        in_channels=problem.inputs,
        out_channels=problem.outputs,
        block_out_channels=channels,
        down_block_types=("DownResnetBlock1D",) * len(channels),
        up_block_types=("UpResnetBlock1D",) * len(channels),
        mid_block_type="MidResTemporalBlock1D",
        out_block_type="OutConv1DBlock",
        time_embedding_type="positional",
        use_timestep_embedding=True,
        act_fn="silu",
        norm_num_groups=GROUPS[1],
        layers_per_block=1,
    )
    if attention:
        model.mid_block = Attended(model.mid_block, SelfAttention1d(channels[-1], channels[-1] // GROUPS[1]))
    return model
