"""Which constructions a ReLU network is made of, so that it keeps a tolerance, and the certificate that it does.

    maps of the plan ──► shares of the tolerance ──► a construction for every map ──► certificate

The shares are chosen with the constructions' asymptotic costs (`hgm.relu.allocate`), the certificate is computed
from the errors of the constructions that were built.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hgm.compiler.plan import Plan
from hgm.errors import BadSpec, Uncertifiable
from hgm.evidence.channel import Channel
from hgm.relu.allocate import optimal, settle, uniform
from hgm.relu.certify import Certificate, certify_network, oscillation_for
from hgm.relu.constructions.choose import build, cheapest, cost
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.maps import StageMaps, stage_maps
from hgm.relu.propagate import Flow, flow, propagate
from hgm.tree.possible import possible_states

__all__ = ["Allocation", "Bound", "Construction", "Design", "design"]

Bound = Literal["log_posterior", "tv", "mean"]
Allocation = Literal["optimal", "uniform"]
Construction = Literal["A", "B", "C", "D"]

#: constructions are asked for errors between these
TIGHTEST, LOOSEST = 1e-9, 10.0


@dataclass(frozen=True, eq=False)
class Design:
    """What a ReLU network is made of.

    Attributes:
        possible: ``(S, V)`` from `hgm.tree.possible.possible_states`.
        maps: of every stage, root first.
        built: a construction for every map, in the order of `maps`; ``None`` where none is needed.
        certificate: what is proved about a network of these.
    """

    possible: np.ndarray
    maps: tuple[StageMaps, ...]
    built: tuple[LogMatrix | None, ...]
    certificate: Certificate


@torch.inference_mode(False)  # shares follow gradients, also where the caller has them off
def design(
    plan: Plan,
    channel: Channel,
    leaf_shape: tuple[int, ...],
    query: np.ndarray,
    *,
    down: bool,
    tol: float,
    bound: Bound,
    allocation: Allocation,
    construction: Construction | None,
    floor: float | None,
) -> Design:
    """The design with few units for a tolerance.

    Args:
        plan: the plan.
        channel: the channel of the leaves.
        leaf_shape: shape of the leaf level.
        query: ``(n,)`` tree indices of the asked-for variables.
        down: whether the network distributes.
        tol: the tolerance.
        bound: what it holds for.
        allocation: how it is shared among the maps.
        construction: the only construction to use, or ``None`` for the cheapest of each map.
        floor: B, to floor log evidence at -B below the largest among the possible states.

    Raises:
        BadSpec: for a bad option.
        Uncertifiable: if the tolerance cannot be kept, or the wanted construction does not apply.
    """
    if not 0 < tol < math.inf:
        raise BadSpec(f"a tolerance must be positive and finite; got tol={tol}")
    if floor is not None and not 0 < floor < math.inf:
        raise BadSpec(f"a floor B must be positive and finite, as log evidence is floored at -B; got floor={floor}")
    if allocation not in ("optimal", "uniform"):
        raise BadSpec(f"allocation must be 'optimal' or 'uniform'; got {allocation!r}")
    if construction not in (None, "A", "B", "C", "D"):
        raise BadSpec(f"construction must be 'A', 'B', 'C' or 'D'; got {construction!r}")
    tree = plan.tree
    possible = possible_states(tree)
    maps = tuple(stage_maps(plan, s, possible) for s in plan.stages)
    the_flow = flow(plan, maps)
    asked = [np.flatnonzero(np.isin(level.order, query)) for level in plan.levels]
    spans, sizes = _values(plan, channel, leaf_shape)
    limits = [oscillation_for(bound, tol, spans[level.order[at]]) for level, at in zip(plan.levels, asked, strict=True)]
    proofs: dict[str, Any] = {"tol": tol, "bound": bound, "floor": floor, "down": down}
    target = 1.0
    for _ in range(4):  # what floating point adds is known only once the constructions are
        built = _constructions(plan, the_flow, asked, limits, target, allocation, construction, down)
        certificate = certify_network(plan, the_flow, built, asked, spans, sizes, **proofs)
        reached = {
            "log_posterior": certificate.log_posterior,
            "tv": certificate.total_variation,
            "mean": certificate.mean,
        }[bound]
        if reached <= tol:
            return Design(possible, maps, tuple(built), certificate)
        target *= 0.999 * tol / reached
    raise Uncertifiable(
        f"a tolerance of {tol:g} cannot be kept: floating point alone adds "
        f"{certificate.rounding['float64']:.1e} to the log posterior; raise it"
    )


def _values(plan: Plan, channel: Channel, leaf_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """``(V,)`` each: largest distance between two values, and largest value.

    Values are the channel's at the leaves, state numbers elsewhere.
    """
    cards = plan.tree.cardinality
    spans = (cards - 1).astype(np.float64)
    sizes = spans.copy()
    leaves = plan.inputs[: int(np.prod(leaf_shape))]
    if channel.values is not None:
        values = channel.values.detach().double().cpu()
        table = (values if values.ndim == 2 else values[:, None]).numpy()
        for size in np.unique(cards[leaves]):
            part = table[: int(size)]
            far = np.sqrt(((part[:, None] - part[None]) ** 2).sum(-1)).max()
            spans[leaves[cards[leaves] == size]] = far
            sizes[leaves[cards[leaves] == size]] = np.linalg.norm(part, axis=1).max()
    return spans, sizes


def _constructions(
    plan: Plan,
    flow: Flow,
    asked: Sequence[np.ndarray],
    limits: Sequence[np.ndarray],
    target: float,
    allocation: Allocation,
    construction: Construction | None,
    down: bool,
) -> list[LogMatrix | None]:
    """A construction for every map that is used, so that all asked-for beliefs keep `target` times their limits."""
    used = np.flatnonzero(flow.upward) if not down else np.arange(len(flow.maps))
    if not len(used):
        return [None] * len(flow.maps)
    index, tau = torch.from_numpy(used), flow.tau
    known: dict[tuple[bytes, tuple[int, ...], float], LogMatrix] = {}

    def bound(omega: Tensor) -> Tensor:
        full = torch.zeros(len(flow.maps), dtype=torch.float64).index_add(0, index, omega)
        errors = propagate(flow, full, tau, down=down)
        beliefs = errors.b if down else [errors.h[0]]
        parts = [
            beliefs[level][torch.from_numpy(at)] / torch.from_numpy(limit * target)
            for level, (at, limit) in enumerate(zip(asked, limits, strict=True))
            if len(at)
        ]
        return torch.cat(parts)

    def make_one(log_psi: np.ndarray, error: float) -> LogMatrix:
        return cheapest(log_psi, error) if construction is None else build(construction, log_psi, error)

    def make(k: int, error: float) -> LogMatrix:
        spec = flow.maps[used[k]]
        error = float(np.clip(error, TIGHTEST, LOOSEST))
        key = (spec.log_psi.tobytes(), spec.log_psi.shape, error)
        if key not in known:
            try:
                known[key] = _exact(spec.log_psi) if each[k] == 0 else make_one(spec.log_psi, error)
            except Uncertifiable as problem:
                tree = plan.tree
                f = int(np.flatnonzero(tree.potential_id == flow.potential[used[k]])[0])
                names = ", ".join(str(tree.names[int(v)]) for v in tree.scope_of(f))
                raise Uncertifiable(f"factor ({names}): {problem}") from None
        return known[key]

    costs: dict[tuple[bytes, tuple[int, ...]], float] = {}
    each = np.zeros(len(used))
    for i, k in enumerate(used):
        table = flow.maps[k].log_psi
        identity = (table.tobytes(), table.shape)
        if identity not in costs:
            costs[identity] = cost(table) if len(table) > 1 else 0.0
        each[i] = costs[identity]
    count = flow.count[used]
    omega = uniform(bound, len(used)) if allocation == "uniform" else optimal(bound, count * each)
    omega = omega * (1 - 1e-9)
    if (omega[each > 0] < TIGHTEST).any():
        raise Uncertifiable(
            f"this tolerance asks some map for an error of {omega[each > 0].min():.1e}, below {TIGHTEST:g}, what "
            "float64 can certify; raise it"
        )
    omega = np.clip(omega, TIGHTEST, LOOSEST)
    if allocation == "uniform":
        chosen = [make(k, error) for k, error in enumerate(omega)]
    else:
        guess = each / np.sqrt(omega) if construction is None else np.full(len(used), np.inf)
        chosen = settle(bound, omega, count, guess, make)
    built: list[LogMatrix | None] = [None] * len(flow.maps)
    for k, module in zip(used, chosen, strict=True):
        built[k] = module
    return built


def _exact(log_psi: np.ndarray) -> LogMatrix:
    """The construction of a map that takes no units: a constant message, or one term in every row."""
    try:
        return build("constant", log_psi, TIGHTEST)
    except Uncertifiable:
        return build("C", log_psi, 1.0)
