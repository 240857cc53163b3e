"""What the study of U-Nets finds, in words and tables. All numbers are of the cells; what is missing is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hgm.measure.threshold import siblings
from hgm.study.finding import Finding
from hgm.study.why_unet_figures import figures, name_of
from hgm.study.why_unet_inside import inside, inside_tables
from hgm.study.why_unet_more import bottleneck, cuts, free, others, stride, time
from hgm.study.why_unet_results import Results, Runs, crossing
from hgm.study.why_unet_tables import SHOWN, in_a_row, listed, plain, ratios, sigmas, tables
from hgm.tree.tree import Tree

__all__ = ["finding"]

TITLE = "Why a U-Net: trained networks beside the exact limits of what they see"


def finding(results: Results, trees: Mapping[str, Tree]) -> Finding:
    """All that the finished cells say.

    Args:
        results: the cells.
        trees: the models of the cells, by name.
    """
    said = [
        _set_up(results, trees), _windows(results), _skips(results), cuts(results), _resolutions(results),
        _equal_risk(results), _below(results), time(results), bottleneck(results), stride(results), others(results),
        free(results), _longer(results), _bounds(results), inside(results), _not_shown(results),
    ]  # fmt: skip
    data = {
        "cells": [{"cell": cell, "found": _short(found), "seconds": seconds} for cell, found, seconds in results.cells],
        "siblings": {name: siblings(tree) for name, tree in trees.items()},
        "runs": [plain(results, runs) for runs in results.runs.values()],
        "beaten": dict(zip(("checks", "where"), results.beaten(), strict=True)),
    }
    paragraphs = [text for text in said if text]
    return Finding(TITLE, paragraphs, [*tables(results), *inside_tables(results)], data, figures(results))


# ------------------------------------------------------------------------------ paragraphs


def _set_up(results: Results, trees: Mapping[str, Tree]) -> str:
    about = []
    for name, tree in trees.items():
        each = siblings(tree)
        says = f"{min(each):.3g}" if max(each) - min(each) < 1e-9 else f"{min(each):.3g} to {max(each):.3g}"
        about.append(f"*{name}*, {' × '.join(map(str, tree.leaf_shape))} leaves, d lambda² {says} at every level")
    trained = [runs for runs in results.runs.values() if not runs.key.network.startswith("compiled")]
    sizes = [runs.of("parameters") for runs in trained if runs.key.size == 1]
    hours = sum(seconds for *_, seconds in results.cells) / 3600
    seeds = max((len(runs.found) for runs in trained), default=0)
    if not trained:
        return ""
    main = results.get(results.base, "unet") or trained[0]
    return (
        f"**Set-up.** Trees: {'; '.join(about)}. {len(results.runs)} networks and settings, up to {seeds} seeds each, "
        f"{min(sizes):,.0f} to {max(sizes):,.0f} parameters, fresh data in every step. All have the same compute, "
        f"{main.of('compute') / main.key.share:.3g} multiply-adds of forward passes, or the share of it that is "
        f"named; for the U-Net that is {main.of('seconds') / main.key.share:.0f} s of one core. The excess is E|f − "
        "D|² per leaf, D the exact posterior mean, on the same samples for all networks. Intervals are of 95%, over "
        f"seeds and samples. All cells took {hours:.2f} hours of one core."
    )


def _windows(results: Results) -> str:
    """How much of a plain CNN's excess is its window."""
    unet, said = results.get(results.base, "unet"), []
    for name in ("cnn_1", "cnn_3", "cnn_5", "cnn_9", "cnn_21"):
        runs = results.get(results.base, name)
        if runs is None or results.bound(runs) is None:
            continue
        parts = {part.noise: part for part in results.parts(runs)}
        at = [parts[s] for s in SHOWN if s in parts]
        shares = ", ".join(f"{max(0.0, min(p.limit / p.excess.value, 1)):.0%}" for p in at)
        less = "" if runs.key.share == 1 else ", half of the compute"
        said.append(f"{name_of(name)}{less}: excess {listed(runs)}, of which the window is {shares}")
    if not said:
        return ""
    beside = f" The U-Net has {listed(unet)}." if unet else ""
    over = _surpassed(results, unet)
    return (
        f"**Why not a plain CNN?** At sigma {sigmas()}, {'; '.join(said)}.{beside}{over} What is called the window "
        "is exact: no CNN of any width, depth or training that sees no more has less. The rest is training, and "
        "might be less with more of it; the runs with more compute say how much."
    )


def _surpassed(results: Results, unet: Runs | None) -> str:
    """The largest window whose best possible function the trained U-Net beats, by noise."""
    if unet is None:
        return ""
    said = []
    for noise in unet.noise:
        mean, widest = unet.at(noise), None
        for cell, found, _ in results.cells:
            if cell.get("ablation") == "window" and cell["tree"] == results.base:
                row = next(row for row in found["levels"] if row["noise"] == noise)
                if mean.high < row["low"]:
                    widest = max(widest or 0, 2 * cell["radius"] + 1)
        if widest:
            said.append(f"of {widest} positions at sigma {noise:g}")
    return (
        f" It is nearer to the optimum than the best function of any kind of a window {', '.join(said)}."
        if said
        else ""
    )


