"""The computation of a certificate, from the constructions that were built. What it says: `hgm.relu.certificate`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from hgm.compiler.plan import Plan
from hgm.errors import Uncertifiable
from hgm.relu.certificate import Certificate, LevelBudget
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.propagate import Errors, Flow
from hgm.relu.question import Question
from hgm.relu.rounding import SPAN, floating_point
from hgm.tree.labels import Label

__all__ = ["certify_network", "floor_error"]


def certify_network(question: Question, built: Sequence[LogMatrix | None]) -> Certificate:
    """The certificate of a network.

    Args:
        question: what it is asked for.
        built: ``(K,)`` a construction for every map of ``question.flow``, ``None`` where not used.

    Raises:
        Uncertifiable: if there is no finite bound.
    """
    plan, flow, floor = question.plan, question.flow, question.floor
    spans, sizes = question.values
    omega = torch.tensor([0.0 if m is None else m.error for m in built], dtype=torch.float64)
    errors = flow.errors(omega, down=question.down)
    extra = floating_point(question, built)
    worst, mean, eps = 0.0, 0.0, float(np.finfo(np.float64).eps)
    where: Label = None  # which is no name
    for level, at, error in zip(plan.levels, question.asked, errors.b, strict=True):
        if not len(at):
            continue
        e = error.numpy()[at] * (1 + 1e-12) + extra["float64"]
        if not np.isfinite(e).all():
            raise Uncertifiable("no finite bound came out of these constructions; report this model, please")
        variables = level.order[at]
        if where is None or e.max() > worst:
            worst, where = float(e.max()), plan.tree.names[int(variables[e.argmax()])]
        averaging = eps * (plan.tree.cardinality[variables] + 4) * (spans[variables] + sizes[variables])
        mean = max(mean, float((spans[variables] * np.tanh(e / 4) + averaging).max()))
    floor_tv = None if floor is None else floor_error(plan, floor)
    levels = tuple(_budgets(flow, built, errors))
    units = sum(level.units for level in levels)
    if floor is not None:
        units += int(plan.tree.cardinality[plan.inputs].sum())
    return Certificate(
        tol=question.tol,
        bound=question.bound,
        log_posterior=worst,
        total_variation=math.tanh(worst / 4),
        mean=mean,
        worst=where,
        rounding=extra,
        floor=floor,
        floor_total_variation=None if floor_tv is None else min(floor_tv, 1.0),
        assumptions=_assumptions(floor, floor_tv),
        levels=levels,
        units=units,
        parameters=sum(level.parameters for level in levels),
    )


def _assumptions(floor: float | None, floor_tv: float | None) -> tuple[str, ...]:
    first = (
        "the reference is exact belief propagation on the tree's potentials as float64 numbers",
        f"the network runs in float64, input and output too, with its weights as built, on log evidence that spans at "
        f"most {floor or SPAN:g} per variable (the floating-point allowance is to first order and grows with the span; "
        "nothing else does)",
        "probabilities are above 1e-300; smaller ones may come out as 0",
    )
    if floor is None or floor_tv is None:
        return (*first, "log evidence is finite; -inf needs floor=B")
    if floor_tv < 0.5:
        last = (
            "every factor next to evidence is positive, so without the condition all total variations grow by at "
            f"most {floor_tv:.1e}"
        )
    else:
        reason = "a factor next to it has zeros" if math.isinf(floor_tv) else "B is too small"
        last = f"nothing is said about evidence below the floor: {reason}"
    return (
        *first,
        f"conditional on the floor B={floor:g}: the reference gets the same evidence, floored at -{floor:g} below "
        "the largest among each variable's possible states",
        last,
    )


def floor_error(plan: Plan, floor: float) -> float:
    """Bound on the total variation between the posteriors with and without a floor, of all variables together.

    Flooring raises likelihoods l_v to l_v' >= l_v, so the posterior P' with the floor is the mixture
    ``(Z / Z') P + (1 - Z / Z') R`` for some R, and the total variation is at most 1 - Z / Z'. Raising one variable's
    likelihood multiplies Z by at most ``1 + (S - 1) e^(D_v - B)``, with D_v the largest oscillation of what the rest
    of the model says about v: the sum over its factors of ``max log psi(s, c) / psi(s', c)``.
    """
    tree = plan.tree
    reach = np.zeros(len(tree))
    oscillations = []
    for p in tree.potentials:
        if p.positive:
            oscillations.append([float(np.ptp(p.dense_log(), axis=axis).max()) for axis in range(p.axes)])
        else:
            oscillations.append([np.inf if size > 1 else 0.0 for size in p.shape])
    for axis in range(max((p.axes for p in tree.potentials), default=0)):
        own = np.array([o[axis] if axis < len(o) else 0.0 for o in oscillations])
        factors = np.flatnonzero(np.diff(tree.scope_ptr) > axis)
        np.add.at(reach, tree.scope[tree.scope_ptr[factors] + axis], own[tree.potential_id[factors]])
    observed = plan.inputs
    growth = np.logaddexp(0.0, np.log(np.maximum(tree.cardinality[observed] - 1, 1e-300)) + reach[observed] - floor)
    return float(-np.expm1(-growth.sum())) if np.isfinite(reach[observed]).all() else math.inf


def _budgets(flow: Flow, built: Sequence[LogMatrix | None], errors: Errors) -> list[LevelBudget]:
    rows = []
    stages = range(len(flow.stages))
    for direction, order in (("up", reversed(stages)), ("down", iter(stages))):
        for stage in order:
            mine = np.flatnonzero((flow.stage == stage) & (flow.upward == (direction == "up"))).tolist()
            used = [(int(flow.count[k]), m, flow.maps[k].tau) for k in mine if (m := built[k]) is not None]
            if not used:
                continue
            kinds: dict[str, int] = {}
            for n, m, _ in used:
                kinds[m.kind] = kinds.get(m.kind, 0) + n
            rows.append(
                LevelBudget(
                    level=stage,
                    direction=direction,
                    factors=sum(n for n, _, _ in used),
                    kinds=kinds,
                    error=max(m.error for _, m, _ in used),
                    contraction=max(tau for _, _, tau in used),
                    total=float((errors.h[stage] if direction == "up" else errors.d[stage + 1]).max()),
                    units=sum(n * m.units for n, m, _ in used),
                    parameters=sum(m.parameter_count for _, m, _ in used),
                )
            )
    return rows
