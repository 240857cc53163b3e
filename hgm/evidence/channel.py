"""What an observation channel is: how the symbol at a leaf is observed. Each maps an observation to log evidence.

    e_v(a) = log p(observation at v | x_v = a)          up to a constant that does not depend on a

Shapes: observations are ``(B, *positions)``, or ``(B, k, *positions)`` for vectors. Log evidence is made states first,
``(S, n, B)``, as the networks compute, and seen from outside as ``(B, S, *positions)``.

A new channel says what the log evidence is, and, for `hgm.export` and all that draws observations, how it observes:

    class Poisson(Channel, name="poisson"):
        pointwise = True

        def states_first(self, z, *noise):
            z, rate = self.batch_last(z), self.table()[:, None, None]
            return z * rate.log() - rate

        def observe(self, x, *noise, generator=None):
            return torch.poisson(self.table()[x], generator=generator)

Noise, an exposure say, is a number or one per row, position or state: ``self.spread(noise[0], z, "exposure")`` makes it
fit. The name is what files and the command line call it. `hgm.testing.ChannelConformance` tests it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache
from inspect import signature
from itertools import zip_longest
from math import inf, prod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from hgm.errors import BadEvidence, BadExtension, BadSpec, brief, check_free, extension, listing
from hgm.evidence.frames import check_unnamed
from hgm.evidence.noise import along, as_noise, check_shape, reordered, states_first
from hgm.evidence.symbols import as_tensor
from hgm.tree.arguments import MOST, whole

__all__ = ["CHANNELS", "Channel", "channel_of", "check_arguments", "entry_of"]

Values = Tensor | Sequence[float] | Sequence[Sequence[float]]

#: the channels by name: those of the library once `hgm.evidence.channels` is imported, and every other with a name
CHANNELS: dict[str, type[Channel]] = {}


class Channel(nn.Module):
    """Base of all channels.

    A subclass has `states_first`, and a name (``class Mine(Channel, name="mine")``) if files are to hold it. A channel
    knows the `values` of its states: what a denoiser averages, E[value(x_v) | observation]. States and values that are
    not given are filled in by `hgm.compile` from the tree (values 0 to S - 1).

    Args:
        values: ``(S,)`` or ``(S, k)`` the value of each state; default 0 to S - 1.
        states: S, if `values` is not given; default that of the tree it is compiled for.

    Attributes:
        kind: its name in `CHANNELS`, ``None`` if it has none.
        reach: the largest difference of two finite log evidences at a position that there can be, whatever is observed.
        pointwise: whether each position is read by itself, with noise as `spread` takes it: then positions may be put
            in another order before they are read.
        reads_symbols: whether integers that are observed are symbols, numbers of states with -1 for missing, and no
            values: then labels, and variables with fewer states, are looked after.
        noise_names: what the arguments after the observation are called in ONNX files.
    """

    kind: ClassVar[str | None] = None
    reach: float = inf
    pointwise: ClassVar[bool] = False
    reads_symbols: bool = False
    noise_names: tuple[str, ...] = ()
    values: Tensor | None

    def __init_subclass__(cls, *, name: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.kind = name
        if name is None:
            return
        if not isinstance(name, str) or not name:
            raise BadExtension(f"the name of the channel {cls.__name__} must be a word; got {name!r:.100}")
        check_free(cls, CHANNELS.get(name, cls), f"the channel named {name!r}", BadSpec)
        CHANNELS[name] = cls

    def __init__(self, values: Values | None = None, states: int | None = None) -> None:
        super().__init__()
        if states is not None:
            whole("states", states, 1, MOST)
        if values is None and states is not None:
            values = torch.arange(states, dtype=torch.float64)
        table, what = None, "the values of a channel"
        if values is not None:
            check_unnamed(values, "index" if getattr(values, "ndim", 0) == 1 else "columns", what)
            table = as_tensor(values, what).detach().to(torch.float64, copy=True)
            if table.ndim not in (1, 2) or not len(table) or table.is_meta or not bool(table.isfinite().all()):
                raise BadEvidence(f"{what} must be finite, of shape (S,) or (S, k); got {brief(values)}")
            if states not in (None, len(table)):
                raise BadEvidence(f"{what} are of {len(table)} states, but states={states}")
        self.register_buffer("values", table)

    @property
    def states(self) -> int | None:
        """S, or ``None`` while it is not known."""
        return None if self.values is None else len(self.values)

    def table(self) -> Tensor:
        """`values`. Raises `BadEvidence` while they are not known."""
        if self.values is None:
            raise BadEvidence(
                f"{type(self).__name__} does not know its states yet; give values=..., or use it through hgm.compile"
            )
        return self.values

    def bound(self, states: int) -> Self:
        """A copy of this channel for trees with so many states at a leaf. Raises `BadEvidence` if it has others."""
        whole("states", states, 1, MOST)
        channel = copy.deepcopy(self)
        if self.values is None:
            channel.values = torch.arange(states, dtype=torch.float64)
            return channel
        if self.states != states:
            raise BadEvidence(
                f"{type(self).__name__} has values for {self.states} states, but the leaves have {states}"
            )
        return channel

    # ------------------------------------------------------------------ from an observation to log evidence

    def states_first(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        """Log evidence ``(S, n, B)`` of an observation: positions flattened, contiguous."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its log evidence is: give it states_first")

    def forward(self, z: Tensor, *noise: Tensor | float) -> Tensor:
        """Log evidence ``(B, S, *positions)`` of an observation: a view of `states_first`."""
        z = as_tensor(z, f"{type(self).__name__}: an observation")
        e = self.states_first(z, *noise)
        return e.reshape(e.shape[0], *self.positions(z), e.shape[2]).movedim(-1, 0)

    def positions(self, z: Tensor) -> tuple[int, ...]:
        """The shape of the positions of an observation: all axes but the batch. A channel of vectors has its own."""
        return tuple(z.shape[1:])

    def batch_last(self, z: Tensor) -> Tensor:
        """An observation as ``(n, B)``, or ``(k, n, B)`` of vectors: contiguous, without a copy where it is so already.

        Raises:
            BadEvidence: if it has no batch axis.
        """
        if not z.ndim:
            raise BadEvidence(f"{type(self).__name__}: an observation has a batch as its first axis; got one number")
        positions = self.positions(z)
        components = z.shape[1 : z.ndim - len(positions)]
        flat = z.reshape(z.shape[0], prod(z.shape[1:])).t().contiguous()  # of all ways to turn it the fastest
        return flat.view(*components, prod(positions), z.shape[0])

    def rearranged(self, order: Tensor, z: Tensor, *noise: Tensor | float) -> tuple[Any, ...] | None:
        """The arguments with their positions flattened and put in another order: ``z[..., order]``, and noise.

        ``None`` if the positions must stay as they are; then it is the log evidence that is put in order.
        """
        if not self.pointwise:
            return None
        positions = self.positions(z)
        for value, name in zip_longest(noise, self.noise_names[: len(noise)], fillvalue="noise"):
            if isinstance(value, Tensor) and (value.ndim > 1 or name in self.noise_names):
                check_shape(value, z.shape[0], len(self.table()), positions, name)
        moved = (reordered(value, order, positions) for value in noise)
        return self.batch_last(z).index_select(-2, order).movedim(-1, 0), *moved

    def spread(self, value: Tensor | float, z: Tensor, name: str) -> Tensor:
        """Noise for an observation z, as it fits log evidence states first ``(S, n, B)``.

        Args:
            value: a number; one per batch row ``(B,)``; one per position ``(B, *positions)``; or one per state ``(B, S,
                *positions)``. The rank decides which. Axes of the last two may be 1: ``(B, 1, 1)``, ``(1, S, 1, 1)``.
            z: the observation.
            name: what to call it in an error.

        Returns:
            ``(B or 1,)``, ``(n or 1, B or 1)`` or ``(S or 1, n or 1, B or 1)``, in the precision of z; for symbols, in
            that of a tensor of floats.

        Raises:
            BadEvidence: for another shape.
        """
        noise, positions = as_noise(value, z, name), self.positions(z)
        check_shape(noise, z.shape[0] if z.ndim else 1, len(self.table()), positions, name)
        return states_first(noise, positions)

    # ------------------------------------------------------------------ from symbols to an observation

    def noise_at(self, value: Tensor | float, x: Tensor, name: str) -> Tensor:
        """Noise for symbols x ``(B, *positions)``, as it fits them: of noise per state that of each symbol.

        Arguments and errors as for `spread`.
        """
        noise, positions = as_noise(value, x, name), tuple(x.shape[1:])
        check_shape(noise, x.shape[0] if x.ndim else 1, len(self.table()), positions, name)
        return along(noise, x)

    def observe(self, x: Tensor, *noise: Tensor | float, generator: torch.Generator | None = None) -> Tensor:
        """An observation of symbols ``(B, *positions)``, drawn from the channel.

        `generator` is the source of randomness, on the device of x; default torch's global one.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it observes symbols: give it observe")

    def example(self, x: Tensor, dtype: torch.dtype, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """An observation of symbols with typical noise, and the noise ``(B,)``: to trace and to test with."""
        noise = [torch.full((x.shape[0],), 0.25, dtype=dtype, device=x.device) for _ in self.noise_names]
        what = f"{type(self).__name__}.observe"
        if type(self).observe is Channel.observe:
            raise BadSpec(f"{type(self).__name__} does not say how it observes symbols: give it observe")
        with extension(what):
            z = self.observe(x, *noise, generator=generator)
        if not isinstance(z, Tensor):
            raise BadExtension(f"{what} must give a tensor, the observation; got a {type(z).__name__}")
        return z.to(dtype) if z.is_floating_point() else z, *noise

    # ------------------------------------------------------------------ in files

    def entry(self) -> dict[str, Any]:
        """What a file says of the channel besides its tensors, as JSON values.

        That is its name under ``"kind"``, and whatever its constructor takes besides `values`.

        Raises:
            BadSpec: if it has no name.
        """
        if self.kind is None:
            name = type(self).__name__
            raise BadSpec(
                f"the channel {name} has no name for files: define it as class {name}(Channel, name=...), "
                "or keep this network's state_dict()"
            )
        return {"kind": self.kind}

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any], values: Tensor | None) -> Self:
        """The channel of an `entry` with these values."""
        return cls(values=values, **{key: given for key, given in entry.items() if key != "kind"})

    def extra_repr(self) -> str:
        if self.values is None:
            return "states of the tree"
        return f"{len(self.values)} states" + (f", values in R^{self.values.shape[1]}" if self.values.ndim == 2 else "")


def channel_of(entry: Mapping[str, Any], values: Tensor | None) -> Channel:
    """The channel of an entry that a file holds, with these values.

    Raises:
        BadSpec: if no channel has its name, or the channel cannot be made from it.
    """
    kind = CHANNELS.get(entry["kind"])
    if kind is None:
        raise BadSpec(
            f"no channel is named {entry['kind']!r}, only {', '.join(CHANNELS)}; import the module that defines it"
        )
    try:
        channel = kind.from_entry(entry, values)
    except (TypeError, KeyError) as error:
        raise BadSpec(f"the channel {entry['kind']} cannot be made from {dict(entry)}: {error}") from None
    if not isinstance(channel, kind):
        raise BadExtension(f"{kind.__name__}.from_entry must give such a channel; got a {type(channel).__name__}")
    return channel


def entry_of(channel: Channel) -> dict[str, Any]:
    """`Channel.entry`, once it is seen that the channel can be made from it again.

    Raises:
        BadExtension: if it cannot, or the entry is not a dict of JSON values with its kind.
    """
    kind, name = type(channel), type(channel).__name__
    with extension(f"{name}.entry()"):
        entry = channel.entry()
        json.dumps(entry)
    if not isinstance(entry, dict) or entry.get("kind") != channel.kind:
        raise BadExtension(f"{name}.entry() must be a dict with 'kind': {channel.kind!r}; got {entry!r:.100}")
    if kind.from_entry.__func__ is Channel.from_entry.__func__:  # type: ignore[attr-defined]
        named = [p.name for p in signature(kind).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        lost = [name for name in named if name not in ("values", "states", *entry)]
        if "values" not in named or lost:
            lack = f"also takes {listing(lost)}, which entry() must hold" if lost else "must take values"
            raise BadExtension(f"a file cannot hold the channel {name}: its __init__ {lack}")
    channel_of(entry, channel.values)
    return entry


def check_arguments(channel: Channel, given: Sequence[Any]) -> None:
    """Raise `BadEvidence` if `states_first` of a channel does not take so many arguments."""
    takes = _signature(type(channel).states_first)
    try:
        takes.bind(channel, *given)
    except TypeError as error:
        raise BadEvidence(f"{type(channel).__name__}.states_first takes {takes}: {error}") from None


_signature = cache(signature)
