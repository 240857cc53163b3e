"""Which maps a ReLU network needs: for every op of the plan its factors, grouped by table, and each group's matrices.

A factor over a parent and k children sends one message up and k messages down. Each is a matrix psi applied to

    x_c = sum_j h_j(take_j(c)),        f(x)_s = log sum_c psi(s, c) e^(x_c),

where the columns c run over the senders' states (edges) or over their combinations that the table allows (joint tables,
rules), and h_j are the messages of the other variables of the factor: a 0/1 convolution and a log-matrix.

**States that cannot be.** If potentials have zeros, some states have probability zero whatever the (finite) evidence;
they are taken out before anything is built. What remains of every table then has a non-zero entry in every row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from hgm.compiler.ops import Op, RulesOp
from hgm.compiler.plan import LevelStage, Plan
from hgm.errors import NoLoweringRule
from hgm.relu.constructions.logmatrix import contraction
from hgm.relu.pieces.piecewise import Floats
from hgm.tree.tree import Tree

__all__ = ["FactorGroup", "FactorMap", "StageMaps", "matrices", "stage_maps"]

Ints = np.ndarray


@dataclass(frozen=True, eq=False)
class FactorMap:
    """One message of the factors of a group: a matrix, and the columns' sources.

    Attributes:
        log_psi: ``(rows, columns)``, -inf for zeros; one row for each possible state of the receiver.
        takes: for each sender the state of every column, ``(columns,)`` each.
        rows: ``(rows,)`` the states of the receiver.
        tau: Birkhoff's coefficient of the matrix.
        complete: whether there is a column for every combination of the senders' possible states. If not, the input
            may lack its maximum, as the most likely combination can be one that the table forbids.
    """

    log_psi: Floats
    takes: tuple[Ints, ...]
    rows: Ints
    tau: float
    complete: bool

    @property
    def reach(self) -> float:
        """Largest difference between two outputs for any input; infinite with zeros."""
        if np.isneginf(self.log_psi).any():
            return np.inf if len(self.rows) > 1 else 0.0
        return float(np.ptp(self.log_psi, axis=0).max())


@dataclass(frozen=True, eq=False)
class FactorGroup:
    """Factors of one op with one table and the same possible states.

    Attributes:
        factors: ``(F,)`` their places in the op.
        maps: the message up, then the messages down to each child.
        potential: index of their potential.
    """

    factors: Ints
    maps: tuple[FactorMap, ...]
    potential: int


@dataclass(frozen=True, eq=False)
class StageMaps:
    """The groups of every op of a stage, op by op."""

    plan: LevelStage
    groups: tuple[tuple[FactorGroup, ...], ...]

    @property
    def maps(self) -> list[FactorMap]:
        """Op by op, group by group."""
        return [spec for groups in self.groups for group in groups for spec in group.maps]


def stage_maps(plan: Plan, possible: np.ndarray) -> tuple[StageMaps, ...]:
    """The maps of every stage, root first; `possible` as from `hgm.tree.possible.possible_states`.

    Raises:
        NoLoweringRule: for a plan with stages that are not by levels.
    """
    maps = []
    for stage in plan.stages:
        if not isinstance(stage, LevelStage):
            raise NoLoweringRule(
                f"ReLU networks run plans by levels; this one has a {type(stage).__name__}: use schedule='levels'"
            )
        maps.append(StageMaps(stage, tuple(_groups(plan.tree, op, possible) for op in stage.ops)))
    return tuple(maps)


def _groups(tree: Tree, op: Op, possible: np.ndarray) -> tuple[FactorGroup, ...]:
    factors = op.factors
    size = op.children + 1
    members = tree.scope[tree.scope_ptr[factors][:, None] + np.arange(size)]  # (F, k + 1)
    axes = np.stack([np.r_[up, np.delete(np.arange(size), up)] for up in range(size)])[tree.up[factors]]
    members = np.take_along_axis(members, axes, 1)  # the parent first
    key = np.column_stack([tree.potential_id[factors], tree.up[factors]])
    if not possible.all() or (tree.cardinality != len(possible)).any():
        states = np.unique(possible, axis=1, return_inverse=True)[1].ravel()
        key = np.column_stack([key, states[members]])
    _, first, which = np.unique(key, axis=0, return_index=True, return_inverse=True)
    which = which.ravel()
    groups = []
    for g in np.argsort(first):
        f = int(first[g])
        allowed = [np.flatnonzero(possible[:, v]) for v in members[f]]
        maps = matrices(op, tree, int(factors[f]), allowed)
        groups.append(FactorGroup(np.flatnonzero(which == g), maps, int(tree.potential_id[factors[f]])))
    return tuple(groups)


@singledispatch
def matrices(op: Op, tree: Tree, factor: int, allowed: Sequence[Ints]) -> tuple[FactorMap, ...]:
    """The maps of one factor of an op: up, then down to each child. Open to users, as `layer_for` is.

    By default the columns are the joint states of the senders, without those that the table never allows; that is right
    for every op, and a kind of op with very large tables may know better.

    Args:
        op: the plan's op.
        tree: the tree.
        factor: index of the factor.
        allowed: possible states of the parent, then of each child.
    """
    table = np.moveaxis(tree.potential_of(factor).dense_log(), int(tree.up[factor]), 0)[np.ix_(*allowed)]
    maps = []
    for receiver in range(table.ndim):
        matrix = np.moveaxis(table, receiver, 0)
        senders = [states for i, states in enumerate(allowed) if i != receiver]
        flat = matrix.reshape(len(matrix), -1)
        used = np.flatnonzero(~np.isneginf(flat).all(axis=0))
        places = np.unravel_index(used, matrix.shape[1:])
        takes = tuple(states[place] for states, place in zip(senders, places, strict=True))
        maps.append(_map(flat[:, used], takes, allowed[receiver], len(used) == flat.shape[1]))
    return tuple(maps)


@matrices.register
def _sparse(op: RulesOp, tree: Tree, factor: int, allowed: Sequence[Ints]) -> tuple[FactorMap, ...]:
    """Columns are the joint states of the senders that some rule allows."""
    weights = tree.potential_of(factor).log_potential
    keep = np.logical_and.reduce([np.isin(op.states[:, i], states) for i, states in enumerate(allowed)])
    keep &= ~np.isneginf(weights)
    states, weights = op.states[keep], weights[keep]
    maps = []
    for receiver, rows in enumerate(allowed):
        senders = [i for i in range(len(allowed)) if i != receiver]
        columns, column = np.unique(states[:, senders], axis=0, return_inverse=True)
        matrix = np.full((len(rows), len(columns)), -np.inf)
        np.logaddexp.at(matrix, (np.searchsorted(rows, states[:, receiver]), column.ravel()), weights)
        combinations = math.prod(len(allowed[i]) for i in senders)
        maps.append(_map(matrix, tuple(columns.T), rows, len(columns) == combinations))
    return tuple(maps)


def _map(log_psi: Floats, takes: tuple[Ints, ...], rows: Ints, complete: bool) -> FactorMap:
    return FactorMap(log_psi, takes, rows, contraction(log_psi) if len(rows) > 1 else 0.0, complete)
