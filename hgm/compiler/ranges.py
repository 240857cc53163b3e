"""Which range is safe: where messages may be linear, and where they must be rescaled. The one place that decides it.

A strictly positive table with entries in [w, 1] maps messages with maximum 1 into [w, S], so products over the siblings
lie between the product of the w and that of the S; a level is linear while these stay within `SAFE` and 1 / `SAFE`.
(Priors count with the siblings, and at an observed variable so does the w of the factor above it.) A zero in a table
breaks the lower bound (the only allowed state may carry an arbitrarily small message), so such factors run the log
kernel, and so do the variables next to them. (Rows whose evidence allows it run linear: `hgm.compiler.reach`.)

Two things take digits from float32 without leaving the range: a product of very many messages, each of which is rounded
(`crowded`), and a large difference of log evidence that a small entry beside it makes up for (`sharp`).

Four ask: planning (`kernels`), a walk over the nodes (`rescaled`), a network whose weights change (`allowed`), and
learning, which plans for tables that will change (`Ranges.rounded`). All bounds are logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal

import numpy as np

from hgm.tree.flat import offsets, runs
from hgm.tree.potential import Potential
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree

__all__ = [
    "SAFE",
    "Kernel",
    "Kernels",
    "Ranges",
    "allowed",
    "crowded",
    "has_linear",
    "kernels",
    "rescaled",
    "sharp",
]

Kernel = Literal["linear", "log"]

#: log of the smallest message a linear stage may produce from messages with maximum 1: float32 still has 8 decades
#: below
SAFE = np.log(1e-30)

DECADE = np.log(10)

#: float32 rounds a message by 2^-24: products of more siblings may be off by 1e-6
MANY = 32

#: and evidence by 2^-24 times its log: where a factor beside it makes up for less than this, p may be off by 1e-6
SHARP = np.log(1e-8)

#: what a multiply-add costs in logs, against one in linear float32: measured
LOG = 16


@singledispatch
def has_linear(potential: Potential) -> bool:
    """Whether the layer of a kind of potential has a linear kernel. Register a kind whose layer knows logs only."""
    return potential.complete


has_linear.register(Rules, lambda _: False)


@dataclass(frozen=True, eq=False)
class Ranges:
    """How far the entries of potentials reach.

    Attributes:
        low: ``(len(potentials),)`` log(smallest positive / largest entry) of each, at most 0.
        positive: ``(len(potentials),)`` whether a potential may run in the linear kernel: it has no zeros.
    """

    low: np.ndarray
    positive: np.ndarray

    @classmethod
    def of(cls, potentials: Sequence[Potential], flat: np.ndarray | None = None) -> Ranges:
        """The ranges of potentials, at other log entries ``(P,)`` if given (`hgm.tree.flat`)."""
        parts = [_reach(*run) for run in (runs(potentials) if flat is None else [(flat, offsets(potentials)[:-1])])]
        low, positive = (
            np.concatenate(part) for part in zip((np.zeros(0), np.zeros(0, dtype=bool)), *parts, strict=True)
        )
        return cls(low, positive & np.array([has_linear(p) for p in potentials], dtype=bool))

    def rounded(self) -> Ranges:
        """Wider ranges, by powers of ten: tables may change within them."""
        return Ranges(np.where(self.low < 0, -DECADE * (np.floor(-self.low / DECADE) + 1), 0.0), self.positive)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Ranges)
            and np.array_equal(self.low, other.low)
            and np.array_equal(self.positive, other.positive)
        )

    __hash__ = None  # type: ignore[assignment]


def _reach(flat: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`Ranges.low`, and whether there are no zeros, of the log entries that start there."""
    if not len(start):
        return np.zeros(0), np.zeros(0, dtype=bool)
    zero = np.isneginf(flat)
    low = np.minimum.reduceat(np.where(zero, np.inf, flat) if zero.any() else flat, start)
    return low - np.maximum.reduceat(flat, start), ~np.logical_or.reduceat(zero, start)


@dataclass(frozen=True, eq=False)
class Kernels:
    """What `kernels` decides.

    Attributes:
        factor: ``(F,)`` whether a factor's layer may be linear.
        level: ``(levels,)`` whether the messages of a level are linear.
        rescale: ``(levels,)`` at which levels messages must be rescaled.
    """

    factor: np.ndarray
    level: np.ndarray
    rescale: np.ndarray


