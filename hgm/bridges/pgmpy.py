"""Trees as pgmpy models, and back.

What each of pgmpy's models can hold of a `Tree`:

| | `FactorGraph` | `DiscreteMarkovNetwork` | `DiscreteBayesianNetwork` |
| --- | --- | --- | --- |
| names, states, entries of tables | kept | kept | kept |
| order of variables and factors | kept | kept | kept |
| order of a table's axes | kept | kept | parents, then the child (see below) |
| root of a component | its first variable | its first variable | its first variable without parents |
| a variable without a factor | an error | an error | an error |
| equal factors over the same variable | an error | kept | an error |
| factors that are not conditional tables | kept | kept | an error |

So ``from_pgmpy(to_pgmpy(tree)) == tree`` for a tree that `Tree.from_factors`, `Tree.from_edges` or `from_pgmpy` made of
an array for each factor. What no model of pgmpy holds: tied potentials (each factor gets its own); `Rules` (they
become dense tables); the difference between an `Edge` and a `Table` with two axes (both become an `Edge`); entries
given only by their logs (they are rounded to float64 once; entries that overflow or underflow are an error); the
`grid` of a layered model; and the numbering of the potentials of a re-rooted tree.

**Axes.** A `DiscreteFactor` has its table's axes in the order of its variables, and so has the factor of the tree. A
`TabularCPD` puts its own variable first (rows) and the evidence after it (columns); the factor of the tree has the
scope ``(*evidence, variable)``, so that the table of an edge is a matrix (parent states, child states).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hgm.bridges.keys import as_names
from hgm.errors import BadEvidence, BadPotential, BadSpec, listing
from hgm.tree.potential import Edge, Potential, Rules, Table
from hgm.tree.tree import Tree

if TYPE_CHECKING:
    from pgmpy.factors.discrete import DiscreteFactor
    from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork, FactorGraph

__all__ = ["from_pgmpy", "to_pgmpy"]

MOST_ENTRIES = 2**24  # of a dense table made of rules: 128 MiB
SLACK = 0.01  # how far from 1 pgmpy lets the columns of a TabularCPD sum

Scope = tuple[str, ...]


# ---------------------------------------------------------------------- from pgmpy


def from_pgmpy(
    model: DiscreteBayesianNetwork | DiscreteMarkovNetwork | FactorGraph,
    observed: Mapping[Hashable, int | str] | None = None,
    *,
    roots: Sequence[str] = (),
) -> Tree:
    """A tree from a discrete pgmpy model whose factor graph is a tree or forest.

    Of a Bayesian network each CPD becomes one factor, so polytrees with several parents per variable are read as they
    are; its tables are taken as they stand, also where columns sum to 1 only within pgmpy's tolerance of 0.01. Of a
    Markov network or a factor graph each factor becomes one, and several factors over the same two or more variables
    are multiplied into the first. The order of axes is described in `hgm.bridges.pgmpy`.

    Variables keep their order. Variables that are not strings are called ``str(variable)``. State names become
    labels, ``str(name)``; the numbers 0, 1, 2, ... that pgmpy gives to unnamed states become unlabelled states. Mind
    that a number given as evidence is always an index: of a variable with the state names 1, 2, 3 the first is ``0``
    or ``"1"``. Latent variables, exposures and other roles are not kept.

    Args:
        model: a `DiscreteBayesianNetwork` (`NaiveBayes` too), `DiscreteMarkovNetwork` or `FactorGraph`; not changed.
        observed: states (index or label) of variables to condition on before the tree is built, which can cut
            cycles; see `Tree.from_factors`.
        roots: the wanted roots, at most one per component. Default of a component: in a Bayesian network its first
            variable without unobserved parents, otherwise its first variable.

    Raises:
        NotATree: if the factor graph has a cycle (the message names one), or two roots are wanted in one component.
        BadSpec: for a model of another kind, one that pgmpy finds inconsistent or incomplete (a missing CPD, say), or
            state names that differ from factor to factor.
        BadPotential: if a table has a negative, infinite or NaN entry, or no positive one.
        BadEvidence: for an unknown variable or state in `observed`.
        ImpossibleEvidence: if a table is zero at the observed states.
    """
    from pgmpy.factors.discrete import DiscreteFactor, TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork, FactorGraph

    if isinstance(model, DiscreteBayesianNetwork):
        other = next((cpd for cpd in model.cpds if not isinstance(cpd, TabularCPD)), None)
        if other is not None:
            raise BadSpec(
                f"a {type(model).__name__} has a {type(other).__name__}; only tables (TabularCPD) can be converted"
            )
        variables, given = list(model.nodes), list(model.cpds)
    elif isinstance(model, DiscreteMarkovNetwork):
        variables, given = list(model.nodes), list(model.factors)
    elif isinstance(model, FactorGraph):
        variables, given = [node for node in model.nodes if not isinstance(node, DiscreteFactor)], list(model.factors)
    else:
        kind = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise BadSpec(
            "from_pgmpy reads a DiscreteBayesianNetwork, DiscreteMarkovNetwork or FactorGraph of pgmpy, with tables "
            f"over discrete states; got {kind}"
        )
    names = as_names(variables)
    directed = isinstance(model, DiscreteBayesianNetwork)
    _check(model, variables, given, directed)
    states = _state_names(given, names)
    seen = _observed(observed or {}, given, names)

    declared = {names[v]: states[names[v]] for v in variables}
    factors = [(tuple(names[v] for v in factor.variables), _array(factor)) for factor in given]
    if not directed:
        return Tree.from_factors(_merged(factors), declared, roots=roots, observed=seen)
    factors = [((*scope[1:], scope[0]), np.moveaxis(values, 0, -1)) for scope, values in factors]
    parents = {names[v]: {names[p] for p in model.predecessors(v)} - set(seen) for v in variables}
    roots = _with_sources([scope for scope, _ in factors], parents, set(seen), roots)
    return Tree.from_factors(factors, declared, roots=roots, observed=seen)


def _check(model: Any, variables: Sequence[Hashable], given: Sequence[DiscreteFactor], directed: bool) -> None:
    """pgmpy's own check of the model, and what it leaves out."""
    kind = type(model).__name__
    try:
        covered = {v for factor in given for v in factor.variables}
        bare = next((v for v in variables if v not in covered), None)
        if bare is not None and not directed:
            raise BadSpec(
                f"variable {bare!r} of the {kind} has no factor, so its number of states is unknown; "
                f"add a factor of ones over it, DiscreteFactor([{bare!r}], [n], numpy.ones(n))"
            )
        model.check_model()
        for factor in given:
            if not covered.issuperset(factor.variables) or not set(variables).issuperset(factor.variables):
                raise ValueError(f"factor {tuple(factor.variables)} is over variables that are not in the model")
            if kind == "FactorGraph" and (factor not in model or set(model[factor]) != set(factor.variables)):
                raise ValueError(f"the edges of factor {tuple(factor.variables)} do not lead to these variables")
    except BadSpec:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadSpec(f"the {kind} is not a complete, consistent model: {error}") from error


