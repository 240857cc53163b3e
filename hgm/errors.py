"""Every error that hgm raises on purpose.

Each message says what was wrong, where (variable, factor, file and line, batch rows) and what to do about it. All of
them derive from `HgmError`, which is a `ValueError`, so one `except` catches bad input of every kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
    "extension",
    "listing",
]


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

    def __init__(self, rows: Sequence[int], where: str = "") -> None:
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
    """A schedule, stage, op, layer or channel from outside hgm does not do what its kind must."""


class Uncertifiable(HgmError):
    """No finite error bound exists for this network as asked."""


def listing(items: Sequence[object], most: int = 8) -> str:
    """`items` joined by commas, at most `most` of them: ``0, 1, 2, ... (100 in all)``."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown}, ... ({len(items)} in all)"


@contextmanager
def extension(what: str) -> Iterator[None]:
    """Blame what goes wrong inside on an extension: raises `BadExtension` from any error but those of hgm."""
    try:
        yield
    except HgmError:
        raise
    except Exception as error:
        raise BadExtension(f"{what} fails: {type(error).__name__}: {error}") from error
