"""Constructions A and B: a piecewise-linear exp, the matrix psi, a piecewise-linear log.

With max h = 0, row s sees ``y = sum_a psi(s, a) e^(h_a)`` between ``min_a psi(s, a)`` and ``sum_a psi(s, a)``, so psi
must be positive. Replacing exp by E turns y into y', and the error of a row is

    log y' - log y  (made by E)   +   L(y') - log y'  (made by the piecewise-linear log L).

The second part is certified on the range that y' takes. The first part is exact too: a state a* with h = 0 adds
``psi(s, a*) (E(0) - lam)`` to ``y' - lam y``, and every other state at most ``psi(s, a) sup_x (E(x) - lam e^x)``, so
``y' <= lam y`` for all inputs if and only if

    (E(0) - lam) + ratio sup_x (E(x) - lam e^x) <= 0,      ratio = sum_{a != a*} psi(s, a) / psi(s, a*),

for the largest ratio of the row: x = 0 is among the x, so the supremum is not negative where the sum is 0. The lower
end is computed alike. A uses uniform grids (the paper's way), B minimax pieces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import wrightomega
from torch import Tensor

from hgm.errors import Uncertifiable
from hgm.relu.constructions.logmatrix import LogMatrix, checked, oscillation, require_positive, weight
from hgm.relu.pieces.grids import log_units, uniform_exp, uniform_log
from hgm.relu.pieces.piecewise import ErrorRange, Floats, PiecewiseLinear, certify
from hgm.relu.pieces.targets import Log, minimax
from hgm.relu.pieces.tube import relative_exp

__all__ = ["ExpLog", "Minimax", "Uniform", "relative_error", "uniform_units"]

#: of one function on a uniform grid
MOST_UNITS = 1_000_000
#: span of a row of log psi beyond which rounding is all that a certificate of exps would show
WIDEST = 30.0


class ExpLog(LogMatrix):
    """``log(psi exp(h))`` with both functions piecewise linear. Needs positive psi and max h = 0 in every column.

    Args:
        log_potential: ``(S_out, S_in)``, finite.
        pieces: an approximation of exp on x <= 0, flat to the left; then one of log for each row, in units of the row's
            largest entry.
    """

    needs_normalised = True

    def __init__(self, log_potential: npt.ArrayLike, pieces: Sequence[PiecewiseLinear]) -> None:
        super().__init__(log_potential, pieces)
        rows = _Rows.of(log_potential, self.kind)
        exp, *logs = pieces
        self.units = self.shape[1] * exp.units + sum(log.units for log in logs)
        spans = rows.spans(exp)
        ranges = [
            certify(log, Log(*span)).plus(error)
            for log, span, error in zip(logs, spans, rows.relative_errors(exp), strict=True)
        ]
        self.error = oscillation(ranges)
        self._rounding = _rounding(exp, logs, [high for _, high in spans], self.shape[1])
        self._rounding += 2 * float(np.abs(rows.log_unit).max())

        ramps = exp.ramps("right")  # all off far to the left, where exp is flat
        self.exp_kinks, self.exp_changes = weight(ramps.kinks), weight(ramps.changes)
        self.exp_offset = weight(ramps.offset)
        self.psi = weight(rows.psi)
        # Facing left: a sum of small steps, instead of a difference of steep lines. Shorter rows are filled up with 0.
        layers = [log.ramps("left") for log in logs]
        width = max(len(layer.kinks) for layer in layers)
        self.log_kinks, self.log_changes = (
            weight([np.pad(values, (0, width - len(values))) for values in column])
            for column in ([layer.kinks for layer in layers], [layer.changes for layer in layers])
        )
        self.log_slope = weight([[layer.slope] for layer in layers])
        self.log_offset = weight([[layer.offset + unit] for layer, unit in zip(layers, rows.log_unit, strict=True)])

    def forward(self, h: Tensor) -> Tensor:
        ramps = torch.relu_(h.unsqueeze(-2) - self.exp_kinks.unsqueeze(-1))
        y = self.psi @ (self.exp_changes @ ramps + self.exp_offset)
        bends = torch.relu_(self.log_kinks.unsqueeze(-1) - y.unsqueeze(-2))
        return (self.log_changes.unsqueeze(-2) @ bends).squeeze(-2) + self.log_slope * y + self.log_offset

    def rounding_steps(self, magnitude: float) -> float:
        """The same for all magnitudes: inputs far to the left have no effect."""
        return self._rounding


class Uniform(ExpLog):
    """Construction A, the baseline: uniform grids."""

    kind = "A"

    @classmethod
    def build(cls, log_potential: npt.ArrayLike, tol: float) -> Self:
        """It can take any number of units, but is not built if one function takes over a million."""
        rows = _Rows.of(log_potential, cls.kind)
        exps, per_row = uniform_units(log_potential, tol)
        if exps + max(per_row) > MOST_UNITS:
            raise Uncertifiable(
                f"construction A would take {rows.psi.shape[1] * exps + sum(per_row):.1e} units for {tol:g}; use B or C"
            )
        exp = uniform_exp(exps)
        logs = [uniform_log(*span, n) for span, n in zip(rows.spans(exp), per_row, strict=True)]
        return cls(log_potential, [exp, *logs])


class Minimax(ExpLog):
    """Construction B: the best pieces."""

    kind = "B"

    @classmethod
    def build(cls, log_potential: npt.ArrayLike, tol: float) -> Self:
        """The exps get the share of the tolerance with the fewest units, each log what E leaves of it in its row.

        That share minimises ``exps / sqrt(eps) + logs / sqrt(delta)``, up to whole units.
        """
        rows = _Rows.of(log_potential, cls.kind)
        ratio = max(float(rows.ratios.max()), 1e-9)
        exps, logs = _costs(rows)
        eps = tol / 2 * exps ** (2 / 3) / (exps ** (2 / 3) + logs ** (2 / 3)) if exps > 0 else tol / 2
        guess = int(exps / rows.psi.shape[1] / math.sqrt(eps))

        def candidate(units: int) -> tuple[int, PiecewiseLinear]:
            """The number of all units, nearly, with so many for each exp, and the exp."""
            exp = relative_exp(ratio, units=units)
            eps = ratio * float(exp.values[0])
            left = tol / 2 - math.atanh(eps) if eps < 1 else 0.0
            if left <= 0:
                return 10**12, exp
            low, high = np.array(rows.spans(exp)).T
            return rows.psi.shape[1] * exp.units + int(log_units(np.log(high / low), left).sum()), exp

        _, exp = min((candidate(units) for units in range(max(guess - 1, 0), guess + 3)), key=lambda c: c[0])
        layers = []
        for span, error in zip(rows.spans(exp), rows.relative_errors(exp), strict=True):
            left = 0.5 * (tol - (error.high - error.low)) * (1 - 1e-9) - 1e-12
            if not left > 0:
                raise Uncertifiable(
                    f"construction B cannot reach {tol:g} for a row whose entries differ by {ratio:.2g}; use C"
                )
            layers.append(minimax(Log(*span), tol=left).moved(up=-0.5 * (error.low + error.high)))
        return cls(log_potential, [exp, *layers])

    @classmethod
    def cost(cls, log_potential: npt.ArrayLike) -> float:
        """Half of the error on each side of 0."""
        exps, logs = _costs(_Rows.of(log_potential, cls.kind))
        return math.sqrt(2) * (exps ** (2 / 3) + logs ** (2 / 3)) ** 1.5

    @classmethod
    def expected_parameters(cls, log_potential: npt.ArrayLike, tol: float) -> float:
        """All states share one exp, and all rows' logs are as long as one."""
        rows = _Rows.of(log_potential, cls.kind)
        exps, logs = _costs(rows)
        share = exps ** (2 / 3) / (exps ** (2 / 3) + logs ** (2 / 3))
        longest = len(rows.psi) * float(np.log(rows.spread).max()) / 4
        kinks = exps / rows.psi.shape[1] / math.sqrt(tol / 2 * share) + longest / math.sqrt(tol / 2 * (1 - share))
        return 2 * kinks + rows.psi.size + 2 * len(rows.psi) + 1


