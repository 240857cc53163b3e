"""What is inside of a trained network: beliefs in its activations, gradients of its layers, what its outputs use.

Each looks at a denoiser for the leaves of a tree with a grid, ``f(z, sigma)``, and gives plain numbers, each with the
ends of its 95% interval:

    probes            is the exact posterior of the tree's nodes a linear function of the activations, and of which?
    gradient_norms    how much of the loss's gradient reaches each block
    effective         on which leaves an output depends, beside the exact posterior mean on the same data
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hgm.errors import BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Gaussian, inside
from hgm.learn.objective import objective
from hgm.measure.interval import Tally
from hgm.measure.optimum import Optimum
from hgm.measure.snr import stream
from hgm.measure.support import receptive_field
from hgm.networks.compile import compile
from hgm.study.blocks import activations, fresh, in_order, parts
from hgm.study.linear import explained
from hgm.study.places import at_nodes, by_distance, groups, sides_of, spread
from hgm.tree.arguments import whole
from hgm.tree.tree import Tree

__all__ = ["effective", "gradient_norms", "probes"]

BATCH = 64  # rows of a step, as `hgm.train` has by default
PLACES, INPUTS = 16, 12  # of outputs that `effective` looks at, and of data for each

Found = dict[str, Any]


def probes(net: nn.Module, tree: Tree, channel: Channel, sigma: float, n: int = 300, seed: int = 0) -> Found:
    """Linear probes: R² of the exact posteriors of the nodes of every level, from the activations of every block.

    The features of a node are the activations at its place: their mean over the node's block of leaves where the
    resolution is finer than the level, the cell that holds the node where it is coarser. A mean over many cells gathers
    what each of them knows of its surroundings, and so does a part of the network's work itself; under ``"cell"`` are
    probes of the one cell in the middle of the node's block. One probe is shared by all nodes of a level (in a coarse
    cell, by all that lie in their cells alike). R² is that of `hgm.study.linear`: on samples that were not fitted,
    around each node's own mean.

    Controls: the same network before it learned (weights drawn from `seed`), and what is linear in the data: the means
    of z over the blocks of the node and of all its ancestors. On a symmetric tree no linear function of all of z says
    more. Blocks also see sigma, which is the same for all samples here and tells a probe nothing.

    Args:
        net: a U-Net or CNN of `hgm.baselines`, or a module with blocks alike.
        tree: the model, with a grid.
        channel: `Gaussian`.
        sigma: of the noise, > 0.
        n: samples, of which each half is fitted once.
        seed: of the samples and of the untrained network.

    Returns:
        ``"trained"`` and ``"untrained"``: by block, in the order in which they run, and ``"output"``, a dict of
        ``"positions"``, ``"channels"``, ``"r2"``, ``"low"``, ``"high"``, each of these a list by level, the root first,
        and ``"cell"``, of the same three; ``"input"``: the three; ``"variance"``: by level, of the posterior of a node,
        summed over states; ``"sigma"`` and ``"n"``.

    Raises:
        BadSpec: for a tree without a grid, a channel of symbols, or a network without blocks.
    """
    whole("n", n, 20)
    z, level, posteriors = _posteriors(tree, channel, sigma, n, seed)
    shape, grid = tree.leaf_shape, sides_of(tree)
    targets = [p.movedim(1, -1).reshape(n, -1, p.shape[1]) for p in posteriors]  # (n, nodes, S)
    dtype = next((p.dtype for p in net.parameters()), torch.float32)
    given = (z.to(dtype), level.to(dtype))
    multiple = getattr(net, "multiple", 1)
    padded = tuple(side + -side % multiple for side in shape)
    found: Found = {"sigma": float(sigma), "n": n}
    found["variance"] = [float(p.var(0, correction=0).sum(-1).mean()) for p in targets]
    for name, one in (("trained", net), ("untrained", fresh(net, seed))):
        found[name] = {}
        for block, h in activations(one, *given).items():
            around = shape if block == "output" else padded
            mean, middle = (
                [explained(groups(h.double(), around, shape, *of, one_cell)) for of in zip(grid, targets, strict=True)]
                for one_cell in (False, True)
            )
            about = {"positions": list(h.shape[2:]), "channels": h.shape[1], "cell": _listed(middle)}
            found[name][block.removeprefix("body.")] = about | _listed(mean)
    means = [at_nodes(z.double().reshape(n, -1, *shape), shape, shape, sides) for sides in grid]
    rows = []
    for k, y in enumerate(targets):
        above = [spread(m, grid[k]).flatten(2) for m in means[: k + 1]]
        rows.append(explained([(torch.cat(above, 1).movedim(1, -1), y)]))
    return found | {"input": _listed(rows)}


def gradient_norms(net: nn.Module, tree: Tree, channel: Channel, noise: Any, n: int = 512, seed: int = 0) -> Found:
    """Norms of the gradient of the training loss in every block, as the network is and before it learned.

    Of batches of 64 rows, as `hgm.train` takes them, and of their mean squared error. Near a minimum what is left is
    the scatter of batches: compare networks before they learned, or shares of the blocks of one. The frame of a network
    (`hgm.baselines.Framed`) scales what it gives, so norms of networks in different frames differ by that too.

    Args:
        net: a network of `hgm.baselines` but for the compiled ones, or a module alike.
        tree: the model.
        channel: `Gaussian`.
        noise: as for `hgm.train`: sigma, ``(low, high)``, or a list.
        n: samples, at least two batches.
        seed: of the samples, their noise, and of the untrained network.

    Returns:
        ``"trained"`` and ``"untrained"``: by block or other part with parameters, in the order in which they run, a
        dict of ``"parameters"``, ``"weight"`` (norm of them), ``"norm"`` of the gradient, ``"low"`` and
        ``"high"`` (of its mean over batches), ``"relative"`` (norm over weight) and ``"share"`` (of the square of the
        whole gradient's norm, a mean over batches); ``"whole"``: by network, the whole gradient's norm; ``"n"``.

    Raises:
        BadSpec: for a bad argument, or a network whose start is not known.
    """
    whole("n", n, 2 * BATCH)
    optimum = _optimum(tree, channel)
    ask = objective(net, optimum.channel, "denoise", noise, optimum.spread / 2)
    found: Found = {"n": n // BATCH * BATCH, "whole": {}}
    for name, one in (("trained", copy.deepcopy(net)), ("untrained", fresh(net, seed))):
        one.requires_grad_(True).train()
        own = parts(one)
        tally = Tally()
        for batch in range(n // BATCH):
            x = optimum.draw(BATCH, stream(seed, "samples", batch)).x
            shown = ask.shown(x, x, stream(seed, "noise", batch))
            loss = ask.loss(ask.answer(one, shown.given), shown.target)
            slopes = torch.autograd.grad(loss, list(one.parameters()), allow_unused=True, materialize_grads=True)
            by = dict(zip(one.parameters(), slopes, strict=True))
            squares = torch.stack([_square([by[w] for w in weights]) for weights in own.values()])
            whole_square = squares.sum()
            both = torch.cat([squares.sqrt(), squares / whole_square.clamp_min(1e-300), whole_square.sqrt()[None]])
            tally.add(both[None])
        mean, low, high = (x.tolist() for x in tally.estimates())
        found["whole"][name] = {"norm": mean[-1], "low": low[-1], "high": high[-1]}
        found[name] = {}
        for part in in_order(one, own, *shown.given):
            i, weights = list(own).index(part), own[part]
            size = float(_square(weights).sqrt())
            found[name][part.removeprefix("body.")] = {
                "parameters": sum(w.numel() for w in weights), "weight": size, "norm": mean[i], "low": low[i],
                "high": high[i], "relative": mean[i] / size if size else 0.0, "share": mean[len(own) + i],
            }  # fmt: skip
    return found


def effective(net: nn.Module, tree: Tree, channel: Channel, sigma: float, seed: int = 0) -> Found:
    """On which leaves an output depends, by squared derivatives, beside the exact posterior mean on the same data.

    Of outputs at 16 random places, each at 12 noisy samples of its own. Means and intervals are over places.

    Args:
        net: a network of values ``f(z, sigma)``.
        tree: the model, with a grid.
        channel: `Gaussian`.
        sigma: of the noise, > 0.
        seed: of the places and the samples.

    Returns:
        ``"network"`` and ``"exact"``: ``"size"``, the effective number of leaves; ``"rings"``, the share of the squared
        derivative at Chebyshev distance 0, 1, ...; ``"levels"``, that of the leaves whose last common ancestor with the
        output's is on level 0, 1, ... (the last is its own); ``"apart"``: half the sum over leaves of the difference of
        the shares, 0 if they are the same and 1 if nothing is shared. Each is a dict of ``"value"``, ``"low"``,
        ``"high"``: numbers, or lists. ``"sigma"``, ``"places"``.

    Raises:
        BadSpec: for a tree without a grid, or a channel of symbols.
    """
    grid, shape = sides_of(tree), tree.leaf_shape
    optimum = _optimum(tree, channel)
    exact = compile(tree, "denoise", channel=channel)
    source = np.random.default_rng(seed)
    chosen = source.choice(int(np.prod(shape)), size=min(PLACES, int(np.prod(shape))), replace=False)
    places = [tuple(int(i) for i in np.unravel_index(p, shape)) for p in chosen]
    tallies: dict[str, dict[str, Tally]] = {
        "network": {k: Tally() for k in ("size", "rings", "levels")},
        "exact": {k: Tally() for k in ("size", "rings", "levels")},
    }
    apart = Tally()
    for i, at in enumerate(places):
        x = optimum.draw(INPUTS, stream(seed, "samples", i)).x
        z, _ = optimum.observe(x, sigma, torch.float64, stream(seed, "noise", i))
        energies = {}
        for name, one in (("network", net), ("exact", exact)):
            seen = receptive_field(one, sigma=sigma, at=at, inputs=z, seed=seed)
            energies[name] = energy = torch.from_numpy(seen.energy)
            rings, levels = by_distance(energy, at, grid)
            for key, value in (("size", torch.tensor(seen.effective)), ("rings", rings), ("levels", levels)):
                tallies[name][key].add(value[None])
        apart.add((energies["network"] - energies["exact"]).abs().sum()[None] / 2)
    found: Found = {"sigma": float(sigma), "places": [list(at) for at in places], "apart": _told(apart)}
    return found | {name: {key: _told(t) for key, t in of.items()} for name, of in tallies.items()}


def _optimum(tree: Tree, channel: Channel) -> Optimum:
    if not isinstance(inside(channel), Gaussian):
        raise BadSpec(f"what is inside is looked at in denoisers of values, as of hgm.Gaussian; got {brief(channel)}")
    return Optimum(tree, channel, "denoise", ())


def _posteriors(tree: Tree, channel: Channel, sigma: float, n: int, seed: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Noisy samples z, their sigma ``(n,)``, and the exact posteriors ``(n, S, nodes)`` of every level, float64."""
    sides_of(tree)
    optimum = _optimum(tree, channel)
    x = optimum.draw(n, stream(seed, "samples")).x
    z, level = optimum.observe(x, sigma, torch.float64, stream(seed, "noise"))
    net = compile(tree, "posterior", channel=channel, query="all").double()
    with torch.no_grad():
        p = net(z, level)
    ends = tree.level_ptr.tolist()
    return z, level, [p[:, :, a:b] for a, b in pairwise(ends)]


def _square(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of the squares of all numbers, float64."""
    return torch.stack([t.detach().double().square().sum() for t in tensors]).sum()


def _listed(rows: list[Any]) -> Found:
    return {key: [float(row[i]) for row in rows] for i, key in enumerate(("r2", "low", "high"))}


def _told(tally: Tally) -> Found:
    """A mean and its interval."""
    return {key: x.tolist() for key, x in zip(("value", "low", "high"), tally.estimates(), strict=True)}
