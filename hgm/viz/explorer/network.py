"""What the page is told of a network: a row for each level of its plan, with what stands there and what runs below it.

A row holds the messages h and the beliefs b of its variables, and, of the factors that join it to the row above, the
messages q and u. Nothing is assumed of the stages but what every plan has: the order of a level, the ops of a stage,
and the rows that a stage prints of itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hgm.compiler.plan import LevelPlan, Plan, StagePlan
from hgm.tree.tree import Tree
from hgm.viz.potentials import times

__all__ = ["network_facts"]

TOLD = {"op", "nodes", "states", "factors", "weights", "flops", "kernel"}  # of what a stage prints


def network_facts(plan: Plan) -> dict[str, Any]:
    """The rows of a network, root first, and its size."""
    seen = leaves_below(plan.tree)
    return {
        "rows": [_row(plan, level, seen) for level in plan.levels],
        "weights": plan.weights,
        "flops": plan.flops,
    }


def _row(plan: Plan, level: LevelPlan, seen: np.ndarray) -> dict[str, Any]:
    above = plan.stages[level.level - 1] if level.level else None
    return {
        "nodes": level.order.tolist(),
        "shape": [level.states, *plan.shape(level)],
        "kernel": level.kernel,
        "priors": len(level.unary),
        "observed": int((level.observed >= 0).sum()),
        "sees": _sees(plan.tree, level, seen[level.order]),
        "stage": None if above is None else _stage(plan, above, level),
    }


def _stage(plan: Plan, stage: StagePlan, below: LevelPlan) -> dict[str, Any]:
    """The factors between a level and the one above it, and what runs them."""
    above = plan.levels[stage.level]
    factors = np.concatenate([op.factors for op in stage.ops])
    entries = np.concatenate([np.asarray(op.index).ravel() for op in stage.ops])
    return {
        "factors": factors.tolist(),
        "shape": [above.states, len(factors)],
        "ops": [{k: v for k, v in row.items() if k in TOLD} for row in stage.rows(above, below)],
        "potentials": np.unique(plan.tree.potential_id[factors]).tolist(),
        "weights": len(np.unique(entries[entries >= 0])),
        "flops": stage.flops,
    }


def leaves_below(tree: Tree) -> np.ndarray:
    """``(V,)`` how many leaves each variable has below it; a leaf has itself."""
    count = (~tree.inner).astype(np.int64)
    for level in range(tree.depth, 0, -1):
        here = tree.at_level(level)
        np.add.at(count, tree.above[here], count[here])
    return count


def _sees(tree: Tree, level: LevelPlan, leaves: np.ndarray) -> str:
    """What a message upwards has seen: ``4×4 of 16×16 leaves``, ``1 to 5 of 40 leaves``."""
    few, most, whole = int(leaves.min()), int(leaves.max()), tree.leaf_shape
    if len(whole) == 2 and few == most and tree.grid is not None:
        rows, columns = tree.grid[int(tree.level[level.order[0]])] or (1, 1)
        return f"{times((whole[0] // rows, whole[1] // columns))} of {times(whole)} leaves"
    return f"{few:,} {'' if few == most else f'to {most:,} '}of {len(tree.leaves):,} leaves"
