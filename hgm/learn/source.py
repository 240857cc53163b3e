"""Where the clean data of a training come from, read and checked: a tree, a sample of it, or data of one's own."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hgm.errors import BadEvidence, BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Gaussian, inside
from hgm.evidence.symbols import as_tensor, checked_symbols
from hgm.learn.digest import structure_digest
from hgm.learn.objective import Task, device_of
from hgm.learn.rows import Fixed, Fresh, Rows, digest, drawn
from hgm.networks.heads import ConvNet
from hgm.tree.arguments import whole
from hgm.tree.flat import flatten
from hgm.tree.tree import Tree

__all__ = ["Source", "source"]

HELD_OUT = 1024  # rows of a tree by default

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Source:
    """What `source` makes.

    Attributes:
        rows: what is trained on.
        held_out: what is not: rows and their labels, or ``None``.
        channel: bound to the leaves' states where these are known.
        states: how many probabilities are asked for: of the leaves, or of the label.
        at_least: whether more are right too: of the labels of one's own data, which may lack some.
        spread: half the range of the values.
        says: what it is: the same for equal data.
    """

    rows: Rows
    held_out: Pair | None
    channel: Channel
    states: int
    spread: float
    says: str
    at_least: bool = False


def source(
    network: nn.Module, data: Any, channel: Channel | None, task: Task, n: int | None, held_out: Any, seed: int
) -> Source:
    """The data of a training. Arguments as of `hgm.train`.

    Raises:
        BadSpec, BadEvidence: for what fits no network or channel.
    """
    channel = _channel(network, channel)
    if not isinstance(data, Tree):
        return _of_sample(data, channel, task, n, held_out, seed, device_of(network))
    states = int(data.cardinality[data.leaves].max())
    label, channel, device = _label(network, data), channel.bound(states), device_of(network)
    rows: Rows = Fresh(data, label, seed, device)
    if n is not None:
        rows = Fixed(*drawn(data, label, whole("n", n, 1), seed, "sample"), seed, device)
    kept = HELD_OUT if held_out is None else held_out
    if isinstance(kept, int) and not isinstance(kept, bool):
        count = whole("validation", kept, 0)
        pair = drawn(data, label, count, seed, "held out") if count else None
    else:
        pair = _read(kept, channel, task, "validation")
    asked = int(data.cardinality[label]) if task == "classify" else states
    if pair is not None:
        _fits(*pair, data.leaf_shape, channel, asked)
    model = structure_digest(data) + digest(torch.from_numpy(flatten(data.potentials)))
    says = f"{model} {n} {_says(pair)}"
    return Source(rows, _at(pair, device), channel, asked, _spread(channel.table()), says)


def _of_sample(
    data: Any, channel: Channel, task: Task, n: int | None, held_out: Any, seed: int, device: torch.device
) -> Source:
    if n is not None:
        raise BadSpec(f"n is how many rows to draw from a tree; data were given, of {brief(data)}")
    x, y = _read(data, channel, task, "data")
    pair = None
    if isinstance(held_out, int) and not isinstance(held_out, bool):
        count = whole("validation", held_out, 0, max(0, len(x) - 1))
        x, y, pair = x[: len(x) - count], y[: len(y) - count], ((x[-count:], y[-count:]) if count else None)
    elif held_out is not None:
        pair = _read(held_out, channel, task, "validation")
        if pair[0].shape[1:] != x.shape[1:] or pair[0].is_floating_point() != x.is_floating_point():
            raise BadEvidence(f"validation must be like the data, {tuple(x.shape)}; got {tuple(pair[0].shape)}")
    states = channel.states or 0
    if task == "classify":
        states = 1 + max(int(part.max()) for part in (y, pair[1] if pair is not None else y))
    spread = _spread(x if channel.values is None else channel.table())
    says = f"{digest(x, y)} {_says(pair)}"
    return Source(Fixed(x, y, seed, device), _at(pair, device), channel, states, spread, says, task == "classify")


def _fits(x: Tensor, y: Tensor, leaf_shape: tuple[int, ...], channel: Channel, classes: int) -> None:
    """Raises `BadEvidence` for rows and labels that are not those of a tree."""
    table = channel.table()
    vectors = (table.shape[1],) if x.is_floating_point() and table.ndim == 2 else ()
    if tuple(x.shape[1:]) != (*vectors, *leaf_shape):
        raise BadEvidence(f"validation must be of leaves {leaf_shape}; got {tuple(x.shape)}")
    if int(y.max()) >= classes:
        raise BadEvidence(f"the labels of validation must be 0 to {classes - 1}, as in the tree; got {int(y.max())}")


def _channel(network: nn.Module, channel: Any) -> Channel:
    """That which is given, or that which the network has; by default `Gaussian`."""
    channel = getattr(network, "channel", None) if channel is None else channel
    channel = Gaussian() if channel is None else channel
    if not isinstance(channel, Channel):
        raise BadSpec(f"channel must be a Channel, such as hgm.Gaussian(); got {brief(channel)}")
    return copy.deepcopy(channel)


def _label(network: nn.Module, tree: Tree) -> int:
    """The variable whose states are the labels: that which a compiled ConvNet answers for, or else the root."""
    if isinstance(network, ConvNet):
        return tree.index(network.plan.tree.names[int(network.query[0])])
    return int(tree.roots[0])


def _read(given: Any, channel: Channel, task: Task, what: str) -> Pair:
    """Symbols or values ``(N, *leaf shape)`` and labels, which are 0 if the task needs none; copies."""
    labels = None
    if task == "classify":
        if not isinstance(given, tuple) or len(given) != 2:
            raise BadEvidence(f"for task 'classify' {what} is a tuple of rows and their labels; got {brief(given)}")
        given, labels = given
    x = as_tensor(given, what).detach()
    vectors = channel.values is not None and channel.values.ndim == 2
    if x.is_meta or x.ndim < 2:
        raise BadEvidence(f"{what} must be rows of leaves (N, *leaf shape); got {brief(given)}")
    if not x.numel():
        raise BadEvidence(
            f"{what} has no rows or no leaves: there is nothing to learn from; got shape {tuple(x.shape)}"
        )
    if x.is_floating_point():
        within = inside(channel)
        if not isinstance(within, Gaussian) or task == "posterior":
            raise BadEvidence(f"{what} must be symbols, integers, for this channel and task; got {x.dtype}")
        if not bool(x.isfinite().all()):
            raise BadEvidence(f"{what} holds NaN or infinity; clean values are finite")
        if vectors and (x.ndim < 3 or x.shape[1] != channel.table().shape[1]):
            raise BadEvidence(
                f"{what} must be vectors (N, {channel.table().shape[1]}, *leaf shape); got {tuple(x.shape)}"
            )
        x = x.to(torch.promote_types(x.dtype, torch.float32))
    else:
        x = checked_symbols(x, len(channel.table())).long()
        if bool((x < 0).any()):
            raise BadEvidence(f"{what} holds -1, missing; what is trained on is complete")
    y = torch.zeros(len(x), dtype=torch.int64) if labels is None else _labels(labels, len(x), what)
    return x.cpu().clone(), y


def _labels(given: Any, rows: int, what: str) -> Tensor:
    y = as_tensor(given, f"the labels of {what}").detach()
    if y.is_meta or y.shape != (rows,) or y.is_floating_point() or y.dtype == torch.bool or bool((y < 0).any()):
        raise BadEvidence(
            f"the labels of {what} must be integers from 0 up, one for each of {rows} rows; got {brief(given)}"
        )
    return y.long().cpu().clone()


def _spread(values: Tensor) -> float:
    """Half the range, the largest of all components; 1 where there is none."""
    table = values.double().reshape(-1, values.shape[1]) if values.ndim == 2 else values.double().reshape(-1, 1)
    return float((table.amax(0) - table.amin(0)).max()) / 2 or 1.0


def _says(pair: Pair | None) -> str:
    return "" if pair is None else digest(*pair)


def _at(pair: Pair | None, device: torch.device) -> Pair | None:
    return None if pair is None else (pair[0].to(device), pair[1].to(device))
