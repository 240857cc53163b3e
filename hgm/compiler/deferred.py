"""Rows of a batch that have no answer: an error at once, or a note on their device until somebody asks.

To look at a number is to wait for the device that computes it. So a check that is deferred is one more small tensor, a
code for each row, as in jax.experimental.checkify; `Deferred.throw` waits, and raises.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hgm.errors import BadEvidence, ImpossibleEvidence, Uncertifiable, listing
from hgm.evidence.ambient import check_of

__all__ = ["BAD", "IMPOSSIBLE", "UNCERTIFIED", "Deferred", "of_log_mass", "rows_of"]

#: codes of a row, the worst largest: its evidence has probability zero, no certificate covers it, it holds NaN
IMPOSSIBLE, UNCERTIFIED, BAD = 1, 2, 3

_LOCK = Lock()  # of all: it is held for microseconds, and an object with a lock of its own cannot be pickled


def of_log_mass(log_mass: Tensor) -> Tensor:
    """``(B,)`` uint8 codes of rows from logs ``(n, B)`` of the mass of each tree, or ``(B,)``; 0 where all is well."""
    least = log_mass.reshape(-1, log_mass.shape[-1]).amin(0)  # also NaN if any is
    return torch.where(least > -torch.inf, 0, torch.where(least.isnan(), BAD, IMPOSSIBLE)).to(torch.uint8)


def rows_of(codes: Tensor, code: int, first_row: int = 0) -> list[int]:
    """The batch rows with a code."""
    return (torch.nonzero(codes == code).flatten() + first_row).tolist()


class Deferred:
    """Codes of rows that nobody has looked at yet. A copy, and a pickled one, begins with none."""

    def __init__(self) -> None:
        self._codes: dict[torch.device, Tensor] = {}

    def check(self, log_mass: Tensor, first_row: int, check_weights: Callable[[], None]) -> None:
        """Look at rows now, note them for later, or let them pass: as `hgm.evidence.ambient.checking` says.

        Args:
            log_mass: ``(n, B)`` logs of what each tree of a forest sums to, or ``(B,)``: -inf if its evidence is
                impossible, NaN if that, or a weight, is no number.
            first_row: number of the first batch row.
            check_weights: called for rows with NaN: raises `BadPotential` if it is the weights that are to blame.

        Raises:
            BadPotential, BadEvidence, ImpossibleEvidence: for rows that are looked at.
        """
        check, log_mass = check_of(log_mass), log_mass.detach()
        if check == "later":
            self.note(of_log_mass(log_mass), first_row)
        elif check and log_mass.numel() and not float(log_mass.min()) > -torch.inf:  # also for NaN
            codes = of_log_mass(log_mass)
            if bad := rows_of(codes, BAD, first_row):
                check_weights()
                raise BadEvidence(f"the evidence holds NaN or +inf in batch rows {listing(bad)}")
            raise ImpossibleEvidence(rows_of(codes, IMPOSSIBLE, first_row))

    def note(self, codes: Tensor, first_row: int = 0) -> None:
        """Keep codes ``(B,)``; of several calls the worst of each row."""
        codes = F.pad(codes, (first_row, 0)) if first_row else codes
        with _LOCK:
            before = self._codes.get(codes.device)
            if before is not None:
                rows = max(len(before), len(codes))
                codes = torch.maximum(*(x if len(x) == rows else F.pad(x, (0, rows - len(x))) for x in (before, codes)))
            self._codes[codes.device] = codes

    def throw(self, check_weights: Callable[[], None]) -> None:
        """Wait for what was noted, forget it, and raise an error if there was anything.

        Args:
            check_weights: raises `BadPotential` if the weights are to blame.

        Raises:
            BadPotential, BadEvidence: for NaN, +inf, symbols that are no states, or noise out of its range.
            Uncertifiable: for evidence that the certificate of a ReLU network does not cover.
            ImpossibleEvidence: for evidence of probability zero.
        """
        if not self._codes:
            return
        with _LOCK:
            noted, self._codes = self._codes, {}
        check_weights()
        for codes in noted.values():
            if bad := rows_of(codes, BAD):
                raise BadEvidence(
                    "in a call that was to be checked later, the evidence, its noise, or potentials given with it hold "
                    f"NaN, +inf, or what is out of range, in batch rows {listing(bad)}"
                )
            if uncertified := rows_of(codes, UNCERTIFIED):
                raise Uncertifiable(
                    "in a call that was to be checked later, the certificate does not cover the evidence of batch rows "
                    f"{listing(uncertified)}; check='now' says why"
                )
            if impossible := rows_of(codes, IMPOSSIBLE):
                raise ImpossibleEvidence(impossible, "in a call that was to be checked later")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()
