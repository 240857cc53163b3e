"""What the picture of a network is painted with: boxes, which are tensors, and arrows, which are layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.viz.style import GREY, INK, TEXT
from hgm.viz.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BACK",
    "DOWN",
    "GAP",
    "LAYER",
    "LETTERS",
    "LIFT",
    "POOL",
    "SKIP",
    "UP",
    "Box",
    "arrow",
    "between",
    "draw_box",
    "draw_colors",
    "draw_path",
    "over",
]

LETTERS = 11  # points: a network of four levels is read at 700 pixels
SWATCHES = 5  # under an arrow
GAP = 0.45  # inches between the two halves, and for what is left out
LAYER, POOL, LIFT, BACK, SKIP = "#0072B2", "#C0392B", "#009E73", "#D55E00", "#8a8a8a"
DOWN, UP = "#dbe9f6", "#fbe5d2"


@dataclass(frozen=True)
class Box:
    """A tensor: where it stands (middle, in inches), how wide and high."""

    x: float
    y: float
    wide: float
    high: float

    @property
    def left(self) -> float:
        return self.x - self.wide / 2

    @property
    def right(self) -> float:
        return self.x + self.wide / 2

    @property
    def top(self) -> float:
        return self.y + self.high / 2

    @property
    def bottom(self) -> float:
        return self.y - self.high / 2


def draw_box(axes: Axes, box: Box, states: int, positions: str, color: str, log: bool, letter: str) -> None:
    """A tensor, with its states above and its positions below it."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (box.left, box.bottom), box.wide, box.high, facecolor=color, edgecolor=INK, linewidth=1.0,
            linestyle=(0, (3, 1.5)) if log else "-", zorder=2,
        )
    )  # fmt: skip
    axes.text(box.x, box.top + 0.04, f"{states:,}", fontsize=LETTERS, ha="center", va="bottom", color=INK, zorder=4)
    axes.text(box.x, box.bottom - 0.05, positions, fontsize=TEXT, ha="center", va="top", color=INK, zorder=4)
    middle: dict[str, Any] = {"ha": "center", "va": "center_baseline", "style": "italic"}
    axes.text(box.x, box.y, letter, fontsize=LETTERS, color=INK, zorder=4, **middle)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str, dashed: bool = False) -> None:
    """From one point to another."""
    style: dict[str, Any] = {"arrowstyle": "-|>", "color": color, "linewidth": 1.3, "mutation_scale": 10}
    style |= {"shrinkA": 1.5, "shrinkB": 1.5} | ({"linestyle": (0, (4, 2))} if dashed else {})
    axes.annotate("", xy=end, xytext=start, zorder=3, arrowprops=style)


def over(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """What stands over an arrow."""
    axes.text(x, y + 0.06, text, fontsize=TEXT, ha="center", va="bottom", color=color, linespacing=1.05, zorder=4)


def draw_colors(axes: Axes, x: float, y: float, colors: Sequence[str]) -> None:
    """Small squares under an arrow: the tables of its layer, in the colours of the tree's picture."""
    shown = colors[:SWATCHES]
    xs = x + 0.11 * (np.arange(len(shown)) - (len(shown) - 1) / 2)
    axes.scatter(xs, [y - 0.15] * len(shown), s=28, marker="s", c=shown, linewidths=0, zorder=4)


def draw_path(axes: Axes, start: float, end: float, y: float, color: str) -> None:
    """A path, on the arrow of a stage that first passes messages along paths."""
    xs = np.linspace(start + 0.12, end - 0.2, 4)
    axes.plot(xs, [y] * 4, "o", color=color, markersize=3.5, markerfacecolor="white", zorder=5)


def between(axes: Axes, box: Box, end: float, steps: int, down: bool) -> None:
    """The arrow from a row to the next, or dots for what is left out."""
    if steps > 1:
        turn = 1 if down else -1
        xs = box.x + turn * np.linspace(0.12, GAP - 0.12, 4)
        ys = np.linspace(box.bottom - 0.3, end + 0.35, 4)
        axes.plot(xs, ys, "o", color=GREY, markersize=2.5)
        words = counted(steps - 1, "more stage")
        if down:
            axes.text(xs[0] - 0.15, ys[-1], words, fontsize=LETTERS, ha="right", va="center", color=GREY)
    elif down:
        arrow(axes, (box.x, box.bottom - 0.2), (box.x, end + 0.18), POOL)
    else:
        arrow(axes, (box.x, end + 0.18), (box.x, box.bottom - 0.2), LIFT)
