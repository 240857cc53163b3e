"""Compiled networks as files: one safetensors file with the model, the settings and the weights. Never pickle.

The file's header says what the network is (kind, channel, inputs, the shapes of the potentials) and is checked against
a schema; its tensors are the tree's arrays and the module's state. A checksum covers both, so a damaged file is refused
and not half understood. Reading builds the network again from its tree, then puts the stored weights in. Of a ReLU
network the file also holds the certificate, and the kind and the pieces of every construction.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from hgm.compiler.engine import Engine, Exact
from hgm.compiler.schedule import schedule_of
from hgm.errors import BadSpec, HgmError
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Clamp, Erasure, Flip, Gaussian, Missing, Soft
from hgm.files.arrays import indices, tree_entry, tree_from
from hgm.files.design import design_entry, design_from
from hgm.files.whole import write_whole
from hgm.networks.compile import assemble
from hgm.networks.heads import ConvNet, UNet
from hgm.relu.engine import Relu
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.rules import Rules

if TYPE_CHECKING:
    from hgm.files.header import ChannelEntry, Header

__all__ = ["load_network", "save_network"]

FORMAT = 1
SUFFIX = ".safetensors"
KEY = "hgm"  # of the header in the file's metadata
CHANNELS: dict[str, type[Channel]] = {kind.__name__: kind for kind in (Soft, Clamp, Erasure, Flip, Gaussian, Missing)}
POTENTIALS: dict[str, type[Potential]] = {kind.__name__: kind for kind in (Edge, Table, Rules)}

AnyNet = ConvNet | UNet

# pydantic and safetensors are imported by the functions that need them, for a light `import hgm`.


def save_network(net: ConvNet | UNet, path: str | os.PathLike[str]) -> None:
    """Write a compiled network to a .safetensors file, so that `load_network` gives it back with equal outputs.

    A ReLU network keeps its certificate, which is about the weights as built, also if it was trained since.

    The file appears whole or not at all. It holds tensors and text only, and any safetensors reader opens it.

    Args:
        net: as `hgm.compile` returns it, trained or not, on any device.
        path: of the file; an existing one is replaced.

    Raises:
        BadSpec: for another ending of the file name, a place that cannot be written, or a network with a channel or
            potential that is not one of hgm's own, or weights in half precision.
    """
    from safetensors.torch import save

    where = _checked_name(path)
    header, tensors = _taken_apart(net)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}  # none shared
    for tensor in tensors.values():
        if tensor.dtype not in (torch.float64, torch.float32, torch.int64):
            raise BadSpec(f"a network with weights of {tensor.dtype} cannot be saved; convert it with .float() first")
    header["checksum"] = _checksum(header, tensors)
    write_whole(where, save(tensors, {KEY: json.dumps(header)}))


def load_network(path: str | os.PathLike[str]) -> ConvNet | UNet:
    """The network in a file that `save_network` wrote, on the CPU.

    Nothing in the file is executed.

    Raises:
        BadSpec: if there is no such file, or it is damaged, not a network of hgm, or of a later format.
    """
    from hgm.files.header import Header

    where = _checked_name(path)
    header, tensors = _read(where)
    try:
        if header.get("format") != FORMAT:
            raise BadSpec(f"it has format {header.get('format')!r}, and this version of hgm reads format {FORMAT}")
        if header.pop("checksum", None) != _checksum(header, tensors):
            raise BadSpec("its checksum does not fit its content: the file is damaged, or was changed by hand")
        return _put_together(Header.model_validate(header), tensors)
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError, OverflowError) as error:
        # whatever a file that was made to mislead may provoke; HgmError and pydantic's errors are ValueErrors
        problem = str(error) if isinstance(error, HgmError) else f"it is damaged ({_first_line(error)})"
        raise BadSpec(f"{where} cannot be read as a network of hgm: {problem}") from None


# ---------------------------------------------------------------------- network <-> header and tensors


def _taken_apart(net: AnyNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    kind = type(net)
    if kind not in (ConvNet, UNet):
        raise BadSpec(f"a file holds a network that hgm.compile made; got a {kind.__name__}")
    tree = net.plan.tree
    state, sources = net.state_dict(), _sources(net)
    tensors = {f"state.{name}": state[name] for name in sources.values()}
    tensors["inputs"] = torch.from_numpy(net.plan.inputs.copy())
    header: dict[str, Any] = {
        "format": FORMAT,
        "hgm": version("hgm"),
        "network": kind.__name__,
        "mean": net.task == "denoise",
        "trainable": net.trainable,
        "reloaded": _is_reloaded(net),
        "leaf_shape": list(net.leaf_shape),
        "channel": _channel_entry(net.channel),
        "tree": tree_entry(tree, tensors),
        "relu": design_entry(net.engine.design, tensors) if isinstance(net.engine, Relu) else None,
    }
    tensors["query"] = torch.from_numpy(net.query.copy())
    return header, tensors


def _put_together(header: Header, tensors: Mapping[str, Tensor]) -> AnyNet:
    tree = tree_from(header.tree, tensors)
    inputs, query = indices(tensors["inputs"], len(tree)), indices(tensors["query"], len(tree))
    channel = _channel(header.channel, tensors)
    plan, shape = schedule_of("levels")(tree, inputs), tuple(header.leaf_shape)
    if not 1 <= prod(shape) <= len(inputs) or not len(query):
        raise BadSpec("its input and output do not fit its tree")
    down = header.network.endswith("UNet")
    engine: Engine
    if header.relu is None:
        engine = Exact(plan, header.trainable, down)
    else:
        engine = Relu(plan, design_from(header.relu, plan, tensors, down=down), header.trainable, down)
    task: Any = "classify" if not down else "denoise" if header.mean else "posterior"
    net = assemble(engine, task, channel, shape, query)
    state = {_present(name): tensor for name, tensor in tensors.items() if name.startswith("state.")}
    net = net.to(state["engine.weights.log_potential" if net.certificate is None else "engine.mask"].dtype)
    sources, own = _sources(net), net.state_dict()
    if state.keys() != set(sources.values()) or not all(
        torch.equal(tensor, own[name])
        for name, tensor in state.items()
        if not (header.reloaded and tensor.is_floating_point())
    ):
        raise BadSpec("its weights are not those of its tree")
    if header.reloaded:
        net.load_state_dict({name: state[source] for name, source in sources.items()})
    return net


def _present(name: str) -> str:
    """The name in a state dict of a stored tensor, also if a network of format 1 stored it."""
    name = name.removeprefix("state.")
    if name.startswith(("channel.", "engine.")):
        return name
    return "engine." + name.replace("input_mask", "mask")


def _sources(net: AnyNet) -> dict[str, str]:
    """For every name in the state the one to store: a parameter that is shared is stored once, by its first name."""
    first: dict[nn.Parameter, str] = {}
    state = net.state_dict(keep_vars=True).items()
    return {name: first.setdefault(t, name) if isinstance(t, nn.Parameter) else name for name, t in state}


def _is_reloaded(net: AnyNet) -> bool:
    """Whether the weights are others than the tree's, or were loaded: such networks rescale at every level.

    Those of ReLU networks always count as others: they depend on how the machine that built them rounds exp.
    """
    if not isinstance(net.engine, Exact):
        return True
    own = torch.from_numpy(np.concatenate([np.zeros(0), *(p.log_potential.ravel() for p in net.plan.tree.potentials)]))
    weights = net.engine.weights.log_potential.detach().cpu()
    everywhere = net.engine.rescale_leaves and all(stage.rescale for stage in net.engine.stages)
    return bool(everywhere) or not torch.equal(weights, own.to(weights.dtype))


def _channel_entry(channel: Channel) -> dict[str, Any]:
    if CHANNELS.get(type(channel).__name__) is not type(channel):
        raise BadSpec(
            f"a network with the channel {type(channel).__name__} cannot be saved: a file holds the channels of hgm "
            f"({', '.join(CHANNELS)}) only; compile with one of them, or keep this network's state_dict()"
        )
    entry: dict[str, Any] = {"kind": type(channel).__name__}
    return entry | {"of": _channel_entry(channel.channel)} if isinstance(channel, Missing) else entry


def _channel(entry: ChannelEntry, tensors: Mapping[str, Tensor], at: str = "state.channel.") -> Channel:
    if entry.kind == "Missing":
        if entry.of is None:
            raise BadSpec("the channel Missing does not say which channel it is around")
        return Missing(_channel(entry.of, tensors, at + "channel."))
    return CHANNELS[entry.kind](tensors[at + "values"])


# ---------------------------------------------------------------------- files


def _checked_name(path: str | os.PathLike[str]) -> Path:
    where = Path(path)
    if where.suffix.lower() != SUFFIX:
        raise BadSpec(f"{where}: the name of a network file must end in {SUFFIX}")
    return where


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            header = None if text is None else json.loads(text)
            if not isinstance(header, dict):
                raise BadSpec(f"{path} is a safetensors file, but not a network that hgm saved")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise BadSpec(f"{path}: there is no such file") from None
    except OSError as error:
        raise BadSpec(f"{path} cannot be read: {error.strerror or _first_line(error)}") from None
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise BadSpec(f"{path} is not a safetensors file, or a damaged one ({_first_line(error)})") from None


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the header and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name].numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
