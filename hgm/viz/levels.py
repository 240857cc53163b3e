"""A large tree, drawn level by level: a bar for each level, and between two bars what joins them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hgm.tree.tree import Tree
from hgm.viz.potentials import color_scheme, draw_family, draw_node_legend, stage_families
from hgm.viz.style import GREY, INK, SHADE, SMALL, TEXT, draw_gap, draw_title, new_figure
from hgm.viz.words import counted, level_words, prior_words, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hgm.viz.drawing import Drawing

__all__ = ["draw_levels"]

MOST = 12  # levels
HIGH = 0.34  # of a bar, in inches
STEP = 1.02  # from bar to bar
NODE = 0.2  # diameter of a variable
APART = 0.3  # of variables


def draw_levels(tree: Tree) -> Drawing:
    """The picture of a tree of any size."""
    scheme = color_scheme(tree)
    levels = list(range(tree.depth + 1))
    shown = levels if len(levels) <= MOST else [*levels[: MOST // 2], *levels[-MOST // 2 :]]
    sizes = {level: len(tree.at_level(level)) for level in shown}
    widths = {level: _width(size) for level, size in sizes.items()}
    left, widest = 2.75, max(*widths.values(), 4.2)
    height = 1.2 + STEP * (len(shown) - 1) + 0.8
    figure, axes = new_figure(left + widest + 0.4, height)
    middle = left + widest / 2
    ys = {level: height - 0.85 - STEP * i for i, level in enumerate(shown)}
    for i, level in enumerate(shown):
        y, half = ys[level], widths[level] / 2
        _bar(axes, tree, level, middle, y, half)
        leaves = int((~tree.inner[tree.at_level(level)]).sum())
        words = [level_words(tree, level), prior_words(tree, level)]
        if 0 < leaves < sizes[level]:
            words.append(counted(leaves, "leaf"))
        axes.text(0.25, y + 0.1, f"level {level:,}", fontsize=TEXT, weight="bold", va="center", color=INK)
        axes.text(0.25, y - 0.08, words[0], fontsize=TEXT, va="center", color=INK)
        axes.text(0.25, y - 0.24, ", ".join(filter(None, words[1:])), fontsize=SMALL, va="center", color=GREY)
        if i + 1 == len(shown):
            continue
        below = shown[i + 1]
        top, low = y - HIGH / 2, ys[below] + HIGH / 2
        wide = widths[below] / 2
        xs = [middle - half, middle + half, middle + wide, middle - wide]
        axes.fill(xs, [top, top, low, low], color="#f4f4f4", linewidth=0, zorder=0)
        if below != level + 1:
            draw_gap(axes, middle, top - 0.12, low + 0.12)
            more = f"{below - level - 1:,} more levels"
            axes.text(middle + 0.2, (top + low) / 2, more, fontsize=TEXT, va="center", color=GREY)
            continue
        families = stage_families(tree, scheme, level)
        for line, family in enumerate(families):
            wide = 0.15 * min(len(family.colors), 8) + 0.078 * len(family.text)
            shift = 0.19 * (line - (len(families) - 1) / 2)
            draw_family(axes, family, middle - wide / 2, (top + low) / 2 - shift)
    draw_node_legend(axes, 0.35, 0.3)
    draw_title(axes, title(tree))
    return figure


def _width(nodes: int) -> float:
    """Of a bar: room for all variables if they are few, then slowly more."""
    return min(nodes, 12) * APART + 0.2 + 0.42 * max(0.0, float(np.log2(nodes / 12)))


def _bar(axes: Axes, tree: Tree, level: int, x: float, y: float, half: float) -> None:
    """A bar with the level's variables: all, or the first and the last ones."""
    from matplotlib.patches import FancyBboxPatch

    shape = f"round,pad=0,rounding_size={HIGH / 2}"
    axes.add_patch(
        FancyBboxPatch((x - half, y - HIGH / 2), 2 * half, HIGH, boxstyle=shape, fc="white", ec=GREY, lw=0.9, zorder=1)
    )
    nodes = tree.at_level(level)
    room = int((2 * half - 0.2) / APART + 0.01)
    if len(nodes) <= room:
        spots = x + APART * (np.arange(len(nodes)) - (len(nodes) - 1) / 2)
        drawn = nodes
    else:
        each = (room - 2) // 2
        start = x - half + 0.1 + APART / 2 + APART * np.arange(each)
        spots = np.concatenate([start, 2 * x - start[::-1]])
        drawn = np.concatenate([nodes[:each], nodes[len(nodes) - each :]])
        axes.plot(x + APART * 0.5 * np.array([-1, 0, 1]), [y] * 3, "o", color=GREY, markersize=2.2, zorder=2)
    fills = ["white" if inner else SHADE for inner in tree.inner[drawn]]
    axes.scatter(spots, [y] * len(spots), s=(72 * NODE) ** 2, c=fills, edgecolors=INK, linewidths=0.8, zorder=2)
