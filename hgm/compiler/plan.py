"""`Tree -> Plan`: which batched operations a network runs, in which order, on which numbers. NumPy only, no torch.

A plan has one `LevelPlan` per level (its variables and what is observed there) and one `StagePlan` per pair of levels
(the factors between them). Between level l (parents) and l + 1 (children), the factors are *folded*: factors of one
shape become one batched op, and a regular level with tied matrices becomes a strided convolution.

**Order.** Inside a network the variables of a level are permuted so that nothing has to be moved while it runs. Parents
are sorted by their number of child factors k; the parents with the same k form a `Group`, and their factors (the
group's
*slots*) are laid out position by position: all first factors, then all second ones, ... So the messages of a group are
one block ``(k, n)``, combining siblings is a product over its first axis, and a convolution's inputs are plain slices.

**Kernels.** Messages are held either as rescaled probabilities (``"linear"``: products and matrix products, no exp or
log) or as log messages in float64 (``"log"``). Linear is exact while nothing underflows. A strictly positive table with
entries in [w, 1] maps messages with maximum 1 into [w, S], so products over the siblings lie between the product of the
w and that of the S; a stage is linear while these stay within `SAFE` and 1 / `SAFE`. (Priors count with the siblings,
and at an observed variable so does the w of the factor above it.) A zero in a table breaks the lower bound (the only
allowed state may carry an arbitrarily small message), so such factors run the log kernel, and so do the variables
next to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from tabulate import tabulate

from hgm.tree.potential import Potential, Rules
from hgm.tree.tree import Tree

__all__ = ["ConvOp", "EdgeOp", "Group", "JointOp", "Kernel", "LevelPlan", "Op", "Plan", "RulesOp", "StagePlan", "plan"]

Kernel = Literal["linear", "log"]

#: log of the smallest message a linear stage may produce from messages with maximum 1: float32 still has 8 decades
#: below
SAFE = np.log(1e-30)


@dataclass(frozen=True)
class Op:
    """Factors of one stage that run as one batched operation.

    Attributes:
        factors: ``(F,)`` factor indices, in slot order.
        states_out, states_in: S of the parents, S' of the children (padded to the largest of the level).
        index: entry numbers in the flat vector of all potentials' weights, in the layout of the op's weight;
            -1 pads states that a variable does not have.
        kernel: ``"linear"`` or ``"log"``.
        flops: multiply-adds per batch row, both directions.
    """

    factors: np.ndarray
    states_out: int
    states_in: int
    index: np.ndarray
    kernel: Kernel

    name = "op"

    @property
    def flops(self) -> int:
        return 2 * len(self.factors) * self.states_out * self.states_in

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
class JointOp(Op):
    """Joint tables of one shape, ``index (F or 1, S, C_1, ..., C_k)``; first axis 1 if they are all tied."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return "joint"

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

    @property
    def name(self) -> str:  # type: ignore[override]
        return "rules"

    @property
    def children(self) -> int:
        return self.states.shape[1] - 1

    @property
    def flops(self) -> int:
        return (1 + self.children) * self.states.size * len(self.factors)


@dataclass(frozen=True)
class Group:
    """`nodes` consecutive parents with `arity` child factors each."""

    arity: int
    nodes: int


@dataclass(frozen=True)
class LevelPlan:
    """The variables of one level, in network order.

    Attributes:
        level: distance from the root.
        order: ``(n,)`` tree indices.
        states: S, the largest cardinality.
        cardinality: ``(n,)``.
        kernel: how this level's messages are held.
        observed: ``(n,)`` column of the network's input, -1 where unobserved.
        unary: factors over one variable of this level; their tables are multiplied into the evidence.
        unary_position: ``(U,)`` which node each belongs to.
        rescale: whether the messages must be rescaled to maximum 1 here; if not, bounds on the tables show that nothing
            can underflow before the next level that does it.
        deepest: whether this is the last level.
    """

    level: int
    order: np.ndarray
    states: int
    cardinality: np.ndarray
    kernel: Kernel
    observed: np.ndarray
    unary: np.ndarray
    unary_position: np.ndarray
    rescale: bool
    deepest: bool

    @property
    def nodes(self) -> int:
        return len(self.order)

    @property
    def mixed(self) -> bool:
        """True if some variable has fewer than S states, so that padding states must be masked."""
        return bool((self.cardinality < self.states).any())


