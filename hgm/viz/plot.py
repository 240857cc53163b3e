"""Plots of what was measured, as plain matplotlib figures, to be shown, changed or saved: `hgm.plot`."""

from __future__ import annotations

import os
from math import nan
from typing import TYPE_CHECKING, Any

from hgm.errors import BadSpec, brief
from hgm.measure.report import Gap, Row
from hgm.viz.style import GREY, INK, LINE, PALETTE, SHADE, check_picture_name, dress, require_matplotlib, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hgm.viz.drawing import Drawing

__all__ = ["gap"]

NOISE = {"Gaussian": "σ", "Flip": "ε", "Erasure": "share that is erased"}
DECADES = 8  # of errors that are shown


def gap(gap: Gap, path: str | os.PathLike[str] | None = None) -> Drawing:
    """The optimum and a network's excess over it, against the noise, both on logarithmic scales.

    Intervals are bars. What is zero to rounding is an open marker at the allowance with an arrow down. If the excess
    was split by level of the tree, each level has a line.

    Args:
        gap: of `hgm.compare`.
        path: a .svg, .png or .pdf file to write; an existing one is replaced.

    Raises:
        BadSpec: for another object, another ending, or a file that cannot be written.
        HgmError: if matplotlib is not installed.
    """
    if not isinstance(gap, Gap):
        raise BadSpec(f"gap is what hgm.compare gives; got {brief(gap)}")
    require_matplotlib()
    from hgm.viz.drawing import Drawing

    if path is not None:
        check_picture_name(path)
    figure = Drawing(figsize=(5.2, 3.6), facecolor="white", layout="constrained")
    axis = figure.subplots()
    _dress(axis, gap)
    axis.plot(
        [row.noise for row in gap.levels], [row.optimum or nan for row in gap.levels], color=GREY, label="optimum"
    )
    _draw(axis, list(gap.levels), gap.allowance, "excess", PALETTE[0], "o")
    if gap.per == "level":
        names = list(dict.fromkeys(name for name, _ in gap.split))
        for i, name in enumerate(names):
            rows = [row for other, row in gap.split if other == name]
            looks = PALETTE[1 + i % (len(PALETTE) - 1)], "s^vDPX<>"[i % 8]
            _draw(axis, rows, gap.allowance / len(names), f"level {name}", *looks)
    axis.legend(frameon=False, fontsize=8)
    if path is not None:
        save_figure(figure, path)
    return figure


def _dress(axis: Axes, gap: Gap) -> None:
    if all(row.noise > 0 for row in gap.levels):
        axis.set_xscale("log")
    axis.set_yscale("log")
    tops = [x for row in gap.levels for x in (row.optimum, row.high) if 0 < x < float("inf")]
    lows = [x for row in gap.levels for x in (row.optimum, row.excess) if 0 < x < float("inf")]
    if tops:
        top = 2 * max(tops)
        axis.set_ylim(max(min(lows) / 3, top / 10**DECADES), top)
    nats = "" if gap.nats is None else f", {gap.nats.value:.3g} nats"
    axis.set_title(f"{gap.network}{nats}", fontsize=9, color=INK)
    axis.set_xlabel(f"noise, {NOISE[gap.channel]}" if gap.channel in NOISE else "noise", fontsize=8, color=INK)
    what = (
        "squared error per leaf" if gap.task == "denoise" else "nats" + ("" if gap.task == "classify" else " per leaf")
    )
    axis.set_ylabel(what, fontsize=8, color=INK)
    dress(axis)
    axis.grid(which="major", color=SHADE, linewidth=0.5)


def _draw(axis: Axes, rows: list[Row], allowance: float, label: str, color: str, marker: str) -> None:
    """An excess with its intervals; what is zero to rounding as an upper bound."""
    looks: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4, "elinewidth": 0.8}
    x = [row.noise for row in rows]
    zero = [row.high <= allowance for row in rows]
    seen = [nan if none or row.excess <= 0 else row.excess for row, none in zip(rows, zero, strict=True)]
    ends = [[row.excess - row.low for row in rows], [row.high - row.excess for row in rows]]
    axis.errorbar(x, seen, ends, linewidth=LINE, label=label, **looks)
    if any(zero):
        most = [allowance if none else nan for none in zero]
        arrows = [0.5 * y for y in most]
        axis.errorbar(x, most, arrows, uplims=True, capsize=1.8, linewidth=0, markerfacecolor="white", **looks)