@dataclass(frozen=True)
class _Rows:
    """A positive matrix, each row in units of its largest entry."""

    psi: Floats
    log_unit: Floats  # (S_out,)

    @classmethod
    def of(cls, log_potential: npt.ArrayLike, kind: str) -> _Rows:
        table = checked(log_potential)
        require_positive(table, kind)
        widest = float(np.ptp(table, axis=1).max())
        if widest > WIDEST:
            raise Uncertifiable(
                f"construction {kind} cannot be certified in float64 for a row whose entries span a factor of "
                f"e^{widest:.0f}; use C"
            )
        log_unit = table.max(axis=1)
        return cls(np.exp(table - log_unit[:, None]), log_unit)

    @property
    def spread(self) -> Floats:
        """``(S_out,)`` the largest y of a row relative to the smallest."""
        return self.psi.sum(axis=1) / self.psi.min(axis=1)

    @property
    def ratios(self) -> Floats:
        """``(S_out,)`` largest weight of the other states of a row relative to one state."""
        return np.maximum(self.spread - 1, 0.0) * (1 + 1e-12)

    def relative_errors(self, exp: PiecewiseLinear) -> list[ErrorRange]:
        """The range of log y' - log y, per row."""
        return [ErrorRange(*row) for row in np.column_stack(relative_error(exp, self.ratios)).tolist()]

    def spans(self, exp: PiecewiseLinear) -> list[tuple[float, float]]:
        """The range of ``y' = sum_a psi(s, a) E(h_a)`` over all h <= 0 with some h_a = 0, per row."""
        corners = exp(np.append(np.minimum(exp.knots, 0.0), 0.0))
        low, top, high = corners.min(), corners[-1], corners.max()
        total, least = self.psi.sum(axis=1), self.psi.min(axis=1)
        lowest = (total * low + least * (top - low)) * (1 - 1e-12)
        if not (lowest > 0).all() or exp.left != 0:
            raise Uncertifiable("the piecewise-linear exp must be flat to the left, and keep every sum positive")
        return [(float(a), float(b)) for a, b in zip(lowest, total * high * (1 + 1e-12), strict=True)]


