"""What floating point adds to a certificate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.constructions.trial import steps
from hgm.relu.question import Question

__all__ = ["SPAN", "floating_point"]

#: log evidence is assumed to span at most this much where no floor says so; only the floating-point allowance depends
#: on it
SPAN = 50.0


def floating_point(question: Question, built: Sequence[LogMatrix | None]) -> dict[str, float]:
    """What floating point adds to the bound, by precision.

    That is each map's own allowance and that of the sums before it, propagated.
    The sizes of messages follow the same recursion as their errors: a positive map's output spans at most its reach, a
    map with zeros passes on its input's span. A sum of k numbers of size M is off by at most k eps M, twice in
    oscillation. In float32, weights are rounded too: doubled.
    """
    flow, plan, down = question.flow, question.plan, question.down
    finite = [np.isfinite(spec.reach) for spec in flow.maps]
    widths = [
        spec.reach if ok else float(np.ptp(spec.log_psi[np.isfinite(spec.log_psi)])) + math.log(spec.log_psi.shape[1])
        for ok, spec in zip(finite, flow.maps, strict=True)
    ]
    own = []
    for level in plan.levels:
        spans = np.where(level.observed >= 0, question.floor or SPAN, 0.0)
        for factor, position in zip(level.unary, level.unary_position, strict=True):
            table = plan.tree.potential_of(int(factor)).log_potential
            spans[position] += float(np.ptp(table[np.isfinite(table)]))
        own.append(torch.from_numpy(spans))
    spread = flow.errors(_vector(widths), down=down, tau=_vector(0.0 if ok else 1.0 for ok in finite), own=own)
    largest, fan = torch.zeros(2, len(flow.maps), dtype=torch.float64)
    for i, stage in enumerate(flow.stages):
        siblings = torch.bincount(stage.parent, minlength=len(spread.h[i])).double()[stage.parent]
        members = torch.bincount(stage.factor, minlength=len(stage.up)).double()
        total = stage.gathered(spread.h[i + 1])
        largest.scatter_reduce_(0, stage.up, total, "amax")
        fan.scatter_reduce_(0, stage.up, siblings + members, "amax")
        if down:
            whole = (spread.u[i] + total)[stage.factor]
            largest.scatter_reduce_(0, stage.down, whole, "amax")
            fan.scatter_reduce_(0, stage.down, (siblings + members)[stage.factor], "amax")
    added = _vector(
        0.0 if m is None else steps(m, float(size)) + 2 * (float(k) + 8) * float(size)
        for m, size, k in zip(built, largest, fan, strict=True)
    )
    most = 0.0
    errors = flow.errors(added, down=down).b
    for level, at, error, size in zip(plan.levels, question.asked, errors, spread.b, strict=True):
        if len(at):  # the last sum and the softmax
            most = max(most, float((error + 16 * size + 4 * level.states)[torch.from_numpy(at)].max()))
    return {"float64": most * torch.finfo(torch.float64).eps, "float32": most * torch.finfo(torch.float32).eps * 2}


def _vector(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)
