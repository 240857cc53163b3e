"""Colours for potentials: one for each tied potential, grey for those of a single factor; and what a legend says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hgm.tree.potential import Potential
from hgm.tree.tree import Tree
from hgm.viz.style import GREY, INK, PALETTE, SHADE, TEXT, shades
from hgm.viz.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MARKER",
    "Family",
    "Scheme",
    "color_scheme",
    "draw_family",
    "draw_legend",
    "draw_node_legend",
    "kind_of",
    "stage_families",
    "times",
]

MOST = 3  # lines of text for the potentials between two levels

MARKER = {"prior": "v", "edge": "s", "joint": "D", "rules": "h"}


@dataclass(frozen=True)
class Family:
    """Tied potentials of one kind and shape, first used at one level; or all of one kind that are used once.

    Attributes:
        potentials: their numbers.
        colors: of each, or the one colour of all.
        kind: as `kind_of` gives it.
        text: for the legend.
    """

    potentials: tuple[int, ...]
    colors: tuple[str, ...]
    kind: str
    text: str


@dataclass(frozen=True)
class Scheme:
    """The colours of a tree's potentials.

    Attributes:
        color: of each potential.
        families: for the legend.
    """

    color: tuple[str, ...]
    families: tuple[Family, ...]


def kind_of(potential: Potential) -> str:
    """``"prior"``, ``"edge"``, ``"joint"``, or ``"rules"`` for tables that have zeros by their kind."""
    if potential.axes == 1:
        return "prior"
    if not potential.complete:
        return "rules"
    return "edge" if potential.axes == 2 else "joint"


def times(sizes: tuple[int, ...]) -> str:
    """A shape, as in 8×8."""
    return "×".join(f"{n:,}" for n in sizes)


def color_scheme(tree: Tree) -> Scheme:
    """Colours for the potentials of a tree.

    Up to ten tied potentials get a colour each. If there are more, those of one kind, shape and level get tones of one
    colour.
    """
    uses = np.bincount(tree.potential_id, minlength=len(tree.potentials))
    first_level = np.full(len(tree.potentials), len(tree), dtype=np.int64)
    np.minimum.at(first_level, tree.potential_id, tree.level[tree.parent])
    tied = np.flatnonzero(uses > 1)
    color = [GREY] * len(tree.potentials)
    groups: dict[tuple[int, str, tuple[int, ...]], list[int]] = {}
    for i in sorted(tied.tolist(), key=lambda i: int(first_level[i])):
        potential = tree.potentials[i]
        groups.setdefault((int(first_level[i]), kind_of(potential), potential.shape), []).append(i)
    used = 0
    for number, members in enumerate(groups.values()):
        few = len(tied) <= len(PALETTE)
        own = PALETTE[used:] if few else shades(PALETTE[number % len(PALETTE)], len(members))
        used += len(members)
        for i, c in zip(members, own, strict=False):
            color[i] = c
    families = [_family(tree, uses, color, members) for members in groups.values()]
    for kind in _WORDS:
        alone = [i for i in np.flatnonzero(uses == 1).tolist() if kind_of(tree.potentials[i]) == kind]
        families += [_family(tree, uses, color, alone)] if alone else []
    return Scheme(tuple(color), tuple(families))


def stage_families(tree: Tree, scheme: Scheme, level: int) -> list[Family]:
    """What joins a level to the one below it: potentials of one kind and shape together."""
    factors = np.arange(tree.factor_ptr[tree.level_ptr[level]], tree.factor_ptr[tree.level_ptr[level + 1]])
    factors = factors[np.diff(tree.scope_ptr)[factors] > 1]
    here = np.bincount(tree.potential_id[factors], minlength=len(tree.potentials))
    groups: dict[tuple[bool, str, tuple[int, ...]], list[int]] = {}
    for i in np.flatnonzero(here).tolist():
        groups.setdefault((bool(here[i] > 1), kind_of(tree.potentials[i]), tree.potentials[i].shape), []).append(i)
    if len(groups) > MOST:  # an irregular level: shapes left out
        kinds: dict[tuple[bool, str, tuple[int, ...]], list[int]] = {}
        for (tied, kind, _), members in groups.items():
            kinds.setdefault((tied, kind, ()), []).extend(members)
        groups = kinds
    order = sorted(groups, key=lambda key: list(_WORDS).index(key[1]))
    return [_family(tree, here, scheme.color, groups[key]) for key in order]


def _family(tree: Tree, uses: np.ndarray, color: Sequence[str], members: list[int]) -> Family:
    first = tree.potentials[members[0]]
    colors = tuple(dict.fromkeys(color[i] for i in members))
    counts = sorted({int(uses[i]) for i in members})
    reach = f"{counts[0]:,} to {counts[-1]:,} factors" if len(counts) > 1 else counted(counts[0], "factor")
    shapes = {tree.potentials[i].shape for i in members}
    kind = kind_of(first)
    what = counted(len(members), _WORDS[kind])
    if len(shapes) == 1:
        what += f" of {counted(first.shape[0], 'state')}" if first.axes == 1 else f" {times(first.shape)}"
        what += f" with {first.size:,} rules" if kind == "rules" else ""
    each = "each " if len(members) > 1 else ""
    return Family(tuple(members), colors, kind, f"{what}, {each}in {reach}")


_WORDS = {"prior": "prior", "edge": "matrix", "joint": "joint table", "rules": "rule table"}


def draw_legend(axes: Axes, scheme: Scheme, x: float, y: float) -> float:
    """Draws the legend, its upper left corner at a point, in inches; gives the height of its lower end."""
    y -= 0.1
    draw_node_legend(axes, x, y)
    for family in scheme.families:
        y -= 0.22
        draw_family(axes, family, x, y)
    return y - 0.15


def draw_node_legend(axes: Axes, x: float, y: float) -> None:
    """Draws what the circles mean, in one line."""
    for at, color, text in ((x, "white", "variable"), (x + 1.05, SHADE, "leaf")):
        axes.scatter([at], [y], s=80, c=color, edgecolors=INK, linewidths=0.8)
        axes.text(at + 0.15, y, text, fontsize=TEXT, va="center", color=INK)


def draw_family(axes: Axes, family: Family, x: float, y: float) -> None:
    """Draws the swatches of a family and its text in one line."""
    shown = family.colors if len(family.colors) <= 8 else (*family.colors[:4], *family.colors[-4:])
    for i, color in enumerate(shown):
        axes.scatter([x + 0.15 * i], [y], s=45, marker=MARKER[family.kind], c=color)
    axes.text(x + 0.15 * len(shown), y, family.text, fontsize=TEXT, va="center", color=INK)
