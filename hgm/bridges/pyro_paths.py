"""Any tree along its heavy paths: one site for each variable.

pyro enumerates each site in a dimension of its own, and there are 64. `pyro.markov` takes them back: in a loop, step k
sees the sites of steps k and k - 1 only. A tree is cut into *heavy paths*, each of which goes on to the child with the
most variables below it. A path is a loop; the paths that leave it are loops inside of its steps. Each leaves for a part
of at most half the size, so that loops are nested at most log2 V deep.

A factor with several children is drawn by the chain rule: each child given the parent and the children before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from hgm.bridges.pyro_directed import Directed, draw, site_names

__all__ = ["Paths"]


@dataclass(frozen=True)
class Step:
    """A factor, whose children are drawn given its parent, and the paths that leave from them."""

    parent: int
    children: tuple[int, ...]
    logs: tuple[Tensor, ...]  # of the i-th child: (S, the children before it, its own states)
    leaving: tuple[Path, ...]


Path = tuple[Step, ...]


class Paths:
    """The sites of a tree, a variable each.

    Attributes:
        sites: the variable of each site, an array ``()``.
    """

    def __init__(self, directed: Directed) -> None:
        tree = directed.tree
        self._directed = directed
        self._names = site_names(tree)
        self.sites = {name: np.array(v) for v, name in enumerate(self._names)}
        roots = tree.roots.tolist()
        self._roots = [(v, torch.from_numpy(directed.root(v)), self._from(v)) for v in roots]

    def _from(self, v: int) -> list[Path]:
        """The paths that start at a variable, one for each factor below it, the largest last."""
        tree = self._directed.tree
        factors = [f for f in tree.factors_of(v) if len(tree.children_of(f))]
        return [self._path(f) for f in sorted(factors, key=self._size)]

    def _size(self, factor: int) -> int:
        return int(self._directed.tree.below[self._directed.tree.children_of(factor)].sum())

    def _path(self, factor: int | None) -> Path:
        """The heavy path that starts with a factor."""
        tree, steps = self._directed.tree, []
        while factor is not None:
            children = tree.children_of(factor).tolist()
            heavy = max(children, key=lambda u: int(tree.below[u]))
            leaving = [path for u in children if u != heavy for path in self._from(u)]
            onward = sorted((f for f in tree.factors_of(heavy) if len(tree.children_of(f))), key=self._size)
            leaving += [self._path(f) for f in onward[:-1]]
            logs = _chain_rule(self._directed.children(factor))
            steps.append(Step(int(tree.parent[factor]), tuple(children), logs, tuple(leaving)))
            factor = onward[-1] if onward else None
        return tuple(steps)

    def run(self, seen: dict[int, Tensor]) -> dict[str, Tensor]:
        """Run the sites, with the states of some variables, by their indices; their values by name."""
        x: dict[int, Tensor] = {}
        for v, log, paths in self._roots:
            with pyro.poutine.markov(history=0):  # what is below another root sees nothing of this one
                x[v] = draw(self._names[v], log, (), seen.get(v))
                for path in paths:
                    self._walk(path, x, seen)
        return {self._names[v]: states for v, states in x.items()}

    def _walk(self, path: Path, x: dict[int, Tensor], seen: dict[int, Tensor]) -> None:
        step: Any
        for step in pyro.markov(path):  # type: ignore[arg-type] # which iterates over anything
            given: tuple[Tensor, ...] = (x[step.parent],)
            for u, log in zip(step.children, step.logs, strict=True):
                x[u] = draw(self._names[u], log, given, seen.get(u))
                given = (*given, x[u])
            for other in step.leaving:
                self._walk(other, x, seen)


def _chain_rule(log: np.ndarray) -> tuple[Tensor, ...]:
    """Of log p(a_1, ..., a_k | s) the factors log p(a_i | s, a_1, ..., a_i-1), ``(S, S_1, ..., S_i)`` each."""
    parts = []
    while log.ndim > 1:
        axis = log.ndim - 1
        top = np.maximum(log.max(axis, keepdims=True), np.finfo(float).min)
        with np.errstate(divide="ignore"):
            total = np.log(np.exp(log - top).sum(axis, keepdims=True)) + top
        impossible = np.isneginf(total)
        part = np.where(impossible, -np.log(log.shape[axis]), log - np.where(impossible, 0.0, total))
        parts.append(torch.from_numpy(part))
        log = total[..., 0]
    return tuple(reversed(parts))
