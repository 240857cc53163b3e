"""What the study of samples from restricted denoisers finds, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hgm.measure.threshold import siblings
from hgm.study.cells import Finished
from hgm.study.finding import Finding
from hgm.study.local_samples_figures import figures_of
from hgm.study.local_samples_found import Found, named
from hgm.study.local_samples_tables import interval, pm, tables_of
from hgm.study.scales import Symmetric

__all__ = ["finding_of"]

SMALLEST = 0.02  # correlation that is held against another


def finding_of(trees: Mapping[str, Symmetric], done: Sequence[Finished]) -> Finding:
    """The finding of finished cells."""
    found = Found(trees, done)
    first = next(iter(found.trees))
    paragraphs = [
        _in_short(found),
        _set_up(found),
        *_of_statistics(found),
        _chain(found),
        *_of_bounds(found),
        _of_steps(found, first),
    ]
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
    return Finding(title, [*paragraphs, LIMITS], tables_of(found), data, figures_of(found))


LIMITS = (
    "**What this does not show.** The trees are symmetric, with one channel on all edges; the numbers are theirs. The "
    "denoisers are optima of what they see, not trained networks: those are worse, in ways of their own. Bounds from "
    "telling samples apart end at the log of the number of samples, so they say little of large divergences; they also "
    "depend on the features, and a better test could only raise them. Steps are even in log sigma; others lose other "
    "amounts. Of a run's last rounding to symbols nothing is counted, and there sigma is "
    "below 0.2 from 10 steps on. Intervals are of 95%, each by itself."
)


def _in_short(found: Found) -> str:
    """The smallest window, on every tree: what is kept of near and far, what is lost, and whether it can be seen."""
    told = []
    for tree, model in found.trees.items():
        f = next(name for name in found.denoisers(tree) if name.startswith("window"))
        run, cost, entropy = found.last(tree, f), found.costs[tree, f], -found.exact[tree]["log_p"][0]
        if run is not None:
            (near, _), (far, _) = run["pairs"][0], run["pairs"][-1]
            told.append(
                f"on {tree} with {named(f, model)} leaves of one parent are correlated by {near:.3f} (the tree: "
                f"{model.correlation(1):.3f}), those that meet at the root by {far:.3f} "
                f"({model.correlation(model.depth):.3f}), for {cost['nats'][0]:.2f} nats of {entropy:.1f}, of which "
                f"{run['apart']['bound']:.2f} can be proven from the samples"
            )
    return (
        "**In short.** A local denoiser, though every step of it is as good as can be, draws mosaics: what it sees at "
        "once is nearly right, and what lies further apart is nearly independent. In numbers: "
        f"{'; '.join(told)}."
    )


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
            if run is not None:
                closed = [model.correlation(h) for h in range(1, model.depth + 1)]
                kept = [pm([y / c for y in x]) for x, c in zip(run["pairs"], closed, strict=True) if c > SMALLEST]
                parts.append(f"{named(f, model)} {', '.join(kept)}")
        told.append(
            f"**{tree}.** Correlation of two leaves in samples of DDPM, as a share of the tree's, for a common "
            f"ancestor 1, 2, ... levels up (where the tree's is above {SMALLEST}): {'; '.join(parts)}."
        )
    return told


def _chain(found: Found) -> str:
    """Blocks: everything is known three times; the other way from samples of DDIM, which steps change less."""
    first, parts, apart = next(iter(found.trees)), [], []
    for (tree, f), cost in found.costs.items():
        if "entropies" not in cost:
            continue
        flow, run = found.flows.get((tree, f)), found.last(tree, f, "ddim")
        (truth, half), (nats, low, high) = cost["entropies"], cost["nats"]
        apart.append(abs(nats - truth) / (half**2 + (high - low) ** 2 / 4) ** 0.5)
        if flow is not None:
            apart.append(abs(flow["kl"][0] - truth) / (half**2 + flow["kl"][1] ** 2) ** 0.5)
        if tree != first:
            continue
        more = f", {pm(flow['kl'])} by the flow" if flow is not None else ""
        if run is not None:
            p, h = run["log_p of samples"], cost["block entropies"]
            more += f"; KL(samples || tree), of DDIM, {-p[0] - h[0]:.1f} ± {(p[1] ** 2 + h[1] ** 2) ** 0.5:.1f}"
        parts.append(
            f"{named(f, found.trees[tree])}: {interval(cost['nats'])} by adding up errors, {pm(cost['entropies'])} by "
            f"entropies{more}"
        )
    return (
        "**Blocks: the whole chain.** In steps without end the sampled law is the product of the blocks' marginals, so "
        f"KL(tree || samples) is the sum of the blocks' entropies less the tree's. In nats, on {first}: "
        f"{'. '.join(parts)}. Of all {len(apart)} comparisons with entropies, on all trees (tables), the largest "
        f"difference is {max(apart):.2f} of the half of its 95% interval."
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
            ends = [found.last(tree, f, solver) for solver in ("ddpm", "ddim")]
            log_p = " and ".join(pm(end["log_p of samples"], 1) for end in ends if end is not None)
            flows.append(
                f"{name}: {pm(flow['kl'])}, {how} {interval(cost['nats'])}; mean log p of samples of DDPM and DDIM "
                f"{log_p}"
            )
    told = [
        "**Windows are the denoisers of no law,** so that of their samples is not known in closed form, nor is that of "
        "the blind. With confidence 95%, KL(tree || samples of DDPM) is at least what it takes to tell the two apart "
        "as well as a logistic regression does, and it is at most what the steps add up to (restriction and steps), in "
        f"nats. {'. '.join(between)}."
    ]
    if flows:
        told.append(
            "**The nats bound the stochastic sampler.** The probability flow with the same denoiser draws from another "
            "law. For that they need be no bound, unless the denoiser is that of a law. Its KL in nats, by its own log "
            f"likelihood and without an error of steps, beside them: {'. '.join(flows)}."
        )
    return told


def _of_steps(found: Found, tree: str) -> str:
    """How the cost goes with the number of steps, and where along a run it arises."""
    model, numbers = found.trees[tree], found.steps(tree)
    lost = [found.along(tree, "exact", n)["steps"][-1] for n in numbers]
    shrinks = lost[-2] / lost[-1] / (numbers[-1] / numbers[-2])
    runs = sorted((key[3], run) for key, run in found.runs.items() if key[:3] == (tree, "exact", "ddpm"))
    apart = ", ".join(f"{run['apart']['bound']:.2f} in {n}" for n, run in runs)
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
        f"**Steps, {tree}.** The exact denoiser loses at most {', '.join(f'{x:.2f}' for x in lost)} nats in "
        f"{', '.join(map(str, numbers))} steps, at the end nearly as 1 over their number (the last two have a ratio of "
        f"{shrinks:.2f} times that). That bounds paths from above; what is drawn is bounded from below by {apart} "
        "steps. Long steps also make more of what a restriction costs, because an error is kept until the next one; in "
        f"{numbers[0]} and in {numbers[-1]} steps it adds {'; '.join(parts)}."
    )
