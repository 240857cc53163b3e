"""hgm: tree-structured graphical models, exact belief propagation, and the networks they compile to."""

from hgm.convert import from_networkx, from_pgmpy, to_networkx, to_pgmpy
from hgm.errors import (
    BadEvidence,
    BadPotential,
    BadSpec,
    HgmError,
    ImpossibleEvidence,
    NoLoweringRule,
    NotATree,
    Uncertifiable,
)
from hgm.ghm import Level, ghm
from hgm.potential import Edge, Potential, Rules, Table
from hgm.tree import Tree

__all__ = [
    "BadEvidence",
    "BadPotential",
    "BadSpec",
    "Edge",
    "HgmError",
    "ImpossibleEvidence",
    "Level",
    "NoLoweringRule",
    "NotATree",
    "Potential",
    "Rules",
    "Table",
    "Tree",
    "Uncertifiable",
    "from_networkx",
    "from_pgmpy",
    "ghm",
    "to_networkx",
    "to_pgmpy",
]
