"""Trees as networkx graphs, and back.

Two graphs can be read. The **factor graph** is an undirected bipartite `networkx.Graph`; it holds everything that a
`Tree` holds, so that ``from_networkx(to_networkx(tree)) == tree``:

| node | attribute | meaning |
| --- | --- | --- |
| variable | `bipartite` | 0 |
| | `states` | number of states, or a tuple of labels |
| | `root` | whether it is a root |
| factor | `bipartite` | 1 |
| | `scope` | names of the variables, in the order of the potential's axes |
| | `potential` | a `Potential` (`Edge`, `Table`, `Rules`), or an array of non-negative numbers |
| | `tied` | index of the potential; factors with the same index share it |

A variable's node is its name, a factor's node is ``("factor", i)``. The graph itself has the attribute `grid`, the
shape of each level of a layered model, else ``None``. The **directed tree** is what one writes by hand: a
`networkx.DiGraph` over variables, with a matrix on each edge from parent to child.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from copy import copy
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hgm.errors import BadPotential, BadSpec, brief
from hgm.tree.arrays import frozen
from hgm.tree.labels import Label, States
from hgm.tree.pool import Pool
from hgm.tree.potential import Potential
from hgm.tree.tree import Tree, checked_tree
from hgm.zoo.assemble import parents

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["from_networkx", "to_networkx", "variable_graph"]

VARIABLE, FACTOR = 0, 1


def to_networkx(tree: Tree) -> nx.Graph:
    """The factor graph of a tree as an undirected bipartite `networkx.Graph` (attributes: see `hgm.bridges.networkx`).

    Nothing is lost, but for potentials that no factor uses. The potentials are those of the tree, not copies.
    """
    import networkx as nx

    graph = nx.Graph(grid=checked_tree(tree).grid)
    is_root = tree.level == 0
    for v, name in enumerate(tree.names):
        graph.add_node(name, bipartite=VARIABLE, states=_states(tree, v), root=bool(is_root[v]))
    for f in range(tree.factors):
        node, scope, tied = ("factor", f), tree.scope_names(f), int(tree.potential_id[f])
        graph.add_node(node, bipartite=FACTOR, scope=scope, potential=tree.potentials[tied], tied=tied)
        graph.add_edges_from((name, node) for name in scope)
    return graph


def variable_graph(tree: Tree) -> nx.DiGraph:
    """The variables only, for drawing: a `networkx.DiGraph` with an edge from each parent to each of its children.

    Nodes have the attributes `level` (0 for roots) and `states`; edges have `factor`, the index of the factor they
    come from, the same for all children of a joint factor. ``networkx.multipartite_layout(graph,
    subset_key="level")`` puts the levels side by side.
    """
    import networkx as nx

    graph = nx.DiGraph()
    names = list(checked_tree(tree).names)
    for v, (name, level) in enumerate(zip(names, tree.level, strict=True)):
        graph.add_node(name, level=int(level), states=_states(tree, v))
    for f, parent in enumerate(tree.parent):
        graph.add_edges_from((names[parent], names[child], {"factor": f}) for child in tree.children_of(f))
    return graph


def from_networkx(graph: nx.Graph) -> Tree:
    """A tree from a networkx graph: a factor graph, or a directed tree of variables.

    A `networkx.Graph` is read as a factor graph, with the attributes that `to_networkx` writes (see
    `hgm.bridges.networkx`). All nodes without the attribute `potential` are variables. May be left out: `bipartite`;
    `states` of a variable that a factor covers; `root` (then the first variable of each component is its root);
    `scope` of a factor with one variable; and `tied`: then factors with the same object as `potential` are tied.

    A `networkx.DiGraph` is read as a tree whose edges go from parent to child. Each edge has the attribute
    `potential`, a matrix with one row per parent state and one column per child state, or an `Edge`; the same object
    on several edges ties them. A node may have `states` (number or labels) and `prior` (a vector). The variables
    without parents are the roots.

    Variables are called by their nodes, of whatever type these are. The shape `grid` of a layered model is kept if
    the graph still has that shape.

    Args:
        graph: the graph; it is not changed.

    Raises:
        NotATree: for a cycle, a variable with two parents (directed), or two roots in one component.
        BadPotential: if a table is not a potential or does not fit its variables.
        BadSpec: for a missing or inconsistent attribute, or a kind of graph that is none of these.
    """
    if isinstance(graph, type) or not (hasattr(graph, "is_multigraph") and hasattr(graph, "nodes")):
        raise BadSpec(f"from_networkx reads a networkx.Graph or networkx.DiGraph; got {brief(graph)}")
    if graph.is_multigraph():
        raise BadSpec(
            f"a {type(graph).__name__} has parallel edges; give a networkx.Graph (factor graph) or networkx.DiGraph"
        )
    return _from_directed(graph) if graph.is_directed() else _from_bipartite(graph)


def _states(tree: Tree, variable: int) -> int | tuple[Label, ...]:
    return tree.labels(variable) or int(tree.cardinality[variable])


# ---------------------------------------------------------------------- directed tree


def _from_directed(graph: nx.DiGraph) -> Tree:
    pool = Pool()
    edges: list[tuple[Label, Label, Potential]] = []
    priors: dict[Label, Potential] = {}
    sizes: dict[Label, int] = {}  # from the tables, for nodes without the attribute `states`
    for parent, child, given in graph.edges(data="potential"):
        where = f"edge {parent!r} -> {child!r}"
        if given is None:
            raise BadSpec(f"{where} has no attribute 'potential': a matrix, one row per state of {parent!r}")
        potential = _pooled(pool, given, where)
        if potential.axes != 2:
            raise BadPotential(f"the potential of {where} must be a matrix; its shape is {potential.shape}")
        edges.append((parent, child, potential))
        sizes |= {parent: potential.shape[0], child: potential.shape[1]}
    for node, given in graph.nodes(data="prior"):
        if given is not None:
            priors[node] = _pooled(pool, given, f"prior of node {node!r}")
            sizes.setdefault(node, priors[node].shape[0])
    variables: dict[Label, States] = {}
    for node, states in graph.nodes(data="states"):
        if states is None and node not in sizes:
            raise BadSpec(f"node {node!r} has no edge, prior or attribute 'states': its number of states is unknown")
        variables[node] = sizes[node] if states is None else states
    return Tree.from_edges(edges, priors, variables)


def _pooled(pool: Pool, given: Potential | npt.ArrayLike, where: str) -> Potential:
    """The potential, one and the same for one and the same object."""
    try:
        return pool.potentials[pool.number(given)]
    except BadPotential as error:
        raise BadPotential(f"{where}: {error}") from None


# ---------------------------------------------------------------------- factor graph


def _from_bipartite(graph: nx.Graph) -> Tree:
    is_factor = {node: "potential" in data or data.get("bipartite") == FACTOR for node, data in graph.nodes(data=True)}
    for u, v in graph.edges:
        if is_factor[u] == is_factor[v]:
            raise BadSpec(
                f"the edge {u!r} - {v!r} joins two {'factors' if is_factor[u] else 'variables'}. An undirected graph "
                "is read as a factor graph: give each factor a node with the attribute 'potential', joined to its "
                "variables; or give a networkx.DiGraph with a 'potential' on each edge"
            )
    pool, shared = Pool(), _Shared()
    factors: list[tuple[tuple[Label, ...], Potential]] = []
    sizes: dict[Label, int] = {}  # from the tables, for nodes without the attribute `states`
    for node in (node for node, factor in is_factor.items() if factor):
        given, index = graph.nodes[node].get("potential"), graph.nodes[node].get("tied")
        if given is None:
            raise BadSpec(f"factor node {node!r} has no attribute 'potential'")
        potential = _pooled(pool, given, f"factor node {node!r}")
        if index is not None:
            potential = shared.tie(index, potential, node)
        scope = _scope(graph, node)
        factors.append((scope, potential))
        sizes |= dict(zip(scope, potential.shape, strict=False))  # of a wrong number of axes, Tree speaks
    variables: dict[Label, States] = {}
    for node in (node for node, factor in is_factor.items() if not factor):
        states = graph.nodes[node].get("states", sizes.get(node))
        if states is None and not len(graph[node]):
            raise BadSpec(f"node {node!r} has no factor and no attribute 'states': its number of states is unknown")
        variables[node] = 1 if states is None else states
    roots = [node for node in variables if graph.nodes[node].get("root")]
    tree = Tree.from_factors(factors, variables, roots=roots)
    if all(graph.nodes[node].get("tied") is not None for node, factor in is_factor.items() if factor):
        tree = shared.number(tree)
    grid = graph.graph.get("grid")
    return replace(tree, grid=grid) if grid is not None and _fits(tree, grid) else tree


def _scope(graph: nx.Graph, node: Hashable) -> tuple[Hashable, ...]:
    """The variables of a factor node in the order of its potential's axes."""
    scope, neighbours = graph.nodes[node].get("scope"), set(graph[node])
    if scope is None:
        if len(neighbours) != 1:
            raise BadSpec(
                f"factor node {node!r} joins {len(neighbours)} variables but has no attribute 'scope': "
                "list them in the order of the potential's axes"
            )
        return tuple(neighbours)
    scope = (scope,) if isinstance(scope, str) or not isinstance(scope, Iterable) else tuple(scope)
    if set(scope) != neighbours:
        raise BadSpec(
            f"factor node {node!r} has scope {scope}, but the graph joins it to {tuple(graph[node])}; "
            "the edges and the attribute must say the same"
        )
    return scope


