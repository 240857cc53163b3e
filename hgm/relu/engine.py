"""The engine of ReLUs: collect and distribute by the maps of a `Design`, with its certificate.

    log evidence ──► stages: maps, sums, max normalisation ──► softmax

Beyond the input and the final softmax there are linear maps, convolutions with 0/1 weights (gathers), ReLUs, sums and
max normalisations only. They run in the precision of their weights: float64 as built, ``net.float()``, ``net.half()``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hgm.compiler.deferred import BAD, IMPOSSIBLE, UNCERTIFIED
from hgm.compiler.engine import Engine
from hgm.compiler.plan import Plan
from hgm.compiler.readout import silenced
from hgm.errors import BadEvidence, BadPotential, HgmError, ImpossibleEvidence, Uncertifiable, listing
from hgm.evidence.ambient import check_of, concrete
from hgm.relu.design import Design
from hgm.relu.stage import ReluEvidence, ReluStage, ReluUp, normalize
from hgm.tree.tree import Tree

__all__ = ["Relu"]

#: span of log evidence; rounding is all that is left far below it
MOST = 1e30


class Relu(Engine):
    """Stages of linear maps and ReLUs.

    Args:
        plan: what to run.
        design: what the maps are made of.
        trainable: make the weights require gradients.
        down: whether it is to distribute too.

    Attributes:
        design: as given.
        certificate: what is proved about the network as it was built.
    """

    mask: Tensor
    lacks: ClassVar[dict[str, str]] = {
        "log_partition": "a ReLU network does not know log Z; compile with activation='exact' for it",
        "leave_one_out": "a ReLU network's certificate is about posteriors; compile with activation='exact' for it",
    }

    def __init__(self, plan: Plan, design: Design, trainable: bool, down: bool) -> None:
        super().__init__(plan, trainable)
        self.design, self.certificate, self.floor = design, design.certificate, design.certificate.floor
        stages, start = [], 0
        for maps in design.maps:
            end = start + len(maps.maps)
            levels = plan.levels[maps.plan.level : maps.plan.level + 2]
            stages.append(ReluStage(maps, design.built[start:end], *levels))
            start = end
        self.encoder = nn.ModuleList(reversed(stages))
        self.decoder = nn.ModuleList(ReluUp(stage) for stage in stages if down)
        self.own = nn.ModuleList(ReluEvidence(level, plan, design.possible) for level in plan.levels)
        inputs = plan.inputs[plan.arrangement]
        states = int(plan.tree.cardinality[inputs].max())
        mask = torch.from_numpy(np.where(design.possible[:states, inputs], 0.0, -np.inf))
        self.register_buffer("mask", mask[:, :, None], persistent=False)
        if trainable:
            for parameter in self.parameters():
                parameter.requires_grad_(True)

    def tree(self) -> Tree:
        """The tree that the network was built for."""
        return self.plan.tree

    def collect(self, e: Tensor, first_row: int = 0, full: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """h of every level, root first, and q of every stage, leaves first. It never gets other weights."""
        given = e
        e = normalize(e.to(self.mask.dtype) + self.mask)
        check = check_of(e)
        if check == "now":
            self._check(given, e, first_row)
        elif check == "later":
            self.deferred.note(self._codes(given, e), first_row)
        if self.floor is not None:
            e = torch.relu(e + self.floor) - self.floor + self.mask
        own = [level(e) for level in self.own]
        h, q = [normalize(own[-1])], []
        for stage, mine in zip(self.encoder, reversed(own[:-1]), strict=True):
            message, skip = stage(h[-1], mine)
            h.append(message)
            q.append(skip)
        self._check_weights(h[-1:])
        return h[::-1], q

    def roots(self, collected: tuple[list[Tensor], list[Tensor]]) -> Tensor:
        return collected[0][0].softmax(0)

    def read(
        self, collected: tuple[list[Tensor], list[Tensor]], levels: Sequence[int], kinds: Iterable[str]
    ) -> dict[str, list[Tensor]]:
        h, q = collected
        b = [h[0]]
        for up, skip, child in zip(self.decoder, reversed(q), h[1:], strict=False):
            b.append(up(b[-1], skip, child))
        self._check_weights(b)
        found = {"posterior": lambda x: x.softmax(0), "log_posterior": lambda x: silenced(x.log_softmax(0))}
        return {kind: [found[kind](b[level]) for level in levels] for kind in kinds}

    def partition(self, collected: Any) -> Tensor:
        """Not available: messages are known up to constants only. Raises `HgmError`."""
        raise HgmError(self.lacks["log_partition"])

    def _check_weights(self, found: Sequence[Tensor]) -> None:
        """`check_weights` if NaN was found: the evidence is not to blame, nor overflow."""
        if any(concrete(x) and bool(x.isnan().any()) for x in found):
            self.check_weights()

    def check_weights(self) -> None:
        """Raise `BadPotential` if a weight is NaN."""
        bad = [name for name, weight in self.named_parameters() if bool(weight.isnan().any())]
        if bad:
            raise BadPotential(f"weights of this network are NaN: {listing(bad)}; an optimiser may have diverged")

    def _gone(self, e: Tensor) -> Tensor:
        """Where a state that is possible by itself has evidence -inf."""
        return torch.isneginf(e) & (self.mask == 0)

    def _codes(self, given: Tensor, e: Tensor) -> Tensor:
        """``(B,)`` what `_check` would say of each row, as codes of `hgm.compiler.deferred`."""
        wrong = [(given.isnan() | torch.isposinf(given), BAD), (e.isnan(), IMPOSSIBLE), (_far(e), UNCERTIFIED)]
        wrong += [(self._gone(e), UNCERTIFIED)] if self.floor is None else []
        codes = [rows.flatten(0, -2).any(0).to(torch.uint8) * code for rows, code in wrong]
        return torch.stack(codes).amax(0)

    def _check(self, given: Tensor, e: Tensor, first_row: int) -> None:
        """Evidence that the certificate does not cover; e is it normalised: NaN where all states are impossible."""

        def rows(wrong: Tensor) -> list[int]:
            return (torch.nonzero(wrong.flatten(0, -2).any(0)).flatten() + first_row).tolist()

        if bool(e.isnan().any()):
            wrong = given.isnan() | torch.isposinf(given)
            if bool(wrong.any()):
                raise BadEvidence(f"the evidence holds NaN or +inf in batch rows {listing(rows(wrong))}")
            raise ImpossibleEvidence(rows(e.isnan()))
        if bool(_far(e).any()):
            raise BadEvidence(f"log evidence spans over {MOST:g}, where sums lose everything; use -inf and floor=B")
        gone = self._gone(e)
        if self.floor is None and bool(gone.any()):
            tree = self.plan.tree
            column = min(self.plan.arrangement[torch.nonzero(gone.any(0).any(1)).flatten().cpu().numpy()])
            v = int(self.plan.inputs[column])
            f = int(tree.parent_factor[v])
            where = f"its factor {listing(tree.scope_names(f))}" if f >= 0 else "it has no factor above"
            raise Uncertifiable(
                f"the evidence at {tree.names[v]!r} ({where}) is -inf in batch rows {listing(rows(gone))}, where no "
                "finite bound on the log posterior exists; compile with floor=B to floor log evidence at -B (the "
                "bound is then conditional on B)"
            )


def _far(e: Tensor) -> Tensor:
    """Where log evidence is so far below the largest that sums lose everything."""
    return (e < -MOST) & ~torch.isneginf(e)
