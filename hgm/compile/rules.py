"""The one registry: from an op of the plan to its exact layer. Open to users:

    @lower.register
    def _(op: MyOp, slots: int) -> FactorLayer:
        return MyLayer(op, slots)

(`functools.singledispatch`: the type of the op decides, subclasses inherit, and there is no second table to keep.)
"""

from __future__ import annotations

from functools import singledispatch

from hgm.compile.exact import Conv, FactorLayer, Joint, LocalEdges, RuleTable
from hgm.compile.plan import ConvOp, EdgeOp, JointOp, Op, RulesOp
from hgm.errors import NoLoweringRule

__all__ = ["lower"]


@singledispatch
def lower(op: Op, slots: int) -> FactorLayer:
    """The layer for an op whose stage gives each parent `slots` slots. Raises `NoLoweringRule` if none is registered."""
    raise NoLoweringRule(
        f"no layer is registered for the plan op {type(op).__name__}; register one with "
        "@hgm.compile.rules.lower.register on a function from the op and its slots to a FactorLayer"
    )


lower.register(ConvOp, Conv)
lower.register(EdgeOp, LocalEdges)
lower.register(JointOp, Joint)
lower.register(RulesOp, RuleTable)
