"""A tree as conditional distributions from the roots down, and how one of pyro's sites is drawn from them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor

from hgm.bp.passes import collect
from hgm.bp.posterior import check_possible
from hgm.errors import BadSpec
from hgm.evidence.checked import unobserved
from hgm.tree.checks import shown
from hgm.tree.tree import Tree

__all__ = ["MOST_ENTRIES", "Directed", "draw", "site_names"]

MOST_ENTRIES = 1 << 24  # of a dense table made of rules: 128 MiB


class Directed:
    """Logs of the conditional distributions of a tree, with the messages of all that is below summed in.

    Raises:
        ImpossibleEvidence: if the tree allows nothing at all.
        BadSpec: for a sparse potential that is too large for a dense table.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        with torch.no_grad():
            collected = collect(tree, unobserved(tree, 1, torch.float64, "cpu"))
        check_possible(collected, tree)
        self._h = [np.asarray(h)[0] for h in collected.h]

    def _message(self, v: int) -> np.ndarray:
        level = int(self.tree.level[v])
        return self._h[level][: int(self.tree.cardinality[v]), v - int(self.tree.level_ptr[level])]

    def root(self, v: int) -> np.ndarray:
        """``(S,)`` log p of a root."""
        return _normalised(self._message(v)[None], 1)[0]

    def children(self, factor: int) -> np.ndarray:
        """``(S, *children)`` log p of the children of a factor, in the order of its axes, given its parent.

        Given a state of the parent that cannot be, the children are uniform: what they are plays no part.
        """
        tree, potential = self.tree, self.tree.potential_of(factor)
        if prod(potential.shape) > MOST_ENTRIES or potential.axes > 32:
            raise BadSpec(
                f"factor {shown(tree.scope_names(factor))} is sparse, but pyro holds dense tables only: it would "
                f"have {prod(potential.shape):,} entries on {potential.axes} axes (at most {MOST_ENTRIES:,} on 32 are "
                "converted)"
            )
        log = np.moveaxis(potential.dense_log(), int(tree.up[factor]), 0)
        for axis, u in enumerate(tree.children_of(factor).tolist(), 1):
            log = log + self._message(u).reshape([-1 if i == axis else 1 for i in range(log.ndim)])
        return _normalised(log, 1)


def _normalised(log: np.ndarray, given: int) -> np.ndarray:
    """Logs that sum to 1 over all axes but the first `given`; uniform where all are ``-inf``."""
    axes = tuple(range(given, log.ndim))
    log = np.where(np.isneginf(log).all(axes, keepdims=True), 0.0, log)
    log = log - log.max(axes, keepdims=True)
    return log - np.log(np.exp(log).sum(axes, keepdims=True))


def site_names(tree: Tree) -> list[str]:
    """What the site of each variable is called: its name, as a string."""
    names = [str(name) for name in tree.names]
    return names if len(set(names)) == len(names) else [repr(name) for name in tree.names]


def draw(site: str, log: Tensor, given: tuple[Any, ...], seen: Tensor | None) -> Tensor:
    """States at one site: seen, or where that is -1 drawn from logs ``(..., S)`` at the states or positions `given`."""
    fn = pyro.distributions.Categorical(logits=log.to(torch.get_default_dtype())[given])
    enumerated: Any = {"enumerate": "parallel"}
    if seen is None:
        return pyro.sample(site, fn, infer=enumerated)
    known: Any = seen >= 0
    if bool(known.all()):
        return pyro.sample(site, fn, obs=seen)
    with poutine.mask(mask=known):
        pyro.sample(f"{site}_observed", fn, obs=seen.clamp(min=0))
    with poutine.mask(mask=~known):
        other = pyro.sample(f"{site}_unobserved", fn, infer=enumerated)
    return torch.where(known, seen, other)
