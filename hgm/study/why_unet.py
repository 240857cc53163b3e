"""The study of U-Nets: what trained networks lose, and how much of it is the exact limit of what they see.

Networks of equal size are trained with equal compute on data of trees whose optimum is known, and measured against it:

    excess  =  limit                                +  training
               of the best function of what it         all the rest: E|f - x|² of the network beyond that
               sees (`hgm.ablate`), exact

Compute is counted in multiply-adds of forward passes, `COMPUTE` for all: from what one row costs follows how many steps
of a batch that is. So a cell says all that its result depends on, and the same seed gives the same network. Compiled
networks, which have few weights, take as many steps as the U-Net.

Cells stand in the order of their importance, and the finding is written after each group of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from hgm.ablation.kinds import ablate
from hgm.baselines import BASELINES, Problem, describe, make
from hgm.bp.posterior import infer
from hgm.evidence.ambient import seeded
from hgm.evidence.channels import Gaussian
from hgm.learn.loop import train
from hgm.measure.gap import compare
from hgm.measure.support import receptive_field
from hgm.networks.compile import compile
from hgm.study.cells import Cell, finished
from hgm.study.inside import effective, gradient_norms, probes
from hgm.study.registry import study
from hgm.study.why_unet_finding import finding
from hgm.study.why_unet_results import Results
from hgm.tree.tree import Tree
from hgm.zoo.layered import broadcast

__all__ = ["COMPUTE", "MAIN", "NOISE", "TREES", "limit", "measure", "plan", "radius_of", "run", "training"]

#: d lambda² is 2.56, 0.64, 1.62 and 1.92; the last is for --quick
TREES: dict[str, partial[Tree]] = {
    "above": partial(broadcast, 4, 4, (2, 2), eps=0.15),
    "below": partial(broadcast, 4, 4, (2, 2), eps=0.45),
    "line": partial(broadcast, 7, 4, 2, eps=0.075),
    "thirds": partial(broadcast, 4, 4, 3, eps=0.15),
    "small": partial(broadcast, 3, 4, (2, 2), eps=0.15),
}

NOISE = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
TOLD = (0.15, 15.0)  # sigma in training, log-uniform: a tenth and ten times half the range of the values

PARAMETERS = 100_000
COMPUTE = 360_000_000_000  # multiply-adds of forward passes: some two minutes of one core for the U-Net
BATCH, RATE = 32, 3e-3
SAMPLES, SEED = 500, 1  # of the measurement, the same for all

MAIN = ("compiled", "unet", "autoencoder", "unet_flat", "cnn_5", "cnn_9", "cnn_21")
TRAINED = MAIN[1:]
#: all others, but for CNNs of windows between those of the main ones and, of compiled networks of ReLUs, any: a step of
#: theirs takes ten times as long
REST = (
    "unet_cut_0", "unet_cut_1", "unet_cut_2", "unet_added", "unet_narrow", "unet_narrow_2", "unet_narrow_1",
    "unet_blind", "unet_told_once", "unet_haar", "transformer", "standard", "standard_convolutional",
    "compiled_random", "cnn_1", "cnn_3",
)  # fmt: skip
SHARES = {0.5: 2, 0.25: 1, 0.125: 1}  # of compute, to see what risk it buys, and how many seeds
INSIDE = (0.5, 2.0)  # levels of noise at which networks are looked into


# ------------------------------------------------------------------------------ cells


def plan(quick: bool = False) -> Iterator[list[Cell]]:
    """The cells, group by group, the most important first."""
    if quick:
        yield [training("small", name, 0, share=1e-3) for name in ("unet", "autoencoder", "cnn_3")]
        yield limits("small", ("cnn_3",), levels=(1,))
        return
    for seed in range(5):
        yield [training("above", name, seed, inside=seed < 2 and name != "compiled") for name in MAIN]
        if seed == 0:
            yield limits("above", [*TRAINED, *REST], levels=(1, 2, 3))
    for tree, coarsest in (("below", 1), ("line", 4)):
        yield [training(tree, name, seed, 0.5) for seed in range(2) for name in MAIN]
        yield limits(tree, TRAINED, levels=(coarsest,))
    yield [training("above", name, 0, 3) for name in ("unet_flat", "cnn_9", "cnn_21", "autoencoder", "unet")]
    yield [training("above", name, 0, 3, size=3) for name in ("cnn_9", "autoencoder")]
    yield [training("thirds", name, seed, 0.5) for seed in range(2) for name in ("unet", "unet_thirds", "unet_flat")]
    curve = ("unet", "unet_flat", "autoencoder", "cnn_21")
    yield [
        training("above", name, seed, share)
        for share, seeds in SHARES.items()
        for seed in range(seeds)
        for name in curve
    ]
    yield [training("above", name, seed, 0.5) for seed in range(2) for name in REST]
    yield [training("above", name, 0, 1, size=0.25) for name in ("unet_flat", "cnn_21", "unet")]


def training(tree: str, network: str, seed: int, share: float = 1, size: float = 1, inside: bool = False) -> Cell:
    """A cell that trains a network.

    Args:
        tree: one of `TREES`.
        network: one of `hgm.baselines.names`.
        seed: of the weights, the data and their noise.
        share: of the compute that all have.
        size: how many times the parameters that all have.
        inside: whether it is looked into.
    """
    parameters, cost = _sizes(tree, network, size)
    _, told = _sizes(tree, "unet", size) if _exact(network) else (0, cost)
    cell: Cell = {"tree": tree, "network": network, "seed": seed, "share": share, "size": size}
    cell |= {"parameters": parameters, "steps": max(1, round(share * COMPUTE / (told * BATCH)))}
    cell |= {"batch": BATCH, "rate": RATE, "samples": SAMPLES if tree != "small" else 100}
    return cell | ({"inside": True} if inside else {})


def limit(tree: str, ablation: str, **given: Any) -> Cell:
    """A cell that finds a restricted optimum: the arguments are those of `hgm.ablate`; or ``"bits"``, see `_bits`."""
    return {"tree": tree, "ablation": ablation, **given, "samples": SAMPLES if tree != "small" else 100}


def limits(tree: str, networks: Any, levels: tuple[int, ...]) -> list[Cell]:
    """The limits of what networks see, and what silent skips give below some levels."""
    radii = {radius_of(_narrow(tree, name)) for name in networks if not _exact(name)} - {None}
    cells = [limit(tree, "window", radius=radius) for radius in sorted(radii)]  # type: ignore[type-var]
    cells += [limit(tree, what, level=level) for what in ("skips", "bits") for level in levels]
    return cells + ([limit(tree, "blind")] if "unet_blind" in networks else [])


@cache
def _tree(name: str) -> Tree:
    return TREES[name]()


def _channel(tree: Tree) -> Gaussian:
    """Values one apart, around 0."""
    states = int(tree.cardinality.max())
    return Gaussian([s - (states - 1) / 2 for s in range(states)])


def _exact(network: str) -> bool:
    return network.startswith("compiled")


@cache
def _sizes(tree: str, network: str, size: float = 1) -> tuple[int, int]:
    """Parameters to ask for, and multiply-adds of one row. Compiled networks are as large as they are."""
    if _exact(network):
        found = describe(_narrow(tree, network))
        return found["parameters"], found["multiply_adds"]
    of, parameters = _tree(tree), round(PARAMETERS * size)
    return parameters, describe(make(network, of, _channel(of), parameters=parameters))["multiply_adds"]


def _narrow(tree: str, network: str) -> nn.Module:
    """A network of the least width: the smallest there is that sees as much."""
    of = _tree(tree)
    with seeded(0):
        return BASELINES[network].recipe(Problem(of, _channel(of)), 1)


def radius_of(net: Any) -> int | None:
    """How far an output sees at most, in positions along an axis; ``None`` where one sees everything.

    It is found at the first and the last corner. What changes its resolution sees further from some places in a cell of
    the coarsest one than from others: all of these are looked at, along the diagonal.
    """
    far, shape = 0, net.leaf_shape
    for i in range(min(getattr(net, "multiple", 1), *shape)):
        for at in (tuple(i for _ in shape), tuple(n - 1 - i for n in shape)):
            seen = receptive_field(net, at=at, inputs=2)
            far = max(far, int(np.abs(np.argwhere(seen.support) - np.array(at)).max(initial=0)))
        if far >= max(shape) - 1:
            return None
    return far


# ------------------------------------------------------------------------------ measurement


def measure(cell: Cell) -> dict[str, Any]:
    """What is found in a cell: the excess by level of noise, and of networks how they were trained."""
    tree = _tree(cell["tree"])
    return _restricted(cell, tree) if "ablation" in cell else _trained(cell, tree)


def _restricted(cell: Cell, tree: Tree) -> dict[str, Any]:
    given: dict[str, Any] = {name: cell[name] for name in ("radius", "level") if name in cell}
    if cell["ablation"] == "blind":
        given["noise"] = np.geomspace(*TOLD, 41)  # the prior that it is trained with, at the middle of its cells
        given["weights"] = np.r_[0.5, np.ones(39), 0.5] / 40
    if cell["ablation"] == "bits":
        return {"levels": _bits(cell)}
    return {"levels": _levels(ablate(tree, cell["ablation"], channel=_channel(tree), **given), cell, tree)}


def _bits(cell: Cell) -> list[dict[str, float]]:
    """What the leaves below a node of a level say about it, by noise: log2 S less the entropy of its posterior.

    In these trees all are alike: what is below a node is a tree of its own, whose root is uniform.
    """
    of = TREES[cell["tree"]]
    below = of.func(of.args[0] - cell["level"], *of.args[1:], **of.keywords)
    root, channel = compile(below, "classify", channel=_channel(below)), _channel(below)
    x = infer(below).sample(cell["samples"], generator=torch.Generator().manual_seed(SEED)).leaves
    rows = []
    for noise in NOISE:
        p = root(
            channel.table()[x] + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(SEED)), noise
        )
        bits = np.log2(p.shape[1]) + (p * p.clamp_min(1e-30).log2()).sum(1)
        rows.append({"noise": noise, "bits": float(bits.mean())})
    return rows


def _trained(cell: Cell, tree: Tree) -> dict[str, Any]:
    channel, seed = _channel(tree), cell["seed"]
    net = make(cell["network"], tree, channel, parameters=cell["parameters"], seed=seed)
    start = time.process_time()
    run = train(
        net, tree, channel=channel, noise=TOLD, steps=cell["steps"], batch_size=cell["batch"],
        learning_rate=cell["rate"], validation=256, every=-(-cell["steps"] // 10), seed=seed, progress=False,
    )  # fmt: skip
    seconds = time.process_time() - start
    found: dict[str, Any] = {"levels": _levels(net, cell, tree), "radius": radius_of(net), "seconds": round(seconds, 1)}
    found |= describe(net)
    found["compute"] = found["multiply_adds"] * cell["steps"] * cell["batch"]
    found["history"] = [[row.step, row.loss, row.validation] for row in run.history]
    if cell.get("inside"):
        found["inside"] = _inside(net, tree, channel)
    return found


def _levels(net: Any, cell: Cell, tree: Tree) -> list[dict[str, float]]:
    """Noise, optimum, excess and the ends of its interval."""
    gap = compare(net, tree, channel=_channel(tree), noise=NOISE, n=cell["samples"], seed=SEED)
    return [row._asdict() for row in gap.levels]


def _inside(net: nn.Module, tree: Tree, channel: Gaussian) -> dict[str, Any]:
    """Beliefs in the activations, gradients of the layers, and what the outputs use."""
    return {
        "probes": [probes(net, tree, channel, sigma) for sigma in INSIDE],
        "gradients": gradient_norms(net, tree, channel, TOLD),
        "effective": [effective(net, tree, channel, sigma) for sigma in INSIDE],
    }


# ------------------------------------------------------------------------------ all of it


@study("why-unet")
def run(out: str | os.PathLike[str], *, quick: bool = False, workers: int = 2) -> Results:
    """Why a U-Net: what trained networks lose, beside the exact limit of what they see.

    Writes ``study.md``, ``study.json``, figures, and ``cells.jsonl``; with what is done so far after each group.

    Args:
        out: the folder; made if needed.
        quick: only three small networks, hardly trained.
        workers: processes, of one thread each.
    """
    done: dict[str, Any] = {}
    for group in plan(quick):
        for one in finished(group, measure, out, workers):
            done[str(one.cell)] = one
        results = Results(list(done.values()))
        finding(results, {name: _tree(name) for name in TREES if results.of_tree(name)}).write(out)
    for paragraph in finding(results, {}).paragraphs:
        print(paragraph, end="\n\n")
    return results
