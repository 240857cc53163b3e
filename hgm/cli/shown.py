"""Results as text: tables for readers, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from hgm.bp.assignment import Assignment, Mode
from hgm.errors import HgmError
from hgm.tree.tree import Tree

__all__ = [
    "as_csv",
    "as_json",
    "marginals_by_name",
    "marginals_table",
    "mode_by_name",
    "states_by_name",
    "states_table",
]

ROWS = 60  # of a table of marginals
STATES = 6  # in a row of it
COLUMNS = 12  # of a table of samples


def marginals_by_name(tree: Tree, marginals: torch.Tensor, variables: np.ndarray) -> dict[str, Any]:
    """For each variable the probability of each state: by label, or a list if the states have none."""
    out: dict[str, Any] = {}
    for v in variables.tolist():
        p = marginals[: int(tree.cardinality[v]), v].tolist()
        labels = tree.labels(v)
        out[tree.names[v]] = p if labels is None else dict(zip(labels, p, strict=True))
    return out


def marginals_table(tree: Tree, marginals: torch.Tensor, variables: np.ndarray) -> str:
    """A row for each variable: its likeliest state, and the probability of each state."""
    rows = []
    for v in variables[:ROWS].tolist():
        p = marginals[: int(tree.cardinality[v]), v].tolist()
        labels = tree.labels(v) or tuple(map(str, range(len(p))))
        best = int(np.argmax(p))
        order = list(range(len(p)))
        if len(p) > STATES:
            order = np.argsort(-np.array(p), kind="stable")[: STATES - 1].tolist()
        shown = "  ".join(f"{labels[s]} {p[s]:.4f}" for s in order)
        more = f"  and {len(p) - len(order)} more" if len(order) < len(p) else ""
        rows.append([tree.names[v], labels[best], f"{p[best]:.4f}", shown + more])
    table = tabulate(rows, ["variable", "likeliest", "probability", "marginal"], disable_numparse=True)
    left_out = len(variables) - len(rows)
    note = f"... and {left_out:,} more variables: name those you want with --query, or take --json for all"
    return f"{table}\n{note}" if left_out else table


def mode_by_name(mode: Mode, variables: np.ndarray) -> dict[str, Any]:
    """The mode's states by name, and its log probability."""
    return {
        "states": states_by_name(mode, variables),
        "log_prob": float(mode.log_prob),
        "log_score": float(mode.log_score),
    }


def states_by_name(assignment: Assignment, variables: np.ndarray) -> Any:
    """States by name, as labels where there are labels: a mapping, or a list of them for samples."""
    tree = assignment.tree
    columns = {tree.names[v]: assignment.labels(tree.names[v]) for v in variables.tolist()}
    if assignment.states.ndim == 1:
        return columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def states_table(assignment: Assignment, variables: np.ndarray) -> str:
    """A row for each sample, a column for each variable."""
    shown = variables[:COLUMNS]
    rows = [list(row.values()) for row in states_by_name(assignment, shown)]
    headers = [assignment.tree.names[v] for v in shown.tolist()]
    table = tabulate(rows, headers, disable_numparse=True)
    left_out = len(variables) - len(shown)
    note = f"... and {left_out:,} more variables: name those you want with --query, or take --format csv or json"
    return f"{table}\n{note}" if left_out else table


def as_csv(assignment: Assignment, variables: np.ndarray) -> str:
    """A header of names, and a line for each sample. Raises `HgmError` if the output cannot hold a name or label."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([assignment.tree.names[v] for v in variables.tolist()])
    writer.writerows(row.values() for row in states_by_name(assignment, variables))
    text = out.getvalue().rstrip("\n")
    lacking = _lacking(text)
    if lacking:
        raise HgmError(
            f"the output is {sys.stdout.encoding}, which lacks {lacking!r}; set PYTHONIOENCODING=utf-8, or take JSON"
        )
    return text


def as_json(data: Any) -> str:
    """JSON that reads well: one line for each entry of the outermost container; infinities as in Python.

    Letters stand as they are, or as JSON escapes if the output lacks one.
    """
    ascii_only = bool(_lacking(json.dumps(data, ensure_ascii=False)))
    if isinstance(data, list) and data:
        return "[\n  " + ",\n  ".join(json.dumps(row, ensure_ascii=ascii_only) for row in data) + "\n]"
    return json.dumps(data, indent=2, ensure_ascii=ascii_only)


def _lacking(text: str) -> str:
    """The first letters that the encoding of the output lacks."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError as error:
        return text[error.start : error.end]
    return ""
