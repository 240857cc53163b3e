"""How the states of a variable are called: by their labels, or, where there are none, by their numbers 0 to S - 1.

A label is a string, a number, a boolean, or a tuple of such. (Any other hashable object serves too, but no file holds
it.) Labels keep their types. They are compared with ==, so ``True`` finds the label 1, and both cannot be labels of one
variable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import isfinite
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from hgm.errors import BadEvidence, BadSpec, brief, did_you_mean, listing
from hgm.tree.arguments import MOST, is_series, mapping

__all__ = [
    "MISSING",
    "Label",
    "LabelSet",
    "StateNames",
    "States",
    "distinct_labels",
    "plain",
    "read_key",
    "read_states",
]

#: hashable; not `Hashable`, because a ``dict[str, ...]`` is no ``Mapping[Hashable, ...]`` to type checkers
Label = Any
States = int | Sequence[Label]

#: stands for a symbol that was not seen
MISSING = -1


class LabelSet(tuple[Label, ...]):
    """The labels of states, in order, and ambiguity codes, each of which stands for several of them.

        dna = hgm.LabelSet(["A", "C", "G", "T"], codes={"R": {"A", "G"}, "Y": {"C", "T"}, "N": {"A", "C", "G", "T"}})
        tree = hgm.Tree.from_edges(edges, variables={"site": dna, ...})
        hgm.infer(tree, {"site": ["A", "R", "N"]})

    It serves wherever states are declared. A code is read as the set of its labels, in evidence and in data; it is no
    state, and two label sets that differ in their codes only are equal.

    Attributes:
        codes: ``{code: frozenset of labels}``, read-only.
    """

    codes: Mapping[Label, frozenset[Label]]

    def __new__(cls, labels: Sequence[Label], codes: Mapping[Label, Iterable[Label]] | None = None) -> Self:
        """A label set.

        Args:
            labels: distinct, in order.
            codes: the labels that each code stands for; a code is no label.

        Raises:
            BadSpec: for labels that are no declaration of states, or a code that is a label or stands for none.
        """
        _, read = read_states(labels, "a label set")
        if read is None:
            raise BadSpec(f"a label set is made of a list of labels; got {brief(labels)}")
        self = super().__new__(cls, read)
        known: dict[Label, frozenset[Label]] = dict(getattr(labels, "codes", {}))
        for given, stands_for in mapping("codes", codes, "{code: labels}").items():
            code = read_key(given, "an ambiguity code")
            if code in read:
                raise BadSpec(f"the ambiguity code {code!r} is also a label")
            if isinstance(stands_for, (str, bytes)) or not isinstance(stands_for, Iterable):
                raise BadSpec(f"the ambiguity code {code!r} stands for a set of labels; got {brief(stands_for)}")
            members = [read_key(label, f"what {code!r} stands for") for label in stands_for]
            unknown = next((label for label in members if label not in read), None)
            if unknown is not None or not members:
                what = "nothing" if not members else f"{unknown!r}, which is no label"
                raise BadSpec(f"the ambiguity code {code!r} stands for {what}; labels are {listing(read)}")
            known[code] = frozenset(members)
        self.codes = MappingProxyType(known)
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), dict(self.codes)

    def __getstate__(self) -> None:  # all is in the arguments
        return None

    def __repr__(self) -> str:
        codes = {code: [label for label in self if label in own] for code, own in self.codes.items()}
        return f"LabelSet({list(self)!r}, codes={codes!r})"


class StateNames:
    """What the states 0 to `size` - 1 are called.

    Attributes:
        size: S.
        labels: their labels, or ``None``.
        number: the number of the state with each label.
        codes: the labels that each ambiguity code stands for.
        by_index: whether a state may be given by its number: it cannot be mistaken for another one's label, or a code.
        has_hole: whether -1 stands for a missing observation: it is no label and no code.
        has_tuples: whether a tuple may be a label, and so is no list of states.
    """

    def __init__(self, size: int, labels: tuple[Label, ...] | None) -> None:
        self.size, self.labels = size, labels
        self.number = {label: i for i, label in enumerate(labels or ())}
        self.codes: Mapping[Label, frozenset[Label]] = getattr(labels, "codes", {})
        read = [(i, number) for i, number in enumerate(map(_number, labels or ())) if number is not None]
        codes = [number for number in map(_number, self.codes) if number is not None]
        self.by_index = not codes and all(number == i for i, number in read)
        self.has_hole = MISSING not in codes and MISSING not in (number for _, number in read)
        self.has_tuples = any(isinstance(label, tuple) for label in labels or ())

    def is_code(self, given: object) -> bool:
        """Whether this is an ambiguity code."""
        try:
            return given in self.codes
        except TypeError:  # a list, say
            return False

    def find(self, state: object) -> int | None:
        """The number of the state that is called so, ``None`` if there is none."""
        if isinstance(state, np.generic):
            state = plain(state)
        try:
            found = self.number.get(state)
        except TypeError:  # a list, say
            return None
        if found is not None or not self.by_index or not isinstance(state, (int, float)):
            return found
        if isinstance(state, bool):
            return None
        return int(state) if isfinite(state) and state == int(state) and 0 <= state < self.size else None

    def state(self, state: object, name: Label) -> int:
        """`find`, of the variable called `name`. Raises `BadEvidence` if it has no such state."""
        found = self.find(state)
        if found is not None:
            return found
        if self.labels is None and isinstance(state, str):
            raise BadEvidence(
                f"variable {name!r} has no state labels; give {brief(state)} as a number 0 to {self.size - 1}"
            )
        close = "" if self.labels is None else did_you_mean(state, self.labels)
        are = f"states are {self}"
        if self.labels is not None and not isinstance(state, str):  # with their types
            are = f"labels are {listing([repr(label) for label in self.labels[:9]], total=self.size)}"
        raise BadEvidence(f"variable {name!r} has no state {brief(state)}; its {are}{close}")

    def __str__(self) -> str:
        """``red, green``, or with types where a label could be mistaken: ``'1', '2'``; ``0 to 4`` without labels."""
        if self.labels is None:
            return f"0 to {self.size - 1}"
        plain = self.by_index and all(isinstance(label, str) for label in self.labels)
        return listing(self.labels if plain else [repr(label) for label in self.labels[:9]], total=self.size)


def read_states(states: States, what: str) -> tuple[int, tuple[Label, ...] | None]:
    """How many states are meant, and their labels if they have any.

    Raises `BadSpec`, naming `what` has these states, unless they are a positive number or distinct labels in an order.
    """
    if isinstance(states, (int, np.integer)) and not isinstance(states, bool):
        if states < 1:
            raise BadSpec(f"{what} has {states} states; at least one is needed")
        if states > MOST:
            raise BadSpec(f"{what} has {brief(states)} states; at most {MOST} are possible")
        return int(states), None
    if isinstance(states, LabelSet):
        return len(states), states
    if isinstance(states, AbstractSet):
        raise BadSpec(f"{what} has a set of labels, which has no order; give a list")
    if not is_series(states):
        raise BadSpec(f"{what} needs a number of states or a list of their labels; got {brief(states)}")
    labels = tuple(read_key(label, f"a state label of {what}") for label in states)  # type: ignore[union-attr]
    if not labels:
        raise BadSpec(f"{what} has an empty list of states; at least one is needed")
    number: dict[Label, int] = {}
    for i, label in enumerate(labels):
        if number.setdefault(label, i) != i:
            other = labels[number[label]]
            same = repr(other) == repr(label)
            wrong = f"the state label {label!r} twice" if same else f"{other!r} and {label!r}, which are equal"
            raise BadSpec(f"{what} has {wrong}: {listing(labels)}")
    return len(labels), labels


def distinct_labels(of: Sequence[tuple[Label, ...] | None]) -> tuple[tuple[tuple[Label, ...], ...], np.ndarray]:
    """The distinct label sets, and which each variable has, -1 for none: `label_sets` and `label_set` of a structure.

    Sets that are equal but of other types, ``(0, 1)`` and ``(False, True)``, are two.
    """
    known: dict[object, int] = {}
    sets: list[tuple[Label, ...]] = []
    which = np.full(len(of), -1, dtype=np.int64)
    for v, labels in enumerate(of):
        if labels is not None:
            which[v] = known.setdefault((labels, str(labels)), len(known))  # str: with types and codes
            sets += [labels] if which[v] == len(sets) else []
    return tuple(sets), which


def read_key(given: object, what: str) -> Label:
    """A label, or the name of a variable, as plain Python has it. Raises `BadSpec` for what can be neither."""
    key = plain(given) if isinstance(given, np.generic) else given
    if getattr(key, "ndim", None) == 0 and hasattr(key, "item") and not isinstance(key, np.generic):
        key = key.item()  # a tensor, hashed by its identity, would be found by nobody
    try:
        hash(key)
        missing = key is None or bool(key != key)
    except (TypeError, ValueError, RuntimeError):  # arrays compare entry by entry
        raise BadSpec(
            f"{what} must be a string, number, boolean or tuple; got {brief(key)} ({type(key).__name__})"
        ) from None
    if missing:
        raise BadSpec(f"{what} cannot be {key!r}, which stands for a missing value")
    if isinstance(key, AbstractSet):
        raise BadSpec(f"{what} cannot be a set, which stands for a choice of labels; got {brief(key)}")
    if getattr(key, "ndim", 0):
        raise BadSpec(f"{what} must be a string, number, boolean or tuple; got {brief(key)}")
    return key


def plain(value: np.generic) -> object:
    """A number, boolean or string of NumPy as one of Python, which a file can hold."""
    return value.item() if value.dtype.kind in "biufU" else value


def _number(label: Label) -> float | None:
    """The number that a label is, or reads as."""
    if not isinstance(label, (str, int, float)):
        return None
    try:
        return float(label)
    except (ValueError, OverflowError):
        return None
