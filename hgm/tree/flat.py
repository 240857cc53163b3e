"""All weights of a model as one vector: the stored entries of every potential, one potential after the other.

    flat = [ log psi_0 entries | log psi_1 entries | ... ]          potential i at offsets(potentials)[i : i + 2]

Networks, learning and files hold the weights of a tree in this form, so tied factors need no further care.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hgm.tree.potential import Potential

__all__ = ["CHUNK", "flatten", "offsets", "owners", "pieces", "runs", "unflatten"]

#: weights that are looked at together where all would take as much memory again
CHUNK = 1 << 20


def offsets(potentials: Sequence[Potential]) -> np.ndarray:
    """``(len(potentials) + 1,)`` where each potential starts in the vector, and where the last one ends."""
    return np.concatenate([[0], np.cumsum([p.size for p in potentials], dtype=np.int64)]).astype(np.int64)


def owners(potentials: Sequence[Potential]) -> np.ndarray:
    """``(P,)`` the potential of each entry of the vector."""
    return np.repeat(np.arange(len(potentials)), np.diff(offsets(potentials)))


def flatten(potentials: Sequence[Potential]) -> np.ndarray:
    """``(P,)`` float64: the log entries of all potentials."""
    start = offsets(potentials)
    flat = np.empty(int(start[-1]))
    for p, first, last in zip(potentials, start[:-1].tolist(), start[1:].tolist(), strict=True):
        flat[first:last] = p.logs().ravel()
    return flat


def runs(potentials: Sequence[Potential]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The vector in parts of whole potentials, of some `CHUNK` weights each, and where each potential starts in its."""
    start = offsets(potentials)
    cuts = np.flatnonzero(np.diff(start[:-1] // CHUNK)) + 1
    for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(potentials)], strict=True):
        yield flatten(potentials[first:last]), start[first:last] - start[first]


def pieces(potentials: Sequence[Potential], flat: np.ndarray) -> list[np.ndarray]:
    """A vector ``(P,)`` cut up: for each potential an array of the shape of its `log_potential`."""
    parts = np.split(flat, offsets(potentials)[1:-1]) if len(potentials) else []
    return [part.reshape(p.log_potential.shape) for p, part in zip(potentials, parts, strict=True)]


def unflatten(potentials: Sequence[Potential], flat: np.ndarray) -> tuple[Potential, ...]:
    """The same potentials with the log entries of a vector ``(P,)``. Raises `BadPotential` for a bad one."""
    return tuple(p.with_log(piece) for p, piece in zip(potentials, pieces(potentials, flat), strict=True))
