"""Converters to and from networkx and pgmpy: exact round trips, the same distribution, and a clear error for the rest.

Oracles: equality of trees, enumeration of the joint, pgmpy's own `VariableElimination`.
"""

import gzip
import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.enumeration import Joint
from oracles.trees import CASES

import hgm
from hgm.bridges.networkx import variable_graph

pgmpy = pytest.importorskip("pgmpy")
from pgmpy import models  # noqa: E402
from pgmpy.factors.discrete import DiscreteFactor, TabularCPD  # noqa: E402
from pgmpy.inference import VariableElimination  # noqa: E402
from pgmpy.readwrite import BIFReader  # noqa: E402

SHIPPED = Path(pgmpy.__file__).parent / "utils" / "example_models"
KINDS = ("factor_graph", "markov", "bayesian")

# ---------------------------------------------------------------------- oracle and helpers


def enumerated(tree, observed=None):
    """The joint distribution of a small tree, by enumeration of its tables as they stand in it."""
    tables = [np.exp(tree.potential_of(f).dense_log()) for f in range(tree.factors)]
    scopes = [[tree.names[int(v)] for v in tree.scope_of(f)] for f in range(tree.factors)]
    seen = {name: np.eye(tree.cardinality[tree.index(name)])[state] for name, state in (observed or {}).items()}
    return Joint(tuple(tree.names), tree.cardinality, list(zip(scopes, tables, strict=True))).given(seen)


def marginal(tree, name, observed=None):
    return enumerated(tree, observed).marginal(name)


def eliminated(model, name, observed, states):
    """The same marginal by pgmpy; states by their names in pgmpy."""
    named = {other: states[other][state] for other, state in observed.items()}
    values = VariableElimination(model).query([name], evidence=named, show_progress=False).values
    return values / values.sum()


def normal(tree):
    """The tree as pgmpy can hold it: nothing tied, dense, matrices as edges, potentials in the order of the listing."""
    potentials = []
    for f in range(tree.factors):
        potential = tree.potential_of(f)
        if isinstance(potential, hgm.Rules):
            values = np.zeros(potential.shape)
            values[tuple(potential.states.T)] = potential.values
        else:
            with np.errstate(over="ignore"):
                values = potential.values
        potentials.append((hgm.Edge if potential.axes == 2 else hgm.Table)(values))
    order = sorted(range(tree.factors), key=lambda f: tree.potential_id[f])
    if sorted(order, key=lambda f: tree.parent[f]) != list(range(tree.factors)):
        order = list(range(tree.factors))
    return replace(tree, potentials=tuple(potentials[f] for f in order), potential_id=np.argsort(order))


def same_tables(one, two):
    """Whether two pgmpy models have the same variables, tables, axes and state names, in the same order."""
    cpds = isinstance(one, models.DiscreteBayesianNetwork)
    ours, theirs = (m.cpds if cpds else m.factors for m in (one, two))
    nodes = [[n for n in m.nodes if isinstance(n, str)] for m in (one, two)]
    return (
        type(one) is type(two)
        and nodes[0] == nodes[1]
        and len(ours) == len(theirs)
        and all(
            a.variables == b.variables
            and np.array_equal(a.values, b.values)
            and all(a.state_names[v] == b.state_names[v] for v in a.variables)
            for a, b in zip(ours, theirs, strict=True)
        )
    )


# ---------------------------------------------------------------------- random trees


@st.composite
def declared(draw, covered=False, dense=False, tied=True, rerooted=True):
    """A random tree or forest: all kinds of potential, any axis order, cardinality 1, hard zeros, labels, ties, priors.

    `covered`: every variable has a factor. `dense`: tables that pgmpy can hold exactly (no rules, no logs).
    `tied`, `rerooted`: whether potentials may be tied, and the root another than the first variable.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 6))
    names = [f"v{i}" for i in rng.permutation(count)]
    size = {name: int(rng.integers(1, 4)) for name in names}
    potentials = []

    def entries(shape):
        values = rng.random(shape) * (rng.random(shape) < 0.8)
        values[tuple(rng.integers(0, n) for n in shape)] = 0.5
        return values

    def potential(scope):
        shape = tuple(size[name] for name in scope)
        same = [p for p in potentials if p.shape == shape]
        if tied and same and rng.random() < 0.4:
            return same[rng.integers(len(same))]  # tied
        kind = rng.integers(2 if dense else 4)
        if kind == 3:
            cells = np.argwhere(rng.random(shape) < 0.6)
            cells = cells if len(cells) else np.zeros((1, len(shape)), dtype=int)
            new = hgm.Rules(shape, rng.permutation(cells), rng.random(len(cells)) + 0.1)
        elif kind == 2:
            new = hgm.Table.from_log(rng.normal(0, 800, shape))  # overflows as numbers
        elif kind == 1 and len(shape) == 2 and not dense:
            new = hgm.Table(entries(shape))
        else:
            new = (hgm.Edge if len(shape) == 2 else hgm.Table)(entries(shape))
        potentials.append(new)
        return new

    factors, placed, i = [], [], 0
    while i < count:
        if not placed or rng.random() < 0.2:  # another component
            placed.append(names[i])
            i += 1
            continue
        children = names[i : i + int(rng.integers(1, 4))]
        scope = [placed[rng.integers(len(placed))], *children]
        factors.append(tuple(scope[j] for j in rng.permutation(len(scope))))
        placed += children
        i += len(children)
    factors += [(names[j],) for j in rng.integers(0, count, int(rng.integers(0, 3)))]
    if covered:
        factors += [(name,) for name in names if not any(name in scope for scope in factors)]
    factors = [factors[j] for j in rng.permutation(len(factors))]
    labels = {name: [f"{name}-{j}" for j in range(size[name])] for name in names if rng.random() < 0.5}
    tree = hgm.Tree.from_factors(
        [(scope, potential(scope)) for scope in factors], {n: labels.get(n, size[n]) for n in names}
    )
    return tree.reroot(names[rng.integers(count)]) if rerooted else tree


@st.composite
def polytrees(draw):
    """A random polytree (or forest of them) as a pgmpy network with CPDs and evidence in any order, and its states."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 6))
    names = [f"v{i}" for i in rng.permutation(count)]
    size = {name: int(rng.integers(1, 4)) for name in names}
    states = {n: [f"{n}-{j}" for j in range(size[n])] if rng.random() < 0.5 else list(range(size[n])) for n in names}
    parents = {name: [] for name in names}
    for i, name in enumerate(names[1:], start=1):
        if rng.random() < 0.85:
            other = names[rng.integers(i)]
            low, high = (name, other) if rng.random() < 0.5 else (other, name)
            parents[low].insert(rng.integers(len(parents[low]) + 1), high)
    model = models.DiscreteBayesianNetwork()
    model.add_nodes_from(names)
    for name in (names[j] for j in rng.permutation(count)):
        above = parents[name]
        columns = int(np.prod([size[p] for p in above]))
        model.add_edges_from((p, name) for p in above)
        values = rng.dirichlet(np.ones(size[name]), columns).T
        names_of = {n: states[n] for n in [name, *above]}
        cards = [size[p] for p in above] or None
        model.add_cpds(TabularCPD(name, size[name], values, above or None, cards, state_names=names_of))
    return model, states


