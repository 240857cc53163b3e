"""What a ReLU network is made of, as tensors and plain data, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hgm.compiler.plan import Plan
from hgm.errors import BadSpec
from hgm.files.arrays import indices, integers, split
from hgm.relu.certificate import Certificate
from hgm.relu.constructions.choose import assemble
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.design import Design
from hgm.relu.maps import stage_maps
from hgm.relu.pieces.piecewise import PiecewiseLinear
from hgm.relu.propagate import Flow
from hgm.tree.possible import possible_states

if TYPE_CHECKING:
    from hgm.files.header import ReluEntry

__all__ = ["design_entry", "design_from"]


def design_entry(design: Design, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What the header says of a design; its arrays are added to `tensors`.

    Tied factors share constructions, and constructions share pieces: each is stored once.
    """
    used = [matrix for matrix in design.built if matrix is not None]
    matrices = {matrix: i for i, matrix in enumerate(dict.fromkeys(used))}
    parts = [piece for matrix in matrices for piece in matrix.pieces]
    pieces = {piece: i for i, piece in enumerate(dict.fromkeys(parts))}
    tensors |= {
        "relu.matrix": _whole(matrices[matrix] for matrix in used),
        "relu.parts": _whole(len(matrix.pieces) for matrix in matrices),
        "relu.part": _whole(pieces[piece] for piece in parts),
        "relu.knots": _real(x for piece in pieces for x in piece.knots),
        "relu.values": _real(x for piece in pieces for x in piece.values),
        "relu.sizes": _whole(len(piece.knots) for piece in pieces),
        "relu.left": _real(piece.left for piece in pieces),
        "relu.right": _real(piece.right for piece in pieces),
    }
    return {"kinds": [matrix.kind for matrix in matrices], "certificate": design.certificate.to_json()}


def design_from(entry: ReluEntry, plan: Plan, tensors: Mapping[str, Tensor], *, down: bool) -> Design:
    """The design of a network that distributes (`down`) or not, with the certificate that is stored."""
    sizes = integers(tensors["relu.sizes"])
    knots, values = (split(tensors[f"relu.{name}"].double().numpy(), sizes) for name in ("knots", "values"))
    slopes = (tensors[f"relu.{name}"].tolist() for name in ("left", "right"))
    pieces = [PiecewiseLinear(*each) for each in zip(knots, values, *slopes, strict=True)]
    parts = split(indices(tensors["relu.part"], len(pieces)), integers(tensors["relu.parts"]))
    kinds = list(zip(entry.kinds, parts, strict=True))

    possible = possible_states(plan.tree)
    maps = stage_maps(plan, possible)
    flow = Flow.of(plan, maps)
    used, which = flow.used(down), indices(tensors["relu.matrix"], len(kinds))
    if len(which) != len(used):
        raise BadSpec("it has not one construction for every map")
    made: dict[int, tuple[LogMatrix, np.ndarray]] = {}
    built: list[LogMatrix | None] = [None] * len(flow.maps)
    for k, i in zip(used.tolist(), which.tolist(), strict=True):
        table = flow.maps[k].log_psi
        if i not in made:
            kind, part = kinds[i]
            made[i] = assemble(kind, table, [pieces[j] for j in part]), table
        built[k], first = made[i]
        if not np.array_equal(table, first):
            raise BadSpec("maps with different tables share a construction")
    return Design(possible, maps, tuple(built), Certificate.from_json(entry.certificate))


def _whole(numbers: Iterable[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)


def _real(numbers: Iterable[float]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.float64)
