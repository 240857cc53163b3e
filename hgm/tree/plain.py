"""Names and labels as plain data: what files hold of them, so that they come back with their types.

A file holds strings, booleans, finite numbers, and lists: a tuple is written as a list, and a list is read as a tuple.
"""

from __future__ import annotations

import json
from math import isfinite

import numpy as np

from hgm.errors import BadSpec
from hgm.tree.labels import Label, plain

__all__ = ["held", "label_of"]

LONGEST = 10**400  # no shorter than any float, and short enough for every reader
DEEPEST = 30  # tuples in each other


def held(label: Label, what: str) -> Label:
    """The label or name as a file can hold it: a number of NumPy inside a tuple is one of Python.

    Raises `BadSpec`, naming `what` is written, for what no file gives back as it was.
    """
    return _held(label, label, what, DEEPEST)


def _held(part: object, whole: Label, what: str, levels: int) -> Label:
    if isinstance(part, np.generic):
        part = plain(part)
    if type(part) is tuple and levels:
        return tuple(_held(inner, whole, what, levels - 1) for inner in part)
    if type(part) in (str, bool):
        return part
    if isinstance(part, (int, float)) and type(part) in (int, float):
        if isfinite(part) if isinstance(part, float) else abs(part) < LONGEST:
            return part
        shown = f"{part!r}" if isinstance(part, float) else "a whole number of more than 400 digits"
    else:
        shown = f"{part!r:.100} ({type(part).__name__})"
    inside = "" if part is whole else "in it "
    raise BadSpec(
        f"{what} cannot be written to a file: {inside}is {shown}; files hold strings, booleans, finite numbers, and "
        f"tuples of these up to {DEEPEST} levels deep"
    )


def label_of(given: object) -> Label:
    """The label or name that a file holds. Raises `BadSpec` for what is none, such as null or a mapping."""
    if isinstance(given, list):
        return tuple(label_of(part) for part in given)
    if type(given) in (str, bool, int) or (isinstance(given, float) and isfinite(given)):
        return given
    raise BadSpec(
        "expected a string, a boolean, a finite number, or a list of these; "
        f"got {json.dumps(given, default=str, ensure_ascii=False):.60}"
    )
