"""The registry of schedules: from a tree to the plan that a network runs.

    SCHEDULES["mine"] = my_schedule                      hgm.compile(tree, schedule="mine")

A schedule is a function of a tree, the observed variables ``(n_in,)`` and, optionally, the `Ranges` to plan for. The
plans that it makes carry its name (``Plan.schedule``), by which files find it again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from hgm.compiler.levels import by_levels
from hgm.compiler.ops import Op
from hgm.compiler.paths import by_paths, cheaper
from hgm.compiler.plan import LevelPlan, Plan, StagePlan
from hgm.compiler.ranges import Ranges
from hgm.errors import BadExtension, BadSpec, brief, did_you_mean, extension, listing
from hgm.tree.flat import offsets
from hgm.tree.tree import Tree

__all__ = ["AUTO", "SCHEDULES", "Schedule", "check_plan", "planned"]


class Schedule(Protocol):
    """What a schedule is called with."""

    def __call__(self, tree: Tree, inputs: np.ndarray, ranges: Ranges | None = None) -> Plan: ...


SCHEDULES: dict[str, Schedule] = {"levels": by_levels, "paths": by_paths}

#: the name of the schedule that chooses one
AUTO = "auto"


def planned(name: str, tree: Tree, inputs: np.ndarray, ranges: Ranges | None = None) -> Plan:
    """The plan that a schedule makes, under its name; for ``"auto"`` that which takes less time (`cheaper`).

    Args:
        name: of the schedule.
        tree: the tree.
        inputs: ``(n_in,)`` the variables that evidence may touch, in the order of the network's input.
        ranges: of the potentials that the network is to take; default those of the tree's.

    Raises:
        BadSpec: if there is no such schedule.
        BadExtension: if it fails, or does not return a plan of this tree with these inputs.
    """
    spread = ranges
    if isinstance(name, str) and name == AUTO:
        spread = Ranges.of(tree.potentials) if ranges is None else ranges
        name = cheaper(tree, spread)
    if not isinstance(name, str) or name not in SCHEDULES:
        known = [repr(own) for own in (AUTO, *SCHEDULES)]
        raise BadSpec(
            f"there is no schedule {brief(name)}{did_you_mean(name, (AUTO, *SCHEDULES))}; there are {listing(known)}. "
            "Your own is registered with SCHEDULES[name] = function (from hgm.compiler.schedule import SCHEDULES)"
        )
    schedule = SCHEDULES[name]
    if schedule in (by_levels, by_paths):
        return schedule(tree, inputs, spread)
    with extension(f"the schedule {name!r}"):
        plan = schedule(tree, inputs) if ranges is None else schedule(tree, inputs, ranges)
    try:
        check_plan(plan, tree, inputs)
    except BadSpec as error:
        raise BadExtension(f"the schedule {name!r} made a bad plan: {error}") from None
    return plan if plan.schedule == name else replace(plan, schedule=name)


def check_plan(plan: Plan, tree: Tree, inputs: np.ndarray) -> None:
    """Raise `BadSpec` unless this is a whole plan of a tree, with these inputs."""
    if not isinstance(plan, Plan):
        raise BadSpec(f"plan must be a Plan (hgm.compiler.plan); got {brief(plan)}")
    if plan.tree is not tree and plan.tree != tree:
        raise BadSpec("the plan is of another tree; make it from the tree that is compiled (re-rooted to classify)")
    if not np.array_equal(plan.inputs, inputs):
        names = listing([tree.names[int(v)] for v in inputs[:9]], total=len(inputs))
        raise BadSpec(f"the plan has other inputs than this network, which takes evidence at {names}")
    for part, kind, count in (("levels", LevelPlan, len(plan.levels)), ("stages", StagePlan, len(plan.levels) - 1)):
        given = getattr(plan, part)
        if not isinstance(given, tuple) or not all(isinstance(x, kind) for x in given):
            raise BadSpec(f"{part} of the plan must be a tuple of {kind.__name__}s; got {brief(given)}")
        if [x.level for x in given] != list(range(count)):
            raise BadSpec(
                f"the plan must have {part} 0 to {count - 1}, root first; got {', '.join(str(x.level) for x in given)}"
            )
    held = np.concatenate([np.asarray(level.order) for level in plan.levels])
    if not np.array_equal(np.sort(held), np.arange(len(tree))):
        raise BadSpec("the levels of the plan must hold every variable once")
    if not np.array_equal(np.sort(plan.levels[0].order), tree.roots):
        raise BadSpec("level 0 of the plan must hold the roots")
    ops = [op for stage in plan.stages for op in stage.ops]
    if not all(isinstance(op, Op) for op in ops):
        raise BadSpec("the ops of the plan's stages must be Ops (hgm.compiler.ops)")
    factors = np.concatenate([np.zeros(0, dtype=np.int64), *(op.factors for op in ops)])
    if not np.array_equal(np.sort(factors), np.flatnonzero(np.diff(tree.scope_ptr) > 1)):
        raise BadSpec("the ops of the plan's stages must hold every factor over several variables once")
    observed = np.full(len(tree), -1, dtype=np.int64)
    for level in plan.levels:
        observed[level.order] = level.observed
    if not np.array_equal(np.sort(observed[inputs]), np.arange(len(inputs))) or (observed >= 0).sum() != len(inputs):
        raise BadSpec(f"the plan must give each of the {len(inputs)} inputs one column of the evidence (observed)")
    if not isinstance(plan.ranges, Ranges) or not np.array_equal(plan.offset, offsets(tree.potentials)):
        raise BadSpec("ranges and offset of the plan must be those of the tree's potentials (hgm.compiler.levels)")
