"""Results as text: tables for readers, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import torch

from hgm.bp import tables
from hgm.bp.assignment import Assignment, Mode
from hgm.bp.tables import COLUMNS, ROWS, called_states
from hgm.cli.words import distinct
from hgm.errors import HgmError
from hgm.tree.labels import Label, StateNames
from hgm.tree.showing import telling
from hgm.tree.tree import Tree

__all__ = [
    "as_csv",
    "as_json",
    "marginals_by_name",
    "marginals_table",
    "mode_by_name",
    "mode_line",
    "states_by_name",
    "states_table",
]

#: texts that pandas takes for a missing value
NO_VALUE = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null"]
)  # fmt: skip


def marginals_by_name(tree: Tree, marginals: torch.Tensor, variables: np.ndarray) -> dict[str, Any]:
    """For each variable the probability of each state: by label, or a list if the states have none.

    Raises `HgmError` if two names, or two labels of a variable, have the same text.
    """
    out: dict[str, Any] = {}
    for name, v in zip(_names(tree, variables), variables.tolist(), strict=True):
        p = marginals[: int(tree.cardinality[v]), v].tolist()
        labels = tree.labels(v)
        what = f"the states of variable {tree.names[v]!r} called"
        out[name] = p if labels is None else dict(zip(distinct(labels, what), p, strict=True))
    return out


def marginals_table(tree: Tree, marginals: torch.Tensor, variables: np.ndarray) -> str:
    """A row for each variable: its likeliest state, and the probability of each state."""
    table = tables.marginals_table(tree, marginals, variables.tolist()).text()
    left_out = len(variables) - ROWS
    note = f"... and {left_out:,} more variables: name those you want with --query, or take --json for all"
    return f"{table}\n{note}" if left_out > 0 else table


def mode_by_name(mode: Mode, variables: np.ndarray) -> dict[str, Any]:
    """The mode's states by name, and its log probability."""
    return {
        "states": states_by_name(mode, variables),
        "log_prob": float(mode.log_prob),
        "log_score": float(mode.log_score),
    }


def mode_line(mode: Mode, variables: np.ndarray) -> str:
    """The mode's states as ``name=state``."""
    names = telling([mode.tree.names[v] for v in variables.tolist()])
    states = [called_states(mode.tree, v)[int(mode.states[v])] for v in variables.tolist()]
    return ", ".join(f"{name}={state}" for name, state in zip(names, states, strict=True))


def states_by_name(assignment: Assignment, variables: np.ndarray) -> Any:
    """States by name, as labels where there are labels: a mapping, or a list of them for samples.

    Raises `HgmError` if two names have the same text.
    """
    names, columns = _names(assignment.tree, variables), _columns(assignment, variables)
    if assignment.states.ndim == 1:
        return dict(zip(names, columns, strict=True))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _names(tree: Tree, variables: np.ndarray) -> list[str]:
    return distinct([tree.names[v] for v in variables.tolist()], "the variables called")


def _columns(assignment: Assignment, variables: np.ndarray) -> list[Any]:
    """For each variable its state, or its states in all samples."""
    return [assignment.labels(assignment.tree.names[v]) for v in variables.tolist()]


def states_table(assignment: Assignment, variables: np.ndarray) -> str:
    """A row for each sample, a column for each variable."""
    table = tables.states_table(assignment, variables.tolist()).text()
    left_out = len(variables) - COLUMNS
    note = f"... and {left_out:,} more variables: name those you want with --query, or take --format csv or json"
    return f"{table}\n{note}" if left_out > 0 else table


def as_csv(assignment: Assignment, variables: np.ndarray) -> str:
    """A header of names, and a line for each sample.

    Raises `HgmError` if the output cannot hold a name or label, or a reader would take a label for another.
    """
    tree, names = assignment.tree, _names(assignment.tree, variables)
    labels = [tree.labels(v) or () for v in variables.tolist()]
    for v in variables.tolist():
        _check_read_back(tree.names[v], tree.state_names(v))
    returns = any("\r" in str(thing) for things in (names, *labels) for thing in things)  # which would end a line
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL)
    writer.writerow(names)
    writer.writerows(zip(*_columns(assignment, variables), strict=True))
    text = out.getvalue().removesuffix("\n")
    lacking = _lacking(text)
    if lacking:
        raise HgmError(
            f"the output is {sys.stdout.encoding}, which lacks {lacking!r}; set PYTHONIOENCODING=utf-8, or take JSON"
        )
    return text


def _check_read_back(name: Label, states: StateNames) -> None:
    """Raises `HgmError` if a reader that guesses types, as pandas does, finds another state in a label's text."""
    for i, label in enumerate(states.labels or ()):
        text = str(label)
        if text in NO_VALUE:
            raise HgmError(
                f"the label {label!r} of variable {name!r} stands for a missing value in CSV; take --format json"
            )
        for back in (text, _guessed(text)):
            found = states.find(back)
            if found is not None and found != i:
                raise HgmError(
                    f"the labels {label!r} and {states.labels[found]!r} of variable {name!r} cannot be told apart "  # type: ignore[index]
                    "in CSV; take --format json"
                )


def _guessed(text: str) -> object:
    """The number or boolean that a text is to a reader of CSV, or else the text."""
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    try:
        return float(text)
    except ValueError:
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
