"""An oracle for evidence of any size: enumeration with logs of about 38 digits. It shares no code with hgm.

Every log is the sum of two long doubles, so that what distinguishes states is not lost beside common factors of 1e30.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

Factors = Sequence[tuple[Sequence[int], np.ndarray]]
WIDE = np.longdouble


def wide_log(x: np.ndarray) -> np.ndarray:
    """Natural logs as long doubles."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(x, dtype=WIDE))


def _exact_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded sum, and what rounding took from it."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


class Exact:
    """The joint distribution of all variables: of a model, or, by `given`, of it and rows of evidence.

    Args:
        cards: ``(V,)`` numbers of states.
        factors: the variables of each, and its log table, axes in their order.
    """

    def __init__(self, cards: Sequence[int], factors: Factors) -> None:
        self.cards = tuple(cards)
        shape = (1, *self.cards)
        self.high, self.low = np.zeros(shape, WIDE), np.zeros(shape, WIDE)
        self.dead = np.zeros(shape, bool)
        self.common = np.zeros(1, WIDE)  # what evidence has in common, apart: beside it small numbers are lost
        self.size, self.offset = np.zeros(shape), np.zeros(1)  # what is added up, in absolute value
        for scope, log in factors:
            order = np.argsort(scope)
            at = [1] * len(shape)
            for axis in order:
                at[scope[axis] + 1] = log.shape[axis]
            self._add(np.asarray(log, WIDE).transpose(order).reshape(at), log.max())
        self.possible = [~self.dead.all(self._without(v))[0] for v in range(len(self.cards))]

    def _without(self, *variables: int) -> tuple[int, ...]:
        return tuple(i + 1 for i in range(len(self.cards)) if i not in variables)

    def _add(self, log: np.ndarray, top: np.ndarray) -> None:
        """Add logs, exactly but for the last of 38 digits; those above `top`, and below it, count as large."""
        self.dead = self.dead | np.isneginf(log)
        log = np.where(np.isneginf(log), 0, log)
        self.high, rest = _exact_sum(self.high, log)
        self.low = self.low + rest
        self.size = self.size + np.abs(log - top).astype(float)

    def given(self, evidence: np.ndarray) -> Exact:
        """The joint with log evidence ``(B, S, V)``."""
        joint = object.__new__(Exact)
        names = ("cards", "possible", "high", "low", "common", "dead", "size", "offset")
        vars(joint).update({name: vars(self)[name] for name in names})
        for v, card in enumerate(self.cards):
            e = np.asarray(evidence[:, :card, v], WIDE)
            top = np.where(self.possible[v], e, -np.inf).max(1, keepdims=True)
            top = np.where(np.isneginf(top), 0, top)
            joint.common, joint.offset = joint.common + top[:, 0], joint.offset + np.abs(top[:, 0]).astype(float)
            high, low = _exact_sum(np.where(np.isneginf(e), 0, e), -top)
            shape = (len(e), *(card if i == v else 1 for i in range(len(self.cards))))
            joint._add(np.where(np.isneginf(e), -np.inf, high).reshape(shape), WIDE(0))
            joint.low = joint.low + low.reshape(shape)
        return joint

    @cached_property
    def _scaled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(B, *cards)`` logs with a maximum of 0 in each row, and that maximum ``(B,)``, in two parts."""
        rows = len(self.high)
        high, low = self.high.reshape(rows, -1), self.low.reshape(rows, -1)
        first = np.where(self.dead.reshape(rows, -1), -np.inf, high).argmax(1)[:, None]
        a, b = np.take_along_axis(high, first, 1), np.take_along_axis(low, first, 1)
        log = np.where(self.dead.reshape(rows, -1), -np.inf, (high - a) + (low - b))
        top = np.where(self.impossible[:, None], 0, log.max(1, keepdims=True))
        return (log - top).reshape(self.high.shape), a[:, 0], (b + top)[:, 0]

    @cached_property
    def impossible(self) -> np.ndarray:
        """``(B,)`` rows that have probability 0."""
        return self.dead.reshape(len(self.dead), -1).all(1)

    @cached_property
    def probability(self) -> np.ndarray:
        """``(B, *cards)``, NaN where a row is impossible."""
        p = np.exp(self._scaled[0])
        with np.errstate(invalid="ignore"):
            return p / p.sum(self._without(), keepdims=True)

    @property
    def log_z(self) -> np.ndarray:
        """``(B,)``, ``-inf`` where a row is impossible."""
        log, a, b = self._scaled
        return (self.common + (a + (b + wide_log(np.exp(log).sum(self._without()))))).astype(float)

    @property
    def best(self) -> np.ndarray:
        """``(B,)`` the largest log score."""
        _, a, b = self._scaled
        return (self.common + (a + b)).astype(float)

    def behind(self, states: np.ndarray) -> np.ndarray:
        """``(B,)`` how far assignments ``(B, V)`` are below the best, in logs."""
        return -self._scaled[0][np.arange(len(states)), *states.T].astype(float)

    def marginal(self, *variables: int) -> np.ndarray:
        """``(B, *cards of these)``, axes in their order."""
        p = self.probability.sum(self._without(*variables))
        return p.transpose(0, *(np.argsort(np.argsort(variables)) + 1)).astype(float)

    def log_marginal(self, v: int) -> np.ndarray:
        """``(B, card)`` its log, also where that underflows."""
        log = np.moveaxis(self._scaled[0], v + 1, 1).reshape(len(self.high), self.cards[v], -1)
        top = np.where(np.isneginf(log).all(2, keepdims=True), 0, log.max(2, keepdims=True))
        log = wide_log(np.exp(log - top).sum(2)) + top[..., 0]
        return (log - wide_log(np.exp(log).sum(1, keepdims=True))).astype(float)

    def weight(self, least: float = 1e-25) -> np.ndarray:
        """``(B,)`` the largest sum of absolute values among assignments that are not unlikely: what rounding is of."""
        p = np.nan_to_num(self.probability)
        return np.where(p >= least * p.max(self._without(), keepdims=True), self.size, 0).max(self._without())