@dataclass(frozen=True)
class StagePlan:
    """The factors between level l and level l + 1.

    Attributes:
        level: l, the parents' level.
        groups: parents by number of child factors, in network order.
        ops: the folded factors. Their slots, one op after the other, are the *op order*.
        take: ``(F,)`` op order -> slot order, or ``None`` if equal.
        slot_parent: ``(F,)`` position of each slot's parent in its level.
        arrival: ``(n',)`` position in level l + 1 of the ops' children, one op after the other, or ``None`` if equal.
    """

    level: int
    groups: tuple[Group, ...]
    ops: tuple[Op, ...]
    take: np.ndarray | None
    slot_parent: np.ndarray
    arrival: np.ndarray | None

    @property
    def regular(self) -> bool:
        """One op, every parent with the same number of factors: messages stay one block."""
        return len(self.ops) == 1 and len(self.groups) == 1


@dataclass(frozen=True)
class Plan:
    """What a network does, stage by stage. `print` shows it as a table.

    Attributes:
        tree: the tree, rooted as the network needs it.
        levels: one per level, root first.
        stages: one per pair of levels, root first.
        inputs: ``(n_in,)`` the observed variables, in the order of the network's input columns.
        weights: ``(P,)`` potential of each entry of the flat vector of weights.
        offset: ``(len(potentials) + 1,)`` where each potential starts in it.
    """

    tree: Tree
    levels: tuple[LevelPlan, ...]
    stages: tuple[StagePlan, ...]
    inputs: np.ndarray
    offset: np.ndarray

    @property
    def weights(self) -> int:
        """Number of distinct weights."""
        return int(self.offset[-1])

    @property
    def flops(self) -> int:
        """Multiply-adds per batch row of a collect and a distribute."""
        return sum(op.flops for stage in self.stages for op in stage.ops)

    def places(self, query: np.ndarray) -> tuple[list[int], np.ndarray | None]:
        """The levels that hold the `query` variables, and where each of these is when the levels are laid end to end.

        ``None`` stands for places in order, so that nothing has to be gathered.
        """
        levels = sorted({int(level) for level in self.tree.level[query]})
        order = np.concatenate([self.levels[level].order for level in levels])
        place = np.full(len(self.tree), -1, dtype=np.int64)
        place[order] = np.arange(len(order))
        return levels, None if np.array_equal(query, order) else place[query]

    def rows(self) -> list[dict[str, object]]:
        """One row per op, in the order in which a collect runs them."""
        rows: list[dict[str, object]] = []
        for stage in reversed(self.stages):
            above, below = self.levels[stage.level], self.levels[stage.level + 1]
            for op in stage.ops:
                rows.append({
                    "level": f"{stage.level + 1} -> {stage.level}",
                    "op": op.name,
                    "nodes": f"{below.nodes:,} -> {above.nodes:,}",
                    "states": f"{op.states_in} -> {op.states_out}",
                    "factors": len(op.factors),
                    "weights": len(np.unique(op.index[op.index >= 0])),
                    "flops": op.flops,
                    "kernel": op.kernel,
                    "skips": f"h ({below.states}, {below.nodes:,}), q ({op.states_out}, {len(op.factors):,})",
                })  # fmt: skip
        return rows

    def __str__(self) -> str:
        table = tabulate(self.rows(), headers="keys", intfmt=",") if self.stages else "(no stages: single nodes)"
        counts = f"{len(self.inputs):,} observed variables, {self.weights:,} weights, {self.flops:,} multiply-adds"
        return f"{self.tree!r}\n{counts}\n{table}"

    __repr__ = __str__


