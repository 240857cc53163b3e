"""The progress bar of learning."""

from __future__ import annotations

from typing import Any

__all__ = ["progress_bar"]


def progress_bar(name: str, unit: str, total: int, done: int, progress: bool | None) -> Any:
    """A bar of tqdm that begins at `done`; `progress` says whether it is shown, ``None``: on a terminal only."""
    from tqdm import tqdm  # takes a moment to import

    disable = None if progress is None else not progress
    return tqdm(desc=name, total=total, initial=done, unit=unit, disable=disable)
