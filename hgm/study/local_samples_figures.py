"""Pictures of what restricted denoisers draw, of the scales at which it breaks, and of what it costs along a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.study.local_samples_found import named
from hgm.viz.style import GREY, INK, LINE, PALETTE, dress, require_matplotlib, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hgm.study.local_samples_found import Found

__all__ = ["figures_of"]

WIDE = 7.1  # inches: a page shows such a picture at its own size
NATS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)  # ticks

#: the four symbols: they have no order in the tree
SYMBOLS = (PALETTE[8], PALETTE[5], "#f0e8d0", PALETTE[1])


def figures_of(found: Found) -> dict[str, Figure]:
    """By the name of their file."""
    require_matplotlib()
    pictured = [name for name, model in found.trees.items() if len(model.arity) == 2]
    largest = max(pictured, key=lambda name: found.trees[name].depth)
    first = next(iter(found.trees))
    return {
        "samples": _samples(found, largest),
        "scales": _scales(found),
        "costs": _costs(found, first),
    }


def _color(found: Found, tree: str, f: str) -> str:
    """Windows are blue, blocks red, darker the larger they are; the rest has a colour of its own."""
    kind = f.partition(" ")[0]
    if kind == "exact":
        return GREY
    if kind == "blind":
        return PALETTE[2]
    family = [g for g in found.denoisers(tree) if g.startswith(kind)]
    tones = shades(PALETTE[0] if kind == "window" else PALETTE[1], len(family))
    return tones[family.index(f)] if kind == "block" else tones[len(family) - 1 - family.index(f)]


def _samples(found: Found, tree: str) -> Figure:
    """Some samples of each denoiser, one row each."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    model = found.trees[tree]
    rows = [("exact samples", found.exact[tree])]
    for f in found.denoisers(tree):
        run = found.last(tree, f)
        if run is not None:
            rows.append((named(f, model) + (" denoiser" if f == "exact" else ""), run))
    columns = len(rows[0][1]["pictures"])
    figure = Figure(figsize=(1.35 + 0.72 * columns, 0.76 * len(rows)), facecolor="white")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    figure.subplots_adjust(
        left=1.3 / figure.get_figwidth(), right=0.995, top=0.99, bottom=0.01, wspace=0.07, hspace=0.07
    )
    for line, (name, held) in zip(axes, rows, strict=True):
        for axis, picture in zip(line, held["pictures"], strict=True):
            axis.imshow(
                np.array(picture),
                cmap=ListedColormap(SYMBOLS),
                vmin=-0.5,
                vmax=3.5,
                interpolation="nearest",
                aspect="equal",
            )
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8, color=INK)
    return figure