# ---------------------------------------------------------------------- networkx: the factor graph


@given(declared())
def test_a_tree_survives_networkx_exactly(tree):
    graph = hgm.to_networkx(tree)
    assert nx.is_forest(graph)
    assert nx.is_bipartite(graph)
    back = hgm.from_networkx(graph)
    assert back == tree
    with np.errstate(over="ignore"):  # the logs are equal, and so are the numbers they may have been given by
        for f in range(tree.factors):
            assert np.array_equal(back.potential_of(f).values, tree.potential_of(f).values)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_canonical_trees_survive_networkx_exactly(case):
    back = hgm.from_networkx(hgm.to_networkx(case.tree))
    assert back == case.tree
    assert back.grid == case.tree.grid
    for other in (case.tree.names[0], case.tree.names[len(case.tree) - 1]):
        rerooted = case.tree.reroot(other)
        assert hgm.from_networkx(hgm.to_networkx(rerooted)) == rerooted


LAYERED = {
    "line": hgm.ghm([hgm.Level(2, 3), hgm.Level(3, ["lo", "hi"])], root=["a", "b"]),
    "quad-tree": hgm.ghm([hgm.Level((2, 2), 3), hgm.Level((1, 2), 2)], root=2),
    "untied": hgm.ghm([hgm.Level((2, 2), 2, tie="none"), hgm.Level((2, 1), 2, tie="level")], root=2),
    "rules": hgm.ghm(
        [hgm.Level(2, 2, hgm.Rules((2, 2, 2), [[0, 0, 1], [1, 1, 0], [1, 1, 1]])), hgm.Level(1, 4)], root=2
    ),
    "root only": hgm.ghm([], root=3),
}


@pytest.mark.parametrize("tree", LAYERED.values(), ids=LAYERED.keys())
def test_a_layered_model_keeps_its_grid_and_ties(tree):
    back = hgm.from_networkx(hgm.to_networkx(tree))
    assert back == tree
    assert back.grid == tree.grid is not None


def test_a_changed_graph_loses_its_grid():
    tree = LAYERED["line"]
    fewer = hgm.to_networkx(tree)
    leaf = tree.names[len(tree) - 1]
    fewer.remove_nodes_from([*fewer[leaf], leaf])
    assert hgm.from_networkx(fewer).grid is None
    swapped = hgm.to_networkx(tree)  # two leaves change places: the same shape, other parents
    first, last = (tree.names[int(v)] for v in tree.leaves[[0, -1]])
    (one,), (two,) = list(swapped[first]), list(swapped[last])
    for old, new, node in ((first, last, one), (last, first, two)):
        swapped.remove_edge(old, node)
        swapped.add_edge(new, node)
        swapped.nodes[node]["scope"] = tuple(new if name == old else name for name in swapped.nodes[node]["scope"])
    changed = hgm.from_networkx(swapped)
    assert len(changed) == len(tree)
    assert changed.grid is None
    assert changed != tree


@pytest.mark.parametrize(
    "grid", [((), (2,), (2, 3)), ((), (2,)), ((), (3,), (4,)), ((), (1, 2), (2, 3)), ((), (6,), (2,))]
)
def test_a_grid_that_does_not_fit_is_dropped(grid):
    graph = hgm.to_networkx(LAYERED["line"])
    graph.graph["grid"] = grid
    assert hgm.from_networkx(graph).grid is None
    graph.graph["grid"] = ((), (2,), (6,))
    assert hgm.from_networkx(graph).grid == LAYERED["line"].grid


def test_equal_potentials_are_tied_only_if_they_were():
    edge, twin = hgm.Edge([[1, 2], [3, 4]]), hgm.Edge([[1, 2], [3, 4]])
    tree = hgm.Tree.from_factors([(("a", "b"), edge), (("a", "c"), twin), (("a", "d"), edge)])
    assert len(tree.potentials) == 2
    assert hgm.from_networkx(hgm.to_networkx(tree)) == tree
    one_object_twice = replace(tree, potentials=(edge, edge))
    assert hgm.from_networkx(hgm.to_networkx(one_object_twice)) == one_object_twice