def kernels(tree: Tree, inputs: np.ndarray, ranges: Ranges, level: np.ndarray | None = None) -> Kernels:
    """The kernel of every factor and level of a tree whose variables `inputs` are observed.

    A level is log if a factor next to it is, or if its products may leave the safe range. Levels are those of the tree;
    or any others, ``(V,)``, between which all messages are rescaled.
    """
    parts = tree.level if level is None else level
    low, positive = ranges.low[tree.potential_id], ranges.positive[tree.potential_id]
    unary = np.diff(tree.scope_ptr) == 1
    linear = positive & (low > SAFE)
    factor_low = np.where(positive | unary, low, 0.0)  # a prior's zeros are exact; other sparse factors run in logs
    factor_high = _growth(tree)
    product = np.bincount(tree.parent, weights=factor_low, minlength=len(tree))
    growth = np.bincount(tree.parent, weights=factor_high, minlength=len(tree))
    observed = np.zeros(len(tree), dtype=bool)
    observed[inputs] = True
    unsafe = (product + observed * _above(tree, factor_low) <= SAFE) | (growth >= -SAFE)
    by_logs = ~linear & ~unary
    log = np.zeros(int(parts.max()) + 1, dtype=bool)
    np.logical_or.at(log, parts, unsafe)
    log[parts[tree.scope[np.repeat(by_logs, np.diff(tree.scope_ptr))]]] = True
    if level is not None:
        return Kernels(linear, ~log, np.ones(len(log), dtype=bool))

    fresh = np.zeros(tree.depth + 2, dtype=bool)  # evidence meets rescaled messages only: see `_above`
    fresh[1 + tree.level[observed & tree.inner]] = True
    return Kernels(linear, ~log, _rescale(tree, log, fresh[:-1], factor_low, factor_high))


def allowed(tree: Tree, inputs: np.ndarray, ranges: Ranges, linear: np.ndarray, linear_at: np.ndarray) -> np.ndarray:
    """``(len(potentials),)`` how low `Ranges.low` of each potential may become under kernels that were chosen.

    Args:
        tree: the tree.
        inputs: the observed variables.
        ranges: those for which the kernels were chosen.
        linear: ``(F,)`` which factors run in the linear kernel.
        linear_at: ``(V,)`` which variables have linear messages.

    The conditions of `kernels` are sums of ranges (siblings and priors; at an observed variable the factor above too):
    what each leaves to spare is divided evenly among its factors, so that all of them may use it up at once. A prior
    counts with its zeros too, which are exact, but has no layer whose own range would bound it.
    """
    unary = np.diff(tree.scope_ptr) == 1
    counted = linear | unary
    low = np.where(counted, ranges.low[tree.potential_id], 0.0)
    seen = inputs[tree.parent_factor[inputs] >= 0]
    over = tree.parent_factor[seen]
    total = np.bincount(tree.parent, weights=low, minlength=len(tree)).astype(float)
    count = np.bincount(tree.parent, weights=counted, minlength=len(tree)).astype(float)
    total[seen] += low[over]
    count[seen] += counted[over]
    room = np.where(linear_at, (SAFE - total) / np.maximum(count, 1), -np.inf)  # of each variable
    spare = np.maximum(np.where(unary, -np.inf, SAFE - low), room[tree.parent])  # of each factor
    np.maximum.at(spare, over, room[seen])
    most = np.full(len(tree.potentials), -np.inf)
    np.maximum.at(most, tree.potential_id[counted], spare[counted])
    return ranges.low + most


def crowded(tree: Tree) -> bool:
    """Whether some variable has so many factors that the messages of them all must be float64."""
    return bool(np.diff(tree.factor_ptr).max(initial=0) > MANY)


def sharp(tree: Tree, inputs: np.ndarray, ranges: Ranges) -> bool:
    """Whether factors around an observed variable reach so far that exp of log evidence must be taken in float64."""
    low = ranges.low[tree.potential_id]
    around = np.bincount(tree.parent, weights=low, minlength=len(tree)) + _above(tree, low)
    return bool((around[inputs] < SHARP).any())


