"""Pictures of the study of samples: excess risks, errors before and after they collapse, levels that become known."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.study.sample_complexity_laws import SHARES
from hgm.viz.style import GREY, INK, LINE, PALE, PALETTE, dress, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_diffusion", "draw_excess", "draw_grammar"]

Data = dict[str, Any]

KINDS = {
    "random": ("random start", PALETTE[0], "o"),
    "exact": ("exact start", PALETTE[2], "s"),
    "below": ("below the threshold", PALETTE[1], "^"),
}
MARKERS = "os^Dv<>Ph"


def draw_excess(found: Data) -> Figure:
    """Excess risk against n, with slopes of n^-1/2 and n^-1, and against L, S and m."""
    figure, panels = _panels(len(found), 2)
    for row, (task, data) in zip(panels, found.items(), strict=True):
        name = "excess, nats" if task == "classify" else "excess per leaf"
        for kind, curve in data["curves"].items():
            label, color, marker = KINDS[kind]
            _draw(row[0], curve, label, color, marker)
        first = data["curves"]["random"]
        x = np.array(first["x"], dtype=float)
        for power, style in ((-0.5, ":"), (-1.0, "--")):
            start = np.exp(np.log(first["y"]).mean(0)[0])
            row[0].plot(x, start * (x / x[0]) ** power, style, color=GREY, linewidth=LINE, label=f"n^{power:g}")
        _dress(row[0], f"{task}: samples n", name)
        for start, curves in data["of"].items():
            for i, (letter, curve) in enumerate(curves.items()):
                label, style = (letter, "-") if start == "random" else (f"{letter}, exact start", "--")
                _draw(row[1], curve, label, PALETTE[i + 3], MARKERS[i], style)
        _dress(row[1], f"{task}: L, S or m, at n = 1,000", name)
        row[1].set_xticks([1, 2, 3, 4, 6], ["1", "2", "3", "4", "6"])
        row[1].set_xticks([], minor=True)
    return figure


def draw_grammar(found: Data) -> Figure:
    """Test errors, as shares of guessing, against n and against n / (n_c m^L)."""
    figure, ((left, right),) = _panels(1, 2)
    for i, each in enumerate(found["settings"]):
        error = np.mean(each["error"], 0) / (1 - 1 / each["classes"])
        label = f"m {each['m']}, L {each['L']}, n_c {each['classes']}"
        looks: Data = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
        left.plot(each["n"], error, linewidth=LINE, **looks)
        right.plot(np.array(each["n"]) / each["scale"], error, linewidth=LINE, label=label, **looks)
    for axis, title in ((left, "samples n"), (right, "n / (n_c m^L)")):
        _dress(axis, title, "error / error of guessing", log=False)
    return figure


def draw_diffusion(found: Data) -> Figure:
    """By level, the share of what siblings tell that is unused, against n; then what levels need, against m."""
    depth = max(curve["level"] for curve in found["curves"])
    figure, axes = _panels(-(-(depth + 1) // 2), 2)
    *panels, last = axes.ravel()[: depth + 1]
    for left_over in axes.ravel()[depth + 1 :]:
        left_over.remove()
    rules = sorted({curve["m"] for curve in found["curves"]})
    for curve in found["curves"]:
        axis, i = panels[curve["level"] - 1], rules.index(curve["m"])
        _draw(axis, {"x": curve["n"], "y": curve["unused"]}, f"m = {curve['m']}", PALETTE[i], MARKERS[i])
    for level, axis in enumerate(panels, 1):
        for share in SHARES.values():
            axis.axhline(share, color=PALE, linewidth=LINE)
        _dress(axis, f"level {level}: samples n", "unused of what siblings tell")
    for level, (name, style) in product(range(1, depth + 1), (("half", "-"), ("tenth", "--"))):
        have = [c for c in found["curves"] if c["level"] == level and None not in c[name]]
        if have:
            curve = {"x": [c["m"] for c in have], "y": np.array([c[name] for c in have]).T}
            _draw(last, curve, f"level {level}, {name}", PALETTE[level + 4], MARKERS[level], style)
    _dress(last, "samples needed: m", "n")
    last.set_ylim(top=50 * last.get_ylim()[1])  # with room for the legend
    last.set_xticks(rules, [str(m) for m in rules])
    last.set_xticks([], minor=True)
    return figure


def _panels(rows: int, columns: int) -> tuple[Figure, Any]:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.5 * columns, 2.8 * rows), facecolor="white", layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _draw(axis: Axes, curve: Data, label: str, color: str, marker: str, style: str = "-") -> None:
    """The geometric mean over seeds, a line, and every seed as a point."""
    looks: Data = {"color": color, "linewidth": LINE, "linestyle": style, "marker": marker}
    y = np.array(curve["y"])
    axis.plot(curve["x"], np.exp(np.log(y).mean(0)), markersize=4, label=label, **looks)
    for each in y:
        axis.plot(curve["x"], each, ".", color=color, markersize=2.5)


def _dress(axis: Axes, title: str, name: str, log: bool = True) -> None:
    axis.set_xscale("log")
    if log:
        axis.set_yscale("log")
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_ylabel(name, fontsize=8, color=INK)
    dress(axis)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(frameon=False, fontsize=8)
