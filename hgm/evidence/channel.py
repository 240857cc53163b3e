"""Observation channels: how the symbol at a leaf is observed. Each maps an observation to log evidence, states first.

Shapes: observations are ``(B, *positions)`` (or ``(B, k, *positions)`` for vectors), log evidence is ``(B, S,
*positions)``:

    e_v(a) = log p(observation at v | x_v = a)          up to a constant that does not depend on a

A channel also knows the `values` of its states, ``(S,)`` or ``(S, k)``: what a denoiser averages, E[value(x_v) |
observation]. States and values that are not given are filled in by `hgm.compile` from the tree (values 0 to S - 1).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from hgm.errors import BadEvidence

__all__ = ["Channel", "Clamp", "Erasure", "Flip", "Gaussian", "Missing", "Soft"]

Values = Tensor | Sequence[float] | Sequence[Sequence[float]]


class Channel(nn.Module):
    """Base of all channels.

    Args:
        values: ``(S,)`` or ``(S, k)`` the value of each state; default 0 to S - 1.
        states: S, if `values` is not given; default that of the tree it is compiled for.
    """

    values: Tensor | None

    def __init__(self, values: Values | None = None, states: int | None = None) -> None:
        super().__init__()
        if values is None and states is not None:
            values = torch.arange(states, dtype=torch.float64)
        table = None if values is None else torch.as_tensor(values, dtype=torch.float64)
        if table is not None and (table.ndim not in (1, 2) or not bool(table.isfinite().all())):
            raise BadEvidence(
                f"{type(self).__name__}: values must be finite, of shape (S,) or (S, k); got shape {tuple(table.shape)}"
            )
        self.register_buffer("values", table)

    @property
    def states(self) -> int | None:
        """S, or ``None`` while it is not known."""
        return None if self.values is None else len(self.values)

    def bound(self, states: int) -> Self:
        """This channel for trees whose leaves have `states` states. Raises `BadEvidence` if it has another number."""
        if self.values is None:
            channel = copy.deepcopy(self)
            channel.values = torch.arange(states, dtype=torch.float64)
            return channel
        if self.states != states:
            raise BadEvidence(
                f"{type(self).__name__} has values for {self.states} states, but the leaves have {states}"
            )
        return self

    def forward(self, observation: Tensor, *noise: Tensor | float) -> Tensor:
        """Log evidence ``(B, S, *positions)`` of an observation."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        if self.values is None:
            return "states of the tree"
        return f"{len(self.values)} states" + (f", values in R^{self.values.shape[1]}" if self.values.ndim == 2 else "")

    def _table(self) -> Tensor:
        if self.values is None:
            raise BadEvidence(
                f"{type(self).__name__} does not know its states yet; give values=..., or use it through hgm.compile"
            )
        return self.values


class Soft(Channel):
    """Log evidence as it stands: ``(B, S, *positions)`` floats, natural logs, any scale, ``-inf`` allowed.

    An integer tensor ``(B, *positions)`` is read as symbols, as by `Clamp`.
    """

    def forward(self, observation: Tensor, *noise: Tensor | float) -> Tensor:
        return observation if observation.is_floating_point() else _clamp(observation, len(self._table()))


class Clamp(Channel):
    """Symbols observed without error: 0 at the symbol, -inf elsewhere. ``(B, *positions)`` integers, -1 = missing."""

    def forward(self, observation: Tensor, *noise: Tensor | float) -> Tensor:
        return _clamp(observation, len(self._table()))


class Erasure(Clamp):
    """Each symbol is observed, or erased: -1. The same log evidence as `Clamp`; `forward` may be given a keep mask.

    ``forward(z)`` or ``forward(z, keep)`` with keep ``(B, *positions)`` booleans, false where erased.
    """

    def forward(self, observation: Tensor, *noise: Tensor | float) -> Tensor:
        if noise:
            keep = noise[0]
            if not isinstance(keep, Tensor) or keep.dtype != torch.bool:
                raise BadEvidence("Erasure: the second argument is the keep mask, a tensor of booleans")
            observation = torch.where(keep, observation, -1)
        return super().forward(observation)


class Flip(Channel):
    """Symmetric noise: with probability eps the symbol was replaced by a uniform other one.

    ``forward(z, eps)``: z ``(B, *positions)`` integers, -1 = missing; eps in [0, 1], a number or ``(B,)``.
    log(1 - eps) at the symbol, log(eps / (S - 1)) elsewhere.
    """

    def forward(self, observation: Tensor, *noise: Tensor | float) -> Tensor:
        if len(noise) != 1:
            raise BadEvidence("Flip takes the observed symbols and the flip probability eps: channel(z, eps)")
        states = len(self._table())
        eps = _per_row(noise[0], observation, "eps")
        if not _tracing() and bool(((eps < 0) | (eps > 1) | eps.isnan()).any()):
            raise BadEvidence("Flip: eps must be a probability, 0 to 1")
        hit = _clamp(observation, states, eps.dtype)
        stay = (1 - eps).log().unsqueeze(1)
        move = (eps / max(states - 1, 1)).log().unsqueeze(1)
        missing = (observation < 0).unsqueeze(1)
        return torch.where(missing, 0.0, torch.where(hit == 0, stay, move))


