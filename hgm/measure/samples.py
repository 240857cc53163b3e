"""Random evidence that is possible: its hard states are those of a sample from the model.

Everything is float64 log evidence ``(B, S, V)`` in the tree's order, ``-inf`` in states that a variable does not have.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.evidence.ambient import check_generator
from hgm.evidence.checked import unobserved
from hgm.tree.arguments import number, seeded, whole
from hgm.tree.tree import Tree, checked_tree

__all__ = ["evidence_by_kind", "random_evidence", "soft_evidence"]


def soft_evidence(tree: Tree, batch: int, scale: float, generator: torch.Generator | None = None) -> Tensor:
    """Log likelihoods of every state of every variable: normal, of standard deviation `scale`.

    `generator` is the source of randomness; default torch's global one.
    """
    scale = number(scale, "scale must be a finite number from 0 up", lambda x: 0 <= x < np.inf)
    blank = unobserved(checked_tree(tree), whole("batch", batch, 0), torch.float64, "cpu")
    check_generator(generator, blank.device)
    return blank + scale * torch.randn(blank.shape, generator=generator, dtype=torch.float64)


def random_evidence(tree: Tree, seed: int = 0, batch: int = 6, decades: float = 2.0) -> Tensor:
    """Evidence of every variable: by row none, soft, hard, exclusions, and then mixtures of them.

    Args:
        tree: the model.
        seed: of everything.
        batch: B.
        decades: spread of soft likelihoods, in powers of ten.
    """
    checked_tree(tree)
    whole("batch", batch, 0)
    decades = number(decades, "decades must be a finite number from 0 up", lambda x: 0 <= x < np.inf)
    rng = seeded(seed)
    blank, truth = _possible(tree, batch, torch.Generator().manual_seed(seed))
    states, variables = blank.shape[1:]
    rows = []
    for row, true in enumerate(truth.numpy()):
        kind = rng.integers(4, size=variables) if row >= 4 else np.full(variables, row % 4)
        soft = rng.uniform(-1, 0, (states, variables)) * decades * np.log(10)
        e = np.select([kind == 0, kind == 2], [0.0 * soft, np.where(true, 0.0, -np.inf)], default=soft)
        e[(kind == 3) & (rng.random((states, variables)) < 0.4) & ~true] = -np.inf
        rows.append(e)
    return blank + torch.from_numpy(np.stack(rows))


def evidence_by_kind(tree: Tree, batch: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Evidence of each kind that `hgm.verify` tries, and what it is called."""
    generator = torch.Generator().manual_seed(seed)
    blank, truth = _possible(tree, batch, generator)
    at_leaf = torch.zeros(len(tree), dtype=torch.bool)
    at_leaf[torch.from_numpy(tree.leaves)] = True

    def where(probability: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) < probability

    def soft(scale: float = 1.0) -> Tensor:
        return soft_evidence(tree, batch, scale, generator)

    hard = blank.masked_fill(~truth, -torch.inf)
    half = where(0.5, batch, 1, len(tree))
    excluded = where(0.5, *blank.shape) & ~truth
    yield "none", blank[:1]
    yield "hard", torch.where(at_leaf, hard, blank)
    yield "missing", torch.where(at_leaf & half, hard, blank)
    yield "soft", torch.where(at_leaf, soft(), blank)
    yield "zeros", torch.where(at_leaf, soft().masked_fill(excluded, -torch.inf), blank)
    yield "strong", torch.where(at_leaf, soft(30.0), blank)
    some = soft().masked_fill(excluded, -torch.inf)
    yield "anywhere", torch.where(half, torch.where(where(0.5, batch, 1, len(tree)), hard, some), blank)


def _possible(tree: Tree, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """No evidence ``(B, S, V)``, and the states of a sample from the model, as booleans."""
    states = infer(tree).sample(batch, generator=generator).states  # (B, V)
    blank = unobserved(tree, batch, torch.float64, "cpu")
    return blank, torch.zeros(blank.shape, dtype=torch.bool).scatter_(1, states[:, None, :], True)
