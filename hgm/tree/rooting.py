"""Who is whose parent: one breadth-first search over the factor graph, and which cycle is in the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from hgm.errors import NotATree
from hgm.tree.checks import check_scopes
from hgm.tree.names import Names

__all__ = ["components", "root"]


def components(variables: int, scope_ptr: np.ndarray, scope: np.ndarray) -> tuple[int, np.ndarray]:
    """How many components the factor graph has, and ``(V + F,)`` that of each variable and factor."""
    return connected_components(_graph(variables, scope_ptr, scope), directed=False)


def root(names: Names, scope_ptr: np.ndarray, scope: np.ndarray, roots: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """``(V,)`` parent factor (-1 for roots) and ``(V,)`` depth of each variable.

    Each component hangs from the root that is wanted for it, else from its first variable.

    Raises:
        NotATree: for a cycle (the message names one), or two roots in one component.
        BadSpec: for a variable twice in a scope.
    """
    variables, nodes = len(names), len(names) + len(scope_ptr) - 1
    graph = _graph(variables, scope_ptr, scope)
    count, component = connected_components(graph, directed=False)
    if len(scope) != nodes - count:  # a graph is a forest exactly if edges = nodes - components
        check_scopes(names, scope_ptr, scope)
        raise NotATree(_cycle_message(names, graph))
    # every component has a variable, because every factor has one; assigned from the back, so that the first one stays
    first = np.empty(count, dtype=np.int64)
    first[component[variables - 1 :: -1]] = np.arange(variables - 1, -1, -1)
    root_of = np.full(count, -1, dtype=np.int64)
    for v in roots:
        if root_of[component[v]] >= 0 and root_of[component[v]] != v:
            other = names[int(root_of[component[v]])]
            raise NotATree(
                f"{other!r} and {names[v]!r} are both wanted as roots, but they are in one component; choose one"
            )
        root_of[component[v]] = v
    root_of = np.where(root_of < 0, first, root_of)
    # a node above all roots makes one search of the whole forest
    top = nodes
    rows = np.concatenate([graph.row, np.full(count, top)])
    cols = np.concatenate([graph.col, root_of])
    whole = coo_array((np.ones(len(rows), dtype=np.int8), (rows, cols)), shape=(nodes + 1, nodes + 1)).tocsr()
    _, before = breadth_first_order(whole, top, directed=False, return_predecessors=True)
    before = before.astype(np.int64)
    above = before[:variables].copy()
    parent_factor = np.where(above == top, -1, above - variables)
    # depth by pointer doubling over variables: O(V log depth), no recursion
    jump = np.where(above == top, -1, before[np.where(above == top, 0, above)])
    depth = (jump >= 0).astype(np.int64)
    while (jump >= 0).any():
        step = np.where(jump >= 0, jump, 0)
        depth += np.where(jump >= 0, depth[step], 0)
        jump = np.where(jump >= 0, jump[step], -1)
    return parent_factor, depth


def _graph(variables: int, scope_ptr: np.ndarray, scope: np.ndarray) -> coo_array:
    """The bipartite factor graph: nodes 0..V-1 are variables, V.. are factors."""
    owner = variables + np.repeat(np.arange(len(scope_ptr) - 1), np.diff(scope_ptr))
    nodes = variables + len(scope_ptr) - 1
    return coo_array((np.ones(len(scope), dtype=np.int8), (owner, scope)), shape=(nodes, nodes))


def _cycle_message(names: Names, graph: coo_array) -> str:
    import networkx as nx  # only for the message

    bipartite = nx.Graph(zip(graph.row.tolist(), graph.col.tolist(), strict=True))
    cycle = [names[v] for edge in nx.find_cycle(bipartite) for v in edge if v < len(names)]
    cycle = list(dict.fromkeys(cycle))
    called = [str(name) for name in cycle]
    shape = " - ".join([*called, called[0]]) if len(called) > 2 else " and ".join(called) + " share two factors"
    return (
        f"the factor graph has a cycle: {shape}. hgm is exact on trees only: multiply factors over the same variables "
        "into one, merge the variables of the cycle, or condition on one of them (observed=...)"
    )
