"""Ancestral samplers of discrete diffusion: each symbol is drawn from its own reverse kernel, by itself.

    masked      `unmask`          so many hidden symbols in each step, as a `Schedule` says
                `unmask_in_time`  each hidden symbol with probability (t - s) / t, from time t to s
    uniform     `unflip`          p(x_s = a | x_t) ∝ q(x_t | x_s = a) ((1 - s) loo(a) + s / S)

with loo the leave-one-out posterior of the clean symbol, given all of x_t but its own. With an exact denoiser the
kernels of single symbols are exact; that the symbols of one step are drawn independently is the only error.

Each sampler is a generator, which yields the state after each step: ``*_, x = unmask(...)`` is the sample, and memory
does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hgm.diffusion.process import Uniform
from hgm.errors import BadEvidence, BadSpec, ImpossibleEvidence, brief, extension
from hgm.evidence.ambient import check_generator
from hgm.evidence.symbols import MISSING, as_tensor, checked_symbols
from hgm.tree.arguments import listed, number, whole

__all__ = [
    "PosteriorOf",
    "checked_posterior",
    "draw",
    "leave_one_out",
    "unflip",
    "unflip_kernel",
    "unmask",
    "unmask_in_time",
]

#: a denoiser of discrete data: of symbols ``(B, *leaf shape)``, and perhaps noise, posteriors ``(B, S, *leaf shape)``
PosteriorOf = Callable[..., Tensor]

#: how far the sum of a posterior may be from 1: what half precision makes of one
TOLERANCE = 1e-2


def unmask(
    denoiser: PosteriorOf,
    z: Any,
    sizes: Sequence[int],
    *,
    order: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Reveal hidden symbols, so many in each step. With one in each step, and an exact denoiser, samples are exact.

    Where some data are impossible, symbols that were drawn at once may be; the rest of that row is then drawn as if
    nothing were known.

    Args:
        denoiser: ``denoiser(z)`` gives leaf posteriors ``(B, S, *leaf shape)``: ``hgm.compile(tree, "posterior",
            channel=hgm.Erasure(), query="leaves")``, say.
        z: ``(B, *leaf shape)`` symbols, -1 where hidden: everywhere, or but for known pixels, which are kept.
        sizes: how many of a row's hidden symbols each step reveals, such as `Schedule.sizes`.
        order: flat positions of all leaves, in the order in which they are revealed, such as `Schedule.positions`;
            default a random one for each row.
        generator: source of randomness, on the device of z; default torch's global one.

    Yields:
        ``(B, *leaf shape)`` after each step.

    Raises:
        BadSpec: unless the sizes sum to the number of hidden symbols of every row, and an order has each position once.
        BadEvidence: for symbols that are none, or a denoiser that does not give posteriors: it says at which step.
        ImpossibleEvidence: for known pixels that are impossible.
    """
    z, generator = _start(z, generator)
    hidden = z.flatten(1) == MISSING
    sizes = [whole("a step size", size, 1) for size in listed("sizes", sizes, "whole numbers")]
    rank = _ranks(hidden, order, generator).view(z.shape)
    counts = hidden.sum(1)
    if bool((counts != sum(sizes)).any()):
        raise BadSpec(
            f"the step sizes sum to {sum(sizes)}, but the rows have {int(counts.min())} to {int(counts.max())} "
            "hidden symbols; give sizes that reveal each of them"
        )
    return _unmask(denoiser, z, rank, sizes, generator)


def _unmask(
    denoiser: PosteriorOf, z: Tensor, rank: Tensor, sizes: Sequence[int], generator: torch.Generator | None
) -> Iterator[Tensor]:
    known = 0
    for step, size in enumerate(sizes):
        revealed = (known <= rank) & (rank < known + size)
        z = draw(checked_posterior(denoiser, z, (), step), z, revealed, generator)
        known += size
        yield z


def unmask_in_time(
    denoiser: PosteriorOf, z: Any, times: Sequence[float], *, generator: torch.Generator | None = None
) -> Iterator[Tensor]:
    """Masked diffusion by its reverse process: from t to s a hidden symbol is revealed with probability (t - s) / t.

    Args:
        denoiser: as for `unmask`.
        z: ``(B, *leaf shape)`` symbols at the first of the times, -1 where hidden.
        times: from 1, or the time of z, down to 0, where nothing is hidden.
        generator: as for `unmask`.

    Yields:
        ``(B, *leaf shape)`` after each step.

    Raises:
        BadSpec: unless the times fall to 0.
        BadEvidence: as of `unmask`.
    """
    z, generator = _start(z, generator)
    return _unmask_in_time(denoiser, z, _times(times), generator)


