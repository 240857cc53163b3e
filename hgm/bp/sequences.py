"""Inference on sequences of different length: each in the chain that ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from hgm.bp.assignment import Mode
from hgm.bp.posterior import Posterior, infer
from hgm.errors import BadEvidence, ImpossibleEvidence, brief
from hgm.evidence.sequences import by_length, read_sequences
from hgm.tree.tree import Tree

__all__ = ["Sequences"]


class Sequences(Sequence[Posterior]):
    """What a chain says of N sequences, as `hgm.infer` returns it for a list: ``[i]`` is the `Posterior` of sequence i.

    Its tree is the chain cut after the sequence's last step (`hgm.tree.timeline`), so that modes, samples and marginals
    are of the variables that the sequence has. To fill short sequences up with missing states, instead, asks another
    question of the longer chain: sums do not change by that (log Z and the marginals of the steps that are there, for
    tables directed in time), but modes do.

    Attributes:
        tree: the whole chain.
        lengths: of the sequences.
    """

    def __init__(self, tree: Tree, sequences: list[Any]) -> None:
        e, lengths = read_sequences(tree, sequences)
        self.tree = tree
        self.lengths: tuple[int, ...] = tuple(lengths.tolist())
        self._groups: list[tuple[np.ndarray, Posterior]] = []
        impossible: list[int] = []
        for part in by_length(tree, e, lengths):
            try:
                self._groups.append((part.rows, infer(part.tree, part.log_evidence)))
            except ImpossibleEvidence as error:
                impossible += part.rows[list(error.rows)].tolist()
        if impossible:
            raise ImpossibleEvidence(sorted(impossible), "(rows are sequences)")
        self._place = {int(row): (g, j) for g, (rows, _) in enumerate(self._groups) for j, row in enumerate(rows)}

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, i: int) -> Posterior: ...

    @overload
    def __getitem__(self, i: slice) -> list[Posterior]: ...

    def __getitem__(self, i: int | slice) -> Posterior | list[Posterior]:
        """The posterior of sequence i, without a batch; of a slice a list of them.

        Raises:
            IndexError: beyond the last, as a list does.
            BadEvidence: for what is no number of a sequence.
        """
        if not isinstance(i, slice | int | np.integer) or isinstance(i, bool):
            raise BadEvidence(f"sequences are numbered, 0 to {len(self) - 1}; got {brief(i)}")
        at = range(len(self))[i]
        if isinstance(at, range):
            return [self[j] for j in at]
        g, j = self._place[at]
        post = self._groups[g][1]
        return Posterior(post.tree, post.log_evidence[j : j + 1], False)

    @property
    def log_partition(self) -> Tensor:
        """``(N,)`` that of each sequence; for a normalised model its log probability."""
        out = torch.zeros(len(self), dtype=torch.float64)
        for rows, post in self._groups:
            out[torch.from_numpy(rows)] = post.log_partition
        return out

    def mode(self) -> list[Mode]:
        """The most probable assignment of each sequence's variables."""
        found: dict[int, Mode] = {}
        for rows, post in self._groups:
            mode = post.mode()
            for row, *one in zip(rows.tolist(), mode.states, mode.log_prob, mode.log_score, strict=True):
                found[row] = Mode(post.tree, *one)
        return [found[i] for i in range(len(self))]

    def __repr__(self) -> str:
        steps = f" of {min(self.lengths)} to {max(self.lengths)} steps" if self.lengths else ""
        return f"Posteriors of a {self.tree!r}, given {len(self)} sequences{steps}"