def relative_error(exp: PiecewiseLinear, ratios: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The range of log y' - log y for each of some ratios, as lowest and highest values, rounded outwards.

    It is that of log of ``(E(0) + r E(x)) / (1 + r e^x)`` over x <= 0, and of E(0) alone. On a piece
    ``E(x) = alpha + beta x`` the quotient is extreme at an end, or where ``e^-x = A + r x`` with
    ``A = (E(0) + r alpha) / beta - r``: at ``x = omega(A / r - log r) - A / r`` with Wright's function omega, the
    solution of ``omega + log omega = z``.
    """
    r = np.atleast_1d(np.asarray(ratios, dtype=np.float64))[:, None]
    end, inside = float(exp(0.0)), exp.knots[exp.knots < 0]
    edges = np.concatenate(([-np.inf], inside, [0.0]))
    slopes = exp.slopes[: len(edges) - 1]
    alphas = exp(edges[1:]) - slopes * edges[1:]
    with np.errstate(all="ignore"):
        shift = (end / r + alphas) / slopes - 1
        touch = wrightomega(shift - np.log(r)) - shift
    touch = np.where((touch > edges[:-1]) & (touch < edges[1:]), touch, 0.0)
    x = np.concatenate((touch, np.broadcast_to(edges[1:], (len(r), len(edges) - 1))), axis=1)
    values = (end + r * exp(x)) / (1 + r * np.exp(x))
    tail = end + r * (float(exp.values[0]) if exp.left == 0 else -np.copysign(np.inf, exp.left))
    values = np.concatenate((values, tail, np.full_like(r, end)), axis=1)
    sizes = 1 + np.abs(exp.knots).max() + np.abs(exp.values).max() + abs(end)
    allowance = 64 * np.finfo(np.float64).eps * sizes * (1 + r[:, 0])
    with np.errstate(all="ignore"):
        lowest = values.min(axis=1) - allowance
        low = np.where(lowest > 0, np.log(lowest), -np.inf)
        return low, np.log(values.max(axis=1) + allowance)


def _costs(rows: _Rows) -> tuple[float, float]:
    """Constants c of ``units = c / sqrt(error)`` for all exps and all logs of construction B."""
    exps = rows.psi.shape[1] * math.asinh(math.sqrt(rows.ratios.max())) / 2
    return exps, float(np.log(rows.spread).sum()) / 4


def uniform_units(log_potential: npt.ArrayLike, tol: float) -> tuple[int, list[int]]:
    """ReLUs of construction A: for each exp, and for the log of each row; the split of the tolerance is the best one.

    The grid of exp has the error 1/(n + 1) at its flat tail, one-sided, hence log(1 + ratio / (n + 1)) in log y; a
    piece of the grid of log from y to r y has the error ``c - 1 - log c``, ``c = log(r) / (r - 1)``, one-sided.
    """
    from scipy.optimize import brentq  # here, for a light `import hgm`

    rows = _Rows.of(log_potential, "A")
    best: tuple[int, list[int]] = (0, [])
    fewest = math.inf
    tol = min(tol, 10.0)  # beyond, brackets and exponentials end
    for share in np.geomspace(1e-4, 0.5, 60):
        exp = max(math.ceil(rows.ratios.max() / math.expm1((1 - share) * tol * (1 - 1e-9))) - 1, 0)
        step = brentq(lambda r, e=share * tol: _chord_of_log(r) - e, 1e-12, 1e6) * (1 - 1e-9)
        logs = [max(math.ceil((ratio - 1) / step) - 1, 0) for ratio in rows.spread]
        total = rows.psi.shape[1] * exp + sum(logs)
        if total < fewest:
            fewest, best = total, (exp, logs)
    return best


def _chord_of_log(width: float) -> float:
    """Largest error of the chord of log on [1, 1 + width]."""
    slope = math.log1p(width) / width
    return slope - 1 - math.log(slope)


def _rounding(exp: PiecewiseLinear, logs: Sequence[PiecewiseLinear], highs: Sequence[float], states: int) -> float:
    """Rounding in units of eps: relative error of y', through the logs' slopes, and of the logs' own sums; twice.

    Inputs left of the first knot of exp have no effect, so only those within its reach count. All terms of E and y'
    are non-negative, so their relative errors do not grow; a shift of the input by eps |x| changes E by the relative
    amount E'/E at most.
    """
    reach = float(np.abs(exp.knots).max())
    steepness = float(np.max(exp.slopes[1:] / np.maximum(exp.values, 1e-300)))
    of_y = exp.units + exp.knots.size + states + 6 + 2 * reach * steepness
    worst = 0.0
    for log, top in zip(logs, highs, strict=True):
        corners = np.append(log.knots, top)
        stretch = float(np.max(np.abs(log.slopes * corners)))
        sizes = float(np.abs(log.values).max() + np.sum(np.abs(np.diff(log.slopes)) * log.knots) + abs(log.right) * top)
        worst = max(worst, stretch * of_y + (log.units + 6) * (sizes + 1))
    return 2 * worst
