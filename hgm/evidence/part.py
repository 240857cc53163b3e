"""A part of what was seen: the states of some variables, row by row, or a log likelihood of each of their states."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hgm.evidence.checked import padding
from hgm.evidence.symbols import MISSING
from hgm.tree.tree import Tree

__all__ = ["Part"]


@dataclass(frozen=True, eq=False)
class Part:
    """What was seen of n variables; one of `states` and `logs` is given.

    Attributes:
        of: what to call it in a message.
        variables: ``(n,)`` indices in the tree.
        batched: whether there is a batch; its rows are the first axis then, which else is 1.
        states: ``(B, n)`` int64, -1 where missing; without a batch none is.
        logs: ``(B, S, n)`` log likelihoods, ``-inf`` in states that a variable does not have.
    """

    of: str
    variables: np.ndarray
    batched: bool
    states: Tensor | None = None
    logs: Tensor | None = None

    @property
    def held(self) -> Tensor:
        """The one that is given."""
        held = self.logs if self.states is None else self.states
        assert held is not None
        return held

    @property
    def rows(self) -> int:
        """B."""
        return len(self.held)

    def tells(self, tree: Tree) -> np.ndarray:
        """``(n,)`` whether anything is said of each variable, in any row."""
        if self.states is not None:
            return (self.states != MISSING).any(0).cpu().numpy()
        exists = ~padding(tree.cardinality[self.variables], self.held.shape[1], self.held.device)
        return ((self.held != 0) & exists).flatten(0, 1).any(0).cpu().numpy()

    def only(self, keep: np.ndarray) -> Part:
        """The part of some of its variables, ``(n,)`` booleans."""
        if keep.all():
            return self
        held = self.held[..., torch.as_tensor(keep, device=self.held.device)]
        part = replace(self, variables=self.variables[keep])
        return replace(part, logs=held) if self.states is None else replace(part, states=held)
