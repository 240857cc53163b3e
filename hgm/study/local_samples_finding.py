"""What the study of samples from restricted denoisers finds: tables, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hgm.measure.threshold import siblings
from hgm.study.accumulation import accumulated
from hgm.study.cells import Finished
from hgm.study.finding import Finding, Table
from hgm.study.local_samples_figures import figures_of
from hgm.study.scales import Symmetric

__all__ = ["Found", "finding_of", "named"]

STEPS = (5, 10, 25, 50, 125, 250)


class Found:
    """The cells that are finished, by what they are of.

    Args:
        trees: by name.
        done: finished cells.
    """

    def __init__(self, trees: Mapping[str, Symmetric], done: Sequence[Finished]) -> None:
        names = list(dict.fromkeys(one.cell["tree"] for one in done))
        self.trees = {name: trees[name] for name in names}
        self.exact = {one.cell["tree"]: one.found for one in done if one.cell["what"] == "exact samples"}
        self.runs, self.costs, self.flows = (
            {_key(one): one.found for one in done if one.cell["what"] == what} for what in ("run", "cost", "flow")
        )

    def denoisers(self, tree: str) -> list[str]:
        """Those of a tree, in order."""
        return [f for name, f in self.costs if name == tree]

    def last(self, tree: str, f: str, solver: str = "ddpm") -> dict[str, Any] | None:
        """The run with the most steps."""
        steps = [key[3] for key in self.runs if key[:3] == (tree, f, solver)]
        return self.runs[tree, f, solver, max(steps)] if steps else None

    def along(self, tree: str, f: str, steps: int) -> dict[str, list[float]]:
        """What a run costs, added up along it."""
        return accumulated(self.costs[tree, f], steps)

    def steps(self, tree: str) -> list[int]:
        """Numbers of steps whose cost is known."""
        finest = len(next(cost for (name, _), cost in self.costs.items() if name == tree)["noise"])
        return [steps for steps in STEPS if finest % steps == 0]


def _key(one: Finished) -> tuple[Any, ...]:
    return tuple(one.cell[name] for name in ("tree", "denoiser", "solver", "steps") if name in one.cell)[
        : 4 if one.cell["what"] == "run" else 2
    ]


def named(f: str, model: Symmetric) -> str:
    """A denoiser as people call it."""
    kind, _, number = f.partition(" ")
    if kind not in ("window", "block"):
        return f
    if kind == "block" and int(number) == model.depth:
        return "single leaves"
    side = 2 * int(number) + 1 if kind == "window" else model.arity[0] ** (model.depth - int(number))
    size = "x".join([str(side)] * len(model.arity))
    return f"{kind}s of {size}"


def finding_of(trees: Mapping[str, Symmetric], done: Sequence[Finished]) -> Finding:
    """The finding of finished cells."""
    found = Found(trees, done)
    tables: list[Table] = []
    for tree in found.trees:
        tables += [_drawn(found, tree), _costs(found, tree)]
    first = next(iter(found.trees))
    tables += [_steps(found, first), _runs(found, first)]
    paragraphs = [_set_up(found), *_of_statistics(found), _chain(found), *_of_bounds(found), _of_steps(found, first)]
    data = {
        "trees": {name: {"siblings": siblings(model.tree)} for name, model in found.trees.items()},
        "cells": [
            {"cell": one.cell, "found": {key: x for key, x in one.found.items() if key != "pictures"}} for one in done
        ],
        "accumulated": [
            {"tree": tree, "denoiser": f, "steps": steps} | {k: x[-1] for k, x in found.along(tree, f, steps).items()}
            for tree, f in found.costs
            for steps in found.steps(tree)
        ],
    }
    title = "Samples drawn with the best local denoisers"
    return Finding(title, [*paragraphs, LIMITS], tables, data, figures_of(found, named))


LIMITS = (
    "**What this does not show.** The trees are symmetric, with one channel on all edges; the numbers are theirs. The "
    "denoisers are optima of what they see, not trained networks: those are worse, in ways of their own. Bounds from "
    "telling samples apart end at the log of the number of samples, so they say little of large divergences; they also "
    "depend on the features, and a better test could only raise them. Steps are even in log sigma; others lose other "
    "amounts. Of a run's last rounding to symbols nothing is counted, and there sigma is "
    "below 0.2 from 10 steps on. Intervals are of 95%, each by itself."
)


# ---------------------------------------------------------------------- tables


def _pm(x: Sequence[float], digits: int = 2) -> str:
    return f"{x[0]:.{digits}f} ± {x[1]:.{digits}f}"


def _drawn(found: Found, tree: str) -> Table:
    """Statistics of the run with the most steps."""
    model = found.trees[tree]
    heights = range(1, model.depth + 1)
    head = ["", "log p", *(f"{h} up" for h in heights), "seam", "apart", "bound, nats"]
    closed = [f"{model.correlation(h):.3f}" for h in heights]
    rows = [["closed form", _pm(found.exact[tree]["log_p"]), *closed, closed[-1], "", ""]]
    seen = [("exact samples", found.exact[tree])]
    for f in found.denoisers(tree):
        for solver in ("ddpm", "ddim"):
            run = found.last(tree, f, solver)
            if run is not None:
                seen.append((f"{named(f, model)}, {solver.upper()}", run))
    for name, run in seen:
        apart = run["apart"]
        rows.append(
            [
                name,
                _pm(run["log_p of samples"]),
                *(_pm(x, 3) for x in run["pairs"]),
                _pm(run["seams"][0], 3),
                f"{apart['hit']:.2f} of {apart['false']:.2f}",
                f"{apart['bound']:.2f}",
            ]
        )
    return Table(f"{tree}: samples, and correlations of leaves whose ancestor is so many levels up", head, rows)


def _costs(found: Found, tree: str) -> Table:
    """Nats at most and at least."""
    model = found.trees[tree]
    head = ["", "at least", "flow", "nats", "entropies", "restriction", "steps"]
    rows = []
    for f in found.denoisers(tree):
        cost, flow, run = found.costs[tree, f], found.flows.get((tree, f)), found.last(tree, f)
        along = found.along(tree, f, len(cost["noise"]))
        rows.append(
            [
                named(f, model),
                "" if run is None else f"{run['apart']['bound']:.2f}",
                "" if flow is None else _pm(flow["kl"]),
                _interval(cost["nats"]) if "nats" in cost else "0",
                _pm(cost["entropies"]) if "entropies" in cost else "",
                f"{along['restriction'][-1]:.2f}",
                f"{along['steps'][-1]:.2f}",
            ]
        )
    return Table(f"{tree}: KL(tree || samples) in nats, {len(cost['noise'])} steps", head, rows)


def _interval(x: Sequence[float]) -> str:
    return f"{x[0]:.2f} ({x[1]:.2f} to {x[2]:.2f})"


def _steps(found: Found, tree: str) -> Table:
    """The two parts of the cost by number of steps."""
    model, numbers = found.trees[tree], found.steps(tree)
    exact = [f"{found.along(tree, 'exact', n)['steps'][-1]:.2f}" for n in numbers]
    rows = [["steps themselves (exact denoiser)", *exact, "0"]]
    for f in found.denoisers(tree):
        if f != "exact":
            adds = [f"{found.along(tree, f, n)['restriction'][-1]:.2f}" for n in numbers]
            rows.append([f"restriction: {named(f, model)}", *adds, f"{found.costs[tree, f]['nats'][0]:.2f}"])
    return Table(f"{tree}: nats by number of steps of DDPM", ["", *map(str, numbers), "limit"], rows)


def _runs(found: Found, tree: str) -> Table:
    """Log p of samples by number of steps."""
    model = found.trees[tree]
    numbers = sorted({key[3] for key in found.runs if key[0] == tree and key[2] == "ddpm"})
    rows = []
    for f in found.denoisers(tree):
        runs = [found.runs[tree, f, "ddpm", n] for n in numbers]
        rows.append([named(f, model), *(f"{_pm(run['log_p of samples'], 1)}" for run in runs)])
    title = f"{tree}: mean log p of samples (exact ones: {_pm(found.exact[tree]['log_p'])}), by number of steps"
    return Table(title, ["", *map(str, numbers)], rows)


# ---------------------------------------------------------------------- words


def _set_up(found: Found) -> str:
    parts = [f"{name} {min(siblings(model.tree)):.2f}" for name, model in found.trees.items()]
    return (
        "**The trees** are symmetric, of four symbols with values from -1.5 to 1.5. Their d lambda², the same at every "
        f"level: {', '.join(parts)}; above 1, the leaves tell of the root however far it is. Samples are drawn by the "
        "samplers of `hgm.diffusion`, with the best denoiser that sees a window around each leaf, a block of the tree, "
        "or no level of noise; and with the exact one, in the same steps, which is what the others are held against."
    )


def _of_statistics(found: Found) -> list[str]:
    """Where correlations break, for windows and blocks, on every tree."""
    told = []
    for tree, model in found.trees.items():
        parts = []
        for f in found.denoisers(tree):
            run = found.last(tree, f)
            if run is None or f in ("exact", "blind"):
                continue
            kept = [f"{x[0] / model.correlation(h):.2f}" for h, x in enumerate(run["pairs"], 1)]
            parts.append(f"{named(f, model)} {', '.join(kept)}")
        exact = found.last(tree, "exact")
        assert exact is not None
        kept = [f"{x[0] / model.correlation(h):.2f}" for h, x in enumerate(exact["pairs"], 1)]
        told.append(
            f"**{tree}.** Correlation of two leaves, as a share of the tree's, for a common ancestor 1, 2, ... levels "
            f"up: {'; '.join(parts)}; with the exact denoiser {', '.join(kept)}."
        )
    return told


def _chain(found: Found) -> str:
    """Blocks: everything is known three times."""
    parts = []
    for (tree, f), cost in found.costs.items():
        if "entropies" not in cost:
            continue
        flow, run = found.flows.get((tree, f)), found.last(tree, f)
        more = f", {_pm(flow['kl'])} by the flow" if flow else ""
        reverse = ""
        if run is not None:
            p, h = run["log_p of samples"], cost["block entropies"]
            reverse = f"; the other way, KL(samples || tree), {-p[0] - h[0]:.1f} ± {(p[1] ** 2 + h[1] ** 2) ** 0.5:.1f}"
        parts.append(
            f"{tree}, {named(f, found.trees[tree])}: {_interval(cost['nats'])} by adding up errors, "
            f"{_pm(cost['entropies'])} by entropies{more}{reverse}"
        )
    return (
        "**Blocks: the whole chain.** The sampled law is the product of the blocks' marginals, so KL(tree || samples) is "
        f"the sum of the blocks' entropies less the tree's. In nats: {'. '.join(parts)}."
    )


def _of_bounds(found: Found) -> list[str]:
    """Windows, and blind denoisers: between a bound from below and one from above; and the deterministic sampler."""
    between, flows = [], []
    for (tree, f), cost in found.costs.items():
        if f == "exact" or "entropies" in cost:
            continue
        run, flow = found.last(tree, f), found.flows.get((tree, f))
        name = f"{tree}, {named(f, found.trees[tree])}"
        if run is not None:
            along = found.along(tree, f, len(cost["noise"]))
            most = along["restriction"][-1] + along["steps"][-1]
            between.append(f"{name}: at least {run['apart']['bound']:.2f}, at most {most:.2f}")
        if flow is not None:
            (kl, half), (_, low, high) = flow["kl"], cost["nats"]
            how = "above" if kl - half > high else "below" if kl + half < low else "not told from"
            flows.append(f"{name}: {_pm(flow['kl'])}, {how} {_interval(cost['nats'])}")
    told = [
        "**Windows are no law's denoiser,** so their samples' law is not known in closed form. With confidence 95% "
        "KL(tree || samples of DDPM) is at least what it takes to tell the two apart so well, and it is at most what the "
        f"steps add up to, in nats. {'. '.join(between)}."
    ]
    if flows:
        told.append(
            "**The bound is of the stochastic sampler.** The probability flow with the same denoiser draws from another "
            "law, and that it has the same bound is true only of denoisers of a law. Its KL, by its own log likelihood, "
            f"beside the nats: {'. '.join(flows)}."
        )
    return told


def _of_steps(found: Found, tree: str) -> str:
    """How the cost goes with the number of steps, and where along a run it arises."""
    model, numbers = found.trees[tree], found.steps(tree)
    lost = [found.along(tree, "exact", n)["steps"][-1] for n in numbers]
    shrinks = [a / b / (m / n) for (a, b), (n, m) in zip(pairwise(lost), pairwise(numbers), strict=True)]
    parts = []
    for f in found.denoisers(tree):
        if f == "exact":
            continue
        along = found.along(tree, f, numbers[-1])
        half = next(
            x for x, y in zip(along["noise"], along["restriction"], strict=True) if y >= along["restriction"][-1] / 2
        )
        few, many = (found.along(tree, f, n)["restriction"][-1] for n in (numbers[0], numbers[-1]))
        parts.append(f"{named(f, model)} {few:.2f} and {many:.2f}, half of it above sigma {half:.2g}")
    return (
        f"**Steps, {tree}.** The exact denoiser loses {', '.join(f'{x:.2f}' for x in lost)} nats in "
        f"{', '.join(map(str, numbers))} steps, at the end nearly as 1 over their number (the last two have a ratio of "
        f"{shrinks[-1]:.2f} times that). Long steps also make more of what a restriction costs, because an error is "
        f"kept until the next one; in {numbers[0]} and in {numbers[-1]} steps it adds {'; '.join(parts)}."
    )
