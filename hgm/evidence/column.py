"""What was seen of one variable, in any of its forms: states, row by row, or a likelihood of each state.

The form decides what is meant, never the values or how many rows there are: what has one dimension is a column, a state
for each row.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence, brief
from hgm.evidence.ambient import concrete
from hgm.evidence.frames import by_name
from hgm.evidence.likelihood import Likelihood
from hgm.evidence.symbols import MISSING, as_tensor, plain_values, signed, unmasked, visible
from hgm.tree.labels import StateNames
from hgm.tree.tree import Tree

__all__ = ["Seen", "column_of", "is_missing", "seen"]

FORMS = (
    "a state; a column of states, one for each row; a likelihood {label: number}, hgm.Likelihood(array) or an array "
    "(B, S); allowed states {label, ...}, a list of such sets, or booleans (B, S); None where missing"
)


@dataclass(frozen=True)
class Seen:
    """What was seen of one variable with `card` states: one of `states` and `likelihood`.

    Attributes:
        batched: whether there is a batch, which is the first axis then, else of length 1.
        states: ``(B,)`` int64, -1 where missing.
        likelihood: ``(B, card)`` floats, or booleans.
        is_log: whether the likelihood is given by its natural logs.
    """

    batched: bool
    states: Tensor | None = None
    likelihood: Tensor | None = None
    is_log: bool = False

    @property
    def rows(self) -> int:
        """B."""
        return len(self.states if self.states is not None else self.likelihood)  # type: ignore[arg-type]


def seen(tree: Tree, v: int, given: Any) -> Seen:
    """What `given` says of variable v.

    Raises:
        BadEvidence: if it is none of the forms, or names a state that there is not; it names variable and row.
    """
    names = tree.state_names(v)
    if isinstance(given, Likelihood):
        return _likelihood(tree, v, given.values, given.is_log)
    if isinstance(given, Mapping):
        return _by_label(tree, v, given)
    if (labelled := by_name(given)) is not None:  # a likelihood for each row, in columns that are called by the states
        return _by_label(tree, v, labelled)
    if isinstance(given, AbstractSet):
        return Seen(False, likelihood=_choices(tree, v, [given]))
    if isinstance(given, tuple) and names.has_tuples:
        return _one(tree, v, given)
    if isinstance(given, list | tuple):
        return _listed(tree, v, list(given))
    if isinstance(given, Tensor) or (hasattr(given, "__array__") and not isinstance(given, np.generic)):
        return _array(tree, v, given)
    return _one(tree, v, given)


def column_of(tree: Tree, v: int, given: Any) -> Tensor:
    """``()`` or ``(...)`` states of variable v, of any shape. Raises `BadEvidence` as `seen`, also for a likelihood."""
    if not isinstance(given, list | tuple):
        x, hole = unmasked(given, f"the states of variable {tree.names[v]!r}")
        if isinstance(given, Tensor) or x.ndim > 1:
            return _states(tree, v, visible(x, hole)).reshape(tuple(x.shape))
    found = seen(tree, v, given)
    if found.states is None:
        raise BadEvidence(f"variable {tree.names[v]!r} needs a state in each row; got {brief(given, 80)}")
    return found.states if found.batched else found.states[0]


def is_missing(value: object, names: StateNames | None = None) -> bool:
    """Whether a value stands for nothing seen: ``None``, NaN, NaT, ``pandas.NA``, and -1 where that is no label."""
    if value is None:
        return True
    try:
        if bool(value != value):
            return True
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return bool(names is not None and names.has_hole and number and value == MISSING)


# ---------------------------------------------------------------------- states


def _one(tree: Tree, v: int, given: Any) -> Seen:
    names = tree.state_names(v)
    if is_missing(given, names):
        return Seen(False, torch.full((1,), MISSING))
    if names.is_code(given):
        return Seen(False, likelihood=_choices(tree, v, [given]))
    return Seen(False, torch.tensor([_state(tree, v, given)]))


def _column(tree: Tree, v: int, column: Tensor | np.ndarray | list[Any]) -> Seen:
    """A column of states, or of states and ambiguity codes."""
    names = tree.state_names(v)
    if names.codes:
        values = plain_values(column)
        if any(map(names.is_code, values)):
            return Seen(True, likelihood=_choices(tree, v, values))
    return Seen(True, _states(tree, v, column))


def _states(tree: Tree, v: int, column: Tensor | np.ndarray | list[Any]) -> Tensor:
    """``(B,)`` the states of a column of them, -1 where missing."""
    names, device = tree.state_names(v), torch.device("cpu")
    if isinstance(column, Tensor):
        if not concrete(column) and not column.is_floating_point() and names.by_index:  # in a transform
            return signed(column).long()
        device = column.device
        if column.dtype == torch.bfloat16:
            column = column.float()
        column = column.detach().cpu().numpy()
    if isinstance(column, np.ndarray) and column.dtype.kind in "iuf" and names.by_index:
        fast = _numbers(names, column)
        if fast is not None:
            return torch.from_numpy(fast).to(device)
    column = plain_values(column)
    types = set(map(type, column))
    if any(issubclass(kind, Tensor) for kind in types):
        column = [value.item() if isinstance(value, Tensor) and value.numel() == 1 else value for value in column]
        types = set(map(type, column))
    keys = column if len(types) == 1 else list(zip(map(type, column), column, strict=True))  # True and 1 are two
    try:
        known: dict[Any, int] = dict.fromkeys(keys, MISSING)
    except TypeError:
        row = next(row for row, value in enumerate(column) if _unhashable(value))
        return torch.tensor(_refused(tree, v, column[row], row))
    plain = names.labels is None  # then a column of booleans is one of zeros and ones
    for key in known:  # each distinct value once
        value = key if len(types) == 1 else key[1]
        if not is_missing(value, names):
            state = names.find(int(value) if plain and isinstance(value, bool | np.bool_) else value)
            known[key] = _refused(tree, v, value, keys.index(key)) if state is None else state
    return torch.from_numpy(np.fromiter(map(known.__getitem__, keys), np.int64, len(keys))).to(device)


def _unhashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return True
    return False


def _numbers(names: StateNames, column: np.ndarray) -> np.ndarray | None:
    """States given by their numbers, in one go; ``None`` if one is wrong, which is then found one by one."""
    with np.errstate(invalid="ignore"):
        states = np.where(column == column, column, MISSING) if column.dtype.kind == "f" else column
        low, high = (states.min(initial=0), states.max(initial=0))
        if not (low >= MISSING and high < names.size):
            return None
        whole = states.astype(np.int64)
    return whole if column.dtype.kind != "f" or bool((whole == states).all()) else None


def _refused(tree: Tree, v: int, value: object, row: int | None = None) -> int:
    """Raises `BadEvidence`: this is no state; of a number with a fraction it says how to spell a likelihood."""
    names = tree.state_names(v)
    try:
        names.state(value, tree.names[v])
    except BadEvidence as error:
        message = str(error) if row is None else f"{error} (batch row {row})"
    if isinstance(value, float) and names.find(value) is None and value != int(value if abs(value) < 1e300 else 0):
        label = repr(names.labels[0]) if names.labels else "0"
        message += (
            f". A column has a state for each row; a likelihood of each state is {{{label}: {value}, ...}} or "
            "hgm.Likelihood([...])"
        )
    elif not isinstance(value, str | int | float | tuple | np.generic):
        message = f"variable {tree.names[v]!r} takes {FORMS}; got {brief(value, 80)}"
        message += "" if row is None else f" in batch row {row}"
    raise BadEvidence(message) from None


# ---------------------------------------------------------------------- likelihoods


def _likelihood(tree: Tree, v: int, x: Tensor, is_log: bool = False) -> Seen:
    card = int(tree.cardinality[v])
    if x.is_complex() or x.ndim not in (1, 2) or x.shape[-1] != card:
        kind = "allowed states" if x.dtype == torch.bool else "a likelihood"
        raise BadEvidence(
            f"variable {tree.names[v]!r} has {card} states, so {kind} must have shape (B, {card}); got {tuple(x.shape)}"
        )
    return Seen(x.ndim == 2, likelihood=x if x.ndim == 2 else x[None], is_log=is_log)


def _by_label(tree: Tree, v: int, given: Mapping[Any, Any]) -> Seen:
    """The likelihood of each state that is named, 0 for the others."""
    names, name = tree.state_names(v), tree.names[v]
    if not given:
        raise BadEvidence(
            f"variable {name!r} has an empty likelihood; give {{label: number}}, or None if nothing is seen"
        )
    parts = {
        names.state(label, name): as_tensor(number, f"a likelihood of variable {name!r}")
        for label, number in given.items()
    }
    if len(parts) < len(given):
        raise BadEvidence(f"the likelihood of variable {name!r} names a state twice; got {brief(dict(given), 80)}")
    single = (part.ndim == 0 and part.dtype == torch.bool for part in parts.values())
    if any(single) or any(part.ndim > 1 or part.is_complex() for part in parts.values()):
        raise BadEvidence(
            f"the likelihood of a state of variable {name!r} is a number, or one for each row, shape (B,)"
        )
    floats = [part if part.is_floating_point() else part.double() for part in parts.values()]
    try:
        floats = list(torch.broadcast_tensors(*floats))
    except RuntimeError:
        shapes = sorted({len(part) for part in floats if part.ndim})
        raise BadEvidence(f"the likelihoods of variable {name!r} have batches of {shapes[0]} and {shapes[1]}") from None
    none = torch.zeros_like(floats[0])
    found = dict(zip(parts, floats, strict=True))
    return _likelihood(tree, v, torch.stack([found.get(state, none) for state in range(names.size)], -1))


def _choices(tree: Tree, v: int, sets: list[Any]) -> Tensor:
    """``(B, card)`` booleans: the states that each set allows; a state by itself stands for a set of one."""
    names, name = tree.state_names(v), tree.names[v]
    out = np.zeros((len(sets), names.size), dtype=bool)
    known: dict[Any, np.ndarray] = {}
    for row, choice in enumerate(sets):
        choice = {choice} if names.is_code(choice) else choice
        if not isinstance(choice, AbstractSet):
            out[row] = True if is_missing(choice, names) else np.arange(names.size) == _state(tree, v, choice, row)
            continue
        key = frozenset(choice)
        if not key:
            raise BadEvidence(
                f"an empty set allows variable {name!r} no state (batch row {row}); None stands for missing"
            )
        if key not in known:
            labels = key.union(*(names.codes.get(label, ()) for label in key)) - set(names.codes)
            known[key] = np.isin(np.arange(names.size), [_state(tree, v, label, row) for label in labels])
        out[row] = known[key]
    return torch.from_numpy(out)


def _state(tree: Tree, v: int, label: Any, row: int | None = None) -> int:
    state = tree.state_names(v).find(label)
    return _refused(tree, v, label, row) if state is None else state


# ---------------------------------------------------------------------- containers


def _listed(tree: Tree, v: int, given: list[Any]) -> Seen:
    """A list: of states, of sets of them, or of likelihoods."""
    kinds = set(map(type, given))
    if any(issubclass(kind, AbstractSet) for kind in kinds):
        return Seen(True, likelihood=_choices(tree, v, given))
    nested = (list, Likelihood) if tree.state_names(v).has_tuples else (list, tuple, Likelihood)
    arrays = any(issubclass(kind, Tensor | np.ndarray) for kind in kinds)
    if any(issubclass(kind, nested) for kind in kinds) or (arrays and any(getattr(row, "ndim", 0) for row in given)):
        if Likelihood in kinds:
            raise BadEvidence(f"variable {tree.names[v]!r}: make one hgm.Likelihood of all rows, of an array (B, S)")
        return _array(tree, v, as_tensor(given, f"the likelihoods of variable {tree.names[v]!r}"))
    return _column(tree, v, given)


def _array(tree: Tree, v: int, given: Any) -> Seen:
    """An array or tensor: by its number of dimensions a state, a column of states, or a likelihood for each row."""
    name = tree.names[v]
    x, hole = unmasked(given, f"the evidence of variable {name!r}")
    if x.ndim == 0:
        value = x.item()
        return _one(tree, v, None if hole is not None and bool(hole) else value)
    if x.ndim == 1:
        return _column(tree, v, visible(x, hole))
    if x.ndim > 2:
        raise BadEvidence(f"variable {name!r} takes {FORMS}; got an array of shape {tuple(x.shape)}")
    x = as_tensor(x, f"the likelihood of variable {name!r}")
    if hole is not None:
        if bool((hole.any(1) != hole.all(1)).any()):
            raise BadEvidence(
                f"a row of the likelihood of variable {name!r} is masked in part; mask all of it, or none"
            )
        x = torch.where(torch.as_tensor(hole), torch.ones((), dtype=x.dtype), x)
    return _likelihood(tree, v, x if x.is_floating_point() or x.dtype == torch.bool else x.double())
