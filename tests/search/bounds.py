"""How far results may be from exact ones: by rounding of the numbers that matter to each, and no further."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from oracles.exact import Exact

BASE = {torch.float64: 2e-12, torch.float32: 2e-6}
EPS = {torch.float64: 2.0**-52, torch.float32: 2.0**-23}
TIMES = 8


class Bounds:
    """Rounding of a row is that of sums of its logs, without what is common to all states of a variable.

    Args:
        exact: what is right.
        dtype: in which numbers are computed.
        before: ``(B,)`` rounding of the log evidence itself, where a channel computes it.
    """

    def __init__(self, exact: Exact, dtype: torch.dtype = torch.float64, before: Any = 0.0) -> None:
        self.exact, self.base, self.eps = exact, BASE[dtype], EPS[dtype]
        self.before = np.zeros(len(exact.high)) + before
        self.change = TIMES * (self.eps * exact.weight() + self.before)

    def slack(self, want: np.ndarray) -> np.ndarray:
        """For probabilities ``(B, ...)``: those near 0 or 1 hardly change with their logs."""
        change = self.change.reshape(-1, *(1,) * (want.ndim - 1))
        return self.base + np.where(change < 9, want * (1 - want) * np.expm1(2 * np.minimum(change, 9)), 1.0)

    def probabilities(self, got: Any, want: np.ndarray, what: str) -> None:
        """Probabilities ``(B, ...)``."""
        _within(np.asarray(torch.as_tensor(got).detach().double()), want, self.slack(want), what)

    def logs(self, got: Any, want: np.ndarray, what: str) -> None:
        """Log probabilities ``(B, ...)``, ``-inf`` where nothing is possible."""
        got = np.asarray(torch.as_tensor(got).detach().double())
        change = TIMES * (self.eps * self.exact.weight(0.0) + self.before)
        slack = 2 * self.base + change.reshape(-1, *(1,) * (want.ndim - 1))
        assert np.array_equal(np.isneginf(got), np.isneginf(want)), f"{what}: {got} for {want}"
        got, want = (np.where(np.isneginf(x), 0, x) for x in (got, want))
        _within(got, want, slack + 4 * self.eps * np.abs(want), what)

    def totals(self, got: Any, want: np.ndarray, what: str) -> None:
        """Log partition functions or scores ``(B,)``, in which common factors count."""
        got = np.asarray(torch.as_tensor(got).detach().double())
        size = np.abs(want) + self.exact.offset
        _within(got, want, 2 * self.base * (1 + self.exact.weight()) + self.change + TIMES * self.eps * size, what)


def _within(got: np.ndarray, want: np.ndarray, slack: Any, what: str) -> None:
    assert got.shape == want.shape, f"{what}: shape {got.shape} for {want.shape}"
    far = ~(np.abs(got - want) <= slack)
    if far.any():
        at = tuple(np.argwhere(far)[0].tolist())
        limit = np.broadcast_to(slack, want.shape)[at]
        raise AssertionError(f"{what} at {at}: {got[at]} for {want[at]}, off by {got[at] - want[at]} (limit {limit})")
