"""A model of pyro run again with states that were chosen, held against the tables that were read from it.

Dimensions show what a model does with tensors. What it does with states otherwise (numbers taken out of a tensor, sums
over a plate whose positions are all enumerated alike) shows only when it is run with definite states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor

from hgm.bridges.pyro_factors import Factor, Latents, plates_of
from hgm.errors import BadSpec
from hgm.tree.labels import Label
from hgm.tree.tree import Tree

__all__ = ["check_replayed", "covering"]

MOST_RUNS = 64


def check_replayed(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    tree: Tree,
    factors: Sequence[Factor],
    latents: Latents,
) -> None:
    """Raises `BadSpec`, naming the site, if the model given definite states says anything else than the factors."""
    of_site: dict[str, list[Factor]] = {}
    for factor in factors:
        of_site.setdefault(factor.site, []).append(factor)
    for states in covering(tree):
        given = poutine.condition(model, data=_values(states, latents))
        trace = poutine.trace(given).get_trace(*args, **kwargs)
        with pyro.validation_enabled(False):  # which would warn of -inf
            trace.compute_log_prob()
        for name, own in of_site.items():
            if name not in trace.nodes:
                raise BadSpec(
                    f"site {name!r} is not there for all states of the latents; a tree has a fixed set of sites"
                )
            site = trace.nodes[name]
            log = site["unscaled_log_prob"] if name in latents.sites else site["log_prob"]
            got = _at(log, [frame.dim for frame in plates_of(site)], [factor.at for factor in own])
            want = [factor.log[tuple(states[v] for v in factor.scope)] for factor in own]
            if got is None or not np.allclose(got, want, rtol=1e-4 if log.dtype.itemsize < 8 else 1e-8, atol=1e-5):
                raise BadSpec(
                    f"run with definite states, the model gives site {name!r} another log probability than with all "
                    "states at once: it uses a state other than as a tensor, or across a plate"
                )


def covering(tree: Tree) -> Iterator[dict[Label, int]]:
    """States of all variables, so many times that each entry of each factor comes up, at most 64 times.

    From the roots down, each factor gives its children, for each state of its parent, the next combination in turn.
    Factors begin at different ones, so that variables that are alike get different states.
    """
    turn: dict[tuple[int, int], int] = {}
    entries = max([int(tree.cardinality.max()), *(int(np.prod(p.shape)) for p in tree.potentials)])
    for run in range(min(MOST_RUNS, entries)):
        x = np.zeros(len(tree), dtype=np.int64)
        x[tree.roots] = (run + np.arange(len(tree.roots))) % tree.cardinality[tree.roots]
        for f in range(tree.factors):
            children = tree.children_of(f)
            if len(children):
                key = (f, int(x[tree.parent[f]]))
                turn[key] = turn.get(key, sum(key)) + 1
                shape = tree.cardinality[children]
                x[children] = np.unravel_index(turn[key] % int(np.prod(shape)), shape)
        yield {name: int(state) for name, state in zip(tree.names, x, strict=True)}


def _values(states: Mapping[Label, int], latents: Latents) -> dict[str, Tensor]:
    """The values of the latent sites, their positions in the dimensions of their plates."""
    values = {}
    for name, plates in latents.sites.items():
        dims = latents.dims[name]
        own = np.empty(tuple(plates.values()), dtype=np.int64)
        for at in np.ndindex(own.shape):
            own[at] = states[latents.variable(name, dict(zip(plates, at, strict=True)))]
        shape = [1] * max((-dim for dim in dims), default=0)
        for dim, size in zip(dims, own.shape, strict=True):
            shape[dim] = size
        values[name] = latents.states[name][torch.from_numpy(own.transpose(np.argsort(dims)).reshape(shape))]
    return values


def _at(log: Tensor, dims: Sequence[int], positions: Sequence[tuple[int, ...]]) -> np.ndarray | None:
    """A log probability at each position in the plates, which lie in these dimensions; ``None`` if it has others."""
    array, places = log.detach().double().cpu().numpy(), np.array(positions, dtype=np.int64).reshape(len(positions), -1)
    index: list[Any] = []
    for dim in range(-log.ndim, 0):
        if log.shape[dim] > 1 and dim not in dims:
            return None
        index.append(places[:, dims.index(dim)] if log.shape[dim] > 1 else 0)
    return np.broadcast_to(array[tuple(index)], len(positions))