class Gaussian(Channel):
    """Additive Gaussian noise on the symbol's value: z = alpha * value(x) + sigma * g.

    ``forward(z, sigma, alpha=1)``: z ``(B, *positions)``, or ``(B, k, *positions)`` if the values are vectors; sigma
    > 0 and alpha are numbers or ``(B,)``.

        e(a) = -|z - alpha value(a)|^2 / (2 sigma^2)

    Only (alpha <value(a), z> - alpha^2 |value(a)|^2 / 2) / sigma^2 depends on the state: an input layer affine in
    z would do. The square is computed as it stands, because that form loses digits in float32; and with it the
    gradient of log Z with respect to z is the score, (alpha E[x | z] - z) / sigma^2.

    A NaN in z is an error; for missing pixels use `Missing`.
    """

    def forward(self, observation: Tensor, *noise: Tensor | float) -> Tensor:
        if not 1 <= len(noise) <= 2:
            raise BadEvidence("Gaussian takes the observation, sigma, and optionally alpha: channel(z, sigma, alpha)")
        if not observation.is_floating_point():
            observation = observation.to(torch.get_default_dtype())
        table = self._table().to(observation)
        z = observation.unsqueeze(1) if table.ndim == 1 else observation
        values = table[:, None] if table.ndim == 1 else table
        if z.ndim < 2 or z.shape[1] != values.shape[1]:
            raise BadEvidence(
                f"Gaussian: values in R^{values.shape[1]} need observations (B, {values.shape[1]}, ...); "
                f"got {tuple(observation.shape)}"
            )
        flat = z.flatten(2) if z.ndim > 2 else z.unsqueeze(2)
        sigma = _per_row(noise[0], flat, "sigma")
        alpha = _per_row(noise[1] if len(noise) == 2 else 1.0, flat, "alpha")
        if not _tracing() and not bool((sigma > 0).all()):
            raise BadEvidence("Gaussian: sigma must be positive")
        # states first in memory, batch last, as the networks compute, then seen as (B, S, n)
        apart = [
            (part - value[:, None, None] * alpha.view(-1)).square()
            for part, value in zip(flat.permute(1, 2, 0), values.t(), strict=True)
        ]
        e = sum(apart[1:], apart[0]) / (-2 * sigma.square().view(-1))
        return e.permute(2, 0, 1).reshape(z.shape[0], -1, *z.shape[2:])

    def add_noise(
        self, x: Tensor, sigma: Tensor | float, alpha: Tensor | float = 1.0, *, generator: torch.Generator
    ) -> Tensor:
        """A noisy observation of clean values x ``(B, ...)``: alpha x + sigma g."""
        g = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        return _per_row(alpha, x, "alpha") * x + _per_row(sigma, x, "sigma") * g


class Missing(Channel):
    """Another channel with holes: positions whose observation is NaN (floats) say nothing.

    ``forward(z, *noise)`` as of the wrapped channel. (`Clamp`, `Flip` and `Erasure` have -1 for the same purpose.)
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel.values)
        self.channel = channel

    def bound(self, states: int) -> Self:
        inner = self.channel.bound(states)
        return self if inner is self.channel else type(self)(inner)

    def forward(self, observation: Tensor, *noise: Tensor | float) -> Tensor:
        hole = observation.isnan()
        e = self.channel(torch.where(hole, 0.0, observation), *noise)
        vectors = e.ndim == observation.ndim  # then a hole in any component is a hole
        hole = hole.any(1, keepdim=True) if vectors else hole.unsqueeze(1)
        return torch.where(hole, 0.0, e)


def _clamp(symbols: Tensor, states: int, dtype: torch.dtype | None = None) -> Tensor:
    if symbols.is_floating_point() or symbols.dtype == torch.bool:
        raise BadEvidence(f"symbols must be integers 0 to {states - 1} (-1 = missing); got {symbols.dtype}")
    if not _tracing() and symbols.numel() and (int(symbols.max()) >= states or int(symbols.min()) < -1):
        raise BadEvidence(
            f"symbols must be 0 to {states - 1} (-1 = missing); got {int(symbols.min())} to {int(symbols.max())}"
        )
    # states first in memory, batch last, as the networks compute, then seen as (B, S, *positions)
    z = symbols.movedim(0, -1).contiguous()
    state = torch.arange(states, device=symbols.device).reshape(-1, *(1,) * z.ndim)
    fits = (z == state) | (z < 0)
    zero = torch.zeros((), dtype=dtype or torch.get_default_dtype(), device=symbols.device)
    return torch.where(fits, zero, -torch.inf).movedim(-1, 0)


def _per_row(value: Tensor | float, like: Tensor, name: str) -> Tensor:
    """A number, or one per batch row, shaped to broadcast over `like`."""
    dtype = like.dtype
    if not dtype.is_floating_point:  # symbols: the precision is that of the value
        floats = isinstance(value, Tensor) and value.is_floating_point()
        dtype = value.dtype if floats else torch.get_default_dtype()  # type: ignore[union-attr]
    value = torch.as_tensor(value, dtype=dtype, device=like.device)
    if value.ndim > 1 or (value.ndim == 1 and value.shape[0] not in (1, like.shape[0])):
        raise BadEvidence(
            f"{name} must be a number or one per batch row ({like.shape[0]}); got shape {tuple(value.shape)}"
        )
    return value.reshape(-1, *(1,) * (like.ndim - 1))


def _tracing() -> bool:
    return torch.compiler.is_compiling()
