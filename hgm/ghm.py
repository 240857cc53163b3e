"""Layered generative hierarchical models (GHMs), on a line or on a 2-D grid.

    p(x) = 1/Z * psi_0(x_root) * prod_{l=1..L} prod_{v at level l-1} psi_l(x_v, x_children(v))      (arXiv 2404.18444, eq. 1)

Every node of level l-1 has ``arity`` children. On a 2-D grid an arity ``(2, 2)`` makes quad-trees: node (r, c) of level l
has parent (r // 2, c // 2). Positions among siblings count row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from hgm.errors import BadPotential, BadSpec
from hgm.names import GridNames
from hgm.potential import Edge, Potential, Rules, Table
from hgm.tree import States, Tree

__all__ = ["Level", "ghm"]

Tie = Literal["position", "level", "none"]


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
            sequence of them, one per parent.
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
    prior: npt.ArrayLike | None = None,
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
        BadSpec: for arities or a grid that do not fit together, or a wrong number of potentials.
        BadPotential: for a table that does not fit its level.
    """
    two_d = any(isinstance(level.arity, tuple) for level in levels)
    shapes = _shapes(levels, two_d)
    if grid is not None and tuple(grid) != shapes[-1]:
        raise BadSpec(f"grid {tuple(grid)} does not fit: the arities {[level.arity for level in levels]} multiply to {shapes[-1]}")
    sizes = [prod(shape) for shape in shapes]
    start = np.concatenate([[0], np.cumsum(sizes)])
    rng = np.random.default_rng(seed)

    states = [_count(s) for s in (root, *(level.states for level in levels))]
    label_sets = tuple(tuple(str(x) for x in s) for s in (root, *(level.states for level in levels)) if not isinstance(s, int))
    potentials: list[Potential] = [Table(np.full(states[0], 1.0 / states[0]) if prior is None else prior)]
    scopes, widths, ids = [np.zeros(1, dtype=np.int64)], [np.ones(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for i, level in enumerate(levels, start=1):
        where = f"level {i}"
        arity = level.arity if isinstance(level.arity, tuple) else (level.arity,)
        parent, position = _parents(shapes[i - 1], shapes[i], arity)
        tables, joint = _potentials(level, states[i - 1], states[i], prod(arity), sizes[i - 1], sizes[i], rng, where)
        nodes = np.arange(sizes[i])
        if joint:
            by_parent = np.lexsort((position, parent)).reshape(sizes[i - 1], prod(arity))
            scope = np.concatenate([np.arange(sizes[i - 1])[:, None] + start[i - 1], by_parent + start[i]], axis=1)
            which = np.arange(sizes[i - 1]) if len(tables) > 1 else np.zeros(sizes[i - 1], dtype=np.int64)
        else:
            scope = np.stack([parent + start[i - 1], nodes + start[i]], axis=1)
            which = {1: np.zeros_like(nodes), sizes[i]: nodes, prod(arity): position}[len(tables)]
        scopes.append(scope.ravel())
        widths.append(np.full(len(scope), scope.shape[1]))
        ids.append(which + len(potentials))
        potentials += tables

    labelled = np.cumsum([not isinstance(s, int) for s in (root, *(level.states for level in levels))]) - 1
    label_of_level = [int(labelled[i]) if not isinstance(s, int) else -1 for i, s in enumerate((root, *(level.states for level in levels)))]
    prefixes = [root_name] + [level.name or (f"h{i}_" if i < len(levels) else "x") for i, level in enumerate(levels, start=1)]
    if len(set(prefixes)) < len(prefixes):
        raise BadSpec(f"the levels' names must be distinct; got {prefixes}")
    return Tree.build(
        GridNames(prefixes, shapes),
        np.repeat(np.array(states, dtype=np.int64), sizes),
        np.concatenate([[0], np.cumsum(np.concatenate(widths))]).astype(np.int64),
        np.concatenate(scopes),
        np.concatenate(ids),
        potentials,
        roots=[0],
        label_sets=label_sets,
        label_set=np.repeat(np.array(label_of_level, dtype=np.int64), sizes),
        grid=tuple(shapes),
    )


def _count(states: States) -> int:
    return int(states) if isinstance(states, (int, np.integer)) else len(states)


def _shapes(levels: Sequence[Level], two_d: bool) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = [()]
    for i, level in enumerate(levels, start=1):
        arity = level.arity if isinstance(level.arity, tuple) else (level.arity,)
        if two_d != (len(arity) == 2) or min(arity) < 1:
            raise BadSpec(
                f"level {i} has arity {level.arity}; on a {'2-D grid give every level (rows, columns)' if two_d else 'line give every level one number'}, at least 1"
            )
        above = shapes[-1] or (1,) * len(arity)
        shapes.append(tuple(n * m for n, m in zip(above, arity, strict=True)))
    return shapes


def _parents(above: tuple[int, ...], shape: tuple[int, ...], arity: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Parent index and sibling position of each node of a level, both row-major."""
    coordinates = np.indices(shape).reshape(len(shape), -1)
    arities = np.array(arity)[:, None]
    parent = np.ravel_multi_index(tuple(coordinates // arities), above or (1,) * len(arity))
    position = np.ravel_multi_index(tuple(coordinates % arities), arity)
    return parent.astype(np.int64), position.astype(np.int64)


def _potentials(
    level: Level, above: int, below: int, arity: int, parents: int, children: int, rng: np.random.Generator, where: str
) -> tuple[list[Potential], bool]:
    """The level's potentials, and whether they are joint factors."""
    given = level.potential
    if given is None:
        if level.tie not in ("position", "level", "none"):
            raise BadSpec(f"{where}: tie must be 'position', 'level' or 'none'; got {level.tie!r}")
        count = {"position": arity, "level": 1, "none": children}[level.tie]
        return [Edge(rng.dirichlet(np.ones(below), size=above)) for _ in range(count)], False
    if isinstance(given, Potential):
        tables: list[Potential] = [given]
    elif _is_matrix(given):
        tables = [Edge(given)]  # type: ignore[arg-type]
    else:
        tables = [p if isinstance(p, Potential) else Edge(p) for p in given]  # type: ignore[union-attr]
    joint = isinstance(tables[0], Rules) or tables[0].axes != 2
    wanted = (above,) + (below,) * arity if joint else (above, below)
    for table in tables:
        if table.shape != wanted:
            raise BadPotential(f"{where}: a potential has shape {table.shape}, expected {wanted} (parent states first)")
    allowed = {1, parents} if joint else {1, arity, children}
    if len(tables) not in allowed:
        raise BadSpec(
            f"{where}: got {len(tables)} potentials; expected one of {sorted(allowed)} "
            + ("(shared, or one per parent)" if joint else "(shared, one per sibling position, or one per node)")
        )
    return tables, joint


def _is_matrix(given: object) -> bool:
    try:
        return np.ndim(given) == 2  # type: ignore[arg-type]
    except ValueError:
        return False
