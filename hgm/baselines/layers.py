"""Layers that networks here are made of, for 1 and 2 axes. None normalises over positions, so none widens a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Block", "Norm", "Sort", "Time", "conv", "sinusoids"]


def sinusoids(t: Tensor, size: int) -> Tensor:
    """``(*shape, size)``: cosines and sines of t at frequencies from 1 down to 1e-4, as of diffusion models' times."""
    half = size // 2
    steps = torch.arange(half, dtype=t.dtype, device=t.device) / max(half, 1)
    angles = t.unsqueeze(-1) * torch.exp(-math.log(1e4) * steps)
    return torch.cat([angles.cos(), angles.sin()], -1)


def conv(axes: int, given: int, channels: int, side: int, stride: int = 1, padding: int = 0) -> nn.Conv1d | nn.Conv2d:
    """A convolution over 1 or 2 axes."""
    return (nn.Conv1d, nn.Conv2d)[axes - 1](given, channels, side, stride, padding)


class Time(nn.Module):
    """``(B, size)`` what a network makes of its time ``(B,)``: sinusoids and two layers."""

    def __init__(self, size: int, waves: int = 32) -> None:
        super().__init__()
        self.waves = waves
        self.layers = nn.Sequential(nn.Linear(waves, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, t: Tensor) -> Tensor:
        return self.layers(sinusoids(t, self.waves))


class Norm(nn.Module):
    """Root mean square over the channels of each position by itself: ``x / sqrt(mean_c x² + 1e-5) gain``."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, *(1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-5).rsqrt() * self.gain


@dataclass(frozen=True)
class Sort:
    """What blocks of a network have in common: the axes, and the size of the time's features (0: no time)."""

    axes: int
    time: int


class Block(nn.Module):
    """A residual block: x + conv(silu(scale norm(conv(silu(norm x))) + shift)), scale and shift from the time.

    Args:
        of: the network's axes and time.
        given: channels of the input.
        channels: of the output.
        kernels: of the two convolutions; the window grows by their sum - 2.
    """

    def __init__(self, of: Sort, given: int, channels: int, kernels: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        (first, second), axes = kernels, of.axes
        self.norms = nn.ModuleList([Norm(given, axes), Norm(channels, axes)])
        self.first = conv(axes, given, channels, first, padding=first // 2)
        self.second = conv(axes, channels, channels, second, padding=second // 2)
        self.past = nn.Identity() if given == channels else conv(axes, given, channels, 1)
        self.time = nn.Linear(of.time, 2 * channels) if of.time else None

    def forward(self, x: Tensor, features: Tensor | None) -> Tensor:
        h = self.norms[1](self.first(F.silu(self.norms[0](x))))
        if self.time is not None and features is not None:
            scale, shift = self.time(F.silu(features)).reshape(len(x), -1, *(1,) * (x.ndim - 2)).chunk(2, 1)
            h = h * (1 + scale) + shift
        return self.past(x) + self.second(F.silu(h))
