"""Which ReLU network for one factor: the registry of constructions, each with a proven bound on its error.

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

A construction of your own (`hgm.relu.constructions.logmatrix.LogMatrix` says what it needs) is entered by
``CONSTRUCTIONS["E"] = Mine``; it can then be asked for by name, competes for the fewest units, and is kept in files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hgm.errors import BadSpec, HgmError, Uncertifiable, extension
from hgm.relu.constructions.constant import Constant
from hgm.relu.constructions.difference import Difference
from hgm.relu.constructions.explog import Minimax, Uniform, uniform_units
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.constructions.tournament import Tournament
from hgm.relu.constructions.trial import check_kind, number, try_out
from hgm.relu.pieces.piecewise import PiecewiseLinear
from hgm.tree.arguments import choice

__all__ = [
    "CONSTRUCTIONS",
    "assemble",
    "baseline_size",
    "build",
    "cheapest",
    "construction",
    "cost",
    "expected_parameters",
]

CONSTRUCTIONS: dict[str, type[LogMatrix]] = {c.kind: c for c in (Constant, Uniform, Minimax, Tournament, Difference)}


def construction(kind: str) -> type[LogMatrix]:
    """The construction of a name. Raises `BadSpec` if there is none, `BadExtension` if it is no whole one."""
    choice("construction", kind, list(CONSTRUCTIONS))
    return check_kind(kind, CONSTRUCTIONS[kind])


def build(kind: str, log_potential: npt.ArrayLike, tol: float) -> LogMatrix:
    """One construction, with as few units as it needs for a tolerance.

    Args:
        kind: a key of `CONSTRUCTIONS`.
        log_potential: ``(S_out, S_in)``, -inf for zeros.
        tol: largest error in oscillation, > 0.

    Raises:
        BadSpec: if there is no such construction.
        BadExtension: if it is from outside and does not do what it must.
        Uncertifiable: if the construction does not apply to the potential or cannot reach the tolerance.
    """
    if not tol > 0:
        raise HgmError(f"a tolerance must be positive; got {tol}")
    made = construction(kind)
    with extension(f"{made.__name__}.build"):
        built = made.build(log_potential, tol)
    module = try_out(built, kind, log_potential)
    if not module.error <= tol:
        raise Uncertifiable(
            f"construction {kind} reaches only {module.error:g} of the tolerance {tol:g}; raise it, or use C"
        )
    return module


def assemble(kind: str, log_potential: npt.ArrayLike, pieces: Sequence[PiecewiseLinear]) -> LogMatrix:
    """A construction from its kind and its `LogMatrix.pieces`, with its error found anew.

    Raises:
        BadSpec: if there is no such construction, or these pieces do not make one.
    """
    made = construction(kind)
    try:
        return try_out(made(log_potential, pieces), kind, log_potential)
    except (ValueError, IndexError) as error:  # Uncertifiable among them
        raise BadSpec(f"these pieces do not make a construction {kind}: {error}") from None


def cheapest(log_potential: npt.ArrayLike, tol: float) -> LogMatrix:
    """The construction with the fewest units among those that apply; of equals, the one with the smallest error."""
    try:
        return build("constant", log_potential, tol)
    except Uncertifiable:
        pass
    # Asymptotic counts, a quarter off at most, tell which constructions cannot win.
    counts = {kind: _cost(kind, log_potential) / math.sqrt(tol) for kind in CONSTRUCTIONS if kind != "constant"}
    best: LogMatrix | None = None
    for kind in sorted(counts, key=counts.__getitem__):
        if best is not None and counts[kind] > 1.25 * best.units:
            break
        try:
            module = build(kind, log_potential, tol)
        except Uncertifiable:
            if kind == "C":  # which applies to all
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
    return min(_cost(kind, log_potential) for kind in CONSTRUCTIONS)


def expected_parameters(log_potential: npt.ArrayLike, tol: float) -> float:
    """About how many weights the construction with the fewest units has, for small tolerances."""
    kind = min(CONSTRUCTIONS, key=lambda kind: _cost(kind, log_potential))
    return construction(kind).expected_parameters(log_potential, tol)


def _cost(kind: str, log_potential: npt.ArrayLike) -> float:
    """The constant of one kind; infinite where it does not apply."""
    made = construction(kind)
    try:
        with extension(f"{made.__name__}.cost"):
            constant = made.cost(log_potential)
    except Uncertifiable:
        return math.inf
    return number(constant, f"{made.__name__}.cost")