def _array(factor: DiscreteFactor) -> np.ndarray:
    values = factor.values if isinstance(factor.values, np.ndarray) else factor.values.numpy(force=True)
    return np.asarray(values, dtype=np.float64)


def _numbered(own: Sequence[object] | None) -> bool:
    """Whether these state names only count: 0, 1, 2, ... (False and True, equal to 0 and 1, do not)."""
    return own is None or all(
        isinstance(s, (int, np.integer)) and not isinstance(s, bool) and s == i for i, s in enumerate(own)
    )


def _state_names(given: Sequence[DiscreteFactor], names: Mapping[Hashable, str]) -> dict[str, int | tuple[str, ...]]:
    """Number of states, or labels, of each variable. A factor that only numbers the states of a variable gives way."""
    states: dict[str, int | tuple[str, ...]] = {}
    for factor in given:
        for variable, cardinality in zip(factor.variables, factor.cardinality, strict=True):
            name, own = names[variable], factor.state_names.get(variable)
            if own is not None and len(own) != cardinality:
                raise BadSpec(
                    f"variable {name!r} has {cardinality} states but {len(own)} state names: {listing(list(own))}"
                )
            labels = int(cardinality) if _numbered(own) else tuple(str(state) for state in own)
            known = states.setdefault(name, labels)
            if isinstance(labels, tuple) and known != labels:
                if isinstance(known, tuple):
                    raise BadSpec(
                        f"the factors disagree on the state names of variable {name!r}: {known} and {labels}; "
                        "give it the same names in the same order everywhere"
                    )
                states[name] = labels
    return states


def _observed(
    observed: Mapping[Hashable, int | str], given: Sequence[DiscreteFactor], names: Mapping[Hashable, str]
) -> dict[str, int | str]:
    """The observed states under the names of the tree, none of them ambiguous."""
    seen = {names.get(variable, str(variable)): state for variable, state in observed.items()}
    for factor in given:
        for variable in factor.variables:
            own, state = factor.state_names.get(variable), seen.get(names[variable], "")
            if not isinstance(state, str) and not _numbered(own) and not all(isinstance(s, str) for s in own):
                raise BadEvidence(
                    f"the state names of variable {variable!r} are {listing(list(own))}, so {state!r} could be a name "
                    f"or an index; give the name as a string, such as {str(own[0])!r}"
                )
    return seen


