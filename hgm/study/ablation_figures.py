"""Pictures of the study of ablations: excesses, what levels are worth, what is decided, and how far one must see."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.study.ablation_cells import Asked
from hgm.study.ablation_results import Curve, Results
from hgm.study.ablation_trees import Subject
from hgm.viz.style import INK, LINE, PALE, PALETTE, SHADE, dress, require_matplotlib, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_decided", "draw_excess", "draw_reach", "draw_worth", "threshold"]

SHARES = (0.10, 0.05, 0.01)
TINY = 1e-12
LEFT = 0.15  # the least noise that is drawn
WIDE = 7.1  # inches: a page shows such a picture at its own size
DEEP = 1e-4  # of the highest density


def threshold(siblings: Sequence[float]) -> str:
    """d lambda^2 of a tree, in words: one number, or the smallest and the largest level."""
    low, high = (f"{x:.2f}" for x in (min(siblings), max(siblings)))
    return f"dλ² = {low}" if low == high else f"dλ² = {low} to {high}"


def draw_excess(results: Results, subjects: Sequence[Subject]) -> Figure:
    """Excess as a share of the optimum against noise: a row for each tree; windows, blocks, and skips."""
    figure, axes = _panels(len(subjects), 3, WIDE / 3, 2.3)
    heads = (
        "each output sees only\na window around it\n(a plain CNN of that field)",
        "each output sees only\nthe block that it is in\n(a U-Net without coarser levels)",
        "each output knows only\nbeliefs about its block\n(finer skips are silent)",
    )
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=8, color=INK)
    for i, (subject, row) in enumerate(zip(subjects, axes, strict=True), 1):
        for axis in row:
            _dress(axis, "noise σ" if i == len(axes) else "")
            axis.set_yscale("log")
            axis.minorticks_off()
        for axis in row[:2]:
            axis.set_ylim(1e-4, 20)
            axis.set_yticks([1e-4, 1e-3, 1e-2, 1e-1, 1, 10], ["0.01%", "0.1%", "1%", "10%", "100%", "10 times"])
        row[1].tick_params(labelleft=False)  # as those of row[0]
        row[2].set_ylim(1e-3, 500)
        row[2].set_yticks([1e-3, 1e-2, 1e-1, 1, 10, 100], ["0.1%", "1%", "10%", "100%", "10 times", "100 times"])
        for axis in row:
            axis.axhline(0.01, color=PALE, linewidth=0.8, linestyle=(0, (4, 3)))
        row[0].set_ylabel(f"{subject.name}\n{threshold(results.siblings(subject))}\nexcess / optimum")
        _draw_family(row[0], PALETTE[0], _windows(results, subject))
        blocks = [(subject.block(k), Asked(subject.name, "block", k)) for k in range(subject.depth, 0, -1)]
        _draw_family(row[1], PALETTE[1], [(text, results.curve(asked)) for text, asked in blocks])
        _draw_skips(row[2], results, subject)
    _head(figure, "What is lost by seeing less: excess of the best network, as a share of the optimum")
    return figure


def _windows(results: Results, subject: Subject) -> list[tuple[str, Curve]]:
    alone = (subject.extent(1), results.curve(Asked(subject.name, "block", subject.depth)))
    found = [(subject.extent(2 * r + 1), results.curve(Asked(subject.name, "window", r))) for r in subject.radii]
    return [alone, *found]


def _draw_skips(axis: Axes, results: Results, subject: Subject) -> None:
    """Silent skips of every level, of which the finest and the coarsest have names, and the finest skip cut."""
    curves = [results.curve(Asked(subject.name, "skips", k, nats=False)) for k in reversed(range(subject.depth))]
    tones = shades(PALETTE[2], max(len(curves), 2))
    for curve, tone in zip(curves, tones, strict=False):
        _draw(axis, curve, tone)
    own = results.curve(Asked(subject.name, "own", nats=False))
    _draw(axis, own, PALETTE[3])
    _say(axis, *_point(curves[0], 1.0), f"{subject.block(subject.depth - 1)}  ", PALETTE[2], "right", "top")
    _say(axis, *_point(curves[-1], 2.0), f"  {subject.block(0)}", PALETTE[2], "left")
    x, y = _point(own, 0.0)
    _say(axis, x, y, f"   own {subject.where} unseen", PALETTE[3], "left")


def _point(curve: Curve, noise: float) -> tuple[float, float]:
    """The point of a curve that is nearest to a level of noise."""
    k = int(np.where(curve.seen, np.abs(curve.noise - noise), np.inf).argmin())
    return float(curve.noise[k]), float(curve.excess[k] / curve.optimum[k])


def _draw_family(axis: Axes, color: str, curves: Sequence[tuple[str, Curve]]) -> None:
    """Curves of one kind, from dark to light, each with its name at its top."""
    names = []
    bottom, top = axis.get_ylim()
    for (text, curve), tone in zip(curves, shades(color, max(len(curves), 2)), strict=False):
        middle = _draw(axis, curve, tone)
        inside = np.where((middle > bottom) & (middle < top / 3), middle, 0.0)
        if inside.any():
            k = int(inside.argmax())
            names.append((float(curve.noise[k]), float(inside[k]), text))
    _say_all(axis, names, color)


def _draw(axis: Axes, curve: Curve, color: str) -> np.ndarray:
    """A curve with its interval, where the optimum leaves something; ``(K,)`` what was drawn."""
    middle, low, high = (np.where(curve.seen, x / np.maximum(curve.optimum, TINY), np.nan) for x in curve[2:5])
    middle = np.where(middle > 0, middle, np.nan)
    axis.plot(curve.noise, middle, color=color, linewidth=LINE)
    axis.fill_between(curve.noise, np.maximum(low, TINY), high, color=color, alpha=0.2, linewidth=0)
    return middle


def draw_worth(results: Results, subjects: Sequence[Subject]) -> Figure:
    """What each level adds at which noise, a panel for each tree; the areas are nats if all noise is drawn evenly."""
    figure, panels = _grid(len(subjects), WIDE / 2, 2.9)
    for subject, axis in zip(subjects, panels, strict=True):
        _dress(axis)
        worths = results.worths(subject)[::-1]  # the finest first
        noise = results.curve(Asked(subject.name, "block", 1)).noise
        top = max(*(float(w.density.max()) for w in worths), TINY)
        axis.set_yscale("log")
        axis.minorticks_off()
        axis.set_ylim(DEEP * top, 30 * top)  # with room for the legend
        for w, tone in zip(worths, shades(PALETTE[0], len(worths)), strict=True):
            label = f"{subject.block(w.level)}: {_nats(w.nats)}" if w.density.max() > DEEP * top else None
            axis.plot(noise, np.where(w.density > 0, w.density, np.nan), color=tone, linewidth=LINE, label=label)
        axis.legend(frameon=False, fontsize=8, handlelength=1.2, labelspacing=0.2, loc="upper right")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_ylabel("nats per octave of noise")
        title = f"{_called(results, subject)}\nH(x) = {results.entropy(subject)[0]:.0f} nats"
        axis.set_title(title, fontsize=8, color=INK)
    _head(figure, "What it saves to see blocks of a size in place of their parts, and at which noise")
    return figure


def draw_decided(results: Results, subjects: Sequence[Subject]) -> Figure:
    """The share of a node's entropy that is left, by level, against noise: a panel for each tree."""
    figure, panels = _grid(len(subjects), WIDE / 2, 2.5)
    for subject, axis in zip(subjects, panels, strict=True):
        _dress(axis)
        noise, shares = results.shares(subject)
        for level, tone in enumerate(shades(PALETTE[6], subject.depth + 1)):
            middle, error = shares[:, level].T
            axis.plot(noise, middle, color=tone, linewidth=LINE)
            axis.fill_between(noise, middle - 1.96 * error, middle + 1.96 * error, color=tone, alpha=0.2, linewidth=0)
        axis.axhline(0.5, color=PALE, linewidth=0.8, linestyle=(0, (4, 3)))
        drawn = noise >= LEFT
        for level, height, text in ((0, 0.75, "root"), (subject.depth, 0.25, subject.where + "s")):
            k = int(np.where(drawn, np.abs(shares[:, level, 0] - height), np.inf).argmin())
            _say(axis, max(noise[k], 1.3 * LEFT), shares[k, level, 0], text, PALETTE[6])
        axis.set_ylim(-0.02, 1.08)
        axis.set_yticks([0, 0.5, 1], ["0", "half", "all"])
        axis.set_ylabel("entropy left, of a node")
        axis.set_title(_called(results, subject), fontsize=8, color=INK)
    _head(figure, "Which level is decided at which noise: entropy that is left, given all that is observed")
    return figure


