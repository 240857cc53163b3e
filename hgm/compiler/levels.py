"""A plan by levels: one stage for each pair of levels, as many steps in sequence as the tree is deep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgm.compiler.parts import factors_below, hanging, level_plan, positions
from hgm.compiler.plan import LevelPlan, LevelStage, Plan
from hgm.compiler.ranges import Ranges, kernels
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
    taken = 0
    for number in range(tree.depth + 1):
        degree = child_factors[arrival]
        order = arrival if (degree == degree[0]).all() else arrival[np.argsort(-degree, kind="stable")]
        inner = int((child_factors[order] > 0).sum())
        level, taken = level_plan(tree, number, order, (observed, taken), inner, chosen)
        if stages and not np.array_equal(order, arrival):
            stages[-1] = replace(stages[-1], arrival=positions(order, arrival))
        levels.append(level)
        if number < tree.depth:
            factors = factors_below(tree, order)
            stage, arrival = hanging(tree, level, factors[several[factors]], chosen.factor, offset, grid=True)
            stages.append(stage)
    return Plan(tree, tuple(levels), tuple(stages), inputs, offset, ranges, "levels")
