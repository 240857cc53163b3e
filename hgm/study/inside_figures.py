"""Pictures of what `hgm.study.inside` finds of several networks, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hgm.viz.style import INK, LINE, PALETTE, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_effective", "draw_gradients", "draw_probes"]

Found = Mapping[str, Mapping[str, Any]]

LEAST = 1e-5  # share of a squared derivative: what is less is not drawn
MARKERS = "osD^vPX*"
COLUMNS = 4  # panels side by side


def draw_probes(found: Found, cell: bool = False) -> Figure:
    """R² of the nodes of every level along the layers, a panel for each network: filled as it is, open untrained.

    Dotted: what is linear in the data.

    Args:
        found: by the name of a network, what `hgm.study.inside.probes` gave.
        cell: of the middle cell of a node instead of the mean over its block.
    """
    figure, panels = _panels(len(found))
    for panel, (name, one) in zip(panels, found.items(), strict=True):
        layers = list(one["trained"])
        levels = len(one["input"]["r2"])
        for k in range(levels):
            looks = _looks(k)
            for which, more in (("trained", {"label": _level(k, levels)}), ("untrained", _before())):
                told = [one[which][layer]["cell"] if cell else one[which][layer] for layer in layers]
                rows = [{key: of[key][k] for key in ("r2", "low", "high")} for of in told]
                _line(panel, range(len(layers)), rows, "r2", looks | more)
            panel.axhline(one["input"]["r2"][k], color=looks["color"], linewidth=0.7, linestyle=":")
        _dress(panel, name, layers)
        panel.set_ylim(-0.05, 1.02)
    _legend(figure, panels[0], "R² of a node's posterior, by the level of the node")
    return figure


def draw_gradients(found: Found) -> Figure:
    """The norm of the gradient of every part along the network, but for its time: filled as it is, open untrained.

    Args:
        found: by the name of a network, what `hgm.study.inside.gradient_norms` gave.
    """
    figure, panels = _panels(len(found))
    for panel, (name, one) in zip(panels, found.items(), strict=True):
        parts = [part for part in one["trained"] if not part.startswith("time")]
        for which, more in (("trained", {"label": "trained"}), ("untrained", {"label": "untrained"} | _before())):
            _line(panel, range(len(parts)), [one[which][part] for part in parts], "norm", _looks(0) | more)
        _dress(panel, name, parts)
        panel.set_yscale("log")
    _legend(figure, panels[0], "norm of the gradient of a batch")
    return figure


def draw_effective(found: Found) -> Figure:
    """Shares of an output's squared derivative by distance, and by the level of the last common ancestor.

    Args:
        found: by the name of a network, what `hgm.study.inside.effective` gave, of one tree and sigma. The exact one is
            that of the first.
    """
    figure, panels = _panels(2, alike=False)
    (first, *_) = found.values()
    lines = {"exact posterior mean": first["exact"]} | {name: one["network"] for name, one in found.items()}
    depth = len(first["exact"]["levels"]["value"]) - 1
    for panel, what in zip(panels, ("rings", "levels"), strict=True):
        for i, (name, one) in enumerate(lines.items()):
            shares = one[what]
            rows = [dict(zip(shares, row, strict=True)) for row in zip(*shares.values(), strict=True)]
            seen = [j for j, row in enumerate(rows) if row["value"] >= LEAST]
            looks = _looks(i - 1) if i else _looks(0) | {"color": INK, "zorder": 3}
            _line(panel, seen, [rows[j] for j in seen], "value", looks | {"label": name})
        panel.set_yscale("log")
        panel.set_ylim(LEAST, 1.5)
    _dress(panels[0], "by distance", [str(d) for d in range(len(first["exact"]["rings"]["value"]))], 0)
    _dress(panels[1], "by last common ancestor", [_level(k, depth + 1) for k in range(depth)] + ["itself"])
    _legend(figure, panels[0], "share of the squared derivative")
    return figure


def _level(k: int, levels: int) -> str:
    return "root" if k == 0 else "leaves" if k == levels - 1 else f"level {k}"


def _looks(i: int) -> dict[str, Any]:
    return {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "linewidth": LINE}


def _before() -> dict[str, Any]:
    """How what is not trained looks."""
    return {"markerfacecolor": "white", "linestyle": "--", "linewidth": 0.7}


def _line(axis: Axes, x: Sequence[int], rows: Sequence[Mapping[str, float]], key: str, looks: dict[str, Any]) -> None:
    """Numbers with their intervals."""
    y = [row[key] for row in rows]
    half = [[max(0.0, row[key] - row["low"]) for row in rows], [max(0.0, row["high"] - row[key]) for row in rows]]
    axis.errorbar(x, y, half, markersize=3.5, elinewidth=0.7, **looks)


def _panels(count: int, alike: bool = True) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    size = (2.6 * columns + 0.6, 2.7 * rows + 0.5) if alike else (4.2 * columns, 3.6)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=alike).ravel().tolist()
    for panel in panels[count:]:
        panel.set_axis_off()
    return figure, panels[:count]


def _dress(axis: Axes, title: str, ticks: Sequence[str], turned: int = 60) -> None:
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_xticks(range(len(ticks)), ticks, rotation=turned, ha="right" if turned else "center")
    dress(axis)


def _legend(figure: Figure, axis: Axes, says: str) -> None:
    figure.supylabel(says, fontsize=8, color=INK)
    lines, names = axis.get_legend_handles_labels()
    figure.legend(lines, names, frameon=False, fontsize=8, ncols=min(len(names), 6), loc="outside lower center")
