"""A forward once more: the same operations on the same memory, without what decides them.

A network does the same operations for every input. So those of one forward are recorded (`hgm.networks.recording`), and
the next forwards of that shape are a loop over bound calls: no modules, no views, and no memory that is asked for and
given back. (As CUDA graphs do it, where a launch costs what Python costs here.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hgm.compiler.engine import Engine, as_made, hooks_of
from hgm.compiler.exact import Exact
from hgm.compiler.numerics import unkept
from hgm.evidence.ambient import watched
from hgm.networks.recording import Recording, Run

__all__ = ["Replay"]

#: numbers of log evidence: with more, what decides the operations costs little beside them, and their memory much
MOST = 1 << 19

#: recordings of an engine; to make one takes as long as ten forwards
KEPT = 4

#: kinds of forwards that are counted: of more that take turns none is worth a recording
COUNTED = 64


class Replay:
    """The forwards of an engine that are replayed, and their recordings. A copy, also a pickled one, has none."""

    def __init__(self) -> None:
        self._state: _State | None = None

    def __call__(self, engine: Engine, run: Run, x: Tensor, kind: Hashable) -> tuple[Tensor, ...] | None:
        """``run(x)``, or ``None`` if it is to be run as it is: for the first x of its shape, and where it may not be.

        Args:
            engine: of a network, as it is now.
            run: what the engine is asked for: it looks at no number.
            x: log evidence.
            kind: what tells this function from others of the same engine.
        """
        if watched() or type(engine) is not Exact or not engine.settled:
            return None
        state = self._state  # taken once: another thread may begin anew
        if state is None or not state.holds(engine):
            state = self._state = _State.of(engine)
        if not state.own or any(state.hooks) or not _pays(x):
            return None
        recording = state.recording(run, x, (kind, x.shape, x.dtype))
        return None if recording is None else recording.unless_busy(x)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


@dataclass(eq=False, slots=True)
class _State:
    """Recordings of an engine as it is: with these weights and modules.

    Attributes:
        engine: which.
        weights: the vector of all weights, and how often it was changed in place.
        parts: what each module holds, and how many things; its parts, and what they were.
        own: whether all modules are such that may be recorded.
        hooks: what holds the hooks of each module, and those of all.
        times: how often each kind of forward came before it was recorded.
        patience: how often it is to come.
        kept: the recordings, youngest last.
    """

    engine: Exact
    weights: tuple[Tensor, int | None]
    parts: list[tuple[dict[str, Any], int, dict[str, Any], dict[str, Any]]]
    own: bool
    hooks: list[dict[int, Any]]
    times: Counter[Hashable] = field(default_factory=Counter)
    patience: int = 1
    kept: dict[Hashable, Recording] = field(default_factory=dict)

    @classmethod
    def of(cls, engine: Exact) -> _State:
        modules = list(engine.modules())
        parts: list[Any] = [(vars(m), len(vars(m)), m._modules, dict(m._modules)) for m in modules]
        weights = engine._fixed_of, engine._fixed_at
        return cls(engine, weights, parts, all(map(as_made, modules)), hooks_of(modules))

    def holds(self, engine: Exact) -> bool:
        """Whether the engine is still so: a module may be put in the place of another, or a method in a module."""
        weights, version = self.weights
        if engine is not self.engine or weights is not engine._fixed_of or version != engine._fixed_at:
            return False
        return all(len(held) == size and now == before for held, size, now, before in self.parts)

    def recording(self, run: Run, x: Tensor, key: Hashable) -> Recording | None:
        """That of a kind of forward; made when the kind has come often enough."""
        found = self.kept.get(key)
        if found is not None:
            return found
        self.times[key] += 1
        if self.times[key] > self.patience:
            found = self.kept[key] = Recording(run, x)
            for old in list(self.kept)[:-KEPT]:  # the more are given up, the longer is waited with the next
                self.patience *= 2
                self.kept.pop(old, None)
        elif len(self.times) > COUNTED:
            self.times.clear()
        return found


def _pays(x: Tensor) -> bool:
    """Whether log evidence is small, on the CPU, of numbers one after the other, and nothing that autograd keeps."""
    return type(x) is Tensor and x.device.type == "cpu" and 0 < x.numel() <= MOST and x.is_contiguous() and unkept(x)
