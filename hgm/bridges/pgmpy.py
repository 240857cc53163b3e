"""Trees from pgmpy models (`from_pgmpy`), and as such (`to_pgmpy`, in `hgm.bridges.pgmpy_out`).

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
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.errors import BadEvidence, BadPotential, BadSpec, brief, listing
from hgm.tree.arguments import listed, mapping
from hgm.tree.labels import Label, read_key
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.tree import Tree

if TYPE_CHECKING:
    from pgmpy.factors.discrete import DiscreteFactor
    from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork, FactorGraph

__all__ = ["from_pgmpy"]

Scope = tuple[Label, ...]


def from_pgmpy(
    model: DiscreteBayesianNetwork | DiscreteMarkovNetwork | FactorGraph,
    observed: Mapping[Label, object] | None = None,
    *,
    roots: Sequence[Label] = (),
) -> Tree:
    """A tree from a discrete pgmpy model whose factor graph is a tree or forest.

    Of a Bayesian network each CPD becomes one factor, so polytrees with several parents per variable are read as they
    are; its tables are taken as they stand, also where columns sum to 1 only within pgmpy's tolerance of 0.01. Of a
    Markov network or a factor graph each factor becomes one, and several factors over the same two or more variables
    are multiplied into the first. The order of axes is described in `hgm.bridges.pgmpy`.

    Variables keep their order and what they are called, of whatever type. State names become labels, of the type that
    they have; the numbers 0, 1, 2, ... that pgmpy gives to unnamed states become unlabelled states. Latent variables,
    exposures and other roles are not kept.

    Args:
        model: a `DiscreteBayesianNetwork` (`NaiveBayes` too), `DiscreteMarkovNetwork` or `FactorGraph`; not changed.
        observed: states of variables to condition on before the tree is built, which can cut
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
        raise BadSpec(
            "from_pgmpy reads a DiscreteBayesianNetwork, DiscreteMarkovNetwork or FactorGraph of pgmpy, with tables "
            f"over discrete states; got {brief(model)}"
        )
    directed = isinstance(model, DiscreteBayesianNetwork)
    observed = mapping("observed", observed, "{name: state}", BadEvidence)
    roots = [roots] if isinstance(roots, str) else listed("roots", roots, "names")
    unknown = next((name for name in roots if not isinstance(name, Hashable) or name not in model.nodes), None)
    if unknown is not None:
        raise BadSpec(f"{brief(unknown)} is wanted as a root, but there is no such variable")
    _check(model, variables, given, directed)
    states = _state_names(given)
    declared = {v: states[v] for v in variables}
    factors = [(tuple(factor.variables), _array(factor)) for factor in given]
    if not directed:
        return Tree.from_factors(_merged(factors), declared, roots=roots, observed=observed)
    factors = [((*scope[1:], scope[0]), np.moveaxis(values, 0, -1)) for scope, values in factors]
    seen = set(observed)
    parents = {v: set(model.predecessors(v)) - seen for v in variables}
    roots = _with_sources([scope for scope, _ in factors], parents, seen, roots)
    return Tree.from_factors(factors, declared, roots=roots, observed=observed)


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


def _state_names(given: Sequence[DiscreteFactor]) -> dict[Label, int | tuple[Label, ...]]:
    """Number of states, or labels, of each variable. A factor that only numbers the states of a variable gives way."""
    states: dict[Label, int | tuple[Label, ...]] = {}
    for factor in given:
        for variable, cardinality in zip(factor.variables, factor.cardinality, strict=True):
            own = factor.state_names.get(variable)
            if own is not None and len(own) != cardinality:
                raise BadSpec(
                    f"variable {variable!r} has {cardinality} states but {len(own)} state names: {listing(list(own))}"
                )
            labels = int(cardinality) if _numbered(own) else tuple(read_key(s, "a state name") for s in own)
            known = states.setdefault(variable, labels)
            if isinstance(labels, tuple) and known != labels:
                if isinstance(known, tuple):
                    raise BadSpec(
                        f"the factors disagree on the state names of variable {variable!r}: {known} and {labels}; "
                        "give it the same names in the same order everywhere"
                    )
                states[variable] = labels
    return states


def _with_sources(
    scopes: Sequence[Scope], parents: Mapping[Label, set[Label]], observed: set[Label], roots: Sequence[Label]
) -> list[Label]:
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
    groups: dict[frozenset[Label] | int, list[tuple[Scope, np.ndarray]]] = {}
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
