"""A `Tree` to the text of a model file, exactly: floats by `repr`, tying by name."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hgm.errors import BadSpec, HgmError
from hgm.tree.labels import LabelSet
from hgm.tree.names import GridNames
from hgm.tree.plain import held
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree
from hgm.zoo.hierarchy import Level, ghm

__all__ = ["MADE_UP", "explicit", "json_text", "layered", "yaml_text"]

WIDTH = 100  # of a line, where it can be broken
MADE_UP = re.compile(r"p\d+")  # keys of potentials without a name


# ---------------------------------------------------------------------- tree to plain data


def explicit(tree: Tree) -> dict[str, Any]:
    """The tree as plain data, variable by variable and factor by factor."""
    uses = np.bincount(tree.potential_id, minlength=len(tree.potentials))
    shared = [i for i in range(len(tree.potentials)) if uses[i] != 1]
    # reading numbers the shared ones first and the others as they come; if that is another order, all are listed
    alone = [i for i in tree.potential_id.tolist() if uses[i] == 1]
    listed = shared if shared + alone == list(range(len(tree.potentials))) else range(len(tree.potentials))
    names = _keys(tree, listed)
    called, sets = [held(name, "the name of a variable") for name in tree.names], _label_sets(tree)
    factors = []
    for f, i in enumerate(tree.potential_id.tolist()):
        what = {"potential": names[i]} if i in names else _entry(tree.potentials[i])
        factors.append({"scope": [called[v] for v in tree.scope_of(f).tolist()], **what})
    data: dict[str, Any] = {
        "hgm": 1,
        "variables": {name: _declared(_states(tree, sets, v)) for v, name in enumerate(called)},
    }
    data["roots"] = [called[v] for v in tree.roots.tolist()]
    if names:
        data["potentials"] = {name: _entry(tree.potentials[i], name) for i, name in names.items()}
    return data | {"factors": factors}


def layered(tree: Tree) -> dict[str, Any] | None:
    """The tree as plain data, level by level; ``None`` if it is not a layered model or that would lose something."""
    if tree.grid is None or not isinstance(tree.names, GridNames) or tree.names.shapes != tree.grid:
        return None
    counts = [math.prod(shape) for shape in tree.grid]
    above = np.flatnonzero(np.diff(tree.scope_ptr) == 1)
    if np.diff(tree.level_ptr).tolist() != counts or tree.parent[above].tolist() != [0]:
        return None
    slots = [tree.potential_id[above].tolist()]  # of the prior, then of each level
    arities: list[int | tuple[int, ...]] = []
    for level in range(1, len(counts)):
        over, shape = tree.grid[level - 1] or (1,) * len(tree.grid[level]), tree.grid[level]
        ratio = tuple(n // m for n, m in zip(shape, over, strict=True))
        arities.append(ratio[0] if len(ratio) == 1 else ratio)
        slots.append(_slot(tree, level, ratio))
    uses = Counter(i for slot in slots for i in slot)
    names = _keys(tree, [i for i in sorted(uses) if uses[i] > 1])
    sets = _label_sets(tree)

    levels = [
        Level(
            arities[i - 1],  # type: ignore[arg-type]
            _states(tree, sets, int(tree.level_ptr[i])),
            [tree.potentials[k] for k in slots[i]],
            name=tree.names.prefixes[i],
        )
        for i in range(1, len(counts))
    ]
    try:
        again = ghm(
            levels, _states(tree, sets, 0), prior=tree.potentials[slots[0][0]], root_name=tree.names.prefixes[0]
        )  # only what comes back as it was may be written so
    except HgmError:
        return None
    if again != tree or again.grid != tree.grid:
        return None

    def entry(i: int) -> Any:
        return names[i] if i in names else _entry(tree.potentials[i])

    root = {"name": tree.names.prefixes[0], "states": _declared(_states(tree, sets, 0))}
    prior = entry(slots[0][0])
    root["prior"] = prior["table"] if isinstance(prior, dict) and prior.keys() == {"table"} else prior
    data: dict[str, Any] = {"hgm": 1, "root": root, "grid": list(tree.grid[-1])}
    if not data["grid"]:
        del data["grid"]
    if names:
        data["potentials"] = {name: _entry(tree.potentials[i], name) for i, name in names.items()}
    data["levels"] = [
        {"name": level.name, "arity": level.arity, "states": _declared(level.states)}
        | {"potential": entry(slot[0]) if len(slot) == 1 else [entry(i) for i in slot]}
        for level, slot in zip(levels, slots[1:], strict=True)
    ]
    return data


def _slot(tree: Tree, level: int, arity: tuple[int, ...]) -> list[int]:
    """The potentials of a level: one for all, or one for each sibling position, each node or each parent."""
    nodes = tree.at_level(level)
    ids = tree.potential_id[tree.parent_factor[nodes]]
    factors = np.unique(tree.parent_factor[nodes])
    if len(factors) < len(nodes):  # joint factors, in the order of their parents
        ids = tree.potential_id[factors]
    if (ids == ids[0]).all():
        return [int(ids[0])]
    if len(factors) == len(nodes):
        coordinates = np.indices(tree.grid[level]).reshape(len(arity), -1) % np.array(arity)[:, None]  # type: ignore[index]
        position = np.ravel_multi_index(tuple(coordinates), arity)
        _, first = np.unique(position, return_index=True)
        if (ids == ids[first][position]).all():
            return [int(i) for i in ids[first]]
    return [int(i) for i in ids]


def _label_sets(tree: Tree) -> list[LabelSet]:
    """The label sets, of labels that a file can hold."""
    sets = ([held(label, "a state label") for label in labels] for labels in tree.label_sets)
    return [LabelSet(own, getattr(labels, "codes", {})) for own, labels in zip(sets, tree.label_sets, strict=True)]


def _states(tree: Tree, label_sets: list[LabelSet], variable: int) -> int | LabelSet:
    which = int(tree.label_set[variable])
    return int(tree.cardinality[variable]) if which < 0 else label_sets[which]


def _declared(states: Any) -> Any:
    """Number of states, labels, or ``{labels: [...], codes: {...}}``."""
    if not isinstance(states, LabelSet):
        return states
    if not states.codes:
        return list(states)
    codes = {held(c, "an ambiguity code"): [x for x in states if x in own] for c, own in states.codes.items()}
    return {"labels": list(states), "codes": _paired({"codes": codes}, (str,))["codes"]}


def _keys(tree: Tree, listed: Iterable[int]) -> dict[int, str]:
    """Keys of some potentials: their names, if they have any that no key could be made up as."""
    names = {i: tree.potentials[i].name for i in listed}
    made_up = {i for i, name in names.items() if name is None or MADE_UP.fullmatch(name)}
    return {i: f"p{n}" if i in made_up else str(name) for n, (i, name) in enumerate(names.items())}


def _entry(potential: Potential, key: str | None = None) -> dict[str, Any]:
    """A potential as it was given, by its entries or by their logs; with its name unless `key` is that."""
    exact, name = potential.has_values, {}
    if potential.name is not None and (potential.name != key or MADE_UP.fullmatch(key)):
        name = {"name": potential.name}
    entries = (potential.values if exact else potential.log_potential).tolist()
    if type(potential) is Rules:
        rules = {"shape": list(potential.shape), "states": potential.states.tolist()}
        return name | {"rules": rules | {"weights" if exact else "log_weights": entries}}
    if type(potential) not in (Edge, Table):
        raise BadSpec(f"a potential of the kind {type(potential).__name__} cannot be written to a file; use a Table")
    kind = {"kind": "table"} if potential.axes == 2 and not isinstance(potential, Edge) else {}
    return name | kind | {"table" if exact else "log_table": entries}


# ---------------------------------------------------------------------- plain data to text


@dataclass(frozen=True)
class _Style:
    string: Callable[[str], str]
    number: Callable[[float], str]


def yaml_text(data: Mapping[str, Any]) -> str:
    """Plain data as YAML that readers of YAML 1.1 and 1.2 take alike: blocks outside, short lists in brackets."""
    return "\n".join(_yaml_block(_paired(data, (str, int, float)), 0)) + "\n"


def json_text(data: Mapping[str, Any]) -> str:
    """Plain data as JSON; minus infinity becomes the string ``"-inf"``."""
    return _json_block(_paired(data, (str,)), 0) + "\n"


def _paired(data: Mapping[str, Any], keys: tuple[type, ...]) -> dict[str, Any]:
    """The data; a section with other keys than of these types is a list of pairs."""

    def spelled(part: Any) -> Any:
        if not isinstance(part, dict) or all(isinstance(key, keys) for key in part):
            return part
        return [[key, value] for key, value in part.items()]

    return {key: spelled(part) for key, part in data.items()}


def _yaml_block(value: dict[str, Any] | list[Any], indent: int) -> list[str]:
    pad, lines = " " * indent, []
    for key, part in value.items() if isinstance(value, dict) else ((None, part) for part in value):
        lead = "-" if key is None else f"{_flat(key, _YAML)}:"
        flat = _one_line(part, _YAML, WIDTH - indent - len(lead))
        if len(lead) > 1000:  # the longest key in one line is 1024 characters
            lines.append(f"{pad}? {lead[:-1]}")
            lead = ":"
        if flat is not None:
            lines.append(f"{pad}{lead} {flat}")
        else:
            inner = _yaml_block(part, indent + 2)
            if lead in "-:":
                inner[0] = f"{pad}{lead} {inner[0][indent + 2 :]}"
            else:
                lines.append(pad + lead)
            lines += inner
    return lines


def _json_block(value: Any, indent: int) -> str:
    flat = _one_line(value, _JSON, WIDTH - indent)
    if flat is not None:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        inner = [f"{pad}{_JSON.string(key)}: {_json_block(part, indent + 2)}" for key, part in value.items()]
    else:
        inner = [pad + _json_block(part, indent + 2) for part in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    return start + "\n" + ",\n".join(inner) + "\n" + " " * indent + end


def _one_line(value: Any, style: _Style, room: int) -> str | None:
    """The text of a value, if it has room in one line or stays in one however long: scalars and rows of numbers."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return _flat(value, style)
    if not isinstance(value, dict) and all(isinstance(end, (int, float)) for end in (value[0], value[-1])):
        return _flat(value, style)
    if 3 * len(value) > room or _numbers(value) > room // 3:  # at least three characters each: not worth trying
        return None
    flat = _flat(value, style)
    return flat if len(flat) < room else None


def _numbers(value: Any) -> int:
    """How many numbers nested lists hold, judged by the first of each."""
    return len(value) * _numbers(value[0]) if isinstance(value, list) and value else 1


def _flat(value: Any, style: _Style) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(k, style)}: {_flat(v, style)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([_flat(v, style) for v in value]) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return style.string(value) if isinstance(value, str) else style.number(value)


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*")
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # not strings for one or other reader
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _yaml_string(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _UNPRINTABLE.sub(lambda c: f"\\u{ord(c[0]):04x}", quoted) + '"'


def _yaml_number(value: float) -> str:
    text = repr(value)
    if "inf" in text:
        return text.replace("inf", ".inf")
    return text.replace("e", ".0e") if "e" in text and "." not in text else text  # YAML 1.1 asks for the dot


_YAML = _Style(_yaml_string, _yaml_number)
_JSON = _Style(lambda text: json.dumps(text, ensure_ascii=False), lambda x: '"-inf"' if x == -math.inf else repr(x))
