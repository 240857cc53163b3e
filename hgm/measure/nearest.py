"""Samples of the leaves as symbols: numbers of states as they are, real values by the nearest value of a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bp.assignment import Assignment, leaf_values
from hgm.bp.score import states_of
from hgm.errors import BadEvidence
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Soft
from hgm.evidence.noise import with_numbers
from hgm.evidence.symbols import as_tensor, signed
from hgm.tree.tree import Tree

__all__ = ["Nearest", "as_symbols"]

PART = 1 << 22  # distances that are held at a time


@dataclass(frozen=True)
class Nearest:
    """Samples of the leaves as symbols, and how far they were from being some.

    Attributes:
        symbols: ``(N, n)`` integers, leaves in tree order.
        mean: mean distance to the nearest value, as a share of the smallest distance between two values of the channel
            (of 1 if there is one value only); 0 for what came as symbols. Above 0.5 a reading is arbitrary.
        largest: the largest distance, likewise.
    """

    symbols: Tensor
    mean: float
    largest: float


def as_symbols(samples: Any, tree: Tree, channel: Channel | None = None) -> Nearest:
    """Read samples of the leaves as symbols.

    Args:
        samples: integers ``(N, *leaf shape)`` are symbols; floats ``(N, *leaf shape)``, or ``(N, k, *leaf shape)`` for
            values in R^k, are read as the state of the leaf whose value is nearest (of equals the first); an
            `Assignment` ``(N, V)`` has its leaves read. On any device.
        tree: the model.
        channel: whose `values` are meant; default 0 to S - 1.

    Raises:
        BadEvidence: for another shape, a symbol that is no state, a NaN or an infinity, or two equal values.
    """
    leaves, card = tree.leaves, torch.from_numpy(tree.cardinality[tree.leaves].astype(np.int64))
    values = leaf_values(tree, Soft() if channel is None else channel).cpu()
    if isinstance(samples, Assignment):
        samples = states_of(tree, samples)[..., torch.from_numpy(leaves).to(samples.states.device)]
        samples = samples.unflatten(-1, tree.leaf_shape)
    what = "samples"
    x = with_numbers(as_tensor(samples, what), values, what).detach().cpu()
    if x.dtype == torch.bool:
        raise BadEvidence("samples are integers (symbols) or floats (values); got booleans")
    vectors = x.is_floating_point() and values.ndim == 2
    want = ((values.shape[1],) if vectors else ()) + tree.leaf_shape
    if tuple(x.shape[1:]) != want or not x.ndim:
        kind = "floats" if x.is_floating_point() else "symbols"
        raise BadEvidence(
            f"samples that are {kind} must have shape (N, {', '.join(map(str, want))}); got {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        symbols = signed(x).long().flatten(1)
        _check_states(tree, symbols, card)
        return Nearest(symbols, 0.0, 0.0)
    return _nearest(
        x.double().reshape(len(x), values.shape[-1] if vectors else 1, len(leaves)),
        values.reshape(len(values), -1),
        card,
    )


def _check_states(tree: Tree, symbols: Tensor, card: Tensor) -> None:
    wrong = ((symbols < 0) | (symbols >= card)).nonzero()
    if len(wrong):
        row, leaf = wrong[0].tolist()
        name = tree.names[int(tree.leaves[leaf])]
        raise BadEvidence(
            f"variable {name!r} has no state {int(symbols[row, leaf])} (sample {row}); its states are 0 to "
            f"{int(card[leaf]) - 1}, and a sample has no missing ones"
        )


def _nearest(z: Tensor, values: Tensor, card: Tensor) -> Nearest:
    """Of samples ``(N, k, n)`` and values ``(S, k)``."""
    bad = (~z.isfinite()).flatten(1).any(1).nonzero()
    if len(bad):
        raise BadEvidence(f"sample {int(bad[0])} holds a NaN or an infinity ({len(bad)} of {len(z)} samples do)")
    gaps = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")
    gap = float(gaps.fill_diagonal_(torch.inf).min()) if len(values) > 1 else 1.0
    if not gap:
        a, b = (gaps == 0).nonzero()[0].tolist()
        raise BadEvidence(
            f"states {a} and {b} have the same value, so values do not tell states; give samples as symbols, integers"
        )
    states, n = len(values), len(card)
    outside = torch.arange(states)[:, None] >= card
    symbols, total, largest = torch.empty(len(z), n, dtype=torch.int64), 0.0, 0.0
    rows = max(1, PART // (states * n * values.shape[1]))
    for first in range(0, len(z), rows):
        part = z[first : first + rows]
        away = torch.linalg.vector_norm(part[:, None] - values[:, :, None], dim=2)  # (rows, S, n)
        least, symbols[first : first + rows] = away.masked_fill(outside, torch.inf).min(1)
        total += float(least.sum())
        largest = max(largest, float(least.max()))
    return Nearest(symbols, total / max(1, symbols.numel()) / gap, largest / gap)
