"""The study of samples from restricted denoisers: what is drawn when every step is as good as a local network can be.

Four ways to look at the same runs, on symmetric trees (`hgm.study.scales`) above and below the threshold:

    statistics    of samples, scale by scale, beside closed forms; pictures
    bound         KL(tree || samples) at least, from how well samples are told from the tree's own
    cost          nats at most, added up step by step along the run (`hgm.study.accumulation`)
    flow          KL of what a deterministic sampler draws, by its own log likelihood (`hgm.diffusion.flow_log_prob`)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hgm.ablation.kinds import ablate
from hgm.bp.posterior import infer
from hgm.diffusion.exact import Exact
from hgm.diffusion.flow import flow_log_prob
from hgm.diffusion.process import VarianceExploding
from hgm.diffusion.sampler import sample
from hgm.diffusion.schedulers import levels, scheduler
from hgm.measure.gap import compare
from hgm.measure.nearest import as_symbols
from hgm.measure.quality import quality
from hgm.networks.compile import compile
from hgm.networks.heads import UNet
from hgm.study.cells import Cell, finished
from hgm.study.local_samples_finding import finding_of
from hgm.study.registry import study
from hgm.study.scales import Symmetric, correlations, informations, seams
from hgm.study.told_apart import told_apart

__all__ = ["TREES", "denoiser", "measure", "noise_of", "run", "schedule_of"]

#: above the threshold d lambda^2 = 1 and below it, on grids and in a row
TREES = {
    "8x8 above": Symmetric(3, (2, 2), 0.8),
    "8x8 below": Symmetric(3, (2, 2), 0.4),
    "row above": Symmetric(6, (2,), 0.8),
    "row below": Symmetric(6, (2,), 0.4),
    "16x16 above": Symmetric(4, (2, 2), 0.8),
}

#: sigma at which runs end and begin, and half the range of the values
LOW, HIGH, HALF = 0.1, 60.0, 1.5

START = 1e-9  # the time at which flows start: `LOW`, to rounding
BLIND = 50  # levels of noise that a blind denoiser thinks possible
SHOWN = 8  # samples in a picture
EXACT = 20_000  # samples for entropies, at most


class Plan(NamedTuple):
    """What is measured on a tree.

    Attributes:
        denoisers: by name (`denoiser`).
        runs: scheduler and steps of each.
        n: samples of each.
        levels: of noise at which errors are measured: the steps of a run.
        few: samples for errors.
        flows: samples of windows whose log likelihood by the flow is computed; of blocks, which are quicker, four times
            as many.
    """

    denoisers: tuple[str, ...]
    runs: tuple[tuple[str, int], ...]
    n: int
    levels: int
    few: int
    flows: int = 0


LOCAL, SHORT = ("exact", "window 1", "block 2", "block 3"), (("ddpm", 125), ("ddim", 125))
PLANS = {
    "8x8 above": Plan(
        ("exact", "window 1", "window 2", "block 1", "block 2", "block 3", "blind"),
        (("ddpm", 1), ("ddpm", 10), ("ddpm", 50), ("ddpm", 250), ("ddim", 250)),
        *(800, 250, 200, 400),
    ),
    "8x8 below": Plan(LOCAL, SHORT, 800, 125, 200, 200),
    "row above": Plan(("exact", "window 3", "window 7", "block 2", "block 4", "block 6"), SHORT, 800, 125, 200, 200),
    "row below": Plan(("exact", "window 1", "block 4", "block 6"), SHORT[:1], 800, 125, 200),
    "16x16 above": Plan(
        ("exact", "window 1", "window 3", "block 2", "block 3", "block 4", "blind"), (("ddpm", 125),), 200, 125, 100
    ),
}
QUICK = {
    "8x8 above": Plan(LOCAL[:3], (("ddpm", 50),), 60, 50, 20),
    "8x8 below": Plan(LOCAL[:2], (("ddpm", 50),), 60, 50, 20),
}


def cells(plans: Mapping[str, Plan]) -> list[Cell]:
    """What is measured: exact samples of every tree, runs of every denoiser, and their costs."""
    found: list[Cell] = []
    for tree, plan in plans.items():
        found.append({"what": "exact samples", "tree": tree, "n": plan.n})
        for f, (solver, steps) in product(plan.denoisers, plan.runs):
            found.append({"what": "run", "tree": tree, "denoiser": f, "solver": solver, "steps": steps, "n": plan.n})
        for f in plan.denoisers:
            found.append({"what": "cost", "tree": tree, "denoiser": f, "steps": plan.levels, "n": plan.few})
            if f != "exact" and plan.flows:
                n = plan.flows * (4 if f.startswith("block") else 1)
                found.append({"what": "flow", "tree": tree, "denoiser": f, "n": n})
    return [cell | {"seed": 0} for cell in found]


def denoiser(model: Symmetric, name: str) -> UNet:
    """A denoiser by its name: ``"exact"``, ``"blind"``, or ``"window"`` with a radius, ``"block"`` with a level."""
    kind, _, number = name.partition(" ")
    if kind == "exact":
        return compile(model.tree, "denoise", channel=model.channel)  # type: ignore[return-value]
    if kind == "blind":
        return ablate(model.tree, "blind", channel=model.channel, noise=noise_of(schedule_of("ddpm", BLIND)))
    given = {"radius": int(number)} if kind == "window" else {"level": int(number)}
    return ablate(model.tree, kind, channel=model.channel, **given)  # type: ignore[arg-type]


def schedule_of(solver: str, steps: int) -> Any:
    """A scheduler with steps even in log sigma, set to so many; levels of fewer steps are among those of more."""
    made = scheduler(solver, VarianceExploding(LOW / HALF, HIGH / HALF), timestep_spacing="trailing")
    made.set_timesteps(steps)
    return made


def noise_of(made: Any) -> list[float]:
    """Sigma of what a denoiser is shown at every step, in units of the values."""
    found = (levels(made, number, t) for number, t in enumerate(made.timesteps))
    return [HALF * float(sigma / alpha) for alpha, sigma in found]


# ---------------------------------------------------------------------- cells


def measure(cell: Cell) -> dict[str, Any]:
    """What a cell finds."""
    model = TREES[cell["tree"]]
    if cell["what"] == "cost":
        return _cost(model, cell)
    if cell["what"] == "flow":
        return _flow(model, cell)
    if cell["what"] == "exact samples":
        log_p = model.log_prob(_draw(model, _many(cell), cell["seed"] + 1))
        return {"log_p": _mean(log_p)} | _statistics(model, _draw(model, cell["n"], cell["seed"] + 2), cell)
    f = denoiser(model, cell["denoiser"])
    generator = torch.Generator().manual_seed(cell["seed"])
    made = schedule_of(cell["solver"], cell["steps"])
    z = sample(f, made, cell["n"], steps=cell["steps"], channel=model.channel, generator=generator)
    read = as_symbols(z, model.tree, model.channel)
    x = read.symbols.reshape(-1, *model.tree.leaf_shape)
    return {"distance": read.mean} | _statistics(model, x, cell)


def _cost(model: Symmetric, cell: Cell) -> dict[str, Any]:
    """The optimum and the excess at the levels of a run, in nats, and for blocks what entropies say."""
    f, n, seed = denoiser(model, cell["denoiser"]), cell["n"], cell["seed"]
    at = compare(
        f, model.tree, channel=model.channel, noise=noise_of(schedule_of("ddpm", cell["steps"])), n=n, seed=seed
    )
    rows = at.rows()
    found: dict[str, Any] = {key: [row[key] for row in rows] for key in ("noise", "optimum", "excess", "low", "high")}
    found["leaves"] = at.leaves
    if cell["denoiser"] != "exact":
        whole = compare(f, model.tree, channel=model.channel, n=4 * n, seed=seed)
        assert whole.nats is not None
        found |= {"nats": list(whole.nats), "last octave": whole.last_octave}
    kind, _, level = cell["denoiser"].partition(" ")
    if kind == "block":
        x = _draw(model, _many(cell), seed + 1)
        apart = model.log_prob(x) - model.log_prob_of_blocks(x, int(level))
        found |= {"entropies": _mean(apart), "block entropies": _mean(-model.log_prob_of_blocks(x, int(level)))}
    return found


def _flow(model: Symmetric, cell: Cell) -> dict[str, Any]:
    """KL in nats of the tree from the law that the probability flow makes, both at noise `LOW`: E log p(z) - log q(z).

    The trace in log q is estimated, and so is that of the exact denoiser, with the same directions: what that makes of
    log p, whose mean is known, is a control variate.
    """
    process = VarianceExploding(LOW, HIGH)
    exact = Exact(model.tree, process, model.channel)
    x = _draw(model, cell["n"], cell["seed"] + 4)
    z = exact.observe(x, 0.0, generator=torch.Generator().manual_seed(cell["seed"])).double()
    log_p = exact.log_prob(z, 0.0)
    first, second = (
        log_p - _flow_log_prob(denoiser(model, name), z, process, cell["seed"]) for name in ("exact", cell["denoiser"])
    )
    covariance = torch.stack([first, second]).cov()
    beta = float(covariance[0, 1] / covariance[0, 0])
    return {"kl": _mean(second - beta * first), "off": _mean(first), "beta": beta}


def _flow_log_prob(f: UNet, z: Tensor, process: VarianceExploding, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 5)
    given: dict[str, Any] = {"trace": "hutchinson", "tolerance": 1e-4, "generator": generator}
    return torch.cat([flow_log_prob(f.double(), part, START, process, **given) for part in z.split(100)])


def _statistics(model: Symmetric, x: Tensor, cell: Cell) -> dict[str, Any]:
    """Of symbols ``(n, *leaf shape)``: means with half their 95% intervals, the bound, and a few to look at."""
    pairs, siblings, across, log_p = correlations(x, model.arity), model.siblings(x), seams(x), model.log_prob(x)
    other = _draw(model, len(x), cell["seed"] + 3)
    apart = told_apart(_features(model, other), _features(model, x))
    held = quality(x, model.tree, reference=1024)
    return {
        "log_p of samples": _mean(log_p),
        "pairs": _means(pairs),
        "information": informations(x, model.arity).tolist(),
        "siblings": _means(siblings),
        "seams": _means(across),
        "apart": apart._asdict(),
        "quality": [{key: row[key] for key in ("name", "estimate", "expected", "p", "kl")} for row in held.rows()],
        "pictures": x[:SHOWN].tolist(),
    }


def _features(model: Symmetric, x: Tensor) -> Tensor:
    parts = model.log_prob(x)[:, None], correlations(x, model.arity), model.siblings(x), seams(x)
    return torch.cat(parts, 1)


def _many(cell: Cell) -> int:
    """Exact samples for entropies."""
    return min(EXACT, 200 * int(cell["n"]))


def _draw(model: Symmetric, n: int, seed: int) -> Tensor:
    return infer(model.tree).sample(n, generator=torch.Generator().manual_seed(seed)).leaves


def _mean(x: Tensor) -> list[float]:
    return [float(x.mean()), 1.96 * float(x.std()) / len(x) ** 0.5]


def _means(x: Tensor) -> list[list[float]]:
    return [_mean(column) for column in x.T]


@study("local-samples")
def run(out: str | os.PathLike[str], *, quick: bool = False) -> None:
    """Samples drawn with the best local denoisers: what is right, what is not, and how the errors of steps add up.

    Writes ``study.md``, ``study.json``, three figures, and ``cells.jsonl`` as it goes.

    Args:
        out: the folder; made if needed.
        quick: fewer and smaller runs.
    """
    finding_of(TREES, finished(cells(QUICK if quick else PLANS), measure, out)).write(out)
