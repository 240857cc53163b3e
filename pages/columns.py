"""Tables of docstrings, which are set in columns so that they read well in the code, become tables of the site.

    ========  ==========                     | `Edge` | one parent |
    `Edge`    one parent                     |---|---|
    `Table`   a joint                   ->   | `Table` | a joint factor |
              factor
    ========  ==========

A Markdown extension. Columns begin where the bars of ``=`` do. Between the first bars and second ones, if there are
three, stands the head. A line whose first column is empty goes on with the row above it.
"""

from __future__ import annotations

import re

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

BARS = re.compile(r"={3,}(?: +={3,})+")
BAR = re.compile(r"`[^`]*`|\|")  # in code it is none of the table's
AFTER_FENCES = 24  # a priority: what is code is not looked at


class Columns(Preprocessor):
    """Rewrites each table; bars without an end stay as they are."""

    def run(self, lines: list[str]) -> list[str]:
        done: list[str] = []
        while lines:
            end = self._end(lines) if BARS.fullmatch(lines[0].rstrip()) else 0
            done += _table(lines[: end + 1]) if end else lines[:1]
            lines = lines[end + 1 :] if end else lines[1:]
        return done

    @staticmethod
    def _end(lines: list[str]) -> int:
        """Where the table ends that begins here: at the last bars like the first, before a line that is empty."""
        whole = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
        return max(i for i in range(whole) if lines[i].rstrip() == lines[0].rstrip())


def _table(lines: list[str]) -> list[str]:
    """The table in Markdown."""
    bars, inner = lines[0].rstrip(), lines[1:-1]
    starts = [bar.start() for bar in re.finditer("=+", bars)]
    rows: list[list[str]] = []
    head = next((i for i, line in enumerate(inner) if line.rstrip() == bars), 0)
    for line in inner[:head] + inner[head + bool(head) :]:
        parts = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        cells = [BAR.sub(lambda m: m[0] if m[0] != "|" else "&#124;", part) for part in parts]
        if rows and not cells[0]:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    names = rows.pop(0) if head else [""] * len(starts)
    return ["", *(f"| {' | '.join(row)} |" for row in (names, ["---"] * len(starts), *rows)), ""]


class ColumnsExtension(Extension):
    """Adds the preprocessor; the names of both functions are Markdown's."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.preprocessors.register(Columns(md), "columns", AFTER_FENCES)


def makeExtension(**settings: object) -> ColumnsExtension:
    """The extension, as ``markdown_extensions: [pages.columns]`` asks for it."""
    return ColumnsExtension(**settings)