def _unmask_in_time(
    denoiser: PosteriorOf, z: Tensor, times: Sequence[float], generator: torch.Generator | None
) -> Iterator[Tensor]:
    for step, (t, s) in enumerate(pairwise(times)):
        uniform = torch.rand(z.shape, generator=generator, dtype=torch.float64, device=z.device)
        z = draw(checked_posterior(denoiser, z, (), step), z, (z == MISSING) & (uniform * t < t - s), generator)
        yield z


def unflip(
    denoiser: PosteriorOf,
    z: Any,
    states: int,
    times: Sequence[float],
    *,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Uniform diffusion by its reverse process, which is exact for each symbol by itself.

    Args:
        denoiser: ``denoiser(z, eps)`` gives leaf posteriors ``(B, S, *leaf shape)``, eps as `Flip` has it:
            ``hgm.compile(tree, "posterior", channel=hgm.Flip(), query="leaves")``, say.
        z: ``(B, *leaf shape)`` symbols at the first of the times: at time 1 uniform noise.
        states: S, of every leaf.
        times: from 1, or the time of z, down to 0.
        generator: as for `unmask`.

    Yields:
        ``(B, *leaf shape)`` after each step.

    Raises:
        BadSpec: unless the times fall to 0.
        BadEvidence: for hidden symbols, and as of `unmask`.
    """
    states = whole("states", states, 1)
    z, generator = _start(z, generator)
    checked_symbols(z, states)
    if bool((z == MISSING).any()):
        raise BadEvidence("uniform diffusion begins with a symbol at every leaf; z has some that are missing (-1)")
    return _unflip(denoiser, z, states, _times(times), generator)


def _unflip(
    denoiser: PosteriorOf, z: Tensor, states: int, times: Sequence[float], generator: torch.Generator | None
) -> Iterator[Tensor]:
    everywhere = torch.ones_like(z, dtype=torch.bool)
    for step, (t, s) in enumerate(pairwise(times)):
        (eps,) = Uniform().noise(t, states)
        posterior = checked_posterior(denoiser, z, (float(eps),), step, states)
        z = draw(unflip_kernel(posterior, z, t, s), z, everywhere, generator)
        yield z


def unflip_kernel(posterior: Tensor, z: Tensor, t: float, s: float) -> Tensor:
    """``(B, S, *leaf shape)`` p(x_s = a | x_t = z) of each leaf in uniform diffusion, up to a factor.

    Args:
        posterior: ``(B, S, *leaf shape)`` of the clean symbols, given z at time t.
        z: ``(B, *leaf shape)`` symbols.
        t: above s.
        s: the time to go to, below 1.
    """
    states = posterior.shape[1]
    here = torch.nn.functional.one_hot(z, states).movedim(-1, 1).to(posterior)  # [z = a]
    clean = leave_one_out(posterior, (1 - t) * here + t / states)
    keep = (1 - t) / (1 - s)  # what is kept from s to t
    return (keep * here + (1 - keep) / states) * ((1 - s) * clean + s / states)


def leave_one_out(posterior: Any, likelihood: Any) -> Tensor:
    """``(B, S, *leaf shape)`` the posterior of each leaf given all observations but its own: p(a | z) / p(z_v | a).

    That is what ``net(..., outputs="leave_one_out")`` has without a division.

    Args:
        posterior: ``(B, S, *leaf shape)``.
        likelihood: the same shape: of each state of a leaf, that of its own observation, up to a factor.

    Raises:
        BadEvidence: for shapes that differ, a posterior that is none, or a likelihood that is not positive and finite
            in every state: what it rules out, the posterior does not tell.
    """
    p, own = as_tensor(posterior, "the posterior"), as_tensor(likelihood, "the likelihood")
    if p.shape != own.shape or p.ndim < 2:
        raise BadEvidence(
            f"posterior and likelihood must both be (B, S, *leaf shape); got {tuple(p.shape)} and {tuple(own.shape)}"
        )
    if not bool(((own > 0) & own.isfinite()).all()):
        raise BadEvidence("a likelihood must be positive in every state, to be divided by; use outputs='leave_one_out'")
    rest = p / own
    total = rest.sum(1, keepdim=True)
    if not bool((rest >= 0).all()) or not bool(((total > 0) & total.isfinite()).all()):
        raise BadEvidence("a posterior must have probabilities from 0 up, some of them positive; got others, or a NaN")
    return rest / total


# ---------------------------------------------------------------------- what the samplers are made of


def draw(weights: Tensor, z: Tensor, where: Tensor, generator: torch.Generator | None) -> Tensor:
    """The symbols z, drawn anew `where` that is true, independently, by weights ``(B, S, *leaf shape)``."""
    chosen = weights.movedim(1, -1)[where]
    if not len(chosen):
        return z.clone()
    z = z.clone()
    z[where] = torch.multinomial(chosen, 1, generator=generator)[:, 0].to(z)
    return z


def checked_posterior(
    denoiser: PosteriorOf, z: Tensor, noise: tuple[Any, ...], step: int, states: int | None = None
) -> Tensor:
    """What a denoiser says of symbols -1 to S - 1, in float64, of sum 1.

    Symbols that were drawn at once may be impossible together, where potentials have zeros. Nothing follows from what
    cannot be; such rows get the posteriors of a row that is all hidden.

    Raises:
        BadEvidence: with the step, for what are no posteriors.
        BadExtension: with the step, if the denoiser fails.
        ImpossibleEvidence: in step 0.
    """
    with (
        torch.no_grad(),
        extension(f"step {step}: the denoiser {getattr(denoiser, '__name__', type(denoiser).__name__)}"),
    ):
        try:
            p = denoiser(z, *noise)
        except ImpossibleEvidence as error:
            if step == 0:
                raise
            possible = z.clone()
            possible[list(error.rows)] = MISSING
            p = denoiser(possible, *noise)
    what = f"step {step}: a denoiser of discrete data must give"
    shape = ("B", "S" if states is None else states, *z.shape[1:])
    if not isinstance(p, Tensor) or not p.is_floating_point():
        raise BadEvidence(f"{what} a tensor of probabilities; got {brief(p)}")
    if (
        p.ndim != z.ndim + 1
        or p.shape[0] != len(z)
        or p.shape[2:] != z.shape[1:]
        or p.shape[1] != (states or p.shape[1])
    ):
        raise BadEvidence(f"{what} shape ({', '.join(map(str, shape))}) with B = {len(z)}; got {tuple(p.shape)}")
    p = p.detach().double()
    total = p.sum(1, keepdim=True)
    if not bool((p >= 0).all()) or not bool(((total - 1).abs() <= TOLERANCE).all()):
        bad = "NaN" if bool(p.isnan().any()) else "negative ones" if bool((p < 0).any()) else "sums that are not 1"
        raise BadEvidence(f"{what} probabilities that sum to 1 over axis 1; got {bad}")
    return p / total


def _start(z: Any, generator: Any) -> tuple[Tensor, torch.Generator | None]:
    z = as_tensor(z, "z")
    if z.is_floating_point() or z.dtype == torch.bool or z.ndim < 2:
        raise BadEvidence(f"z must be integer symbols (B, *leaf shape), -1 where hidden; got {brief(z)} of {z.dtype}")
    return z.long(), check_generator(generator, z.device)


def _ranks(hidden: Tensor, order: Sequence[int] | None, generator: torch.Generator | None) -> Tensor:
    """``(B, n)`` when each hidden symbol is revealed: 0, 1, ...; those that are known come after all others."""
    n = hidden.shape[1]
    if order is None:
        when = torch.rand(hidden.shape, generator=generator, dtype=torch.float64, device=hidden.device)
    else:
        places = [whole("a position of the order", place, 0, n - 1) for place in listed("order", order, "positions")]
        if sorted(places) != list(range(n)):
            raise BadSpec(f"order must have each of the positions 0 to {n - 1} once; got {brief(order)}")
        when = torch.tensor(places, device=hidden.device).argsort().double().expand(hidden.shape)
    return when.masked_fill(~hidden, torch.inf).argsort(1).argsort(1)


def _times(times: Sequence[float]) -> list[float]:
    falls = "times must be numbers in [0, 1] that fall to 0, such as [1, 0.5, 0]"
    held = [
        number(t.item() if isinstance(t, Tensor) else t, falls, lambda t: 0 <= t <= 1)
        for t in listed("times", times, "numbers")
    ]
    if len(held) < 2 or held[-1] != 0 or any(t <= s for t, s in pairwise(held)):
        raise BadSpec(f"{falls}; got {brief(times)}")
    return held
