"""What a command line gives: a model, evidence by name, values. Every problem with it is one clear error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgm.cli.words import asked, called, known, state_called
from hgm.errors import BadEvidence, BadSpec, did_you_mean, listing
from hgm.evidence.channel import CHANNELS, Channel
from hgm.evidence.channels import Missing
from hgm.evidence.column import seen
from hgm.evidence.likelihood import Likelihood
from hgm.tree.labels import Label
from hgm.tree.plain import label_of
from hgm.tree.tree import Tree

__all__ = ["channel_of", "check_count", "evidence_of", "queried"]

LARGEST = 1 << 31  # states of all variables of all samples


def evidence_of(tree: Tree, given: Sequence[str], file: Path | None) -> dict[Label, Any]:
    """Evidence by name, in the forms that `hgm.infer` takes, from ``name=value`` and a file.

    Raises:
        BadEvidence: for a part that is not ``name=value``, an unknown variable, a bad value, a variable given twice.
        BadSpec: for a file that cannot be read.
    """
    evidence: dict[Label, Any] = {}
    for part in given:
        word, value = _split(tree, part)
        name = called(tree, word)
        if name in evidence:
            raise BadEvidence(f"evidence for {name!r} is given twice")
        evidence[name] = _value(tree, tree.index(name), value)
    for name, value in ({} if file is None else _read(tree, file)).items():
        if name in evidence:
            raise BadEvidence(f"evidence for {name!r} is given twice: on the command line and in {file}")
        evidence[name] = value
    return evidence


def queried(tree: Tree, words: Sequence[str]) -> np.ndarray:
    """``(n,)`` the variables that are asked for, each once; all in tree order if none is named."""
    if not words:
        return np.arange(len(tree))
    return np.array([tree.index(name) for name in asked(tree, words)], dtype=np.int64)


def check_count(tree: Tree, count: int) -> None:
    """Raises `BadSpec` for more samples of a tree than a run can hold."""
    if count * len(tree) > LARGEST:
        raise BadSpec(f"{count:,} samples of {len(tree):,} variables are too many for one run")


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
    cut = next((cut for cut in cuts if known(tree, part[:cut])), cuts[0])
    return part[:cut], part[cut + 1 :]


def _value(tree: Tree, v: int, word: str) -> Any:
    """A state by its label's text or by its number, or a likelihood of each state."""
    label = state_called(tree, v, word)
    if label is not None:
        return label
    numbers = _numbers(word)
    if numbers is not None and "," in word:
        return _likelihood(tree, v, numbers.tolist())
    whole = word.strip().removeprefix("-").isdecimal() and len(word) < 400  # longer ones the interpreter refuses
    state = int(word) if whole else word if numbers is None else float(numbers[0])
    if isinstance(state, float) and tree.state_names(v).find(state) is None:
        return _likelihood(tree, v, [state])
    return _called(tree, v, state)


def _called(tree: Tree, v: int, state: Label) -> Label:
    """The state, or ambiguity code, as the model calls it. Raises `BadEvidence` if there is none."""
    if state in tree.state_names(v).codes:
        return state
    return (tree.labels(v) or range(int(tree.cardinality[v])))[tree.state(v, state)]


def _likelihood(tree: Tree, v: int, numbers: Sequence[float]) -> Likelihood:
    """One number for each state."""
    states = int(tree.cardinality[v])
    if len(numbers) != states:
        raise BadEvidence(
            f"variable {tree.names[v]!r} has {states} states, so its likelihood is {states} numbers; got {len(numbers)}"
        )
    return Likelihood(numbers)


def _numbers(text: str) -> np.ndarray | None:
    """The numbers of a list with commas, or ``None`` if it is none."""
    try:
        return np.array([float(part) for part in text.split(",")])
    except ValueError:
        return None


# ---------------------------------------------------------------------- evidence files


def _read(tree: Tree, file: Path) -> dict[Label, Any]:
    """Evidence from a YAML or JSON file: a mapping from names, or a list of pairs; with what was seen of each."""
    from hgm.files.text import pairs, read

    document = read(file, "an evidence file")
    entries = pairs({} if document.data is None else document.data)
    if entries is None:
        raise document.error((), "expected a mapping from variables to what was seen of them, or a list of such pairs")
    evidence: dict[Label, Any] = {}
    for key, value, way in entries:
        try:
            name = tree.names[tree.index(label_of(key))]
            if name in evidence:
                raise BadEvidence(f"evidence for {name!r} is given twice")
            evidence[name] = _value_of(tree, tree.index(name), value)
            seen(tree, tree.index(name), evidence[name])  # where it is refused, the line is known
        except (BadEvidence, BadSpec) as error:
            raise document.error(way, str(error)) from None
    return evidence


def _value_of(tree: Tree, v: int, value: Any) -> Any:
    """A state, ``None``, or a likelihood, from the data of a file."""
    from hgm.files.text import pairs, shown

    if value is None:
        return None
    entries = pairs(value) or []
    numbers = isinstance(value, list) and bool(value) and all(type(entry) in (int, float) for entry in value)
    weights = bool(entries) and all(type(weight) in (int, float) for _, weight, _ in entries)
    if isinstance(value, list) and (numbers or weights) and label_of(value) in tree.state_names(v).number:
        raise BadEvidence(f"{shown(value)} is a label and also reads as a likelihood; write [[{shown(value)}, 1]]")
    if numbers:
        return _likelihood(tree, v, value)
    if weights:
        by_state = {label_of(key): float(weight) for key, weight, _ in entries}
        if len(by_state) < len(entries):
            raise BadEvidence(f"the likelihood of variable {tree.names[v]!r} names a state twice; got {shown(value)}")
        return by_state
    try:
        label = label_of(value)
    except BadSpec:
        raise BadEvidence(
            "expected a state (label or number), null, a list with a likelihood for each state, or a mapping "
            f"from states to likelihoods; got {shown(value)}"
        ) from None
    return _called(tree, v, label)
