"""ReLU networks for one factor, each with a proven bound on its error.

========  ==============================================================  =================================
kind      construction                                                    applies to
========  ==============================================================  =================================
constant  no input at all: the factor says (almost) nothing               bounded log ratios between rows
A         exp and log on uniform grids, the paper's construction          positive psi, max h = 0
B         minimax exp, matrix, minimax log                                positive psi, max h = 0
C         tournament of pairwise log-sum-exp                              all, zeros included
D         one function of h_1 - h_0                                       positive 2x2 psi
========  ==============================================================  =================================

A joint table is a matrix from the product of its children's states, whose input is the sum of the children's messages;
a rule table is such a matrix too, of the combinations that its rules allow. The message in the other direction has the
transposed matrix.
Mei, "U-Nets as Belief Propagation" (arXiv 2404.18444) proves that A exists; the others and all bounds go beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hgm.errors import BadSpec, HgmError, Uncertifiable
from hgm.relu.constructions.difference import Difference, cost_of_difference, difference
from hgm.relu.constructions.explog import (
    ExpLog,
    cost_of_minimax,
    minimax_exp_log,
    parameters_of_minimax,
    uniform_exp_log,
    uniform_units,
)
from hgm.relu.constructions.logmatrix import LogMatrix, checked, contraction, weight
from hgm.relu.constructions.tournament import Tournament, cost_of_tournament, parameters_of_tournament, tournament
from hgm.relu.pieces.piecewise import PiecewiseLinear

__all__ = [
    "KINDS",
    "Constant",
    "Difference",
    "ExpLog",
    "LogMatrix",
    "Tournament",
    "assemble",
    "baseline_size",
    "build",
    "cheapest",
    "contraction",
    "cost",
    "parameters",
]


class Constant(LogMatrix):
    """A constant message, for factors whose rows are nearly proportional. No units.

    f(h)_s - f(h)_t lies between the smallest and the largest ``log psi(s, a) / psi(t, a)`` and reaches both, so the
    error is exactly the largest oscillation over s of ``log psi(s, a) - c_s``, at one of the input states a.
    """

    def __init__(self, log_potential: npt.ArrayLike) -> None:
        super().__init__()
        table = checked(log_potential)
        self.kind, self.shape, self.units, self.pieces = "constant", (table.shape[0], table.shape[1]), 0, ()
        used = table[:, ~np.isneginf(table).all(axis=0)] if len(table) > 1 else np.zeros((1, 1))
        if np.isneginf(used).any():
            raise Uncertifiable("a constant message has no finite bound for a potential with zeros; use construction C")
        centred = used - used.mean(axis=0)
        message = (centred.max(axis=1) + centred.min(axis=1)) / 2
        self.error = float(np.ptp(used - message[:, None], axis=0).max()) * (1 + 1e-14)
        self.message = weight(message[:, None])

    def forward(self, h: Tensor) -> Tensor:
        """``(..., S_in, N) -> (..., S_out, N)``."""
        return self.message + torch.zeros_like(h[..., :1, :])

    def rounding_steps(self, magnitude: float) -> float:
        """The rounding of the constants."""
        return 2 * float(self.message.abs().max())


KINDS: dict[str, Callable[[npt.ArrayLike, float], LogMatrix]] = {
    "constant": lambda log_potential, _: Constant(log_potential),
    "A": uniform_exp_log,
    "B": minimax_exp_log,
    "C": tournament,
    "D": difference,
}


def build(kind: str, log_potential: npt.ArrayLike, tol: float) -> LogMatrix:
    """One construction, with as few units as it needs for a tolerance.

    Args:
        kind: a key of `KINDS`.
        log_potential: ``(S_out, S_in)``, -inf for zeros.
        tol: largest error in oscillation, > 0.

    Raises:
        Uncertifiable: if the construction does not apply to the potential or cannot reach the tolerance.
    """
    if kind not in KINDS:
        raise HgmError(f"no construction {kind!r}; there are {', '.join(KINDS)}")
    if not tol > 0:
        raise HgmError(f"a tolerance must be positive; got {tol}")
    module = KINDS[kind](log_potential, tol)
    if not module.error <= tol:
        raise Uncertifiable(
            f"construction {kind} reaches only {module.error:g} of the tolerance {tol:g}; raise it, or use C"
        )
    return module


def assemble(kind: str, log_potential: npt.ArrayLike, pieces: Sequence[PiecewiseLinear]) -> LogMatrix:
    """A construction from its kind and its `LogMatrix.pieces`, with its error found anew.

    Raises:
        BadSpec: if these pieces do not make such a construction.
    """
    try:
        match kind:
            case "constant":
                () = pieces
                return Constant(log_potential)
            case "A" | "B":
                return ExpLog(log_potential, pieces[0], pieces[1:], kind)
            case "C":
                return Tournament(log_potential, pieces)
            case "D":
                (piece,) = pieces
                return Difference(log_potential, piece)
    except (ValueError, IndexError) as error:  # Uncertifiable among them
        raise BadSpec(f"these pieces do not make a construction {kind}: {error}") from None
    raise BadSpec(f"no construction {kind!r}; there are {', '.join(KINDS)}")


def cheapest(log_potential: npt.ArrayLike, tol: float) -> LogMatrix:
    """The construction with the fewest units among those that apply; of equals, the one with the smallest error."""
    try:
        return build("constant", log_potential, tol)
    except Uncertifiable:
        pass
    # Asymptotic counts, a quarter off at most, tell which constructions cannot win.
    counts = {kind: _cost(kind, log_potential) / math.sqrt(tol) for kind in "DBC"}
    best: LogMatrix | None = None
    for kind in sorted(counts, key=counts.__getitem__):
        if best is not None and counts[kind] > 1.25 * best.units:
            break
        try:
            module = build(kind, log_potential, tol)
        except Uncertifiable:
            if kind == "C":
                raise
            continue
        best = module if best is None else min(best, module, key=lambda m: (m.units, m.error))
    assert best is not None
    return best


def baseline_size(log_potential: npt.ArrayLike, tol: float) -> tuple[int, int]:
    """Units and weights of construction A, counted without building it."""
    exp, logs = uniform_units(log_potential, tol)
    rows, columns = np.shape(log_potential)
    return columns * exp + sum(logs), 2 * (exp + rows * max(logs)) + rows * columns + 2 * rows + 1


def cost(log_potential: npt.ArrayLike) -> float:
    """The constant c of ``units = c / sqrt(tol)`` for small tolerances: that of the cheapest construction."""
    try:
        if Constant(log_potential).error < 1e-12:
            return 0.0
    except Uncertifiable:
        pass
    return min(_cost(kind, log_potential) for kind in "BCD")


def parameters(log_potential: npt.ArrayLike, tol: float) -> float:
    """About how many weights the construction with the fewest units has, for small tolerances."""
    if cost(log_potential) == 0:
        return float(np.shape(log_potential)[0])
    kind = min("BCD", key=lambda kind: _cost(kind, log_potential))
    if kind == "B":
        return parameters_of_minimax(log_potential, tol)
    if kind == "C":
        return parameters_of_tournament(log_potential, tol)
    return 2 * cost_of_difference(log_potential) / math.sqrt(tol) + 4


def _cost(kind: str, log_potential: npt.ArrayLike) -> float:
    """The constant of one kind; infinite where it does not apply."""
    costs = {"B": cost_of_minimax, "C": cost_of_tournament, "D": cost_of_difference}
    try:
        return costs[kind](log_potential)
    except Uncertifiable:
        return math.inf
