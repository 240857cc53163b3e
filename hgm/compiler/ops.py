"""Folded factors: which batched operations a plan is made of, on which numbers. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hgm.compiler.ranges import Kernel

__all__ = ["PAD", "ZERO", "ConvOp", "EdgeOp", "JointOp", "Op", "PathOp", "RulesOp", "Whole"]

#: what an index into the weights holds where there is no weight: a hard zero, and neutral padding
ZERO, PAD = -1, -2


@dataclass(frozen=True, eq=False)
class Whole:
    """The index of tables that are whole potentials, not written out: it would take as much memory as the tables do.

        index[f, s, a] = start[f] + entry[s, a]

    Attributes:
        start: ``(F,)`` where each factor's potential starts in the vector of all weights.
        entry: ``(S, S')`` which of its entries stands where; each once.
    """

    start: np.ndarray
    entry: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """``(F, S, S')``."""
        return (len(self.start), *self.entry.shape)

    def __len__(self) -> int:
        return len(self.start)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return (self.start[:, None, None] + self.entry).astype(np.int64 if dtype is None else dtype, copy=False)


@dataclass(frozen=True)
class Op:
    """Factors of one stage that run as one batched operation.

    Attributes:
        factors: ``(F,)`` factor indices, in slot order.
        states_out, states_in: S of the parents, S' of the children (padded to the largest of the level).
        index: entry numbers in the vector of all weights (`hgm.tree.flat`), in the layout of the op's weight; `ZERO`
            where the potential is zero by its kind, `PAD` in states that a variable does not have. Of many edges it may
            be `Whole`; `numpy.asarray` writes it out.
        kernel: ``"linear"`` or ``"log"``.
        flops: multiply-adds per batch row, both directions.
    """

    factors: np.ndarray
    states_out: int
    states_in: int
    index: Any
    kernel: Kernel

    name = "op"

    @property
    def flops(self) -> int:
        return 2 * len(self.factors) * self.states_out * self.states_in

    @property
    def weights(self) -> int:
        """Number of distinct weights."""
        if isinstance(self.index, Whole):
            return len(np.unique(self.index.start)) * self.index.entry.size
        return len(np.unique(self.index[self.index >= 0]))

    @property
    def children(self) -> int:
        """Children per factor."""
        return 1


@dataclass(frozen=True)
class ConvOp(Op):
    """Edges of a regular level with one matrix per sibling position: a convolution with stride = kernel = arity.

    `index` has shape ``(m, S, S')``, or ``(1, S, S')`` if all siblings share one matrix.
    """

    arity: tuple[int, ...] = (1,)

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"conv{len(self.arity)}d"


@dataclass(frozen=True)
class EdgeOp(Op):
    """Edges with a matrix each, ``index (F, S, S')``: locally connected on a regular level, else folded gathers."""

    regular: bool = False

    @property
    def name(self) -> str:  # type: ignore[override]
        return "local" if self.regular else "gather"


@dataclass(frozen=True)
class PathOp(EdgeOp):
    """Edges along paths, in the order in which they run; ``index (1, S, S')`` if all share one matrix."""

    name = "path"


@dataclass(frozen=True)
class JointOp(Op):
    """Joint tables of one shape, ``index (F or 1, S, C_1, ..., C_k)``; first axis 1 if they are all tied."""

    name = "joint"

    @property
    def children(self) -> int:
        return self.index.ndim - 2

    @property
    def flops(self) -> int:
        return (1 + self.children) * 2 * len(self.factors) * int(np.prod(self.index.shape[1:]))


@dataclass(frozen=True)
class RulesOp(Op):
    """One rule table shared by its factors, ``index (R,)``; ``states (R, 1 + k)`` with the parent's state first."""

    states: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    shape: tuple[int, ...] = ()

    name = "rules"

    @property
    def children(self) -> int:
        return self.states.shape[1] - 1

    @property
    def flops(self) -> int:
        return (1 + self.children) * self.states.size * len(self.factors)
