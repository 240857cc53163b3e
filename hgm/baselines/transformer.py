"""A small diffusion transformer: tokens of 2 or 2x2 leaves, blocks of diffusers that are told the time (DiT).

Peebles and Xie, Scalable diffusion models with transformers, 2212.09748, with one embedding of the time for all blocks
(Chen et al., PixArt-alpha, 2310.00426), which leaves more of a small network to the blocks. Positions are sinusoids.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.baselines.framed import Framed
from hgm.baselines.layers import Time, conv, sinusoids
from hgm.baselines.problem import Problem
from hgm.baselines.registry import baseline

__all__ = ["Transformer", "transformer"]

LAYERS, PATCH, HEADS = 4, 2, 2


class Transformer(nn.Module):
    """Tokens, blocks, and features of each leaf again.

    Args:
        problem: what it is for.
        size: of a token, a multiple of 4.
        hidden: between the two layers of a block.
    """

    places: Tensor

    def __init__(self, problem: Problem, size: int, hidden: int) -> None:
        super().__init__()
        from diffusers.models.attention import BasicTransformerBlock

        axes = problem.axes
        self.time, self.shifts = Time(size), nn.Linear(size, 6 * size)
        self.first = conv(axes, problem.inputs, size, PATCH, stride=PATCH)
        self.blocks = nn.ModuleList(
            BasicTransformerBlock(
                size, HEADS, size // HEADS, norm_type="ada_norm_single", attention_bias=True,
                norm_elementwise_affine=False, activation_fn="gelu-approximate", ff_inner_dim=hidden,
            )
            for _ in range(LAYERS)
        )  # fmt: skip
        self.norm, self.out_shifts = nn.LayerNorm(size, elementwise_affine=False, eps=1e-6), nn.Linear(size, 2 * size)
        self.last = nn.Linear(size, problem.outputs * PATCH**axes)
        sides = [-(-n // PATCH) for n in problem.leaf_shape]
        places = torch.cartesian_prod(*(torch.arange(float(n)) for n in sides)).reshape(-1, axes)
        self.register_buffer("places", sinusoids(places, size // axes).flatten(1), persistent=False)

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        features = F.silu(self.time(t))
        h = self.first(y)
        sides = h.shape[2:]
        h = h.flatten(2).transpose(1, 2) + self.places  # (B, tokens, size)
        for block in self.blocks:
            h = block(h, timestep=self.shifts(features))
        shift, scale = self.out_shifts(features)[:, None].chunk(2, -1)
        out = self.last(self.norm(h) * (1 + scale) + shift).transpose(1, 2)
        return self._leaves(out.unflatten(2, sides))

    def _leaves(self, out: Tensor) -> Tensor:
        """``(B, outputs, *shape)`` of ``(B, outputs * patch, *tokens)``."""
        if out.ndim == 4:
            return F.pixel_shuffle(out, PATCH)
        return out.unflatten(1, (-1, PATCH)).transpose(2, 3).flatten(2)


@baseline("transformer")
def transformer(problem: Problem, width: int) -> Framed:
    """A small diffusion transformer: tokens of 2 (2x2) leaves, 4 blocks, 2 heads."""
    return Framed(problem, Transformer(problem, 4 * -(-width // 4), 4 * width), "skip", PATCH)
