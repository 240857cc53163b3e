"""What the study of samplers finds, and how it is written: tables, a plot, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import TYPE_CHECKING, Any

from hgm.study.finding import Finding, Table
from hgm.viz.style import INK, LINE, PALETTE, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bias", "Distance", "Found", "Order", "finding_of"]

#: how a scheduler is called in print, its colour and its marker
LOOKS = {
    "ddpm": ("DDPM", PALETTE[5], "v"),
    "ddim": ("DDIM", PALETTE[0], "o"),
    "euler": ("Euler", PALETTE[2], "s"),
    "flow": ("flow-matching Euler", PALETTE[4], "^"),
    "heun": ("Heun", PALETTE[1], "D"),
    "dpm++": ("DPM-Solver++", PALETTE[3], "P"),
}

FLOOR = 4e-3  # nats: what is less is not drawn
SURE = 1.46  # intervals: 2.87 / 1.96 standard errors, for twelve statements with a risk of 5% in all
HALF = 0.5  # nats: a bias that is small, of some 127


@dataclass(frozen=True)
class Bias:
    """How a sampler's samples differ from exact ones.

    Attributes:
        model: its name.
        scheduler: its short name.
        steps: of the scheduler.
        evaluations: of the denoiser, for each sample.
        bias: E log p minus the truth, in nats a sample.
        half: half its 95% interval.
    """

    model: str
    scheduler: str
    steps: int
    evaluations: int
    bias: float
    half: float

    @property
    def text(self) -> str:
        """As in a table."""
        return f"{round(self.bias, 2) + 0.0:.2f} ± {self.half:.2f}"

    @property
    def most(self) -> float:
        """What its size surely does not exceed."""
        return abs(self.bias) + self.half

    @property
    def clear(self) -> bool:
        """Whether the interval is clear of zero."""
        return abs(self.bias) > self.half


@dataclass(frozen=True)
class Distance:
    """How far a solver is from the probability flow.

    Attributes:
        model: its name.
        solver: short name of its scheduler.
        steps: that it took.
        evaluations: of the denoiser, for each sample.
        distance: root mean square over samples and leaves, in units of the values.
    """

    model: str
    solver: str
    steps: int
    evaluations: int
    distance: float


@dataclass(frozen=True)
class Order:
    """The order of a solver: expected, measured, and half the 95% interval of that."""

    model: str
    solver: str
    expected: int
    measured: float
    half: float

    @property
    def text(self) -> str:
        """As in a table."""
        return f"{self.measured:.3f} ± {self.half:.3f}"


@dataclass(frozen=True)
class Found:
    """All that the study finds.

    Attributes:
        truths: by model, E log p of exact samples in nats, and its standard error.
        biases: by model, scheduler and evaluations.
        distances: by model, solver and steps.
        orders: by model and solver.
    """

    truths: dict[str, tuple[float, float]]
    biases: Sequence[Bias]
    distances: Sequence[Distance]
    orders: Sequence[Order]


def finding_of(found: Found) -> Finding:
    """The finding, biases of every model by scheduler and evaluations, and orders by solver and model."""
    tables = []
    for model in found.truths:
        mine = {(row.scheduler, row.evaluations): row for row in found.biases if row.model == model}
        # Heun's numbers of evaluations are odd: they stand below the next one of the others
        budgets = sorted({count for name, count in mine if name != "heun"})
        body = [[LOOKS[s][0], *(mine[s, b if (s, b) in mine else b - 1].text for b in budgets)] for s in LOOKS]
        tables.append(Table(f"E log p minus the truth, {model}", ["evaluations", *map(str, budgets)], body))
    by = {(row.solver, row.model): row for row in found.orders}
    solvers = {row.solver: row.expected for row in found.orders}
    body = [[LOOKS[s][0], str(order), *(by[s, m].text for m in found.truths)] for s, order in solvers.items()]
    tables.append(Table("Order of the solvers", ["", "order", *(f"measured, {m}" for m in found.truths)], body))
    said = [_finding(found, model) for model in found.truths]
    return Finding("Samplers with the exact denoiser", said, tables, asdict(found), {"samplers": _plot(found)})


def _finding(found: Found, model: str) -> str:
    """In words: who is still told from exact samples at the end, how many evaluations it takes, and the orders."""
    mean, error = found.truths[model]
    told: dict[bool, list[str]] = {True: [], False: []}
    enough = []
    for name, (label, *_) in LOOKS.items():
        rows = [row for row in found.biases if (row.model, row.scheduler) == (model, name)]
        told[abs(rows[-1].bias) > SURE * rows[-1].half].append(f"{label} ({rows[-1].text})")
        good = [row.evaluations for row in rows if row.most < HALF]
        enough.append(f"{label} {good[0]}" if good else f"{label} more than {rows[-1].evaluations}")
    off = max(abs(row.measured - row.expected) for row in found.orders if row.model == model)
    return (
        f"**{model}.** The truth is {mean:.2f} ± {1.96 * error:.2f} nats a sample (all intervals are of 95%, each by "
        f"itself). With the most evaluations, E log p tells from exact samples (at 5% for all schedulers and models "
        f"together) those of {', '.join(told[True]) or 'no scheduler'}, and not those of "
        f"{', '.join(told[False]) or 'any'}. Evaluations until the bias is surely below {HALF} nats: "
        f"{', '.join(enough)}. All solvers have their orders, to {off:.2f} at most; where intervals, which are over "
        "samples, are narrower than that, the rest is of the next order in the step."
    )


def _plot(found: Found) -> Figure:
    """Biases against evaluations, one panel a model, and distances of the last model with their orders."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 * len(found.truths) + 2.4, 3.5), facecolor="white", layout="constrained")
    *panels, last = figure.subplots(1, len(found.truths) + 1)
    for axis, model in zip(panels, found.truths, strict=True):
        counts = sorted({row.evaluations for row in found.biases if row.scheduler != "heun"})
        _dress(axis, f"|E log p \u2212 truth|, {model}", counts)
        _draw_biases(axis, [row for row in found.biases if row.model == model])
        axis.set_ylim(FLOOR, 1.5 * max(row.most for row in found.biases))
    panels[0].set_ylabel("nats", fontsize=8, color=INK)
    shown = [row for row in found.distances if row.model == model]
    counts = sorted({row.evaluations for row in shown})
    _dress(last, f"distance from the probability flow, {model}", [n for n in counts if str(n)[0] in "125"])
    for row in found.orders:
        if row.model == model:
            _draw_distances(last, [d for d in shown if d.solver == row.solver], row)
    last.set_ylabel("root mean square", fontsize=8, color=INK)
    last.legend(frameon=False, fontsize=8, title="order", title_fontsize=8, loc="lower left", alignment="left")
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(lines, names, frameon=False, fontsize=8, ncols=3, loc="outside lower center")
    return figure


