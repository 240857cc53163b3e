"""What a single value of a model file may be (states, names, tables of numbers), each checked by its own function."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from hgm.errors import BadSpec
from hgm.files.scalars import Unheld
from hgm.files.text import Key, pairs, shown
from hgm.tree.labels import Label, LabelSet, read_states
from hgm.tree.plain import label_of

__all__ = [
    "Arity",
    "LogWeights",
    "Name",
    "Shape",
    "States",
    "Variable",
    "Variables",
    "Weights",
    "Words",
    "problem",
]


def problem(message: str, *at: Key) -> PydanticCustomError:
    """An error below the value that is being checked, at the end of the way `at`."""
    return PydanticCustomError("hgm", "{message}", {"message": message, "at": at})


def _states(value: object) -> int | tuple[Label, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value < 2**31:
            raise problem(f"expected {'at least one state' if value < 1 else 'less than 2^31 states'}; got {value}")
        return value
    if isinstance(value, dict):
        return _coded(value)
    if not isinstance(value, list):
        raise problem(f"expected a number of states or a list of state labels; got {shown(value)}")
    if not value:
        raise problem("expected at least one state; got an empty list")
    labels = [_label(label, "a state label", i) for i, label in enumerate(value)]
    before: set[Label] = set()
    for i, label in enumerate(labels):
        if label in before:
            try:
                read_states(labels, "the variable")
            except BadSpec as error:
                raise problem(str(error), i) from None
        before.add(label)
    return tuple(labels)


def _coded(value: dict[Any, Any]) -> LabelSet:
    """Labels with ambiguity codes: ``{labels: [A, C, G, T], codes: {R: [A, G]}}``."""
    codes = pairs(value.get("codes"))
    if value.keys() != {"labels", "codes"} or codes is None:
        raise problem(f"expected labels, and codes with the labels that each stands for; got {shown(value)}")
    labels = _states(value["labels"])
    read: dict[Label, list[Label]] = {}
    for given, members, way in codes:
        code = _label(given, "an ambiguity code", "codes", *way)
        if code in read or not isinstance(members, list):
            what = f"the code {code!r} comes twice" if code in read else f"expected labels; got {shown(members)}"
            raise problem(what, "codes", *way)
        read[code] = [_label(label, "a state label", "codes", *way, i) for i, label in enumerate(members)]
        try:
            LabelSet(labels, {code: read[code]})  # type: ignore[arg-type]
        except BadSpec as error:
            raise problem(str(error), "codes", *way) from None
    return LabelSet(labels, read)  # type: ignore[arg-type]


def _label(value: object, what: str, *at: Key) -> Label:
    try:
        return label_of(value)
    except BadSpec as error:
        quote = "" if isinstance(value, (list, dict)) else "; if it is text, put it in quotes"
        raise problem(f"{what} is wrong: {error}{quote}", *at) from None


def _variable(value: object) -> Label:
    return _label(value, "a name")


def _variables(value: object) -> dict[Label, int | tuple[Label, ...]]:
    entries = pairs(value)
    if entries is None:
        raise problem(f"expected a mapping from names to states, or a list of pairs [name, states]; got {shown(value)}")
    if not entries:
        raise problem("expected at least one entry; got none")
    variables: dict[Label, int | tuple[Label, ...]] = {}
    for given, states, way in entries:
        name = _label(given, "a name", *way)
        if name in variables:
            raise problem(f"the name {name!r} comes twice", *way)
        try:
            variables[name] = _states(states)
        except PydanticCustomError as error:
            context = error.context or {}
            raise problem(context["message"], *way, *context["at"]) from None
    return variables


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

_LABEL = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, _LISTS]}  # a list is a tuple
_LABELS = {"type": "array", "items": _LABEL, "minItems": 1, "uniqueItems": True}
_CODE = {"type": "array", "prefixItems": [_LABEL, _LABELS], "minItems": 2, "maxItems": 2}
_CODES = {"anyOf": [{"type": "object", "additionalProperties": _LABELS}, {"type": "array", "items": _CODE}]}
_CODED = {"type": "object", "properties": {"labels": _LABELS, "codes": _CODES}, "required": ["labels", "codes"]}
_STATES = {"anyOf": [_WHOLE, _LABELS, _CODED | {"additionalProperties": False}]}
_PAIR = {"type": "array", "prefixItems": [_LABEL, _STATES], "minItems": 2, "maxItems": 2}
_VARIABLES = {
    "anyOf": [
        {"type": "object", "additionalProperties": _STATES, "minProperties": 1},
        {"type": "array", "items": _PAIR, "minItems": 1},
    ]
}

States = Annotated[int | tuple[Label, ...], PlainValidator(_states), WithJsonSchema(_STATES)]
Variable = Annotated[Label, PlainValidator(_variable), WithJsonSchema(_LABEL)]
Variables = Annotated[dict[Label, int | tuple[Label, ...]], PlainValidator(_variables), WithJsonSchema(_VARIABLES)]
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
