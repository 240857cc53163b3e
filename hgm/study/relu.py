"""The study of ReLU networks: units against tolerance, for the paper's construction and for what hgm builds.

Four ways to reach a bound on the log posterior of every leaf of a layered model:

* ``A, naive``: the paper's construction on uniform grids, errors counted in sup norm, where every normalisation doubles
  an error and nothing contracts; the same error for every map;
* ``A, sharp``: the same construction, with the bound of `hgm.relu.propagate`, one error for every map;
* ``uniform``: the cheapest construction of every map, one error for every map;
* ``optimal``: the cheapest construction, errors shared out (`hgm.relu.allocate`): what `hgm.compile` builds.

Units are counted for one evaluation of the U-Net, over all its nodes. The first two are counted without building (they
reach 10^18), the last two from the constructions' asymptotic costs; small ones are built and measured.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.compiler.levels import by_levels as plan
from hgm.networks.compile import compile
from hgm.relu.allocate import optimal
from hgm.relu.constructions.choose import baseline_size, cost, expected_parameters
from hgm.relu.maps import stage_maps
from hgm.relu.propagate import Flow
from hgm.study.cells import Cell, finished
from hgm.study.registry import study
from hgm.study.relu_figures import Row, finding_of
from hgm.tree.possible import possible_states
from hgm.tree.tree import Tree
from hgm.zoo.layered import random_ghm

__all__ = [
    "ARITIES",
    "BOUNDS",
    "DEPTHS",
    "STATES",
    "TOLERANCES",
    "measure",
    "naive_error",
    "rows_of",
    "run",
    "sizes_of",
]

ARITIES, DEPTHS, STATES, BOUNDS = (2, 3, 4), (3, 4, 5, 6, 7, 8), (2, 4, 8, 16), (2.0, 10.0, 100.0)
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4)

#: trees with at most so many numbers at their leaves are built and measured at 1e-2
BUILT = 1024


def naive_error(flow: Flow, omega: Tensor, leaves: int) -> float:
    """Largest error of a leaf's log posterior, in sup norm, without contraction, doubled by every normalisation.

    One normalisation per level and direction; the log posterior is ``b - log sum exp b``, which doubles once more.
    """
    h, q = [omega.new_zeros(leaves)], []
    for stage in reversed(flow.stages):
        q.append(omega[stage.up] + h[-1][stage.child])
        above = int(stage.parent.max()) + 1
        h.append(2 * omega.new_zeros(above).index_add(0, stage.parent, q[-1]))
    h.reverse()
    q.reverse()
    b = h[0]
    for i, stage in enumerate(flow.stages):
        u = b[stage.parent] + q[i]
        r = omega.new_zeros(stage.below).index_add(0, stage.child, omega[stage.down] + u[stage.factor])
        b = 2 * (r + h[i + 1])
    return float(2 * b.max())


def sizes_of(
    tree: Tree, tolerances: Sequence[float] = TOLERANCES
) -> Iterator[tuple[float, dict[str, float], dict[str, float]]]:
    """Tolerance, units and parameters by method, of a tree of positive edges, counted without building."""
    planned = plan(tree)
    flow = Flow.of(planned, stage_maps(planned, possible_states(tree)))
    maps, count = flow.maps, flow.count.astype(float)
    costs = np.array([cost(m.log_psi) for m in maps])
    ones = torch.ones(len(maps), dtype=torch.float64)

    def bound(omega: Tensor) -> Tensor:
        return flow.errors(omega).b[-1]

    sharp = float(bound(ones).max())
    naive = naive_error(flow, ones, planned.levels[-1].nodes)
    shares = optimal(bound, count * costs)
    for tol in tolerances:
        units: dict[str, float] = {}
        weights: dict[str, float] = {}
        for name, worst in (("A, naive", naive), ("A, sharp", sharp)):
            units[name], weights[name] = _baseline(maps, count, tol / worst)
        spent = {"uniform": np.full(len(maps), tol / sharp), "optimal": np.maximum(shares, 1e-300) * tol}
        for name, errors in spent.items():
            units[name] = float((count * costs / np.sqrt(errors)).sum())
            weights[name] = sum(
                expected_parameters(m.log_psi, error) for m, error in zip(maps, errors.tolist(), strict=True)
            )
        yield tol, units, weights


def _baseline(maps: Sequence[Any], count: np.ndarray, error: float) -> tuple[float, float]:
    """Size of construction A. It grows as 1 / error, nearly (exp on a uniform grid): counted at a power of ten."""
    counted = 10.0 ** max(round(math.log10(error)), -6)
    each = np.array([_baseline_size(m.log_psi.tobytes(), m.log_psi.shape, counted) for m in maps])
    units, weights = each.T * counted / error
    return float(np.dot(count, units)), float(weights.sum())


@lru_cache(maxsize=4096)
def _baseline_size(table: bytes, shape: tuple[int, ...], error: float) -> tuple[int, int]:
    return baseline_size(np.frombuffer(table).reshape(shape), error)


def measure(tree: Tree, tol: float, steps: int = 60, seed: int = 0) -> dict[str, Any]:
    """Build the U-Net of the leaves, and look for evidence with a large error.

    The search starts from random evidence and from evidence that shouts for one state at every leaf, at random, both
    weak and strong, and climbs the error from each: `steps` steps of Adam on the log evidence, then four times as many
    small ones from the best.

    Args:
        tree: the model.
        tol: the tolerance on the log posterior.
        steps: of the ascent.
        seed: of the starts.

    Returns:
        ``units``, ``parameters``, ``certified`` (the bound) and ``measured`` (the largest error found).
    """
    net, exact = compile(tree, activation="relu", tol=tol), compile(tree)
    certificate = net.certificate
    generator = torch.Generator().manual_seed(seed)
    shape = (int(np.clip(2e7 / max(certificate.units, 1), 1, 8)), net.states_in, len(tree.leaves))

    def climb(start: Tensor, steps: int, rate: float) -> tuple[float, Tensor]:
        """The largest error on the way, and the evidence ``(1, S, n)`` that has it."""
        worst, best = 0.0, start[:1]
        e = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([e], lr=rate)
        for _ in range(steps):
            given = e.unflatten(2, net.leaf_shape)
            error = (net(given).log() - exact(given).log()).abs().flatten(1).amax(1)
            largest, row = error.detach().max(0)
            if float(largest) > worst:
                worst, best = float(largest), e.detach()[row][None].clone()
            optimizer.zero_grad()
            (-error.sum()).backward()
            optimizer.step()
        return worst, best

    worst = 0.0
    for scale in (1.0, 3.0, 10.0):
        soft = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        loud = torch.randint(0, shape[1], (shape[0], 1, shape[2]), generator=generator)
        for start in (soft, 2 * scale * (torch.arange(shape[1])[:, None] == loud).double()):
            _, best = climb(start, steps, 0.3)
            worst = max(worst, climb(best, 4 * steps, 0.1)[0])
    return {
        "units": certificate.units,
        "parameters": certificate.parameters,
        "certified": certificate.log_posterior,
        "measured": worst,
    }


def rows_of(arity: int, depth: int, states: int, bound: float) -> list[Row]:
    """The rows of one model, one for each tolerance; models that are not too large are built and measured at 1e-2."""
    tree = random_ghm(depth, states, arity, bound=bound, seed=0)
    rows = []
    for tol, units, weights in sizes_of(tree):
        row = Row(arity, depth, states, bound, tol, units, weights)
        if tol == 1e-2 and arity**depth * states <= BUILT:
            found = measure(tree, tol)
            units["built"], weights["built"] = float(found.pop("units")), float(found.pop("parameters"))
            row = replace(row, **found)
        rows.append(row)
    return rows


@study("relu")
def run(out: str | os.PathLike[str], *, quick: bool = False) -> list[Row]:
    """ReLU networks: units against tolerance, and measured against certified error.

    Writes ``study.md``, ``study.json``, ``units.svg``, ``pieces.svg`` and ``cells.jsonl``.

    Args:
        out: the folder; made if needed.
        quick: only two small models.
    """
    grid = [(m, d, s, k) for s in STATES for k in BOUNDS for m in ARITIES for d in DEPTHS]
    if quick:
        grid = [(2, 3, 2, 10.0), (3, 3, 2, 2.0)]
    cells = [dict(zip(("arity", "depth", "states", "bound"), model, strict=True)) for model in grid]
    rows = [Row(**row) for one in finished(cells, _cell, out) for row in one.found["rows"]]
    finding = finding_of(rows)
    finding.write(out)
    print("\n\n".join(finding.paragraphs))
    return rows


def _cell(cell: Cell) -> dict[str, Any]:
    return {"rows": [asdict(row) for row in rows_of(**cell)]}
