"""The observation channels of the library: `Soft`, `Clamp`, `Erasure`, `Flip`, `Gaussian`, and `Missing` around one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from hgm.errors import BadEvidence, BadSpec, brief
from hgm.evidence.ambient import check_generator, concrete
from hgm.evidence.channel import Channel, channel_of, entry_of
from hgm.evidence.noise import along, as_noise, check_shape
from hgm.evidence.symbols import MISSING, allowed, as_tensor, checked_symbols, clamped, signed

__all__ = ["Clamp", "Erasure", "Flip", "Gaussian", "Missing", "Soft", "inside"]


class Soft(Channel, name="soft"):
    """Log evidence as it stands: ``(B, S, *positions)`` floats, natural logs, any scale, ``-inf`` allowed.

    An integer tensor ``(B, *positions)`` is read as symbols, as by `Clamp`.
    """

    pointwise = True
    reads_symbols = True

    def positions(self, z: Tensor) -> tuple[int, ...]:
        return tuple(z.shape[2:] if z.is_floating_point() else z.shape[1:])

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        _no_noise(self, noise)
        if not z.is_floating_point():
            return clamped(self.batch_last(z), len(self.table()))
        if z.ndim < 2:
            raise BadEvidence(f"log evidence of the leaves must have shape (B, S, *positions); got {tuple(z.shape)}")
        return self.batch_last(z)

    def rearranged(self, order: Tensor, z: Tensor, *noise: Tensor | float) -> tuple[Any, ...] | None:
        """Log evidence is as large before as after: it is put in order once it is states first."""
        return None if z.is_floating_point() else super().rearranged(order, z, *noise)

    def observe(self, x: Tensor, *noise: Tensor | float, generator: torch.Generator | None = None) -> Tensor:
        """e(a) = [a = x] + g, with g standard normal: then log p(e | x = a) = e(a) + c: e is its own log evidence."""
        _no_noise(self, noise)
        x = _symbols(self, x)
        hit = allowed(x, len(self.table()), 1) & (x != MISSING).unsqueeze(1)
        return hit + torch.randn(hit.shape, generator=check_generator(generator, x.device), device=x.device)


class Clamp(Channel, name="clamp"):
    """Symbols observed without error: 0 at the symbol, -inf elsewhere. ``(B, *positions)`` integers, -1 = missing."""

    reach = 0.0
    pointwise = True
    reads_symbols = True

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        _no_noise(self, noise)
        return clamped(self.batch_last(z), len(self.table()))

    def observe(self, x: Tensor, *noise: Tensor | float, generator: torch.Generator | None = None) -> Tensor:
        _no_noise(self, noise)
        x = _symbols(self, x)
        check_generator(generator, x.device)
        return x


class Erasure(Clamp, name="erasure"):
    """Each symbol is observed, or erased: -1. The same log evidence as `Clamp`; a keep mask may be given.

    ``forward(z)`` or ``forward(z, keep)`` with keep ``(B, *positions)`` booleans, false where erased.
    """

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        return super().states_first(_kept(z, *noise))

    def rearranged(self, order: Tensor, z: Tensor, *noise: Tensor | float) -> tuple[Any, ...] | None:
        return super().rearranged(order, _kept(z, *noise))

    def observe(self, x: Tensor, *noise: Tensor | float, generator: torch.Generator | None = None) -> Tensor:
        return _kept(super().observe(x, generator=generator), *noise)

    def example(self, x: Tensor, dtype: torch.dtype, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        return (_kept(x, torch.rand(x.shape, generator=check_generator(generator, x.device), device=x.device) >= 0.25),)


class Flip(Channel, name="flip"):
    """Symmetric noise: with probability eps the symbol was replaced by a uniform other one.

    ``forward(z, eps)``: z ``(B, *positions)`` integers, -1 = missing; eps in [0, 1], a number, ``(B,)``, ``(B,
    *positions)`` or, of the true symbol, ``(B, S, *positions)`` (`Channel.spread`). log(1 - eps) at the symbol,
    log(eps / (S - 1)) elsewhere.
    """

    pointwise = True
    reads_symbols = True
    noise_names = ("eps",)

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        states, eps = len(self.table()), _probability(self.spread, z, *noise)
        z = self.batch_last(checked_symbols(z, states))
        stay, move = (1 - eps).log(), (eps / max(states - 1, 1)).log()
        if not concrete(z):  # then what is no symbol was let through
            move = torch.where((z < MISSING) | (z.long() >= states), torch.nan, move)
        return torch.where(allowed(z, states, 0), torch.where(z == MISSING, 0.0, stay), move)

    def observe(self, x: Tensor, *noise: Tensor | float, generator: torch.Generator | None = None) -> Tensor:
        x = _symbols(self, x)
        states, eps = len(self.table()), _probability(self.noise_at, x, *noise)
        generator = check_generator(generator, x.device)
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= eps
        if states == 1:
            return x
        other = (x + torch.randint(1, states, x.shape, generator=generator, device=x.device)) % states
        return torch.where(kept | (x == MISSING), x, other)


class Gaussian(Channel, name="gaussian"):
    """Additive Gaussian noise on the symbol's value: z = alpha * value(x) + sigma * g.

    ``forward(z, sigma, alpha=1)``: z ``(B, *positions)``, or ``(B, k, *positions)`` if the values are vectors; sigma
    > 0 and alpha are numbers, ``(B,)``, ``(B, *positions)`` or ``(B, S, *positions)`` (`Channel.spread`).

        e(a) = -|z - alpha value(a)|^2 / (2 sigma^2)
        e(a) = -|z - alpha(a) value(a)|^2 / (2 sigma(a)^2) - k log sigma(a)          if sigma is one per state

    Only (alpha <value(a), z> - alpha^2 |value(a)|^2 / 2) / sigma^2 depends on the state: an input layer affine in
    z would do. The square is computed as it stands, because that form loses digits in float32; and with it the
    gradient of log Z with respect to z is the score, (alpha E[x | z] - z) / sigma^2.

    A NaN in z is an error; for missing pixels use `Missing`.
    """

    pointwise = True
    noise_names = ("sigma",)

    def positions(self, z: Tensor) -> tuple[int, ...]:
        return tuple(z.shape[self.table().ndim :])

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        if not z.is_floating_point():
            z = z.to(next((x.dtype for x in noise if _floats(x)), torch.get_default_dtype()))  # type: ignore[union-attr]
        sigma, alpha = _scales(self.spread, z, *noise)
        values = self.table().to(z)
        if values.ndim == 2 and (z.ndim < 2 or z.shape[1] != values.shape[1]):
            raise BadEvidence(
                f"Gaussian: values in R^{values.shape[1]} need observations (B, {values.shape[1]}, ...); "
                f"got {tuple(z.shape)}"
            )
        parts = self.batch_last(z)
        if values.ndim == 1:
            parts, values = parts[None], values[:, None]
        apart = [(part - value[:, None, None] * alpha).square() for part, value in zip(parts, values.t(), strict=True)]
        e = sum(apart[1:], apart[0]) / (-2 * sigma.square())
        return e - len(apart) * sigma.log() if sigma.ndim == 3 else e

    def observe(self, x: Tensor, *noise: Tensor | float, generator: torch.Generator | None = None) -> Tensor:
        """NaN where the symbol is missing."""
        x = _symbols(self, x).long()
        sigma, alpha = _scales(self.noise_at, x, *noise)
        clean = self.table().to(sigma)[x.clamp_min(0)]
        clean[x == MISSING] = torch.nan
        return self.add_noise(
            clean if clean.ndim == x.ndim else clean.movedim(-1, 1), sigma, alpha, generator=generator
        )

    def example(self, x: Tensor, dtype: torch.dtype, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        spread = max(float(self.table().max() - self.table().min()), 1.0) / 4
        sigma = torch.full((x.shape[0],), spread, dtype=dtype, device=x.device)
        return self.observe(x, sigma, generator=generator), sigma

    def add_noise(
        self, x: Tensor, sigma: Tensor | float, alpha: Tensor | float = 1.0, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """A noisy observation of clean values x ``(B, *positions)`` or ``(B, k, *positions)``: alpha x + sigma g.

        Sigma and alpha as for `forward`, but not one per state, for which `observe` knows the symbols.
        """
        x = as_tensor(x, "clean values")
        vectors = self.values is not None and self.values.ndim == 2
        if not x.is_floating_point() or x.ndim < 1 + vectors:
            raise BadEvidence(f"clean values must be floats (B, *positions); got {x.dtype} of shape {tuple(x.shape)}")
        like = x[:, 0] if vectors else x
        scales = []
        for value, name in ((sigma, "sigma"), (alpha, "alpha")):
            noise = as_noise(value, x, name)
            if noise.ndim == like.ndim + 1:
                raise BadEvidence(f"{name} is one per state, which clean values do not tell: draw with observe")
            check_shape(noise, len(x), 0, tuple(like.shape[1:]), name)
            scales.append(along(noise, like).unsqueeze(1) if vectors else along(noise, like))
        g = torch.randn(x.shape, generator=check_generator(generator, x.device), dtype=x.dtype, device=x.device)
        return scales[1] * x + scales[0] * g


class Missing(Channel, name="missing"):
    """Another channel with holes: positions whose observation is NaN (floats) say nothing.

    ``forward(z, *noise)`` as of the wrapped channel. (`Clamp`, `Flip` and `Erasure` have -1 for the same purpose.)
    """

    def __init__(self, channel: Channel) -> None:
        if not isinstance(channel, Channel):
            raise BadSpec(f"Missing is made around a channel, such as hgm.Gaussian(); got {brief(channel)}")
        super().__init__(channel.values)
        self.channel = channel
        self.reach, self.reads_symbols, self.noise_names = channel.reach, channel.reads_symbols, channel.noise_names

    def bound(self, states: int) -> Self:
        return type(self)(self.channel.bound(states))

    def positions(self, z: Tensor) -> tuple[int, ...]:
        return self.channel.positions(z)

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        turned = self.batch_last(z)
        hole = turned.isnan()
        filled = turned.masked_fill(hole, 0).view(*z.shape[1:], z.shape[0]).movedim(-1, 0)
        e = self.channel.states_first(filled, *noise)
        return torch.where(hole.any(0) if hole.ndim == 3 else hole, 0.0, e)  # a hole in any component is a hole

    def rearranged(self, order: Tensor, z: Tensor, *noise: Tensor | float) -> tuple[Any, ...] | None:
        return self.channel.rearranged(order, z, *noise)

    def observe(self, x: Tensor, *noise: Tensor | float, generator: torch.Generator | None = None) -> Tensor:
        return self.channel.observe(x, *noise, generator=generator)

    def example(self, x: Tensor, dtype: torch.dtype, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        z, *noise = self.channel.example(x, dtype, generator)
        if z.is_floating_point():
            z = z.masked_fill(torch.rand(z.shape, generator=generator, device=z.device) < 0.25, torch.nan)
        return z, *noise

    def entry(self) -> dict[str, Any]:
        return super().entry() | {"of": entry_of(self.channel)}

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any], values: Tensor | None) -> Self:
        if not entry.get("of"):
            raise BadSpec("the channel missing does not say which channel it is around")
        return cls(channel_of(entry["of"], values))


def inside(channel: Channel) -> Channel:
    """The channel itself, or the one that `Missing` is around."""
    return channel.channel if isinstance(channel, Missing) else channel


def _symbols(channel: Channel, x: Any) -> Tensor:
    """Symbols to observe, ``(B, *positions)``, -1 = missing. Raises `BadEvidence` for what are none."""
    what = f"{type(channel).__name__}: symbols to observe"
    symbols = checked_symbols(as_tensor(x, what), len(channel.table()))
    if not symbols.ndim:
        raise BadEvidence(f"{what} have a batch as their first axis; got {brief(x)}")
    return symbols


def _no_noise(channel: Channel, noise: tuple[Any, ...]) -> None:
    if noise:
        raise BadEvidence(f"{type(channel).__name__} takes the observation and no noise; got {brief(noise[0])} besides")


def _floats(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _kept(z: Tensor, *noise: Tensor | float) -> Tensor:
    """Symbols with -1 where a keep mask is false."""
    z = signed(z)
    if not noise:
        return z
    keep = noise[0]
    if not isinstance(keep, Tensor) or keep.dtype != torch.bool or keep.shape != z.shape or len(noise) > 1:
        raise BadEvidence(
            "Erasure: the second argument is the keep mask, a tensor of booleans in the shape of the symbols, "
            f"{tuple(z.shape)}; got {brief(keep)}"
        )
    return torch.where(keep, z, MISSING)


def _probability(read: Callable[..., Tensor], z: Tensor, *noise: Tensor | float) -> Tensor:
    """eps, by `Channel.spread` or `Channel.noise_at`."""
    if len(noise) != 1:
        raise BadEvidence("Flip takes the observed symbols and the flip probability eps: channel(z, eps)")
    eps = read(noise[0], z, "eps")
    if concrete(eps) and bool(((eps < 0) | (eps > 1) | eps.isnan()).any()):
        raise BadEvidence("Flip: eps must be a probability, 0 to 1")
    return eps


def _scales(read: Callable[..., Tensor], z: Tensor, *noise: Tensor | float) -> tuple[Tensor, Tensor]:
    """sigma and alpha, by `Channel.spread` or `Channel.noise_at`."""
    if not 1 <= len(noise) <= 2:
        raise BadEvidence("Gaussian takes the observation, sigma, and optionally alpha: channel(z, sigma, alpha)")
    sigma, alpha = read(noise[0], z, "sigma"), read(noise[1] if len(noise) == 2 else 1.0, z, "alpha")
    if not concrete(sigma):
        return torch.where(sigma > 0, sigma, torch.nan), alpha
    if not bool((sigma > 0).all()):
        raise BadEvidence("Gaussian: sigma must be positive")
    return sigma, alpha
