"""Which constructions a ReLU network is made of, so that it keeps a tolerance, and the certificate that it does.

    maps of the plan ──► shares of the tolerance ──► a construction for every map ──► certificate

The shares are chosen with the constructions' asymptotic costs (`hgm.relu.allocate`), the certificate is computed
from the errors of the constructions that were built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hgm.errors import Uncertifiable
from hgm.relu.allocate import optimal, settle, uniform
from hgm.relu.certificate import Certificate
from hgm.relu.certify import certify_network
from hgm.relu.constructions.choose import build, cheapest, cost
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.maps import StageMaps
from hgm.relu.question import Question
from hgm.tree.checks import shown

__all__ = ["Design"]

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

    @classmethod
    @torch.inference_mode(False)  # shares follow gradients, also where the caller has them off
    def of(cls, question: Question) -> Self:
        """The design with few units for a question.

        Raises:
            Uncertifiable: if the tolerance cannot be kept, or the wanted construction does not apply.
        """
        target = 1.0
        for _ in range(4):  # what floating point adds is known only once the constructions are
            built = _constructions(question, target)
            certificate = certify_network(question, built)
            if certificate.reached <= question.tol:
                return cls(question.possible, question.maps, tuple(built), certificate)
            target *= 0.999 * question.tol / certificate.reached
        raise Uncertifiable(
            f"a tolerance of {question.tol:g} cannot be kept: floating point alone adds "
            f"{certificate.rounding['float64']:.1e} to the log posterior; raise it"
        )


def _constructions(question: Question, target: float) -> list[LogMatrix | None]:
    """A construction for every map that is used, so that all asked-for beliefs keep `target` times their limits."""
    flow = question.flow
    used = flow.used(question.down)
    if not len(used):
        return [None] * len(flow.maps)
    index = torch.from_numpy(used)
    tables = [flow.maps[k].log_psi for k in used]
    keys = [(table.tobytes(), table.shape) for table in tables]
    known: dict[tuple[object, ...], LogMatrix] = {}

    def bound(omega: Tensor) -> Tensor:
        full = torch.zeros(len(flow.maps), dtype=torch.float64).index_add(0, index, omega)
        errors = flow.errors(full, down=question.down).b
        return torch.cat(
            [
                error[torch.from_numpy(at)] / torch.from_numpy(limit * target)
                for error, at, limit in zip(errors, question.asked, question.limits, strict=True)
            ]
        )

    def make(k: int, error: float) -> LogMatrix:
        table, error = tables[k], float(np.clip(error, TIGHTEST, LOOSEST))
        key = (*keys[k], error)
        if key not in known:
            try:
                if each[k] == 0:  # a constant message, or one term in every row
                    known[key] = cheapest(table, TIGHTEST)
                elif question.construction is None:
                    known[key] = cheapest(table, error)
                else:
                    known[key] = build(question.construction, table, error)
            except Uncertifiable as problem:
                tree = question.plan.tree
                f = int(np.flatnonzero(tree.potential_id == flow.potential[used[k]])[0])
                raise Uncertifiable(f"factor {shown(tree.scope_names(f))}: {problem}") from None
        return known[key]

    costs = {key: cost(table) if len(table) > 1 else 0.0 for key, table in dict(zip(keys, tables, strict=True)).items()}
    each = np.array([costs[key] for key in keys])
    count = flow.count[used]
    omega = uniform(bound, len(used)) if question.allocation == "uniform" else optimal(bound, count * each)
    omega = omega * (1 - 1e-9)
    if (omega[each > 0] < TIGHTEST).any():
        raise Uncertifiable(
            f"this tolerance asks some map for an error of {omega[each > 0].min():.1e}, below {TIGHTEST:g}, what "
            "float64 can certify; raise it"
        )
    omega = np.clip(omega, TIGHTEST, LOOSEST)
    if question.allocation == "uniform":
        chosen = [make(k, error) for k, error in enumerate(omega)]
    else:
        guess = each / np.sqrt(omega) if question.construction is None else np.full(len(used), np.inf)
        chosen = settle(bound, omega, count, guess, make)
    built: list[LogMatrix | None] = [None] * len(flow.maps)
    for k, module in zip(used, chosen, strict=True):
        built[k] = module
    return built