def draw_reach(results: Results, subjects: Sequence[Subject]) -> Figure:
    """How many layers of 3x3 a plain CNN needs, by d lambda^2 and noise, for three shares of the optimum."""
    figure, axes = _panels(1, len(SHARES), WIDE / 3, 2.6)
    levels = results.curve(Asked(subjects[0].name, "window", subjects[0].radii[0], nats=False)).noise
    most = max(max(subject.radii) for subject in subjects)
    for axis, share in zip(axes.ravel(), SHARES, strict=True):
        for row, subject in enumerate(subjects):
            for column, sigma in enumerate(levels):
                need = results.need(subject, float(sigma), share).radius
                depth = min(need / most, 1.0)
                axis.add_patch(_square(column, row, 0.08 + 0.82 * depth))
                text = f"{need:.0f}" if isfinite(need) else f">{most}"
                axis.text(
                    column, row, text, fontsize=8, ha="center", va="center", color="white" if depth > 0.6 else INK
                )
        axis.set_xlim(-0.5, len(levels) - 0.5)
        axis.set_ylim(-0.5, len(subjects) - 0.5)
        axis.set_xticks(range(len(levels)), [f"{sigma:g}" for sigma in levels])
        axis.set_yticks(range(len(subjects)), [f"{max(results.siblings(subject)):.2f}" for subject in subjects])
        axis.set_title(f"within {share:.0%} of the optimum", fontsize=9, color=INK)
        axis.set_xlabel("noise σ", fontsize=8, color=INK)
        axis.tick_params(labelsize=8, length=0, labelcolor=INK)
        for spine in axis.spines.values():
            spine.set_visible(False)
    axes[0, 0].set_ylabel("dλ² (the threshold is 1)", fontsize=8, color=INK)
    _head(figure, "How many 3×3 layers the best possible plain CNN needs")
    return figure


