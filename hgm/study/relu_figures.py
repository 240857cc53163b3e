"""What the study of ReLU networks finds, and how it is written: a table, plots, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.relu.pieces.piecewise import Target, certify
from hgm.relu.pieces.targets import Exp, Log, SoftplusTail, minimax
from hgm.study.finding import Finding, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["METHODS", "Row", "finding_of"]

SHOWN = 1e-2
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


def finding_of(rows: Sequence[Row]) -> Finding:
    """What rows of models and tolerances say."""
    figures = {"units": _plot(rows), "pieces": _pieces()}
    return Finding(
        "ReLU networks with a certificate", [_said(rows)], _tables(rows), [_short(row) for row in rows], figures
    )


def _said(rows: Sequence[Row]) -> str:
    """In words, of the rows at a tolerance of 0.01."""
    chosen = [row for row in rows if row.tol == SHOWN]
    saved, proven = sorted(row.saving for row in chosen), sorted(row.slack for row in chosen if row.slack)
    built = (
        f" {len(proven)} of them were built, and evidence with a large error was looked for: the bound that is proven "
        f"is {proven[0]:.2f} to {proven[-1]:.2f} times the largest error found, {median(proven):.2f} in the median."
        if proven
        else ""
    )
    return (
        f"Of {len(chosen)} random models at a tolerance of {SHOWN} on the log posterior, the networks that hgm builds "
        f"have {saved[0]:.0e} to {saved[-1]:.0e} times fewer units than the paper's construction on uniform grids "
        f"whose errors are counted in sup norm.{built} Counts are exact; an error found is a lower bound of the "
        "largest one, so the ratio is an upper bound of what the proof gives away. One random model was drawn for each "
        "size: these numbers have no interval over models."
    )


def _short(row: Row) -> dict[str, Any]:
    data = {key: value for key, value in asdict(row).items() if value is not None}
    data |= {key: float(f"{data[key]:.3g}") for key in ("certified", "measured") if key in data}
    return data | {key: {name: float(f"{n:.3g}") for name, n in data[key].items()} for key in ("units", "parameters")}


def _tables(rows: Sequence[Row]) -> list[Table]:
    """Two tables: units, and parameters."""

    def cells(row: Row, sizes: dict[str, float]) -> list[str]:
        built = f"{sizes['built']:,.0f}" if "built" in sizes else ""
        model = [str(row.arity), str(row.depth), str(row.states), f"{row.bound:g}"]
        return [*model, *(f"{sizes[name]:.1e}" for name in METHODS), built]

    chosen = [row for row in rows if row.tol == SHOWN]
    names = ["arity", "depth", "S", "K", *METHODS, "built"]
    units = []
    for row in chosen:
        looked = [f"{row.measured:.4f}", f"{row.slack:.1f}"] if row.slack else ["", ""]
        units.append([*cells(row, row.units), *looked, f"{row.saving:.0e}"])
    return [
        Table(f"Units at tolerance {SHOWN}", [*names, "measured", "certified / measured", "saving"], units),
        Table(f"Parameters at tolerance {SHOWN}", names, [cells(row, row.parameters) for row in chosen]),
    ]


def _plot(rows: Sequence[Row]) -> Figure:
    """Units against tolerance, one panel for each number of states: the deepest tree of the smallest arity, K = 10."""
    from matplotlib.figure import Figure

    depth = max(row.depth for row in rows)
    chosen = [row for row in rows if row.arity == 2 and row.depth == depth and row.bound == 10.0] or list(rows)
    states = sorted({row.states for row in chosen})
    down = -(-len(states) // 2)
    figure = Figure(figsize=(7.1, 2.7 * down + 0.3), layout="constrained")
    axes = figure.subplots(down, 2, sharex=True, sharey=True, squeeze=False)
    for left_over in axes.ravel()[len(states) :]:
        left_over.remove()
    for axis, s in zip(axes.ravel(), states, strict=False):
        mine = [row for row in chosen if row.states == s]
        for name in METHODS:
            axis.loglog([row.tol for row in mine], [row.units[name] for row in mine], marker="o", label=name)
        axis.set_title(f"S = {s}")
        axis.set_xlabel("tolerance")
    for axis in axes[:, 0]:
        axis.set_ylabel("units")
    lines, names = axes[0][0].get_legend_handles_labels()
    figure.legend(lines, names, frameon=False, ncols=len(names), loc="outside lower center")
    return figure


def _pieces() -> Figure:
    """The piecewise-linear exp, log and log(1 + e^-t) with 4 ReLUs, and below each its error and the proven bound."""
    from matplotlib.figure import Figure

    targets: list[tuple[str, Target, tuple[float, float]]] = [
        ("exp", Exp(), (-6.0, 0.0)),
        ("log", Log(0.1, 4.0), (0.1, 4.0)),
        ("log(1 + e^-t)", SoftplusTail(), (0.0, 6.0)),
    ]
    figure = Figure(figsize=(7.1, 4), layout="constrained")
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
    return figure
