"""Arrays of all leaves at once: symbols, log evidence, or observations through a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence, brief
from hgm.evidence.ambient import concrete
from hgm.evidence.channel import Channel, check_arguments
from hgm.evidence.checked import check_numbers, check_states, padded
from hgm.evidence.column import column_of, is_missing
from hgm.evidence.part import Part
from hgm.evidence.symbols import MISSING, as_tensor, signed, unmasked
from hgm.tree.tree import Tree

__all__ = ["check_no_labels", "read_array", "through_channel", "through_channel_by_name"]


def read_array(tree: Tree, given: Any) -> tuple[np.ndarray, Tensor]:
    """Which variables an array is about, ``(n,)``, and their states or log evidence.

    Args:
        tree: the model.
        given: integers ``(B, *leaf shape)``: numbers of states, -1 where missing (or masked); or floats: log evidence
            of the leaves ``(B, S, *leaf shape)``, or of all variables ``(B, S, V)``.

    Returns:
        The variables, and states ``(B, n)`` int64 or log evidence ``(B, S, n)``, ``-inf`` in states that do not exist.

    Raises:
        BadEvidence: for another shape or type, a NaN, a state that there is not, and for integers where leaves have
            labels that read as numbers: they could be meant.
    """
    x, hole = unmasked(given, "what was seen")
    if isinstance(x, np.ndarray) and x.dtype.kind not in "biuf":
        raise BadEvidence(
            f"what was seen is a mapping from variables, a data frame, or an array of numbers; got {brief(given)}"
        )
    x, shape = as_tensor(x, "what was seen"), tree.leaf_shape
    if x.is_complex() or x.dtype == torch.bool or x.ndim == 0:
        raise BadEvidence(
            f"evidence of all leaves is an array of states or of log evidence; got {x.dtype}, {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        if tuple(x.shape[1:]) != shape:
            raise BadEvidence(
                f"the states of the leaves must have shape (B, {', '.join(map(str, shape))}); got {tuple(x.shape)}"
            )
        check_no_labels(tree, tree.leaves)
        states = signed(x).long()
        states = states if hole is None else states.masked_fill(torch.as_tensor(hole, device=x.device), MISSING)
        states = states.reshape(len(x), prod(shape))
        check_states(tree, tree.leaves, states)
        return tree.leaves, states
    if hole is not None:
        raise BadEvidence("a masked array of log evidence: write 0 for all states where nothing was seen")
    whole = x.ndim == 3 and tuple(x.shape[1:]) == (int(tree.cardinality.max()), len(tree))
    variables = np.arange(len(tree)) if whole else tree.leaves
    want = (int(tree.cardinality[variables].max()), *shape)
    if not whole and tuple(x.shape[1:]) != want:
        raise BadEvidence(
            f"floats are log evidence of the leaves, of shape (B, {', '.join(map(str, want))}): rows, states, leaves, "
            f"or (B, {int(tree.cardinality.max())}, {len(tree)}) of all variables as hgm.log_evidence makes it; got "
            f"{tuple(x.shape)}. States are integers; an observation with noise needs channel=..."
        )
    return variables, check_numbers(tree, variables, x.reshape(*x.shape[:2], len(variables)))


def through_channel(tree: Tree, channel: Channel, z: Any, noise: Sequence[Any]) -> Tensor:
    """``(B, S, n)`` log evidence of the leaves, from an observation ``(B, *leaf shape)`` through a channel.

    Raises:
        BadEvidence: for a wrong shape, symbols that are no states or could be labels, or as the channel does.
    """
    x, hole = unmasked(z, "the observation of the leaves")
    x = as_tensor(x, "the observation of the leaves")
    if hole is not None:
        x = signed(x).masked_fill(
            torch.as_tensor(hole, device=x.device), torch.nan if x.is_floating_point() else MISSING
        )
    channel = _bound(tree, channel)
    symbols, shape = channel.reads_symbols and not x.is_floating_point(), tuple(channel.positions(x))
    if symbols and shape == tree.leaf_shape and concrete(x):
        check_no_labels(tree, tree.leaves)
        check_states(tree, tree.leaves, x.reshape(len(x), prod(shape)))
    e = _log_evidence(channel, x, noise)
    if shape != tree.leaf_shape:
        raise BadEvidence(
            f"the observation of the leaves must have shape (B, {', '.join(map(str, tree.leaf_shape))}); "
            f"got {tuple(x.shape)}"
        )
    return check_numbers(tree, tree.leaves, e.reshape(*e.shape[:2], len(tree.leaves)))


def through_channel_by_name(tree: Tree, channel: Channel, seen: Mapping[Any, Any], noise: Sequence[Any]) -> list[Part]:
    """The same for some leaves, by name: each a number, or a column ``(B,)``; missing where nothing was observed.

    Where the channel reads symbols, they are states, called by their labels.

    Raises:
        BadEvidence: also for noise that is one for each position, whose order a mapping does not tell.
    """
    named = {tree.index(name): value for name, value in seen.items() if not (np.ndim(value) == 0 and is_missing(value))}
    which = np.array(list(named), dtype=np.int64)
    if not named:
        return []
    channel = _bound(tree, channel)
    if not channel.pointwise:
        raise BadEvidence(f"{type(channel).__name__} reads all leaves together; give them as one array")
    if len(named) > 1 and any(len(shape := tuple(getattr(x, "shape", ()))) > 1 and shape[-1] > 1 for x in noise):
        raise BadEvidence(
            "leaves by name have noise that is a number or one per batch row; give one per position with arrays"
        )
    pairs = [_observed(tree, v, channel, z) for v, z in named.items()]
    columns, holes = [x for x, _ in pairs], [hole for _, hole in pairs]
    vectors = channel.table().ndim == 2
    batched = any(column.ndim > vectors for column in columns)
    columns = [column if column.ndim > vectors else column[None] for column in columns]
    sizes = sorted({len(column) for column in columns} - {1})
    if len(sizes) > 1:
        raise BadEvidence(f"the observations of the leaves have batches of {sizes[0]} and {sizes[1]}")
    rows = sizes[0] if sizes else 1
    z = torch.stack([column.expand(rows, *column.shape[1:]) for column in columns], -1)
    nothing = torch.stack([hole.expand(rows) for hole in holes], -1)
    logs = check_numbers(tree, which, _log_evidence(channel, z, noise).masked_fill(nothing[:, None], 0.0))
    return [Part("the leaves", which, batched, logs=padded(tree, logs))]


def _observed(tree: Tree, v: int, channel: Channel, given: Any) -> tuple[Tensor, Tensor]:
    """What was observed of one leaf, a number or ``(B,)`` (vectors ``(k,)`` or ``(B, k)``); and where nothing was."""
    what = f"the observation of variable {tree.names[v]!r}"
    if channel.reads_symbols and getattr(given, "ndim", 0) < 2:
        states = column_of(tree, v, given)
        return states, torch.zeros((), dtype=torch.bool, device=states.device)
    if isinstance(given, list | tuple) and any(x is None for x in given):
        given = np.array(given, dtype=object)
    x, hole = unmasked(given, what)
    if isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1:
        x = np.array([torch.nan if is_missing(value) else value for value in x.tolist()])
    x = as_tensor(x, what)
    if hole is not None:
        x = x.to(torch.float64).masked_fill(torch.as_tensor(hole, device=x.device), torch.nan)
    nothing = x.isnan()
    x = x.masked_fill(nothing, 0) if x.is_floating_point() else x
    return x, nothing.any(-1) if channel.table().ndim == 2 else nothing


def _bound(tree: Tree, channel: Channel) -> Channel:
    """A copy of the channel for the leaves of a tree, in float64."""
    if not isinstance(channel, Channel):
        raise BadEvidence(f"channel must be a Channel, such as hgm.Gaussian(); got {brief(channel)}")
    return channel.bound(int(tree.cardinality[tree.leaves].max())).double()


def _log_evidence(channel: Channel, z: Tensor, noise: Sequence[Any]) -> Tensor:
    """``(B, S, *positions)`` in float64."""
    noise = [torch.as_tensor(x, dtype=torch.float64) if isinstance(x, int | float) else x for x in noise]
    given = [x if isinstance(x, Tensor) else as_tensor(x, "the noise of the channel") for x in (z, *noise)]
    given = [x.double() if x.is_floating_point() else x for x in given]
    check_arguments(channel, given)
    e: Tensor = channel(*given)
    return e.double()


def check_no_labels(tree: Tree, variables: np.ndarray) -> None:
    """Raises `BadEvidence` where a number could be a state's label as well as its index, at one of these variables."""
    _, first = np.unique(tree.label_set[variables], return_index=True)
    for v in variables[np.sort(first)].tolist():
        names = tree.state_names(v)
        if not names.by_index:
            raise BadEvidence(
                f"the states of variable {tree.names[v]!r} are called {names}, so an array of numbers could mean their "
                "labels or their indices; give states by name, {variable: column of labels}"
            )
