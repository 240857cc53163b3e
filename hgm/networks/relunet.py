"""ReLU networks: `ReluConvNet` and `ReluUNet`, collect and distribute of `hgm.relu.stage`, with a certificate.

    log evidence ──► stages: maps, sums, max normalisation ──► softmax

Beyond the input and the final softmax there are linear maps, convolutions with 0/1 weights (gathers), ReLUs, sums and
max normalisations only. They run in the precision of their weights: float64 as built, ``net.float()``, ``net.half()``.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.plan import Plan
from hgm.errors import BadEvidence, HgmError, ImpossibleEvidence, Uncertifiable, listing
from hgm.evidence.channel import Channel
from hgm.networks.network import Network
from hgm.relu.certificate import Certificate
from hgm.relu.design import Design
from hgm.relu.stage import ReluEvidence, ReluStage, normalize

__all__ = ["ReluConvNet", "ReluNetwork", "ReluUNet"]

#: span of log evidence; rounding is all that is left far below it
MOST = 1e30


class ReluNetwork(Network):
    """What `ReluConvNet` and `ReluUNet` share: the evidence, the encoder, the certificate.

    Args:
        plan: the plan.
        channel: the channel of the leaves.
        leaf_shape: shape of the leaf level.
        trainable: make the weights parameters that require gradients.
        design: what it is made of.

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
        design: Design,
    ) -> None:
        super().__init__(plan, channel, leaf_shape, trainable)
        self.design, self.certificate, self.floor = design, design.certificate, design.certificate.floor
        self.encoder = nn.ModuleList()
        start = 0
        for stage_map in design.maps:
            size = sum(len(group.maps) for groups in stage_map.groups for group in groups)
            levels = plan.levels[stage_map.plan.level : stage_map.plan.level + 2]
            self.encoder.insert(0, ReluStage(stage_map, design.built[start : start + size], *levels))
            start += size
        self.own = nn.ModuleList(ReluEvidence(level, plan, design.possible) for level in plan.levels)
        mask = np.where(design.possible[: self.states_in, plan.inputs], 0.0, -np.inf)
        self.register_buffer("input_mask", torch.from_numpy(mask)[:, :, None])
        if trainable:
            for parameter in self.parameters():
                parameter.requires_grad_(True)

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
            The largest absolute difference of an output, of probabilities or of means; NaN if the precision overflows.
        """
        other = copy.deepcopy(self).to(dtype)
        with torch.no_grad():
            gap = other(*observation, evidence=evidence).double() - self(*observation, evidence=evidence).double()
        return float(gap.abs().max()) if gap.numel() else 0.0

    def _encode(self, x: Tensor, first_row: int) -> tuple[list[Tensor], list[Tensor]]:
        """h of every level, root first, and q of every stage, leaves first."""
        e = x.to(self.input_mask.dtype).permute(1, 2, 0)[: self.states_in] + self.input_mask
        e = normalize(e)
        if not torch.compiler.is_compiling():
            self._check(x, e, first_row)
        if self.floor is not None:
            e = torch.relu(e + self.floor) - self.floor + self.input_mask
        own = [level(e) for level in self.own]
        h, q = [normalize(own[-1])], []
        for stage, mine in zip(self.encoder, reversed(own[:-1]), strict=True):
            message, skip = stage.collect(h[-1], mine)  # type: ignore[operator]
            h.append(message)
            q.append(skip)
        return h[::-1], q

    def _check(self, x: Tensor, e: Tensor, first_row: int) -> None:
        """Evidence that the certificate does not cover. `e` is x, normalised: NaN where all states are impossible."""
        names = self.inputs
        if bool(e.isnan().any()):
            wrong = (x.isnan() | torch.isposinf(x)).flatten(1).any(1)
            if bool(wrong.any()):
                rows = (torch.nonzero(wrong).flatten() + first_row).tolist()
                raise BadEvidence(f"the evidence holds NaN or +inf in batch rows {listing(rows)}")
            raise ImpossibleEvidence((torch.nonzero(e.isnan().any(0).any(0)).flatten() + first_row).tolist())
        if bool(((e < -MOST) & ~torch.isneginf(e)).any()):
            raise BadEvidence(f"log evidence spans over {MOST:g}, where sums lose everything; use -inf and floor=B")
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

    Its arguments are those of `ReluNetwork`, and `root`, the asked-for variable.
    """

    def __init__(
        self, plan: Plan, channel: Channel, leaf_shape: tuple[int, ...], trainable: bool, design: Design, root: int
    ) -> None:
        super().__init__(plan, channel, leaf_shape, trainable, design)
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
        design: what it is made of.
        query: ``(n,)`` tree indices of the asked-for variables.
        mean: give posterior means of the channel's values at the leaves instead of marginals.
    """

    places: Tensor | None

    def __init__(
        self,
        plan: Plan,
        channel: Channel,
        leaf_shape: tuple[int, ...],
        trainable: bool,
        design: Design,
        query: np.ndarray,
        mean: bool,
    ) -> None:
        super().__init__(plan, channel, leaf_shape, trainable, design)
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
        table = values if values.ndim == 2 else values[:, None]
        means = (table - table[:1]).t() @ p.flatten(1) + table[:1].t()  # exact where all values are large
        means = means.view(-1, *p.shape[1:]).permute(2, 0, 1)
        out = means.reshape(means.shape[0], means.shape[1], *self.query_shape).to(x.dtype)
        return out if values.ndim == 2 else out.squeeze(1)
