"""Networks in files of any kind as functions f(z, noise, ...): hgm's own, programs of `torch.export`, and ONNX.

A program may be that of another library: all that is asked is its inputs, in their order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgm.errors import BadSpec, HgmError
from hgm.files.network import load_network
from hgm.files.whole import checked_ending

__all__ = ["load_runner"]

#: types of an ONNX model's inputs
TYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
}


def load_runner(path: str | os.PathLike[str]) -> Callable[..., Any]:
    """The network of a file, to be called on tensors: `load_network` for .safetensors, else the program.

    A program is called with as many arguments as it has inputs, each in the type that it takes; what it does not take
    is left out. Its name is that of the file. Of a .pt2 file, which torch reads, load only what you trust.

    Raises:
        BadSpec: for another ending, and a file that is not there, is damaged, or takes log evidence of more variables.
        HgmError: if a library is missing.
    """
    where = checked_ending(path, "a network file", (".safetensors", ".pt2", ".onnx"))
    kind = where.suffix.lower()
    if kind == ".safetensors":
        return load_network(where)
    if not where.is_file():
        raise BadSpec(f"{where}: there is no such file")
    return _of_torch(where) if kind == ".pt2" else _of_onnx(where)


def _of_torch(where: Path) -> Callable[..., Any]:
    try:
        program = torch.export.load(where)
    except Exception as error:  # whatever a damaged file provokes
        raise _damaged(where, "torch.export", error) from None
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    names = list(program.graph_signature.user_inputs)
    values = [places[name].meta["val"] for name in names]
    types = [value.dtype if isinstance(value, Tensor) else None for value in values]
    module, keywords = program.module(), list(program.call_spec.in_spec.child(1).context or ())
    by_place = len(names) - len(keywords)

    def run(given: Sequence[Tensor]) -> Any:
        return module(*given[:by_place], **dict(zip(keywords, given[by_place:], strict=True)))

    return _function(where, names, types, run)


def _of_onnx(where: Path) -> Callable[..., Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(where), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _damaged(where, "ONNX", error) from None
    inputs = session.get_inputs()
    names = [part.name for part in inputs]

    def run(given: Sequence[Tensor]) -> Tensor:
        feeds = {name: x.numpy() for name, x in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, feeds)[0])

    return _function(where, names, [TYPES.get(part.type) for part in inputs], run)


def _damaged(where: Path, kind: str, error: Exception) -> HgmError:
    reason = next(iter(str(error).splitlines()), "")[:200]
    return BadSpec(f"{where} cannot be read as a program of {kind}: {type(error).__name__}: {reason}")


def _function(
    where: Path,
    names: Sequence[str],
    types: Sequence[torch.dtype | None],
    run: Callable[[Sequence[Tensor]], Any],
) -> Callable[..., Any]:
    """The program, called with as many arguments as it takes, in their types."""
    if "evidence" in names:
        raise BadSpec(f"{where} takes evidence beside the observation: export the network without observed=")

    def call(*given: Tensor) -> Any:
        if len(given) < len(names):
            raise BadSpec(f"{where} takes {len(names)} inputs ({', '.join(names)}); there are {len(given)}")
        mine = zip(given, types, strict=False)
        found = run([x.cpu().to(x.dtype if dtype is None else dtype) for x, dtype in mine])
        return found[0] if isinstance(found, tuple | list) else found

    call.__name__ = where.name
    return call
