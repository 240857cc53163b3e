"""The trainings of the study of samples: each cell is one network, trained on n samples, and what it is worth.

erm         the compiled ConvNet (task classify) or U-Net (denoise) with free weights, trained by its own loss
grammar     a ConvNet whose layers are those of the tree, trained to classify strings of a Random Hierarchy Model
diffusion   a U-Net of the same kind, trained to fill in erased symbols; what it knows of each level, and what it draws
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.baselines.free import compiled, compiled_random
from hgm.baselines.problem import Problem
from hgm.bp.posterior import infer
from hgm.diffusion.ancestral import unmask
from hgm.errors import BadPotential
from hgm.evidence.ambient import seeded
from hgm.evidence.channels import Clamp, Erasure, Gaussian
from hgm.learn.loop import train
from hgm.measure.gap import compare
from hgm.study.cells import Cell
from hgm.study.grammar import obeyed, unused
from hgm.study.strided import Shape, StridedConvNet, StridedUNet
from hgm.tree.potential import Edge
from hgm.tree.tree import Tree
from hgm.zoo.draw import stochastic
from hgm.zoo.hierarchy import Level, ghm
from hgm.zoo.layered import rhm

__all__ = ["BASE", "ONE", "RATES", "SIDES", "cells", "measure", "noisy_copies", "quick_cells", "tree_of"]

ENDLESS = 10000  # samples for the empirical risk of a training whose samples never end
RATES = (0.05, 0.02, 0.005)  # of learning, the first whose weights stay in the range of a compiled network's kernels
NOISE = 0.5  # sigma of the denoisers, whose values are -1 to 1
TEST = 4000  # strings that a classifier is tested on
DRAWN = 1000  # strings that are drawn from a diffusion model
HELD = 512  # strings that decide when its training stops

#: how much a child keeps of its parent: d lambda^2 above 1 and below
SIDES = (0.8, 0.4)
#: the tree of the excess risks, which one thing at a time is changed in
BASE = {"keep": SIDES[0], "L": 3, "S": 3, "m": 2}
#: settings of a training by gradient descent that finds the least empirical risk: see `Cell`s with other numbers
ERM = {"part": "erm", "start": "random", "steps": 1200}
GRAMMAR = {"part": "grammar", "v": 8, "classes": 8, "steps": 800}
DIFFUSION = {"part": "diffusion", "v": 8, "L": 3, "steps": 3000, "patience": 6}

SEEDS = (0, 1, 2)
SIZES = (100, 300, 1000, 3000, 10000)
ONE = 1000  # samples where something else is changed
CHANGED = {"L": (1, 2, 4), "S": (2, 4, 6), "m": (3, 4)}
#: m, L and classes of the grammars
GRAMMARS = ((4, 2, 8), (6, 2, 8), (8, 2, 8), (4, 2, 4), (4, 2, 16), (2, 3, 8), (3, 3, 8), (4, 3, 8))
RATIOS = (0.5, 1, 2, 4, 8, 16)  # n / (classes m^L)
RULES = (2, 3, 4, 5)  # m of the diffusion models
STRINGS = (8, 32, 128, 512, 2048, 8192, 32768)


def cells() -> Iterator[Cell]:
    """All trainings of the full study, those of one seed after the other."""
    for seed in SEEDS:
        for task in ("classify", "denoise"):
            one = {**ERM, "task": task, **BASE, "seed": seed}
            yield from ({**one, "n": n} for n in SIZES)
            for start in ("random", "exact"):
                part = {**one, "n": ONE, "start": start}
                yield from ({**part, name: x} for name, values in CHANGED.items() for x in values)
            yield from ({**one, "n": n, "keep": SIDES[1]} for n in SIZES[::2])
            yield from ({**one, "n": n, "start": "exact"} for n in SIZES[::2])
            yield from ({**one, "n": n, "steps": 2 * ERM["steps"]} for n in (SIZES[0], SIZES[-1]))  # type: ignore[operator]
            yield {**one, "n": None}
        for m, depth, classes in GRAMMARS:
            for ratio in RATIOS:
                yield {**GRAMMAR, "m": m, "L": depth, "classes": classes, "n": _times(ratio, classes, m, depth)} | {
                    "seed": seed
                }
        for ratio in RATIOS[:4]:
            twice = {**GRAMMAR, "m": 4, "L": 3, "n": _times(ratio, 8, 4, 3), "steps": 2 * GRAMMAR["steps"]}  # type: ignore[operator]
            yield {**twice, "seed": seed}
        yield from ({**DIFFUSION, "m": m, "n": n, "seed": seed} for m in RULES for n in STRINGS)
        yield {**DIFFUSION, "m": RULES[-1], "n": STRINGS[-1], "steps": 2 * DIFFUSION["steps"], "seed": seed}  # type: ignore[operator]


def quick_cells() -> Iterator[Cell]:
    """A few trainings of seconds, of every kind."""
    for seed in (0, 1):
        for task in ("classify", "denoise"):
            one = {**ERM, "task": task, **BASE, "L": 2, "seed": seed, "steps": 30}
            yield from ({**one, "n": n} for n in (100, 300, 1000))
            yield {**one, "n": 1000, "start": "exact"}
        for m in (2, 3):
            for ratio in (0.5, 2):
                n = _times(ratio, 8, m, 2)
                yield {**GRAMMAR, "m": m, "L": 2, "n": n, "steps": 30, "seed": seed}
        for n in (64, 1024):
            yield {**DIFFUSION, "m": 3, "L": 2, "n": n, "steps": 40, "seed": seed}


def _times(ratio: float, classes: int, m: int, depth: int) -> int:
    """That many times classes m^L samples."""
    return round(ratio * classes * m**depth)


def tree_of(cell: Cell) -> Tree:
    """The model, which is drawn anew for every seed."""
    if cell["part"] == "erm":
        return noisy_copies(cell["L"], cell["S"], cell["m"], cell["keep"], cell["seed"])
    return rhm(cell["v"], cell["m"], 2, cell["L"], classes=cell.get("classes"), seed=cell["seed"])


def noisy_copies(depth: int, states: int, arity: int, keep: float, seed: int) -> Tree:
    """A layered model of the paper, tied by position: a child keeps its parent's state, or is drawn from a law of it.

    ``psi = keep I + (1 - keep) T``, with the rows of T Dirichlet(1), drawn for each level and position among siblings.
    """
    rng = np.random.default_rng(seed)
    drawn = [keep * np.eye(states) + (1 - keep) * stochastic(rng, arity, states, states) for _ in range(depth)]
    return ghm([Level(arity, states, [Edge(table) for table in tables]) for tables in drawn], states)


def measure(cell: Cell) -> dict[str, Any]:
    """Train, and measure."""
    return {"erm": _excess, "grammar": _error, "diffusion": _known_levels}[cell["part"]](cell)


def _excess(cell: Cell) -> dict[str, Any]:
    """The excess risk of a compiled network, and its interval over test data; empirical risks, its and the truth's.

    What ends above the empirical risk of the true weights has not found the least empirical risk.
    """
    tree, seed, task = tree_of(cell), cell["seed"], cell["task"]
    classify = task == "classify"
    channel = Erasure() if classify else Gaussian(np.linspace(-1, 1, cell["S"]).tolist())
    noise = 0.0 if classify else NOISE  # of erasure nothing is erased
    problem = Problem(tree, channel, task)
    x, y = _strings(tree, cell["n"] or ENDLESS, torch.Generator().manual_seed(seed))
    data: Any = tree if cell["n"] is None else (x, y) if classify else x
    settings: dict[str, Any] = dict(steps=cell["steps"], validation=0, seed=seed, progress=False)
    settings |= dict(task=task, noise=noise, batch_size=min(len(x), 256))
    for rate in RATES:
        with seeded(seed):
            net = {"random": compiled_random, "exact": compiled}[cell["start"]](problem, 1)
        try:
            train(net, data, learning_rate=rate, **settings)
            break
        except BadPotential:  # where data are few and the answer is clear, weights run away: a smaller step
            if rate == RATES[-1]:
                raise
    row = compare(net, tree, noise=noise, n=4000, seed=seed + 1).rows()[0]
    risks = {"risk": _risk(net, x, y, seed), "truth": _risk(compiled(problem, 1), x, y, seed)}
    return {**row, **risks, "rate": rate, "weights": sum(p.numel() for p in net.parameters())}


@torch.no_grad()
def _risk(net: Any, x: Tensor, y: Tensor, seed: int) -> float:
    """The empirical risk: of leaves ``(n, d)`` and roots ``(n,)``; of a denoiser at one draw of the noise."""
    if net.task == "classify":
        return float(-net(x, outputs="log_posterior").gather(1, y.unsqueeze(1)).mean())
    clean = net.channel.table()[x].to(net.dtype)
    z = clean + NOISE * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed), dtype=net.dtype)
    return float((net(z, NOISE) - clean).square().mean())


def _error(cell: Cell) -> dict[str, Any]:
    """The share of new strings whose class is wrong, of those that it was trained on, and how many were new."""
    tree, seed = tree_of(cell), cell["seed"]
    generator = torch.Generator().manual_seed(seed)
    (x, y), (test, truth) = _strings(tree, cell["n"], generator), _strings(tree, TEST, generator)
    with seeded(seed):
        net = StridedConvNet(Shape(cell["v"], 2, cell["L"], 128), cell["classes"])
    settings: dict[str, Any] = dict(learning_rate=3e-3, batch_size=128, steps=cell["steps"], every=cell["steps"])
    train(net, (x, y), task="classify", channel=Clamp().bound(cell["v"]), seed=seed, progress=False, **settings)
    new = ~_known(test, x)
    with torch.no_grad():
        wrong, learned = net(test[new]).argmax(1) != truth[new], net(x).argmax(1) == y
    return {"error": float(wrong.double().mean()) if len(wrong) else 0.0, "new": len(wrong)} | {
        "trained": 1 - float(learned.double().mean())
    }


def _known_levels(cell: Cell) -> dict[str, Any]:
    """What is unused at each level; of strings that are drawn, nodes that could obey a rule and that do, and copies."""
    tree, seed = tree_of(cell), cell["seed"]
    generator = torch.Generator().manual_seed(seed)
    (x, _), (held, _) = _strings(tree, cell["n"], generator), _strings(tree, HELD, generator)
    with seeded(seed):
        net = StridedUNet(Shape(cell["v"], 2, cell["L"], 64))
    settings: dict[str, Any] = dict(learning_rate=3e-3, batch_size=128, steps=cell["steps"], every=100)
    settings |= dict(validation=held, patience=cell["patience"], seed=seed, progress=False)
    trained = train(net, x, task="posterior", channel=Erasure().bound(cell["v"]), **settings)
    nothing = torch.full((DRAWN, *tree.leaf_shape), -1)
    with torch.no_grad():
        *_, drawn = unmask(net, nothing, [1] * nothing.shape[1], generator=generator)
    could, do = obeyed(tree, drawn)
    found = {
        "unused": unused(tree, net, held),
        "could": could.tolist(),
        "do": do.tolist(),
        "copied": float(_known(drawn, x).double().mean()),
    }
    return {**found, "steps": trained.steps}


def _strings(tree: Tree, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Leaves ``(n, d)`` and roots ``(n,)``."""
    drawn = infer(tree).sample(n, generator=generator)
    return drawn.leaves, drawn[tree.names[int(tree.roots[0])]]


def _known(rows: Tensor, among: Tensor) -> Tensor:
    """``(B,)`` whether each row is one of others."""
    have = {tuple(row) for row in among.tolist()}
    return torch.tensor([tuple(row) in have for row in rows.tolist()], dtype=torch.bool)
