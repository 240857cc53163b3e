"""What a posterior says of each variable, as bars in the nodes of its tree: a bar for each state, full height for 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hgm.bp.posterior import Posterior
from hgm.bp.tables import called_states
from hgm.errors import BadSpec
from hgm.viz.style import GREY, INK, PALETTE, SMALL, halo
from hgm.viz.words import counted, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Beliefs", "beliefs_of", "draw_beliefs"]

BELIEF, SEEN = PALETTE[0], PALETTE[1]


@dataclass(frozen=True)
class Beliefs:
    """The marginals of one row of a posterior.

    Attributes:
        p: ``(S, V)``.
        names: of the variables.
        states: what the likeliest state of each variable is called.
        seen: ``(V,)`` whether there is evidence of the variable itself.
        cardinality: ``(V,)``.
        title: of the picture.
    """

    p: np.ndarray
    names: tuple[str, ...]
    states: tuple[str, ...]
    seen: np.ndarray
    cardinality: np.ndarray
    title: str


def beliefs_of(posterior: Posterior) -> Beliefs:
    """The beliefs of a posterior, of the first row if it has several. Raises `BadSpec` if it has none."""
    tree, rows = posterior.tree, len(posterior.log_evidence)
    if not rows:
        raise BadSpec("this posterior has no rows of evidence, so there is nothing to draw")
    marginals = posterior.marginals.detach().cpu().numpy()
    p = marginals[0] if posterior.batched else marginals
    e = posterior.log_evidence[0].detach().cpu().numpy()
    seen = ((e != 0) & (np.arange(len(e))[:, None] < tree.cardinality)).any(0)
    best = [called_states(tree, v)[int(i)] for v, i in enumerate(p.argmax(0))]
    words = f"posterior given {counted(int(seen.sum()), 'variable')}"
    log_z = float(posterior.log_partition.reshape(-1)[0])
    more = f", row 0 of {rows:,}" if posterior.batched else ""
    names = tuple(short(name, 12) for name in tree.names)
    return Beliefs(p, names, tuple(best), seen, tree.cardinality, f"{words}{more}, log partition {log_z:.4g}")


def draw_beliefs(axes: Axes, beliefs: Beliefs, place: Mapping[int, tuple[float, float]], side: float) -> None:
    """A box with bars for each variable, and beside it the likeliest state with its probability."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    bars, colors = [], []
    for v, (x, y) in place.items():
        color = SEEN if beliefs.seen[v] else BELIEF
        axes.add_patch(Rectangle((x - side / 2, y - side / 2), side, side, fc="white", ec=color, lw=1.3, zorder=3))
        n = int(beliefs.cardinality[v])
        wide = 0.86 * side / n
        for s, q in enumerate(beliefs.p[:n, v].tolist()):
            left = x - 0.43 * side + wide * s
            bars.append(Rectangle((left + 0.1 * wide, y - side / 2), 0.8 * wide, side * q))
            colors.append(color)
        likeliest = f"{short(beliefs.states[v], 9)} {beliefs.p[:n, v].max():.2f}"
        for at, va, words in ((side / 2 + 0.04, "bottom", beliefs.names[v]), (-side / 2 - 0.04, "top", likeliest)):
            text = axes.text(x, y + at, words, fontsize=SMALL, ha="center", va=va, color=INK, zorder=5)
            text.set_parse_math(False)
            halo(text)
    axes.add_collection(PatchCollection(bars, facecolors=colors, linewidths=0, zorder=4))
    height = axes.get_ylim()[1]
    for i, (color, words) in enumerate(((BELIEF, "inferred"), (SEEN, "seen, or weighed by evidence"))):
        axes.scatter([0.35 + 1.15 * i], [height - 0.55], s=45, marker="s", c=color)
        axes.text(0.47 + 1.15 * i, height - 0.55, words, fontsize=SMALL, va="center", color=GREY)
