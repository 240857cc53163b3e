"""Safetensors files with a header of JSON and a checksum over both: a damaged file is refused, not half understood."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgm.errors import BadSpec
from hgm.files.whole import write_whole

__all__ = ["checksum", "first_line", "read_sealed", "write_sealed"]

# safetensors is imported by the functions that need it, for a light `import hgm`.


def write_sealed(
    path: str | os.PathLike[str], key: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write tensors, and a header of JSON values under a key of the metadata, in one step.

    Raises:
        BadSpec: if the file cannot be written.
    """
    from safetensors.torch import save

    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}  # none shared
    write_whole(path, save(own, {key: json.dumps({**header, "checksum": checksum(header, own)})}))


def read_sealed(path: Path, key: str, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header, with its ``"checksum"``, and the tensors of a file, which is to be `what`, as an error says.

    Raises:
        BadSpec: if there is none, or it is no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(key)
            header = None if text is None else json.loads(text)
            if not isinstance(header, dict):
                raise BadSpec(f"{path} is a safetensors file, but not {what}")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise BadSpec(f"{path}: there is no such file") from None
    except OSError as error:
        raise BadSpec(f"{path} cannot be read: {error.strerror or first_line(error)}") from None
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise BadSpec(f"{path} is not a safetensors file, or a damaged one ({first_line(error)})") from None


def checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        array = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()  # NumPy has none
        digest.update(f"{name} {str(tensor.dtype).removeprefix('torch.')} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)
