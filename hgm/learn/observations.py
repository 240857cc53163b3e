"""What a model is learned from: rows of observations of one tree, or sequences, each of the chain that ends with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hgm.errors import BadEvidence, BadSpec
from hgm.evidence.channel import Channel
from hgm.evidence.data import Data, read_data
from hgm.evidence.sequences import are_sequences, by_length, read_sequences
from hgm.tree.direction import direct
from hgm.tree.tree import Tree

__all__ = ["Observations", "Part", "observations"]


@dataclass(frozen=True, eq=False)
class Part:
    """The rows that are of one tree, and which of all rows they are; all trees have the same potentials."""

    tree: Tree
    data: Data
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Observations:
    """All rows, by their trees."""

    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(part.data.rows for part in self.parts)

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.parts[0].data.states.device

    def log_normaliser(self) -> float:
        """log Z of the directed models (`hgm.tree.direction`), summed over the rows."""
        return sum(part.data.rows * direct(part.tree).log_normaliser for part in self.parts)

    def digest(self) -> str:
        """The same for equal observations, another for others."""
        if len(self.parts) == 1:
            return self.parts[0].data.digest()
        own = [f"{part.data.digest()} {part.rows.tolist()}" for part in self.parts]
        return hashlib.sha256("\n".join(own).encode()).hexdigest()


def observations(
    tree: Tree, data: Any, noise: Sequence[Any] = (), channel: Channel | None = None, evidence: Any = None
) -> Observations:
    """What `hgm.fit` is given, read and checked.

    Raises:
        BadEvidence: for data that are empty or do not fit the tree.
        BadSpec: for shorter sequences of a chain whose tables are not directed in time.
    """
    if channel is not None or not are_sequences(tree, data):
        read = read_data(tree, data, noise, channel, evidence)
        return Observations((Part(tree, read, np.arange(read.rows)),))
    if evidence is not None or any(part is not None for part in noise):
        raise BadEvidence("a list of sequences says all that was seen; give evidence by name with data by name")
    e, lengths = read_sequences(tree, data)
    if not len(lengths):
        raise BadEvidence("the data have no rows: there is nothing to learn from")
    groups = list(by_length(tree, e, lengths))
    unary = tree.parent[np.diff(tree.scope_ptr) == 1]
    if any(group.tree is not tree for group in groups) and len(unary) and (len(unary) > 1 or unary[0] != 0):
        raise BadSpec(
            "shorter sequences end the chain early, so its tables must be directed in time: from "
            f"{tree.names[0]!r} on, which may have a prior, and no other variable a table of its own"
        )
    return Observations(tuple(Part(g.tree, read_data(g.tree, g.log_evidence), g.rows) for g in groups))
