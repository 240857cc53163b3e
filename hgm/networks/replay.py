"""A forward once more: the same operations on the same memory, without what decides them.

A network does the same operations for every input. So those of one forward are recorded as torch sees them, and the
next forwards of that shape are a loop over bound calls: no modules, no views, and no memory that is asked for and given
back. (As CUDA graphs do it, where a launch costs what Python costs here.)

    recorded      q = bmm(w, x)        u = div(b, q, out=q)     y = view(u)     p = index_select(y, 1, order)
    replayed      bmm(w, x, out=q)     div(b, q, out=q)                         p = index_select(y, 1, order)

Calls that do not depend on the input are left out; those that make the answer make a new tensor.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hgm.compiler.engine import Engine
from hgm.compiler.exact import Exact
from hgm.compiler.numerics import unkept
from hgm.evidence.ambient import watched

__all__ = ["Recording", "Replay"]

Run = Callable[[Tensor], tuple[Tensor, ...]]

#: numbers of log evidence: with more, what decides the operations costs little beside them, and their memory much
MOST = 1 << 19

#: bytes: memory for vectors begins at a multiple
ALIGNED = 64


class Replay:
    """The forwards of an engine that are replayed, and their recording. A copy, and a pickled one, begins with none.

    Args:
        engine: of a network.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._weights: tuple[Tensor, int | None] | None = None
        self._seen: Hashable = None
        self._kept: dict[Hashable, Recording] = {}

    def __call__(self, run: Run, x: Tensor, kind: Hashable) -> tuple[Tensor, ...] | None:
        """``run(x)``, or ``None`` if it is to be run as it is: for the first x of its shape, and where it may not be.

        Args:
            run: what the engine is asked for: it looks at no number.
            x: log evidence.
            kind: what tells this function from others of the same engine.
        """
        if not self._pays(x):
            return None
        key = (kind, x.shape, x.stride(), x.dtype)
        recording = self._kept.pop(key, None)  # nobody else may use it meanwhile
        if recording is None:
            if key != self._seen:
                self._seen = key
                return None
            recording = Recording(run, x)
        found = recording(x)
        self._kept = {key: recording}
        return found

    def _pays(self, x: Tensor) -> bool:
        """Whether x is small, on the CPU, for an exact engine with fixed weights, and nobody looks on."""
        engine = self.engine
        if watched() or type(engine) is not Exact or not engine.settled:
            return False
        weights, version = self._weights or (None, None)
        if weights is not engine._fixed_of or version != engine._fixed_at:
            self._weights, self._seen, self._kept = (engine._fixed_of, engine._fixed_at), None, {}
        return (
            type(x) is Tensor
            and x.device.type == "cpu"
            and 0 < x.numel() <= MOST
            and unkept(x)
            and self._known
            and all(now == before for now, before in self._parts)
            and not any(self._hooks)
        )

    @cached_property
    def _known(self) -> bool:
        """Whether all parts are hgm's own: others may look at numbers."""
        return all(type(m).__module__.startswith(("hgm.", "torch.")) for m in self.engine.modules())

    @cached_property
    def _parts(self) -> list[tuple[Any, Any]]:
        """The parts of each module, as they are and as they were: one may be put in the place of another."""
        return [(m._modules, dict(m._modules)) for m in self.engine.modules() if m._modules]

    @cached_property
    def _hooks(self) -> list[dict[int, Any]]:
        """What holds the hooks of each module, and those of all."""
        own = [held for m in self.engine.modules() for held in (m._forward_hooks, m._forward_pre_hooks)]
        return [*own, hooks._global_forward_hooks, hooks._global_forward_pre_hooks]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.engine,)


@dataclass(eq=False, slots=True)
class Call:
    """An operation on tensors.

    Attributes:
        function, args, kwargs: what was called.
        made: the new tensors; none if it writes into tensors that were there.
        reads, writes: the memory of its arguments, and where its result is.
        into: the same function with an ``out=``, if it has one.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made: tuple[Tensor, ...]
    reads: set[int]
    writes: set[int]
    into: Callable[..., Any] | None


class _Bound(NamedTuple):
    """A call as it is replayed; `views` says which of its arguments are the input, and how it is looked at."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    views: dict[int, tuple[Any, ...]]

    @classmethod
    def of(cls, call: Call, x: int, anew: bool) -> _Bound:
        """The call, with its result in the tensor that it made, or `anew`, on the memory x of the input."""
        views = {
            i: (arg.shape, arg.stride(), arg.storage_offset())
            for i, arg in enumerate(call.args)
            if isinstance(arg, Tensor) and _memory(arg) == x
        }
        function, args, kwargs = call.into or call.function, call.args, call.kwargs
        if call.made and not anew:
            if call.into is not None:
                kwargs = {**kwargs, "out": call.made[0]}
            else:
                function, args = _copied, (*args, call.made, call.function)
        return cls(function, args, kwargs, views)