def _dress(axis: Axes, title: str, ticks: Sequence[int]) -> None:
    """Both scales logarithmic, and numbers of evaluations written out."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axis.set_xticks([], minor=True)
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_xlabel("evaluations of the denoiser", fontsize=8, color=INK)
    dress(axis)


def _draw_biases(axis: Axes, rows: Sequence[Bias]) -> None:
    """With intervals, lines between those that are clear of zero; of others the upper end only, open, with an arrow."""
    for name, (label, color, marker) in LOOKS.items():
        mine = [row for row in rows if row.scheduler == name]
        looks: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4.5, "elinewidth": 0.8}
        x, half = [row.evaluations for row in mine], [row.half for row in mine]
        clear = [abs(row.bias) if row.clear else nan for row in mine]
        axis.errorbar(x, clear, half, linewidth=LINE, **looks)
        most = [nan if row.clear else row.most for row in mine]
        arrows = [0.3 * y for y in most]
        axis.errorbar(x, most, arrows, uplims=True, capsize=1.8, linewidth=0, markerfacecolor="white", **looks)
        axis.plot([], [], linewidth=LINE, color=color, marker=marker, markersize=4.5, label=label)


def _draw_distances(axis: Axes, rows: Sequence[Distance], order: Order) -> None:
    """A solver, with its order."""
    _, color, marker = LOOKS[order.solver]
    x, y = [row.evaluations for row in rows], [row.distance for row in rows]
    axis.plot(x, y, color=color, marker=marker, markersize=4.5, linewidth=LINE, label=f"{order.measured:.2f}")
