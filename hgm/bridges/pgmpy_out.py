"""Trees as pgmpy models; what each kind of model can hold stands in `hgm.bridges.pgmpy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hgm.errors import BadSpec, listing
from hgm.tree.arguments import choice
from hgm.tree.checks import shown
from hgm.tree.direction import produced
from hgm.tree.labels import Label
from hgm.tree.potential import Table
from hgm.tree.tree import Tree, checked_tree

if TYPE_CHECKING:
    from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork, FactorGraph

__all__ = ["to_pgmpy"]

MOST_ENTRIES = 2**24  # of a dense table made of rules: 128 MiB
SLACK = 0.01  # how far from 1 pgmpy lets the columns of a TabularCPD sum


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
    checked_tree(tree)
    choice("kind", kind, ("factor_graph", "markov", "bayesian"))
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
    states: dict[Label, list[Any]] = {
        name: list(tree.labels(v) or range(int(tree.cardinality[v]))) for v, name in enumerate(names)
    }
    if kind == "bayesian":
        return _bayesian(tree, names, states)
    model = FactorGraph() if kind == "factor_graph" else DiscreteMarkovNetwork()
    model.add_nodes_from(names)
    for f in _order(tree):
        scope = tree.scope_names(f)
        values = _values(tree, f, scope)
        factor = DiscreteFactor(list(scope), values.shape, values, state_names={name: states[name] for name in scope})
        if kind == "markov":
            model.add_edges_from((a, b) for i, a in enumerate(scope) for b in scope[i + 1 :])
        elif factor in model:
            raise BadSpec(
                f"two factors over {scope} have the same table, and a FactorGraph of pgmpy takes equal factors "
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


def _bayesian(tree: Tree, names: list[Label], states: Mapping[Label, list[Any]]) -> DiscreteBayesianNetwork:
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    model = DiscreteBayesianNetwork()
    model.add_nodes_from(names)
    child_of = _child_of(tree)
    for f in _order(tree):
        child = child_of[f]
        scope = tree.scope_names(f)
        values = _values(tree, f, scope)
        axis = int(np.flatnonzero(tree.scope_of(f) == child)[0])
        sums = values.sum(axis=axis)
        evidence = scope[:axis] + scope[axis + 1 :]
        off = np.argwhere(~np.isclose(sums, 1.0, atol=SLACK))
        if len(off):
            given = ", ".join(f"{n} = {states[n][i]}" for n, i in zip(evidence, off[0], strict=True))
            raise BadSpec(
                f"factor {scope} is not a conditional table of {names[child]!r}: its entries sum to "
                f"{sums[tuple(off[0])]:.6g}{f' at {given}' if given else ''}, not to 1; normalise it, or convert to "
                "'factor_graph' or 'markov'"
            )
        columns = np.moveaxis(values, axis, 0)
        model.add_edges_from((name, names[child]) for name in evidence)
        model.add_cpds(
            TabularCPD(
                names[child],
                len(columns),
                columns.reshape(len(columns), -1),
                list(evidence) or None,
                columns.shape[1:] or None,
                state_names={name: states[name] for name in scope},
            )
        )
    return model


def _child_of(tree: Tree) -> list[int]:
    """The variable whose conditional table each factor is."""
    child, owner = produced(tree)
    f = next((f for f, v in enumerate(child) if v < 0), -1)
    if f >= 0:
        ownerless = [tree.names[int(v)] for v in tree.scope_of(f) if owner[v] < 0]
        why = (
            f"none of {listing(ownerless)} has a table of its own that could come before it, such as a prior"
            if ownerless
            else "each of its variables has another factor as its own table"
        )
        raise BadSpec(
            f"factor {tree.scope_names(f)} cannot be the conditional table of one variable: {why}. A Bayesian network "
            "has exactly one table per variable; convert to 'factor_graph' or 'markov' instead"
        )
    return child


def _values(tree: Tree, factor: int, scope: Sequence[Label]) -> np.ndarray:
    """The entries of a factor as a dense array."""
    potential = tree.potential_of(factor)
    if not isinstance(potential, Table) and (prod(potential.shape) > MOST_ENTRIES or potential.axes > 32):
        raise BadSpec(
            f"factor {shown(scope)} is sparse, but pgmpy holds dense tables only: it would have "
            f"{prod(potential.shape):,} entries on {potential.axes} axes (at most {MOST_ENTRIES:,} on 32 are converted)"
        )
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        values = np.append(potential.values, 0.0)[potential.entries()]
        log, back = potential.dense_log(), np.log(values)
        lost = ~((back == log) | (np.abs(back - log) < 1e-12))
    if lost.any():
        raise BadSpec(
            f"factor {shown(scope)} has the entry exp({log[lost][0]:.6g}), which pgmpy cannot hold: it stores the "
            "entries themselves as float64, not their logs. Scale the potential"
        )
    return values
