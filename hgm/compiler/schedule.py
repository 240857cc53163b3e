"""The registry of schedules: from a tree to the plan that a network runs.

    SCHEDULES["mine"] = my_schedule                      hgm.compile(tree, schedule="mine")

A schedule is a function of a tree, the observed variables ``(n_in,)`` and, optionally, the `Ranges` to plan for. Its
plans carry its name (``Plan.schedule``), by which files find it again.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hgm.compiler.levels import by_levels
from hgm.compiler.plan import Plan
from hgm.compiler.ranges import Ranges
from hgm.errors import BadSpec
from hgm.tree.tree import Tree

__all__ = ["SCHEDULES", "Schedule", "schedule_of"]


class Schedule(Protocol):
    """What a schedule is called with."""

    def __call__(self, tree: Tree, inputs: np.ndarray, ranges: Ranges | None = None) -> Plan: ...


SCHEDULES: dict[str, Schedule] = {"levels": by_levels}


def schedule_of(name: str) -> Schedule:
    """The schedule of a name. Raises `BadSpec` if there is none."""
    if name not in SCHEDULES:
        raise BadSpec(
            f"there is no schedule {name!r}; there are {', '.join(map(repr, SCHEDULES))}. A schedule of your own is "
            "registered with SCHEDULES[name] = function (from hgm.compiler.schedule import SCHEDULES)"
        )
    return SCHEDULES[name]
