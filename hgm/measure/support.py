"""What an output of a network sees: by the derivative of it with respect to every input.

    energy_u  =  mean over inputs z of  sum_k (d out_v / d z_uk)²  /  the same summed over u          u: a position

The exact support is where the derivative is not zero for some of several random inputs, in float64. A derivative that
is not zero proves an influence, and that of a computation in which a position is not used is exactly zero: so nothing
is called seen that is not, up to sums that cancel but for rounding. (Spreading a NaN, the other way, calls seen what is
multiplied by zero: a masked kernel, masked attention.) What is missed has slope 0 at all inputs that were drawn.

The effective size is the number of positions over which the energy would be spread evenly: 1 / sum_u energy_u², the
participation number. Luo et al., Understanding the effective receptive field, 1701.04128, is about how small it can be.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hgm.diffusion.scale import row_shape
from hgm.errors import BadEvidence, BadExtension, BadSpec, brief, extension
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Gaussian
from hgm.evidence.symbols import as_tensor
from hgm.tree.arguments import MOST, is_series, number, whole

__all__ = ["ReceptiveField", "receptive_field"]


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What one output sees.

    Attributes:
        at: the output's position; ``()`` for the whole answer.
        support: booleans in the shape of the leaves: which inputs have any influence on it.
        energy: in the same shape, the share of each input in its squared derivative; sums to 1 (0 if it sees nothing).
    """

    at: tuple[int, ...]
    support: np.ndarray
    energy: np.ndarray

    @property
    def size(self) -> int:
        """How many positions it sees."""
        return int(self.support.sum())

    @property
    def extent(self) -> tuple[int, ...]:
        """The sides of the smallest box that holds all that it sees; 0 for nothing."""
        seen = np.argwhere(self.support)
        return tuple(int(n) for n in np.ptp(seen, axis=0) + 1) if len(seen) else (0,) * self.support.ndim

    @property
    def whole(self) -> bool:
        """Whether it sees every position."""
        return bool(self.support.all())

    @property
    def effective(self) -> float:
        """1 / sum of energy²: over how many positions the influence is spread; 0 if it sees nothing."""
        total = float(np.square(self.energy).sum())
        return 1 / total if total else 0.0

    def __str__(self) -> str:
        sides, total = "x".join(map(str, self.extent)), self.support.size
        where = "all" if self.whole else f"{self.size} of {total}"
        what = f"the output at {self.at}" if self.at else "the answer"
        return f"{what} sees {where} positions ({sides}), effectively {self.effective:.1f}"


def receptive_field(
    net: Any,
    shape: Any = None,
    sigma: float = 1.0,
    at: Any = None,
    inputs: Any = 8,
    seed: int = 0,
) -> ReceptiveField:
    """What one output of a network sees, exactly and effectively.

        hgm.receptive_field(net).extent          # (7, 7) of a CNN with three layers of 3x3

    Args:
        net: a network ``f(z, sigma)`` of values: one of `hgm.baselines.make`, a compiled one, or any of your own. A
            module is copied, in float64 and as in evaluation (in training BatchNorm sees all positions of all rows); a
            function must take float64.
        shape: of a row of z; default that of the network's leaves (with the components of vectors before it). Of a
            network of your own all axes are positions: ``(n,)`` or ``(H, W)``.
        sigma: the noise level, > 0.
        at: the output's position; default the middle one. ``()``: the whole answer, of any shape ``(B, ...)``, which is
            the default for a network that classifies.
        inputs: how many random inputs are tried, standard normal times sqrt(1 + sigma²); or the inputs themselves,
            ``(B, *shape)``, such as noisy data: the energy is a mean over them, and depends on what they are.
        seed: of the random ones, and of the directions of vectors.

    Raises:
        BadSpec: for a bad argument, or a network that reads symbols.
        BadEvidence: for inputs of another shape, or that are not finite.
        BadExtension: for a network that fails, or gives an answer of another shape.
    """
    sigma = number(sigma, "sigma must be a positive number", lambda x: 0 < x < float("inf"))
    whole("seed", seed, 0)
    row, positions = _shapes(net, shape)
    at = _default(net, positions) if at is None else _place(at, positions)
    source = torch.Generator().manual_seed(seed)
    rows = _rows(inputs, row, sigma, source)
    with torch.inference_mode(False), torch.enable_grad():
        energy = torch.zeros(positions, dtype=torch.float64)
        support = torch.zeros(positions, dtype=torch.bool)
        network, device = _copied(net)
        for z in rows:
            slope = _slope(network, z.to(device).requires_grad_(), sigma, positions, at, source)
            support |= (slope != 0).any(0)
            energy += slope.square().sum(0)
    total = float(energy.sum())
    return ReceptiveField(at, support.numpy(), (energy / total if total else energy).numpy())