def _growth(tree: Tree) -> np.ndarray:
    """``(F,)`` log of the number of joint states of each factor's children: what its messages can be at most."""
    log_states = np.log(tree.cardinality[tree.scope])
    owner = np.repeat(np.arange(tree.factors), np.diff(tree.scope_ptr))
    total = np.bincount(owner, weights=log_states, minlength=tree.factors)
    return total - log_states[tree.scope_ptr[:-1] + tree.up]


def _above(tree: Tree, factor_low: np.ndarray) -> np.ndarray:
    """``(V,)`` the log range of the factor above each variable, 0 at the roots.

    Evidence e_v makes some states of v arbitrarily small beside the largest of e_v(a) prod q(a), and what underflows
    there is lost. The factor above can make up for it by its whole range. So at an observed variable it counts too.
    """
    above = np.zeros(len(tree))
    child = tree.parent_factor >= 0
    above[child] = factor_low[tree.parent_factor[child]]
    return above


def _rescale(
    tree: Tree, log_level: np.ndarray, fresh: np.ndarray, factor_low: np.ndarray, factor_high: np.ndarray
) -> np.ndarray:
    """``(depth + 1,)`` at which levels messages must be rescaled.

    Going up, [low, high] bounds the log of a level's largest message. A positive factor f turns children's messages
    into messages in [w_f exp(low), C_f exp(high)], with C_f the number of its children's joint states; siblings add.
    A level is rescaled if its parents' level would otherwise leave the safe range, or if `fresh` asks for it. The
    deepest level's messages are evidence with maximum 1, unless they are multiplied by priors.
    """
    sizes = np.diff(tree.scope_ptr)
    rescale = np.ones(tree.depth + 1, dtype=bool)

    def bounds(level: int, low: float, high: float) -> tuple[float, float]:
        here = slice(*np.searchsorted(tree.parent, tree.level_ptr[level : level + 2]))
        nodes = tree.parent[here] - tree.level_ptr[level]
        width = int(tree.level_ptr[level + 1] - tree.level_ptr[level])
        lows = np.bincount(nodes, weights=factor_low[here] + (sizes[here] - 1) * low, minlength=width)
        highs = np.bincount(nodes, weights=factor_high[here] + (sizes[here] - 1) * high, minlength=width)
        return float(lows.min()), float(highs.max())

    low = high = 0.0  # of the level below, as it arrives: rescaled or not
    for level in range(tree.depth - 1, -1, -1):
        below = bounds(level, low, high)
        wanted = fresh[level + 1] or log_level[level] or log_level[level + 1]
        rescale[level + 1] = wanted or below[0] <= SAFE or below[1] >= -SAFE
        low, high = bounds(level, 0.0, 0.0) if rescale[level + 1] else below
    rescale[tree.depth] = bool((tree.level[tree.parent[sizes == 1]] == tree.depth).any())
    return rescale


def rescaled(tree: Tree, inputs: np.ndarray, ranges: Ranges) -> np.ndarray:
    """``(V,)`` which messages must be rescaled where they pass node by node, in a model of edges that is all linear.

    The bounds of `_rescale`, but of each node: the children of a variable are rescaled if its message would leave the
    safe range otherwise, or if evidence meets theirs.
    """
    unary = np.diff(tree.scope_ptr) == 1
    factor_low, factor_high = ranges.low[tree.potential_id], _growth(tree)
    low = np.bincount(tree.parent, weights=factor_low * unary, minlength=len(tree))  # of leaves; priors of the others
    high, rescale, fresh = np.zeros(len(tree)), np.zeros(len(tree), dtype=bool), np.zeros(len(tree), dtype=bool)
    fresh[inputs] = True
    for level in range(tree.depth - 1, -1, -1):
        here, child = tree.at_level(level), tree.at_level(level + 1)
        factor, at = tree.parent_factor[child], tree.above[child] - here[0]
        lows, highs = low[child] + factor_low[factor], high[child] + factor_high[factor]
        least, most = (np.bincount(at, weights=w, minlength=len(here)) for w in (lows, highs))
        far = fresh[here] | (low[here] + least <= SAFE) | (most >= -SAFE)
        rescale[child] = far[at]
        lows, highs = np.where(far[at], (factor_low[factor], factor_high[factor]), (lows, highs))
        low[here] += np.bincount(at, weights=lows, minlength=len(here))
        high[here] = np.bincount(at, weights=highs, minlength=len(here))
    return rescale
