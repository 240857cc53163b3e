"""The floor: the bare matrix products of a workload's shapes, level by level, into buffers that exist already.

No sum-product on this tree, level by level, can do less; the operands are random numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _models import Edges, Regular

__all__ = ["edges_floor", "regular_floor"]


def regular_floor(model: Regular, batch: int) -> Callable[[], None]:
    """Both directions; per level one product for each sibling position."""
    shapes, nodes = [], 1
    for w in model.weights:
        shapes.append((*w.shape, nodes * batch))
        nodes *= w.shape[0]
    return _floor(shapes, both=True)


def edges_floor(model: Edges, batch: int, both: bool = True) -> Callable[[], None]:
    """One or both directions; per level one product for each edge, states padded to the level's largest cardinality."""
    shapes = []
    for level in range(1, int(model.level.max()) + 1):
        here = model.level == level
        above = int(model.cardinality[model.level == level - 1].max())
        shapes.append((int(here.sum()), above, int(model.cardinality[here].max()), batch))
    return _floor(shapes, both)


def _floor(shapes: list[tuple[int, int, int, int]], both: bool) -> Callable[[], None]:
    """Shapes ``(count, S, S', columns)``, root first."""
    levels = []
    for count, out, size, columns in shapes:
        w, h, u = torch.rand(count, out, size), torch.rand(count, size, columns), torch.rand(count, out, columns)
        levels.append((w, w.mT, h, u, torch.empty_like(u), torch.empty_like(h)))

    def run() -> None:
        for w, _, h, _, q, _ in reversed(levels):
            torch.bmm(w, h, out=q)
        if both:
            for _, w, _, u, _, r in levels:
                torch.bmm(w, u, out=r)

    return run