class _Shared:
    """Potentials by the index `tied` that factor nodes give them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Potential, Potential, Hashable]] = {}  # shared, as given, and where first

    def tie(self, index: object, potential: Potential, node: Hashable) -> Potential:
        """The one object that all factors with this index share, so that `from_factors` ties these and no others."""
        if not isinstance(index, (int, np.integer)):
            raise BadSpec(f"factor node {node!r} has tied = {index!r}; give the index of its potential, a whole number")
        if index not in self._known:
            self._known[int(index)] = (copy(potential), potential, node)  # one object may stand under two indices
        known, given, first = self._known[int(index)]
        if given is not potential and given != potential:
            raise BadSpec(
                f"the factor nodes {first!r} and {node!r} are both tied to potential {index}, but their potentials "
                "differ; give both the same one, or give one of them another index 'tied'"
            )
        return known

    def number(self, tree: Tree) -> Tree:
        """The same tree, with its potentials in the order of their indices."""
        order = [self._known[index][0] for index in sorted(self._known)]
        new = {id(potential): i for i, potential in enumerate(order)}
        potential_id = np.array([new[id(p)] for p in tree.potentials], dtype=np.int64)[tree.potential_id]
        return replace(tree, potentials=tuple(order), potential_id=frozen(potential_id))


def _fits(tree: Tree, grid: tuple[tuple[int, ...], ...]) -> bool:
    """Whether each level has this shape and each node the parent that the grid gives it (node // arity)."""
    if len(grid) != tree.depth + 1 or any(
        prod(shape) != n for shape, n in zip(grid, np.diff(tree.level_ptr), strict=True)
    ):
        return False
    for level in range(1, len(grid)):
        below = grid[level]
        above = grid[level - 1] or (1,) * len(below)
        if len(above) != len(below) or any(n % m for n, m in zip(below, above, strict=True)):
            return False
        arity = tuple(n // m for n, m in zip(below, above, strict=True))
        expected, _ = parents(above, below, arity)
        actual = tree.above[tree.at_level(level)] - tree.level_ptr[level - 1]
        if not np.array_equal(actual, expected):
            return False
    return True
