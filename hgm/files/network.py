"""Compiled networks as files: one safetensors file with the model, the settings and the weights. Never pickle.

The file's header says what the network is (task, schedule, channel, kinds of potentials) and is checked against a
schema; its tensors are the tree's arrays and the module's state. A checksum covers both, so a damaged file is refused
and not half understood. Reading builds the network again from its tree, then puts the stored weights in. Of a ReLU
network the file also holds the certificate, and the kind and the pieces of every construction.

Kinds of channels, potentials, constructions and schedules are stored by name and found again in their registries, so
those defined outside the library are saved and loaded as its own are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hgm.compiler.engine import Engine
from hgm.compiler.exact import Exact
from hgm.compiler.schedule import planned
from hgm.compiler.split import exact
from hgm.errors import BadSpec, HgmError, brief
from hgm.evidence.ambient import making
from hgm.evidence.channel import channel_of, entry_of
from hgm.files.arrays import indices, tree_entry, tree_from
from hgm.files.design import design_entry, design_from
from hgm.files.format1 import upgraded
from hgm.files.sealed import checksum, first_line, read_sealed, write_sealed
from hgm.files.whole import checked_ending
from hgm.networks.compile import assemble
from hgm.networks.heads import ConvNet, UNet
from hgm.relu.engine import Relu
from hgm.tree.flat import flatten
from hgm.tree.tree import Tree

if TYPE_CHECKING:
    from hgm.files.header import Header

__all__ = ["load_network", "save_network"]

FORMAT = 2
ENDINGS = (".safetensors",)
KEY = "hgm"  # of the header in the file's metadata
WEIGHTS = "engine.weights.log_potential"  # in the state of an exact network

# pydantic is imported by the function that needs it, for a light `import hgm`.


def save_network(net: ConvNet | UNet, path: str | os.PathLike[str]) -> None:
    """Write a compiled network to a .safetensors file, so that `load_network` gives it back with equal outputs.

    A ReLU network keeps its certificate, which is about the weights as built, also if it was trained since.

    The file appears whole or not at all. It holds tensors and text only, and any safetensors reader opens it.

    Args:
        net: as `hgm.compile` returns it, trained or not, on any device.
        path: of the file; an existing one is replaced.

    Raises:
        BadSpec: for another ending of the file name, a place that cannot be written, a channel without a name, or
            weights in half precision.
        BadExtension: for a channel that cannot be made again from what a file holds of it.
    """
    where = checked_ending(path, "a network file", ENDINGS)
    header, tensors = _taken_apart(net)
    for tensor in tensors.values():
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise BadSpec(f"a network with weights of {tensor.dtype} cannot be saved; convert it with .float() first")
    write_sealed(where, KEY, header, tensors)


@making()
def load_network(path: str | os.PathLike[str]) -> ConvNet | UNet:
    """The network in a file that `save_network` wrote, on the CPU.

    Nothing in the file is executed. A channel, potential, construction or schedule of your own must have been defined.

    Raises:
        BadSpec: if there is no such file, or it is damaged, not a network of hgm, or of a later format.
    """
    from hgm.files.header import Header

    where = checked_ending(path, "a network file", ENDINGS)
    header, tensors = read_sealed(where, KEY, "a network that hgm saved")
    try:
        if header.get("format") not in (1, FORMAT):
            raise BadSpec(
                f"it has format {header.get('format')!r}, and this version of hgm reads formats 1 and {FORMAT}"
            )
        if header.pop("checksum", None) != checksum(header, tensors):
            raise BadSpec("its checksum does not fit its content: the file is damaged, or was changed by hand")
        if header["format"] == 1:
            header, tensors = upgraded(header, tensors)
        return _put_together(Header.model_validate(header), tensors)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        # whatever a file that was made to mislead may provoke; HgmError and pydantic's errors are ValueErrors
        problem = str(error) if isinstance(error, HgmError) else f"it is damaged ({first_line(error)})"
        raise BadSpec(f"{where} cannot be read as a network of hgm: {problem}") from None


# ---------------------------------------------------------------------- network <-> header and tensors


def _taken_apart(net: ConvNet | UNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if type(net) not in (ConvNet, UNet):
        raise BadSpec(f"a file holds a network that hgm.compile made; got {brief(net)}{_instead(net)}")
    state, engine = net.state_dict(), net.engine
    tensors = {f"state.{name}": state[name] for name in _sources(net).values()}
    tensors["inputs"], tensors["query"] = torch.from_numpy(net.plan.inputs.copy()), torch.from_numpy(net.query.copy())
    header: dict[str, Any] = {
        "format": FORMAT,
        "hgm": version("hgm"),
        "task": net.task,
        "schedule": net.plan.schedule,
        "trainable": net.trainable,
        "reloaded": _is_reloaded(engine),
        "dtype": str(net.dtype).removeprefix("torch."),
        "leaf_shape": list(net.leaf_shape),
        "channel": entry_of(net.channel),
        "tree": tree_entry(net.plan.tree, tensors),
        "relu": design_entry(engine.design, tensors) if isinstance(engine, Relu) else None,
    }
    return header, tensors


def _instead(given: Any) -> str:
    """What writes something that is no network."""
    return "; hgm.save writes a tree" if isinstance(given, Tree) else ""


def _put_together(header: Header, tensors: Mapping[str, Tensor]) -> ConvNet | UNet:
    tree = tree_from(header.tree, tensors)
    inputs, query = (indices(tensors[name], len(tree)) for name in ("inputs", "query"))
    plan, shape, down = planned(header.schedule, tree, inputs), tuple(header.leaf_shape), header.task != "classify"
    if not 1 <= prod(shape) <= len(inputs) or not len(query):
        raise BadSpec("its input and output do not fit its tree")
    states = int(tree.cardinality[inputs[: prod(shape)]].max())
    channel = channel_of(header.channel, tensors["state.channel.values"]).bound(states)
    engine: Engine
    if header.relu is None:
        engine = exact(plan, header.trainable, down, channel, prod(shape))
    else:
        engine = Relu(plan, design_from(header.relu, plan, tensors, down=down), header.trainable, down)
    net = assemble(engine, header.task, channel, shape, query)

    state = _part(tensors, "state.")
    floats = (tensor.dtype for tensor in _part(state, "engine.").values() if tensor.is_floating_point())
    net.engine.to(next(floats, torch.float64))
    net.precision = net.precision.to(getattr(torch, header.dtype or "float32"))
    sources, own = _sources(net), net.state_dict()
    if isinstance(engine, Exact):  # files of older versions hold the zeros too
        state[WEIGHTS] = engine.weights.stored(state[WEIGHTS])

    def fits(name: str, tensor: Tensor) -> bool:
        real = tensor.is_floating_point()
        free = name.startswith("channel.") or (header.reloaded and real)
        return (free and real == own[name].is_floating_point()) or torch.equal(tensor, own[name])

    if state.keys() != set(sources.values()) or not all(fits(name, tensor) for name, tensor in state.items()):
        raise BadSpec("its weights are not those of its tree")
    full = {name: state[source] for name, source in sources.items()}
    net.channel.load_state_dict(_part(full, "channel."), assign=True)  # in the precision that they have
    if header.reloaded:
        net.engine.load_state_dict(_part(full, "engine."))
    return net


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _sources(net: nn.Module) -> dict[str, str]:
    """For every name in the state the one to store: a parameter that is shared is stored once, by its first name."""
    first: dict[nn.Parameter, str] = {}
    state = net.state_dict(keep_vars=True).items()
    return {name: first.setdefault(t, name) if isinstance(t, nn.Parameter) else name for name, t in state}


def _is_reloaded(engine: Engine) -> bool:
    """Whether the weights are others than the tree's, or were loaded: such networks rescale at every level.

    Those of ReLU networks always count as others: they depend on how the machine that built them rounds exp.
    """
    if not isinstance(engine, Exact):
        return True
    weights = engine.weights.log_potential.detach().cpu()
    own = engine.weights.stored(torch.from_numpy(flatten(engine.plan.tree.potentials)))
    return engine.rescales_always or not torch.equal(weights, own.to(weights.dtype))
