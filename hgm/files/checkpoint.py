"""Learning that was interrupted, as a JSON file: the tables, the history, and what they belong to.

A checksum over all of it is written with it: a changed digit makes numbers that are as good as the right ones.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgm.errors import BadSpec
from hgm.files.whole import write_whole

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A state of EM.

    Attributes:
        identity: digests and settings of what is learned; all must be the same to go on.
        history, log_likelihood: before these entries.
        entries: of all potentials, one after the other.
    """

    identity: Mapping[str, str]
    history: Sequence[float]
    log_likelihood: Sequence[float]
    entries: Sequence[float]


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write or replace the file, in one step. Raises `BadSpec` if it cannot be written."""
    content = {"hgm_fit": FORMAT, **asdict(checkpoint)}
    content["checksum"] = _checksum(content)
    write_whole(path, (json.dumps(content, allow_nan=False) + "\n").encode())


def read_checkpoint(path: str | os.PathLike[str], identity: Mapping[str, str], size: int) -> Checkpoint:
    """Read the file.

    Raises:
        BadSpec: if it cannot be read, is no checkpoint, is damaged (not as it was written), or was written for another
            identity.
    """
    advice = "; give another file, or remove this one to start anew"
    try:
        content = json.loads(Path(path).read_bytes())
        form, checksum = content["hgm_fit"], content.pop("checksum", None)
        found = Checkpoint(
            {str(k): str(v) for k, v in content["identity"].items()},
            *([float(x) for x in content[key]] for key in ("history", "log_likelihood", "entries")),
        )
    except OSError as error:
        raise BadSpec(f"the checkpoint {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadSpec(
            f"{path} is no checkpoint of hgm.fit, or is damaged ({type(error).__name__}: {error}){advice}"
        ) from None
    if form != FORMAT:
        raise BadSpec(f"the checkpoint {path} has format {form}; this version reads format {FORMAT}{advice}")
    if checksum != _checksum(content):
        raise BadSpec(f"the checkpoint {path} is damaged: it is not as it was written{advice}")
    other = [key for key in identity if found.identity.get(key) != identity[key]]
    if other:
        raise BadSpec(f"the checkpoint {path} belongs to another fit: it differs in {', '.join(other)}{advice}")
    entries = np.array(found.entries)
    whole = len(entries) == size and len(found.history) == len(found.log_likelihood)
    if not whole or not np.isfinite([*found.history, *found.log_likelihood, *entries]).all() or (entries < 0).any():
        raise BadSpec(f"the checkpoint {path} is damaged: its numbers do not fit the model{advice}")
    return found


def _checksum(content: Mapping[str, Any]) -> str:
    """Of what a file says, not of how: numbers are written so that they come back, and keys in order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
