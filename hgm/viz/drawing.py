"""`Drawing`: a figure that shows itself in a notebook, in light and in dark pages.

In the dark every colour of an SVG keeps its hue and its saturation, and its lightness is turned round:

    lightness -> 1 - 0.9 lightness

So white becomes nearly black, ink nearly white, pale fills dark ones, and the palette brightens a little. The rules
stand in the file: inside a page they follow the page's ``color-scheme``, alone or as an image the reader's. What
knows no ``light-dark()`` shows the picture light, on its own white.
"""

from __future__ import annotations

import colorsys
import io
import re
from typing import Literal

from matplotlib import rc_context
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

__all__ = ["Drawing", "dark", "picture"]

DPI = 200


class Drawing(Figure):
    """A matplotlib figure, of no global state. In a notebook it shows itself as SVG."""

    def _repr_svg_(self) -> str:
        return picture(self, "svg").decode()

    def _ipython_display_(self) -> None:
        """In IPython, whose matplotlib would else show a figure its own way, without rules for dark pages."""
        from IPython.display import display

        display({"image/svg+xml": self._repr_svg_(), "text/plain": repr(self)}, raw=True)


def picture(figure: Figure, kind: Literal["svg", "png", "pdf"]) -> bytes:
    """A figure as a file; the same figure gives the same bytes. An SVG has rules for dark pages."""
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "hgm", "svg.fonttype": "path"}):
        figure.savefig(out, format=kind, dpi=DPI, metadata=undated)
    return _with_rules(out.getvalue().decode()).encode() if kind == "svg" else out.getvalue()


def dark(color: str) -> str:
    """A colour on a dark page, as ``#rrggbb``."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    return to_hex(colorsys.hls_to_rgb(hue, 1 - 0.9 * lightness, saturation))


def _with_rules(svg: str) -> str:
    """The SVG with a rule for each colour in it. matplotlib writes ``fill: #rrggbb``, and leaves black out."""
    found = sorted(set(re.findall(r"(fill|stroke): (#[0-9a-f]{6})", svg)))
    rules = [
        "svg:root { color-scheme: light dark }",  # of the image alone; inside a page the page is the root
        f"svg.hgm {{ fill: light-dark(#000000, {dark('#000000')}) }}",  # of all that has no colour of its own
    ]
    for what, color in found:  # a marker, path id="m...", is used as a copy that no longer stands inside of svg.hgm
        style = f'[style*="{what}: {color}"]'
        new = f"{what}: light-dark({color}, {dark(color)})"
        rules.append(f'svg.hgm {style}, path[id^="m"]{style} {{ {new} !important }}')
    start = svg.index("<svg") + len("<svg")
    head, body = svg[start:].split(">", 1)
    return f'{svg[:start]} class="hgm"{head}>\n<style>\n' + "\n".join(rules) + f"\n</style>{body}"