def _square(column: int, row: int, strength: float) -> Any:
    """A square around a place, the darker the stronger."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    color = tuple(1 - strength * (1 - x) for x in to_rgb(PALETTE[0]))
    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=color, linewidth=0)


def _called(results: Results, subject: Subject) -> str:
    return f"{subject.name}, {threshold(results.siblings(subject))}"


# ---------------------------------------------------------------------- what they share


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray[Any, Any]]:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), facecolor="white", layout="constrained")
    axes: np.ndarray[Any, Any] = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def _head(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=10, color=INK, weight="bold")


def _nats(x: float) -> str:
    return f"{x:.2g} nats" if abs(x) < 10 else f"{x:.0f} nats"


def _grid(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """So many panels, up to two in a row."""
    columns = min(2, count)
    figure, axes = _panels(-(-count // columns), columns, width, height)
    for axis in axes.ravel()[count:]:
        axis.set_visible(False)
    return figure, list(axes.ravel()[:count])


def _dress(axis: Axes, label: str = "noise σ") -> None:
    axis.set_xscale("log")
    axis.set_xlim(LEFT, 30)
    axis.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16], ["¼", "½", "1", "2", "4", "8", "16"])
    axis.minorticks_off()
    axis.set_xlabel(label)
    axis.xaxis.label.set(fontsize=8, color=INK)
    axis.yaxis.label.set(fontsize=8, color=INK)
    dress(axis)
    axis.grid(which="major", color=SHADE, linewidth=0.5)
    axis.set_axisbelow(True)


def _say(axis: Axes, x: float, y: float, text: str, color: str, ha: str = "center", va: str = "bottom") -> None:
    # a white ground in the place of a halo, which would be drawn as an outline of every letter
    ground = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.6}
    axis.text(x, y, text, fontsize=8, color=color, ha=ha, va=va, clip_on=False, bbox=ground)


def _say_all(axis: Axes, names: Sequence[tuple[float, float, str]], color: str) -> None:
    """Names at points of logarithmic axes; one that would touch the name above it goes further down."""
    low, high = np.log(axis.get_ylim())
    gap, above = 0.085 * (high - low), np.inf
    for x, y, text in sorted(names, key=lambda name: -name[1]):
        place = min(float(np.log(y)) + 0.015 * (high - low), above - gap)
        above = place
        if place > low:
            _say(axis, x, float(np.exp(place)), text, color)
