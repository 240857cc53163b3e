"""A layered model on a 2-D grid, drawn as a stack of planes: a cell for each variable, in the colour of its potential.

All planes have one size, so that a variable stands exactly over its children. One path from the root to a leaf is drawn
out: a variable, its factors, its children.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hgm.tree.tree import Tree
from hgm.viz.potentials import MARKER, color_scheme, draw_family, kind_of, stage_families
from hgm.viz.style import GREY, INK, LINE, PALE, TEXT, draw_gap, draw_title, new_figure
from hgm.viz.words import level_words, prior_words, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hgm.viz.drawing import Drawing

__all__ = ["draw_planes", "has_planes"]

SIDE = 3.7  # inches
SLANT = 1.2  # how far the far edge is moved to the right
RISE = 1.25  # and up
STEP = 1.95  # from plane to plane
FINEST = 64  # cells along a side that are drawn one by one
MOST = 7  # planes

Point = tuple[float, float]
Spot = Callable[[int, float, float], Point]


def has_planes(tree: Tree) -> bool:
    """Whether the tree is a layered model on a 2-D grid, of at least two levels below the root."""
    return tree.grid is not None and len(tree.grid) > 2 and len(tree.grid[-1]) == 2


def draw_planes(tree: Tree) -> Drawing:
    """The picture of a tree for which `has_planes` is true."""
    assert tree.grid is not None
    scheme = color_scheme(tree)
    levels = list(range(tree.depth + 1))
    shown = levels if len(levels) <= MOST else [*levels[:4], *levels[-3:]]
    tall, wide = tree.grid[-1]
    ratio = float(np.clip(tall / wide, 0.35, 1.4))
    slant, rise = SLANT * ratio, RISE * ratio
    step = max(0.9, rise + 0.7)
    height = 1.0 + step * (len(shown) - 1) + rise + 0.5
    figure, axes = new_figure(0.5 + SIDE + slant + 3.9, height)
    floor = {level: height - 0.75 - rise - step * i for i, level in enumerate(shown)}

    def spot(level: int, row: float, column: float) -> Point:
        """A point of a plane; row and column count from its upper left corner, in cells."""
        rows, columns = tree.grid[level] or (1, 1)  # type: ignore[index]
        back = 1.0 - row / rows
        return 0.5 + SIDE * column / columns + slant * back, floor[level] + rise * back

    for i, level in enumerate(shown):
        _plane(axes, tree, scheme.color, level, spot, zorder=-10 * i)
        x, y = 0.5 + SIDE + slant + 0.3, floor[level] + 0.62 * rise
        axes.text(x, y + 0.1, f"level {level}", fontsize=TEXT, weight="bold", va="center", color=INK)
        words = ", ".join(filter(None, [level_words(tree, level), prior_words(tree, level)]))
        axes.text(x, y - 0.1, words, fontsize=TEXT, va="center", color=INK)
        if i + 1 < len(shown) and shown[i + 1] == level + 1:
            _path(axes, tree, scheme.color, level, spot, zorder=-10 * i - 5)
            for line, family in enumerate(stage_families(tree, scheme, level)):
                draw_family(axes, family, x + 0.12, y - 0.5 * step - 0.2 * line)
        elif i + 1 < len(shown):
            words = f"{shown[i + 1] - level - 1:,} more levels"
            axes.text(x, y - 0.5 * step, words, fontsize=TEXT, va="center", color=GREY)
            draw_gap(axes, 0.5 + (SIDE + slant) / 2, floor[level] - 0.1, floor[shown[i + 1]] + rise + 0.1)
    draw_title(axes, title(tree))
    return figure


def _plane(axes: Axes, tree: Tree, color: tuple[str, ...], level: int, spot: Spot, zorder: int) -> None:
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import to_rgb

    assert tree.grid is not None
    rows, columns = tree.grid[level] or (1, 1)
    outline = [spot(level, 0, 0), spot(level, 0, columns), spot(level, rows, columns), spot(level, rows, 0)]
    if rows <= FINEST and columns <= FINEST:
        cells, fills = [], []
        first = int(tree.level_ptr[level])
        for row in range(rows):
            for column in range(columns):
                corners = ((row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column))
                cells.append([spot(level, r, c) for r, c in corners])
                factor = int(tree.parent_factor[first + row * columns + column])
                own = GREY if factor < 0 else color[int(tree.potential_id[factor])]
                fills.append((0.97, 0.97, 0.97) if factor < 0 else tuple(0.45 * c + 0.55 for c in to_rgb(own)))
        width = 0.7 if max(rows, columns) <= 16 else 0.3
        axes.add_collection(
            PolyCollection(cells, facecolors=fills, edgecolors="white", linewidths=width, zorder=zorder)
        )
    else:
        factor = int(tree.parent_factor[tree.level_ptr[level]])
        pale = [tuple(0.35 * c + 0.65 for c in to_rgb(color[int(tree.potential_id[factor])]))]
        axes.add_collection(PolyCollection([outline], facecolors=pale, zorder=zorder))
        down, across = np.arange(FINEST) / FINEST * rows, np.arange(FINEST) / FINEST * columns
        lines = [[spot(level, row, 0), spot(level, row, columns)] for row in down]
        lines += [[spot(level, 0, column), spot(level, rows, column)] for column in across]
        axes.add_collection(LineCollection(lines, colors="white", linewidths=0.3, zorder=zorder))
    axes.add_collection(PolyCollection([outline], facecolors="none", edgecolors=INK, linewidths=0.9, zorder=zorder + 1))


def _path(axes: Axes, tree: Tree, color: tuple[str, ...], level: int, spot: Spot, zorder: int) -> None:
    """One variable of a level, its factors and its children."""
    from matplotlib.collections import LineCollection

    assert tree.grid is not None
    above, below = tree.grid[level] or (1, 1), tree.grid[level + 1]
    m, n = below[0] // above[0], below[1] // above[1]
    row, column = above[0] - 1, above[1] // 2  # in the front, in the middle
    cell = SIDE / below[1]
    if cell < 0.05:
        return
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    walls = [[spot(level, row + r, column + c), spot(level + 1, (row + r) * m, (column + c) * n)] for r, c in corners]
    axes.add_collection(LineCollection(walls, colors=PALE, linewidths=0.6, linestyles=(0, (3, 2)), zorder=zorder))
    block = [spot(level + 1, (row + r) * m, (column + c) * n) for r, c in ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0))]
    axes.plot(*np.array(block).T, color=INK, linewidth=1.1, zorder=zorder)
    v = int(tree.level_ptr[level]) + row * above[1] + column
    at = spot(level, row + 0.5, column + 0.5)
    for factor in tree.factors_of(v):
        children = tree.children_of(factor) - int(tree.level_ptr[level + 1])
        if not len(children):
            continue
        ends = [spot(level + 1, child // below[1] + 0.5, child % below[1] + 0.5) for child in children.tolist()]
        which = int(tree.potential_id[factor])
        middle = tuple(np.mean([at, np.mean(ends, axis=0)], axis=0).tolist())
        lines = [[at, middle], *([middle, end] for end in ends)]
        axes.add_collection(LineCollection(lines, colors=color[which], linewidths=LINE, zorder=zorder + 1))
        behind = LineCollection([lines[0]], colors=color[which], linewidths=LINE, alpha=0.5, linestyles=":", zorder=1)
        axes.add_collection(behind)  # where the plane above hides it
        _mark(axes, [middle], 38, color[which], "white", zorder + 2, MARKER[kind_of(tree.potentials[which])])
        _mark(axes, ends, 30 if cell > 0.2 else 10, "white", INK, zorder + 2)
    _mark(axes, [at], 45 if SIDE / above[1] > 0.2 else 12, "white", INK, zorder + 6)


def _mark(axes: Axes, points: list[Point], size: float, fill: str, edge: str, zorder: int, marker: str = "o") -> None:
    xs, ys = zip(*points, strict=True)
    axes.scatter(xs, ys, s=size, c=fill, edgecolors=edge, linewidths=0.8, zorder=zorder, marker=marker)
