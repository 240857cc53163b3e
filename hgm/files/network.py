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
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hgm.compiler.plan import Plan, plan
from hgm.errors import BadSpec, HgmError
from hgm.evidence.channel import Channel, Clamp, Erasure, Flip, Gaussian, Missing, Soft
from hgm.files.whole import write_whole
from hgm.networks.network import ConvNet, UNet
from hgm.networks.relunet import ReluConvNet, ReluNetwork, ReluUNet
from hgm.relu.certify import Certificate
from hgm.relu.constructions.choose import LogMatrix, assemble
from hgm.relu.design import Design
from hgm.relu.maps import stage_maps
from hgm.relu.pieces.piecewise import PiecewiseLinear
from hgm.tree.names import GridNames, ListedNames, Names, ReorderedNames
from hgm.tree.possible import possible_states
from hgm.tree.potential import Edge, Potential, Rules, Table
from hgm.tree.tree import Tree

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["load_network", "save_network"]

FORMAT = 1
SUFFIX = ".safetensors"
KEY = "hgm"  # of the header in the file's metadata
CHANNELS: dict[str, type[Channel]] = {kind.__name__: kind for kind in (Soft, Clamp, Erasure, Flip, Gaussian, Missing)}
POTENTIALS: dict[str, type[Potential]] = {kind.__name__: kind for kind in (Edge, Table, Rules)}

AnyNet = ConvNet | UNet | ReluConvNet | ReluUNet

# pydantic and safetensors are imported by the functions that need them, for a light `import hgm`.


def save_network(net: ConvNet | UNet | ReluConvNet | ReluUNet, path: str | os.PathLike[str]) -> None:
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


def load_network(path: str | os.PathLike[str]) -> ConvNet | UNet | ReluConvNet | ReluUNet:
    """The network in a file that `save_network` wrote, on the CPU.

    Nothing in the file is executed.

    Raises:
        BadSpec: if there is no such file, or it is damaged, not a network of hgm, or of a later format.
    """
    where = _checked_name(path)
    header, tensors = _read(where)
    try:
        if header.get("format") != FORMAT:
            raise BadSpec(f"it has format {header.get('format')!r}, and this version of hgm reads format {FORMAT}")
        if header.pop("checksum", None) != _checksum(header, tensors):
            raise BadSpec("its checksum does not fit its content: the file is damaged, or was changed by hand")
        return _put_together(_schema().model_validate(header), tensors)
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError, OverflowError) as error:
        # whatever a file that was made to mislead may provoke; HgmError and pydantic's errors are ValueErrors
        problem = str(error) if isinstance(error, HgmError) else f"it is damaged ({_first_line(error)})"
        raise BadSpec(f"{where} cannot be read as a network of hgm: {problem}") from None


# ---------------------------------------------------------------------- network <-> header and tensors