def plan(tree: Tree, inputs: np.ndarray | None = None) -> Plan:
    """The plan of a tree.

    Args:
        tree: any tree or forest.
        inputs: ``(n_in,)`` the variables that evidence may touch, in the order of the network's input; default the
            leaves.
    """
    inputs = tree.leaves if inputs is None else inputs
    column = np.full(len(tree), -1, dtype=np.int64)
    column[inputs] = np.arange(len(inputs))
    offset = np.concatenate([[0], np.cumsum([p.size for p in tree.potentials], dtype=np.int64)]).astype(np.int64)
    sizes = np.diff(tree.scope_ptr)
    unary = sizes == 1
    dense = np.array([_is_positive(p) for p in tree.potentials], dtype=bool)[tree.potential_id]
    low = np.array([_log_range(p) for p in tree.potentials], dtype=float)[tree.potential_id]  # <= 0
    linear_factor = dense & (low > SAFE)

    # the kernel of each level: log if a factor next to it is, or if its products may leave the safe range
    factor_low = np.where(dense | unary, low, 0.0)  # the zeros of a prior are exact; other sparse factors run in logs
    factor_high = _growth(tree)
    product = np.bincount(tree.parent, weights=factor_low, minlength=len(tree))
    growth = np.bincount(tree.parent, weights=factor_high, minlength=len(tree))
    observed = column >= 0
    unsafe = (product + observed * _above(tree, factor_low) <= SAFE) | (growth >= -SAFE)
    joint_log = ~linear_factor & ~unary
    factor_level = tree.level[tree.parent]
    log_level = np.zeros(tree.depth + 1, dtype=bool)
    np.logical_or.at(log_level, tree.level, unsafe)
    np.logical_or.at(log_level, factor_level[joint_log], True)
    np.logical_or.at(log_level, factor_level[joint_log] + 1, True)

    child_factors = np.bincount(tree.parent[~unary], minlength=len(tree))
    fresh = np.zeros(tree.depth + 2, dtype=bool)  # evidence meets rescaled messages only: see `_above`
    fresh[1 + tree.level[observed & (child_factors > 0)]] = True
    rescale = _rescale(tree, log_level, fresh[:-1], factor_low, factor_high)
    levels: list[LevelPlan] = []
    stages: list[StagePlan] = []
    order = tree.roots
    regular_so_far = tree.grid
    arrival: np.ndarray = order
    position = np.empty(len(tree), dtype=np.int64)
    for level in range(tree.depth + 1):
        degree = child_factors[arrival]
        uniform = (degree == degree[0]).all()
        order = arrival if uniform else arrival[np.argsort(-degree, kind="stable")]
        cardinality = tree.cardinality[order]
        factors_here = _factors_of(tree, order)
        mine = factors_here[unary[factors_here]]
        position[order] = np.arange(len(order))
        levels.append(
            LevelPlan(
                level=level,
                order=order,
                states=int(cardinality.max()),
                cardinality=cardinality,
                kernel="log" if log_level[level] else "linear",
                observed=column[order],
                unary=mine,
                unary_position=position[tree.parent[mine]],
                rescale=bool(rescale[level]),
                deepest=level == tree.depth,
            )
        )
        if stages and not np.array_equal(order, arrival):
            stages[-1] = _with_arrival(stages[-1], position[arrival])
        if level == tree.depth:
            break
        below = int(tree.cardinality[tree.level_ptr[level + 1] : tree.level_ptr[level + 2]].max())
        stage, arrival = _stage(
            tree, level, order, child_factors, linear_factor, offset, levels[-1].states, below, regular_so_far
        )
        stages.append(stage)
    return Plan(tree, tuple(levels), tuple(stages), inputs, offset)


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


def _log_range(potential: Potential) -> float:
    """log(smallest positive / largest entry) of a table."""
    entries = potential.log_potential[np.isfinite(potential.log_potential)]
    return float(entries.min() - entries.max())


def _is_positive(potential: Potential) -> bool:
    """Whether a table may run in the linear kernel: it has no zeros. Rules have a layer for logs only."""
    return not isinstance(potential, Rules) and bool(np.isfinite(potential.log_potential).all())


