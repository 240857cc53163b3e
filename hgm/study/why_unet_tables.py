"""The numbers of the study of U-Nets in rows, in prose and in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hgm.study.finding import Table
from hgm.study.why_unet_figures import name_of
from hgm.study.why_unet_results import Mean, Results, Runs

__all__ = ["SHOWN", "in_a_row", "listed", "plain", "plus_minus", "ratios", "sigmas", "tables"]

SHOWN = (0.5, 1.0, 2.0, 4.0)  # levels of noise in prose


def plus_minus(mean: Mean) -> str:
    """A mean and half of its interval."""
    half = (mean.high - mean.low) / 2
    if mean.value < 1e-5:
        return f"{mean.value:.1g}"
    return f"{mean.value:.4f} ± {half:.4f}"


def sigmas() -> str:
    """The levels of noise in prose."""
    return "/".join(f"{s:g}" for s in SHOWN)


def listed(runs: Runs) -> str:
    """The excess at the shown levels of noise, with intervals."""
    means = dict(zip(runs.noise, runs.means(), strict=True))
    return ", ".join(plus_minus(means[s]) for s in SHOWN if s in means)


def in_a_row(levels: Sequence[Mapping[str, float]]) -> str:
    """The excess of a restricted optimum at the shown levels of noise."""
    return ", ".join(f"{row['excess']:.4f}" for row in levels if row["noise"] in SHOWN)


def ratios(one: Runs, other: Runs) -> str:
    """How many times as much excess one has as the other."""
    return ", ".join(f"{one.at(s).value / other.at(s).value:.1f}" for s in SHOWN if s in one.noise)


def tables(results: Results) -> list[Table]:
    """By tree: the excess of all networks and limits, and the parts of those that see a window."""
    made = []
    for tree in dict.fromkeys(key.tree for key in results.runs):
        runs = results.of_tree(tree)
        noise = runs[0].noise
        rows = [["the optimum itself", *("",) * 3, *(f"{x:.4f}" for x in runs[0].levels[0, :, 1])]]
        for one in runs:
            about = [f"{one.of('parameters'):,.0f}", f"{one.of('multiply_adds'):,.0f}", str(len(one.found))]
            rows.append([name_of(one.key.network) + _control(one), *about, *(plus_minus(mean) for mean in one.means())])
        for cell, found, _ in results.cells:
            if cell["tree"] == tree and cell.get("ablation", "bits") != "bits":
                values = [f"{row['excess']:.4f}" for row in found["levels"]]
                rows.append([f"*exact*: {_lacks(cell)}", *("",) * 3, *values])
        head = ["network", "parameters", "multiply-adds", "seeds", *(f"sigma {s:g}" for s in noise)]
        made.append(Table(f"Excess, {tree}", head, rows))
        parted = [one for one in runs if results.bound(one)]
        body = []
        for one in parted:
            cells = [f"{part.limit:.4f} + {part.training:.4f}" for part in results.parts(one)]
            body.append([name_of(one.key.network) + _control(one), *cells])
        if body:
            made.append(Table(f"Limit + training, {tree}", ["network", *(f"sigma {s:g}" for s in noise)], body))
    return made


def _control(runs: Runs) -> str:
    """What is not as in the main runs."""
    parts = [("compute", runs.key.share), ("parameters", runs.key.size)]
    said = ", ".join(f"{times:g}× {what}" for what, times in parts if times != 1)
    return f" ({said})" if said else ""


def _lacks(cell: Mapping[str, Any]) -> str:
    if cell["ablation"] == "window":
        return f"window of {2 * cell['radius'] + 1}"
    return f"skips silent below level {cell['level']}" if cell["ablation"] == "skips" else cell["ablation"]


def plain(results: Results, runs: Runs) -> dict[str, Any]:
    """Runs as JSON."""
    parts = [
        {"noise": p.noise, "excess": p.excess._asdict(), "limit": p.limit, "training": p.training}
        for p in results.parts(runs)
    ]
    return runs.key._asdict() | {"seeds": len(runs.found), "radius": runs.radius, "levels": parts}
