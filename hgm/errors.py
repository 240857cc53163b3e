"""Every error that hgm raises on purpose.

Each message says what was wrong, where (variable, factor, file and line, batch rows) and what to do about it. All of
them derive from `HgmError`, which is a `ValueError`, so one `except` catches bad input of every kind. They can be
pickled, so that they come out of a worker process as they were raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from typing import Any, Protocol

__all__ = [
    "BadEvidence",
    "BadExtension",
    "BadPotential",
    "BadSpec",
    "HgmError",
    "ImpossibleEvidence",
    "NoLoweringRule",
    "NotATree",
    "Uncertifiable",
    "brief",
    "check_free",
    "did_you_mean",
    "extension",
    "listing",
]

LOOKED_AT = 10_000  # names among which a close one is searched


class HgmError(ValueError):
    """Base of all errors of hgm."""


class NotATree(HgmError):
    """The factor graph has a cycle, or its shape is not that of a rooted tree or forest."""


class BadPotential(HgmError):
    """A potential has a wrong shape, a negative or NaN entry, or no positive entry."""


class BadEvidence(HgmError):
    """Evidence names an unknown variable or state, has a wrong shape, or holds a NaN."""


class ImpossibleEvidence(HgmError):
    """The evidence has probability zero under the model.

    Attributes:
        rows: the batch rows with probability zero, ascending; ``(0,)`` for unbatched evidence.
    """

    def __init__(self, rows: Sequence[int] | str, where: str = "") -> None:
        if isinstance(rows, str):  # the whole message: so pickle, and a DataLoader, make an error again
            self.rows: tuple[int, ...] = ()
            super().__init__(rows)
            return
        self.rows = tuple(int(row) for row in rows)
        at = f" {where}" if where else ""
        super().__init__(
            f"the evidence has probability zero under the model{at}, in batch rows {listing(self.rows)}; "
            "check the evidence against the zeros of the potentials, or smooth one of the two"
        )


class BadSpec(HgmError):
    """A declaration (arguments of a constructor, a YAML or JSON file) cannot be read as a model."""


class NoLoweringRule(HgmError):
    """The compiler has no layer for an operation of the plan."""


class BadExtension(HgmError):
    """What was added to hgm from outside (a stage, a channel, a construction, ...) does not do what its kind must."""


class Uncertifiable(HgmError):
    """No finite error bound exists for this network as asked."""


class _Sliced(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Iterable[object]: ...


def listing(items: _Sliced, most: int = 8, total: int | None = None) -> str:
    """`items` joined by commas, at most `most` of them: ``0, 1, 2, ... (100 in all)``; `total` if they are a part."""
    shown, total = ", ".join(str(item) for item in items[:most]), len(items) if total is None else total
    return shown if total <= most else f"{shown}, ... ({total} in all)"


def brief(given: object, most: int = 100) -> str:
    """What was given, in one line of a message: as Python writes it if that is short, else its type, and shape."""
    shape = getattr(given, "shape", None)
    if isinstance(shape, tuple) and shape and hasattr(given, "ndim"):
        return f"a {type(given).__name__} of shape {tuple(shape)}"
    if isinstance(given, type):
        return f"the class {given.__name__}"
    try:
        text = repr(given)
    except Exception:  # an integer of thousands of digits, an object that cannot say what it is
        text = ""
    several = isinstance(given, list | tuple | dict | set)
    if not text or (text.startswith("<") and " " in text) or ("\n" in text and not several):
        return f"a {type(given).__name__}"
    text = text if text.isascii() and "\n" not in text else " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """The end of a message about an unknown name: ``; did you mean 'weather'?``, or nothing if none is close.

    Of very many known names only the first are looked at.
    """
    if not isinstance(name, str | int | float | tuple):
        return ""
    by_text = {str(other): other for other in islice(known, LOOKED_AT)}
    close = get_close_matches(str(name), by_text, n=1, cutoff=0.7) or [
        text for text in by_text if text.casefold() == str(name).casefold()
    ]
    return f"; did you mean {by_text[close[0]]!r}?" if close else ""


def check_free(own: Any, other: Any, what: str, error: type[HgmError]) -> None:
    """Raises `error` if `other`, which is called `what`, is not the class or function `own`, perhaps defined anew."""
    where, taken = (f"{it.__module__}.{it.__qualname__}" for it in (own, other))
    if where != taken:  # the same again is a notebook's cell that is run again
        raise error(f"{where} cannot be {what}: that is {taken}; give it another name")


@contextmanager
def extension(what: str) -> Iterator[None]:
    """Blame what goes wrong inside on an extension: raises `BadExtension` from any error but those of hgm."""
    try:
        yield
    except HgmError:
        raise
    except Exception as error:
        raise BadExtension(f"{what} fails: {type(error).__name__}: {error}") from error