class Recording:
    """The operations of a function of one tensor: the numbers that it computes depend on it, what it does may not.

    Args:
        run: the function. Autograd keeps nothing of it.
        x: an argument; the others are to have its shape, strides and precision.
    """

    def __init__(self, run: Run, x: Tensor) -> None:
        with torch.inference_mode(False), torch.no_grad():
            given = x.clone()
            with _Recorder() as seen:
                outputs = run(given)
            todo, last = _varying(seen.calls, _memory(given))
            makers: list[tuple[Call, Tensor]] = []
            for out in outputs:
                maker = last.get(_memory(out))
                alone = [_memory(other) for other in outputs].count(_memory(out)) == 1
                if alone and maker is not None and len(maker.made) == 1 and _memory(out) in maker.writes:
                    todo.remove(maker)  # nothing reads it later: it may be another tensor each time
                else:
                    maker = Call(torch.clone, (out,), {}, (out,), {_memory(out)}, set(), torch.clone)
                makers.append((maker, out))
            calls = [*todo, *(maker for maker, _ in makers)]
            own = _memory(given)
            nested = any(own in _memories([a for a in call.args if not isinstance(a, Tensor)]) for call in calls)
            self._copy = given if nested or any(own in call.writes for call in calls) else None
            self._bound = [_Bound.of(call, own, i >= len(todo)) for i, call in enumerate(calls)]
            self._forms = [
                None if maker.function is torch.clone else (out.shape, out.stride(), out.storage_offset())
                for maker, out in makers
            ]
            _pack(calls, len(todo))

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """The function's value. Not for two threads at once."""
        found = []
        if self._copy is not None:
            x = self._copy.copy_(x)
        for call, args, kwargs, views in self._bound:
            if views:
                args = tuple(_viewed(x, *views[i]) if i in views else arg for i, arg in enumerate(args))
            found.append(call(*args, **kwargs))
        made = zip(found[len(found) - len(self._forms) :], self._forms, strict=True)
        return tuple(new if form is None else new.as_strided(*form) for new, form in made)


class _Recorder(TorchDispatchMode):
    """Notes the operations that go through torch's dispatcher, but for those that only look at memory another way."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch shields modes from its compiler, and imports that for it: in seconds. Nothing is recorded in there."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        reads = _memories((args, kwargs))
        made, name = tuple(t for t in tree_leaves(result) if isinstance(t, Tensor)), func.overloadpacket.__name__
        written = [
            kwargs.get(a.name, args[i] if i < len(args) else None)
            for i, a in enumerate(func._schema.arguments)
            if a.alias_info is not None and a.alias_info.is_write
        ]
        if written:
            own = getattr(Tensor if name.endswith("_") else torch, name, func)
            self.calls.append(Call(own, args, kwargs, (), reads, _memories(written), None))
        elif not made:
            raise RuntimeError(f"{name} looks at numbers: what is recorded may not")
        elif not _memories(made) <= reads:  # else a view
            into = _into(getattr(torch, name, None), args, kwargs, *made) if len(made) == 1 else None
            self.calls.append(Call(func, args, kwargs, made, reads, _memories(made), into))
        return result


def _varying(calls: list[Call], x: int) -> tuple[list[Call], dict[int, Call]]:
    """The calls that must be done for every input, and the last of them that touches each piece of memory."""
    overwritten = {place for call in calls if not call.made for place in call.writes}
    varies, last = {x}, {}
    todo = []
    for call in calls:
        if call.reads & varies or call.writes & (overwritten | varies):
            todo.append(call)
            varies |= call.writes
            last.update(dict.fromkeys(call.reads | call.writes, call))
    return todo, last


def _into(function: Any, args: Any, kwargs: Any, made: Tensor) -> Any:
    """The function of torch that computes the same with an ``out=``; ``None`` if there is none."""
    try:
        again = torch.empty_strided(made.shape, made.stride(), dtype=made.dtype)
        function(*args, **kwargs, out=again)
    except (TypeError, RuntimeError):
        return None
    return function if again.stride() == made.stride() and torch.equal(again, made) else None


def _copied(*given: Any, **kwargs: Any) -> None:
    *args, made, function = given
    found = tree_leaves(function(*args, **kwargs))
    for mine, new in zip(made, found, strict=True):
        mine.copy_(new)


def _pack(calls: list[Call], anew: int) -> None:
    """Lay what the first `anew` calls make into one piece of memory, which is used again when nobody reads it later."""
    tensors = {
        id(t): t for call in calls for t in tree_leaves((call.args, call.kwargs, call.made)) if isinstance(t, Tensor)
    }
    place = {key: _memory(t) for key, t in tensors.items()}
    last = {where: i for i, call in enumerate(calls) for where in call.reads | call.writes}
    ends: dict[int, list[int]] = {}
    for where, i in last.items():
        ends.setdefault(i, []).append(where)
    held: dict[int, tuple[int, int]] = {}  # where each is, and how large the block is
    free: list[tuple[int, int]] = []
    total = 0
    for i, call in enumerate(calls):
        for made in call.made if i < anew else ():
            size = -(-made.untyped_storage().nbytes() // ALIGNED) * ALIGNED
            best = bisect_left(free, (size, 0))
            if best < len(free) and free[best][0] <= 2 * size:
                block = free.pop(best)
            else:
                block, total = (size, total), total + size
            held[_memory(made)] = block
        for where in ends.get(i, ()):
            if where in held:
                insort(free, held[where])
    memory = torch.empty(total, dtype=torch.uint8).untyped_storage()
    for key, t in tensors.items():
        if place[key] in held:
            offset = held[place[key]][1] // t.element_size() + t.storage_offset()
            t.set_(memory, offset, t.shape, t.stride())


def _viewed(x: Tensor, shape: Sequence[int], stride: Sequence[int], offset: int) -> Tensor:
    """x looked at as its copy was, which began at 0 in memory."""
    return x.as_strided(shape, stride, x.storage_offset() + offset)


def _memory(x: Tensor) -> int:
    return x.untyped_storage()._cdata


def _memories(given: Any) -> set[int]:
    return {_memory(x) for x in tree_leaves(given) if isinstance(x, Tensor)}
