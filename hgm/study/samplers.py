"""The study of samplers: what schedulers and steps cost, with the exact denoiser, hence free of a network's error.

Two questions, on a 1-D and a 2-D model of 64 leaves, whose nine values are from -1 to 1:

    bias        E log p of a sampler's samples, read as the nearest symbols, minus that of exact samples, in nats
    distance    from a deterministic sampler's state to where the probability flow takes the same noise, at a sigma of
                half the gap between values: root mean square over leaves. It falls as steps^-order

The flow itself is followed from no signal at all, in u = z / sigma and s = 1 / sigma, in which it is smooth:

    dz/dsigma = (z - E[x | z]) / sigma        so        du/ds = E[x | z = u / s],    u = g at s = 0

It is followed to noise of half a gap only where distances are measured: further down a leaf decides between symbols
within ever shorter times, and every solver crosses there with steps that are too long.

Log p of single samples is spread over several nats. What the flow makes of the same noise has the exact mean, and is
nearly what a good sampler makes of it: a control variate, which makes intervals up to ten times narrower.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.diffusion.process import VarianceExploding
from hgm.diffusion.sampler import sample
from hgm.diffusion.schedulers import NAMES, scheduler
from hgm.diffusion.step import Step
from hgm.evidence.channels import Clamp, Gaussian
from hgm.networks.compile import compile
from hgm.study.cells import Cell, finished
from hgm.study.registry import study
from hgm.study.samplers_figures import Bias, Distance, Found, Order, finding_of
from hgm.tree.tree import Tree
from hgm.zoo.layered import random_ghm

__all__ = ["LOW", "MODELS", "ORDERS", "Model", "biases", "distances", "fitted", "run", "squares"]

VALUES = torch.linspace(-1, 1, 9)
GAP = 0.25

#: the noise at which distances are measured, that at which solvers begin, and that at which a flow is read as symbols
LOW, HIGH, READ = GAP / 2, 80.0, GAP / 12

#: order of the deterministic solvers: DDIM is Euler's method in another variable, DPM-Solver++ has two steps
ORDERS = {"ddim": 1, "euler": 1, "flow": 1, "heun": 2, "dpm++": 2}

#: what makes all runs of a solver begin and end at the same noise; the last time of flow matching is one by its times
OPTIONS: dict[str, dict[str, Any]] = {
    "ddim": {"timestep_spacing": "trailing", "set_alpha_to_one": False},
    "flow": {"num_train_timesteps": round(1 / LOW) + 1},
}

EVALUATIONS = (5, 10, 20, 50, 100, 200, 500)
STEPS = (5, 10, 20, 50, 100, 200)  # divisors of DDIM's 1,000 times
FITTED = 50  # orders are fitted from so many steps on


class Model:
    """A tree whose leaves are seen as values, its exact denoiser, and log p.

    Attributes:
        name: ``"1-D"`` or ``"2-D"``.
        tree: the model.
        denoiser: its compiled U-Net, in float32 as samplers use it.
        precise: the same in float64.
        truth: log p of exact samples: their mean, and its standard error.
    """

    def __init__(self, name: str, tree: Tree, exact: int = 50_000) -> None:
        self.name, self.tree = name, tree
        self.denoiser = compile(tree, "denoise", channel=Gaussian(VALUES))
        self.precise = compile(tree, "denoise", channel=Gaussian(VALUES)).double()
        self._clamped = compile(tree, "posterior", channel=Clamp()).double()
        prior = infer(tree)
        self._log_z = prior.log_partition
        drawn = self.log_prob(prior.sample(exact, generator=_seeded(1)).leaves)
        self.truth = float(drawn.mean()), float(drawn.std()) / exact**0.5

    def log_prob(self, symbols: Tensor) -> Tensor:
        """``(n,)`` log p, in nats, of symbols ``(n, *leaf shape)``."""
        return self._clamped.log_partition(symbols.reshape(-1, *self.denoiser.leaf_shape)) - self._log_z

    def noise(self, n: int) -> Tensor:
        """What `sample` draws first, ``(n, *leaf shape)``: standard normal."""
        return torch.randn((n, *self.denoiser.leaf_shape), generator=_seeded(0))

    def flow(self, u: Tensor, start: float, sigma: float, tolerance: float) -> Tensor:
        """z at noise sigma, float64, on the path of the probability flow through z = start u at noise `start`."""
        from scipy.integrate import solve_ivp

        def slope(s: float, state: np.ndarray) -> np.ndarray:
            s = max(s, 1e-8)
            z = torch.from_numpy(state).reshape(u.shape) / s
            with torch.no_grad():
                return self.precise(z, 1 / s).flatten().numpy()

        first = u.double().flatten().numpy()
        solved = solve_ivp(slope, (1 / start, 1 / sigma), first, "DOP853", rtol=tolerance, atol=tolerance)
        return sigma * torch.from_numpy(solved.y[:, -1]).reshape(u.shape)


#: a binary tree over 64 tokens and a quad-tree over 8x8 pixels
MODELS: dict[str, Callable[[], Model]] = {
    "1-D": lambda: Model("1-D", random_ghm(6, len(VALUES), 2, bound=10.0, seed=0)),
    "2-D": lambda: Model("2-D", random_ghm(3, len(VALUES), (2, 2), bound=10.0, seed=0)),
}


def biases(model: Model, n: int, evaluations: Sequence[int] = EVALUATIONS) -> Iterator[Bias]:
    """The bias of every scheduler of `hgm.diffusion`, as it is by default, for so many calls of the denoiser.

    With log p of the samples, l, and of what the flow makes of the same noise, l', the bias is
    ``E[l - beta l'] - (1 - beta) truth``, where ``beta = cov(l, l') / var(l')``.

    Args:
        model: the model.
        n: samples for each.
        evaluations: how many a sample may take, at most. Heun's method asks twice in a step, but for the last.
    """
    end = model.flow(model.noise(n), inf, READ, 1e-6)
    exact = model.log_prob(_read(model.precise(end, READ)))
    mean, error = model.truth
    for name in NAMES:
        for budget in evaluations:
            steps = (budget + 1) // 2 if name == "heun" else budget
            ends = _Ends()
            z = sample(model.denoiser, scheduler(name), n, steps=steps, generator=_seeded(0), callback=ends)
            found = model.log_prob(_read(z))
            covariance = torch.stack([found, exact]).cov()
            beta = float(covariance[0, 1] / covariance[1, 1])
            rest = found - beta * exact
            bias = float(rest.mean()) - (1 - beta) * mean
            half = 1.96 * (float(rest.var()) / n + ((1 - beta) * error) ** 2) ** 0.5
            yield Bias(model.name, name, steps, ends.last.steps, bias, half)


def squares(
    model: Model, solver: str, steps: Sequence[int], n: int, denoiser: Callable[..., Tensor] | None = None
) -> Tensor:
    """Mean squared distance to the probability flow at noise `LOW`, of every sample: ``(len(steps), n)``.

    Args:
        model: the model.
        solver: a name of `ORDERS`.
        steps: from noise `HIGH` to `LOW`, of flow matching from noise alone.
        n: samples.
        denoiser: in the place of the model's own.
    """
    rows, reference = [], torch.empty(0)
    for count in steps:
        first, z, sigma = _solve(denoiser or model.denoiser, solver, count, n)
        if not len(reference):  # all runs of a solver have the same ends
            reference = model.flow(first.z / first.sigma, first.sigma, sigma, 1e-9)
        rows.append((z - reference).square().flatten(1).mean(1))
    return torch.stack(rows)


def _solve(denoiser: Callable[..., Tensor], solver: str, steps: int, n: int) -> tuple[Step, Tensor, float]:
    """Where a run begins, and its state after so many steps, with its noise: about `LOW`.

    The schedulers go on to no noise at all, with one step more: the state is the last one that the denoiser is shown.
    That of DDIM depends on the number of steps; instead it can be made to end at its first time, with what `sample`
    gives, alpha x + sigma g as values are from -1 to 1.
    """
    ends = _Ends()
    made = scheduler(solver, None if solver == "flow" else VarianceExploding(LOW, HIGH), **OPTIONS.get(solver, {}))
    more = 0 if solver == "ddim" else 1
    y = sample(denoiser, made, n, steps=steps + more, channel=Gaussian(VALUES), generator=_seeded(0), callback=ends)
    if solver == "ddim":
        square = float(made.final_alpha_cumprod)
        return ends.first, y / square**0.5, (1 / square - 1) ** 0.5
    return ends.first, ends.last.z, ends.last.sigma


def distances(model: Model, solver: str, steps: Sequence[int], n: int) -> tuple[list[Distance], Order]:
    """Distances of a solver for each number of steps, and its order, fitted from `FITTED` steps on."""
    found = squares(model, solver, steps, n)
    calls = 2 if solver == "heun" else 1
    rows = [
        Distance(model.name, solver, count, calls * count, float(row.mean().sqrt()))
        for count, row in zip(steps, found, strict=True)
    ]
    late = [i for i, count in enumerate(steps) if count >= FITTED]
    slope, half = fitted([steps[i] for i in late], found[late])
    return rows, Order(model.name, solver, ORDERS[solver], slope, half)


def fitted(steps: Sequence[int], found: Tensor) -> tuple[float, float]:
    """Minus the slope of log root mean square against log steps, and half its 95% interval: a jackknife over samples.

    Args:
        steps: two or more.
        found: `squares` ``(len(steps), n)``.
    """
    n = found.shape[1]
    x = torch.tensor(steps, dtype=torch.float64).log()
    weights = (x - x.mean()) / (x - x.mean()).square().sum()
    without = found.sum(1, keepdim=True) - found  # one by one; factors drop out of slopes
    slopes = -weights @ without.log() / 2
    return float(-weights @ found.mean(1).log() / 2), 1.96 * float(slopes.var() * (n - 1) ** 2 / n) ** 0.5


@study("samplers")
def run(out: str | os.PathLike[str], *, quick: bool = False) -> None:
    """Samplers with the exact denoiser: the bias against evaluations, and the order of every solver.

    Writes ``study.md``, ``study.json``, ``samplers.svg`` and ``cells.jsonl``.

    Args:
        out: the folder; made if needed.
        quick: fewer samples and steps.
    """
    asked = {"n": 200 if quick else 4000, "calls": EVALUATIONS[:4] if quick else EVALUATIONS}
    solved = {"n": 16 if quick else 64, "steps": STEPS[:5] if quick else STEPS}
    cells: list[Cell] = []
    for name in MODELS:
        cells.append({"model": name, "ask": "bias"} | asked)
        cells += [{"model": name, "ask": "order", "solver": solver} | solved for solver in ORDERS]
    done = finished(cells, _measured, out)
    bias = [one.found for one in done if one.cell["ask"] == "bias"]
    order = [one.found for one in done if one.cell["ask"] == "order"]
    finding = finding_of(
        Found(
            dict(zip(MODELS, (tuple(found["truth"]) for found in bias), strict=True)),
            [Bias(**row) for found in bias for row in found["rows"]],
            [Distance(**row) for found in order for row in found["rows"]],
            [Order(**found["order"]) for found in order],
        )
    )
    finding.write(out)
    print("\n\n".join(finding.paragraphs))


def _measured(cell: Cell) -> dict[str, Any]:
    model = MODELS[cell["model"]]()
    if cell["ask"] == "bias":
        return {"truth": model.truth, "rows": [asdict(row) for row in biases(model, cell["n"], cell["calls"])]}
    rows, order = distances(model, cell["solver"], cell["steps"], cell["n"])
    return {"rows": [asdict(row) for row in rows], "order": asdict(order)}


class _Ends:
    """The first and the last step of a run."""

    first: Step
    last: Step

    def __call__(self, step: Step) -> None:
        if step.number == 0:
            self.first = step._replace(z=step.z.clone())
        self.last = step


def _read(z: Tensor) -> Tensor:
    """The nearest symbols."""
    return ((z - VALUES[0]) / GAP).round().clamp(0, len(VALUES) - 1).long()


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
