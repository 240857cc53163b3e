"""Text of a file to plain data (dicts, lists, strings, numbers), and the line on which a part of it stands.

YAML is read by the rules of YAML 1.2: ``no`` and ``on`` are strings, ``1e-5`` is a number, a date is a string. There
are no tags, anchors or aliases, so reading is safe and costs no more than the file's length. JSON may hold
``-Infinity``, as Python writes. A key is a string, number or boolean; a mapping with other keys is a list of pairs, in
JSON also one with keys that are no strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hgm.errors import BadSpec
from hgm.files.scalars import Malformed, real, scalar, whole
from hgm.files.whole import TEXT, checked_ending

__all__ = ["Document", "Key", "Way", "pairs", "read", "shown"]

Key = str | int | float | bool
Way = tuple[Key, ...]  # to a part of a file: keys of mappings, positions in lists
Token = tuple[str, Any, int]  # "open" with an empty container, "close", "key" or "value"; and the line

DEEPEST = 50  # levels of nesting; deeper files could exhaust the stack

_JSON = re.compile(
    r'(?P<open>[\[{])|(?P<close>[\]}])|(?P<key>"(?:[^"\\]|\\.)*+"(?=\s*:))|(?P<value>"(?:[^"\\]|\\.)*+"|[^\s,:\]}]+)'
)


@dataclass(frozen=True)
class Document:
    """A file as plain data.

    Attributes:
        path: of the file.
        text: what is in it.
        data: the same as dicts, lists, strings, numbers, booleans, ``None``, and `Unheld`.
    """

    path: Path
    text: str
    data: Any

    def line(self, way: Way) -> int:
        """The line of the part at the end of a way, or of the last part on the way that exists."""
        longest, line = -1, 1
        for spot, here in _spots((_json_tokens if _is_json(self.path) else _yaml_tokens)(self.text)):
            if len(spot) > longest and way[: len(spot)] == spot:
                longest, line = len(spot), here
        return line

    def error(self, way: Way, problem: str) -> BadSpec:
        """The error, to be raised, for a problem with one part of the file."""
        if not way:
            return BadSpec(f"{self.path}: {problem}")
        at, part = "", self.data
        for step in way:
            at += f"[{step}]" if isinstance(part, list) else f".{step if isinstance(step, str) else shown(step)}"
            inside = isinstance(part, (list, dict)) and (isinstance(part, list) or step in part)
            part = part[step] if inside else None
        return BadSpec(f"{self.path}, line {self.line(way)}: {at.removeprefix('.')}: {problem}")


def read(path: Path, what: str = "a model file") -> Document:
    """A .yaml, .yml or .json file as a `Document`, whose data are ``None`` if the file is empty or holds comments only.

    Raises:
        BadSpec: if there is no such file, or it has another ending, or is no text, too large, or not well-formed.
    """
    checked_ending(path, what, TEXT)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadSpec(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise BadSpec(f"{path} is a directory; {what} is one file") from None
    except OSError as error:
        raise BadSpec(f"{path} cannot be read: {error.strerror}") from None
    except MemoryError:
        raise BadSpec(f"{path} is too large for this machine") from None
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise BadSpec(f"{path} is not a text file in UTF-8: {byte}") from None
    try:
        return Document(
            path, text, None if not text.strip() else _json_data(text) if _is_json(path) else _built(_yaml_tokens(text))
        )
    except Malformed as error:
        raise BadSpec(f"{path}{f', line {error.line}' if error.line else ''}: {error}") from None


def pairs(value: object) -> list[tuple[Any, Any, Way]] | None:
    """Key, value and the way to the value for each entry of a mapping or a list of pairs; ``None`` if it is neither."""
    if isinstance(value, dict):
        return [(key, part, (key,)) for key, part in value.items()]
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return [(key, part, (i, 1)) for i, (key, part) in enumerate(value)]
    return None


def shown(value: object, most: int = 60) -> str:
    """A value as JSON shows it, cut to `most` characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= most else text[: most - 4] + " ..."


class _TwiceError(Exception):
    """One key twice in a mapping."""


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


# ---------------------------------------------------------------------- tokens to data and lines