def _scales(found: Found) -> Figure:
    """Correlation of leaves by the height of their common ancestor, one panel a tree."""
    from matplotlib.figure import Figure

    rows = -(-len(found.trees) // 2)
    figure = Figure(figsize=(WIDE, 3.3 * rows), facecolor="white", layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).ravel().tolist()
    for left_over in panels[len(found.trees) :]:
        left_over.remove()
    for axis, (tree, model) in zip(panels, found.trees.items(), strict=False):
        heights = np.arange(1, model.depth + 1)
        for f in found.denoisers(tree):
            run = found.last(tree, f)
            if run is not None:
                mean, half = np.array(run["pairs"]).T
                looks: dict[str, Any] = {"color": _color(found, tree, f), "label": named(f, model), "linewidth": LINE}
                axis.errorbar(heights, mean, half, marker="o", markersize=3.5, elinewidth=0.8, **looks)
        closed = [model.correlation(int(h)) for h in heights]
        axis.plot(heights, closed, color=INK, linewidth=LINE, linestyle="--", label="the tree", zorder=5)
        axis.set_xticks(heights)
        _dress(axis, f"{tree}: d λ² = {model.branching:.2f}", "levels up to the common ancestor")
        axis.legend(frameon=False, fontsize=8, handlelength=1.2, labelspacing=0.2, loc="upper right")
    for axis in panels[::2]:
        axis.set_ylabel("correlation of two leaves", fontsize=8, color=INK)
    return figure


def _costs(found: Found, tree: str) -> Figure:
    """Nats as they add up along a run; in all, by the number of steps; and from below, above and by the flow."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE, 6.6), facecolor="white", layout="constrained")
    panels = figure.subplot_mosaic([["along", "totals"], ["bounds", "bounds"]])
    along, totals, bounds = panels["along"], panels["totals"], panels["bounds"]
    model, numbers = found.trees[tree], found.steps(tree)
    denoisers = [f for f in found.denoisers(tree) if f != "exact"]
    finest = len(found.costs[tree, "exact"]["noise"])
    for f in denoisers:
        looks: dict[str, Any] = {"color": _color(found, tree, f), "linewidth": LINE + 0.3, "label": named(f, model)}
        path = found.along(tree, f, finest)
        along.plot(path["noise"], path["restriction"], **looks)
        ends = [found.along(tree, f, n)["restriction"][-1] for n in numbers]
        totals.plot(numbers, ends, marker="o", markersize=3.5, **looks)
        totals.axhline(found.costs[tree, f]["nats"][0], color=looks["color"], linewidth=0.6, linestyle=":")
    grey: dict[str, Any] = {"color": INK, "linewidth": LINE, "linestyle": "--", "label": "steps (exact denoiser)"}
    path = found.along(tree, "exact", finest)
    along.plot(path["noise"], path["steps"], **grey)
    totals.plot(
        numbers, [found.along(tree, "exact", n)["steps"][-1] for n in numbers], marker="o", markersize=3.5, **grey
    )
    along.set_xscale("log")
    along.invert_xaxis()
    totals.set_xscale("log")
    totals.set_yscale("log")
    totals.set_xticks(numbers, [str(n) for n in numbers])
    totals.set_xticks([], minor=True)
    low, high = totals.get_ylim()
    totals.set_yticks([y for y in NATS if low <= y <= high], [f"{y:g}" for y in NATS if low <= y <= high])
    totals.set_yticks([], minor=True)
    _dress(along, f"{tree}: nats so far, {finest} steps", "sigma, from noise to data")
    _dress(totals, "in all (dotted: the limit)", "steps")
    along.set_ylabel("nats", fontsize=8, color=INK)
    along.legend(frameon=False, fontsize=8, loc="upper left")
    _draw_bounds(bounds, found, tree, denoisers)
    bounds.set_xticks(range(len(denoisers)), [named(f, model).replace(" of ", "\n") for f in denoisers])
    _dress(bounds, "KL(tree || samples)", "")
    return figure


def _draw_bounds(axis: Axes, found: Found, tree: str, denoisers: list[str]) -> None:
    shown = {
        "nats, DDPM: at most": ("_", 14),
        "entropies": ("x", 6),
        "flow": ("o", 5),
        "told apart, DDPM: at least": ("^", 5),
    }
    for x, f in enumerate(denoisers):
        cost, flow, run = found.costs[tree, f], found.flows.get((tree, f)), found.last(tree, f)
        found_at = {
            "nats, DDPM: at most": cost["nats"][0],
            "entropies": cost["entropies"][0] if "entropies" in cost else np.nan,
            "flow": flow["kl"][0] if flow else np.nan,
            "told apart, DDPM: at least": run["apart"]["bound"] if run else np.nan,
        }
        if flow:
            axis.errorbar([x], [flow["kl"][0]], [flow["kl"][1]], color=INK, elinewidth=0.8)
        for (name, y), (marker, size), color in zip(
            found_at.items(), shown.values(), (INK, PALETTE[1], INK, PALETTE[0]), strict=True
        ):
            label = name if x == 0 else None
            axis.plot([x], [y], marker, markersize=size, color=color, markerfacecolor="none", label=label)
    axis.set_yscale("symlog", linthresh=1.0)
    axis.set_ylim(-0.1, 500)
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _dress(axis: Axes, title: str, below: str) -> None:
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_xlabel(below, fontsize=8, color=INK)
    dress(axis)
