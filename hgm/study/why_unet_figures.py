"""The pictures of the study of U-Nets: excess against noise, limit and training, compute and risk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.study.why_unet_results import Results
from hgm.viz.style import INK, LINE, PALE, PALETTE, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figures", "name_of"]

#: how a network is called in print
NAMES = {
    "compiled": "compiled, free weights", "compiled_random": "compiled, random start", "unet": "U-Net",
    "autoencoder": "no skips", "unet_flat": "no down-sampling", "unet_cut_0": "finest skip cut",
    "unet_cut_1": "second skip cut", "unet_cut_2": "third skip cut", "unet_added": "added skips",
    "unet_narrow": "bottleneck of four", "unet_narrow_2": "bottleneck of two", "unet_narrow_1": "bottleneck of one",
    "unet_blind": "not told the noise", "unet_told_once": "told the noise once", "unet_haar": "Haar encoder",
    "unet_thirds": "U-Net of thirds", "transformer": "transformer", "standard": "diffusers' U-Net",
    "standard_convolutional": "diffusers' U-Net, no attention",
}  # fmt: skip
#: colour and marker of the main networks
LOOKS = {
    "unet": (PALETTE[0], "o"), "autoencoder": (PALETTE[1], "s"), "unet_flat": (PALETTE[2], "^"),
    "cnn_5": (PALETTE[4], "v"), "cnn_9": (PALETTE[3], "D"), "cnn_21": (PALETTE[6], "P"), "compiled": (INK, "*"),
    "unet_thirds": (PALETTE[5], "h"), "cnn_3": (PALETTE[7], "<"),
}  # fmt: skip
LOWEST = 1e-4  # an excess that is less is not drawn


def name_of(network: str) -> str:
    """How a network is called in print."""
    return NAMES.get(network, network.replace("cnn_", "CNN of "))


def figures(results: Results) -> dict[str, Figure]:
    """By the names of their files; those of which there is nothing yet are left out."""
    made = {"excess": _excess(results), "parts": _parts(results), "compute": _compute(results)}
    return {name: figure for name, figure in made.items() if figure is not None}


def _excess(results: Results) -> Figure | None:
    """One panel a tree: the optimum, networks with their intervals, and exact limits, against the noise."""
    trees = list(dict.fromkeys(key.tree for key in results.runs))
    if not trees:
        return None
    figure, panels = _panels(len(trees), 3.25, columns=2)
    for axis, tree in zip(panels, trees, strict=True):
        _dress(axis, tree, "sigma")
        shown = [runs for name in LOOKS if name != "compiled" and (runs := results.get(tree, name))]
        axis.plot(shown[0].noise, shown[0].levels[0, :, 1], color=PALE, linewidth=2.5, label="the optimum itself")
        for runs in shown:
            color, marker = LOOKS[runs.key.network]
            means = runs.means()
            ends = [[max(m.value - max(m.low, LOWEST), 0) for m in means], [m.high - m.value for m in means]]
            looks: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4, "elinewidth": 0.8}
            label = name_of(runs.key.network)
            axis.errorbar(runs.noise, [m.value for m in means], ends, linewidth=LINE, label=label, **looks)
            bound = results.bound(runs)
            if bound:
                axis.plot(runs.noise, [row["excess"] for row in bound], color=color, linewidth=LINE, linestyle=":")
        axis.set_ylim(LOWEST, None)
    for axis in panels[::2]:
        axis.set_ylabel("excess per leaf; dotted: its window's limit", fontsize=8, color=INK)
    _legend(figure, panels)
    return figure


def _parts(results: Results) -> Figure | None:
    """Bars of the main networks at every level of noise: the exact limit, and on top of it training."""
    shown = [runs for name in LOOKS if name != "compiled" and (runs := results.get(results.base, name))]
    if not shown:
        return None
    noise = shown[0].noise
    figure, panels = _panels(len(noise), 2.15, sharey=False, columns=3)
    for k, (axis, sigma) in enumerate(zip(panels, noise, strict=True)):
        _dress(axis, f"sigma {sigma:g}", "", "linear")
        for i, runs in enumerate(shown):
            part = results.parts(runs)[k]
            color, _ = LOOKS[runs.key.network]
            low = min(part.limit, part.excess.value)
            axis.bar(i, low, color=color, width=0.75, label="exact limit" if not i else None)
            axis.bar(i, part.excess.value - low, bottom=low, color=color, alpha=0.35, width=0.75)
            axis.errorbar(i, part.excess.value, part.excess.high - part.excess.value, color=INK, elinewidth=0.8)
        axis.set_xticks(range(len(shown)), [name_of(runs.key.network) for runs in shown], rotation=90, fontsize=8)
        # without skips is so far from all others that these would not be seen
        others = [results.parts(runs)[k].excess.high for runs in shown if runs.key.network != "autoencoder"]
        axis.set_ylim(0, 1.15 * max(others or [1]))
    for axis in panels[::3]:
        axis.set_ylabel("excess: dark the exact limit, light training", fontsize=8, color=INK)
    return figure


def _compute(results: Results) -> Figure | None:
    """Mean excess over all noise against multiply-adds of training, one line a network."""
    curves = {name: results.curve(results.base, name) for name in LOOKS}
    curves = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if not curves:
        return None
    figure, (axis,) = _panels(1, 4.5)
    _dress(axis, "risk that compute buys, above the threshold", "multiply-adds of training (forward passes)")
    for name, curve in curves.items():
        color, marker = LOOKS[name]
        half = [mean.high - mean.value for _, mean in curve]
        x, y = [compute for compute, _ in curve], [mean.value for _, mean in curve]
        axis.errorbar(x, y, half, color=color, marker=marker, markersize=4, linewidth=LINE, label=name_of(name))
    axis.set_ylabel("mean excess over all noise", fontsize=8, color=INK)
    axis.legend(frameon=False, fontsize=8)
    return figure


def _panels(count: int, width: float, sharey: bool = True, columns: int = 6) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    columns = min(count, columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns + 0.6, 3.6 * rows), facecolor="white", layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns, sharey=sharey, squeeze=False)))
    for left_over in panels[count:]:
        left_over.remove()
    return figure, panels[:count]


def _dress(axis: Axes, title: str, label: str, scale: str = "log") -> None:
    if scale == "log":
        axis.set_xscale("log", base=2 if label == "sigma" else 10)
        axis.xaxis.set_major_formatter("{x:g}" if label == "sigma" else axis.xaxis.get_major_formatter())
        axis.set_yscale("log")
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_xlabel(label, fontsize=8, color=INK)
    dress(axis)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """All that is drawn in any panel, each once."""
    entries: dict[str, Any] = {}
    for axis in panels:
        for line, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, line)
    figure.legend(
        list(entries.values()),
        list(entries),
        frameon=False,
        fontsize=8,
        ncols=5,
        loc="outside lower center",
    )
