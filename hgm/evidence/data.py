"""The observations that a model is learned from: read and checked once, and held as small as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.errors import BadEvidence
from hgm.evidence.checked import check_numbers, check_states, padding
from hgm.evidence.named import variable_log_evidence
from hgm.evidence.symbols import MISSING, allowed, as_tensor, signed
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


def read_data(tree: Tree, data: Any, evidence: Mapping[str, Any] | None = None) -> Data:
    """Observations in any of the forms that `hgm.fit` takes.

    Raises:
        BadEvidence: for no rows, an unknown name, a wrong shape, a state out of range, rows that differ in number.
    """
    columns = _Columns(tree)
    if isinstance(data, Mapping):
        columns.by_name(data)
    else:
        columns.by_position(data)
    if evidence is not None:
        if not isinstance(evidence, Mapping):
            raise BadEvidence(f"evidence is a mapping from names of variables; got {type(evidence).__name__}")
        columns.by_name(evidence)
    return columns.done()


class _Columns:
    """Collects observations, block by block of variables."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.hard: list[tuple[np.ndarray, Tensor]] = []  # k variables, (N or 1, k) states
        self.soft: list[tuple[np.ndarray, Tensor]] = []  # k variables, (N or 1, S, k) log likelihoods
        self.seen = np.zeros(len(tree), dtype=bool)
        self.rows, self.rows_of = -1, ""

    def by_name(self, data: Mapping[str, Any]) -> None:
        for name, given in data.items():
            if not isinstance(name, str):
                raise BadEvidence(f"data are given by the names of variables, which are strings; got {name!r}")
            v = self.tree.index(name)
            if self.seen[v]:
                raise BadEvidence(f"variable {name!r} is observed twice: among the leaves in data, and by name")
            if hasattr(given, "isna"):  # a column of a data frame, whose holes are NaN
                given = [None if hole else x for x, hole in zip(given.tolist(), given.isna(), strict=True)]
            logs, batched = variable_log_evidence(self.tree, v, given)
            if batched:
                self._count(len(logs), f"variable {name!r} has")
            self._put(np.array([v]), logs.detach()[..., None])

    def by_position(self, data: Any) -> None:
        tree = self.tree
        x = as_tensor(data, "data that is no mapping from names of variables").detach()
        shape = tree.leaf_shape
        if x.is_complex() or x.dtype == torch.bool or x.ndim == 0:
            raise BadEvidence(f"data are integer states or float log likelihoods; got {x.dtype}, {tuple(x.shape)}")
        if not x.is_floating_point():
            if tuple(x.shape[1:]) != shape:
                raise BadEvidence(
                    f"the states of the leaves must have shape (N, {', '.join(map(str, shape))}); got {tuple(x.shape)}"
                )
            self._count(len(x), "the data have")
            states = signed(x.flatten(1))
            check_states(tree, tree.leaves, states)
            self.hard.append((tree.leaves, states.to(torch.int32)))
            self.seen[tree.leaves] = (states != MISSING).any(0).cpu().numpy()
            return
        whole = x.ndim == 3 and tuple(x.shape[1:]) == (int(tree.cardinality.max()), len(tree))
        variables = np.arange(len(tree)) if whole else tree.leaves
        want = (int(tree.cardinality[variables].max()), *shape)
        if not whole and tuple(x.shape[1:]) != want:
            raise BadEvidence(
                f"floats are log evidence of the leaves, of shape (N, {', '.join(map(str, want))}): rows, "
                "states, leaves, or of all variables as hgm.log_evidence makes it; got "
                f"{tuple(x.shape)}. States are integers"
            )
        self._count(len(x), "the data have")
        self._put(variables, check_numbers(tree, variables, x.flatten(2).double()))

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
        widest = max((x.shape[1] for _, x in self.soft), default=0)
        padded = [
            functional.pad(x.to(device), (0, 0, 0, widest - x.shape[1]), value=-torch.inf).expand(rows, -1, -1)
            for _, x in self.soft
        ]
        soft = torch.cat(padded, 2) if padded else torch.zeros(rows, 0, 0, dtype=torch.float64, device=device)
        which_soft = np.concatenate([np.zeros(0, dtype=np.int64), *(which for which, _ in self.soft)])
        return Data(
            variables,
            tree.cardinality[variables],
            len(tree.leaves),
            states,
            soft,
            torch.as_tensor(column[which_soft], device=device),
        )

    def _count(self, rows: int, what: str) -> None:
        if self.rows >= 0 and rows != self.rows:
            raise BadEvidence(f"{what} {rows} rows, but {self.rows_of} {self.rows}")
        self.rows, self.rows_of = rows, what

    def _put(self, variables: np.ndarray, logs: Tensor) -> None:
        """Log likelihoods ``(N or 1, S, k)``, ``-inf`` in states that do not exist: states, where they say no more."""
        zeros, none = (logs == 0).sum(1), torch.isneginf(logs).sum(1)
        card = torch.as_tensor(self.tree.cardinality[variables], device=logs.device)
        free = zeros == card
        plain = (free | ((zeros == 1) & (none == logs.shape[1] - 1))).all(0).cpu().numpy()
        self.seen[variables[~free.all(0).cpu().numpy()]] = True
        states = torch.where(free, MISSING, logs.argmax(1))
        keep = plain & self.seen[variables]
        if keep.any():
            self.hard.append((variables[keep], states[:, torch.as_tensor(keep, device=logs.device)]))
        if not plain.all():
            self.soft.append((variables[~plain], logs[:, :, torch.as_tensor(~plain, device=logs.device)]))
