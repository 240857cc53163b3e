"""What only a terminal sees: bold and coloured words. Files and pipes get plain text, as does whoever sets NO_COLOR."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["bold", "is_terminal", "red"]


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody watches."""
    return stream is not None and stream.isatty()


def bold(text: str, stream: TextIO | None) -> str:
    """The text, bold on a terminal."""
    return _styled(text, "1", stream)


def red(text: str, stream: TextIO | None) -> str:
    """The text, bold and red on a terminal."""
    return _styled(text, "1;31", stream)


def _styled(text: str, code: str, stream: TextIO | None) -> str:
    plain = not is_terminal(stream) or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"
