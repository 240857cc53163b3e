"""Random models of every kind, each also as plain logs for the oracle, and random evidence of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from kinds import Band, Circulant
from oracles.exact import Exact, wide_log
from oracles.trees import rules

import hgm

NAMES = ["x", "a b", "", "1", 0, 1, -7, 2.5, -1, ("t", 0), ("t", 1), 10**20, "ü", True, ("a", (1, "b")), "x0", "None"]
LABELS: list[Callable[[int], list[Any]]] = [
    lambda n: [f"s{i}" for i in range(n)],
    lambda n: [i + 1 for i in range(n)],
    lambda n: [i - 1 for i in range(n)],
    lambda n: [str(n - 1 - i) for i in range(n)],
    lambda n: [(i - 1) / 2 for i in range(n)],
    lambda n: [("t", i) for i in range(n)],
    lambda n: [True, False, "maybe", 2.0, ("x",)][:n] + [f"m{i}" for i in range(5, n)],
    lambda n: [10**18 + i for i in range(n)],
    lambda n: ["", "None", "nan", "-1", "0", *(f"w{i}" for i in range(n))][:n],
    lambda n: [i for i in range(n)],
]
Plain = tuple[list[Any], Any, np.ndarray]  # scope, what hgm is given, its logs


def seeds(default: int, full: int, each: int = 1) -> pytest.MarkDecorator:
    """Seeds of a search, in portions: `default` of them always, `full` more where slow tests are asked for."""
    portions: list[Any] = [range(first, first + each) for first in range(0, default, each)]
    large = 10 * each
    portions += [
        pytest.param(range(n, n + large), marks=pytest.mark.slow) for n in range(default, default + full, large)
    ]
    return pytest.mark.parametrize("portion", portions, ids=lambda portion: portion.start)


@dataclass(frozen=True, eq=False)
class Model:
    """A tree, and its factors as variables (in tree order) and logs."""

    tree: hgm.Tree
    factors: list[tuple[list[int], np.ndarray]]

    @cached_property
    def cards(self) -> list[int]:
        return self.tree.cardinality.tolist()

    @cached_property
    def exact(self) -> Exact:
        return Exact(self.cards, self.factors)

    def called(self, v: int) -> list[Any]:
        """What the states of a variable are called."""
        return list(self.tree.labels(v) or range(self.cards[v]))


def draw_model(rng: np.random.Generator, most: int = 400, labels: float = 0.5) -> Model:
    """A random model of at most so many joint states, at least one of them possible, with some or no labels."""
    kind = rng.choice(["tree", "tree", "tree", "grid", "chain", "star"])
    if kind == "grid":
        return _grid(rng)
    count = int(rng.integers(1, 8)) if kind == "tree" else int(rng.integers(2, 8))
    cards = [int(c) for c in rng.choice([1, 2, 2, 3, 4], size=count)]
    if kind != "tree":
        cards = [int(rng.integers(2, 4))] * count
    while np.prod(cards) > most:
        cards.pop()
    count = len(cards)
    names = [NAMES[i] for i in rng.permutation(len(NAMES))]
    kept: list[Any] = []
    for name in names:
        if name not in kept and len(kept) < count:
            kept.append(name)
    style = rng.choice(["plain", "zeros", "wide", "steep", "sharp", "logs", "mixed"])
    truth = [int(rng.integers(c)) for c in cards]
    drawn: list[Plain] = []
    tied: dict[tuple[int, ...], list[tuple[Any, np.ndarray]]] = {}
    for scope in {"tree": _scopes, "chain": _path, "star": _rays}[kind](rng, count):
        drawn.append(_factor(rng, scope, cards, truth, style, tied, 0.9 if kind == "chain" else 0.3))
    if rng.random() < 0.5:  # factors over one variable, with zeros
        for v in range(count):
            if rng.random() < 0.6:
                drawn.append(_factor(rng, [v], cards, truth, "zeros" if rng.random() < 0.7 else style, tied, 0.1))
    order = rng.permutation(len(drawn))
    states: dict[Any, Any] = {}
    for v in rng.permutation(count).tolist():
        states[kept[v]] = LABELS[rng.integers(len(LABELS))](cards[v]) if rng.random() < labels else cards[v]
    factors = [([kept[v] for v in drawn[i][0]], drawn[i][1]) for i in order]
    tree = hgm.Tree.from_factors(factors, states, roots=[kept[int(rng.integers(count))]] if rng.random() < 0.5 else ())
    if rng.random() < 0.3:
        tree = tree.reroot(kept[int(rng.integers(count))])
    at = {name: list(tree.names).index(name) for name in kept}
    return Model(tree, [([at[kept[v]] for v in drawn[i][0]], drawn[i][2]) for i in order])


def _scopes(rng: np.random.Generator, count: int) -> Iterator[list[int]]:
    """A random factor forest: tables of one to four variables, several over one variable, some variables in none."""
    done = 1
    while done < count:
        new = min(int(rng.choice([1, 1, 1, 2, 3])), count - done)
        old = [] if rng.random() < 0.12 else [int(rng.integers(done))]
        yield [int(v) for v in rng.permutation(old + list(range(done, done + new)))]
        done += new


def _path(rng: np.random.Generator, count: int) -> list[list[int]]:
    return [[v, v + 1] for v in range(count - 1)]


def _rays(rng: np.random.Generator, count: int) -> list[list[int]]:
    return [[0, v] for v in range(1, count)]


def _factor(rng, scope, cards, truth, style, tied, share) -> Plain:
    """A factor of a style that allows the truth; often one that was there before."""
    shape, keep = tuple(cards[v] for v in scope), tuple(truth[v] for v in scope)
    for given, log in tied.get(shape, []):
        if log[keep] > -np.inf and rng.random() < share:
            return scope, given, log
    style = rng.choice(["plain", "zeros", "wide", "steep", "sharp", "logs"]) if style == "mixed" else style
    if len(shape) == 2 and shape[0] == shape[1] and rng.random() < 0.1:
        given: Any = Circulant(rng.uniform(0.1, 1, shape[0])) if rng.random() < 0.5 else None
        given = given or Band(shape, range(1 - shape[0], shape[0]), rng.uniform(0.1, 1, 2 * shape[0] - 1))
        log = given.dense_log().astype(np.longdouble)
    elif style == "logs":
        log = rng.choice([1.0, 30.0, 1e3]) * rng.normal(size=shape)
        log[rng.random(shape) < 0.2] = -np.inf
        log[keep] = rng.normal()
        given, log = hgm.Table.from_log(log), log.astype(np.longdouble)
    else:
        table = rng.uniform(0.05, 1.0, shape)
        if style == "wide":
            table = 10.0 ** rng.uniform(-16, 16, shape)
        if style == "steep":
            table = 10.0 ** -rng.uniform(0, 14, shape)
        if style == "sharp":
            table = np.maximum(rng.dirichlet(np.full(table.size, 0.05)).reshape(shape), 1e-300)
        kept = table[keep]
        table = table * (rng.random(shape) >= 0.45) if style == "zeros" or rng.random() < 0.1 else table
        table[keep] = kept
        given = table
        if rng.random() < 0.25:
            states = rng.permutation(np.argwhere(table > 0))
            given, table = rules(shape, states, table[tuple(states.T)])
        elif rng.random() < 0.5:
            given = hgm.Edge(table) if len(shape) == 2 else hgm.Table(table)
        log = wide_log(table)
    tied.setdefault(shape, []).append((given, log))
    return scope, given, log


def _grid(rng: np.random.Generator) -> Model:
    """A grid of one or two levels: edges or joint tables, tied or not, labels at the root or not."""
    arities: list[tuple[int, ...]] = [[(2,), (2, 2), (3,), (2, 1)][rng.integers(4)]]
    if np.prod(arities[0]) == 2 and rng.random() < 0.6:
        arities.append((2,) if len(arities[0]) == 1 else (1, 2))
    sizes = [int(c) for c in rng.integers(2, 4 if len(arities) == 1 else 3, len(arities) + 1)]
    zeros = rng.choice([0.0, 0.4])

    def table(*shape: int) -> np.ndarray:
        out = rng.uniform(0.01, 1, shape) * (rng.random(shape) >= zeros)
        out[..., 0] += 0.1  # so that something is possible
        return out

    prior = table(sizes[0])
    levels, factors, parents, shape = [], [([0], wide_log(prior))], [0], (1,) * len(arities[0])
    first = 1
    for arity, s, a in zip(arities, sizes, sizes[1:], strict=False):
        k, grid = int(np.prod(arity)), tuple(n * m for n, m in zip(shape, arity, strict=True))
        below = first + np.arange(np.prod(grid)).reshape(grid)
        blocks = [
            below[tuple(slice(x * m, x * m + m) for x, m in zip(at, arity, strict=True))].ravel().tolist()
            for at in np.ndindex(*shape)
        ]
        own = arity if len(arity) == 2 else arity[0]
        joint, tied = rng.random() < 0.3, rng.random() < 0.5
        if joint:
            tables = [table(s, *(a,) * k)]
            levels.append(hgm.Level(own, a, hgm.Table(tables[0])))
            factors += [([p, *block], wide_log(tables[0])) for p, block in zip(parents, blocks, strict=True)]
        else:
            tables = [table(s, a) for _ in range(k if tied else k * len(parents))]
            levels.append(hgm.Level(own, a, tables))
            for i, (p, block) in enumerate(zip(parents, blocks, strict=True)):
                factors += [([p, c], wide_log(tables[j if tied else i * k + j])) for j, c in enumerate(block)]
        parents, first, shape = below.ravel().tolist(), first + below.size, grid
    labels = LABELS[rng.integers(len(LABELS))](sizes[0]) if rng.random() < 0.5 else sizes[0]
    return Model(hgm.ghm(levels, labels, prior=prior), factors)


# ---------------------------------------------------------------------- evidence

SCALES = [1.0, 1.0, 30.0, 300.0, 1e3, 1e5]
OFFSETS = [0.0, 0.0, 0.0, 1e3, 5e3, 1.3e8, 2.9e9, 1e15, 1e30]


def draw_evidence(rng: np.random.Generator, model: Model, rows: int = 4) -> np.ndarray:
    """``(B, S, V)`` float64 log evidence: none, hard, of any scale, with zeros, large common factors, and peaks."""
    count, states = len(model.cards), max(model.cards)
    alive = np.argwhere(~model.exact.dead[0])
    e = np.zeros((rows, states, count))
    for b in range(rows):
        truth = alive[rng.integers(len(alive))]
        strict = rng.random() < 0.8  # else the row may be impossible
        amount = rng.choice([0.0, 0.3, 0.8, 1.0])
        scale = rng.choice(SCALES)
        for v in range(count):
            card = model.cards[v]
            if rng.random() >= amount:
                continue
            form = rng.choice(["hard", "allowed", "soft", "soft", "zeros", "peak"])
            keep = truth[v] if strict else int(rng.integers(card))
            own = np.zeros(card) if form in ("hard", "allowed") else scale * rng.normal(size=card)
            if form == "peak":  # far above all others, perhaps at a state that is not possible
                own[rng.integers(card)] += rng.choice([10.0, 100.0, 800.0, 1e4, 1e6, 1e12])
            elif form != "soft":
                own[(rng.random(card) < (1.0 if form == "hard" else 0.5)) & (np.arange(card) != keep)] = -np.inf
            e[b, :card, v] = own + rng.choice(OFFSETS) * rng.choice([-1, 1])
    for v, card in enumerate(model.cards):
        e[:, card:, v] = -np.inf
    return e
