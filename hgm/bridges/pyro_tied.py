"""Which tables are the same: equal numbers, and, where they depend on tensors with gradients, equal derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Tied"]


class Tied:
    """Numbers tables, the same ones alike.

    Two tables T of parameters p are the same function near p, as far as a gradient can tell, if both T and the
    derivative of ``sum w T`` by p are, for random weights w.
    """

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def number(self, table: Tensor) -> tuple[int, np.ndarray]:
        """The number of a table, and the table as float64."""
        array = table.detach().double().cpu().numpy() + 0.0  # equal zeros, equal bytes
        key = (array.shape, array.tobytes(), _derivative(table))
        return self._known.setdefault(key, len(self._known)), array


def _derivative(table: Tensor) -> frozenset[tuple[int, bytes]]:
    """The derivative of a random sum of the table, by each leaf of autograd that it depends on."""
    leaves = _leaves(table)
    if not leaves:
        return frozenset()
    weights = torch.rand(table.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(table)
    found = torch.autograd.grad(table, leaves, weights, retain_graph=True)
    return frozenset((id(leaf), by.cpu().numpy().tobytes()) for leaf, by in zip(leaves, found, strict=True))


def _leaves(table: Tensor) -> list[Tensor]:
    """The tensors with gradients that a table was computed from."""
    if table.grad_fn is None:
        return [table] if table.requires_grad else []
    found: dict[int, Tensor] = {}
    stack: list[Any] = [table.grad_fn]
    seen = set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found[id(leaf)] = leaf
        stack += [before for before, _ in node.next_functions]
    return list(found.values())
