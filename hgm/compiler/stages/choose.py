"""Which kind of stage runs a stage by levels: the fastest that can."""

from __future__ import annotations

from hgm.compiler.ops import EdgeOp
from hgm.compiler.plan import LevelPlan, LevelStage
from hgm.compiler.stage import Stage
from hgm.compiler.stages.gather import Gather
from hgm.compiler.stages.general import General
from hgm.compiler.stages.regular import Regular

__all__ = ["level_stage"]


def level_stage(plan: LevelStage, above: LevelPlan, below: LevelPlan) -> Stage:
    """`Regular` or `Gather` where they apply, which compute the same as `General`."""
    if len(plan.ops) == 1 and not plan.zeros and above.kernel == below.kernel == plan.ops[0].kernel == "linear":
        if plan.regular and plan.arrival is None:
            return Regular(plan, above, below)
        if isinstance(plan.ops[0], EdgeOp):
            return Gather(plan, above, below)
    return General(plan, above, below)
