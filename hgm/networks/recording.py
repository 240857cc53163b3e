"""The operations of a function of one tensor, recorded as torch sees them, to be done once more on other numbers.

    recorded      q = bmm(w, x)        u = div(b, q, out=q)     y = view(u)     p = index_select(y, 1, order)
    replayed      bmm(w, x, out=q)     div(b, q, out=q)                         p = index_select(y, 1, order)

Calls that do not depend on the input are left out; those that make the answer make a new tensor. The others write into
memory that is laid out once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Recording", "Run"]

Run = Callable[[Tensor], tuple[Tensor, ...]]

#: bytes: memory for vectors begins at a multiple
ALIGNED = 64


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
        x: a contiguous argument; the others are to have its shape and precision.
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
            nested = any(own in _nested(call) for call in calls)
            self._copy = given if nested or any(own in call.writes for call in calls) else None
            self._bound = [_Bound.of(call, own, i >= len(todo)) for i, call in enumerate(calls)]
            self._forms = [
                None if maker.function is torch.clone else (out.shape, out.stride(), out.storage_offset())
                for maker, out in makers
            ]
            _pack(calls, len(todo))
        self._lock = Lock()

    def unless_busy(self, x: Tensor) -> tuple[Tensor, ...] | None:
        """The function's value; ``None`` while another thread is at it, whose memory it is then."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self(x)
        finally:
            self._lock.release()

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


def _nested(call: Call) -> set[int]:
    """The memory of what is inside of a call's arguments, or has a name."""
    return _memories(([a for a in call.args if not isinstance(a, Tensor)], call.kwargs))


def _memories(given: Any) -> set[int]:
    return {_memory(x) for x in tree_leaves(given) if isinstance(x, Tensor)}
