"""What all pictures share: colours, sizes, text, and how a figure is made and saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.errors import HgmError
from hgm.files.whole import checked_ending, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from hgm.viz.drawing import Drawing

__all__ = [
    "GREY",
    "HEAD",
    "INK",
    "LINE",
    "PALE",
    "PALETTE",
    "SHADE",
    "SMALL",
    "TEXT",
    "check_picture_name",
    "draw_gap",
    "draw_title",
    "dress",
    "halo",
    "new_figure",
    "new_plot",
    "require_matplotlib",
    "save_figure",
    "saved",
    "shades",
]

INK = "#222222"
GREY = "#808080"
PALE = "#b8b8b8"
SHADE = "#e4e4e4"
LINE = 1.1  # width of lines, in points
HEAD, TEXT, SMALL = 11.5, 10, 9  # heights of letters, in points: a picture 10 inches wide is read at 700 pixels
#: ten colours that stay apart in print and for colour-blind readers (Okabe and Ito, and Tol)
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9", "#882255", "#44AA99", "#332288", "#999933",
)  # fmt: skip

FORMATS = (".svg", ".png", ".pdf")


def require_matplotlib() -> None:
    """Raises `HgmError` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise HgmError(f"pictures need matplotlib ({error}); install it: pip install 'hgm[demo]'") from None


def check_picture_name(path: str | os.PathLike[str]) -> Path:
    """The path of a picture. Raises `BadSpec` for an ending that no picture has."""
    return checked_ending(path, "a picture", FORMATS)


def new_figure(width: float, height: float) -> tuple[Drawing, Axes]:
    """An empty figure of so many inches, and its axes, whose units are inches from the lower left corner."""
    require_matplotlib()
    from hgm.viz.drawing import Drawing

    figure = Drawing(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_axis_off()
    return figure, axes


def new_plot(
    path: str | os.PathLike[str] | None, width: float = 5.2, height: float = 3.6, rows: int = 1, columns: int = 0
) -> tuple[Drawing, Any]:
    """An empty figure of so many inches, with one axis, or with ``(rows, columns)`` of them, an array.

    Raises `BadSpec` at once for a path that no picture has.
    """
    require_matplotlib()
    from hgm.viz.drawing import Drawing

    if path is not None:
        check_picture_name(path)
    figure = Drawing(figsize=(width, height), facecolor="white", layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False) if columns else figure.subplots()


def saved(figure: Drawing, path: str | os.PathLike[str] | None) -> Drawing:
    """The figure, written if there is a path."""
    if path is not None:
        save_figure(figure, path)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as .svg, .png or .pdf, by the ending of the name.

    Raises:
        BadSpec: for another ending, or a place that cannot be written.
    """
    where = check_picture_name(path)
    from hgm.viz.drawing import picture

    kind: Any = where.suffix.lower().removeprefix(".")
    write_whole(where, picture(figure, kind))


def draw_title(axes: Axes, text: str) -> None:
    """One line over the picture."""
    axes.text(0.25, axes.get_ylim()[1] - 0.2, text, fontsize=HEAD, va="top", color=INK, weight="bold")


def draw_gap(axes: Axes, x: float, top: float, low: float) -> None:
    """Three dots for what is left out."""
    axes.plot([x] * 3, np.linspace(top, low, 3), "o", color=GREY, markersize=2.5)


def dress(axis: Axes, size: float = 8) -> None:
    """A plot's two lines and ticks in grey and its numbers in ink, so many points high; no frame."""
    axis.tick_params(which="both", labelsize=size, color=GREY, labelcolor=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GREY)


def shades(color: str, count: int) -> list[str]:
    """`count` tones of a colour, from dark to light, for things of one family."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(color)
    white = [0.0] if count == 1 else [0.62 * i / (count - 1) for i in range(count)]
    return [to_hex((red + (1 - red) * w, green + (1 - green) * w, blue + (1 - blue) * w)) for w in white]


def halo(text: Text) -> None:
    """A white edge around the letters, so that lines behind do not hurt."""
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
