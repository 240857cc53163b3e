"""The one registry, open to users: from an op of the plan to its exact layer.

    @lower.register
    def _(op: MyOp, slots: int) -> FactorLayer:
        return MyLayer(op, slots)

(`functools.singledispatch`: the type of the op decides, subclasses inherit, and there is no second table to keep.)
"""

from __future__ import annotations

from functools import singledispatch

from hgm.compiler.layers import Conv, FactorLayer, Joint, LocalEdges, RuleTable
from hgm.compiler.plan import ConvOp, EdgeOp, JointOp, Op, RulesOp
from hgm.errors import NoLoweringRule

__all__ = ["lower"]


@singledispatch
def lower(op: Op, slots: int) -> FactorLayer:
    """The layer for an op whose stage gives each parent `slots` slots. Raises `NoLoweringRule` if there is none."""
    raise NoLoweringRule(
        f"no layer is registered for the plan op {type(op).__name__}; register one with "
        "@lower.register (from hgm.compiler.rules import lower) on a function from op and slots to a FactorLayer"
    )


lower.register(ConvOp, Conv)
lower.register(EdgeOp, LocalEdges)
lower.register(JointOp, Joint)
lower.register(RulesOp, RuleTable)
