"""hgm: tree-structured graphical models, exact belief propagation, and the networks they compile to."""

from hgm import zoo
from hgm.bp import Posterior, infer, log_likelihood
from hgm.channel import Channel, Clamp, Erasure, Flip, Gaussian, Missing, Soft
from hgm.compile import Certificate, ConvNet, ReluConvNet, ReluUNet, UNet, compile
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
from hgm.evidence import log_evidence
from hgm.export import export
from hgm.ghm import Level, ghm
from hgm.learn import Fit, fit
from hgm.potential import Edge, Potential, Rules, Table
from hgm.spec import load, save
from hgm.store import load_network, save_network
from hgm.tree import Tree
from hgm.verify import Difference, Verification, verify
from hgm.viz import draw, draw_network
from hgm.zoo import (
    broadcast,
    caterpillar,
    chain,
    filtered_hierarchy,
    forest,
    hidden_markov_tree,
    hmm,
    random_ghm,
    random_tree,
    rhm,
    star,
)

__all__ = [
    "BadEvidence",
    "BadPotential",
    "BadSpec",
    "Certificate",
    "Channel",
    "Clamp",
    "ConvNet",
    "Difference",
    "Edge",
    "Erasure",
    "Fit",
    "Flip",
    "Gaussian",
    "HgmError",
    "ImpossibleEvidence",
    "Level",
    "Missing",
    "NoLoweringRule",
    "NotATree",
    "Posterior",
    "Potential",
    "ReluConvNet",
    "ReluUNet",
    "Rules",
    "Soft",
    "Table",
    "Tree",
    "UNet",
    "Uncertifiable",
    "Verification",
    "broadcast",
    "caterpillar",
    "chain",
    "compile",
    "draw",
    "draw_network",
    "export",
    "filtered_hierarchy",
    "fit",
    "forest",
    "from_networkx",
    "from_pgmpy",
    "ghm",
    "hidden_markov_tree",
    "hmm",
    "infer",
    "load",
    "load_network",
    "log_evidence",
    "log_likelihood",
    "random_ghm",
    "random_tree",
    "rhm",
    "save",
    "save_network",
    "star",
    "to_networkx",
    "to_pgmpy",
    "verify",
    "zoo",
]
