"""Ensembles of layered models: every node of a level has the same number of children."""

from __future__ import annotations

from math import prod
from typing import TypeVar

import numpy as np

from hgm.errors import BadSpec, brief
from hgm.tree.arguments import MOST, choice, flag, number, seeded, whole
from hgm.tree.labels import States, read_states
from hgm.tree.potential import Edge, Table
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree
from hgm.zoo.draw import DEEPEST, WIDEST, Arity, fraction, log_uniform, sides, stochastic
from hgm.zoo.hierarchy import TIES, Level, Tie, ghm

__all__ = ["broadcast", "filtered_hierarchy", "random_ghm", "rhm", "star"]

T = TypeVar("T")


def random_ghm(
    depth: int = 3,
    states: States | list[States] = 4,
    arity: Arity | list[Arity] = 2,
    *,
    root: States | None = None,
    bound: float = 10.0,
    joint: bool = False,
    tie: Tie = "position",
    seed: int = 0,
) -> Tree:
    """A layered GHM whose entries of psi, of the root's too, are log-uniform in ``[1 / bound, bound]``.

    Args:
        depth: number of levels below the root, at least 0.
        states: number of states of every variable below the root, or a tuple of labels; a list gives one of these for
            each level.
        arity: children per node, or ``(rows, columns)`` on a 2-D grid; a list gives one for each level.
        root: number of states of the root; default that of the first level.
        bound: the paper's K, at least 1.
        joint: one dense table over a parent and all its children, instead of one matrix for each child.
        tie: what shares a potential; see `Level`. A joint table belongs to its level, or with ``"none"`` to its parent.
        seed: seed of the tables.

    Raises:
        BadSpec: for arguments that describe no model.
    """
    whole("depth", depth, 0, DEEPEST)
    choice("tie", tie, TIES)
    flag("joint", joint)
    arities: list[Arity] = _per_level("arity", arity, depth)
    below: list[States] = _per_level("states", states, depth)
    top: States = root if root is not None else below[0] if below else 2
    counts = [read_states(s, "a level")[0] for s in (top, *below)]
    rng = seeded(seed)
    prior = log_uniform(rng, bound, (counts[0],))
    levels, parents = [], 1
    for level in range(depth):
        m = prod(sides(arities[level]))
        whole(f"the number of nodes of level {level + 1}", parents * m, 1, MOST)
        shape = (counts[level],) + (counts[level + 1],) * (m if joint else 1)
        each = {"position": 1 if joint else m, "level": 1, "none": parents if joint else parents * m}[tie]
        tables = [Table(t) if joint and m > 1 else Edge(t) for t in log_uniform(rng, bound, (each, *shape))]
        levels.append(Level(arities[level], below[level], tables))
        parents *= m
    return ghm(levels, top, prior=prior)


def rhm(
    states: int = 8,
    rules: int = 4,
    arity: Arity = 2,
    depth: int = 5,
    *,
    classes: int | None = None,
    seed: int = 0,
) -> Tree:
    """The Random Hierarchy Model: every symbol of a level expands by one of its own production rules.

    Each level has one grammar: for every symbol, `rules` right-hand sides of `arity` symbols, drawn without
    replacement over all symbols of the level, so that a right-hand side tells its symbol. Weights are ``1 / rules``
    and the classes are uniform: the model is normalised.

    Args:
        states: number v of symbols on every level below the root.
        rules: number m of production rules of each symbol; ``rules * states <= states ** arity``.
        arity: symbols s of a right-hand side, or ``(rows, columns)`` on a 2-D grid.
        depth: number L of levels below the root.
        classes: states of the root; default `states`.
        seed: seed of the grammar.

    Raises:
        BadSpec: if there are not enough right-hand sides for an unambiguous grammar, or for a bad number.
    """
    for name, value in (("states", states), ("rules", rules), ("depth", depth)):
        whole(name, value, 1, DEEPEST if name == "depth" else MOST)
    classes = states if classes is None else whole("classes", classes, 1, MOST)
    width = whole("the number of children", prod(sides(arity)), 1, WIDEST)
    rng = seeded(seed)
    levels = []
    for above in (classes, *[states] * (depth - 1)):
        if above * rules > states**width:
            raise BadSpec(
                f"{above} symbols with {rules} rules each need {above * rules} distinct right-hand sides, but {width} "
                f"symbols of {states} states have only {states**width}; use fewer rules, or more states or arity"
            )
        right = _distinct_words(rng, above * rules, width, states)
        left = np.repeat(np.arange(above), rules)
        shape = (above,) + (states,) * width
        weights = np.full(len(left), 1.0 / rules)
        levels.append(Level(arity, states, Rules(shape, np.column_stack([left, right]), weights)))
    return ghm(levels, classes)