def test_a_factor_graph_written_by_hand():
    graph = nx.Graph()
    graph.add_node("b")
    graph.add_node("a", states=["no", "yes"], root=True)
    graph.add_node(3)
    matrix = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    graph.add_node("f", potential=matrix, scope=("a", "b"))
    graph.add_node("g", potential=matrix, scope=("a", 3))
    graph.add_node("h", potential=[0.2, 0.3, 0.5])
    graph.add_edges_from([("b", "f"), ("f", "a"), ("a", "g"), (3, "g"), ("h", "b")])
    expected = hgm.Tree.from_factors(
        [(("a", "b"), matrix), (("a", 3), matrix), (("b",), [0.2, 0.3, 0.5])],
        {"b": 3, "a": ["no", "yes"], 3: 3},
        roots=["a"],
    )
    assert hgm.from_networkx(graph) == expected
    assert len(expected.potentials) == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda g: g.add_edge("a", "b"), hgm.BadSpec, "'a' - 'b' joins two variables"),
        (lambda g: g.add_edge("f", "h"), hgm.BadSpec, "'f' - 'h' joins two factors"),
        (lambda g: g.add_node("alone"), hgm.BadSpec, "node 'alone' has no factor and no attribute 'states'"),
        (lambda g: g.add_node("k", bipartite=1), hgm.BadSpec, "factor node 'k' has no attribute 'potential'"),
        (lambda g: g.nodes["f"].pop("scope"), hgm.BadSpec, "'f' joins 2 variables but has no attribute 'scope'"),
        (lambda g: g.nodes["f"].update(scope=("a", "c")), hgm.BadSpec, "scope ('a', 'c'), but the graph joins it to"),
        (lambda g: g.nodes["f"].update(scope=("b", "a")), hgm.BadPotential, "factor (b, a) has shape (2, 3)"),
        (lambda g: g.nodes["f"].update(potential=[[1, -1, 1], [1, 1, 1]]), hgm.BadPotential, "node 'f': a potent"),
        (lambda g: g.nodes["f"].update(potential=[[1, 2], [1]]), hgm.BadPotential, "factor node 'f':"),
        (lambda g: g.nodes["f"].update(tied="first"), hgm.BadSpec, "'f' has tied = 'first'"),
        (lambda g: [g.nodes[n].update(tied=0) for n in "fh"], hgm.BadSpec, "'f' and 'h' are both tied to potential 0"),
        (lambda g: g.nodes["a"].update(states="ab"), hgm.BadSpec, "'a' needs a number of states or a list"),
        (lambda g: [g.nodes[n].update(root=True) for n in "ab"], hgm.NotATree, "'a' and 'b' are both wanted as roots"),
    ],
)  # fmt: skip
def test_a_bad_factor_graph_is_refused(change, error, message):
    graph = nx.Graph()
    graph.add_nodes_from(["a", "b"])
    graph.add_node("f", potential=np.ones((2, 3)), scope=("a", "b"))
    graph.add_node("h", potential=np.ones(3))
    graph.add_edges_from([("a", "f"), ("b", "f"), ("h", "b")])
    assert len(hgm.from_networkx(graph)) == 2
    change(graph)
    with pytest.raises(error, match=re.escape(message)):
        hgm.from_networkx(graph)


def test_a_cycle_of_a_factor_graph_is_named():
    graph = nx.Graph()
    for one, two in (("a", "b"), ("b", "c"), ("c", "a")):
        graph.add_node(one + two, potential=np.ones((2, 2)), scope=(one, two))
        graph.add_edges_from([(one, one + two), (two, one + two)])
    with pytest.raises(hgm.NotATree, match=r"a cycle: a - [bc] - [bc] - a"):
        hgm.from_networkx(graph)


# ---------------------------------------------------------------------- networkx: directed trees


def test_a_directed_tree_written_by_hand():
    graph = nx.DiGraph()
    graph.add_node("x", states=["low", "mid", "high"])
    graph.add_node("root", prior=[0.3, 0.7])
    matrix = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    graph.add_edge("root", "x", potential=matrix)
    graph.add_edge("root", "y", potential=matrix)
    graph.add_node("alone", states=4)
    tree = hgm.from_networkx(graph)
    assert tree == hgm.Tree.from_edges(
        [("root", "x", matrix), ("root", "y", matrix)],
        {"root": [0.3, 0.7]},
        {"x": ["low", "mid", "high"], "root": 2, "y": 3, "alone": 4},
    )
    assert [tree.names[int(v)] for v in tree.roots] == ["root", "alone"]
    assert len(tree.potentials) == 2
    assert np.allclose(marginal(tree, "x"), [0.3, 0.7] @ matrix)


@given(st.integers(0, 2**32 - 1))
def test_a_random_arborescence_has_the_joint_of_its_matrices(seed):
    rng = np.random.default_rng(seed)
    graph = nx.DiGraph()
    size = rng.integers(1, 4, 5)
    for v in range(5):
        graph.add_node(v, prior=rng.random(size[v]) if rng.random() < 0.5 else None, states=int(size[v]))
        if v and rng.random() < 0.8:
            u = int(rng.integers(v))
            graph.add_edge(u, v, potential=rng.random((size[u], size[v])))
    tree = hgm.from_networkx(graph)
    table = np.exp(enumerated(tree).log).transpose([tree.index(v) for v in range(5)])
    for states in itertools.product(*(range(n) for n in size)):
        expected = np.prod([m[states[u], states[v]] for u, v, m in graph.edges(data="potential")])
        expected *= np.prod([p[states[v]] for v, p in graph.nodes(data="prior") if p is not None])
        assert table[states] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda g: g.add_edge("a", "c"), hgm.BadSpec, "edge 'a' -> 'c' has no attribute 'potential'"),
        (lambda g: g.add_edge("c", "b", potential=np.ones((2, 2))), hgm.NotATree, "'b' has two parents, 'a' and 'c'"),
        (lambda g: g.add_edge("b", "a", potential=np.ones((2, 2))), hgm.NotATree, "a and b share two factors"),
        (lambda g: g.add_edge("a", "c", potential=np.ones(2)), hgm.BadPotential, "edge 'a' -> 'c' must be a matrix"),
        (lambda g: g.add_edge("a", "c", potential=[[1, np.nan]]), hgm.BadPotential, "edge 'a' -> 'c': values of"),
        (lambda g: g.add_edge("a", "c", potential=np.ones((3, 2))), hgm.BadPotential, "factor (a, c) has shape (3, 2)"),
        (lambda g: g.nodes["a"].update(prior=[0, 0]), hgm.BadPotential, "prior of node 'a': the potential"),
        (lambda g: g.add_node("c"), hgm.BadSpec, "node 'c' has no edge, prior or attribute 'states'"),
        (lambda g: g.nodes["a"].update(states=["x", "x"]), hgm.BadSpec, "'a' has the state label 'x' twice"),
    ],
)  # fmt: skip
def test_a_bad_directed_tree_is_refused(change, error, message):
    graph = nx.DiGraph()
    graph.add_edge("a", "b", potential=np.ones((2, 2)))
    assert len(hgm.from_networkx(graph)) == 2
    graph.nodes["a"]["states"] = 2
    change(graph)
    with pytest.raises(error, match=re.escape(message)):
        hgm.from_networkx(graph)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.MultiDiGraph(), "a MultiDiGraph has parallel edges"),
        (nx.Graph(), "a tree needs at least one variable"),
        ("graph", "reads a networkx.Graph or networkx.DiGraph; got 'graph'"),
        (nx.path_graph(3), "0 - 1 joins two variables"),
    ],
)
def test_another_kind_of_graph_is_refused(graph, message):
    with pytest.raises(hgm.BadSpec, match=message):
        hgm.from_networkx(graph)


