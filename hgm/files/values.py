"""What a single value of a model file may be (states, names, tables of numbers), each checked by its own function."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from hgm.files.text import Unheld, shown

__all__ = ["Arity", "LogWeights", "Name", "Shape", "States", "Weights", "Words", "problem"]


def problem(message: str, *at: str | int) -> PydanticCustomError:
    """An error below the value that is being checked, at the end of the way `at`."""
    return PydanticCustomError("hgm", "{message}", {"message": message, "at": at})


def _states(value: object) -> int | tuple[str, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value < 2**31:
            raise problem(f"expected {'at least one state' if value < 1 else 'less than 2^31 states'}; got {value}")
        return value
    if not isinstance(value, list):
        raise problem(f"expected a number of states or a list of state labels; got {shown(value)}")
    if not value:
        raise problem("expected at least one state; got an empty list")
    before: set[str] = set()
    for i, label in enumerate(value):
        if not isinstance(label, str):
            raise problem(f"expected a state label, which is a string; got {shown(label)}{_quote(label)}", i)
        if label in before:
            raise problem(f"expected distinct state labels; got {shown(label)} twice", i)
        before.add(label)
    return tuple(value)


def _quote(value: object) -> str:
    return f': write "{shown(value)}"' if isinstance(value, (int, float)) else ""


def _arity(value: object) -> int | tuple[int, int]:
    for m in value if isinstance(value, list) and len(value) == 2 else [value]:
        if not isinstance(m, int) or isinstance(m, bool) or m < 1:
            raise problem(f"expected a whole number of at least 1, or two of them [rows, columns]; got {shown(value)}")
    return value if isinstance(value, int) else tuple(value)  # type: ignore[return-value, arg-type]


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise problem(f"expected a name, which is a string; got {shown(value)}{_quote(value)}")
    return value


def _weights(value: object) -> np.ndarray:
    return _numbers(
        value, "a non-negative number", 0.0, "its natural log in a log_table (rules: log_weights), or 0 for a zero"
    )


def _log_weights(value: object) -> np.ndarray:
    return _numbers(value, "a number or -inf", -np.inf, "-inf for the log of 0, or 0 for the log of 1")


def _numbers(value: object, expected: str, least: float, instead: str) -> np.ndarray:
    """Nested lists of numbers as an array; every entry is at least `least` and below infinity.

    `instead` says what to write for a number that float64 does not hold.
    """
    shape: list[int] = []
    layer: list[Any] = [value]

    def way(i: int) -> list[int]:
        """Where entry `i` of the layer stands in the nested lists."""
        return [int(k) for k in np.unravel_index(i, shape)] if shape else []

    while isinstance(layer[0], list):
        size = len(layer[0])
        for i, row in enumerate(layer):
            if not isinstance(row, list):
                raise problem(f"expected a list of {size}, like those before it; got {shown(row)}", *way(i))
            if len(row) != size:
                raise problem(f"expected {size} entries, like the lists before it; got {len(row)}", *way(i))
        if size == 0:
            raise problem("expected numbers; got an empty list")
        shape.append(size)
        layer = [entry for row in layer for entry in row]
    if not shape:
        raise problem(f"expected a list of numbers; got {shown(value)}")
    layer = [-np.inf if entry == "-inf" else entry for entry in layer]
    bad = [i for i, entry in enumerate(layer) if type(entry) not in (int, float) or not least <= entry < np.inf]
    if bad:
        at, entry = way(bad[0]), layer[bad[0]]
        if isinstance(entry, Unheld):
            raise problem(f"expected {expected} that float64 can hold; got {entry}: write {instead}", *at)
        raise problem(f"expected {expected}; got {shown(entry)}", *at)
    try:
        return np.array(layer, dtype=np.float64).reshape(shape)
    except OverflowError:
        i = max(range(len(layer)), key=lambda j: abs(layer[j]))
        raise problem(f"expected {expected}; got {shown(layer[i])}, too large for a float", *way(i)) from None


def _words(value: object) -> np.ndarray:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise problem(f"expected a list of lists of states; got {shown(value)}")
    if not value:
        raise problem("expected at least one rule; got an empty list")
    for i, row in enumerate(value):
        if len(row) != len(value[0]):
            raise problem(f"expected {len(value[0])} states, like the rules before it; got {len(row)}", i)
        for j, state in enumerate(row):
            if type(state) is not int or not 0 <= state < 2**31:
                raise problem(f"expected a state as a whole number from 0 on; got {shown(state)}", i, j)
    return np.array(value, dtype=np.int64).reshape(len(value), -1)


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(n) is int and 1 <= n < 2**31 for n in value):
        raise problem(f"expected a list of whole numbers of at least 1; got {shown(value)}")
    return tuple(value)


_WHOLE = {"type": "integer", "minimum": 1}
_LISTS: dict[str, Any] = {"type": "array"}  # deeper ones; a schema with more to say would have to refer to itself
_NUMBERS = {"type": "array", "items": {"anyOf": [{"type": "number", "minimum": 0}, _LISTS]}}
_LOGS = {"type": "array", "items": {"anyOf": [{"type": "number"}, {"const": "-inf"}, _LISTS]}}

States = Annotated[
    int | tuple[str, ...],
    PlainValidator(_states),
    WithJsonSchema(
        {"anyOf": [_WHOLE, {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}]}
    ),
]
Arity = Annotated[
    int | tuple[int, int],
    PlainValidator(_arity),
    WithJsonSchema({"anyOf": [_WHOLE, {"type": "array", "items": _WHOLE, "minItems": 2, "maxItems": 2}]}),
]
Name = Annotated[str, PlainValidator(_name), WithJsonSchema({"type": "string"})]
Weights = Annotated[np.ndarray, PlainValidator(_weights), WithJsonSchema(_NUMBERS)]
LogWeights = Annotated[np.ndarray, PlainValidator(_log_weights), WithJsonSchema(_LOGS)]
Words = Annotated[
    np.ndarray,
    PlainValidator(_words),
    WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0}}}),
]
Shape = Annotated[
    tuple[int, ...], PlainValidator(_shape), WithJsonSchema({"type": "array", "items": _WHOLE, "minItems": 1})
]
