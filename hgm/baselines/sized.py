"""`make`: the network of a name, as wide as makes it have so many parameters, or cost so much.

Widths are whole numbers, so a size is met within a share (`SHARE`). Sizes are measured on the meta device, where layers
have shapes and no numbers; those of compiled networks, which are made of numbers, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hgm.baselines.problem import Problem
from hgm.baselines.registry import Baseline, found
from hgm.baselines.sizes import multiply_adds, trainable
from hgm.errors import BadExtension, BadSpec, brief, extension
from hgm.evidence.ambient import making, seeded
from hgm.networks.compile import Task
from hgm.tree.arguments import MOST, whole
from hgm.tree.tree import Tree

__all__ = ["SHARE", "make"]

#: how far a size may be from what was asked, as a share of that
SHARE = 0.1
WIDEST = 1 << 12


def make(
    name: str,
    tree: Tree,
    channel: Any,
    parameters: int | None = None,
    compute: int | None = None,
    seed: int = 0,
    task: Task = "denoise",
) -> nn.Module:
    """A network for the leaves of a tree, called ``f(z, sigma)``: of a size, with weights drawn from a seed.

        net = hgm.baselines.make("unet", tree, hgm.Gaussian([-1.0, 0.0, 1.0]), parameters=100_000)
        net(z, sigma)                                   # E[x | z] in the shape of z; z (B, *leaf shape), sigma (B,)

    Args:
        name: one of `names`.
        tree: the model; leaves are a sequence ``(n,)`` or an image ``(H, W)`` (any for compiled networks).
        channel: how the leaves are observed: `Gaussian`; for posteriors and classes also `Flip` and `Erasure`.
        parameters: how many numbers are to learn. The nearest possible number is taken, if it is within 10%.
        compute: instead, how many multiply-adds a forward of one row is to cost, as `describe` counts them.
        seed: of the weights. The same seed gives the same weights, and no other randomness is touched.
        task: ``"denoise"``; ``"posterior"`` for probabilities ``(B, S, *leaf shape)`` of the leaves, ``"classify"`` for
            those of the root, ``(B, S)``, which networks of features take from the mean over positions.

    Returns:
        A `torch.nn.Module`: a compiled `UNet` or `ConvNet`, or a `Framed` network; `describe` says how large it is.
        Compiled networks are called ``f(z)`` if the channel is `Erasure`.

    Raises:
        BadSpec: for an unknown name, both sizes or none, a size that cannot be reached (it says which can), leaves that
            the network does not take, or a channel that has no answer to the task.
    """
    of, problem = found(name), Problem(tree, channel, task)
    whole("seed", seed, 0, 2**63 - 1)
    if (parameters is None) == (compute is None):
        got = f"parameters={brief(parameters)} and compute={brief(compute)}"
        raise BadSpec(f"give parameters=N or compute=N, one of the two; got {got}")
    if parameters is not None:
        width = _width(of, problem, "parameters", whole("parameters", parameters, 1, MOST), trainable)
    else:
        width = _width(of, problem, "compute", whole("compute", compute, 1, MOST * 1000), multiply_adds)
    with making(), seeded(seed):
        return _made(of, problem, width)


def _made(of: Baseline, problem: Problem, width: int) -> nn.Module:
    try:
        with extension(f"the network {of.name}"):
            net = of.recipe(problem, width)
    except BadExtension as error:
        if isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name == "diffusers":
            raise BadSpec(f"{of.name} needs diffusers; install it: pip install 'hgm[diffusion]'") from None
        raise
    if not isinstance(net, nn.Module):
        raise BadExtension(f"the network {of.name} must be a torch.nn.Module; its function gave a {type(net).__name__}")
    return net


def _width(of: Baseline, problem: Problem, what: str, wanted: int, size: Callable[[Any], int]) -> int:
    """The width whose size is nearest to what is wanted."""
    sizes: dict[int, int] = {}

    def at(width: int) -> int:
        if width not in sizes:
            with torch.inference_mode(False), torch.device("meta"), torch.random.fork_rng(devices=[]):
                sizes[width] = size(_made(of, problem, width))
        return sizes[width]

    def between(low: int, high: int) -> int:
        """Where the size would be right if it went with the square of the width."""
        guess = round(low * (wanted / at(low)) ** 0.5) if at(low) else high
        return min(max(guess, low + 1), high - 1)

    low = high = 1
    while at(high) < wanted and high < WIDEST and (high < 16 or at(high) > at(1)):
        low, high = high, between(high, 2 * high + 1)
    while high - low > 1:
        middle = between(low, high)
        low, high = (middle, high) if at(middle) < wanted else (low, middle)
    best = min((low, high), key=lambda width: (abs(at(width) - wanted), width))
    if abs(at(best) - wanted) > SHARE * wanted:
        raise BadSpec(
            f"{of.name} has no size within {SHARE:.0%} of {what}={wanted:,} here; the nearest is {what}={at(best):,}"
        )
    return best
