"""How a network runs: a batch in slices, by a walk where that pays, in half precision, with weights for each row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from hgm.compiler.engine import Engine
from hgm.compiler.exact import Exact
from hgm.compiler.walk import Walk
from hgm.errors import ImpossibleEvidence
from hgm.evidence.ambient import check_of, checking, transformed
from hgm.evidence.channel import Channel
from hgm.evidence.potentials import GivenPotentials
from hgm.networks.checked import Checked
from hgm.networks.intake import HALF, Intake
from hgm.networks.memory import keep_freed_memory
from hgm.networks.replay import Replay

__all__ = ["Running"]

#: inference without gradients runs batches in slices of about this many numbers per level, to stay in cache; of more on
#: other devices, where launches cost
SLICE, DEVICE_SLICE = 1 << 21, 1 << 27


class Running(Intake, Checked):
    """The part of a network that runs its engine.

    Args:
        engine: passes messages.
        channel: maps the observation of the leaves to log evidence.
        leaf_shape: shape of the leaf level.

    Attributes:
        engine: as given.
        replay: the engine's way for the next input of a shape.
    """

    #: outputs for which a collect is enough
    upward: ClassVar[frozenset[str]] = frozenset({"log_partition"})

    def __init__(self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...]) -> None:
        super().__init__(engine.plan, channel, leaf_shape)
        keep_freed_memory()
        self.engine = engine
        self._walk = Walk(engine)
        self.replay = Replay()

    @property
    def walk(self) -> Walk:
        """The engine's way for many rows."""
        if self._walk.engine is not self.engine:  # another one was put in its place
            self._walk = Walk(self.engine)
        return self._walk

    @abstractmethod
    def _read(self, collected: Any, names: Sequence[str]) -> dict[str, Tensor]:
        """The outputs but the log partition, from what the engine has collected."""

    def _answers(
        self, names: Sequence[str], e: Tensor, first_row: int = 0, full: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Outputs for log evidence ``(S, n_in, B)`` in the engine's order.

        With the engine's own weights, or with others: ``(P,)``, or ``(B, P)`` for each row.
        """
        if full is not None and full.ndim > 1:
            return self._answers_by_row(names, e, first_row, full)
        x = e.to(self._working(e.dtype))
        found = None
        if full is None:
            found = self.replay(self.engine, lambda x: self._all(names, x, e.dtype), x, (names, e.dtype))
        if found is None:
            return self._found(names, self.engine.collect(x, first_row, full), e.dtype)
        *answers, log_mass = found
        self.engine.deferred.check(log_mass, first_row, self.engine.check_weights)
        return tuple(answers)

    def _all(self, names: Sequence[str], x: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Outputs, then what a check looks at; it looks at nothing itself."""
        assert isinstance(self.engine, Exact)
        with checking(False):
            collected = self.engine.collect(x)
            log_mass = self.engine.log_mass(collected)  # first: reading may overwrite messages
            return *self._found(names, collected, dtype), log_mass

    def _upward(self, names: Sequence[str], e: Tensor, first_row: int = 0, _: None = None) -> tuple[Tensor, ...]:
        """`_answers` by a walk; what is wrong with evidence is said by a collect."""
        walked = self.walk(e)
        return self._answers(names, e, first_row) if walked is None else self._found(names, walked, e.dtype)

    def _found(self, names: Sequence[str], collected: Any, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Outputs, from what the engine has collected."""
        found = {"log_partition": self.engine.partition(collected)} if "log_partition" in names else {}
        others = [name for name in names if name != "log_partition"]
        if others:
            found |= self._read(collected, others)
        return tuple(found[name].to(dtype) for name in names)

    def _answers_by_row(self, names: Sequence[str], e: Tensor, first_row: int, full: Tensor) -> tuple[Tensor, ...]:
        """`_answers` where each row has weights of its own, ``(B, P)``."""
        if not len(full):
            return tuple(x[:0] for x in self._answers(names, e.new_zeros(*e.shape[:2], 1)))
        check = check_of(e, full)
        wanted = (*names, "log_partition") if check and "log_partition" not in names else names

        def one(row: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
            return tuple(x[0] for x in self._answers(wanted, row.unsqueeze(2), 0, weights))

        rows = max(1, (SLICE if e.is_cpu else DEVICE_SLICE) // self.row_size)
        found = torch.func.vmap(one, (2, 0), chunk_size=rows)(e.expand(-1, -1, len(full)), full)
        if check:  # inside, nothing could be
            log_z = found[list(wanted).index("log_partition")]
            self.engine.deferred.check(log_z, first_row, self.engine.check_weights)
        return tuple(found[: len(names)])

    def _exactly(
        self, names: Sequence[str], observation: Sequence[Any], evidence: Any, tables: GivenPotentials | None
    ) -> tuple[Tensor, ...]:
        """`_answers` in a precision that serves, whatever is ambient, with results in that of what is given."""
        z, *noise = self._taken(observation)
        half = z.dtype if z.is_floating_point() else self.dtype
        given, z = z.dtype, z.to(self._working(z.dtype))
        full, dtype = None, None
        if tables is not None and tables.tensors:
            full = self._weights(tables, z)
            if not any(x.is_floating_point() for x in (z, *noise)):
                dtype = half = tables.dtype
                dtype = torch.float32 if dtype in HALF else dtype
        device = z.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                found = self._sliced(names, [z, *noise], evidence, full, dtype)
        else:
            found = self._sliced(names, [z, *noise], evidence, full, dtype)
        return tuple(x.to(half) for x in found) if half in HALF or z.dtype != given else found

    def _sliced(
        self,
        names: Sequence[str],
        observation: Sequence[Tensor],
        evidence: Any,
        full: Tensor | None,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, ...]:
        """Outputs of the whole batch, or, where autograd keeps nothing, of slices of it that stay in cache.

        With given weights `full`, and in `dtype` unless the observation has one.
        """
        given = [t for t in (*observation, evidence, full) if isinstance(t, Tensor)]
        if torch.compiler.is_compiling() or any(transformed(t) for t in given):
            return self._answers(names, self._input(observation, evidence, dtype), 0, full)
        batch = given[0].shape[0] if given[0].ndim else 0
        rows = max(1, (SLICE if given[0].is_cpu else DEVICE_SLICE) // self.row_size)
        learns = torch.is_grad_enabled() and (self.trainable or any(t.requires_grad for t in given))
        answers: Callable[..., tuple[Tensor, ...]] = self._answers
        if full is None and batch and not learns and self.upward.issuperset(names) and check_of(*given) == "now":
            few = evidence is None and self.walk.pays(batch, 2 * len(self.plan.inputs), given[0].device, symbols=True)
            symbols = self._coded(*observation) if few else None
            if symbols is not None and (walked := self.walk(symbols)) is not None:
                return self._found(names, walked, walked.messages[0].dtype)
            if self.walk.pays(batch, 4 * self.row_size, given[0].device):
                answers, rows = self._upward, self.walk.rows(4 * self.row_size)
        if batch <= rows or learns:
            e = self._input(observation, evidence, dtype)
            if e.shape[2]:
                return answers(names, e, 0, full)
            return tuple(x[:0] for x in self._answers(names, e.new_zeros(*e.shape[:2], 1), 0, full))

        def part(t: Any, first: int) -> Any:
            per_row = isinstance(t, Tensor) and t.ndim > (t is full) and t.shape[0] == batch
            return t[first : first + rows] if per_row else t

        parts: list[tuple[Tensor, ...]] = []
        impossible: list[int] = []
        for first in range(0, batch, rows):
            e = self._input([part(t, first) for t in observation], part(evidence, first), dtype)
            try:
                parts.append(answers(names, e, first, None if full is None else part(full, first)))
            except ImpossibleEvidence as error:
                impossible += error.rows
        if impossible:
            raise ImpossibleEvidence(impossible)
        return tuple(torch.cat(of) for of in zip(*parts, strict=True))
