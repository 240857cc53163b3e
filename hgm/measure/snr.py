"""Levels of noise over which errors add up to nats, and the weight of each.

    z = x + sigma g       H(x) = 1/2 int_0^inf mmse(snr) d snr                       snr = 1 / sigma^2; the mmse summed
    z erased by shares t  H(x) = int_0^1 E[sum over erased i of -log p(x_i | z)] / t dt

and what a network's excess integrates to is the extra code length of the diffusion model that uses it. The first grid
is even in log snr, where the trapezoid rule converges faster than any power of the step, because the integrand
vanishes at both ends; it ends where all but 0.1% of the integral of the mmse is covered. The second is that of
Gauss and Legendre: its integrand is a polynomial in t.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log, sqrt
from typing import NamedTuple

import numpy as np
import torch

from hgm.errors import BadSpec
from hgm.evidence.channels import Gaussian
from hgm.measure.optimum import Optimum

__all__ = ["Grid", "grid_of", "stream"]

LEFT_OUT = 1e-3  # of the integral of the mmse, at most
POINTS = 2  # of the grid, for an octave of snr
STEP = log(2) / POINTS
FIRST = 20  # octaves below its middle the search begins: there next to nothing is seen yet
FARTHEST = 120  # and ends above
PILOT = 1 << 14  # leaves of the samples that the grid is found with, and at least
FEWEST = 256  # samples
SHARES = 16  # levels of erasure, at least


class Grid(NamedTuple):
    """Levels of noise, from much to little.

    Attributes:
        noise: ``(K,)``.
        weights: ``(K,)`` of what is summed over leaves, to give nats.
        last: ``(K,)`` the part of the weights that is of the last octave of snr; ``None`` if there are no octaves.
        says: where it ends, in words.
    """

    noise: np.ndarray
    weights: np.ndarray
    last: np.ndarray | None
    says: str


def grid_of(optimum: Optimum, seed: int) -> Grid:
    """The grid of a channel and a tree, which the tree keeps: networks that are compared on it share the search.

    Raises:
        BadSpec: for a task and channel whose excess is no code length, and where nothing is uncertain.
    """
    if optimum.erases and optimum.task == "posterior":
        return _shares(len(optimum.tree.leaves))
    if not (optimum.gaussian and optimum.task == "denoise"):
        name = type(optimum.channel).__name__
        raise BadSpec(
            "noise=None takes levels whose errors add up to nats: of Gaussian with task 'denoise' and of Erasure with "
            f"task 'posterior'; of {name} with task {optimum.task!r} give levels, such as noise=[0.1, 0.2]"
        )
    if type(optimum.channel) is not Gaussian:  # what else another one depends on is not known here
        return _searched(optimum, seed)
    key = ("grid of noise", optimum.table.numpy().tobytes(), *optimum.given, seed, LEFT_OUT)
    if key not in optimum.tree.kept:
        optimum.tree.kept[key] = _searched(optimum, seed)
    return optimum.tree.kept[key]


def _searched(optimum: Optimum, seed: int) -> Grid:
    """The grid of Gaussian noise, by the optimum's errors on a few samples."""
    count = max(FEWEST, ceil(PILOT / len(optimum.tree.leaves)))
    x = optimum.draw(count, stream(seed, "grid")).x
    base = 1 / optimum.spread**2

    _, same = torch.unique(optimum.table, dim=0, return_inverse=True)  # states that share a value are one

    def unsure(snr: float) -> tuple[float, float]:
        """The mmse, and the entropies of the values of all leaves, both summed."""
        z, level = optimum.observe(x, snr**-0.5, torch.float64, stream(seed, "noise of the grid"))
        p = optimum.posterior(z, level, ())
        of_values = torch.zeros_like(p).index_add_(1, same[: p.shape[1]], p)
        entropy = -torch.xlogy(of_values, of_values).sum()
        return float(optimum.means(p).left.sum() / count), float(entropy / count)

    return _octaves(unsure, base)


def stream(seed: int, what: str, number: int = 0) -> torch.Generator:
    """A source of randomness of its own for each purpose."""
    (own,) = np.random.SeedSequence([seed, number, *what.encode()]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(own >> 1))


def _shares(leaves: int) -> Grid:
    """Shares of erasure t, and weights for the integral over t of what is summed, divided by t."""
    nodes, weights = np.polynomial.legendre.leggauss(min(64, max(SHARES, ceil(2 * sqrt(leaves)))))
    t = (1 + nodes[::-1]) / 2
    return Grid(t, weights[::-1] / 2 / t, None, f"{len(t)} shares of erasure from {t[0]:.4g} to {t[-1]:.4g}")


def _octaves(unsure: Callable[[float], tuple[float, float]], base: float) -> Grid:
    """An even grid of log snr that leaves out little at both ends.

        1/2 int_0^a mmse <= a/2 mmse(0)        1/2 int_b^inf mmse = H(x | z at b) <= sum_v H(x_v | z at b)

    Args:
        unsure: gives, by snr, the mmse and the sum of entropies.
        base: an snr at which something is seen, but not all.
    """
    before, entropy = unsure(base * 2.0**-FARTHEST)  # next to nothing is seen
    if not before > 0:
        raise BadSpec("noise=None covers what is uncertain about the leaves, and nothing is; give levels with noise=")
    first, nats = -FIRST * POINTS, 0.0
    last = first - 1
    while last < FARTHEST * POINTS and not entropy <= LEFT_OUT / 2 * nats:
        last += 1
        snr = base * 2.0 ** (last / POINTS)
        mmse, entropy = unsure(snr)
        nats += snr * mmse * STEP / 2
    while base * 2.0 ** ((first + 1) / POINTS) * before / 2 <= LEFT_OUT / 2 * nats:
        first += 1
    return _trapezoid(base * 2.0 ** (np.arange(first, last + 1) / POINTS))


def _trapezoid(snr: np.ndarray) -> Grid:
    """Weights 1/2 snr d log snr."""
    ends = np.ones(len(snr))
    ends[[0, -1]] = 0.5
    octave = np.zeros(len(snr))
    octave[-POINTS - 1 :] = 1.0
    octave[[-POINTS - 1, -1]] = 0.5
    weights, noise = 0.5 * snr * STEP, snr**-0.5
    says = (
        f"{len(snr)} levels of sigma from {noise[0]:.4g} to {noise[-1]:.4g} (snr from {snr[0]:.4g} to {snr[-1]:.4g}), "
        f"which leave out less than {LEFT_OUT:.1%} of the integral of the mmse"
    )
    return Grid(noise, weights * ends, weights * octave, says)