def _with_sources(
    scopes: Sequence[Scope], parents: Mapping[str, set[str]], observed: set[str], roots: Sequence[str]
) -> list[str]:
    """The wanted roots, and for each other component its first variable without (unobserved) parents."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(parents)
    for scope in scopes:
        free = [name for name in scope if name not in observed]
        graph.add_edges_from(pairwise(free))
    component = {name: i for i, members in enumerate(nx.connected_components(graph)) for name in members}
    done = {component[name] for name in roots if name in component}
    chosen = list(roots)
    for name, above in parents.items():
        if not above and component[name] not in done:
            done.add(component[name])
            chosen.append(name)
    return chosen


def _merged(factors: Sequence[tuple[Scope, np.ndarray]]) -> list[tuple[Scope, np.ndarray | Potential]]:
    """The factors, with those over the same two or more variables (in any order) multiplied into the first of them."""
    groups: dict[frozenset[str] | int, list[tuple[Scope, np.ndarray]]] = {}
    for i, (scope, values) in enumerate(factors):
        groups.setdefault(frozenset(scope) if len(scope) > 1 else i, []).append((scope, values))
    return [group[0] if len(group) == 1 else _product(group) for group in groups.values()]


def _product(group: Sequence[tuple[Scope, np.ndarray]]) -> tuple[Scope, Potential]:
    """The product of factors over the same variables, formed as a sum of logs, with the first one's axes."""
    scope = group[0][0]
    log = np.zeros([1] * len(scope))
    try:
        for own, values in group:
            log = log + Table(values).log_potential.transpose([own.index(name) for name in scope])
        return scope, (Edge if len(scope) == 2 else Table).from_log(log)
    except BadPotential as error:
        raise BadPotential(f"the factors over ({listing(scope)}): {error}") from None


# ---------------------------------------------------------------------- to pgmpy


def to_pgmpy(
    tree: Tree, kind: Literal["factor_graph", "markov", "bayesian"] = "factor_graph"
) -> FactorGraph | DiscreteMarkovNetwork | DiscreteBayesianNetwork:
    """A pgmpy model of the same distribution, with the same names and states.

    What each kind of model cannot hold is said in `hgm.bridges.pgmpy`.

    ``"factor_graph"`` and ``"markov"`` have one `DiscreteFactor` per factor of the tree, with the same axes and
    entries, so the partition function is the same too. ``"bayesian"`` has one `TabularCPD` per factor. It exists if
    each variable has a factor of its own that sums to 1 over it, within pgmpy's tolerance of 0.01, whatever the roots
    of the tree are; which factor belongs to which variable is then unique.

    Args:
        tree: the tree.
        kind: ``"factor_graph"``, ``"markov"`` or ``"bayesian"``.

    Returns:
        A `FactorGraph`, `DiscreteMarkovNetwork` or `DiscreteBayesianNetwork` that passes pgmpy's ``check_model``.

    Raises:
        BadSpec: if this kind of model cannot hold the tree; the message names the factor or variable.
    """
    if kind not in ("factor_graph", "markov", "bayesian"):
        raise BadSpec(f"kind must be 'factor_graph', 'markov' or 'bayesian'; got {kind!r}")
    from pgmpy import config
    from pgmpy.factors.discrete import DiscreteFactor
    from pgmpy.models import DiscreteMarkovNetwork, FactorGraph

    if config.get_backend() != "numpy" or str(config.get_dtype()) != "float64":
        raise BadSpec(
            f"pgmpy is set to {config.get_backend()} with {config.get_dtype()}, which would round the tables to "
            'float32; call pgmpy.config.set_backend("numpy", dtype="float64") first'
        )
    bare = np.setdiff1d(np.arange(len(tree)), tree.scope)
    if len(bare):
        raise BadSpec(
            f"variable {tree.names[int(bare[0])]!r} has no factor, which no model of pgmpy can hold; give it "
            "one: a prior (for 'bayesian'), or a factor of ones"
        )
    names = list(tree.names)
    states: dict[str, list[Any]] = {
        name: list(tree.labels(v) or range(int(tree.cardinality[v]))) for v, name in enumerate(names)
    }
    if kind == "bayesian":
        return _bayesian(tree, names, states)
    model = FactorGraph() if kind == "factor_graph" else DiscreteMarkovNetwork()
    model.add_nodes_from(names)
    for f in _order(tree):
        scope = [names[v] for v in tree.scope_of(f)]
        values = _values(tree, f, scope)
        factor = DiscreteFactor(scope, values.shape, values, state_names={name: states[name] for name in scope})
        if kind == "markov":
            model.add_edges_from((a, b) for i, a in enumerate(scope) for b in scope[i + 1 :])
        elif factor in model:
            raise BadSpec(
                f"two factors over {tuple(scope)} have the same table, and a FactorGraph of pgmpy takes equal factors "
                "for one; multiply them into one, or convert to 'markov'"
            )
        else:
            model.add_edges_from((name, factor) for name in scope)
        model.add_factors(factor)
    return model


