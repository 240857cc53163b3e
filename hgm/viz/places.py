"""Where the variables of a tree that is drawn node by node go: from the top down, from left to right, or in rings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hgm.tree.tree import Tree
from hgm.viz.layout import children_in_order, tidy

__all__ = ["MOST", "Picture", "Point", "Way", "placed", "shown_levels"]

MOST = 320  # nodes; larger trees are drawn level by level
DEEP = 40  # levels; of deeper trees the middle is left out
ENDS = 8  # levels that stay at either end then
WIDE = 64  # neighbours; wider trees are drawn in rings
BARS = 0.5  # inches, the side of a variable that holds bars
ACROSS = 5.8  # inches for the nodes of a picture that fits a page

Way = Literal["down", "right", "rings"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """Where everything is, in inches from some corner.

    Attributes:
        way: how the levels run.
        place: of each variable that is shown.
        size: diameter of a variable.
        pitch: least distance of neighbours.
        step: distance of levels.
        radii: of the levels, if they are rings.
        corners: further points that the picture must cover.
    """

    way: Way
    place: dict[int, Point]
    size: float
    pitch: float
    step: float
    radii: tuple[float, ...] = ()
    corners: tuple[Point, ...] = ()


def shown_levels(tree: Tree) -> tuple[list[int], list[int]] | None:
    """The first and the last levels that a drawing by nodes shows, or ``None`` if the tree is too large for one.

    The second list is empty if no level is left out.
    """
    first, last = list(range(tree.depth + 1)), []
    if tree.depth > DEEP:
        first, last = first[:ENDS], first[-ENDS:]
    nodes = sum(len(tree.at_level(level)) for level in first + last)
    return (first, last) if nodes <= MOST else None


def placed(tree: Tree, first: list[int], last: list[int], *, bars: bool = False) -> Picture:
    """Where the variables of some first and last levels go; if they hold bars, with more room, and not in rings."""
    parts = [[v for level in part for v in tree.at_level(level).tolist()] for part in (first, last) if part]
    roots = [tree.at_level(part[0]).tolist() for part in (first, last) if part]
    children = [children_in_order(tree, part) for part in parts]
    row = {level: float(i) for i, level in enumerate(first)}
    row |= {level: len(first) + 0.6 + i for i, level in enumerate(last)}

    def across(straight: bool) -> tuple[dict[int, float], float]:
        rows = [tidy(below, top, straight=straight) for below, top in zip(children, roots, strict=True)]
        width = max(max(x.values()) for x in rows)
        return {v: x + (width - max(r.values())) / 2 for r in rows for v, x in r.items()}, width

    x, width = across(False)
    if len(row) > 8 and width <= 1.5 * len(row):
        x, _ = across(True)
        step = float(np.clip(7.2 / max(row.values()), 0.8 if bars else 0.44, 0.95))
        apart = 1.05 if bars else 0.75
        place = {v: (row[int(tree.level[v])] * step, -apart * position) for v, position in x.items()}
        return Picture("right", place, min(BARS if bars else 0.36, 0.6 * step), step, step)
    if width > WIDE and width > 25 * tree.depth and not (last or bars):
        return _rings(tree, children[0], roots[0])
    pitch = float(np.clip(ACROSS / max(width, 1.0), 0.66 if bars else 0.155, 1.3 if bars else 0.95))
    step = float(np.clip(0.2 * width * pitch, 1.25 if bars else 0.85, 1.35))
    place = {v: (position * pitch, -row[int(tree.level[v])] * step) for v, position in x.items()}
    return Picture("down", place, min(BARS if bars else 0.36, 0.62 * pitch), pitch, step)


def _rings(tree: Tree, children: dict[int, list[int]], roots: list[int]) -> Picture:
    slots = _slots(children, roots)
    turn = 2 * math.pi / (max(slots.values()) + 1.0)
    inner = int(len(roots) > 1)  # a forest has nothing in its middle
    radii: list[float] = []  # of the levels; each ring as small as its nodes allow
    pitch, step = 0.2, 0.75
    for level in range(tree.depth + 1):
        angles = np.sort([slots[v] for v in tree.at_level(level).tolist()]) * turn
        least = pitch / float(np.diff(angles).min()) if len(angles) > 1 else 0.0
        radii.append(max(radii[-1] + step if radii else step * inner, least))
    place = {}
    for v, slot in slots.items():
        r, angle = radii[int(tree.level[v])], math.pi / 2 - turn * (slot + 0.5)
        place[v] = (r * math.cos(angle), r * math.sin(angle))
    corners = ((-radii[-1], -radii[-1]), (radii[-1], radii[-1]))
    return Picture("rings", place, 0.62 * pitch, pitch, step, tuple(radii), corners)


def _slots(children: dict[int, list[int]], roots: list[int]) -> dict[int, float]:
    """Positions around the circle: leaves 1 apart, parents in the middle of their children."""
    order: list[int] = []
    stack = list(reversed(roots))
    while stack:
        v = stack.pop()
        order.append(v)
        stack += reversed(children[v])
    slots = {v: float(i) for i, v in enumerate(v for v in order if not children[v])}
    for v in reversed(order):
        if children[v]:
            slots[v] = (slots[children[v][0]] + slots[children[v][-1]]) / 2
    return slots
