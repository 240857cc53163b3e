"""Results that show themselves: as text where they are printed, as HTML in a notebook, of the same parts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from hgm.tree.labels import Label

__all__ = ["Shown", "TextTable", "as_html", "telling"]


class TextTable:
    """Rows under headers.

    Args:
        rows: lists of cells, or dicts by header.
        headers: one for each column, none, or ``"keys"`` for rows that are dicts.
        options: of `tabulate.tabulate`, such as ``colalign``. Cells are shown as they are, numbers too, unless
            ``disable_numparse=False``.
    """

    def __init__(self, rows: Iterable[Any], headers: Sequence[str] | str, **options: Any) -> None:
        self.rows, self.headers, self.options = list(rows), headers, {"disable_numparse": True} | options
        self.plain = "simple" if headers else "plain"

    def text(self) -> str:
        """As lines of text."""
        return self._as(self.plain)

    def html(self) -> str:
        """As a table of HTML, all letters escaped."""
        return self._as("html")

    def _as(self, form: str) -> str:
        from tabulate import tabulate  # here, for a light `import hgm`

        return tabulate(self.rows, self.headers, tablefmt=form, **self.options)


class Shown:
    """Base of what shows itself: `print` gives text, a notebook HTML. A subclass says of which parts."""

    def shown(self) -> Iterable[str | TextTable]:
        """Lines of text and tables, one below the other; an empty text is an empty line."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n".join(part if isinstance(part, str) else part.text() for part in self.shown())

    def _repr_html_(self) -> str:
        return as_html(self.shown())


def as_html(parts: Iterable[str | TextTable]) -> str:
    """Texts and tables as HTML, one below the other, all letters escaped."""
    style = "white-space: pre-wrap"
    return "\n".join(
        part.html() if isinstance(part, TextTable) else f'<div style="{style}">{html.escape(part.strip())}</div>'
        for part in parts
        if part
    )


def telling(things: Sequence[Label]) -> list[str]:
    """The texts of names or labels, or as Python writes them if two have the same text."""
    texts = [str(thing) for thing in things]
    return texts if len(set(texts)) == len(texts) else [repr(thing) for thing in things]
