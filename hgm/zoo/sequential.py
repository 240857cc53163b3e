"""Chains and their kin: Markov chains, hidden Markov models and trees, caterpillars."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from hgm.errors import BadPotential, BadSpec, brief
from hgm.tree.arguments import MOST, flag, is_series, seeded, whole
from hgm.tree.labels import Label, States, read_states
from hgm.tree.names import GridNames
from hgm.tree.pool import Pool, as_potential
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.tree import Tree
from hgm.zoo.assemble import assemble, parents
from hgm.zoo.draw import DEEPEST, Arity, is_one, sides, stochastic

__all__ = ["caterpillar", "chain", "hidden_markov_tree", "hmm"]

Group = tuple[np.ndarray, Sequence[Potential]]


def chain(
    length: int = 10,
    states: States | None = None,
    *,
    transition: Potential | npt.ArrayLike | None = None,
    prior: Potential | npt.ArrayLike | None = None,
    seed: int = 0,
) -> Tree:
    """A homogeneous Markov chain x0 - x1 - ..., rooted at x0; one transition matrix for all steps.

    Its potentials are named "transition" and "prior", unless they are given as potentials with names of their own.

    Args:
        length: number of variables.
        states: states of each; default those of `transition`, or 3.
        transition: ``(S, S)``, row: from; default random.
        prior: ``(S,)`` of x0; default random.
        seed: seed of what is random.

    Raises:
        BadSpec: for a bad number.
        BadPotential: for tables that do not fit.
    """
    n, rng = whole("length", length, 1, MOST), seeded(seed)
    moves = _given("transition", transition)
    read = _read(states, moves, 0, 3, "x")
    x = np.arange(n)
    first = _given("prior", stochastic(rng, read[0]) if prior is None else prior)
    step = moves or Edge(stochastic(rng, read[0], read[0]), name="transition")
    groups: list[Group] = [(x[:1, None], [first]), (np.stack([x[:-1], x[1:]], axis=1), [step])]
    return _tree(GridNames(["x"], [(n,)]), [(n, read)], groups)


def hmm(
    length: int = 10,
    states: States | None = None,
    symbols: States | None = None,
    *,
    transition: Potential | npt.ArrayLike | None = None,
    emission: Potential | npt.ArrayLike | None = None,
    prior: Potential | npt.ArrayLike | None = None,
    seed: int = 0,
) -> Tree:
    """A hidden Markov model: hidden states z0, z1, ..., observations x0, x1, ...; transition and emission are tied.

    Its potentials are named "transition", "emission" and "prior", unless they are given as potentials with names of
    their own.

    Args:
        length: number of time steps.
        states: hidden states; default those of `transition` or `emission`, or 3.
        symbols: observed symbols; default those of `emission`, or 4.
        transition: ``(S, S)``, row: from; default random.
        emission: ``(S, symbols)``; default random.
        prior: ``(S,)`` of z0; default random.
        seed: seed of what is random.

    Raises:
        BadSpec: for a bad number.
        BadPotential: for tables that do not fit.
    """
    n, rng = whole("length", length, 1, MOST), seeded(seed)
    moves, emits = _given("transition", transition), _given("emission", emission)
    hidden = _read(states, moves or emits, 0, 3, "z")
    seen = _read(symbols, emits, 1, 4, "x")
    z = np.arange(n)
    first = _given("prior", stochastic(rng, hidden[0]) if prior is None else prior)
    step = moves or Edge(stochastic(rng, hidden[0], hidden[0]), name="transition")
    emit = emits or Edge(stochastic(rng, hidden[0], seen[0]), name="emission")
    groups: list[Group] = [
        (z[:1, None], [first]),
        (np.stack([z[:-1], z[1:]], axis=1), [step]),
        (np.stack([z, z + n], axis=1), [emit]),
    ]
    return _tree(GridNames(["z", "x"], [(n,), (n,)]), [(n, hidden), (n, seen)], groups)


def caterpillar(
    spine: int = 10,
    states: States = 3,
    symbols: States | None = None,
    *,
    legs: int = 1,
    tied: bool = False,
    seed: int = 0,
) -> Tree:
    """A spine z0 - z1 - ... with `legs` leaves at each of its nodes (x3, or x3_0, x3_1, ...); random tables.

    Args:
        spine: number of nodes of the spine.
        states: states of a spine node.
        symbols: states of a leaf; default `states`.
        legs: leaves at each spine node.
        tied: one table for the spine and one for the legs, instead of one for each edge.
        seed: seed of the tables.

    Raises:
        BadSpec: for a bad number.
    """
    n, m, rng = whole("spine", spine, 1, MOST), whole("legs", legs, 0, MOST), seeded(seed)
    flag("tied", tied)
    hidden = read_states(states, "a spine node")
    seen = hidden if symbols is None else read_states(symbols, "a leg")
    z = np.arange(n)
    first: Potential = Table(stochastic(rng, hidden[0]))
    steps = [Edge(t) for t in stochastic(rng, 1 if tied else n - 1, hidden[0], hidden[0])]
    emits = [Edge(t) for t in stochastic(rng, 1 if tied else n * m, hidden[0], seen[0])]
    groups: list[Group] = [
        (z[:1, None], [first]),
        (np.stack([z[:-1], z[1:]], axis=1), steps),
        (np.stack([np.repeat(z, m), n + np.arange(n * m)], axis=1), emits),
    ]
    names = GridNames(["z", "x"], [(n,), (n,) if m == 1 else (n, m)])
    return _tree(names, [(n, hidden), (n * m, seen)], groups)


def hidden_markov_tree(
    depth: int = 3,
    states: States | None = None,
    symbols: States | None = None,
    *,
    arity: Arity = (2, 2),
    transition: Potential | npt.ArrayLike | Sequence[Potential | npt.ArrayLike] | None = None,
    emission: Potential | npt.ArrayLike | Sequence[Potential | npt.ArrayLike] | None = None,
    prior: Potential | npt.ArrayLike | None = None,
    seed: int = 0,
) -> Tree:
    """A hidden tree with one observed child for every node, as for the wavelet coefficients of a signal or an image.

    Hidden variables are z0 (the root), z1_0, ... (on a grid z1_0_0, ...); the observation of z1_0 is x1_0.

    Args:
        depth: number of hidden levels below the root.
        states: hidden states; default those of the tables, or 2.
        symbols: observed symbols; default those of `emission`, or 4.
        arity: children per hidden node, or ``(rows, columns)`` on a 2-D grid.
        transition: ``(S, S)``, row: parent, for all levels, or a sequence of `depth` of them; default one random
            matrix for each level (scale).
        emission: ``(S, symbols)``, for all levels, or a sequence of ``depth + 1``; default one random matrix for each.
        prior: ``(S,)`` of the root; default random.
        seed: seed of what is random.

    Raises:
        BadSpec: for a bad number, or a wrong number of tables.
        BadPotential: for tables that do not fit.
    """
    whole("depth", depth, 0, DEEPEST)
    axes, rng = sides(arity), seeded(seed)
    steps = _tables("transition", transition, depth)
    emits = _tables("emission", emission, depth + 1)
    hidden = _read(states, steps[0] if steps else emits[0] if emits else None, 0, 2, "z")
    seen = _read(symbols, emits[0] if emits else None, 1, 4, "x")
    if not steps:
        steps = [Edge(table) for table in stochastic(rng, depth, hidden[0], hidden[0])]
    if not emits:
        emits = [Edge(table) for table in stochastic(rng, depth + 1, hidden[0], seen[0])]
    if prod(axes) ** min(depth, 64) > MOST:
        raise BadSpec(f"the deepest level would have {prod(axes)}^{depth} nodes; a level can have at most {MOST}")
    shapes = [tuple(m**level for m in axes) for level in range(depth + 1)]
    sizes = [prod(shape) for shape in shapes]
    start, total = np.concatenate([[0], np.cumsum(sizes)]), sum(sizes)
    first = as_potential(stochastic(rng, hidden[0]) if prior is None else prior)
    groups: list[Group] = [(np.zeros((1, 1), dtype=np.int64), [first])]
    for level in range(depth + 1):
        z = np.arange(start[level], start[level + 1])
        if level:
            parent, _ = parents(shapes[level - 1], shapes[level], axes)
            groups.append((np.stack([start[level - 1] + parent, z], axis=1), [steps[level - 1]]))
        groups.append((np.stack([z, z + total], axis=1), [emits[level]]))
    prefixes = [f"{kind}{level}" + ("_" if level else "") for kind in "zx" for level in range(depth + 1)]
    names = GridNames(prefixes, [(), *shapes[1:], (), *shapes[1:]])
    return _tree(names, [(total, hidden), (total, seen)], groups)


def _tree(
    names: GridNames, blocks: Sequence[tuple[int, tuple[int, tuple[Label, ...] | None]]], groups: Sequence[Group]
) -> Tree:
    """The tree of groups of factors, each ``(n, width)`` scopes and their potentials, one for all or one for each."""
    pool = Pool()
    numbered = [(scope, np.array([pool.number(t) for t in tables])) for scope, tables in groups if len(scope)]
    return assemble(names, blocks, numbered, pool.potentials)


def _given(name: str, table: Any) -> Any:
    """A table as a potential, which is called `name` unless it is one already; ``None`` if there is none."""
    return table if table is None or isinstance(table, Potential) else as_potential(table).named(name)


def _read(
    states: States | None, table: Potential | None, axis: int, default: int, what: str
) -> tuple[int, tuple[Label, ...] | None]:
    """The states that are given, else those of a table's axis, else the default."""
    if states is not None:
        return read_states(states, what)
    return (default if table is None or table.axes <= axis else table.shape[axis]), None


def _tables(
    name: str, given: Potential | npt.ArrayLike | Sequence[Potential | npt.ArrayLike] | None, count: int
) -> list[Potential]:
    """`count` tables from one for all or a sequence of them; none if none is given."""
    if given is None:
        return []
    if is_one(given):
        return [as_potential(given)] * count  # type: ignore[arg-type]
    if not is_series(given) and np.ndim(given) != 3:  # type: ignore[arg-type]
        raise BadPotential(f"{name} must be a table or a list of them; got {brief(given)}")
    tables = [as_potential(table) for table in given]  # type: ignore[union-attr]
    if len(tables) != count:
        raise BadSpec(f"{name} lists {len(tables)} tables; one, or {count} (one for each level), are needed")
    return tables
