"""log Z of many assignments under many models at once, by the network of a tree or by the reference. It never raises.

Both see the same evidence: 0 at the state that was seen, ``-inf`` elsewhere. Several models are one `torch.func.vmap`
of the network.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from hgm.bp.passes import collect
from hgm.bp.rows import in_rows
from hgm.compiler.exact import Exact
from hgm.compiler.schedule import AUTO, planned
from hgm.errors import ImpossibleEvidence
from hgm.evidence.ambient import concrete, making
from hgm.evidence.checked import unobserved
from hgm.evidence.potentials import GivenPotentials
from hgm.evidence.symbols import MISSING, allowed
from hgm.tree.tree import Tree

__all__ = ["evidence_of", "for_rows", "log_partition"]

ROWS = 1 << 21  # numbers of evidence that are computed at once
FEW = 1 << 16  # rows times S^3 up to which paths are quicker: they take fewer steps, and S times the arithmetic in each


def log_partition(
    tree: Tree, variables: np.ndarray, states: Tensor, given: GivenPotentials, engine: str, dtype: torch.dtype
) -> Tensor:
    """``(N, T)`` float64 log Z, ``-inf`` with gradient 0 where the states are impossible.

    Args:
        tree: the model.
        variables: ``(n,)`` indices of those that are seen.
        states: ``(N, T, n)`` of them, -1 where missing.
        given: potentials in the places of some of the tree's, with a batch of T in all.
        engine: ``"network"``, ``"reference"``, or ``"auto"``: the network if it allows these potentials.
        dtype: in which the network computes.

    Raises:
        BadPotential: for potentials that the network does not allow, if it was asked for.
    """
    rows = states.shape[0] * states.shape[1]
    network = None if engine == "reference" else _network(tree, variables, states.device, rows)
    full = None
    if network is not None and given.tensors:
        full = network.given(given) if engine == "network" else network.weights.given(given)
        if engine == "auto" and not _inside(network, full):
            network = None
    size = len(tree) if network is None else len(variables)
    parts = states.split(max(1, ROWS // (int(tree.cardinality.max()) * size * states.shape[1])))
    found = []
    for part in parts:
        log_z = None if network is None else _possible(network, part, full, dtype)
        found.append(_by_reference(tree, variables, part, given) if log_z is None else log_z)
    return torch.cat(found)


def _network(tree: Tree, variables: np.ndarray, device: torch.device, rows: int) -> Exact:
    """The encoder of the tree with evidence at some variables, made once; by levels for many rows."""
    schedule = AUTO if rows * int(tree.cardinality.max()) ** 3 <= FEW else "levels"
    key = ("encoder", variables.tobytes(), device)
    if (*key, schedule) not in tree.kept:
        with making():
            plan = planned(schedule, tree, variables)
            if (*key, plan.schedule) not in tree.kept:
                network = Exact(plan, trainable=False, down=False)
                tree.kept[(*key, plan.schedule)] = network.to(device)
        tree.kept[(*key, schedule)] = tree.kept[(*key, plan.schedule)]
    return tree.kept[(*key, schedule)]


def _inside(network: Exact, full: Tensor) -> bool:
    """Whether weights ``(*batch, P)`` are in the range that the network's kernels were chosen for."""
    return concrete(full) and bool((network.weights.ranges(full) >= network.allowed).all())


def _possible(network: Exact, states: Tensor, full: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """``(N, T)`` by the network; ``None`` if some model makes all rows impossible.

    The gradient of an impossible row is NaN even times 0, so the network is run again with no evidence in its place.
    """
    try:
        log_z = _by_network(network, states, full, dtype)
        impossible = log_z.detach().isneginf()
    except ImpossibleEvidence as error:  # of one model
        impossible = torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
        impossible[list(error.rows)] = True
    if not concrete(impossible) or not bool(impossible.any()):
        return log_z
    if bool(impossible.all(0).any()):
        return None
    again = _by_network(network, torch.where(impossible[..., None], MISSING, states), full, dtype)
    return torch.where(impossible, -torch.inf, again)


def _by_network(network: Exact, states: Tensor, full: Tensor | None, dtype: torch.dtype) -> Tensor:
    """``(N, T)``. Raises `ImpossibleEvidence` if there is one model; of several, nothing looks at numbers."""
    order = torch.from_numpy(network.plan.arrangement).to(states.device)
    x = states.permute(1, 2, 0).index_select(1, order)  # (T, n, N)
    zero = torch.zeros((), dtype=dtype, device=states.device)
    e = torch.where(allowed(x, network.states_in, 1), zero, -torch.inf)
    weights = None if full is None else full.reshape(len(e), -1)

    def one(e: Tensor, weights: Tensor | None) -> Tensor:
        return network.partition(network.collect(e, 0, weights))

    if len(e) == 1:
        return one(e[0], None if weights is None else weights[0])[:, None]
    return torch.func.vmap(one, (0, None if weights is None else 0))(e, weights).t()


def _by_reference(tree: Tree, variables: np.ndarray, states: Tensor, given: GivenPotentials) -> Tensor:
    """``(N, T)``, with the potentials repeated for each row."""
    rows, models = states.shape[:2]
    e = evidence_of(tree, variables, states.flatten(0, 1))
    e, logs, _ = in_rows(tree, e, True, for_rows(given, (rows, *given.batch)))
    return collect(tree, e, log_potentials=logs).log_partition.reshape(rows, models)


def evidence_of(tree: Tree, variables: np.ndarray, states: Tensor) -> Tensor:
    """``(B, S, V)`` float64 log evidence of states ``(B, n)`` of some variables, -1 where missing."""
    e = unobserved(tree, len(states), torch.float64, states.device)
    seen = torch.where(allowed(states, e.shape[1], 1), 0.0, -torch.inf).to(e)
    return e.index_add(2, torch.from_numpy(variables).to(e.device), seen)


def for_rows(given: GivenPotentials, batch: tuple[int, ...]) -> GivenPotentials:
    """The potentials for each row of a batch, flattened, whose last dimensions are theirs; as they are without one."""
    if not given.batch:
        return given
    tensors = {}
    for i, log in given.tensors.items():
        shape = log.shape[log.ndim - given.axes[i] :]
        tensors[i] = log.expand(*batch, *shape).reshape(prod(batch), *shape)
    return replace(given, tensors=tensors, batch=(prod(batch),))
