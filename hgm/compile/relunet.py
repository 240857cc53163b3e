"""ReLU networks: `ReluConvNet` and `ReluUNet`, collect and distribute of `hgm.compile.relu`, with a certificate.

    log evidence ──► stages: maps, sums, max normalisation ──► softmax

Beyond the input and the final softmax there are linear maps, convolutions with 0/1 weights (gathers), ReLUs, sums and
max normalisations only. They run in the precision of their weights: float64 as built, ``net.float()``, ``net.half()``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.channel import Channel
from hgm.compile.allocate import optimal, settle, uniform
from hgm.compile.certify import Certificate, certify_network, oscillation_for
from hgm.compile.constructions import build, cheapest, cost
from hgm.compile.logmatrix import LogMatrix
from hgm.compile.maps import possible_states, stage_maps
from hgm.compile.network import Network
from hgm.compile.plan import Plan
from hgm.compile.propagate import Flow, flow, propagate
from hgm.compile.relu import ReluEvidence, ReluStage, normalize
from hgm.errors import BadSpec, HgmError, ImpossibleEvidence, Uncertifiable, listing

__all__ = ["Allocation", "Bound", "Construction", "ReluConvNet", "ReluNetwork", "ReluUNet"]

Bound = Literal["log_posterior", "tv", "mean"]
Allocation = Literal["optimal", "uniform"]
Construction = Literal["A", "B", "C", "D"]

#: constructions are asked for errors between these
TIGHTEST, LOOSEST = 1e-9, 1e3


class ReluNetwork(Network):
    """What `ReluConvNet` and `ReluUNet` share: the constructions, the certificate, the encoder.

    Args:
        plan: the plan.
        channel: the channel of the leaves.
        leaf_shape: shape of the leaf level.
        trainable: make the weights parameters that require gradients.
        query: ``(n,)`` tree indices of the asked-for variables.
        tol: the tolerance.
        bound: what it holds for.
        allocation: how it is shared among the maps.
        construction: the only construction to use, or ``None`` for the cheapest of each map.
        floor: B, to floor log evidence at -B below its maximum.
        down: whether the network distributes.

    Attributes:
        certificate: what is proved about the network as it was built.
        encoder: the stages, leaves first.
    """

    certificate: Certificate
    input_mask: Tensor

    def __init__(
        self,
        plan: Plan,
        channel: Channel,
        leaf_shape: tuple[int, ...],
        trainable: bool,
        query: np.ndarray,
        *,
        tol: float,
        bound: Bound,
        allocation: Allocation,
        construction: Construction | None,
        floor: float | None,
        down: bool,
    ) -> None:
        super().__init__(plan, channel, leaf_shape, trainable)
        if not tol > 0:
            raise BadSpec(f"a tolerance must be positive; got tol={tol}")
        if floor is not None and not floor > 0:
            raise BadSpec(f"a floor B must be positive, as log evidence is floored at -B; got floor={floor}")
        if allocation not in ("optimal", "uniform"):
            raise BadSpec(f"allocation must be 'optimal' or 'uniform'; got {allocation!r}")
        if construction not in (None, "A", "B", "C", "D"):
            raise BadSpec(f"construction must be 'A', 'B', 'C' or 'D'; got {construction!r}")
        tree = plan.tree
        self.floor = floor
        possible = possible_states(tree)
        maps = [stage_maps(plan, s, possible) for s in plan.stages]
        the_flow = flow(plan, maps)
        asked = [np.flatnonzero(np.isin(level.order, query)) for level in plan.levels]
        spans = _value_spans(plan, channel, leaf_shape)
        limits = [
            oscillation_for(bound, tol, spans[level.order[at]]) for level, at in zip(plan.levels, asked, strict=True)
        ]
        proofs: dict[str, Any] = {"tol": tol, "bound": bound, "floor": floor, "down": down}
        target = 1.0
        for _ in range(4):  # what floating point adds is known only once the constructions are
            built = _constructions(plan, the_flow, asked, limits, target, allocation, construction, down)
            self.certificate = certify_network(plan, the_flow, built, asked, spans, **proofs)
            reached = {
                "log_posterior": self.certificate.log_posterior,
                "tv": self.certificate.total_variation,
                "mean": self.certificate.mean,
            }[bound]
            if reached <= tol:
                break
            target *= 0.999 * tol / reached
        else:
            raise Uncertifiable(
                f"a tolerance of {tol:g} cannot be kept: floating point alone adds "
                f"{self.certificate.rounding['float64']:.1e} to the log posterior; raise it"
            )

        self.encoder = nn.ModuleList()
        start = 0
        for stage_map in maps:
            size = sum(len(group.maps) for groups in stage_map.groups for group in groups)
            levels = plan.levels[stage_map.plan.level : stage_map.plan.level + 2]
            self.encoder.insert(0, ReluStage(stage_map, built[start : start + size], *levels))
            start += size
        self.own = nn.ModuleList(ReluEvidence(level, plan, possible) for level in plan.levels)
        mask = np.where(possible[: self.states_in, plan.inputs], 0.0, -np.inf)
        self.register_buffer("input_mask", torch.from_numpy(mask)[:, :, None])
        self.widest = max([m.units for m in built if m is not None], default=1)
        if trainable:
            for parameter in self.parameters():
                parameter.requires_grad_(True)

    @property
    def row_size(self) -> int:
        """Numbers that one batch row takes on the widest level: every unit of every node."""
        return super().row_size * max(1, self.widest // self.states_in)

    def log_partition(self, *observation: Tensor | float, evidence: Tensor | None = None) -> Tensor:
        """Not available: a ReLU network carries messages up to constants only. Raises `HgmError`."""
        raise HgmError("a ReLU network does not know log Z; compile with activation='exact' for it")

    def extra_error(self, dtype: torch.dtype, *observation: Tensor | float, evidence: Tensor | None = None) -> float:
        """What running in another precision changes: measured, not proved.

        Args:
            dtype: such as ``torch.bfloat16``: of a copy's weights and sums.
            observation: as for `forward`.
            evidence: as for `forward`.

        Returns:
            The largest absolute difference of an output: of probabilities, or of means.
        """
        other = copy.deepcopy(self).to(dtype)
        with torch.no_grad():
            gap = other(*observation, evidence=evidence).double() - self(*observation, evidence=evidence).double()
        return float(gap.abs().max())

    def _encode(self, x: Tensor, first_row: int) -> tuple[list[Tensor], list[Tensor]]:
        """h of every level, root first, and q of every stage, leaves first."""
        e = x.to(self.input_mask.dtype).permute(1, 2, 0)[: self.states_in] + self.input_mask
        e = normalize(e)
        if not torch.compiler.is_compiling():
            self._check(e, first_row)
        if self.floor is not None:
            e = torch.relu(e + self.floor) - self.floor + self.input_mask
        own = [level(e) for level in self.own]
        h, q = [normalize(own[-1])], []
        for stage, mine in zip(self.encoder, reversed(own[:-1]), strict=True):
            message, skip = stage.collect(h[-1], mine)  # type: ignore[operator]
            h.append(message)
            q.append(skip)
        return h[::-1], q

    def _check(self, e: Tensor, first_row: int) -> None:
        """Evidence that the certificate does not cover. `e` is normalised: NaN where all states are impossible."""
        names = self.inputs
        if bool(e.isnan().any()):
            rows = (torch.nonzero(e.isnan().any(0).any(0)).flatten() + first_row).tolist()
            raise ImpossibleEvidence(rows, "or holds NaN or +inf")
        if self.floor is None:
            gone = torch.isneginf(e) & (self.input_mask == 0)
            if bool(gone.any()):
                column = int(torch.nonzero(gone.any(0).any(1))[0])
                v = int(self.plan.inputs[column])
                f = int(self.plan.tree.parent_factor[v])
                where = (
                    f"its factor {', '.join(str(self.plan.tree.names[int(u)]) for u in self.plan.tree.scope_of(f))}"
                    if f >= 0
                    else "it has no factor above"
                )
                rows = (torch.nonzero(gone.any(0).any(0)).flatten() + first_row).tolist()
                raise Uncertifiable(
                    f"the evidence at {names[column]!r} ({where}) is -inf in batch rows {listing(rows)}, where no "
                    "finite bound on the log posterior exists; compile with floor=B to floor log evidence at -B (the "
                    "bound is then conditional on B)"
                )


class ReluConvNet(ReluNetwork):
    """The posterior of one variable by linear maps and ReLUs: ``net(observation) -> (B, S)`` probabilities.

    Its arguments are those of `ReluNetwork`, and `query` has one variable, a root.
    """

    def __init__(
        self, plan: Plan, channel: Channel, leaf_shape: tuple[int, ...], trainable: bool, root: int, **options: Any
    ) -> None:
        super().__init__(plan, channel, leaf_shape, trainable, np.array([root]), down=False, **options)
        self.position = int(np.flatnonzero(plan.levels[0].order == root)[0])
        self.states = int(plan.tree.cardinality[root])

    def _run(self, x: Tensor, first_row: int = 0) -> Tensor:
        h, _ = self._encode(x, first_row)
        return h[0][: self.states, self.position].softmax(0).t().to(x.dtype)


class ReluUNet(ReluNetwork):
    """Posteriors of many variables by linear maps and ReLUs. Outputs are those of `hgm.UNet`.

    Args:
        plan: the plan.
        channel: the channel of the leaves.
        leaf_shape: shape of the leaf level.
        trainable: make the weights parameters that require gradients.
        query: ``(n,)`` tree indices of the asked-for variables.
        mean: give posterior means of the channel's values at the leaves instead of marginals.
        options: the other arguments of `ReluNetwork`.
    """

    places: Tensor | None

    def __init__(
        self,
        plan: Plan,
        channel: Channel,
        leaf_shape: tuple[int, ...],
        trainable: bool,
        query: np.ndarray,
        mean: bool,
        **options: Any,
    ) -> None:
        super().__init__(plan, channel, leaf_shape, trainable, query, down=True, **options)
        tree = plan.tree
        self.mean, self.query = mean, query
        self.query_shape = leaf_shape if np.array_equal(query, tree.leaves) else (len(query),)
        self.query_states = int(tree.cardinality[query].max())
        self.read, places = plan.places(query)
        self.register_buffer("places", None if places is None else torch.from_numpy(places), persistent=False)

    def _run(self, x: Tensor, first_row: int = 0) -> Tensor:
        h, q = self._encode(x, first_row)
        b = [h[0]]
        for i, stage in enumerate(reversed(self.encoder)):
            b.append(stage.distribute(b[-1], q[-1 - i], h[i + 1]))  # type: ignore[operator]
        parts = []
        for level in self.read:
            p = b[level].softmax(0)
            if p.shape[0] < self.query_states:
                p = F.pad(p, (0, 0, 0, 0, 0, self.query_states - p.shape[0]))
            parts.append(p[: self.query_states])
        p = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        p = p if self.places is None else p.index_select(1, self.places)
        if not self.mean:
            return p.permute(2, 0, 1).reshape(p.shape[-1], self.query_states, *self.query_shape).to(x.dtype)
        values = self.channel.values
        assert values is not None
        values = values[: p.shape[0]].to(p.dtype)
        means = (values if values.ndim == 2 else values[:, None]).t() @ p.flatten(1)
        means = means.view(-1, *p.shape[1:]).permute(2, 0, 1)
        out = means.reshape(means.shape[0], means.shape[1], *self.query_shape).to(x.dtype)
        return out if values.ndim == 2 else out.squeeze(1)


def _value_spans(plan: Plan, channel: Channel, leaf_shape: tuple[int, ...]) -> np.ndarray:
    """``(V,)`` largest distance between two values: of the channel at the leaves, of state numbers elsewhere."""
    cards = plan.tree.cardinality
    spans = (cards - 1).astype(np.float64)
    leaves = plan.inputs[: int(np.prod(leaf_shape))]
    if channel.values is not None:
        values = channel.values.detach().double().cpu()
        table = (values if values.ndim == 2 else values[:, None]).numpy()
        for size in np.unique(cards[leaves]):
            part = table[: int(size)]
            far = np.sqrt(((part[:, None] - part[None]) ** 2).sum(-1)).max()
            spans[leaves[cards[leaves] == size]] = far
    return spans


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
    omega = np.clip(omega * (1 - 1e-9), TIGHTEST, LOOSEST)
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