def _built(tokens: Iterable[Token]) -> object:
    top: list[Any] = []
    open_: list[Any] = [top]
    keys: list[Key] = [""]
    for kind, value, line in tokens:
        if kind == "close":
            open_.pop()
            keys.pop()
            continue
        into = open_[-1]
        if kind == "key":
            if value in into:
                first = next(key for key in into if key == value)
                equal = "" if type(first) is type(value) else f", as {shown(first)}, which is equal"
                raise Malformed(f"the key {value!r} comes twice in one mapping{equal}", line)
            keys[-1] = value
            into[value] = None
            continue
        if isinstance(into, dict):
            into[keys[-1]] = value
        else:
            into.append(value)
        if kind == "open":
            open_.append(value)
            keys.append("")
    return top[0] if top else None


def _spots(tokens: Iterable[Token]) -> Iterator[tuple[Way, int]]:
    """The way to every part, and its line."""
    way: list[Key] = []  # for each open container the part that is being read; -1 before the first of a list
    lists: list[bool] = []  # whether each is a list
    for kind, value, line in tokens:
        if kind == "close":
            way.pop()
            lists.pop()
        elif kind == "key":
            way[-1] = value
            yield tuple(way), line
        else:
            if way and lists[-1]:
                way[-1] += 1  # type: ignore[operator]
                yield tuple(way), line
            if kind == "open":
                lists.append(isinstance(value, list))
                way.append(-1 if lists[-1] else "")


# ---------------------------------------------------------------------- YAML


def _yaml_tokens(text: str) -> Iterator[Token]:
    """From the parser's events and not from its composer, which recurses without a limit."""
    open_: list[bool | None] = []  # for each open mapping whether a key comes next, for each list None
    for event in _events(text):
        line = event.start_mark.line + 1
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            open_.pop()
            yield "close", None, line
            continue
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Malformed(
                f"anchors and aliases ({event.anchor!r}) are not used; name what is shared in 'potentials'", line
            )
        if not isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            continue
        if event.tag is not None:
            raise Malformed(f"tags ({event.tag}) are not used", line)
        is_key = bool(open_ and open_[-1])
        if open_ and open_[-1] is not None:
            open_[-1] = not is_key
        if isinstance(event, yaml.ScalarEvent):
            value = scalar(event.value, line) if event.implicit[0] else event.value
            if is_key and not isinstance(value, str | int | float):
                raise Malformed(f"a key must be a string, number or boolean; put {event.value or 'it'} in quotes", line)
            yield "key" if is_key else "value", value, line
        else:
            if is_key:
                raise Malformed(
                    "a key must be a string, number or boolean, not a list or mapping; "
                    "write the mapping as a list of pairs, - [key, value]",
                    line,
                )
            if len(open_) == DEEPEST:
                raise Malformed(f"nested deeper than {DEEPEST} levels", line)
            mapping = isinstance(event, yaml.MappingStartEvent)
            open_.append(True if mapping else None)
            yield "open", {} if mapping else [], line


def _events(text: str) -> Iterator[Any]:
    documents = 0
    try:
        events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for event in events:
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise Malformed("a file holds one model, but a second document starts here", event.start_mark.line + 1)
            yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(filter(None, [error.context, error.problem]))
        raise Malformed(f"this is not YAML: {problem}", mark.line + 1 if mark is not None else 0) from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split()).replace('in "<unicode string>", ', "at ")  # which nobody wrote
        raise Malformed(f"this is not YAML: {problem}") from None


# ---------------------------------------------------------------------- JSON


def _json_data(text: str) -> object:
    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise _TwiceError
        return dict(pairs)

    try:
        data = json.loads(text, object_pairs_hook=mapping, parse_int=whole, parse_float=real)
    except json.JSONDecodeError as error:
        raise Malformed(f"this is not JSON: {error.msg}, column {error.colno}", error.lineno) from None
    except RecursionError:
        raise Malformed(f"nested deeper than {DEEPEST} levels") from None
    except _TwiceError:
        return _built(_json_tokens(text))  # which says where
    layer = [data] if isinstance(data, (dict, list)) else []
    for _ in range(DEEPEST):
        layer = [part for whole in layer for part in (whole.values() if isinstance(whole, dict) else whole)]
        layer = [part for part in layer if isinstance(part, (dict, list))]
    if layer:
        raise Malformed(f"nested deeper than {DEEPEST} levels")
    return data


def _json_tokens(text: str) -> Iterator[Token]:
    """Of a text that is known to be JSON; without the values, which `json` reads."""
    line, counted = 1, 0
    for match in _JSON.finditer(text):
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        kind, part = str(match.lastgroup), match[0]
        empty: dict[str, Any] | list[Any] = {} if part == "{" else []
        yield kind, json.loads(part) if kind == "key" else empty if kind == "open" else None, line