def _shapes(net: Any, shape: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a row of z, and of its positions."""
    if not callable(net) or isinstance(net, type):
        raise BadSpec(f"net must be a network f(z, sigma); got {brief(net)}")
    own, channel = getattr(net, "leaf_shape", None), getattr(net, "channel", None)
    if isinstance(channel, Channel) and not isinstance(channel, Gaussian):
        raise BadSpec(f"derivatives are with respect to values, as of hgm.Gaussian; the network reads {brief(channel)}")
    if shape is None and own is None:
        raise BadSpec("give the shape of a row of z, such as shape=(16, 16): the network does not say what its is")
    if shape is not None:
        sides = list(shape) if is_series(shape) else [shape]
        given = tuple(whole("shape", int(n) if isinstance(n, np.integer) else n, 1, MOST) for n in sides)
        if not given:
            raise BadSpec("shape must have an axis; got ()")
    row = row_shape(own, channel) if own is not None else given
    if shape is not None and given != row:
        raise BadSpec(f"a row of this network's z has the shape {row}; got shape={brief(shape)}")
    return row, tuple(own) if own is not None else row


def _rows(inputs: Any, row: tuple[int, ...], sigma: float, source: torch.Generator) -> Iterator[Tensor]:
    """Inputs ``(1, *row)``, float64: as given, or drawn."""
    if isinstance(inputs, int) or not hasattr(inputs, "__len__"):
        return _drawn(whole("inputs", inputs, 1, 10_000), row, sigma, source)
    given = as_tensor(inputs, "inputs").detach()
    if tuple(given.shape[1:]) != row or not len(given):
        shape = ", ".join(map(str, row))
        raise BadEvidence(f"inputs must be how many, or rows of z, ({shape}) each; got {tuple(given.shape)}")
    given = given.double()
    if not bool(given.isfinite().all()):
        raise BadEvidence("inputs must be finite; there is a NaN or an infinite number among them")
    return iter(given.split(1))


def _drawn(count: int, row: tuple[int, ...], sigma: float, source: torch.Generator) -> Iterator[Tensor]:
    for _ in range(count):
        yield torch.randn(1, *row, generator=source, dtype=torch.float64) * (1 + sigma**2) ** 0.5


def _default(net: Any, positions: tuple[int, ...]) -> tuple[int, ...]:
    """The middle position, or the whole answer, if it has no positions."""
    return () if getattr(net, "task", None) == "classify" else tuple(n // 2 for n in positions)


def _place(at: Any, positions: tuple[int, ...]) -> tuple[int, ...]:
    """A position, checked; none for the whole answer."""
    place = list(at) if is_series(at) else [at]
    if len(place) not in (0, len(positions)):
        raise BadSpec(
            f"at must be a position among {positions}, one number per axis, or () for the whole answer; got {brief(at)}"
        )
    return tuple(whole("at", i, 0, n - 1) for i, n in zip(place, positions, strict=bool(place)))


def _copied(net: Any) -> tuple[Any, torch.device]:
    """A module's copy in float64, in evaluation, and where it is; a function as it is."""
    if not isinstance(net, nn.Module):
        return net, torch.device("cpu")
    with extension(f"copying the network {type(net).__name__}"):
        other = copy.deepcopy(net).double().eval().requires_grad_(False)
    return other, next((x.device for x in (*other.parameters(), *other.buffers())), torch.device("cpu"))


def _slope(
    net: Any, z: Tensor, sigma: float, positions: tuple[int, ...], at: tuple[int, ...], source: torch.Generator
) -> Tensor:
    """``(k, *positions)`` the derivative of an output, in a random direction if it has components itself."""
    nothing = torch.zeros(1, *positions, dtype=torch.float64)
    what = f"the network {type(net).__name__}"
    with extension(what):
        out = net(z, torch.full((1,), sigma, dtype=z.dtype, device=z.device))
    if not isinstance(out, Tensor) or out.shape[:1] != (1,):
        raise BadExtension(f"{what} must give a tensor (B, ...), with one row for one row of z; got {brief(out)}")
    if at and tuple(out.shape[1:][-len(positions) :]) != positions:
        raise BadExtension(
            f"{what} must give a tensor (B, ..., *positions), positions {positions}; got {brief(out)}; "
            "for an answer without positions, such as a classifier's, give at=()"
        )
    here = out.reshape(-1, *positions) if at else out.reshape(-1)
    for i in reversed(at):
        here = here[..., i]
    if not here.requires_grad:
        return nothing
    one = len(here) == 1
    direction = (torch.ones(1) if one else torch.randn(len(here), generator=source, dtype=torch.float64)).to(here)
    with extension(what):
        (slope,) = torch.autograd.grad(here @ direction, z, allow_unused=True, materialize_grads=True)
    if not bool(slope.isfinite().all()):
        raise BadExtension(f"{what} has a derivative that is NaN or infinite")
    return slope.reshape(-1, *positions).cpu()
