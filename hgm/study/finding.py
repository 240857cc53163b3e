"""What a study finds, and how it is written: paragraphs, tables, figures, and all numbers as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hgm.files.whole import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Finding", "Table"]


@dataclass(frozen=True)
class Table:
    """A table of texts: its title, the head of every column, and the rows. The first column is a name."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        from tabulate import tabulate

        aligned = ("left", *("right",) * (len(self.head) - 1))
        body = tabulate(self.rows, self.head, tablefmt="github", disable_numparse=True, colalign=aligned)
        return f"## {self.title}\n\n{body}"


@dataclass(frozen=True)
class Finding:
    """The result of a study.

    Attributes:
        title: what was studied.
        paragraphs: what was found, with its uncertainty, and what it does not show.
        tables: the numbers, to read.
        figures: by the name of their file, without an ending.
        data: all numbers: what JSON can hold.
    """

    title: str
    paragraphs: Sequence[str]
    tables: Sequence[Table]
    data: Any
    figures: dict[str, Figure] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n\n".join([f"# {self.title}", *self.paragraphs, *map(str, self.tables)])

    def write(self, out: str | os.PathLike[str]) -> None:
        """Write ``study.md``, ``study.json`` and an ``.svg`` for every figure into the folder `out`, made if needed."""
        from hgm.viz.style import save_figure

        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        shown = "".join(f"\n![{name}]({name}.svg)\n" for name in self.figures)
        write_whole(
            folder / "study.json", json.dumps(_short(self.data), separators=(",", ":"), allow_nan=False).encode()
        )
        write_whole(folder / "study.md", f"{self}\n{shown}".encode())
        for name, figure in self.figures.items():
            save_figure(figure, folder / f"{name}.svg")


def _short(data: Any) -> Any:
    """Six digits of every number."""
    if isinstance(data, dict):
        return {key: _short(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_short(value) for value in data]
    return float(f"{data:.6g}") if isinstance(data, float) else data
