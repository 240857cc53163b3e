"""A plan by paths: one stage for each level of heavy paths, so a tree however deep has few stages.

All paths of a level run together, cut into segments (`hgm.compiler.segments`). Long segments have more steps, short
ones need more segments after one another, and cut paths their matrices. A model of time weighs that,

    steps * STEP + rows * multiply-adds                         in multiply-adds; rows is some batch, `ROWS`

in which 2 T steps and S² multiply-adds for each variable and direction stand against 3 T + 2 G steps and S³ more, in
logs `LOG` times as dear. So where S is large, or there are zeros, paths stay whole. `cheaper` holds a plan by levels,
of two steps of `STAGE` for a stage, against it.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, log2
from typing import NamedTuple

import numpy as np

from hgm.compiler.fold import Factors, fold_path, plain_edges
from hgm.compiler.ops import PathOp
from hgm.compiler.parts import factors_below, hanging, level_plan, positions
from hgm.compiler.path_plan import PathStage
from hgm.compiler.plan import LevelPlan, LevelStage, Plan, StagePlan
from hgm.compiler.ranges import LOG, SAFE, Ranges, kernels
from hgm.tree.flat import offsets
from hgm.tree.paths import HeavyPaths, heavy_paths
from hgm.tree.structure import once
from hgm.tree.tree import Tree

__all__ = ["by_paths", "cheaper"]

#: what a step along paths costs, beside its arithmetic, and a step of a stage by levels: measured, in multiply-adds
STEP, STAGE = 100_000, 300_000
#: batch rows that plans are made for
ROWS = 32
#: messages are scaled at least so often
OFTEN = 16


class Segments(NamedTuple):
    """Paths in segments.

    Attributes:
        order: the variables, step by step from the bottom of segments, the longest segments first.
        running, heads, counts, chain, paths: as of `PathStage`.
    """

    order: np.ndarray
    running: tuple[int, ...]
    heads: np.ndarray
    counts: tuple[int, ...]
    chain: np.ndarray
    paths: np.ndarray


class Tables(NamedTuple):
    """Of a tree: the ranges of its potentials, where each starts among all weights, and which factors are linear."""

    ranges: Ranges
    offset: np.ndarray
    linear: np.ndarray


def by_paths(tree: Tree, inputs: np.ndarray | None = None, ranges: Ranges | None = None) -> Plan:
    """The plan of a tree, by levels of heavy paths. Arguments as for `hgm.compiler.levels.by_levels`."""
    inputs = tree.leaves if inputs is None else inputs
    ranges = Ranges.of(tree.potentials) if ranges is None else ranges
    paths = _paths(tree)
    chosen = kernels(tree, np.arange(len(tree)), ranges, paths.level)
    of = Tables(ranges, offsets(tree.potentials), chosen.factor)
    observed = np.zeros(len(tree), dtype=bool)
    observed[inputs] = True
    hangs = np.diff(tree.scope_ptr) > 1
    hangs[tree.parent_factor[paths.below[paths.below >= 0]]] = False
    degrees = np.bincount(tree.parent[hangs], minlength=len(tree))

    levels: list[LevelPlan] = []
    stages: list[StagePlan] = []
    arrival = tree.roots
    taken = 0
    for number in range(paths.levels):
        dear = 1 if chosen.level[number] else LOG
        segments = _cut(tree, paths, arrival, dear) if number and (paths.below[arrival] >= 0).any() else None
        order = arrival if segments is None else segments.order
        if (degrees[order] != degrees[order[0]]).any():
            order = order[np.argsort(-degrees[order], kind="stable")]
        inner = int((degrees[order] > 0).sum())
        level, taken = level_plan(tree, number, order, (observed, taken), inner, chosen)
        if stages:
            (*_, light) = stages
            assert isinstance(light, LevelStage)
            if segments is not None:
                stages[-1] = _path_stage(tree, light, level, paths, arrival, segments, of)
            elif not np.array_equal(order, arrival):
                stages[-1] = replace(light, arrival=positions(order, arrival))
        levels.append(level)
        if not level.deepest:
            factors = factors_below(tree, order)
            stage, arrival = hanging(tree, level, factors[hangs[factors]], of.linear, of.offset)
            stages.append(stage)
    return Plan(tree, tuple(levels), tuple(stages), inputs, of.offset, ranges, "paths")


def cheaper(tree: Tree, ranges: Ranges | None = None) -> str:
    """Which schedule takes less time, by the model: ``"levels"`` or ``"paths"``."""
    if tree.depth <= 2 * log2(len(tree)) + 2:  # no path is long
        return "levels"
    paths = _paths(tree)
    ranges = Ranges.of(tree.potentials) if ranges is None else ranges
    linear = kernels(tree, np.arange(len(tree)), ranges, paths.level).level
    cost, variables = 0.0, np.bincount(paths.level, minlength=paths.levels)
    length = np.bincount(paths.top, minlength=len(tree))
    for number in range(1, paths.levels):
        states = int(tree.cardinality[paths.level == number].max())
        longest = int(length[(paths.level == number) & (paths.top == np.arange(len(tree)))].max())
        matrix = states**3 * (1 if linear[number] else LOG)
        cost += 2 * STAGE + (_best(longest, int(variables[number]), matrix)[1] if longest > 1 else 0.0)
    return "paths" if cost < 2 * STAGE * tree.depth else "levels"


@once
def _paths(tree: Tree) -> HeavyPaths:
    return heavy_paths(tree, plain_edges(tree))


def _best(longest: int, variables: int, matrix: int) -> tuple[int, float]:
    """How many segments the longest path of a level is cut into, and what that costs besides the arithmetic of all.

    `matrix` is what a product of two matrices costs.
    """
    best, least = 1, 2.0 * longest * STEP
    for count in sorted({2**i for i in range(1, longest.bit_length())} | {round((1.5 * longest) ** 0.5)} - {0, 1}):
        cost = (3 * -(-longest // count) + 2 * count) * STEP + ROWS * variables * matrix
        if cost < least:
            best, least = count, float(cost)
    return best, least


def _cut(tree: Tree, paths: HeavyPaths, tops: np.ndarray, dear: int) -> Segments:
    """The paths with these top variables, in segments; `dear` is what a multiply-add costs."""
    members = np.flatnonzero(paths.level == paths.level[tops[0]])
    path = positions(tops, paths.top[members])
    length = np.bincount(path)
    pieces, _ = _best(int(length.max()), len(members), dear * int(tree.cardinality[members].max()) ** 3)
    most = max(2, -(-int(length.max()) // pieces))  # variables of a segment
    count = -(-length // most)
    size = -(-length // count)
    height = length[path] - 1 - paths.place[members]
    number, step = height // size[path], height % size[path]
    first = np.concatenate([[0], np.cumsum(count)[:-1]])  # of each path, among all segments
    owner = np.repeat(np.arange(len(tops)), count)
    within = np.arange(len(owner)) - first[owner]
    sizes = np.minimum(size[owner], length[owner] - within * size[owner])
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    order = np.lexsort((rank[first[path] + number], step))
    running = tuple(int((sizes > t).sum()) for t in range(int(sizes.max())))
    by_count = np.argsort(-count, kind="stable")
    counts = tuple(int((count > g).sum()) for g in range(int(count.max())))
    chain = np.concatenate([rank[first[by_count[:k]] + g] for g, k in enumerate(counts)])
    return Segments(members[order], running, rank[first + count - 1], counts, chain, by_count)


def _path_stage(
    tree: Tree, light: LevelStage, level: LevelPlan, paths: HeavyPaths, tops: np.ndarray, segments: Segments, of: Tables
) -> PathStage:
    """The stage of a level of paths, from that between their tops and the level above."""
    at = positions(level.order, tops)
    few = replace(
        level,
        order=tops,
        states=int(level.cardinality[at].max()),
        cardinality=level.cardinality[at],
        observed=level.observed[at],
        unary=level.unary[:0],
        unary_position=level.unary_position[:0],
        deepest=False,
        inner=0,
    )

    def edges(above: np.ndarray) -> PathOp:
        factors = tree.parent_factor[paths.below[above]]
        batch = Factors(tree, factors, (), False, of.offset, None, level.states, level.states, of.linear)
        return fold_path(batch, level.kernel)

    inside = edges(segments.order[segments.running[0] :])
    joins = segments.order[segments.chain[segments.counts[0] :]]  # the bottoms of segments with one below
    links = edges(joins) if len(joins) else None
    ops = (*light.ops, inside, *(() if links is None else (links,)))
    where = positions(level.order, segments.order)
    arrange = None if np.array_equal(where, np.arange(len(where))) else where
    low = min(float(of.ranges.low[tree.potential_id[op.factors]].min()) for op in ops[len(light.ops) :])
    every = _every(low, level.states) if level.kernel == "linear" else len(segments.running) + 1
    return PathStage(light.level, ops, light, few, inside, links, arrange, *segments[1:], every)


def _every(low: float, states: int) -> int:
    """How often messages along paths are scaled, at matrices whose log range is low.

    What comes from below and what comes from above are multiplied, so both together stay in the safe range.
    """
    least, most = (SAFE / low if low else inf), (-SAFE / np.log(states) if states > 1 else inf)
    return int(max(1, min((min(least, most) - 1) / 2, OFTEN)))
