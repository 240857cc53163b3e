"""Sequences of different length, as evidence of a chain: each is about its own steps, and the chain ends with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence
from hgm.evidence.given import log_evidence
from hgm.evidence.symbols import plain_values, unmasked, visible
from hgm.tree.timeline import cut, timeline
from hgm.tree.tree import Tree

__all__ = ["Cut", "are_sequences", "by_length", "read_sequences"]


@dataclass(frozen=True, eq=False)
class Cut:
    """Sequences of one length.

    Attributes:
        tree: the chain, cut after that length.
        rows: ``(n,)`` which of all sequences they are.
        log_evidence: ``(n, S, V)`` for `tree`, float64.
    """

    tree: Tree
    rows: np.ndarray
    log_evidence: Tensor


def are_sequences(tree: Tree, given: Any) -> bool:
    """Whether this is a list for a chain (`hgm.tree.timeline`): that is always a list of sequences."""
    return isinstance(given, list) and isinstance(tree, Tree) and timeline(tree) is not None


def read_sequences(tree: Tree, sequences: list[Any]) -> tuple[Tensor, np.ndarray]:
    """N sequences of states, in the forms of a column of `hgm.log_evidence`: a list, array, tensor or Series of each.

    Returns:
        ``(N, S, V)`` log evidence of the whole chain, 0 after the end of each; and ``(N,)`` the lengths.

    Raises:
        BadEvidence: if one is no sequence, empty, or longer than the chain, or holds something that is no state.
    """
    steps = timeline(tree)
    assert steps is not None
    most = len(steps.path)
    rows = [_row(i, sequence) for i, sequence in enumerate(sequences)]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    for i, length in enumerate(lengths.tolist()):
        if not 0 < length <= most:
            raise BadEvidence(f"sequence {i} has {length} steps; the chain has 1 to {most}")
    if not rows:
        return log_evidence(tree).expand(0, -1, -1), lengths
    columns = {
        tree.names[v]: [row[t] if t < len(row) else None for row in rows]
        for t, v in enumerate(steps.observed[: lengths.max()].tolist())
    }
    return log_evidence(tree, columns), lengths


def by_length(tree: Tree, e: Tensor, lengths: np.ndarray) -> Iterator[Cut]:
    """What `read_sequences` gave, for each length the sequences that have it, shortest first."""
    for length in np.unique(lengths).tolist():
        shorter, variables = cut(tree, length)
        rows = np.flatnonzero(lengths == length)
        part = e[torch.from_numpy(rows)][:, : int(shorter.cardinality.max())]
        yield Cut(shorter, rows, part[..., torch.from_numpy(variables)])


def _row(i: int, sequence: Any) -> list[Any]:
    """One sequence as a list."""
    shape = getattr(sequence, "shape", None)
    if isinstance(sequence, list | tuple):
        return list(sequence)
    if shape is None or len(shape) != 1 or not hasattr(sequence, "tolist"):
        hint = f"; a word is list({sequence!r:.20})" if isinstance(sequence, str) else ""
        got = f"{type(sequence).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")
        raise BadEvidence(
            "a list, for a chain, is a list of sequences, each with one state for each step, as a list or an array of "
            f"shape (steps,); sequence {i} is a {got}{hint}"
        )
    if isinstance(sequence, Tensor):
        return plain_values(visible(*unmasked(sequence, f"sequence {i}")))
    return list(sequence.tolist())
