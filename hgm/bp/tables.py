"""What inference found, as tables with the names of variables and the labels of states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hgm.bp.assignment import Assignment
from hgm.tree.showing import TextTable, telling
from hgm.tree.tree import Tree

__all__ = ["COLUMNS", "ROWS", "called_states", "chances", "marginals_table", "states_table"]

ROWS = 60  # of a table
STATES = 6  # in a row of it
COLUMNS = 12  # of a table of samples


def chances(labels: Sequence[str], p: Sequence[float]) -> str:
    """The probability of each state, or of the likeliest ones: ``sunny 0.7965  rainy 0.2035``."""
    order = list(range(len(p)))
    if len(p) > STATES:
        order = np.argsort(-np.array(p), kind="stable")[: STATES - 1].tolist()
    more = f"  and {len(p) - len(order)} more" if len(order) < len(p) else ""
    return "  ".join(f"{labels[s]} {p[s]:.4f}" for s in order) + more


def called_states(tree: Tree, v: int) -> list[str]:
    """What the states of a variable are called in a table."""
    return telling(tree.labels(v) or range(int(tree.cardinality[v])))


def marginals_table(tree: Tree, marginals: Tensor, variables: Sequence[int]) -> TextTable:
    """A row for each of the first `ROWS` variables: its likeliest state, and the probability of each state.

    Args:
        tree: the model.
        marginals: ``(S, V)``.
        variables: their indices.
    """
    variables, rows = variables[:ROWS], []
    for name, v in zip(telling([tree.names[v] for v in variables]), variables, strict=True):
        p, labels = marginals[: int(tree.cardinality[v]), v].tolist(), called_states(tree, v)
        best = int(np.argmax(p))
        rows.append([name, labels[best], f"{p[best]:.4f}", chances(labels, p)])
    return TextTable(rows, ["variable", "likeliest", "probability", "marginal"])


def states_table(assignment: Assignment, variables: Sequence[int]) -> TextTable:
    """A row for each assignment, a column for each of the first `COLUMNS` variables."""
    tree, variables = assignment.tree, variables[:COLUMNS]
    called = [called_states(tree, v) for v in variables]
    states = assignment.states.reshape(-1, len(tree))[:, list(variables)].tolist()
    rows = [[called[i][s] for i, s in enumerate(row)] for row in states]
    return TextTable(rows, telling([tree.names[v] for v in variables]))
