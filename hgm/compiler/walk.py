"""Collect for many rows: node by node instead of level by level, over blocks of rows that stay in cache.

A stage runs all nodes of a level at once, so that few calls do much; but it reads its messages from memory, writes them
there, and all are kept. Where a batch has so many rows that one edge is worth a call, and only the roots are asked for,
walking costs less (`hgm.compiler.steps`). Evidence is given as logs, or as symbols: then the subtrees of few leaves are
tables, of which columns are looked up (`hgm.compiler.tables`).

What a walk needs in memory is bounded, for every model and batch: a block's evidence, of at most `EVIDENCE` bytes, the
messages that are alive (at most 2 + log2 V), of at most `MOST` numbers each, and the steps, which are kept for the next
call: with symbols up to `hgm.compiler.tables.COLUMNS` columns for two leaves or more. What it returns is ``(S, B)`` for
each root.
"""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hgm.compiler.engine import Engine, as_made, hooks_of
from hgm.compiler.exact import Exact
from hgm.compiler.layers import Conv, LocalEdges, PathEdges
from hgm.compiler.stage import Message, Scale
from hgm.compiler.stages.gather import Gather
from hgm.compiler.stages.general import General
from hgm.compiler.stages.path import Paths
from hgm.compiler.stages.regular import Regular
from hgm.compiler.steps import Program
from hgm.evidence.coded import Coded

__all__ = ["Walk", "Walked"]

#: numbers of a message, S times rows: with fewer, a call for one edge costs more than what it does; with more, messages
#: leave the cache
FEWEST, MOST = 1 << 12, 1 << 16

#: bytes of the evidence of a block, at most: of symbols, or of logs for all states
EVIDENCE = 1 << 24


class Walked(NamedTuple):
    """What is left of a collect at its end, as `Exact.roots` and `Exact.partition` take it."""

    messages: list[Message]
    scales: list[Scale]
    full: Tensor | None = None


class Walk:
    """The collects of an engine of which only the roots are asked for, where they are of many rows.

    A walk computes what `Exact.collect` does, in another order: the same products, rescaled where the same bounds ask
    for it (`hgm.compiler.ranges`).

    Args:
        engine: of a network.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._states = max(level.states for level in engine.plan.levels)
        self._kept: dict[Any, Program] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}

    def rows(self, width: int) -> int:
        """How many rows are walked at once, each with so many bytes of evidence."""
        return min(MOST // self._states, EVIDENCE // width)

    def pays(self, rows: int, width: int, device: torch.device, *, symbols: bool = False) -> bool:
        """Whether a batch of so many rows, each with so many bytes of evidence, is to be walked.

        That is so where a message has `FEWEST` numbers, on a CPU, for models of edges and priors whose kernels are all
        linear, with weights that do not learn, and where nobody looks on, or has put a method in a module: stages have
        hooks, a walk has none. Without symbols some stage must be irregular: regular ones have matrix products as large
        as those of a walk.
        """
        engine = self.engine
        enough = min(rows, self.rows(width)) * self._states >= FEWEST
        if not enough or device.type != "cpu" or not isinstance(engine, Exact) or not engine.settled:
            return False
        if not symbols and all(type(stage) is Regular for stage in engine.stages):
            return False
        layers = [layer for stage in engine.stages for layer in stage.layers()]
        return (
            all(level.kernel == "linear" for level in engine.plan.levels)
            and all(type(stage) in (Gather, Regular, General, Paths) for stage in engine.stages)
            and all(type(layer) in (Conv, LocalEdges, PathEdges) for layer in layers)
            and not any(hooks_of(engine.encoder.modules()))
            and all(map(as_made, engine.modules()))
        )

    @torch.no_grad()
    def __call__(self, e: Tensor | Coded) -> Walked | None:
        """The messages of the roots, from evidence as for `collect`, or from symbols.

        ``None`` if they show a row that is impossible, or not a number: then `collect` says what is wrong.
        """
        engine, kind = self.engine, (type(e), e.dtype)
        assert isinstance(engine, Exact)
        program = self._kept.get(kind)
        if program is None or not program.fits(engine, e):
            program = self._kept[kind] = Program(engine, e)
        rows = e.symbols.shape[0] if isinstance(e, Coded) else e.shape[2]
        size = ceil(rows / ceil(rows / self.rows(e.width if isinstance(e, Coded) else e[..., 0].nbytes)))
        done = [program.run(e, slice(i, i + size)) for i in range(0, rows, size)]
        h, taken = (torch.cat(parts, -1) for parts in zip(*done, strict=True))
        if not bool((h.sum(0) > 0).all()):
            return None
        return Walked([Message(h, "linear", e.dtype)], [Scale(taken.view(1, 1, -1), "log")])