def _factors_of(tree: Tree, variables: np.ndarray) -> np.ndarray:
    """The factors below the given variables, variable by variable."""
    start, count = tree.factor_ptr[variables], np.diff(tree.factor_ptr)[variables]
    total = int(count.sum())
    return np.repeat(start - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(total)


def _with_arrival(stage: StagePlan, arrival: np.ndarray) -> StagePlan:
    return StagePlan(stage.level, stage.groups, stage.ops, stage.take, stage.slot_parent, arrival)


def _stage(
    tree: Tree,
    level: int,
    order: np.ndarray,
    child_factors: np.ndarray,
    linear_factor: np.ndarray,
    offset: np.ndarray,
    states_out: int,
    states_in: int,
    grid: tuple[tuple[int, ...], ...] | None,
) -> tuple[StagePlan, np.ndarray]:
    """The stage below `level`, and the tree indices of its ops' children, one op after the other."""
    degree = child_factors[order]
    factors = _factors_of(tree, order)
    factors = factors[np.diff(tree.scope_ptr)[factors] > 1]
    # slots: inside each group of equal degree, position by position
    groups: list[Group] = []
    slots: list[np.ndarray] = []
    slot_parent: list[np.ndarray] = []
    cuts = np.flatnonzero(np.diff(degree)) + 1
    start = 0
    for first, last in zip([0, *cuts], [*cuts, len(order)], strict=True):
        k, n = int(degree[first]), int(last - first)
        groups.append(Group(k, n))
        slots.append(factors[start : start + k * n].reshape(n, k).T.ravel())
        slot_parent.append(np.tile(np.arange(first, last), k))
        start += k * n
    slot = np.concatenate(slots)
    op_of, ops = _ops(tree, slot, groups, linear_factor, offset, states_out, states_in, grid, level)
    op_order = np.argsort(op_of, kind="stable")
    take: np.ndarray | None = np.argsort(op_order, kind="stable")
    if len(ops) == 1:
        take = None
    children = [_children(tree, op.factors).T.ravel() for op in ops]
    stage = StagePlan(level, tuple(groups), tuple(ops), take, np.concatenate(slot_parent), None)
    return stage, np.concatenate(children)


def _children(tree: Tree, factors: np.ndarray) -> np.ndarray:
    """``(F, k)`` children of factors of one size, in axis order without the parent's axis."""
    size = int(tree.scope_ptr[factors[0] + 1] - tree.scope_ptr[factors[0]])
    members = tree.scope[tree.scope_ptr[factors][:, None] + np.arange(size)]
    keep = np.arange(size) != tree.up[factors][:, None]
    return members[keep].reshape(len(factors), size - 1)


def _ops(
    tree: Tree,
    slot: np.ndarray,
    groups: Sequence[Group],
    linear_factor: np.ndarray,
    offset: np.ndarray,
    states_out: int,
    states_in: int,
    grid: tuple[tuple[int, ...], ...] | None,
    level: int,
) -> tuple[np.ndarray, list[Op]]:
    """Which op each slot belongs to, and the ops."""
    ids, up = tree.potential_id[slot], tree.up[slot]
    seen: dict[object, int] = {}
    pairs, which = np.unique(np.stack([ids, up]), axis=1, return_inverse=True)
    kinds = []
    for potential_id, axis in pairs.T:
        p = tree.potentials[potential_id]
        if isinstance(p, Rules):
            kind: object = ("rules", int(potential_id), int(axis))
        elif p.axes == 2:
            kind = "edge"
        else:
            kind = ("joint", (p.shape[axis], *np.delete(p.shape, axis).tolist()))
        kinds.append(seen.setdefault(kind, len(seen)))
    keys = np.array(kinds)[which.ravel()]
    ops: list[Op] = []
    for kind, number in seen.items():
        mine = keys == number
        kernel: Kernel = "linear" if linear_factor[slot[mine]].all() else "log"
        if kind == "edge":
            ops.append(
                _edge_op(tree, slot[mine], groups, len(seen) == 1, kernel, offset, states_out, states_in, grid, level)
            )
        elif kind[0] == "joint":  # type: ignore[index]
            ops.append(_joint_op(tree, slot[mine], kernel, offset, states_out))
        else:
            ops.append(_rules_op(tree, slot[mine], offset, states_out))
    return keys, ops


def _edge_index(tree: Tree, factors: np.ndarray, offset: np.ndarray, states_out: int, states_in: int) -> np.ndarray:
    """``(F, S, S')`` entry numbers of matrices, parent states first; -1 in the padding."""
    pairs, which = np.unique(np.stack([tree.potential_id[factors], tree.up[factors]]), axis=1, return_inverse=True)
    tables = np.full((pairs.shape[1], states_out, states_in), -1, dtype=np.int64)
    for row, (potential_id, axis) in enumerate(pairs.T):
        p = tree.potentials[potential_id]
        entries = offset[potential_id] + np.arange(p.size).reshape(p.shape)
        entries = entries.T if axis == 1 else entries
        tables[row, : entries.shape[0], : entries.shape[1]] = entries
    return tables[which.ravel()]


def _edge_op(
    tree: Tree,
    factors: np.ndarray,
    groups: Sequence[Group],
    alone: bool,
    kernel: Kernel,
    offset: np.ndarray,
    states_out: int,
    states_in: int,
    grid: tuple[tuple[int, ...], ...] | None,
    level: int,
) -> Op:
    one_group = alone and len(groups) == 1
    key = tree.potential_id[factors] * 2 + tree.up[factors]
    if (key == key[0]).all() and (one_group or alone):
        # all edges share one matrix; on a regular level the arity is that of the level, else 1 (a pointwise
        # convolution)
        index = _edge_index(tree, factors[:1], offset, states_out, states_in)
        return ConvOp(factors, states_out, states_in, index, kernel, _arity(grid, level, groups) if one_group else (1,))
    if one_group:
        block = key.reshape(groups[0].arity, groups[0].nodes)
        if (block == block[:, :1]).all():
            index = _edge_index(tree, factors.reshape(block.shape)[:, 0], offset, states_out, states_in)
            return ConvOp(factors, states_out, states_in, index, kernel, _arity(grid, level, groups))
    index = _edge_index(tree, factors, offset, states_out, states_in)
    uniform = bool((index >= 0).all())
    return EdgeOp(factors, states_out, states_in, index, kernel, regular=one_group and uniform)


def _arity(grid: tuple[tuple[int, ...], ...] | None, level: int, groups: Sequence[Group]) -> tuple[int, ...]:
    if grid is not None and len(grid[level + 1]) == 2:
        above = grid[level] or (1, 1)
        return tuple(n // m for n, m in zip(grid[level + 1], above, strict=True))
    return (groups[0].arity,)


def _joint_op(tree: Tree, factors: np.ndarray, kernel: Kernel, offset: np.ndarray, states_out: int) -> Op:
    pairs, which = np.unique(np.stack([tree.potential_id[factors], tree.up[factors]]), axis=1, return_inverse=True)
    tables = []
    for potential_id, axis in pairs.T:
        p = tree.potentials[potential_id]
        tables.append(np.moveaxis(offset[potential_id] + np.arange(p.size).reshape(p.shape), axis, 0))
    index = tables[0][None] if len(tables) == 1 else np.stack(tables)[which.ravel()]
    return JointOp(factors, states_out, int(np.prod(index.shape[2:])), index, kernel)


def _rules_op(tree: Tree, factors: np.ndarray, offset: np.ndarray, states_out: int) -> Op:
    potential_id, axis = int(tree.potential_id[factors[0]]), int(tree.up[factors[0]])
    p = tree.potentials[potential_id]
    assert isinstance(p, Rules)
    axes = [axis, *(a for a in range(p.axes) if a != axis)]
    shape = tuple(p.shape[a] for a in axes)
    index = offset[potential_id] + np.arange(p.size)
    return RulesOp(factors, states_out, int(np.prod(shape[1:])), index, "log", states=p.states[:, axes], shape=shape)
