"""The certificate of a ReLU network: what is proved about its error, under which assumptions, and at what cost.

With E_b a bound on the oscillation error of a belief (`hgm.relu.propagate`), p the exact posterior of a variable and
p' the network's:

    |log p(a) - log p'(a)| <= E_b                  for every state a
    total variation        <= tanh(E_b / 4)
    |E[x] - E'[x]|         <= (largest - smallest value) tanh(E_b / 4)

The second line: of all pairs with osc(log p - log p') <= E, two states with log-odds -E/2 and E/2 are the furthest
apart, and there the total variation is ``sigmoid(E / 2) - sigmoid(-E / 2) = tanh(E / 4)``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from hgm.compiler.plan import Plan
from hgm.errors import BadSpec, Uncertifiable
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.propagate import Flow, propagate
from hgm.tree.potential import Rules

__all__ = ["Certificate", "LevelBudget", "certify_network", "floor_error", "oscillation_for"]

#: log evidence is assumed to span at most this much where no floor says so; only the floating-point allowance depends
#: on it
SPAN = 50.0


@dataclass(frozen=True)
class LevelBudget:
    """One direction of one stage.

    Attributes:
        level: the parents' level.
        direction: ``"up"`` or ``"down"``.
        factors: messages sent.
        kinds: constructions used, with how many factors use each.
        error: largest error of one map, in oscillation.
        contraction: largest Birkhoff coefficient of one map.
        total: largest error of a message after the stage: all errors below (up) or above and beside (down).
        units: ReLUs, for one evaluation.
        parameters: weights stored.
    """

    level: int
    direction: str
    factors: int
    kinds: dict[str, int]
    error: float
    contraction: float
    total: float
    units: int
    parameters: int


@dataclass(frozen=True)
class Certificate:
    """What is proved about a ReLU network. `print` shows it as a table; `to_json` and `from_json` keep it.

    Attributes:
        tol: the tolerance that was asked for.
        bound: what it was asked for: ``"log_posterior"``, ``"tv"`` or ``"mean"``.
        log_posterior: bound on ``|log p - log p'|`` for every state of every asked-for variable.
        total_variation: bound on the total variation, for every asked-for variable.
        mean: bound on the posterior means: of the channel's values at leaves, of state numbers elsewhere.
        worst: the variable with the largest bound on the log posterior.
        rounding: what floating point adds to `log_posterior`, to first order, by precision. The bounds contain that of
            float64.
        floor: B if log evidence is floored at -B below its maximum, else ``None``.
        floor_total_variation: bound on what flooring itself does to the posterior of all variables together, in total
            variation; 1 if nothing can be said, ``None`` without a floor.
        assumptions: what must hold for the bounds to hold.
        levels: the budget, stage by stage.
        units: ReLUs in all, for one evaluation.
        parameters: weights stored in all.
    """

    tol: float
    bound: str
    log_posterior: float
    total_variation: float
    mean: float
    worst: str
    rounding: dict[str, float]
    floor: float | None
    floor_total_variation: float | None
    assumptions: tuple[str, ...]
    levels: tuple[LevelBudget, ...]
    units: int
    parameters: int

    def __str__(self) -> str:
        head = [
            ["|log p - log p'|", f"{self.log_posterior:.3g}", "<= tol" if self.bound == "log_posterior" else ""],
            ["total variation", f"{self.total_variation:.3g}", "<= tol" if self.bound == "tv" else ""],
            ["posterior mean", f"{self.mean:.3g}", "<= tol" if self.bound == "mean" else ""],
        ]
        rows = [
            [
                f"{b.level + 1} -> {b.level}" if b.direction == "up" else f"{b.level} -> {b.level + 1}",
                f"{b.factors:,}",
                ", ".join(f"{kind} {n:,}" for kind, n in b.kinds.items()),
                f"{b.error:.2e}",
                f"{b.contraction:.3f}",
                f"{b.total:.2e}",
                f"{b.units:,}",
                f"{b.parameters:,}",
            ]
            for b in self.levels
        ]
        headers = ["stage", "messages", "constructions", "error", "contraction", "total", "units", "parameters"]
        lines = [
            f"proved, tolerance {self.tol:g} on {self.bound}, largest at {self.worst!r}:",
            tabulate(head, tablefmt="plain", disable_numparse=True),
            f"floating point adds {', '.join(f'{v:.1e} in {k}' for k, v in self.rounding.items())}"
            " (float64 is contained above)",
            f"{self.units:,} units, {self.parameters:,} parameters",
            tabulate(rows, headers, disable_numparse=True, colalign=("left", "right", "left") + ("right",) * 5)
            if rows
            else "(no maps: exact)",
            "assuming:",
            *(f"  - {text}" for text in self.assumptions),
        ]
        return "\n".join(lines)

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """From JSON text. Raises `BadSpec` if it is not that of a certificate."""
        from pydantic import TypeAdapter, ValidationError  # here, for a light `import hgm`

        try:
            return TypeAdapter(cls).validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the text"
            raise BadSpec(f"this is not the JSON of a certificate: {where}: {first['msg']}") from None


def oscillation_for(bound: str, tol: float, span: np.ndarray) -> np.ndarray:
    """The largest E_b for which a tolerance holds, for variables whose values span ``span``."""
    if bound == "log_posterior":
        return np.full(len(span), tol)
    if bound == "tv":
        return np.full(len(span), 4 * math.atanh(min(tol, 0.999)))
    if bound == "mean":
        return np.array([4 * math.atanh(min(tol / s, 0.999)) if s > 0 else 4 * math.atanh(0.999) for s in span])
    raise BadSpec(f"bound must be 'log_posterior', 'tv' or 'mean'; got {bound!r}")


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
        table = p.dense_log() if isinstance(p, Rules) and p.size == np.prod(p.shape) else p.log_potential
        if np.isneginf(table).any() or table.shape != p.shape:
            oscillations.append([np.inf if size > 1 else 0.0 for size in p.shape])
        else:
            oscillations.append([float(np.ptp(table, axis=axis).max()) for axis in range(p.axes)])
    for axis in range(max((p.axes for p in tree.potentials), default=0)):
        own = np.array([o[axis] if axis < len(o) else 0.0 for o in oscillations])
        factors = np.flatnonzero(np.diff(tree.scope_ptr) > axis)
        np.add.at(reach, tree.scope[tree.scope_ptr[factors] + axis], own[tree.potential_id[factors]])
    observed = plan.inputs
    growth = np.logaddexp(0.0, np.log(np.maximum(tree.cardinality[observed] - 1, 1e-300)) + reach[observed] - floor)
    return float(-np.expm1(-growth.sum())) if np.isfinite(reach[observed]).all() else math.inf


def certify_network(
    plan: Plan,
    flow: Flow,
    built: Sequence[LogMatrix | None],
    asked: Sequence[np.ndarray],
    spans: np.ndarray,
    sizes: np.ndarray,
    *,
    tol: float,
    bound: str,
    floor: float | None,
    down: bool,
) -> Certificate:
    """The certificate of a network's constructions.

    Args:
        plan: the plan.
        flow: its flow.
        built: ``(K,)`` the constructions, ``None`` where not used.
        asked: per level the positions of the asked-for variables.
        spans: ``(V,)`` largest distance between two values of every variable.
        sizes: ``(V,)`` its largest value.
        tol: the tolerance that was asked for.
        bound: what it was asked for.
        floor: B, or ``None``.
        down: whether the network distributes.
    """
    used = [m for m in built if m is not None]
    omega = torch.tensor([0.0 if m is None else m.error for m in built], dtype=torch.float64)
    errors = propagate(flow, omega, flow.tau, down=down)
    beliefs = errors.b if down else [errors.h[0]]
    extra = {
        name: _rounding(plan, flow, built, asked, floor, down, dtype)
        for name, dtype in (("float64", torch.float64), ("float32", torch.float32))
    }
    worst, mean, where, eps = 0.0, 0.0, "", float(np.finfo(np.float64).eps)
    for level, positions in enumerate(asked):
        if not len(positions):
            continue
        e = beliefs[level].numpy()[positions] * (1 + 1e-12) + extra["float64"]
        if not np.isfinite(e).all():
            raise Uncertifiable("no finite bound came out of these constructions; report this model, please")
        variables = plan.levels[level].order[positions]
        if where == "" or e.max() > worst:
            worst, where = float(e.max()), str(plan.tree.names[int(variables[e.argmax()])])
        averaging = eps * (plan.tree.cardinality[variables] + 4) * (spans[variables] + sizes[variables])
        mean = max(mean, float((spans[variables] * np.tanh(e / 4) + averaging).max()))
    assumptions = [
        "the reference is exact belief propagation on the tree's potentials as float64 numbers",
        f"the network runs in float64, input and output too, with its weights as built, on log evidence that spans at "
        f"most {floor or SPAN:g} per variable (the floating-point allowance is to first order and grows with the span; "
        "nothing else does)",
        "probabilities are above 1e-300; smaller ones may come out as 0",
    ]
    floor_tv = None
    if floor is None:
        assumptions.append("log evidence is finite; -inf needs floor=B")
    else:
        floor_tv = floor_error(plan, floor)
        assumptions.append(
            f"conditional on the floor B={floor:g}: the reference gets the same evidence, floored at -{floor:g} below "
            "the largest among each variable's possible states"
        )
        if floor_tv < 0.5:
            assumptions.append(
                "every factor next to evidence is positive, so without the condition all total variations grow by at "
                f"most {floor_tv:.1e}"
            )
        else:
            reason = "a factor next to it has zeros" if math.isinf(floor_tv) else "B is too small"
            assumptions.append(f"nothing is said about evidence below the floor: {reason}")
            floor_tv = min(floor_tv, 1.0)
    units = sum(int(n) * m.units for n, m in zip(flow.count, built, strict=True) if m is not None)
    if floor is not None:
        units += int(plan.tree.cardinality[plan.inputs].sum())
    return Certificate(
        tol=tol,
        bound=bound,
        log_posterior=worst,
        total_variation=math.tanh(worst / 4),
        mean=mean,
        worst=where,
        rounding=extra,
        floor=floor,
        floor_total_variation=floor_tv,
        assumptions=tuple(assumptions),
        levels=tuple(_budgets(flow, built, errors.h, errors.d)),
        units=units,
        parameters=sum(m.parameter_count for m in used),
    )


def _budgets(flow: Flow, built: Sequence[LogMatrix | None], h: list[Tensor], d: list[Tensor]) -> list[LevelBudget]:
    rows = []
    stages = range(len(flow.stages))
    for direction, order in (("up", reversed(stages)), ("down", iter(stages))):
        for stage in order:
            mine = np.flatnonzero((flow.stage == stage) & (flow.upward == (direction == "up")))
            modules = [(int(flow.count[k]), built[k], flow.maps[k]) for k in mine.tolist()]
            present = [(n, m, spec) for n, m, spec in modules if m is not None]
            if not present:
                continue
            kinds: dict[str, int] = {}
            for n, m, _ in present:
                kinds[m.kind] = kinds.get(m.kind, 0) + n
            rows.append(
                LevelBudget(
                    level=stage,
                    direction=direction,
                    factors=sum(n for n, _, _ in present),
                    kinds=kinds,
                    error=max(m.error for _, m, _ in present),
                    contraction=max(spec.tau for _, _, spec in present),
                    total=float((h[stage] if direction == "up" else d[stage + 1]).max()),
                    units=sum(n * m.units for n, m, _ in present),
                    parameters=sum(m.parameter_count for _, m, _ in present),
                )
            )
    return rows


def _rounding(
    plan: Plan,
    flow: Flow,
    built: Sequence[LogMatrix | None],
    asked: Sequence[np.ndarray],
    floor: float | None,
    down: bool,
    dtype: torch.dtype,
) -> float:
    """What floating point adds to the bound: each map's own allowance and that of the sums before it, propagated.

    The sizes of messages follow the same recursion as their errors: a positive map's output spans at most its reach, a
    map with zeros passes on its input's span. A sum of k numbers of size M is off by at most k eps M, twice in
    oscillation. In float32, weights are rounded too: doubled.
    """
    eps = torch.finfo(dtype).eps
    span = SPAN if floor is None else floor
    finite = [np.isfinite(spec.reach) for spec in flow.maps]
    widths = [
        spec.reach if ok else float(np.ptp(spec.log_psi[np.isfinite(spec.log_psi)])) + math.log(spec.log_psi.shape[1])
        for ok, spec in zip(finite, flow.maps, strict=True)
    ]
    own = []
    for level in plan.levels:
        size = np.where(level.observed >= 0, span, 0.0)
        for factor, position in zip(level.unary, level.unary_position, strict=True):
            table = plan.tree.potential_of(int(factor)).log_potential
            size[position] += float(np.ptp(table[np.isfinite(table)]))
        own.append(torch.from_numpy(size))
    spread = propagate(
        flow,
        torch.tensor(widths, dtype=torch.float64),
        torch.tensor([0.0 if ok else 1.0 for ok in finite], dtype=torch.float64),
        own,
        down,
    )
    largest = torch.zeros(len(flow.maps), dtype=torch.float64)
    fan = torch.zeros(len(flow.maps), dtype=torch.float64)
    for i, stage in enumerate(flow.stages):
        siblings = torch.bincount(stage.parent, minlength=len(spread.h[i])).double()[stage.parent]
        members = torch.bincount(stage.factor, minlength=len(stage.up)).double()
        h = spread.h[i + 1][stage.child]
        total = torch.zeros(len(stage.up), dtype=torch.float64).index_add(0, stage.factor, h)
        largest.scatter_reduce_(0, stage.up, total, "amax")
        fan.scatter_reduce_(0, stage.up, siblings + members, "amax")
        if down:
            whole = (spread.u[i] + total)[stage.factor]
            largest.scatter_reduce_(0, stage.down, whole, "amax")
            fan.scatter_reduce_(0, stage.down, (siblings + members)[stage.factor], "amax")
    steps = torch.tensor(
        [
            0.0 if m is None else m.rounding_steps(float(size)) + 2 * (float(k) + 8) * float(size)
            for m, size, k in zip(built, largest, fan, strict=True)
        ],
        dtype=torch.float64,
    )
    errors = propagate(flow, steps, flow.tau, down=down)
    beliefs, sizes = (errors.b, spread.b) if down else ([errors.h[0]], [spread.h[0]])
    most = 0.0
    for i, positions in enumerate(asked):
        if len(positions):
            # the last sum and the softmax
            at = torch.from_numpy(positions)
            most = max(most, float((beliefs[i] + 16 * sizes[i] + 4 * plan.levels[i].states)[at].max()))
    return most * eps * (1 if dtype == torch.float64 else 2)
