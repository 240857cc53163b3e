"""How a network is fed evidence of its whole tree."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hgm.errors import BadSpec, brief
from hgm.evidence.checked import check_log_evidence
from hgm.networks.network import Network
from hgm.tree.tree import Tree, checked_tree

__all__ = ["feed"]


def feed(network: Network, tree: Tree, log_evidence: Tensor) -> tuple[tuple[Tensor], dict[str, Any]]:
    """The arguments with which a network sees evidence of a whole tree: ``network(*args, **kwargs)``.

    Args:
        network: compiled with a channel that takes log evidence (the default).
        tree: the tree it was compiled from.
        log_evidence: ``(B, S, V)`` in the tree's order, as made by `hgm.log_evidence`. What it says of variables that
            are not among ``network.inputs`` is left out.
    """
    if not isinstance(network, Network):
        raise BadSpec(f"network must be one that hgm.compile made; got {brief(network)}")
    log_evidence = check_log_evidence(checked_tree(tree), log_evidence)
    columns = [tree.index(name) for name in network.inputs]
    count = len(columns) - network.extra
    leaves = log_evidence[:, : network.leaf_states, columns[:count]]
    args = (leaves.reshape(*leaves.shape[:2], *network.leaf_shape),)
    if not network.extra:
        return args, {}
    return args, {"evidence": log_evidence[:, : network.states_in, columns[count:]]}
