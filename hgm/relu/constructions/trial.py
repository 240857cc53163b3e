"""Constructions from outside are tried once, when they are made: what they say of themselves goes into certificates.

Those of hgm are not tried: their tests are.
"""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hgm.errors import BadExtension, extension
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.pieces.piecewise import PiecewiseLinear

__all__ = ["check_kind", "number", "steps", "try_out"]

EPS = torch.finfo(torch.float64).eps
COLUMNS = 32


def check_kind(kind: str, made: object) -> type[LogMatrix]:
    """What is registered as `kind`. Raises `BadExtension` unless it is a whole subclass of `LogMatrix` of that kind."""
    if not isinstance(made, type) or not issubclass(made, LogMatrix):
        raise BadExtension(f"the construction {kind!r} must be a subclass of LogMatrix; got {made!r:.100}")
    own = {name for c in made.__mro__[: made.__mro__.index(LogMatrix)] for name in vars(c)}
    for method in ("build", "forward", "rounding_steps"):
        if method not in own:
            raise BadExtension(f"the construction {made.__name__} has no {method}; LogMatrix says what it must do")
    if getattr(made, "kind", None) != kind:
        raise BadExtension(
            f"the construction {made.__name__} must have the kind under which it is registered, {kind!r}, because "
            f"files keep that; got {getattr(made, 'kind', None)!r}"
        )
    return made


def number(value: object, what: str) -> float:
    """A number from 0 up, possibly infinite, but not NaN. Raises `BadExtension`, saying `what` it is, for another."""
    if not isinstance(value, Real) or not float(value) >= 0:
        raise BadExtension(f"{what} must be a number from 0 up; got {value!r:.100}")
    return float(value)


def steps(module: LogMatrix, magnitude: float) -> float:
    """`LogMatrix.rounding_steps`. Raises `BadExtension` if that fails, or is no number from 0 up."""
    what = f"{type(module).__name__}.rounding_steps({magnitude:g})"
    with extension(what):
        allowance = module.rounding_steps(magnitude)
    return number(allowance, what)


@torch.no_grad()
def try_out(module: object, kind: str, log_potential: npt.ArrayLike) -> LogMatrix:
    """A construction for a potential, once it is seen to keep its error.

    One from outside is run on messages of many sizes, and so is what files would make of its pieces.

    Raises:
        BadExtension: if it is none, or its output has a wrong shape or is off by more than its error.
    """
    if type(module).__module__.startswith("hgm."):
        return module  # type: ignore[return-value]
    if not isinstance(module, LogMatrix) or module.kind != kind:
        raise BadExtension(
            f"build of the construction {kind!r} must give one of this kind; got a {type(module).__name__}"
        )
    table, name = np.asarray(log_potential, dtype=np.float64), type(module).__name__
    error, pieces = number(getattr(module, "error", None), f"{name}.error"), getattr(module, "pieces", None)
    units = getattr(module, "units", None)
    if not isinstance(units, Integral) or int(units) < 0:
        raise BadExtension(f"{name}.units must be the number of its ReLUs; got {units!r:.100}")
    if not isinstance(pieces, tuple) or not all(isinstance(piece, PiecewiseLinear) for piece in pieces):
        raise BadExtension(f"{name} must call super().__init__(log_potential, pieces) with PiecewiseLinear pieces")
    sizes = np.geomspace(0.1, 30, COLUMNS)
    h = torch.from_numpy(np.random.default_rng(0).normal(size=(table.shape[1], COLUMNS)) * sizes)
    h -= h.amax(0)
    exact = torch.logsumexp(torch.from_numpy(table)[:, :, None] + h, 1)
    size = float(h.abs().max()) + float(np.abs(table[np.isfinite(table)]).max(initial=0.0))
    out = _run(module, h, exact)
    off = float((out - exact).amax(0).sub((out - exact).amin(0)).max())
    if not off <= error + 2 * EPS * (steps(module, size) + 32 * (1 + size)):
        raise BadExtension(f"{name} says that its error is {error:g}, but it is off by {off:g} from log psi e^h")
    with extension(f"{name}(log_potential, pieces), by which files make it again,"):
        again = type(module)(log_potential, pieces)
    if again.error != error or not torch.equal(_run(again, h, exact), out):
        raise BadExtension(f"{name}(log_potential, pieces), by which files make it again, gives another construction")
    return module


def _run(module: LogMatrix, h: Tensor, like: Tensor) -> Tensor:
    """What it makes of messages. Raises `BadExtension` unless that is finite, and of the right shape and type."""
    what = f"{type(module).__name__}.forward"
    with extension(what):
        out = module(h)
    if not isinstance(out, Tensor) or out.shape != like.shape or out.dtype != like.dtype:
        got = f"{out.dtype} of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise BadExtension(f"{what} must give {like.dtype} of shape {tuple(like.shape)}; got {got}")
    if not math.isfinite(float(out.abs().sum())):
        raise BadExtension(f"{what} gives NaN or infinity for finite messages")
    return out