def _order(tree: Tree) -> list[int]:
    """The factors by the numbers of their potentials, so that `from_pgmpy` gives them the same numbers.

    Unless that changes the order of the factors below one variable, which a tree keeps: then the order of the tree.
    """
    same_parent = np.diff(tree.parent) == 0
    ascending = (np.diff(tree.potential_id)[same_parent] >= 0).all()
    order = np.argsort(tree.potential_id, kind="stable") if ascending else np.arange(tree.factors)
    return [int(f) for f in order]


def _bayesian(tree: Tree, names: list[str], states: Mapping[str, list[Any]]) -> DiscreteBayesianNetwork:
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    model = DiscreteBayesianNetwork()
    model.add_nodes_from(names)
    child_of = _child_of(tree)
    for f in _order(tree):
        child = child_of[f]
        scope = [names[v] for v in tree.scope_of(f)]
        values = _values(tree, f, scope)
        axis = int(np.flatnonzero(tree.scope_of(f) == child)[0])
        sums = values.sum(axis=axis)
        off = np.argwhere(~np.isclose(sums, 1.0, atol=SLACK))
        if len(off):
            given = ", ".join(f"{n} = {states[n][i]}" for n, i in zip(np.delete(scope, axis), off[0], strict=True))
            raise BadSpec(
                f"factor {tuple(scope)} is not a conditional table of {names[child]!r}: its entries sum to "
                f"{sums[tuple(off[0])]:.6g}{f' at {given}' if given else ''}, not to 1; normalise it, or convert to "
                "'factor_graph' or 'markov'"
            )
        evidence = scope[:axis] + scope[axis + 1 :]
        columns = np.moveaxis(values, axis, 0)
        model.add_edges_from((name, names[child]) for name in evidence)
        model.add_cpds(
            TabularCPD(
                names[child],
                len(columns),
                columns.reshape(len(columns), -1),
                evidence or None,
                columns.shape[1:] or None,
                state_names={name: states[name] for name in scope},
            )
        )
    return model


def _child_of(tree: Tree) -> list[int]:
    """The variable whose conditional table each factor is.

    That is a perfect matching of factors and variables. In a forest there is at most one, and peeling finds it: a
    factor over one variable must be that variable's own, which leaves the other factors over it with one variable
    less.
    """
    unowned = [set(tree.scope_of(f).tolist()) for f in range(tree.factors)]
    around: list[list[int]] = [[] for _ in range(len(tree))]
    for f, scope in enumerate(unowned):
        for v in scope:
            around[v].append(f)
    child = [-1] * tree.factors
    owner = [-1] * len(tree)
    ready = [f for f, scope in enumerate(unowned) if len(scope) == 1]
    for f in ready:  # it grows meanwhile
        if not unowned[f]:
            continue  # another factor took its last variable: it stays without
        (v,) = unowned[f]
        child[f], owner[v] = v, f
        for g in around[v]:
            unowned[g].discard(v)
            if len(unowned[g]) == 1:
                ready.append(g)
    f = next((f for f, v in enumerate(child) if v < 0), -1)
    if f >= 0:
        members = tuple(tree.names[int(v)] for v in tree.scope_of(f))
        ownerless = [tree.names[int(v)] for v in tree.scope_of(f) if owner[v] < 0]
        why = (
            f"none of {listing(ownerless)} has a table of its own that could come before it, such as a prior"
            if ownerless
            else "each of its variables has another factor as its own table"
        )
        raise BadSpec(
            f"factor {members} cannot be the conditional table of one variable: {why}. A Bayesian network has exactly "
            "one table per variable; convert to 'factor_graph' or 'markov' instead"
        )
    return child


def _values(tree: Tree, factor: int, scope: Sequence[str]) -> np.ndarray:
    """The entries of a factor as a dense array."""
    potential = tree.potential_of(factor)
    if not isinstance(potential, Table) and (prod(potential.shape) > MOST_ENTRIES or potential.axes > 32):
        raise BadSpec(
            f"factor ({listing(scope)}) is sparse, but pgmpy holds dense tables only: it would have "
            f"{prod(potential.shape):,} entries on {potential.axes} axes (at most {MOST_ENTRIES:,} on 32 are converted)"
        )
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if isinstance(potential, Rules):
            values = np.zeros(potential.shape)
            values[tuple(potential.states.T)] = potential.values
        else:
            values = potential.values if isinstance(potential, Table) else np.exp(potential.dense_log())
        log, back = potential.dense_log(), np.log(values)
        lost = ~((back == log) | (np.abs(back - log) < 1e-12))
    if lost.any():
        raise BadSpec(
            f"factor ({listing(scope)}) has the entry exp({log[lost][0]:.6g}), which pgmpy cannot hold: it stores the "
            "entries themselves as float64, not their logs. Scale the potential"
        )
    return values
