"""A plan by levels: one stage for each pair of levels, as many steps in sequence as the tree is deep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgm.compiler.fold import Factors, fold_stage
from hgm.compiler.plan import Group, LevelPlan, LevelStage, Plan
from hgm.compiler.ranges import Kernels, Ranges, kernels
from hgm.tree.flat import offsets
from hgm.tree.tree import Tree

__all__ = ["by_levels"]


def by_levels(tree: Tree, inputs: np.ndarray | None = None, ranges: Ranges | None = None) -> Plan:
    """The plan of a tree, level by level.

    Args:
        tree: any tree or forest.
        inputs: ``(n_in,)`` the variables that evidence may touch, in the order of the network's input; default the
            leaves.
        ranges: of the potentials that the network is to take; default those of the tree's.
    """
    inputs = tree.leaves if inputs is None else inputs
    ranges = Ranges.of(tree.potentials) if ranges is None else ranges
    chosen = kernels(tree, inputs, ranges)
    offset = offsets(tree.potentials)
    observed = np.zeros(len(tree), dtype=bool)
    observed[inputs] = True
    several = np.diff(tree.scope_ptr) > 1
    child_factors = np.bincount(tree.parent[several], minlength=len(tree))

    levels: list[LevelPlan] = []
    stages: list[LevelStage] = []
    arrival = tree.roots  # the variables of a level in the order in which the stage above reaches them
    columns = 0
    for level in range(tree.depth + 1):
        degree = child_factors[arrival]
        order = arrival if (degree == degree[0]).all() else arrival[np.argsort(-degree, kind="stable")]
        column = np.where(observed[order], columns - 1 + np.cumsum(observed[order]), -1)
        columns += int(observed[order].sum())
        factors = _factors_of(tree, order)
        joins = several[factors]
        levels.append(_level(tree, level, order, column, factors[~joins], chosen))
        if stages and not np.array_equal(order, arrival):
            stages[-1] = replace(stages[-1], arrival=_positions(order)[arrival - tree.level_ptr[level]])
        if level < tree.depth:
            degree = child_factors[order]
            stage, arrival = _stage(tree, levels[-1], degree, factors[joins], chosen.factor, offset)
            stages.append(stage)
    return Plan(tree, tuple(levels), tuple(stages), inputs, offset, ranges, "levels")


def _level(
    tree: Tree, level: int, order: np.ndarray, column: np.ndarray, unary: np.ndarray, chosen: Kernels
) -> LevelPlan:
    return LevelPlan(
        level=level,
        order=order,
        states=int(tree.cardinality[order].max()),
        cardinality=tree.cardinality[order],
        kernel="linear" if chosen.level[level] else "log",
        observed=column,
        unary=unary,
        unary_position=_positions(order)[tree.parent[unary] - tree.level_ptr[level]],
        rescale=bool(chosen.rescale[level]),
        deepest=level == tree.depth,
    )


def _stage(
    tree: Tree, above: LevelPlan, degree: np.ndarray, factors: np.ndarray, linear: np.ndarray, offset: np.ndarray
) -> tuple[LevelStage, np.ndarray]:
    """The stage below a level, and the tree indices of its ops' children, one op after the other.

    `factors` are those of several variables, parent by parent, and `degree` how many each parent has.
    """
    level = above.level
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
    every = Factors(
        tree,
        np.concatenate(slots),
        groups,
        alone=True,
        offset=offset,
        grid=None if tree.grid is None else (tree.grid[level], tree.grid[level + 1]),
        states_out=above.states,
        states_in=int(tree.cardinality[tree.at_level(level + 1)].max()),
        linear=linear,
    )
    op_of, ops = fold_stage(every)
    take = None if len(ops) == 1 else np.argsort(np.argsort(op_of, kind="stable"), kind="stable")
    children = [_children(tree, op.factors).T.ravel() for op in ops]
    stage = LevelStage(level, tuple(ops), tuple(groups), take, np.concatenate(slot_parent), None)
    return stage, np.concatenate(children)


def _positions(order: np.ndarray) -> np.ndarray:
    """``(n,)`` where each variable of a level stands in `order`; the variables of a level have consecutive indices."""
    position = np.empty(len(order), dtype=np.int64)
    position[order - order.min()] = np.arange(len(order))
    return position


def _factors_of(tree: Tree, variables: np.ndarray) -> np.ndarray:
    """The factors below the given variables, variable by variable."""
    start = tree.factor_ptr[variables]
    count = tree.factor_ptr[variables + 1] - start
    total = int(count.sum())
    return np.repeat(start - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(total)


def _children(tree: Tree, factors: np.ndarray) -> np.ndarray:
    """``(F, k)`` children of factors of one size, in axis order without the parent's axis."""
    size = int(tree.scope_ptr[factors[0] + 1] - tree.scope_ptr[factors[0]])
    members = tree.scope[tree.scope_ptr[factors][:, None] + np.arange(size)]
    keep = np.arange(size) != tree.up[factors][:, None]
    return members[keep].reshape(len(factors), size - 1)
