"""Writing files: whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from hgm.errors import BadSpec

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Put a file in place in one step: it is written beside its place, and then moved there.

    A file that was there is replaced and hands on its permissions; a link stays a link.

    Raises:
        BadSpec: if the file cannot be written; what was there is then untouched.
    """
    place = Path(os.path.realpath(path))
    draft = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}")
    try:
        with open(draft, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, draft)
        os.replace(draft, place)
    except OSError as error:
        raise BadSpec(f"{path} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
