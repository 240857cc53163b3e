"""Evidence by name: a mapping from variables to what was seen of each, in the forms of `hgm.evidence.column`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence
from hgm.evidence.ambient import concrete
from hgm.evidence.checked import padded
from hgm.evidence.column import Seen, seen
from hgm.evidence.frames import check_rows
from hgm.evidence.part import Part
from hgm.evidence.symbols import MISSING
from hgm.tree.tree import Tree

__all__ = ["named"]


def named(tree: Tree, evidence: Mapping[Any, Any]) -> list[Part]:
    """What a mapping says, with the variables of one kind together: there may be thousands.

    Raises:
        BadEvidence: for an unknown variable or state, a wrong form, or batches that differ.
    """
    single: dict[int, int] = {}  # states without a batch
    groups: dict[tuple[Any, ...], dict[int, Seen]] = {}
    batch, batch_of = 1, None
    check_rows(evidence)
    for name, given in evidence.items():
        v = tree.index(name)
        if isinstance(given, str | int) and (state := tree.state_names(v).find(given)) is not None:
            single[v] = state  # the most common kind, at once
            continue
        found = seen(tree, v, given)
        if found.states is not None and not found.batched:
            if int(found.states[0]) != MISSING:
                single[v] = int(found.states[0])
            continue
        if found.batched and found.rows != 1:
            if batch not in (1, found.rows):
                raise BadEvidence(f"variable {name!r} has a batch of {found.rows}, but {batch_of!r} has one of {batch}")
            batch, batch_of = found.rows, name
        kind = () if found.likelihood is None else (found.likelihood.shape[1], found.is_log, found.likelihood.device)
        groups.setdefault((found.batched, found.rows, *kind), {})[v] = found
    parts = []
    if single:
        states = torch.tensor([list(single.values())])
        parts.append(Part(_called(tree, list(single)), np.array(list(single)), False, states))
    for (batched, _, *soft), members in groups.items():
        called, variables = _called(tree, list(members)), np.array(list(members))
        if soft:
            parts.append(Part(called, variables, batched, logs=_logs(tree, members)))
        else:
            states = torch.stack([found.states for found in members.values()], -1)  # type: ignore[misc]
            parts.append(Part(called, variables, batched, states))
    return parts


def _called(tree: Tree, members: list[int]) -> str:
    return f"variable {tree.names[members[0]]!r}"


def _logs(tree: Tree, members: dict[int, Seen]) -> Tensor:
    """``(B, S, n)`` checked log likelihoods of variables with as many states."""
    x = torch.stack([found.likelihood for found in members.values()], -1).double()  # type: ignore[misc]
    is_log = next(iter(members.values())).is_log
    wrong = ~(x < torch.inf) if is_log else ~torch.isfinite(x) | (x < 0)
    if concrete(x) and wrong.any():
        row, state, i = (int(j) for j in wrong.nonzero()[0])
        kind, expected = "likelihood", "a finite number from 0 up (a likelihood, not its log)"
        if is_log:
            kind, expected = "log likelihood", "a number, or -inf"
        raise BadEvidence(
            f"the {kind} of variable {tree.names[list(members)[i]]!r}, state {state}, is {x[row, state, i].item()} "
            f"in batch row {row}; expected {expected}"
        )
    if not is_log:
        positive = x > 0  # log only where positive, so that no gradient is 0 * inf
        x = torch.where(positive, torch.where(positive, x, 1.0).log(), -torch.inf)
    return padded(tree, x)