def filtered_hierarchy(
    states: int = 4,
    depth: int = 4,
    k: int = 0,
    *,
    arity: int = 2,
    sigma: float = 1.0,
    rules: Rules | None = None,
    seed: int = 0,
) -> Tree:
    """A hierarchy in which the correlations of the k upper levels are filtered out.

    Unfiltered (``k = 0``), one grammar holds on all levels: all ``states ** arity`` right-hand sides are dealt out
    evenly, and a symbol chooses among its own with log-normal weights. The filter k removes the levels 1 to k - 1 and
    makes the nodes of level k independent given the root, each with the law it had: a matrix which is the product of
    the marginal transitions on its way down. Below level k nothing changes. ``k = depth`` leaves independent leaves.

    Args:
        states: number q of symbols.
        depth: number of levels of the unfiltered hierarchy, at least 1.
        k: the filter, 0 to `depth`.
        arity: children per node.
        sigma: standard deviation of the log weights, 0 to 100; 0 makes the rules equally likely.
        rules: the grammar, normalised; default drawn from `seed`. Decides `states` and `arity`.
        seed: seed of the grammar.

    Raises:
        BadSpec: for a bad number, or rules that are not square or not normalised.
    """
    if rules is not None:
        if not isinstance(rules, Rules):
            raise BadSpec(f"rules must be hgm.Rules, a grammar; got {brief(rules)}")
        states, arity = rules.shape[0], rules.axes - 1
        sums = np.bincount(rules.states[:, 0], np.exp(rules.log_potential), states)
        if set(rules.shape) != {states} or arity < 1 or not np.allclose(sums, 1.0, atol=1e-9):
            raise BadSpec(f"{rules} are no grammar: all axes must have equal size, and each symbol's weights sum to 1")
    for name, value in (("states", states), ("depth", depth), ("arity", arity)):
        whole(name, value, 1, {"states": MOST, "depth": DEEPEST, "arity": WIDEST}[name])
    if not 0 <= whole("k", k, 0) <= depth:
        raise BadSpec(f"the filter k must be 0 to depth = {depth}; got {k}")
    sigma = number(sigma, "sigma is the standard deviation of logs and must be 0 to 100", lambda x: 0 <= x <= 100)
    if rules is None:
        rng = seeded(seed)
        words = np.indices((states,) * arity).reshape(arity, -1).T
        left = rng.permutation(len(words)) % states
        weights = np.exp(sigma * rng.standard_normal(len(words)))
        weights /= np.bincount(left, weights, states)[left]
        order = np.argsort(left, kind="stable")
        rules = Rules((states,) * (arity + 1), np.column_stack([left, words])[order], weights[order])

    prefix = [f"h{level}_" for level in range(depth)] + ["x"]
    levels = []
    if k:
        steps = [np.zeros((states, states)) for _ in range(arity)]
        for child, step in enumerate(steps, start=1):
            np.add.at(step, (rules.states[:, 0], rules.states[:, child]), np.exp(rules.log_potential))
        ways = [np.eye(states)]
        for _ in range(k):
            ways = [way @ step for way in ways for step in steps]
        levels.append(Level(arity**k, states, [Edge(way) for way in ways], name=prefix[k]))
    levels += [Level(arity, states, rules, name=prefix[level]) for level in range(k + 1, depth + 1)]
    return ghm(levels, states)


def broadcast(depth: int = 5, states: int = 2, arity: Arity = 2, *, eps: float = 0.1) -> Tree:
    """Broadcasting on a regular tree: a uniform root, and one symmetric channel, tied over all edges.

    Args:
        depth: number of levels below the root.
        states: size S of the alphabet.
        arity: children per node, or ``(rows, columns)`` on a 2-D grid.
        eps: probability that an edge changes the symbol, to each of the S - 1 others equally; 0 makes hard zeros.

    Raises:
        BadSpec: for a bad number.
    """
    whole("depth", depth, 0, DEEPEST)
    whole("states", states, 1)
    fraction("eps", eps)
    if states == 1:
        channel = Edge([[1.0]])
    else:
        channel = Edge(np.where(np.eye(states, dtype=bool), 1.0 - eps, eps / (states - 1)))
    return ghm([Level(arity, states, channel)] * depth, states)


def star(leaves: int = 10, states: States = 3, *, root: States = 2, tied: bool = False, seed: int = 0) -> Tree:
    """One root with `leaves` children (naive Bayes); random conditional tables and class probabilities.

    Args:
        leaves: number of leaves.
        states: states of each leaf.
        root: states of the root (the classes).
        tied: one table for all leaves, instead of one for each.
        seed: seed of the tables.

    Raises:
        BadSpec: for a bad number.
    """
    whole("leaves", leaves, 1, MOST)
    flag("tied", tied)
    rng = seeded(seed)
    count, prior = read_states(states, "a leaf")[0], stochastic(rng, read_states(root, "the root")[0])
    tables = stochastic(rng, 1 if tied else leaves, len(prior), count)
    return ghm([Level(leaves, states, [Edge(table) for table in tables])], root, prior=prior)


def _per_level(name: str, given: T | list[T], depth: int) -> list[T]:
    values = given if isinstance(given, list) else [given] * depth
    if len(values) != depth:
        raise BadSpec(f"{name} lists {len(values)} levels, but depth is {depth}")
    return values


def _distinct_words(rng: np.random.Generator, count: int, width: int, states: int) -> np.ndarray:
    """``(count, width)``: different words over `states` symbols, uniformly without replacement, in random order."""
    if states**width <= 1 << 20:
        numbers = rng.permutation(states**width)[:count]
        return np.stack(np.unravel_index(numbers, (states,) * width), axis=1)
    words: dict[tuple[int, ...], None] = {}  # too many to list: draw, and drop what comes again
    while len(words) < count:
        words |= dict.fromkeys(map(tuple, rng.integers(states, size=(count, width)).tolist()))
    return np.array(list(words)[:count], dtype=np.int64)
