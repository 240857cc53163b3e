"""The parts of a plan that every schedule makes: a level, and the factors that hang below one."""

from __future__ import annotations

import numpy as np

from hgm.compiler.fold import Factors, fold_stage
from hgm.compiler.plan import Group, LevelPlan, LevelStage
from hgm.compiler.ranges import Kernels
from hgm.tree.tree import Tree

__all__ = ["children_of", "factors_below", "hanging", "level_plan", "positions"]


def level_plan(
    tree: Tree, number: int, order: np.ndarray, columns: tuple[np.ndarray, int], inner: int, chosen: Kernels
) -> tuple[LevelPlan, int]:
    """A level, and how many columns of the evidence it and the levels before it take.

    Args:
        tree: the tree.
        number: of the level.
        order: ``(n,)`` its variables, in network order.
        columns: ``(V,)`` whether each variable is observed, and how many columns the levels before it take.
        inner: how many of the variables, which come first, have factors of the stage below.
        chosen: the kernels.
    """
    observed, taken = columns
    seen = observed[order]
    factors = factors_below(tree, order)
    unary = factors[np.diff(tree.scope_ptr)[factors] == 1]
    level = LevelPlan(
        level=number,
        order=order,
        states=int(tree.cardinality[order].max()),
        cardinality=tree.cardinality[order],
        kernel="linear" if chosen.level[number] else "log",
        observed=np.where(seen, taken - 1 + np.cumsum(seen), -1),
        unary=unary,
        unary_position=positions(order, tree.parent[unary]),
        rescale=bool(chosen.rescale[number]),
        deepest=number == len(chosen.level) - 1,
        inner=inner,
    )
    return level, taken + int(seen.sum())


def hanging(
    tree: Tree, above: LevelPlan, factors: np.ndarray, linear: np.ndarray, offset: np.ndarray, grid: bool = False
) -> tuple[LevelStage, np.ndarray]:
    """The stage of factors that hang below a level, and their children, one op after the other.

    Args:
        tree: the tree.
        above: the level; the variables with most factors come first.
        factors: of several variables, parent by parent.
        linear: ``(factors of the tree,)`` which may be linear.
        offset: where each potential starts in the vector of all weights.
        grid: whether the level and the next one are those of the tree, whose grid then says what a convolution is.
    """
    parents = tree.parent[factors]
    degree = np.bincount(positions(above.order, parents), minlength=above.nodes)
    # slots: inside each group of equal degree, position by position
    groups: list[Group] = []
    slots: list[np.ndarray] = []
    slot_parent: list[np.ndarray] = []
    cuts = np.flatnonzero(np.diff(degree)) + 1
    start = 0
    for first, last in zip([0, *cuts], [*cuts, above.nodes], strict=True):
        k, n = int(degree[first]), int(last - first)
        groups.append(Group(k, n))
        slots.append(factors[start : start + k * n].reshape(n, k).T.ravel())
        slot_parent.append(np.tile(np.arange(first, last), k))
        start += k * n
    level = above.level
    every = Factors(
        tree,
        np.concatenate(slots),
        groups,
        alone=True,
        offset=offset,
        grid=(tree.grid[level], tree.grid[level + 1]) if grid and tree.grid is not None else None,
        states_out=above.states,
        states_in=int(tree.cardinality[_below(tree, factors)].max()),
        linear=linear,
    )
    op_of, ops = fold_stage(every)
    take = None if len(ops) == 1 else np.argsort(np.argsort(op_of, kind="stable"), kind="stable")
    children = [children_of(tree, op.factors).T.ravel() for op in ops]
    stage = LevelStage(level, tuple(ops), tuple(groups), take, np.concatenate(slot_parent), None)
    return stage, np.concatenate(children)


def positions(order: np.ndarray, variables: np.ndarray) -> np.ndarray:
    """``(n,)`` where some variables stand in `order`, which holds them all."""
    if not len(variables):
        return np.zeros(0, dtype=np.int64)
    place = np.empty(int(order.max()) - int(order.min()) + 1, dtype=np.int64)
    place[order - order.min()] = np.arange(len(order))
    return place[variables - order.min()]


def factors_below(tree: Tree, variables: np.ndarray) -> np.ndarray:
    """The factors below the given variables, variable by variable."""
    start = tree.factor_ptr[variables]
    return _spans(start, tree.factor_ptr[variables + 1] - start)


def children_of(tree: Tree, factors: np.ndarray) -> np.ndarray:
    """``(F, k)`` children of factors of one size, in axis order without the parent's axis."""
    size = int(tree.scope_ptr[factors[0] + 1] - tree.scope_ptr[factors[0]])
    members = tree.scope[tree.scope_ptr[factors][:, None] + np.arange(size)]
    keep = np.arange(size) != tree.up[factors][:, None]
    return members[keep].reshape(len(factors), size - 1)


def _below(tree: Tree, factors: np.ndarray) -> np.ndarray:
    """The members of factors, without their parents."""
    start, size = tree.scope_ptr[factors], np.diff(tree.scope_ptr)[factors]
    at = _spans(start, size)
    return tree.scope[at[at != np.repeat(start + tree.up[factors], size)]]


def _spans(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The numbers start, start + 1, ..., as many as `count` says, of each one after the other."""
    return np.repeat(start + count - np.cumsum(count), count) + np.arange(int(count.sum()))
