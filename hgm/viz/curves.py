"""Plots of curves: how far from the optimum against the noise, and learning step by step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import isfinite, isnan, nan
from typing import TYPE_CHECKING, Any

from hgm.errors import BadSpec, brief
from hgm.learn.em import Fit
from hgm.learn.loop import Training
from hgm.measure.report import Gap, Row
from hgm.tree.arguments import number
from hgm.viz.style import GREY, INK, LINE, PALETTE, SHADE, SMALL, dress, new_plot, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hgm.viz.drawing import Drawing

__all__ = ["ablations", "gap", "training"]

NOISE = {"Gaussian": "σ", "Flip": "ε", "Erasure": "share that is erased"}
DECADES = 8  # of errors that are shown
MARKERS = "os^vDPX<>"


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
    figure, axis = new_plot(path)
    nats = "" if gap.nats is None else f", {gap.nats.value:.3g} nats"
    _dress(axis, [gap], f"{gap.network}{nats}")
    _optimum(axis, gap)
    _draw(axis, list(gap.levels), gap.allowance, "excess", 0)
    if gap.per == "level":
        names = list(dict.fromkeys(name for name, _ in gap.split))
        for i, name in enumerate(names):
            rows = [row for other, row in gap.split if other == name]
            _draw(axis, rows, gap.allowance / len(names), f"level {name}", 1 + i)
    axis.legend(frameon=False, fontsize=SMALL)
    return saved(figure, path)


def ablations(gaps: Mapping[str, Gap], path: str | os.PathLike[str] | None = None) -> Drawing:
    """What each of several networks costs beyond the optimum, against the noise: a line for each, by its name.

        parts = {f"window {r}": hgm.ablate(tree, "window", radius=r) for r in (1, 2)}
        hgm.plot.ablations({name: hgm.compare(part, tree) for name, part in parts.items()})

    Args:
        gaps: of `hgm.compare`, with the same task and channel.
        path: as for `gap`.

    Raises:
        BadSpec: for other objects, none, or gaps of several tasks or channels; else as for `gap`.
        HgmError: if matplotlib is not installed.
    """
    if not (isinstance(gaps, Mapping) and gaps and all(isinstance(each, Gap) for each in gaps.values())):
        raise BadSpec(f"gaps is a mapping from names to what hgm.compare gives; got {brief(gaps)}")
    if len({(each.task, each.channel) for each in gaps.values()}) > 1:
        raise BadSpec("these gaps are of several tasks or channels, so their errors are not of one unit")
    figure, axis = new_plot(path)
    _dress(axis, list(gaps.values()), "excess over the optimum")
    _optimum(axis, max(gaps.values(), key=lambda each: len(each.levels)))
    for i, (name, each) in enumerate(gaps.items()):
        nats = "" if each.nats is None else f", {each.nats.value:.3g} nats"
        _draw(axis, list(each.levels), each.allowance, f"{name}{nats}", i)
    axis.legend(frameon=False, fontsize=SMALL)
    return saved(figure, path)


def training(
    training: Training | Fit, path: str | os.PathLike[str] | None = None, *, optimum: float | None = None
) -> Drawing:
    """The loss of a training step by step, with the validation's; or the log likelihood of a fit, by iteration.

    Args:
        training: of `hgm.train`, or of `hgm.fit`.
        path: as for `gap`.
        optimum: the least loss that is possible, or the largest log likelihood per row: a line.

    Raises:
        BadSpec: for another object, or an optimum that is no number; else as for `gap`.
        HgmError: if matplotlib is not installed.
    """
    if not isinstance(training, Training | Fit):
        raise BadSpec(f"training is what hgm.train or hgm.fit gives; got {brief(training)}")
    if optimum is not None:
        optimum = number(optimum, "optimum must be a finite number", isfinite)
    figure, axis = new_plot(path)
    if isinstance(training, Fit):
        curves = {"log likelihood": [x / training.rows for x in training.log_likelihood]}
        steps, words = list(range(len(training.history))), ("iteration", "log likelihood per row, nats")
    else:
        rows = training.history
        curves = {"loss": [row.loss for row in rows], "validation": [row.validation for row in rows]}
        steps, words = [row.step for row in rows], ("step", "loss")
        if min(x for curve in curves.values() for x in curve if not isnan(x)) > 0:
            axis.set_yscale("log")
    for i, (name, curve) in enumerate(curves.items()):
        if not all(map(isnan, curve)):
            axis.plot(steps, curve, color=PALETTE[i], marker=MARKERS[i], markersize=3.5, linewidth=LINE, label=name)
    if optimum is not None:
        axis.axhline(optimum, color=GREY, linewidth=LINE, linestyle=(0, (4, 2)), label="optimum")
    _words(axis, *words, repr(training).partition(",")[0])
    axis.legend(frameon=False, fontsize=SMALL)
    return saved(figure, path)


def _words(axis: Axes, x: str, y: str, title: str) -> None:
    axis.set_title(title, fontsize=SMALL, color=INK)
    axis.set_xlabel(x, fontsize=SMALL, color=INK)
    axis.set_ylabel(y, fontsize=SMALL, color=INK)
    dress(axis, SMALL)
    axis.grid(which="major", color=SHADE, linewidth=0.5)


def _optimum(axis: Axes, gap: Gap) -> None:
    values = [row.optimum or nan for row in gap.levels]
    axis.plot([row.noise for row in gap.levels], values, color=GREY, label="optimum")


def _dress(axis: Axes, gaps: list[Gap], title: str) -> None:
    rows, gap = [row for each in gaps for row in each.levels], gaps[0]
    if all(row.noise > 0 for row in rows):
        _log_ticks(axis, [row.noise for row in rows])
    axis.set_yscale("log")
    tops = [x for row in rows for x in (row.optimum, row.high) if 0 < x < float("inf")]
    lows = [x for row in rows for x in (row.optimum, row.excess) if 0 < x < float("inf")]
    if tops:
        top = 2 * max(tops)
        axis.set_ylim(max(min(lows) / 3, top / 10**DECADES), top)
    per = "" if gap.task == "classify" else " per leaf"
    what = "squared error per leaf" if gap.task == "denoise" else f"nats{per}"
    _words(axis, f"noise, {NOISE[gap.channel]}" if gap.channel in NOISE else "noise", what, title)


def _log_ticks(axis: Axes, at: list[float]) -> None:
    """A logarithmic axis below, with numbers as people write them: at 1, 2 and 5 of each decade, of many at 1 only."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_xscale("log")
    few = max(at) < 1000 * min(at)
    axis.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5) if few else (1,)), minor_locator=NullLocator())
    axis.xaxis.set_major_formatter("{x:g}")


def _draw(axis: Axes, rows: list[Row], allowance: float, label: str, number: int) -> None:
    """An excess with its intervals; what is zero to rounding as an upper bound."""
    looks: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}
    looks |= {"markersize": 4, "elinewidth": 0.8}
    x = [row.noise for row in rows]
    zero = [row.high <= allowance for row in rows]
    seen = [nan if none or row.excess <= 0 else row.excess for row, none in zip(rows, zero, strict=True)]
    ends = [[row.excess - row.low for row in rows], [row.high - row.excess for row in rows]]
    axis.errorbar(x, seen, ends, linewidth=LINE, label=label, **looks)
    if any(zero):
        most = [allowance if none else nan for none in zero]
        arrows = [0.5 * y for y in most]
        axis.errorbar(x, most, arrows, uplims=True, capsize=1.8, linewidth=0, markerfacecolor="white", **looks)
