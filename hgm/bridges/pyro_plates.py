"""A regular tree in nested plates: one site for each level.

    with plate(roots):  level0                        x0 (R,)
        with plate(m_1):  level1 | level0             x1 (m_1, R)
            with plate(m_2):  level2 | level1         x2 (m_2, m_1, R)

A plate says only that what is inside is independent given what is outside, so each position has tables of its own.
Where there is one root, or one child, there is no plate. The levels are steps of one `pyro.markov`, so that a chain
needs two dimensions.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from hgm.bridges.pyro_directed import Directed, draw, site_names
from hgm.tree.tree import Tree

__all__ = ["Plates", "levels"]


def levels(tree: Tree) -> list[np.ndarray] | None:
    """For each level its variables ``(m_l, ..., m_1, R)``, but for what is 1; ``None`` if the tree is not regular.

    It is if on each level all variables have equally many states and children, and each child a factor of its own.
    """
    if (np.diff(tree.scope_ptr) > 2).any():
        return None
    children = np.bincount(tree.above[tree.above >= 0], minlength=len(tree))
    arranged = [tree.roots.reshape([n for n in (len(tree.roots),) if n > 1])]
    for level in range(tree.depth + 1):
        own = tree.at_level(level)
        count = children[own[0]]
        if np.ptp(children[own]) or np.ptp(tree.cardinality[own]):
            return None
        if level < tree.depth:
            below = tree.at_level(level + 1)
            of = below[np.argsort(tree.above[below], kind="stable")].reshape(
                -1, count
            )  # of the own variables, in order
            of = np.moveaxis(of[arranged[-1] - own[0]], -1, 0)
            arranged.append(of if count > 1 else of[0])
    return arranged


class Plates:
    """The sites of a regular tree, a level each.

    Attributes:
        sites: the variables of each site, an array of the shape of its value.
    """

    def __init__(self, directed: Directed, arranged: list[np.ndarray]) -> None:
        tree, names = directed.tree, site_names(directed.tree)
        self.sites: dict[str, np.ndarray] = {}
        self._logs: list[Tensor] = []  # (*shape of the site, S of the parent, S), of the roots (*shape, S)
        for level, variables in enumerate(arranged):
            of = [
                directed.root(v) if not level else directed.children(int(tree.parent_factor[v]))
                for v in variables.ravel()
            ]
            tables = np.stack(of)
            self._logs.append(torch.from_numpy(tables.reshape((*variables.shape, *tables.shape[1:]))))
            self.sites[names[int(variables)] if not variables.ndim else f"level{level}"] = variables

    def run(self, seen: dict[int, Tensor]) -> dict[str, Tensor]:
        """Run the sites, with the states of some variables, by their indices; their values by name."""
        values: dict[str, Tensor] = {}
        at: list[Tensor] = []  # the positions in each plate, innermost first
        markov = pyro.poutine.markov(history=1)
        with ExitStack() as stack:
            above: tuple[Any, ...] = ()
            for level, (site, variables) in enumerate(self.sites.items()):
                stack.enter_context(markov)
                if variables.ndim > len(at):
                    plate = pyro.plate(f"children{level}" if level else "roots", len(variables))
                    stack.enter_context(plate)
                    at.insert(0, torch.arange(len(variables)).reshape(-1, *(1,) * (-1 - (plate.dim or 0))))
                values[site] = draw(site, self._logs[level], (*at, *above), _together(variables, seen))
                above = (values[site],)
        return values


def _together(variables: np.ndarray, seen: dict[int, Tensor]) -> Tensor | None:
    """``(*shape of the site, *rows)`` states of its variables, -1 where missing; ``None`` if all are."""
    own = [seen.get(int(v)) for v in variables.ravel()]
    if all(states is None for states in own):
        return None
    missing = torch.tensor(-1)
    states = torch.stack(torch.broadcast_tensors(*(missing if x is None else x for x in own)))
    return states.reshape((*variables.shape, *states.shape[1:]))