@given(declared())
def test_the_variable_graph_has_each_variable_below_its_parent(tree):
    graph = variable_graph(tree)
    assert nx.is_branching(graph)
    assert list(graph.nodes) == list(tree.names)
    assert [v for v in graph if graph.in_degree(v) == 0] == [tree.names[int(v)] for v in tree.roots]
    for parent, child, factor in graph.edges(data="factor"):
        assert graph.nodes[child]["level"] == graph.nodes[parent]["level"] + 1
        assert {tree.index(parent), tree.index(child)} <= set(tree.scope_of(factor).tolist())
    for v, name in enumerate(tree.names):
        assert graph.nodes[name]["states"] == (tree.labels(v) or tree.cardinality[v])


# ---------------------------------------------------------------------- pgmpy: round trips


@pytest.mark.long
@given(declared(covered=True))
def test_a_tree_survives_pgmpy_as_far_as_pgmpy_can_hold_it(tree):
    logs = np.concatenate([p.log_potential.ravel() for p in tree.potentials])
    widest = np.abs(logs[np.isfinite(logs)]).max()
    own = [(int(tree.scope_of(f)[0]), tree.potential_of(f)) for f in range(tree.factors) if len(tree.scope_of(f)) == 1]
    doubled = any(a == b for a, b in itertools.combinations(own, 2))
    for kind in ("factor_graph", "markov"):
        try:
            model = hgm.to_pgmpy(tree, kind)
        except hgm.BadSpec as error:
            if "takes equal factors for one" in str(error):
                assert doubled
                assert kind == "factor_graph"
            else:
                assert "which pgmpy cannot hold" in str(error)
                assert widest > 700  # exp(709.8) overflows, exp(-708.4) begins to lose digits
            continue
        assert widest < 746
        assert model.check_model()
        back, expected = hgm.from_pgmpy(model), normal(tree)
        for p, q in zip(back.potentials, expected.potentials, strict=True):
            assert np.allclose(p.values, q.values, rtol=1e-12, atol=0)
        assert replace(back, potentials=expected.potentials) == expected


@pytest.mark.long
@given(declared(covered=True, dense=True, tied=False, rerooted=False))
def test_a_tree_of_tables_survives_pgmpy_exactly(tree):
    assert hgm.from_pgmpy(hgm.to_pgmpy(tree, "markov")) == tree
    try:
        model = hgm.to_pgmpy(tree, "factor_graph")
    except hgm.BadSpec as error:
        assert "takes equal factors for one" in str(error)
    else:
        assert hgm.from_pgmpy(model) == tree


@pytest.mark.long
@given(polytrees())
def test_a_polytree_survives_the_way_through_a_tree_exactly(made):
    model, _ = made
    tree = hgm.from_pgmpy(model)
    back = hgm.to_pgmpy(tree, "bayesian")
    assert back.check_model()
    for cpd, own in zip(back.cpds, model.cpds, strict=True):
        assert cpd.variables == own.variables
        assert np.array_equal(cpd.values, own.values)
        assert all(cpd.state_names[v] == own.state_names[v] for v in cpd.variables)
    assert set(back.edges) == set(model.edges)
    assert hgm.from_pgmpy(back) == tree
    for kind in ("factor_graph", "markov"):
        other = hgm.to_pgmpy(tree, kind)
        assert same_tables(hgm.to_pgmpy(hgm.from_pgmpy(other), kind), other)
        assert hgm.from_pgmpy(other) == tree
        assert [list(f.variables) for f in other.factors] == [[*c.variables[1:], c.variable] for c in model.cpds]
    rerooted = tree.reroot(tree.names[len(tree) - 1])
    wanted = [rerooted.names[int(v)] for v in rerooted.roots]
    again = hgm.from_pgmpy(hgm.to_pgmpy(rerooted, "bayesian"), roots=wanted)
    assert replace(again, potential_id=rerooted.potential_id, potentials=rerooted.potentials) == rerooted
    assert all(again.potential_of(f) == rerooted.potential_of(f) for f in range(again.factors))


@given(polytrees())
def test_a_polytree_is_rooted_at_sources(made):
    model, _ = made
    tree = hgm.from_pgmpy(model)
    assert all(model.in_degree(tree.names[int(v)]) == 0 for v in tree.roots)
    assert len(tree.roots) == nx.number_weakly_connected_components(model)


def test_observed_parents_do_not_count_for_a_source():
    model = models.DiscreteBayesianNetwork()
    model.add_nodes_from("cba")
    model.add_edges_from(["ab", "bc"])
    half = np.full((2, 2), 0.5)
    model.add_cpds(
        TabularCPD("c", 2, half, ["b"], [2]), TabularCPD("a", 2, half[:, :1]), TabularCPD("b", 2, half, ["a"], [2])
    )
    tree = hgm.from_pgmpy(model, observed={"a": 0})
    assert {tree.names[int(v)] for v in tree.roots} == {"a", "b"}
    tree = hgm.from_pgmpy(model, observed={"a": 0}, roots=["c"])
    assert {tree.names[int(v)] for v in tree.roots} == {"a", "c"}


def test_a_layered_model_becomes_a_bayesian_network():
    tree = LAYERED["quad-tree"]
    model = hgm.to_pgmpy(tree, "bayesian")
    assert hgm.from_pgmpy(model) == normal(tree)
    assert model.get_cpds("x0_1").variables == ["x0_1", "h1_0_0"]


def test_rules_become_dense_tables_of_the_same_distribution():
    tree = LAYERED["rules"]
    back = hgm.from_pgmpy(hgm.to_pgmpy(tree))
    assert back == normal(tree)
    assert np.array_equal(enumerated(back).log, enumerated(tree).log)


# ---------------------------------------------------------------------- pgmpy: the same distribution


@pytest.mark.long
@settings(max_examples=25)
@given(polytrees(), st.data())
def test_marginals_of_a_polytree_agree_with_variable_elimination(made, data):
    model, states = made
    tree = hgm.from_pgmpy(model)
    name = data.draw(st.sampled_from(sorted(model.nodes)))
    others = data.draw(st.sets(st.sampled_from(sorted(model.nodes)))) - {name}
    observed = {other: data.draw(st.integers(0, len(states[other]) - 1)) for other in sorted(others)}
    wanted = eliminated(model, name, observed, states)
    assert np.allclose(marginal(tree, name, observed), wanted, atol=1e-12)
    assert np.allclose(hgm.infer(tree, observed)[name], wanted, atol=1e-12)
    for kind in ("markov", "bayesian"):
        assert np.allclose(eliminated(hgm.to_pgmpy(tree, kind), name, observed, states), wanted, atol=1e-12)
    seen = hgm.from_pgmpy(model, observed={other: states[other][state] for other, state in observed.items()})
    assert np.allclose(marginal(seen, name), wanted, atol=1e-12)


