"""The compiler: a tree becomes a plan (`hgm.compile.plan`), the plan a network (`hgm.compile.network`)."""

from hgm.compile.certify import Certificate
from hgm.compile.network import ConvNet, TreeNetwork, UNet, compile
from hgm.compile.plan import Plan, plan
from hgm.compile.relunet import ReluConvNet, ReluUNet
from hgm.compile.rules import lower

__all__ = [
    "Certificate",
    "ConvNet",
    "Plan",
    "ReluConvNet",
    "ReluUNet",
    "TreeNetwork",
    "UNet",
    "compile",
    "lower",
    "plan",
]