def _taken_apart(net: AnyNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    kind = type(net)
    if kind not in (ConvNet, UNet, ReluConvNet, ReluUNet):
        raise BadSpec(f"a file holds a network that hgm.compile made; got a {kind.__name__}")
    tree = net.plan.tree
    state, sources = net.state_dict(), _sources(net)
    tensors = {f"state.{name}": state[name] for name in sources.values()}
    tensors["inputs"] = torch.from_numpy(net.plan.inputs.copy())
    header: dict[str, Any] = {
        "format": FORMAT,
        "hgm": version("hgm"),
        "network": kind.__name__,
        "mean": isinstance(net, UNet | ReluUNet) and net.mean,
        "trainable": net.trainable,
        "reloaded": _is_reloaded(net),
        "leaf_shape": list(net.leaf_shape),
        "channel": _channel_entry(net.channel),
        "tree": _tree_entry(tree, tensors),
        "relu": _design_entry(net.design, tensors) if isinstance(net, ReluNetwork) else None,
    }
    query = net.query if isinstance(net, UNet | ReluUNet) else net.plan.levels[0].order[[net.position]]
    tensors["query"] = torch.from_numpy(query.copy())
    return header, tensors


def _put_together(header: Any, tensors: Mapping[str, Tensor]) -> AnyNet:
    tree = _tree(header.tree, tensors)
    inputs, query = _indices(tensors["inputs"], len(tree)), _indices(tensors["query"], len(tree))
    channel = _channel(header.channel, tensors)
    the_plan, shape = plan(tree, inputs), tuple(header.leaf_shape)
    if not 1 <= prod(shape) <= len(inputs) or not len(query):
        raise BadSpec("its input and output do not fit its tree")
    common = (the_plan, channel, shape, header.trainable)
    net: AnyNet
    match header.network:
        case "ConvNet":
            net = ConvNet(*common, int(query[0]))
        case "UNet":
            net = UNet(*common, query, header.mean)
        case "ReluConvNet":
            net = ReluConvNet(*common, _design(header.relu, the_plan, tensors, down=False), int(query[0]))
        case _:
            net = ReluUNet(*common, _design(header.relu, the_plan, tensors, down=True), query, header.mean)
    state = {name.removeprefix("state."): tensor for name, tensor in tensors.items() if name.startswith("state.")}
    net = net.to(state["input_mask" if isinstance(net, ReluNetwork) else "weights.log_potential"].dtype)
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


def _sources(net: AnyNet) -> dict[str, str]:
    """For every name in the state the one to store: a parameter that is shared is stored once, by its first name."""
    first: dict[nn.Parameter, str] = {}
    state = net.state_dict(keep_vars=True).items()
    return {name: first.setdefault(t, name) if isinstance(t, nn.Parameter) else name for name, t in state}


def _is_reloaded(net: AnyNet) -> bool:
    """Whether the weights are others than the tree's, or were loaded: such networks rescale at every level.

    Those of ReLU networks always count as others: they depend on how the machine that built them rounds exp.
    """
    if isinstance(net, ReluNetwork):
        return True
    own = torch.from_numpy(np.concatenate([np.zeros(0), *(p.log_potential.ravel() for p in net.plan.tree.potentials)]))
    weights = net.weights.log_potential.detach().cpu()
    everywhere = net.rescale_leaves and all(stage.rescale for stage in net.stages)
    return bool(everywhere) or not torch.equal(weights, own.to(weights.dtype))


def _design_entry(design: Design, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tied factors share constructions, and constructions share pieces: each is stored once."""
    used = [matrix for matrix in design.built if matrix is not None]
    matrices = {matrix: i for i, matrix in enumerate(dict.fromkeys(used))}
    parts = [piece for matrix in matrices for piece in matrix.pieces]
    pieces = {piece: i for i, piece in enumerate(dict.fromkeys(parts))}
    tensors |= {
        "relu.matrix": _whole(matrices[matrix] for matrix in used),
        "relu.parts": _whole(len(matrix.pieces) for matrix in matrices),
        "relu.part": _whole(pieces[piece] for piece in parts),
        "relu.knots": _real(x for piece in pieces for x in piece.knots),
        "relu.values": _real(x for piece in pieces for x in piece.values),
        "relu.sizes": _whole(len(piece.knots) for piece in pieces),
        "relu.left": _real(piece.left for piece in pieces),
        "relu.right": _real(piece.right for piece in pieces),
    }
    return {"kinds": [matrix.kind for matrix in matrices], "certificate": design.certificate.to_json()}


def _design(entry: Any, plan: Plan, tensors: Mapping[str, Tensor], *, down: bool) -> Design:
    """The design of a network that distributes (`down`) or not, with the certificate that is stored."""
    if entry is None:
        raise BadSpec("it does not say what its ReLU network is made of")
    sizes = _integers(tensors["relu.sizes"])
    knots, values = (_split(tensors[f"relu.{name}"].double().numpy(), sizes) for name in ("knots", "values"))
    slopes = (tensors[f"relu.{name}"].tolist() for name in ("left", "right"))
    pieces = [PiecewiseLinear(*each) for each in zip(knots, values, *slopes, strict=True)]
    parts = _split(_indices(tensors["relu.part"], len(pieces)), _integers(tensors["relu.parts"]))
    kinds = list(zip(entry.kinds, parts, strict=True))

    possible = possible_states(plan.tree)
    maps = tuple(stage_maps(plan, stage, possible) for stage in plan.stages)
    groups = [group for stage in maps for groups in stage.groups for group in groups]
    specs = [spec if down or i == 0 else None for group in groups for i, spec in enumerate(group.maps)]
    which = _indices(tensors["relu.matrix"], len(kinds)).tolist()
    if len(which) != sum(spec is not None for spec in specs):
        raise BadSpec("it has not one construction for every map")
    supply = iter(which)
    made: dict[int, tuple[LogMatrix, np.ndarray]] = {}
    built: list[LogMatrix | None] = []
    for spec in specs:
        if spec is None:
            built.append(None)
            continue
        i = next(supply)
        if i not in made:
            kind, part = kinds[i]
            made[i] = assemble(kind, spec.log_psi, [pieces[j] for j in part]), spec.log_psi
        matrix, table = made[i]
        if not np.array_equal(table, spec.log_psi):
            raise BadSpec("maps with different tables share a construction")
        built.append(matrix)
    return Design(possible, maps, tuple(built), Certificate.from_json(entry.certificate))


def _whole(numbers: Iterable[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)


def _real(numbers: Iterable[float]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.float64)


def _split(flat: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Parts of given sizes."""
    if (sizes < 0).any() or sizes.sum() != len(flat):
        raise BadSpec("the sizes of its pieces do not add up")
    return np.split(flat, np.cumsum(sizes))[:-1]


def _channel_entry(channel: Channel) -> dict[str, Any]:
    if CHANNELS.get(type(channel).__name__) is not type(channel):
        raise BadSpec(
            f"a network with the channel {type(channel).__name__} cannot be saved: a file holds the channels of hgm "
            f"({', '.join(CHANNELS)}) only; compile with one of them, or keep this network's state_dict()"
        )
    entry: dict[str, Any] = {"kind": type(channel).__name__}
    return entry | {"of": _channel_entry(channel.channel)} if isinstance(channel, Missing) else entry


def _channel(entry: Any, tensors: Mapping[str, Tensor], at: str = "state.channel.") -> Channel:
    if entry.kind == "Missing":
        if entry.of is None:
            raise BadSpec("the channel Missing does not say which channel it is around")
        return Missing(_channel(entry.of, tensors, at + "channel."))
    return CHANNELS[entry.kind](tensors[at + "values"])


def _tree_entry(tree: Tree, tensors: dict[str, Tensor]) -> dict[str, Any]:
    for name in ("cardinality", "scope_ptr", "scope", "potential_id", "label_set"):
        tensors[f"tree.{name}"] = torch.from_numpy(getattr(tree, name).copy())
    potentials = []
    for i, potential in enumerate(tree.potentials):
        if POTENTIALS.get(type(potential).__name__) is not type(potential):
            raise BadSpec(f"a network with a potential of kind {type(potential).__name__} cannot be saved")
        potentials.append({"kind": type(potential).__name__, "shape": list(potential.shape)})
        if isinstance(potential, Rules):
            tensors[f"tree.rules.{i}"] = torch.from_numpy(potential.states.copy())
    logs = [potential.log_potential.ravel() for potential in tree.potentials]
    tensors["tree.log_potential"] = torch.from_numpy(np.concatenate([np.zeros(0), *logs]))
    return {
        "names": _names_entry(tree.names, tensors),
        "roots": len(tree.roots),
        "grid": None if tree.grid is None else [list(shape) for shape in tree.grid],
        "label_sets": [list(labels) for labels in tree.label_sets],
        "potentials": potentials,
    }


def _tree(entry: Any, tensors: Mapping[str, Tensor]) -> Tree:
    def integers(name: str) -> np.ndarray:
        return _integers(tensors[f"tree.{name}"])

    cardinality, ptr, scope = integers("cardinality"), integers("scope_ptr"), integers("scope")
    variables, factors = len(cardinality), len(ptr) - 1
    if ptr[0] != 0 or (np.diff(ptr) < 1).any() or ptr[-1] != len(scope):
        raise BadSpec("the factors' scopes do not fit together")
    potentials: list[Potential] = []
    logs = tensors["tree.log_potential"].double().numpy()
    start = 0
    for i, given in enumerate(entry.potentials):
        shape = tuple(given.shape)
        rules = integers(f"rules.{i}") if given.kind == "Rules" else None
        size = int(np.prod(shape)) if rules is None else len(rules)
        piece = logs[start : start + size]
        if rules is not None:
            potentials.append(Rules.from_log(shape, rules, piece))
        else:
            kind = Edge if given.kind == "Edge" else Table
            potentials.append(kind.from_log(piece.reshape(shape)))
        start += size
    potential_id = _indices(tensors["tree.potential_id"], len(potentials))
    label_set = _indices(tensors["tree.label_set"] + 1, len(entry.label_sets) + 1) - 1
    if len(potential_id) != factors or len(label_set) != variables:
        raise BadSpec("the tree's arrays have different lengths")
    tree = Tree.build(
        _names(entry.names, tensors),
        cardinality,
        ptr,
        _indices(torch.from_numpy(scope), variables),
        potential_id,
        potentials,
        roots=range(entry.roots),
        label_sets=[tuple(labels) for labels in entry.label_sets],
        label_set=label_set,
        grid=None if entry.grid is None else tuple(tuple(shape) for shape in entry.grid),
    )
    if not np.array_equal(tree.scope, scope):
        raise BadSpec("its tree is not in the order of a tree")
    return tree


def _names_entry(names: Names, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if isinstance(names, GridNames):
        return {"prefixes": list(names.prefixes), "shapes": [list(shape) for shape in names.shapes]}
    if isinstance(names, ReorderedNames):
        tensors["tree.name_order"] = torch.from_numpy(names.order.copy())
        return {"base": _names_entry(names.base, tensors)}
    return {"listed": list(names)}


def _names(entry: Any, tensors: Mapping[str, Tensor]) -> Names:
    if entry.base is not None:
        base = _names(entry.base, {})
        order = _indices(tensors["tree.name_order"], len(base))
        if not np.array_equal(np.sort(order), np.arange(len(base))):
            raise BadSpec("the order of the names is none")
        return base.take(order)
    if entry.listed is not None:
        return ListedNames(entry.listed)
    return GridNames(entry.prefixes or [], [tuple(shape) for shape in entry.shapes or []])


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


def _integers(given: Tensor) -> np.ndarray:
    if given.dtype != torch.int64:
        raise BadSpec(f"expected whole numbers; got {given.dtype}")
    return given.numpy()


def _indices(given: Tensor, size: int) -> np.ndarray:
    array = _integers(given)
    if array.ndim != 1 or ((array < 0) | (array >= size)).any():
        raise BadSpec(f"expected a list of numbers 0 to {size - 1}")
    return array


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _schema() -> type[BaseModel]:
    """What the header of a file may hold."""
    from pydantic import BaseModel, ConfigDict, Field

    Size = Annotated[int, Field(ge=1)]
    Shape = list[Size]

    class Part(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

    class ChannelEntry(Part):
        kind: Literal["Soft", "Clamp", "Erasure", "Flip", "Gaussian", "Missing"]
        of: ChannelEntry | None = None

    class NamesEntry(Part):
        listed: list[str] | None = None
        prefixes: list[str] | None = None
        shapes: list[Shape] | None = None
        base: NamesEntry | None = None

    class PotentialEntry(Part):
        kind: Literal["Edge", "Table", "Rules"]
        shape: Shape

    class TreeEntry(Part):
        names: NamesEntry
        roots: Size
        grid: list[Shape] | None
        label_sets: list[list[str]]
        potentials: list[PotentialEntry]

    class ReluEntry(Part):
        kinds: list[Literal["constant", "A", "B", "C", "D"]]
        certificate: str

    class Header(Part):
        format: Literal[1]
        hgm: str
        network: Literal["ConvNet", "UNet", "ReluConvNet", "ReluUNet"]
        mean: bool
        trainable: bool
        reloaded: bool
        leaf_shape: Shape
        channel: ChannelEntry
        tree: TreeEntry
        relu: ReluEntry | None = None

    return Header