@settings(max_examples=40)
@given(declared(covered=True, dense=True))
def test_the_partition_function_is_that_of_pgmpy(tree):
    try:
        model = hgm.to_pgmpy(tree)
    except hgm.BadSpec as error:
        assert "takes equal factors for one" in str(error)
        return
    total = np.exp(enumerated(tree).log_z)
    assert model.get_partition_function() == pytest.approx(total, rel=1e-12)
    assert model.to_markov_model().get_partition_function() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"single_without_factor", "forest"}))
def test_the_canonical_trees_through_pgmpy(name):
    """pgmpy's marginals of the converted model, and those of the tree that comes back, are those of the case."""
    case = CASES[name]
    model = hgm.to_pgmpy(case.tree, "markov")
    back = hgm.from_pgmpy(model)
    assert back == normal(case.tree)
    posterior = hgm.infer(back)
    assert posterior.log_partition == pytest.approx(case.joint.log_z, rel=1e-12, abs=1e-12)
    for variable in case.names:
        assert np.allclose(posterior[variable], case.joint.marginal(variable), atol=1e-12)
    for variable in case.names[:2]:
        assert np.allclose(eliminated(model, variable, {}, {}), case.joint.marginal(variable), atol=1e-12)


@pytest.mark.parametrize("name", ["single_without_factor", "forest"])
def test_the_canonical_trees_with_a_bare_variable_are_refused(name):
    with pytest.raises(hgm.BadSpec, match="has no factor, which no model of pgmpy can hold"):
        hgm.to_pgmpy(CASES[name].tree, "markov")


def test_the_comparison_rejects_a_transposed_table():
    cpd = TabularCPD("b", 2, [[0.9, 0.4], [0.1, 0.6]], ["a"], [2])
    turned = TabularCPD("b", 2, [[0.9, 0.1], [0.1, 0.9]], ["a"], [2])
    for wrong in (False, True):
        model = models.DiscreteBayesianNetwork([("a", "b")])
        model.add_cpds(TabularCPD("a", 2, [[0.2], [0.8]]), turned if wrong else cpd)
        tree = hgm.from_pgmpy(model)
        assert tree.potential_of(1) == hgm.Edge([[0.9, 0.1], [0.1, 0.9]] if wrong else [[0.9, 0.1], [0.4, 0.6]])
        right = np.allclose(marginal(tree, "b"), [0.2 * 0.9 + 0.8 * 0.4, 0.2 * 0.1 + 0.8 * 0.6])
        assert right is not wrong


def test_the_axes_of_a_table_with_two_parents():
    values = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])  # columns: a slow, b fast
    model = models.DiscreteBayesianNetwork([("b", "c"), ("a", "c")])
    model.add_cpds(
        TabularCPD("c", 2, values, ["a", "b"], [2, 3]),
        TabularCPD("a", 2, [[0.5], [0.5]]),
        TabularCPD("b", 3, [[0.2], [0.3], [0.5]]),
    )
    tree = hgm.from_pgmpy(model)
    (f,) = (f for f in range(tree.factors) if tree.potential_of(f).axes == 3)
    assert [tree.names[int(v)] for v in tree.scope_of(f)] == ["a", "b", "c"]
    assert tree.potential_of(f).values[1, 0, 0] == 0.4
    assert [tree.names[int(v)] for v in tree.roots] == ["b"]


# ---------------------------------------------------------------------- pgmpy: the networks that ship with it


def shipped(name):
    return BIFReader(string=gzip.decompress((SHIPPED / f"{name}.bif.gz").read_bytes()).decode()).get_model()


def polytrees_shipped():
    """Names of the shipped networks whose skeleton is a forest, read off the files without a parser."""
    found = []
    for path in sorted(SHIPPED.glob("*.bif.gz")):
        skeleton = nx.Graph()
        for child, parents in re.findall(
            r"probability\s*\(\s*([^\s|)]+)\s*(?:\|([^)]*))?\)", gzip.decompress(path.read_bytes()).decode()
        ):
            skeleton.add_node(child)
            skeleton.add_edges_from((parent.strip(), child) for parent in parents.split(",") if parent.strip())
        if len(skeleton) and nx.is_forest(skeleton):
            found.append(path.name.removesuffix(".bif.gz"))
    return found


POLYTREES = polytrees_shipped()


def test_pgmpy_ships_polytrees():
    assert {"cancer", "earthquake"} <= set(POLYTREES)