def _skips(results: Results) -> str:
    unet, without = results.get(results.base, "unet"), results.get(results.base, "autoencoder")
    if unet is None or without is None:
        return ""
    silent = results.limit(results.base, "skips", level=1)
    beside = (
        f" The exact beliefs of the coarsest resolution, decoded without skips, have {in_a_row(silent)}: what a "
        "bottleneck costs that carries beliefs and nothing more. It is no bound, since a trained one may carry more."
        if silent
        else ""
    )
    return (
        f"**What are the skips for?** Without any, at equal parameters and compute, the excess at sigma {sigmas()} is "
        f"{listed(without)}; with them {listed(unet)}: {ratios(without, unet)} times as much.{beside}"
        f"{_control(results, 'autoencoder')}"
    )


def _resolutions(results: Results) -> str:
    unet, flat = results.get(results.base, "unet"), results.get(results.base, "unet_flat")
    if unet is None or flat is None:
        return ""
    return (
        f"**What are several resolutions for?** Without down-sampling, at equal parameters, one row costs "
        f"{flat.of('multiply_adds') / unet.of('multiply_adds'):.1f} times as many multiply-adds; its outputs see "
        f"everything, so no information is missing and all of its excess is training. With equal compute, at sigma "
        f"{sigmas()}: {listed(flat)}, the U-Net {listed(unet)}: {ratios(flat, unet)} times as much."
        f"{_control(results, 'unet_flat')}"
    )


def _equal_risk(results: Results) -> str:
    curve = results.curve(results.base, "unet")
    said = []
    for name in ("unet_flat", "cnn_21", "autoencoder"):
        mine = results.curve(results.base, name)
        if len(curve) < 2 or not mine:
            continue
        compute, risk = mine[-1]
        met = crossing(curve, risk.value)
        if met is not None:
            least = "" if met[1] else "more than "
            said.append(f"{name_of(name)} {least}{compute / met[0]:.0f} times ({risk.value:.4f})")
    if not said:
        return ""
    return (
        "**Compute at equal risk.** To come to the mean excess that each has after its longest run, the U-Net needs "
        f"fewer multiply-adds by these factors: {'; '.join(said)}. Runs of different length are runs of their own, "
        "each with its own schedule of the learning rate."
    )


def _below(results: Results) -> str:
    worst = []
    for runs in results.of_tree("below"):
        share = max(m.value / o for m, o in zip(runs.means(), runs.levels[0, :, 1], strict=True))
        worst.append(f"{name_of(runs.key.network)} {share:.1%}")
    if not worst:
        return ""
    window = results.limit("below", "window", radius=2)
    exact = f" The exact limit of 5x5 is {max(r['excess'] / r['optimum'] for r in window):.2%} there." if window else ""
    line = [f"{name_of(r.key.network)} {listed(r)}" for r in results.of_tree("line")]
    one = f" In 1-D above it, at sigma {sigmas()}: {'; '.join(line)}." if line else ""
    return (
        f"**Below the threshold** (d lambda² < 1) the largest excess over all noise, as a share of the optimum, is: "
        f"{', '.join(worst)}.{exact} There a few pixels around say all there is to say, and networks that see more "
        f"have nothing to gain: what tells them apart is how fast they train.{one}"
    )


def _longer(results: Results) -> str:
    said = []
    for key, runs in results.runs.items():
        base = results.get(key.tree, key.network, 1)
        if (key.share > 1 or key.size != 1) and base is not None:
            size = "" if key.size == 1 else f", {key.size:g} times the parameters"
            share = "" if key.share == 1 else f", {key.share:g} times the compute"
            said.append(f"{name_of(key.network)}{share}{size}: {listed(runs)} ({listed(base)})")
    if not said:
        return ""
    return (
        "**Is it only too little training, or too small a network, or too large?** One seed each, in brackets as "
        f"before, at sigma {sigmas()}: {'; '.join(said)}. Fewer parameters make a row cheaper, and so a training of "
        "more steps."
    )


def _bounds(results: Results) -> str:
    count, where = results.beaten()
    if not count:
        return ""
    says = "nowhere below its limit's" if not where else f"below its limit's {len(where)} times ({'; '.join(where)})"
    return (
        f"**Are the limits kept?** In {count} pairs of a trained network and a level of noise the network sees "
        f"a window only, and its interval over samples was {says}."
    )


def _not_shown(results: Results) -> str:
    if not results.runs:
        return ""
    return (
        "**What this does not show.** One family of trees, with symmetric channels and values on a line; small "
        "images; one optimiser, one learning rate and one batch size for all networks; two minutes of training each. "
        "Equal compute means fewer steps for a network that is dearer per row, and equal parameters mean that it is "
        "dearer: a narrower network at full resolution would take more steps. Exact limits do not depend on any of "
        "this."
    )


def _control(results: Results, name: str) -> str:
    """Whether three times the compute makes good for what a network lacks."""
    longer, unet = results.get(results.base, name, 3), results.get(results.base, "unet")
    if longer is None or unet is None:
        return ""
    pairs = [(longer.at(s), unet.at(s)) for s in SHOWN]
    still = all(one.low > other.high for one, other in pairs)
    says = ", still above the U-Net's: too short a training does not explain it alone" if still else ""
    return f" With three times the compute (one seed) it comes to {listed(longer)}{says}."


def _short(found: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is summed up elsewhere."""
    return {name: value for name, value in found.items() if name != "inside"}
