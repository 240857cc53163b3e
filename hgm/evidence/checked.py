"""A tensor of log evidence, or of states, checked: what is wrong is named by variable, state and batch row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.errors import BadEvidence
from hgm.evidence.ambient import concrete
from hgm.evidence.symbols import MISSING
from hgm.tree.structure import once

if TYPE_CHECKING:
    from hgm.tree.tree import Tree

__all__ = ["check_log_evidence", "check_numbers", "check_states", "padded", "padding", "unobserved"]


def check_log_evidence(tree: Tree, e: Tensor) -> Tensor:
    """`e` itself if it is log evidence of this tree, with ``-inf`` in the padding whatever was there.

    Raises:
        BadEvidence: if the shape is not ``(B, S, V)``, or an entry is NaN or ``+inf``; it names variable, row, state.
    """
    states = int(tree.cardinality.max())
    if not isinstance(e, Tensor) or not e.is_floating_point():
        what = f"a tensor of {e.dtype}" if isinstance(e, Tensor) else f"a {type(e).__name__}"
        raise BadEvidence(f"log evidence is a tensor of floats, made by log_evidence(tree, evidence); got {what}")
    if e.ndim != 3 or tuple(e.shape[1:]) != (states, len(tree)):
        raise BadEvidence(
            f"log evidence must have shape (B, {states}, {len(tree)}): batch, states, variables in tree order; "
            f"got {tuple(e.shape)}"
        )
    return check_numbers(tree, np.arange(len(tree)), e)


def check_numbers(tree: Tree, variables: np.ndarray, e: Tensor) -> Tensor:
    """Log evidence ``(B, S, n)`` of some variables, with ``-inf`` in states that they do not have.

    Raises:
        BadEvidence: for NaN or ``+inf`` in a state that a variable has; it names variable, state and row. (Not looked
            for in a transform.)
    """
    card = tree.cardinality[variables]
    if (card < e.shape[1]).any():
        e = e.masked_fill(padding(card, e.shape[1], e.device), -torch.inf)
    bad = ~(e < torch.inf)
    if concrete(e) and bad.any():
        row, state, i = (int(j) for j in bad.nonzero()[0])
        raise BadEvidence(
            f"the log evidence of variable {tree.names[int(variables[i])]!r}, state {state}, is "
            f"{e[row, state, i].item()} in batch row {row}; expected a number or -inf"
        )
    return e


def check_states(tree: Tree, variables: np.ndarray, states: Tensor) -> None:
    """Raises `BadEvidence` if integers ``(B, n)`` are not states of these n variables, or -1 for missing."""
    card = torch.as_tensor(tree.cardinality[variables], device=states.device)
    wrong = (states < MISSING) | (states >= card)
    if wrong.any():
        row, i = (int(j) for j in wrong.nonzero()[0])
        raise BadEvidence(
            f"variable {tree.names[int(variables[i])]!r} has no state {int(states[row, i])} (batch row {row}); "
            f"its states are 0 to {int(card[i]) - 1}, and -1 for missing"
        )


def unobserved(tree: Tree, batch: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """``(B, S, V)`` of zeros, ``-inf`` in states that a variable does not have."""
    states, mixed = _states(tree)
    e = torch.zeros((batch, states, len(tree)), dtype=dtype, device=device)
    return e.masked_fill_(padding(tree.cardinality, states, device), -torch.inf) if mixed else e


@once
def _states(tree: Tree) -> tuple[int, bool]:
    """The largest number of states of a variable, and whether some have fewer."""
    most = int(tree.cardinality.max())
    return most, bool((tree.cardinality < most).any())


def padded(tree: Tree, e: Tensor) -> Tensor:
    """Log evidence ``(B, S', n)`` with ``-inf`` for more states, as many as the tree's largest cardinality."""
    return functional.pad(e, (0, 0, 0, _states(tree)[0] - e.shape[1]), value=-torch.inf)


def padding(card: np.ndarray, states: int, device: torch.device | str) -> Tensor:
    """``(S, n)``: true for the states that a variable of that cardinality does not have."""
    return torch.arange(states, device=device)[:, None] >= torch.as_tensor(card.copy(), device=device)