@pytest.mark.long
@pytest.mark.parametrize("name", POLYTREES)
def test_a_shipped_polytree_survives_exactly(name):
    model = shipped(name)
    tree = hgm.from_pgmpy(model)
    back = hgm.to_pgmpy(tree, "bayesian")
    assert hgm.from_pgmpy(back) == tree
    for cpd, own in zip(back.cpds, model.cpds, strict=True):
        assert cpd.variables == own.variables
        assert np.array_equal(cpd.values, own.values)
        assert all(cpd.state_names[v] == own.state_names[v] for v in own.variables)
    states = {v: model.get_cpds(v).state_names[v] for v in model.nodes}
    leaves = [v for v in model.nodes if model.out_degree(v) == 0]
    for query in set(model.nodes) - {leaves[0]}:
        for observed in ({}, {leaves[0]: 1}):
            wanted = eliminated(model, query, observed, states)
            assert np.allclose(marginal(tree, query, observed), wanted, atol=1e-12)
            given = {seen: states[seen][state] for seen, state in observed.items()}
            assert np.allclose(hgm.infer(tree, given)[query], wanted, atol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("name", ["asia", "survey", "sachs", "child"])
def test_a_shipped_network_with_a_cycle_is_refused(name):
    model = shipped(name)
    with pytest.raises(hgm.NotATree, match="the factor graph has a cycle: ") as refused:
        hgm.from_pgmpy(model)
    members = re.split(" - | and ", re.search(r"cycle: (.*?)(?: share two factors)?\. ", str(refused.value)).group(1))
    moral = model.moralize()
    assert members[0] == members[-1]
    assert set(members) <= set(model.nodes)
    assert all(moral.has_edge(one, two) for one, two in itertools.pairwise(members))


@pytest.mark.long
@pytest.mark.parametrize(("name", "cut", "state"), [("asia", "smoke", "yes"), ("survey", "E", "uni")])
def test_a_shipped_network_with_a_cycle_is_exact_once_it_is_cut(name, cut, state):
    model = shipped(name)
    tree = hgm.from_pgmpy(model, observed={cut: state})
    posterior = hgm.infer(tree)
    for query in sorted(set(model.nodes) - {cut}):
        wanted = VariableElimination(model).query([query], evidence={cut: state}, show_progress=False).values
        assert np.allclose(marginal(tree, query), wanted, atol=1e-12)
        assert np.allclose(posterior[query], wanted, atol=1e-12)
    certain = np.eye(tree.cardinality[tree.index(cut)])[tree.state(tree.index(cut), state)]
    assert np.allclose(posterior[cut], certain, atol=1e-12)
    for root in {tree.names[int(v)] for v in tree.roots} - {cut}:
        assert set(model.predecessors(root)) <= {cut}


def test_a_linear_gaussian_network_is_refused():
    with pytest.raises(hgm.BadSpec, match="got a LinearGaussianBayesianNetwork"):
        hgm.from_pgmpy(models.LinearGaussianBayesianNetwork([("a", "b")]))


# ---------------------------------------------------------------------- pgmpy: states and names


def pair(names_a, names_b=("x", "y")):
    model = models.DiscreteBayesianNetwork([("a", "b")])
    model.add_cpds(
        TabularCPD("a", len(names_a), np.full((len(names_a), 1), 1 / len(names_a)), state_names={"a": list(names_a)}),
        TabularCPD(
            "b", 2, np.full((2, len(names_a)), 0.5), ["a"], [len(names_a)],
            state_names={"a": list(names_a), "b": list(names_b)},
        ),
    )  # fmt: skip
    return model


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ([0, 1, 2], None),
        ((0, 1), None),
        ([np.int64(0), np.int64(1)], None),
        (["0", "1"], ("0", "1")),
        ([1, 2, 3], (1, 2, 3)),
        ([np.int64(1), 0], (1, 0)),
        ([False, True], (False, True)),
        ([0.0, 1.0], (0.0, 1.0)),
        ([("a", 0), ("a", 1)], (("a", 0), ("a", 1))),
        (["no", "yes"], ("no", "yes")),
        (["only"], ("only",)),
    ],
)
def test_state_names_become_labels_unless_they_only_count(names, labels):
    tree = hgm.from_pgmpy(pair(names))
    assert repr(tree.labels(tree.index("a"))) == repr(labels), "labels keep their type"
    assert tree.cardinality[tree.index("a")] == len(names)
    model = hgm.to_pgmpy(tree, "bayesian")
    assert model.get_cpds("a").state_names["a"] == list(labels or range(len(names)))
    assert hgm.from_pgmpy(model) == tree


@pytest.mark.parametrize("names", [[1, 2, 3], [1, 0], [True, False], ["1", 2], [-1, 1]])
def test_an_observed_state_is_called_by_its_name(names):
    for i, name in enumerate(names):
        tree = hgm.from_pgmpy(pair(names), observed={"a": name})
        assert np.array_equal(marginal(tree, "a"), [float(j == i) for j in range(len(names))])
    with pytest.raises(hgm.BadEvidence, match="variable 'a' has no state 5"):
        hgm.from_pgmpy(pair(names), observed={"a": 5})


