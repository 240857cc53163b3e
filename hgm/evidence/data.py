"""The observations that a model is learned from: read and checked once, and held as small as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.errors import BadEvidence
from hgm.evidence.channel import Channel
from hgm.evidence.checked import padding
from hgm.evidence.given import parts
from hgm.evidence.part import Part
from hgm.evidence.symbols import MISSING, allowed
from hgm.tree.tree import Tree

__all__ = ["Data", "read_data"]


@dataclass(frozen=True, eq=False)
class Data:
    """N rows of observations of n variables: the leaves of the tree, and others.

    Attributes:
        variables: ``(n,)`` the leaves in order, then the other observed variables.
        card: ``(n,)`` their numbers of states.
        leaves: how many of them are leaves.
        states: ``(N, n)`` int32 states, -1 where missing or in `soft`.
        soft, soft_columns: ``(N, S, k)`` float64 log likelihoods of those k columns that are not just seen or missing.
    """

    variables: np.ndarray
    card: np.ndarray
    leaves: int
    states: Tensor
    soft: Tensor
    soft_columns: Tensor

    @property
    def rows(self) -> int:
        """N."""
        return len(self.states)

    def log_evidence(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """``(stop - start, S, n)`` log likelihoods of some rows, ``-inf`` in states that a variable does not have."""
        states, device = int(self.card.max()), self.states.device
        out = ~allowed(self.states[start:stop], states, 1) | padding(self.card, states, device)
        e = torch.zeros(out.shape, dtype=dtype, device=device).masked_fill_(out, -torch.inf)
        if len(self.soft_columns):
            soft = functional.pad(self.soft[start:stop], (0, 0, 0, e.shape[1] - self.soft.shape[1]), value=-torch.inf)
            e = e.index_copy(2, self.soft_columns, soft.to(dtype))
        return e

    def digest(self) -> str:
        """The same for equal data, another for others."""
        digest = hashlib.sha256()
        for array, kind in (
            (self.variables, "<i8"),
            (self.states.cpu().numpy(), "<i4"),
            (self.soft_columns.cpu().numpy(), "<i8"),
            (self.soft.cpu().numpy(), "<f8"),
        ):
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array, dtype=kind).tobytes())
        return digest.hexdigest()


def read_data(
    tree: Tree, data: Any, noise: Sequence[Any] = (), channel: Channel | None = None, evidence: Any = None
) -> Data:
    """Observations in any of the forms that `hgm.fit` takes.

    Raises:
        BadEvidence: for no rows, an unknown name, a wrong shape, a state out of range, rows that differ in number.
    """
    columns = _Columns(tree)
    for part in parts(tree, data, noise, channel, evidence):
        columns.add(part)
    return columns.done()


class _Columns:
    """Collects observations, block by block of variables."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.hard: list[tuple[np.ndarray, Tensor]] = []  # k variables, (N or 1, k) states
        self.soft: list[tuple[np.ndarray, Tensor]] = []  # k variables, (N or 1, S, k) log likelihoods
        self.seen = np.zeros(len(tree), dtype=bool)
        self.rows, self.rows_of = -1, ""

    def add(self, part: Part) -> None:
        if part.batched:
            if self.rows >= 0 and part.rows != self.rows:
                raise BadEvidence(f"{part.of} has {part.rows} rows, but {self.rows_of} has {self.rows}")
            self.rows, self.rows_of = part.rows, part.of
        told = part.tells(self.tree)
        self.seen[part.variables] |= told
        part = part.only(told)
        if part.states is not None:
            self.hard.append((part.variables, part.states.to(torch.int32)))
        else:
            self._put(part.variables, part.held.detach())

    def done(self) -> Data:
        tree = self.tree
        if self.rows == 0 or (self.rows < 0 and not self.seen.any()):
            raise BadEvidence("the data have no rows: there is nothing to learn from")
        rows = max(self.rows, 1)
        variables = np.concatenate([tree.leaves, np.flatnonzero(self.seen & tree.inner)])
        column = np.full(len(tree), -1, dtype=np.int64)
        column[variables] = np.arange(len(variables))
        device = next((x.device for _, x in (*self.hard, *self.soft)), torch.device("cpu"))
        states = torch.full((rows, len(variables)), MISSING, dtype=torch.int32, device=device)
        for which, block in self.hard:
            states[:, column[which]] = block.to(device, torch.int32)
        blocks = [x.to(device).expand(rows, -1, -1) for _, x in self.soft]
        soft = torch.cat(blocks, 2) if blocks else torch.zeros(rows, 0, 0, dtype=torch.float64, device=device)
        which_soft = np.concatenate([np.zeros(0, dtype=np.int64), *(which for which, _ in self.soft)])
        return Data(
            variables,
            tree.cardinality[variables],
            len(tree.leaves),
            states,
            soft,
            torch.as_tensor(column[which_soft], device=device),
        )

    def _put(self, variables: np.ndarray, logs: Tensor) -> None:
        """Log likelihoods ``(N or 1, S, k)``, ``-inf`` in states that do not exist: states, where they say no more."""
        zeros, none = (logs == 0).sum(1), torch.isneginf(logs).sum(1)
        card = torch.as_tensor(self.tree.cardinality[variables], device=logs.device)
        free = zeros == card
        plain = (free | ((zeros == 1) & (none == logs.shape[1] - 1))).all(0)
        states = torch.where(free, MISSING, logs.argmax(1))
        hard = plain.cpu().numpy()
        if hard.any():
            self.hard.append((variables[hard], states[:, plain]))
        if not hard.all():
            self.soft.append((variables[~hard], logs[:, :, ~plain]))
