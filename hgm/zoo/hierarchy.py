"""Layered generative hierarchical models (GHMs), on a line or on a 2-D grid.

    p(x) = 1/Z * psi_0(x_root) * prod_{l=1..L} prod_{v at level l-1} psi_l(x_v, x_children(v))

(arXiv 2404.18444, eq. 1).

Every node of level l-1 has ``arity`` children. On a 2-D grid an arity ``(2, 2)`` makes quad-trees: node (r, c) of level
l has parent (r // 2, c // 2). Positions among siblings count row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from hgm.errors import BadPotential, BadSpec, brief
from hgm.tree.arguments import MOST, choice, is_series, listed, seeded
from hgm.tree.labels import States, read_states
from hgm.tree.names import GridNames
from hgm.tree.pool import Pool, as_potential
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.tree import Tree
from hgm.zoo.assemble import assemble, parents
from hgm.zoo.draw import is_one, stochastic

__all__ = ["Level", "ghm"]

Tie = Literal["position", "level", "none"]

TIES = ("position", "level", "none")


@dataclass(frozen=True)
class Level:
    """One level of a layered model, below the root.

    Attributes:
        arity: children per node of the level above: ``m``, or ``(m1, m2)`` rows and columns on a 2-D grid.
        states: number of states of this level's variables, or their labels.
        potential: what joins this level to the one above; ``None`` draws random conditional tables, tied as `tie` says.
            One matrix ``(S, S')``: all edges share it. A sequence of ``m`` matrices (or an array ``(m, S, S')``): one
            per sibling position. A sequence of as many matrices as the level has nodes: untied, in row-major order.
            A `Table` or `Rules` with ``m + 1`` axes: a joint factor over a parent and all its children, shared; or a
            sequence of them, one per parent. One object given several times, also on several levels, is tied.
        tie: for random potentials only: ``"position"`` (the paper: one matrix per sibling position), ``"level"`` (one
            matrix), ``"none"`` (one matrix per edge).
        name: prefix of the variables' names; default ``"h1_"``, ``"h2_"``, ... and ``"x"`` for the leaves.
    """

    arity: int | tuple[int, int]
    states: States
    potential: Potential | npt.ArrayLike | Sequence[Potential | npt.ArrayLike] | None = None
    tie: Tie = "position"
    name: str | None = None


def ghm(
    levels: Sequence[Level],
    root: States,
    *,
    prior: Potential | npt.ArrayLike | None = None,
    grid: tuple[int, ...] | None = None,
    seed: int = 0,
    root_name: str = "label",
) -> Tree:
    """A layered generative hierarchical model.

    Args:
        levels: the levels below the root, from the top down; may be empty.
        root: number of states of the root (the classes), or their labels.
        prior: ``(root states,)`` non-negative; default uniform.
        grid: shape of the leaf level, ``(d,)`` or ``(H, W)``: checked against the product of the arities.
        seed: for levels without a potential: each row of their tables is Dirichlet(1).
        root_name: name of the root variable.

    Returns:
        A `Tree` with ``grid`` set: it compiles to strided convolutions where potentials are tied.

    Raises:
        BadSpec: for arities or a grid that do not fit together, a wrong number of potentials, or names that clash.
        BadPotential: for a table that does not fit its level.
    """
    levels = listed("levels", levels, "Levels")
    for i, level in enumerate(levels, start=1):
        if not isinstance(level, Level):
            raise BadSpec(f"level {i} must be an hgm.Level; got {brief(level)}")
    shapes = _shapes(levels)
    if grid is not None and tuple(listed("grid", grid, "numbers, the shape of the leaves")) != shapes[-1]:
        arities = [level.arity for level in levels]
        raise BadSpec(f"grid {brief(grid)} does not fit: the arities {arities} multiply to {shapes[-1]}")
    sizes = [prod(shape) for shape in shapes]
    start = np.concatenate([[0], np.cumsum(sizes)])
    rng = seeded(seed)
    read = [read_states(root, "the root")]
    read += [read_states(level.states, f"level {i}") for i, level in enumerate(levels, start=1)]
    states = [count for count, _ in read]

    pool = Pool()
    groups = [(np.zeros((1, 1), dtype=np.int64), np.array([pool.number(_prior(prior, states[0]))]))]
    for i, level in enumerate(levels, start=1):
        arity = _arity(level)
        parent, position = parents(shapes[i - 1], shapes[i], arity)
        numbers, joint = _potentials(level, states[i - 1 : i + 1], prod(arity), sizes[i - 1 : i + 1], rng, pool, i)
        if joint:
            by_parent = np.argsort(parent, kind="stable").reshape(sizes[i - 1], prod(arity))  # so by position, too
            scope = np.concatenate([np.arange(sizes[i - 1])[:, None] + start[i - 1], by_parent + start[i]], axis=1)
        else:
            scope = np.stack([parent + start[i - 1], np.arange(sizes[i]) + start[i]], axis=1)
            if len(numbers) not in (1, sizes[i]):
                numbers = numbers[position]
        groups.append((scope, numbers))
    own = [f"h{i}_" if i < len(levels) else "x" for i in range(1, len(levels) + 1)]
    prefixes = [default if level.name is None else level.name for level, default in zip(levels, own, strict=True)]
    for i, prefix in enumerate(prefixes, start=1):
        if isinstance(prefix, str) and isinstance(root_name, str) and prefix == root_name:
            raise BadSpec(
                f"level {i} is named {prefix!r}, and so is the root; name one of them otherwise, the root by root_name="
                " (in a file by root: {name: ...})"
            )
    names, blocks = GridNames([root_name, *prefixes], shapes), list(zip(sizes, read, strict=True))
    return assemble(names, blocks, groups, pool.potentials, tuple(shapes))


def _prior(prior: Potential | npt.ArrayLike | None, states: int) -> Potential:
    potential = Table(np.full(states, 1.0 / states)) if prior is None else as_potential(prior)
    if potential.shape != (states,):
        raise BadPotential(f"the prior has shape {potential.shape}; the root has {states} states")
    return potential


def _arity(level: Level) -> tuple[int, ...]:
    return level.arity if isinstance(level.arity, tuple) else (level.arity,)


def _shapes(levels: Sequence[Level]) -> list[tuple[int, ...]]:
    """The shape of every level, ``()`` for the root."""
    two_d = any(isinstance(level.arity, tuple) for level in levels)
    wanted = "two numbers (rows, columns), as a tuple," if two_d else "one number"
    shapes: list[tuple[int, ...]] = [()]
    for i, level in enumerate(levels, start=1):
        arity = _arity(level)
        whole = all(isinstance(m, (int, np.integer)) and not isinstance(m, bool) and m >= 1 for m in arity)
        if not whole or len(arity) != 1 + two_d:
            raise BadSpec(f"level {i} has arity {brief(level.arity)}; every level here needs {wanted} of at least 1")
        above = shapes[-1] or (1,) * len(arity)
        shapes.append(tuple(int(n) * int(m) for n, m in zip(above, arity, strict=True)))
        if prod(shapes[-1]) > MOST:
            raise BadSpec(f"level {i} has {prod(shapes[-1])} nodes; a level can have at most {MOST}")
    return shapes


def _potentials(
    level: Level, states: Sequence[int], arity: int, sizes: Sequence[int], rng: np.random.Generator, pool: Pool, i: int
) -> tuple[np.ndarray, bool]:
    """The numbers in the pool of level i's potentials, and whether they are joint factors.

    `states` and `sizes` (numbers of nodes) are those of the level above and of this one.
    """
    given = level.potential
    if given is None:
        tie = choice(f"level {i}: tie", level.tie, TIES)
        count = {"position": arity, "level": 1, "none": sizes[1]}[tie]
        if count * prod(states) > MOST:
            raise BadSpec(f"level {i}: random tables would have {count * prod(states)} entries, more than {MOST}")
        drawn = stochastic(rng, count, *states)
        return np.array([pool.number(Edge(table)) for table in drawn]), False
    if not isinstance(given, Potential) and not is_one(given) and not is_series(given) and np.ndim(given) != 3:  # type: ignore[arg-type]
        raise BadSpec(f"level {i} needs a potential or a list of them; got {brief(given)}")
    tables = [given] if is_one(given) else list(given)  # type: ignore[arg-type]
    try:
        numbers = [pool.number(table) for table in tables]  # type: ignore[arg-type]
    except BadPotential as error:
        raise BadPotential(f"level {i}: {error}") from None
    used = [pool.potentials[n] for n in numbers]
    joint = bool(used) and used[0].axes != 2
    wanted = (states[0],) + (states[1],) * arity if joint else (states[0], states[1])
    for table in used:
        if table.shape != wanted:
            raise BadPotential(
                f"level {i}: a potential has shape {table.shape}, expected {wanted} (parent states first)"
            )
    allowed = {1, sizes[0]} if joint else {1, arity, sizes[1]}
    if len(used) not in allowed:
        raise BadSpec(
            f"level {i}: got {len(used)} potentials; expected one of {sorted(allowed)} "
            + ("(shared, or one per parent)" if joint else "(shared, one per sibling position, or one per node)")
        )
    return np.array(numbers), joint
