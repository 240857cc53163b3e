"""States of all variables, by name: modes and samples. And what makes results mappings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hgm.tree.names import Names
from hgm.tree.tree import Tree

__all__ = ["Assignment", "ByName", "Mode"]


class ByName:
    """Something that is known of every variable of a tree: with the names for keys, as in a mapping."""

    tree: Tree

    def __getitem__(self, name: str) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        return iter(self.tree.names)

    def __len__(self) -> int:
        return len(self.tree)

    def __contains__(self, name: object) -> bool:
        return name in self.tree.names

    def keys(self) -> Names:
        """The names of the variables, in tree order."""
        return self.tree.names

    def items(self) -> Iterator[tuple[str, Any]]:
        """Each variable's name and what is known of it."""
        return ((name, self[name]) for name in self)


@dataclass(frozen=True, eq=False)
class Assignment(ByName):
    """States of all variables. By name, and as a mapping, they are labels where the variable has labels.

    Attributes:
        tree: the model.
        states: ``(..., V)`` integers in tree order: ``(V,)`` or ``(B, V)`` for a mode, ``(n, V)`` or ``(n, B, V)`` for
            samples.
    """

    tree: Tree
    states: Tensor

    def __getitem__(self, name: str) -> Any:
        """States of one variable: labels, nested lists in the shape ``(...)``, or else integers ``(...)``, a tensor."""
        v = self.tree.index(name)
        return self.states[..., v] if self.tree.labels(v) is None else self.labels(name)

    def labels(self, name: str) -> Any:
        """The state labels of one variable, nested lists in the shape of its states; numbers if it has no labels."""
        v = self.tree.index(name)
        labels, states = self.tree.labels(v), self.states[..., v].cpu().numpy()
        if labels is None:
            return states.tolist()
        held = np.fromiter(labels, dtype=object, count=len(labels))[states]  # as objects, labels keep their type
        return held.tolist() if states.ndim else held


@dataclass(frozen=True, eq=False)
class Mode(Assignment):
    """The most probable assignment.

    Attributes:
        log_prob: ``()`` or ``(B,)`` its log probability given the evidence.
        log_score: ``()`` or ``(B,)`` log of the product of all potentials and likelihoods, unnormalised.
    """

    log_prob: Tensor
    log_score: Tensor
