"""What a command line gives: a model, evidence by name, values. Every problem with it is one clear error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgm.errors import BadEvidence, BadSpec, did_you_mean, listing
from hgm.evidence.channel import CHANNELS, Channel
from hgm.evidence.channels import Missing
from hgm.tree.tree import Tree

__all__ = ["channel_of", "evidence_of", "queried"]


def evidence_of(tree: Tree, given: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Evidence by name, in the forms that `hgm.infer` takes, from ``name=value`` and a file.

    Raises:
        BadEvidence: for a part that is not ``name=value``, an unknown variable, a bad value, a variable given twice.
        BadSpec: for a file that cannot be read.
    """
    evidence: dict[str, Any] = {}
    for part in given:
        name, value = _split(tree, part)
        if name in evidence:
            raise BadEvidence(f"evidence for {name!r} is given twice")
        evidence[name] = _value(tree, name, value)
    for name, value in ({} if file is None else _read(tree, file)).items():
        if name in evidence:
            raise BadEvidence(f"evidence for {name!r} is given twice: on the command line and in {file}")
        evidence[name] = value
    return evidence


def queried(tree: Tree, names: Sequence[str]) -> np.ndarray:
    """``(n,)`` the variables that are asked for, each once; all in tree order if none is named."""
    if not names:
        return np.arange(len(tree))
    return np.array(list(dict.fromkeys(tree.index(name) for name in names)), dtype=np.int64)


def channel_of(name: str, values: str | None, missing: bool) -> Channel:
    """A channel by its name, with values such as ``0,1,2``. Raises `BadSpec` for unknown names and bad values."""
    table = None if values is None else _numbers(values)
    if values is not None and table is None:
        raise BadSpec(f"the values of a channel are numbers with commas between them; got {values!r}")
    known = {key: kind for key, kind in CHANNELS.items() if kind is not Missing}  # that one is an option of its own
    if name not in known:
        raise BadSpec(f"there is no channel {name!r}; there are {listing(list(known))}{did_you_mean(name, known)}")
    channel = known[name](None if table is None else table.tolist())
    return Missing(channel) if missing else channel


def _split(tree: Tree, part: str) -> tuple[str, str]:
    """Name and value; the name may hold a ``=`` itself."""
    cuts = [i for i, letter in enumerate(part) if letter == "="]
    if not cuts:
        raise BadEvidence(f"evidence is given as name=state or name=p0,p1,...; got {part!r}")
    for cut in cuts:
        try:
            tree.index(part[:cut])
        except BadEvidence:
            continue
        return part[:cut], part[cut + 1 :]
    return part[: cuts[0]], part[cuts[0] + 1 :]


def _value(tree: Tree, name: str, text: str) -> Any:
    """A state label or number, or a likelihood of each state."""
    v = tree.index(name)
    if text in (tree.labels(v) or ()):
        return text
    numbers = _numbers(text)
    if numbers is None:
        return tree.state(v, text)
    if "," not in text and text.strip().lstrip("+-").isdecimal():
        return tree.state(v, int(text))
    return _likelihood(tree, v, numbers)


def _likelihood(tree: Tree, v: int, numbers: Any) -> np.ndarray:
    """One number for each state."""
    states = int(tree.cardinality[v])
    if len(numbers) != states:
        raise BadEvidence(
            f"variable {tree.names[v]!r} has {states} states, so its likelihood is {states} numbers; got {len(numbers)}"
        )
    return np.array(numbers, dtype=np.float64)


def _numbers(text: str) -> np.ndarray | None:
    """The numbers of a list with commas, or ``None`` if it is none."""
    try:
        return np.array([float(part) for part in text.split(",")])
    except ValueError:
        return None


def _read(tree: Tree, file: Path) -> dict[str, Any]:
    """Evidence from a YAML or JSON file: a mapping from names to a state, a likelihood, or null."""
    from hgm.files.text import read, shown
    from hgm.files.whole import TEXT, checked_ending

    checked_ending(file, "an evidence file", TEXT)
    if file.is_file() and not file.read_bytes().strip():
        return {}
    document = read(file)
    if not isinstance(document.data, Mapping):
        raise document.error((), "expected a mapping from variables to what was seen of them")
    evidence: dict[str, Any] = {}
    for name, value in document.data.items():
        try:
            v = tree.index(name)
            if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
                evidence[name] = None if value is None else tree.state(v, value)
            elif isinstance(value, list) and value and all(type(entry) in (int, float) for entry in value):
                evidence[name] = _likelihood(tree, v, value)
            elif isinstance(value, Mapping) and all(type(entry) in (int, float) for entry in value.values()):
                evidence[name] = _by_state(tree, v, value)
            else:
                raise BadEvidence(
                    "expected a state (label or number), null, a list with a likelihood for each state, or a mapping "
                    f"from states to likelihoods; got {shown(value)}"
                )
        except BadEvidence as error:
            raise document.error((name,), str(error)) from None
    return evidence


def _by_state(tree: Tree, v: int, given: Mapping[str, float]) -> np.ndarray:
    """The likelihood of each state, 0 for those that are not named."""
    labels = tree.labels(v)
    if labels is None:
        raise BadEvidence(f"variable {tree.names[v]!r} has no state labels; give its likelihood as a list")
    unknown = [state for state in given if state not in labels]
    if unknown:
        raise BadEvidence(f"variable {tree.names[v]!r} has no state {unknown[0]!r}; its states are {listing(labels)}")
    return np.array([float(given.get(label, 0.0)) for label in labels])