def test_observed_by_index_label_and_a_number_for_a_name():
    one = hgm.from_pgmpy(pair(["no", "yes"]), observed={"a": 1})
    assert one == hgm.from_pgmpy(pair(["no", "yes"]), observed={"a": "yes"})
    model = models.DiscreteMarkovNetwork([(1, 2)])
    model.add_factors(DiscreteFactor([1, 2], [2, 2], [1, 2, 3, 4]))
    tree = hgm.from_pgmpy(model, observed={1: 0})
    assert list(tree.names) == [1, 2]
    assert np.allclose(marginal(tree, 2), [1 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("observed", "error", "message"),
    [
        ({"nobody": 0}, hgm.BadEvidence, "'nobody' is not in the model"),
        ({"a": "maybe"}, hgm.BadEvidence, "variable 'a' has no state 'maybe'; its states are no, yes"),
        ({"a": 2}, hgm.BadEvidence, "variable 'a' has no state 2"),
    ],
)
def test_a_bad_observed_state_is_refused(observed, error, message):
    with pytest.raises(error, match=message):
        hgm.from_pgmpy(pair(["no", "yes"]), observed=observed)


def test_impossible_observed_states_are_refused():
    model = models.DiscreteMarkovNetwork([("a", "b")])
    model.add_factors(DiscreteFactor(["a", "b"], [2, 2], [1, 0, 1, 1]))
    with pytest.raises(hgm.ImpossibleEvidence, match="zero"):
        hgm.from_pgmpy(model, observed={"a": 0, "b": 1})


def test_a_factor_that_only_numbers_states_gives_way_to_one_that_names_them():
    model = models.DiscreteMarkovNetwork([("a", "b"), ("b", "c")])
    model.add_factors(
        DiscreteFactor(["a", "b"], [2, 2], [1, 2, 3, 4]),
        DiscreteFactor(["b", "c"], [2, 2], [1, 2, 3, 4], state_names={"b": ["no", "yes"], "c": [0, 1]}),
    )
    tree = hgm.from_pgmpy(model)
    assert [tree.labels(tree.index(v)) for v in "abc"] == [None, ("no", "yes"), None]
    model.factors.reverse()
    assert hgm.from_pgmpy(model).labels(1) == ("no", "yes")
    model.add_factors(DiscreteFactor(["b"], [2], [1, 2], state_names={"b": ["yes", "no"]}))
    with pytest.raises(hgm.BadSpec, match="disagree on the state names of variable 'b'"):
        hgm.from_pgmpy(model)


def test_variables_keep_what_they_are_called():
    model = models.DiscreteMarkovNetwork([(1, "1"), ("1", ("t", 0))])
    model.add_factors(
        DiscreteFactor([1, "1"], [2, 2], [1, 2, 3, 4]), DiscreteFactor(["1", ("t", 0)], [2, 2], [1, 2, 3, 4])
    )
    tree = hgm.from_pgmpy(model, roots=[("t", 0)])
    assert list(tree.names) == [("t", 0), "1", 1]
    assert np.allclose(marginal(tree, 1), np.einsum("ab,bc->a", [[1, 2], [3, 4]], [[1, 2], [3, 4]]) / 54)
    assert hgm.from_pgmpy(hgm.to_pgmpy(tree.reroot(1))) == tree.reroot(1)


# ---------------------------------------------------------------------- pgmpy: models that cannot be read


def test_a_bayesian_network_without_tables_is_refused():
    with pytest.raises(
        hgm.BadSpec, match="DiscreteBayesianNetwork is not a complete, consistent model: No CPD associated with a"
    ):
        hgm.from_pgmpy(models.DiscreteBayesianNetwork([("a", "b")]))


def test_an_inconsistent_bayesian_network_is_refused():
    model = models.DiscreteBayesianNetwork([("a", "b")])
    model.add_cpds(TabularCPD("a", 3, [[0.2], [0.3], [0.5]]), TabularCPD("b", 2, [[0.5, 0.5], [0.5, 0.5]], ["a"], [2]))
    with pytest.raises(hgm.BadSpec, match="not a complete, consistent model: The cardinality of a"):
        hgm.from_pgmpy(model)
    model.add_cpds(TabularCPD("b", 2, [[0.5], [0.5]]))
    with pytest.raises(hgm.BadSpec, match="CPD associated with b doesn't have proper parents"):
        hgm.from_pgmpy(model)


def test_a_skeleton_with_a_cycle_is_refused():
    model = models.DiscreteBayesianNetwork([("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    model.add_cpds(
        TabularCPD("a", 2, [[0.2], [0.8]]),
        TabularCPD("b", 2, np.full((2, 2), 0.5), ["a"], [2]),
        TabularCPD("c", 2, np.full((2, 2), 0.5), ["a"], [2]),
        TabularCPD("d", 2, np.full((2, 4), 0.5), ["b", "c"], [2, 2]),
    )
    with pytest.raises(
        hgm.NotATree, match=r"cycle: (a - b - c|a - c - b|b - a - c|c - a - b|b - c - a|c - b - a) - \w\. "
    ):
        hgm.from_pgmpy(model)
    assert len(hgm.from_pgmpy(model, observed={"a": 0}).roots) == 2


@pytest.mark.parametrize("make", [models.DiscreteMarkovNetwork, models.FactorGraph])
def test_a_variable_without_a_factor_is_refused(make):
    model = make()
    model.add_nodes_from(["a", "b"])
    factor = DiscreteFactor(["a"], [2], [1, 2])
    if make is models.FactorGraph:
        model.add_edge("a", factor)
    model.add_factors(factor)
    with pytest.raises(hgm.BadSpec, match=r"'b' of the \w+ has no factor, so its number of states is unknown"):
        hgm.from_pgmpy(model)


def test_a_factor_graph_with_missing_edges_is_refused():
    factor = DiscreteFactor(["a", "b"], [2, 2], [1, 2, 3, 4])
    model = models.FactorGraph([("a", factor)])
    model.add_node("b")
    model.add_factors(factor)
    with pytest.raises(hgm.BadSpec, match=r"the edges of factor \('a', 'b'\) do not lead"):
        hgm.from_pgmpy(model)
    model.factors.clear()
    with pytest.raises(hgm.BadSpec, match="has no factor"):
        hgm.from_pgmpy(model)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (lambda: models.JunctionTree(), "a JunctionTree"),
        (lambda: models.DynamicBayesianNetwork(), "a DynamicBayesianNetwork"),
        (lambda: nx.DiGraph(), "a DiGraph"),
        (lambda: models.DiscreteBayesianNetwork, "the class DiscreteBayesianNetwork"),
        (lambda: models.BayesianNetwork, "the class BayesianNetwork"),
        (lambda: None, "None"),
    ],
    ids=["junction tree", "dynamic", "networkx", "class", "old name", "none"],
)
def test_another_model_is_refused(model, given):
    with pytest.raises(hgm.BadSpec, match=f"from_pgmpy reads a DiscreteBayesianNetwork, .* got {given}"):
        hgm.from_pgmpy(model())


def test_a_network_with_other_than_tables_is_refused():
    model = models.DiscreteBayesianNetwork([("a", "b")])
    model.cpds.append("a CPD that is a program")
    with pytest.raises(hgm.BadSpec, match=r"has a str; only tables \(TabularCPD\)"):
        hgm.from_pgmpy(model)


def test_a_naive_bayes_model_is_a_bayesian_network():
    model = models.NaiveBayes(["x", "y"], "c")
    for cpd in (
        TabularCPD("c", 2, [[0.2], [0.8]]),
        TabularCPD("x", 2, [[0.3, 0.4], [0.7, 0.6]], ["c"], [2]),
        TabularCPD("y", 2, [[0.5, 0.1], [0.5, 0.9]], ["c"], [2]),
    ):
        model.add_cpds(cpd)
    tree = hgm.from_pgmpy(model)
    assert [tree.names[int(v)] for v in tree.roots] == ["c"]
    assert np.allclose(marginal(tree, "x"), [0.2 * 0.3 + 0.8 * 0.4, 0.2 * 0.7 + 0.8 * 0.6])


@pytest.mark.parametrize("kind", ["markov", "factor_graph"])
def test_factors_over_the_same_variables_are_multiplied(kind):
    first = DiscreteFactor(["a", "b"], [2, 3], [1, 2, 3, 4, 5, 6])
    second = DiscreteFactor(["b", "a"], [3, 2], [1, 0, 2, 1, 3, 1])
    alone = [DiscreteFactor(["a"], [2], [1, 2]), DiscreteFactor(["a"], [2], [3, 1])]
    model = models.DiscreteMarkovNetwork([("a", "b")]) if kind == "markov" else models.FactorGraph()
    for factor in (first, second, *alone):
        if kind == "factor_graph":
            model.add_edges_from((v, factor) for v in factor.variables)
        model.add_factors(factor)
    tree = hgm.from_pgmpy(model)
    assert tree.factors == 3
    assert np.exp(enumerated(tree).log_z) == pytest.approx(model.get_partition_function(), rel=1e-12)
    assert np.allclose(np.exp(enumerated(tree).log), np.array([[1, 4, 9], [0, 5, 6]]) * [[3], [2]], rtol=1e-12)


def test_factors_whose_product_is_zero_are_refused():
    model = models.DiscreteMarkovNetwork([("a", "b")])
    model.add_factors(
        DiscreteFactor(["a", "b"], [2, 2], [1, 0, 0, 1]), DiscreteFactor(["a", "b"], [2, 2], [0, 1, 1, 0])
    )
    with pytest.raises(hgm.BadPotential, match=r"the factors over \(a, b\): .* zero everywhere"):
        hgm.from_pgmpy(model)


def test_a_bad_table_is_refused_by_name():
    model = models.DiscreteMarkovNetwork([("a", "b")])
    model.add_factors(DiscreteFactor(["a", "b"], [2, 2], [1, -1, 0, 1]))
    with pytest.raises(hgm.BadPotential, match=r"factor \(a, b\): a potential must be non-negative"):
        hgm.from_pgmpy(model)


def test_tables_on_the_torch_backend_can_be_read_but_not_written():
    tree = LAYERED["line"]
    pgmpy.config.set_backend("torch", dtype=None)
    try:
        with pytest.raises(hgm.BadSpec, match="pgmpy is set to torch"):
            hgm.to_pgmpy(tree)
        model = models.DiscreteMarkovNetwork([("a", "b")])
        model.add_factors(DiscreteFactor(["a", "b"], [2, 2], [1, 2, 3, 4]))
        assert hgm.from_pgmpy(model).potentials == (hgm.Edge([[1, 2], [3, 4]]),)
    finally:
        pgmpy.config.set_backend("numpy")
    assert hgm.to_pgmpy(tree).check_model()


# ---------------------------------------------------------------------- pgmpy: trees that a model cannot hold


@pytest.mark.parametrize(
    ("factors", "variables", "message"),
    [
        (
            [(("a", "b"), [[0.5, 0.5], [0.1, 0.9]])], {},
            "factor ('a', 'b') cannot be the conditional table of one variable: none of a, b has a table of its",
        ),
        (
            [("a", [0.5, 0.5]), ("b", [0.5, 0.5]), (("a", "b"), np.full((2, 2), 0.5))], {},
            "factor ('a', 'b') cannot be the conditional table of one variable: each of its variables has another",
        ),
        (
            [("a", [0.5, 0.5]), ("a", [0.1, 0.9])], {},
            "factor ('a',) cannot be the conditional table of one variable: each of its variables",
        ),
        (
            [(("b", "c"), np.full((2, 2), 0.5)), ("b", [0.5, 0.5]), ("a", [0.5, 0.5]), ("a", [0.1, 0.9])], {},
            "factor ('a',) cannot be the conditional table of one variable: each of its variables",
        ),
        (
            [("a", [0.5, 0.5]), (("b", "a"), [[0.4, 0.6], [0.9, 0.1]])], {"b": ["no", "yes"]},
            "factor ('b', 'a') is not a conditional table of 'b': its entries sum to 1.3 at a = 0, not to 1",
        ),
        (
            [("b", [0.5, 0.5]), (("b", "a"), [[0.4, 0.6], [0.9, 0.4]])], {"b": ["no", "yes"]},
            "factor ('b', 'a') is not a conditional table of 'a': its entries sum to 1.3 at b = yes, not to 1",
        ),
        ([("a", [2, 3])], {}, "factor ('a',) is not a conditional table of 'a': its entries sum to 5, not to 1"),
    ],
)  # fmt: skip
def test_a_tree_that_is_no_bayesian_network_names_the_factor(factors, variables, message):
    tree = hgm.Tree.from_factors(factors, variables)
    with pytest.raises(hgm.BadSpec, match=re.escape(message)):
        hgm.to_pgmpy(tree, "bayesian")
    assert hgm.from_pgmpy(hgm.to_pgmpy(tree, "markov")) == normal(tree)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_with_a_bare_variable_is_refused(kind):
    tree = hgm.Tree.from_factors([("a", [0.5, 0.5])], {"a": 2, "bare": 3})
    with pytest.raises(hgm.BadSpec, match="variable 'bare' has no factor, which no model of pgmpy can hold"):
        hgm.to_pgmpy(tree, kind)


def test_equal_factors_fit_a_markov_network_only():
    tree = hgm.Tree.from_factors([("a", [1, 2]), ("a", [1, 2])])
    with pytest.raises(hgm.BadSpec, match=r"two factors over \('a',\) have the same table"):
        hgm.to_pgmpy(tree, "factor_graph")
    assert hgm.from_pgmpy(hgm.to_pgmpy(tree, "markov")) == normal(tree)


@pytest.mark.parametrize("log", [800.0, -800.0, -744.0])
def test_entries_beyond_float64_are_refused(log):
    tree = hgm.Tree.from_factors([(("a", "b"), hgm.Edge.from_log([[0.0, log], [0.0, 0.0]]))])
    assert hgm.from_networkx(hgm.to_networkx(tree)) == tree
    with pytest.raises(
        hgm.BadSpec, match=re.escape(f"factor (a, b) has the entry exp({log:g}), which pgmpy cannot hold")
    ):
        hgm.to_pgmpy(tree)


def test_rules_too_large_to_be_dense_are_refused():
    names = [f"x{i}" for i in range(30)]
    tree = hgm.Tree.from_factors([(names, hgm.Rules((2,) * 30, [[0] * 30, [1] * 30]))])
    assert hgm.from_networkx(hgm.to_networkx(tree)) == tree
    with pytest.raises(hgm.BadSpec, match="is sparse, but pgmpy holds dense tables only: it would have 1,073,741,824"):
        hgm.to_pgmpy(tree)


def test_an_unknown_kind_is_refused():
    with pytest.raises(hgm.BadSpec, match="kind must be 'factor_graph', 'markov' or 'bayesian'; got 'bayes'"):
        hgm.to_pgmpy(LAYERED["line"], "bayes")


# ---------------------------------------------------------------------- imports


def test_the_libraries_are_imported_only_when_they_are_used():
    code = (
        "import sys, hgm, hgm.bridges.pgmpy, hgm.bridges.networkx;"
        "assert not {'pgmpy', 'pandas'} & set(sys.modules), 'at import';"
        "hgm.from_networkx(hgm.to_networkx(hgm.ghm([], root=2)));"
        "assert not {'pgmpy', 'pandas'} & set(sys.modules), 'by networkx'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
