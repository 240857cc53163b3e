"""Training that was interrupted, as a safetensors file: weights, moments and averages, the history, and whose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from hgm.errors import BadSpec
from hgm.files.sealed import checksum, read_sealed, write_sealed

__all__ = ["TrainingState", "read_training", "write_training"]

FORMAT = 1
KEY = "hgm_train"  # of the header in the file's metadata


@dataclass
class TrainingState:
    """How far a run of `hgm.train` is.

    Attributes:
        step: how many steps were done.
        rows: the history: for each row its numbers, ``None`` where there was no validation.
        tensors: all that a step changes, by name.
    """

    step: int = 0
    rows: list[list[float | None]] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def write_training(path: str | os.PathLike[str], identity: Mapping[str, str], state: TrainingState) -> None:
    """Write or replace the file, in one step. Raises `BadSpec` if it cannot be written."""
    header = {"format": FORMAT, "identity": dict(identity), "step": state.step, "rows": state.rows}
    write_sealed(path, KEY, header, state.tensors)


def read_training(path: Path, identity: Mapping[str, str]) -> TrainingState:
    """Read the file.

    Raises:
        BadSpec: if it cannot be read, is no checkpoint, is damaged (not as it was written), or was written for another
            identity.
    """
    advice = "; give another file, or remove this one to start anew"
    header, tensors = read_sealed(path, KEY, "a checkpoint of hgm.train")
    if header.get("format") != FORMAT:
        raise BadSpec(f"the checkpoint {path} has format {header.get('format')!r}; this version reads {FORMAT}{advice}")
    if header.pop("checksum", None) != checksum(header, tensors):
        raise BadSpec(f"the checkpoint {path} is damaged: it is not as it was written{advice}")
    found = header["identity"]
    other = [key for key in identity if found.get(key) != identity[key]]
    if other:
        raise BadSpec(f"the checkpoint {path} belongs to another run: it differs in {', '.join(other)}{advice}")
    return TrainingState(header["step"], header["rows"], tensors)
