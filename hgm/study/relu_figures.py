"""What the study of ReLU networks finds, and how it is written: a table, plots, and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.files.whole import write_whole
from hgm.relu.pieces.piecewise import Target, certify
from hgm.relu.pieces.targets import Exp, Log, SoftplusTail, minimax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["METHODS", "Row", "write"]

METHODS = ("A, naive", "A, sharp", "uniform", "optimal")


@dataclass(frozen=True)
class Row:
    """One model and tolerance.

    Attributes:
        arity: children per node.
        depth: levels below the root.
        states: S.
        bound: K, the entries of psi are log-uniform in [1/K, K].
        tol: on the log posterior.
        units: by method; see `hgm.study.relu`. ``built`` is the number of a network that was built.
        parameters: by method.
        certified: its bound.
        measured: the largest error found by gradient ascent from random and contradictory evidence.
    """

    arity: int
    depth: int
    states: int
    bound: float
    tol: float
    units: dict[str, float]
    parameters: dict[str, float]
    certified: float | None = None
    measured: float | None = None

    @property
    def slack(self) -> float | None:
        """The certified error over the largest one found, where a network was built."""
        return self.certified / self.measured if self.certified and self.measured else None

    @property
    def saving(self) -> float:
        """How many times fewer units than with the paper's construction and the naive bound."""
        return self.units["A, naive"] / self.units.get("built", self.units["optimal"])


def write(rows: Sequence[Row], out: str | os.PathLike[str]) -> None:
    """Write table, plots and JSON of the rows into the folder `out`."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "study.json", json.dumps([_short(row) for row in rows], separators=(",", ":")).encode())
    write_whole(folder / "study.md", _table(rows).encode())
    _plot(rows, folder / "units.svg")
    _pieces(folder / "pieces.svg")


def _short(row: Row) -> dict[str, Any]:
    data = {key: value for key, value in asdict(row).items() if value is not None}
    data |= {key: float(f"{data[key]:.3g}") for key in ("certified", "measured") if key in data}
    return data | {key: {name: float(f"{n:.3g}") for name, n in data[key].items()} for key in ("units", "parameters")}


def _table(rows: Sequence[Row]) -> str:
    """Two tables: units, and parameters."""
    from tabulate import tabulate

    def cells(row: Row, sizes: dict[str, float]) -> list[Any]:
        built = f"{sizes['built']:,.0f}" if "built" in sizes else ""
        return [row.arity, row.depth, row.states, f"{row.bound:g}", *(f"{sizes[name]:.1e}" for name in METHODS), built]

    chosen = [row for row in rows if row.tol == 1e-2]
    weights = [cells(row, row.parameters) for row in chosen]
    units = [cells(row, row.units) for row in chosen]
    for line, row in zip(units, chosen, strict=True):
        line += [f"{row.measured:.4f}", f"{row.slack:.1f}"] if row.slack else ["", ""]
        line.append(f"{row.saving:.0e}")
    names = ["arity", "depth", "S", "K", *METHODS, "built"]
    tables = [(units, [*names, "measured", "certified / measured", "saving"]), (weights, names)]
    written = [tabulate(body, headers, tablefmt="github", disable_numparse=True) for body, headers in tables]
    return f"# Units at tolerance 0.01\n\n{written[0]}\n\n# Parameters at tolerance 0.01\n\n{written[1]}\n"


def _plot(rows: Sequence[Row], path: Path) -> None:
    """Units against tolerance, one panel for each number of states: the deepest tree of the smallest arity, K = 10."""
    from matplotlib.figure import Figure

    depth = max(row.depth for row in rows)
    chosen = [row for row in rows if row.arity == 2 and row.depth == depth and row.bound == 10.0] or list(rows)
    states = sorted({row.states for row in chosen})
    figure = Figure(figsize=(2.6 * len(states) + 0.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(states), sharey=True, squeeze=False)
    for axis, s in zip(axes[0], states, strict=True):
        mine = [row for row in chosen if row.states == s]
        for name in METHODS:
            axis.loglog([row.tol for row in mine], [row.units[name] for row in mine], marker="o", label=name)
        axis.set_title(f"S = {s}")
        axis.set_xlabel("tolerance")
    axes[0][0].set_ylabel("units")
    lines, names = axes[0][0].get_legend_handles_labels()
    figure.legend(lines, names, frameon=False, ncols=len(names), loc="outside lower center")
    _save(figure, path)


def _pieces(path: Path) -> None:
    """The piecewise-linear exp, log and log(1 + e^-t) with 4 ReLUs, and below each its error and the proven bound."""
    from matplotlib.figure import Figure

    targets: list[tuple[str, Target, tuple[float, float]]] = [
        ("exp", Exp(), (-6.0, 0.0)),
        ("log", Log(0.1, 4.0), (0.1, 4.0)),
        ("log(1 + e^-t)", SoftplusTail(), (0.0, 6.0)),
    ]
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(2, 3, sharex="col", height_ratios=(2, 1))
    for (name, target, ends), (curve, error) in zip(targets, axes.T, strict=True):
        x = np.linspace(*ends, 200)
        p = minimax(target, units=4)
        curve.plot(x, target(x), color="0.6", linewidth=3, label=name)
        curve.plot(x, p(x), color="C0", label="4 ReLUs")
        curve.legend(frameon=False)
        error.plot(x, p(x) - target(x), color="C0")
        proved = certify(p, target)
        for bound in (proved.low, proved.high):
            error.axhline(bound, color="C3", linestyle=":")
    axes[1][0].set_ylabel("error")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """The same bytes on every run, and text that stays text."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hgm"}):
        figure.savefig(path, metadata={"Date": None})
