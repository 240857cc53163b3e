"""A tree drawn node by node: circles for variables, squares for factors, one colour for what is tied.

Wide trees are drawn in rings around the root, deep ones from left to right, the others from the top down. Of a chain
or another deep and narrow tree the middle levels are left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hgm.tree.tree import Tree
from hgm.viz.beliefs import Beliefs, draw_beliefs
from hgm.viz.places import Picture, Point, Way, placed, shown_levels
from hgm.viz.potentials import MARKER, Scheme, color_scheme, draw_legend, kind_of
from hgm.viz.style import GREY, INK, LINE, PALE, SHADE, SMALL, TEXT, draw_title, halo, new_figure
from hgm.viz.words import level_lines, level_words, short, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hgm.viz.drawing import Drawing

__all__ = ["draw_nodes"]

WIDE = 0.62  # of a letter, as a share of its height


def draw_nodes(tree: Tree, beliefs: Beliefs | None = None) -> Drawing:
    """The picture of a tree for which `shown_levels` is not ``None``; with beliefs, as bars in the nodes."""
    levels = shown_levels(tree)
    assert levels is not None
    picture = placed(tree, *levels, bars=beliefs is not None)
    scheme = color_scheme(tree)

    font = float(np.clip(72 * picture.pitch * 0.34, SMALL, TEXT)) if picture.way != "rings" else SMALL - 2
    longest = max(len(short(tree.names[v])) for v in picture.place) * font * WIDE / 72
    inside = longest <= 0.9 * picture.size and beliefs is None
    turned = _crowded(tree, picture, font)
    below = (
        0.3 if beliefs is not None else 0.0 if inside else 0.15 + (longest if turned or picture.way != "down" else 0.1)
    )
    lines = [] if picture.way == "down" else level_lines(tree)

    xs, ys = np.array([*picture.place.values(), *picture.corners]).T
    spread = float(np.ptp(xs))
    left = {"down": 2.2, "right": 0.85, "rings": 0.4 + below}[picture.way]
    right = {"down": 0.6, "right": 0.6, "rings": 0.4 + below}[picture.way]
    width = max(left + spread + right, 6.5)
    if picture.way == "down":
        left += (width - left - spread - right) / 2
    elif picture.way == "rings":
        left = (width - spread) / 2
    rows = len(scheme.families) + len(lines)
    bottom = 0.85 + below + 0.22 * (rows + 1) + 0.1 * bool(lines)
    top = (1.35 if picture.way == "right" else 0.85) + (below if picture.way == "rings" else 0.0)
    top += 0.5 if beliefs is not None else 0.0
    figure, axes = new_figure(width, top + float(np.ptp(ys)) + bottom)
    move = np.array([left - xs.min(), bottom - ys.min()])
    place = {v: (x + move[0], y + move[1]) for v, (x, y) in picture.place.items()}

    _levels(axes, tree, picture, place, levels, width)
    _factors(axes, tree, scheme, picture, place)
    if beliefs is None:
        _variables(axes, tree, picture, place)
        _names(axes, tree, picture, place, font, inside, turned)
    else:
        draw_beliefs(axes, beliefs, place, picture.size)
    draw_title(axes, title(tree) if beliefs is None else beliefs.title)
    y = draw_legend(axes, scheme, 0.35, 0.3 + 0.22 * (rows + 1))
    for line in lines:
        axes.text(0.25, y - 0.1, line, fontsize=TEXT, va="center", color=INK)
        y -= 0.22
    return figure


def _crowded(tree: Tree, picture: Picture, font: float) -> bool:
    """Whether names side by side under the leaves of a level would touch; in a row to the right, all names."""
    shown = [v for v in picture.place if picture.way == "right" or not tree.inner[v]]
    longest = max((len(short(tree.names[v])) for v in shown), default=0) * font * WIDE / 72
    if picture.way != "down":
        return longest > 0.95 * picture.pitch
    rows: dict[float, list[float]] = {}
    for v in shown:
        rows.setdefault(picture.place[v][1], []).append(picture.place[v][0])
    return any(float(np.diff(np.sort(xs)).min(initial=np.inf)) < longest + 0.04 for xs in rows.values())


# ---------------------------------------------------------------------- painting


def _levels(
    axes: Axes, tree: Tree, picture: Picture, place: dict[int, Point], levels: tuple[list[int], list[int]], width: float
) -> None:
    """What shows the levels: lines with a text each, numbers over the columns, or rings."""
    from matplotlib.patches import Circle

    first, last = levels
    if picture.way == "rings":
        center = _center(picture, place)
        for radius in picture.radii:
            axes.add_patch(Circle(center, radius, fill=False, edgecolor=SHADE, linewidth=0.8, zorder=0))
        return
    for level in first + last:
        v = int(tree.level_ptr[level])
        x, y = place[v]
        if picture.way == "down":
            axes.plot([2.0, width - 0.2], [y, y], color=SHADE, linewidth=0.8, zorder=0)
            axes.text(0.25, y + 0.08, f"level {level}", fontsize=TEXT, va="center", color=INK, weight="bold")
            axes.text(0.25, y - 0.09, level_words(tree, level), fontsize=SMALL, va="center", color=GREY)
        else:
            top = max(p[1] for p in place.values()) + 0.55
            axes.text(x, top, str(level), fontsize=TEXT, ha="center", va="center", color=GREY)
    if picture.way == "right":
        axes.text(0.25, top, "level", fontsize=TEXT, va="center", color=GREY)  # fmt: skip
    if last:
        a, b = place[int(tree.level_ptr[first[-1]])], place[int(tree.level_ptr[last[0]])]
        words = f"{last[0] - first[-1] - 1:,} levels"
        if picture.way == "right":
            axes.text((a[0] + b[0]) / 2, top + 0.2, words, fontsize=TEXT, ha="center", va="center", color=GREY)
        else:
            axes.text(0.25, (a[1] + b[1]) / 2, f"... {words} ...", fontsize=TEXT, va="center", color=GREY)


def _factors(axes: Axes, tree: Tree, scheme: Scheme, picture: Picture, place: dict[int, Point]) -> None:
    from matplotlib.collections import LineCollection

    lines: list[tuple[Point, Point]] = []
    line_colors: list[str] = []
    marks: dict[str, list[tuple[Point, str]]] = {}
    dots: list[tuple[Point, Point]] = []
    small = min(0.5 * picture.size, 0.17)
    below = [f for v in place for f in tree.factors_of(v)]
    above = [int(tree.parent_factor[v]) for v in place if tree.parent_factor[v] >= 0]
    for factor in sorted({*below, *above}):
        scope = tree.scope_of(factor).tolist()
        parent = scope[int(tree.up[factor])]
        children = [v for v in scope if v != parent]
        if parent not in place:
            if children and children[0] in place:  # just below what is left out
                dots += [(place[c], _towards(place[c], picture.way, -0.6 * picture.step)) for c in children]
            continue
        if children and children[0] not in place:
            dots.append((place[parent], _towards(place[parent], picture.way, 0.6 * picture.step)))
            continue
        color = scheme.color[int(tree.potential_id[factor])]
        kind = kind_of(tree.potential_of(factor))
        x, y = place[parent]
        if not children:
            before = sum(len(tree.scope_of(f)) == 1 for f in range(int(tree.factor_ptr[parent]), factor))
            side = -1 if _above(tree, parent, place)[0] > x + 0.01 else 1  # away from the line to the parent
            at = _beside(place[parent], picture, before, side)
        else:
            middle = np.mean([place[c] for c in children], axis=0)
            part = 0.5 if len(children) == 1 else 0.45
            at = (x + part * (middle[0] - x), y + part * (middle[1] - y))
        lines += [(place[v], at) for v in scope]
        line_colors += [PALE if color == GREY else color] * len(scope)
        marks.setdefault(MARKER[kind], []).append((at, color))
    thin = LINE if len(place) <= 80 else 0.75
    axes.add_collection(LineCollection(lines, colors=line_colors, linewidths=thin, zorder=1))
    axes.add_collection(LineCollection(dots, colors=GREY, linewidths=1.4, linestyles=(0, (0.8, 1.6)), zorder=1))
    for marker, found in marks.items():
        (xs, ys), colors = zip(*(at for at, _ in found), strict=True), [color for _, color in found]
        size = (72 * small * {"s": 1.0, "D": 0.95, "h": 1.35, "v": 1.1}[marker]) ** 2
        axes.scatter(xs, ys, s=size, marker=marker, c=colors, edgecolors="white", linewidths=0.6, zorder=2)


def _towards(at: Point, way: Way, step: float) -> Point:
    return (at[0] + step, at[1]) if way == "right" else (at[0], at[1] - step)


def _beside(at: Point, picture: Picture, number: int, side: int) -> Point:
    """Where a factor over one variable goes: next to it, on the side away from its parent."""
    turns = (30, -8, 172, 140) if picture.way == "down" else (135, 45, 100, -45)
    angle = math.radians(turns[number % len(turns)])
    reach = 1.05 * picture.size
    return at[0] + (side if picture.way == "down" else 1) * reach * math.cos(angle), at[1] + reach * math.sin(angle)


def _variables(axes: Axes, tree: Tree, picture: Picture, place: dict[int, Point]) -> None:
    xs, ys = zip(*place.values(), strict=True)
    fills = ["white" if inner else SHADE for inner in tree.inner[list(place)]]
    thin = float(np.clip(3.0 * picture.size, 0.4, 1.0))
    axes.scatter(xs, ys, s=(72 * picture.size) ** 2, c=fills, edgecolors=INK, linewidths=thin, zorder=3)


def _names(
    axes: Axes, tree: Tree, picture: Picture, place: dict[int, Point], font: float, inside: bool, turned: bool
) -> None:
    reach = 0.5 * picture.size + 0.05
    center = _center(picture, place)
    taken: dict[tuple[float, int], list[Point]] = {}  # from where to where a row's names reach, line by line
    for v, at in place.items():
        text = axes.text(*at, short(tree.names[v]), fontsize=font, color=INK, zorder=4, parse_math=False)
        text.set(ha="center", va="center_baseline")
        if inside:
            continue
        halo(text)
        x, y = at
        if picture.way == "right":
            text.set(x=x, y=y - reach, va="top")
            if turned:
                text.set(rotation=-40, rotation_mode="anchor", ha="left")
        elif picture.way == "rings":
            dx, dy = x - center[0], y - center[1]
            far = math.hypot(dx, dy)
            if far and not tree.inner[v]:
                text.set(x=x + reach * dx / far, y=y + reach * dy / far, rotation_mode="anchor", va="center")
                text.set(rotation=math.degrees(math.atan2(dy, dx)) + 180 * (dx < 0), ha="right" if dx < 0 else "left")
            else:
                text.set(x=x, y=y + reach, va="bottom")
        elif not tree.inner[v]:
            text.set(x=x, y=y - reach, va="top", rotation=90 if turned else 0)
        else:
            above = _above(tree, v, place)
            side = 1 if above[0] < x - 0.01 else -1  # away from the line to the parent
            x, long = x + 0.75 * side * reach, side * len(text.get_text()) * font * WIDE / 72
            line, here = 0, (min(x, x + long), max(x, x + long))
            while any(here[0] < right and left < here[1] for left, right in taken.setdefault((y, line), [])):
                line += 1  # above the name that it would touch
            taken[y, line].append(here)
            text.set(x=x, y=y + 0.85 * reach + line * 1.15 * font / 72, ha="left" if side > 0 else "right", va="bottom")


def _center(picture: Picture, place: dict[int, Point]) -> Point:
    """Where the middle of the rings is."""
    v = next(iter(place))
    return place[v][0] - picture.place[v][0], place[v][1] - picture.place[v][1]


def _above(tree: Tree, v: int, place: dict[int, Point]) -> Point:
    """The place of a variable's parent, or its own if it has none that is shown."""
    factor = int(tree.parent_factor[v])
    return place[v] if factor < 0 else place.get(int(tree.parent[factor]), place[v])
