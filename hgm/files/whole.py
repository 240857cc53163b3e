"""Files by their names' endings, and writing them: whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from hgm.errors import BadSpec, brief

__all__ = ["TEXT", "checked_ending", "checked_path", "write_whole"]

#: endings of files that are read as YAML or JSON
TEXT = (".yaml", ".yml", ".json")


def checked_path(path: str | os.PathLike[str], what: str) -> Path:
    """The path of `what`. Raises `BadSpec` for what is no path, or one that no file can have."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise BadSpec(f"the path of {what} is a string or a pathlib.Path; got {brief(path)}")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise BadSpec(f"no file can be called {os.fspath(path)!r}: it is not valid text") from None
    if "\0" in os.fspath(path):
        raise BadSpec(f"no file can be called {os.fspath(path)!r}: it has a null character")
    return Path(path)


def checked_ending(path: str | os.PathLike[str], what: str, endings: Sequence[str]) -> Path:
    """`checked_path`, which ends in one of these, in letters of any size. Raises `BadSpec` also for another ending."""
    where = checked_path(path, what)
    if where.suffix.lower() not in endings:
        listed = " or ".join(filter(None, [", ".join(endings[:-1]), endings[-1]]))
        raise BadSpec(f"{where}: the name of {what} must end in {listed}")
    return where


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
