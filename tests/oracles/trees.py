"""The canonical set of trees, and evidence of every kind for them: every feature's tests run over these by name.

A `Case` holds a tree and, built beside it and not from it, the same model as plain data for the oracles. All are small
enough to enumerate. `random_cases` is a hypothesis strategy for more of them.

    @pytest.mark.parametrize("case", CASES.values(), ids=CASES)
    @pytest.mark.parametrize("kind", KINDS)
    def test_something(case, kind):
        evidence = draw_evidence(case, kind)
        hgm.infer(case.tree, evidence.given) ...  evidence.joints(case) ...
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import hgm
from oracles.enumeration import Joint

Factor = tuple[tuple[str, ...], Any, np.ndarray]  # scope, what hgm is given, the same as a dense array

# ---------------------------------------------------------------------- cases


@dataclass(frozen=True, eq=False)
class Case:
    """A tree, and the same model as plain data."""

    tree: hgm.Tree
    names: tuple[str, ...]
    cards: tuple[int, ...]
    factors: tuple[tuple[tuple[str, ...], np.ndarray], ...]

    @cached_property
    def joint(self) -> Joint:
        return Joint(self.names, self.cards, self.factors)

    def card(self, name: str) -> int:
        return self.cards[self.names.index(name)]

    def with_tree(self, tree: hgm.Tree) -> Case:
        """The same plain model for another tree."""
        return replace(self, tree=tree)


def build(factors: Sequence[Factor], variables: dict[str, Any] | None = None, roots: Sequence[str] = ()) -> Case:
    """A case from factors; `variables` as for `Tree.from_factors`."""
    cards = {name: value if isinstance(value, int) else len(value) for name, value in (variables or {}).items()}
    for scope, _, dense in factors:
        cards.update(zip(scope, dense.shape, strict=True))
    tree = hgm.Tree.from_factors([(scope, given) for scope, given, _ in factors], variables, roots=roots)
    return Case(tree, tuple(cards), tuple(cards.values()), tuple((scope, dense) for scope, _, dense in factors))


def dense(scope: Sequence[str], table: Any) -> Factor:
    table = np.asarray(table, dtype=float)
    return tuple(scope), table, table


def rules(
    shape: Sequence[int], states: Sequence[Sequence[int]], weights: Sequence[float]
) -> tuple[hgm.Rules, np.ndarray]:
    table = np.zeros(tuple(shape))
    for row, weight in zip(states, weights, strict=True):
        table[tuple(row)] = weight
    return hgm.Rules(tuple(shape), np.array(states), weights), table


def conditional(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A random table that sums to 1 over its last axis."""
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]) if len(shape) > 1 else rng.dirichlet(np.ones(shape[0]))


def _layered(arities: Sequence[tuple[int, ...]], tables: Any, prior: np.ndarray, given: Sequence[hgm.Level]) -> Case:
    """A layered model; ``tables(level, parent, position)`` is its edge table, or with position None its joint table."""
    shape = (1,) * len(arities[0])
    nodes = {tuple([0] * len(shape)): "label"}
    factors: list[tuple[tuple[str, ...], np.ndarray]] = [(("label",), prior)]
    names, cards = ["label"], [len(prior)]
    for level, arity in enumerate(arities):
        prefix = f"h{level + 1}_" if level + 1 < len(arities) else "x"
        shape = tuple(n * m for n, m in zip(shape, arity, strict=True))
        below = {at: prefix + "_".join(map(str, at)) for at in itertools.product(*(range(n) for n in shape))}
        positions = list(itertools.product(*(range(m) for m in arity)))
        for which, (at, parent) in enumerate(nodes.items()):
            children = [
                below[tuple(x * m + o for x, m, o in zip(at, arity, offset, strict=True))] for offset in positions
            ]
            joint = tables(level, which, None)
            if joint is not None:
                factors.append(((parent, *children), joint))
            else:
                factors += [((parent, child), tables(level, which, i)) for i, child in enumerate(children)]
        names += below.values()
        cards += [factors[-1][1].shape[-1]] * len(below)
        nodes = below
    tree = hgm.ghm(levels=given, root=len(prior), prior=prior)
    return Case(tree, tuple(names), tuple(cards), tuple(factors))


# ---------------------------------------------------------------------- the canonical set


def _binary_tied() -> Case:
    rng = np.random.default_rng(1)
    sizes = (2, 3, 2, 2)
    tables = [[conditional(rng, sizes[i], sizes[i + 1]) for _ in range(2)] for i in range(3)]
    levels = [hgm.Level(2, sizes[i + 1], tables[i]) for i in range(3)]
    return _layered([(2,)] * 3, lambda level, _, i: None if i is None else tables[level][i], np.full(2, 0.5), levels)


def _binary_untied() -> Case:
    rng = np.random.default_rng(2)
    sizes = (3, 2, 3)
    tables = [[rng.gamma(1.0, size=(sizes[i], sizes[i + 1])) for _ in range(2 ** (i + 1))] for i in range(2)]
    levels = [hgm.Level(2, sizes[i + 1], tables[i]) for i in range(2)]
    prior = np.full(3, 1 / 3)
    return _layered([(2,)] * 2, lambda level, p, i: None if i is None else tables[level][2 * p + i], prior, levels)


def _quad_2d() -> Case:
    rng = np.random.default_rng(3)
    arities, sizes = [(2, 2), (1, 2)], (3, 2, 2)
    tables = [[conditional(rng, sizes[i], sizes[i + 1]) for _ in range(np.prod(arities[i]))] for i in range(2)]
    levels = [hgm.Level(arities[i], sizes[i + 1], tables[i]) for i in range(2)]
    return _layered(arities, lambda level, _, i: None if i is None else tables[level][i], np.full(3, 1 / 3), levels)


def _joint_table() -> Case:
    rng = np.random.default_rng(4)
    tables = [rng.gamma(0.5, size=(2, 3, 3)), rng.gamma(0.5, size=(3, 2, 2))]
    levels = [hgm.Level(2, 3, hgm.Table(tables[0])), hgm.Level(2, 2, hgm.Table(tables[1]))]
    return _layered([(2,)] * 2, lambda level, _, i: tables[level] if i is None else None, np.array([0.3, 0.7]), levels)


def _rhm() -> Case:
    rng = np.random.default_rng(5)
    words = np.array(list(itertools.product(range(3), repeat=2)))  # two words per symbol, no word under two symbols
    levels, tables = [], []
    for _ in range(2):
        used = words[rng.permutation(len(words))[:6]]
        potential, table = rules((3, 3, 3), [(s, *used[2 * s + r]) for s in range(3) for r in range(2)], [0.5] * 6)
        levels.append(hgm.Level(2, 3, potential))
        tables.append(table)
    return _layered([(2,)] * 2, lambda level, _, i: tables[level] if i is None else None, np.full(3, 1 / 3), levels)


def _prior() -> Case:
    rng = np.random.default_rng(6)
    table = conditional(rng, 4, 3)
    prior = np.array([0.9, 0.0, 0.05, 0.2])
    return _layered([(3,)], lambda level, _, i: None if i is None else table, prior, [hgm.Level(3, 3, table)])


def _ragged() -> Case:
    rng = np.random.default_rng(7)
    edges = [("r", "a"), ("r", "b"), ("a", "c"), ("a", "d"), ("a", "e"), ("b", "f"), ("f", "g"), ("r", "i")]
    states = {
        "r": ["red", "green", "blue"], "a": 2, "b": 1, "c": 4, "d": ["no", "yes"], "e": 3, "f": 2, "g": 5, "i": 2,
    }  # fmt: skip
    card = {name: value if isinstance(value, int) else len(value) for name, value in states.items()}
    return build([dense(edge, rng.gamma(1.0, size=(card[edge[0]], card[edge[1]]))) for edge in edges], states, ["r"])


def _hard_zeros() -> Case:
    rng = np.random.default_rng(8)
    step = hgm.Edge(table := np.array([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]]))
    factors: list[Factor] = [dense(["z0"], [1.0, 0.0, 0.0])]
    factors += [((f"z{i}", f"z{i + 1}"), step, table) for i in range(3)]
    factors += [dense([f"z{i}", f"y{i}"], np.eye(3)[:, rng.permutation(3)][:, :2] + [[0.0, 0.5]] * 3) for i in range(4)]
    return build(factors)


def _forest() -> Case:
    rng = np.random.default_rng(9)
    factors = [
        dense(["a", "b"], rng.random((2, 3))),
        dense(["c", "d"], rng.random((3, 2))),
        dense(["c"], [2.0, 3.0, 0.0]),
    ]
    factors.append(dense(["b", "e"], rng.random((3, 2))))
    return build(factors, {"a": 2, "alone": 4, "c": 3, "single": ["on", "off"]})


def _star() -> Case:
    rng = np.random.default_rng(10)
    return build(
        [dense(["hub"], [0.2, 0.5, 0.3])] + [dense(["hub", f"x{i}"], conditional(rng, 3, 2)) for i in range(9)]
    )


def _chain() -> Case:
    rng = np.random.default_rng(11)
    step = hgm.Edge(table := conditional(rng, 3, 3))
    factors: list[Factor] = [dense(["x0"], [0.6, 0.3, 0.1])]
    return build(factors + [((f"x{i}", f"x{i + 1}"), step, table) for i in range(7)])


def _cardinality_1() -> Case:
    return build(
        [dense(["a", "b"], [[2.0]]), dense(["b", "c", "d"], [[[3.0]]]), dense(["d", "e"], [[0.5]]), dense(["e"], [7.0])]
    )


def _polytree() -> Case:
    """A polytree with multi-parent tables; factors are entered at a child, a middle parent, a first parent."""
    rng = np.random.default_rng(12)
    factors = [dense([name], conditional(rng, card)) for name, card in [("p", 2), ("q", 3), ("s", 2), ("t", 2)]]
    factors += [
        dense(["p", "q", "c"], conditional(rng, 2, 3, 2)),
        dense(["s", "c", "t", "d"], conditional(rng, 2, 2, 2, 3)),
    ]
    factors += [dense(["d", "e"], conditional(rng, 3, 2)), dense(["q", "f"], conditional(rng, 3, 2))]
    return build(factors, roots=["q"])


def _unary_factors() -> Case:
    rng = np.random.default_rng(13)
    shared = hgm.Table(table := np.array([0.5, 4.0]))
    factors = [
        dense(["a", "b"], rng.random((2, 2))),
        dense(["b", "c"], rng.random((2, 3))),
        dense(["b", "d"], rng.random((2, 2))),
    ]
    factors += [((name,), shared, table) for name in ("a", "b", "d")]
    factors += [dense(["b"], [0.1, 0.9]), dense(["b"], [3.0, 1.0]), dense(["c"], [1.0, 0.0, 2.0])]
    return build(factors)


def _wide_range() -> Case:
    rng = np.random.default_rng(14)
    factors = [dense([f"n{(i - 1) // 2}", f"n{i}"], 10.0 ** rng.uniform(-16, 16, size=(3, 3))) for i in range(1, 7)]
    return build([dense(["n0"], 10.0 ** rng.uniform(-16, 16, size=3)), *factors])


def _wide_factor() -> Case:
    """One factor with ten axes, entered in the middle, with zeros."""
    rng = np.random.default_rng(15)
    table = rng.random((2,) * 10) * (rng.random((2,) * 10) < 0.7)
    names = [f"b{i}" for i in range(10)]
    return build([dense(names, table), dense(["b3", "z"], rng.random((2, 3)))], roots=["b4"])


def _rules_any_axis() -> Case:
    """Rules entered at another axis than the first, with unequal numbers of rules per state and a state without any."""
    shared, table = rules((2, 3, 3), [(0, 1, 1), (0, 2, 0), (1, 1, 0), (1, 0, 0)], [1.0, 0.5, 2.0, 0.25])
    one, vector = rules((3,), [(1,), (0,)], [0.5, 2.0])
    factors: list[Factor] = [(("a", "b", "c"), shared, table), (("d", "e", "b"), shared, table), (("c",), one, vector)]
    return build(factors, roots=["c"])


def _zero_rows() -> Case:
    """Joint factors where a parent state, and a child state, allow nothing."""
    rng = np.random.default_rng(16)
    table = rng.random((3, 2, 3))
    table[1] = 0.0
    table[:, :, 2] = 0.0
    edge = np.array([[0.0, 0.0], [1.0, 2.0], [0.5, 0.0]])
    return build([dense(["r", "a", "b"], table), dense(["b", "c"], edge), dense(["a", "d"], rng.random((2, 2)))])


CASES: dict[str, Case] = {
    "binary_tied": _binary_tied(),
    "binary_untied": _binary_untied(),
    "quad_2d": _quad_2d(),
    "ragged": _ragged(),
    "joint_table": _joint_table(),
    "rhm": _rhm(),
    "rules_any_axis": _rules_any_axis(),
    "hard_zeros": _hard_zeros(),
    "zero_rows": _zero_rows(),
    "forest": _forest(),
    "star": _star(),
    "chain": _chain(),
    "single": build([dense(["only"], [0.1, 0.6, 0.3])]),
    "single_without_factor": build([], {"only": 3}),
    "cardinality_1": _cardinality_1(),
    "polytree": _polytree(),
    "unary_factors": _unary_factors(),
    "prior": _prior(),
    "wide_range": _wide_range(),
    "wide_factor": _wide_factor(),
}

# ---------------------------------------------------------------------- evidence

KINDS = ("none", "hard_leaves", "soft", "zeros", "inner", "batch")


@dataclass(frozen=True)
class Evidence:
    """Evidence in the form that hgm takes, and the same as likelihoods by name for each batch row."""

    given: dict[str, Any]
    rows: list[dict[str, np.ndarray]]
    batched: bool

    def joints(self, case: Case) -> list[Joint]:
        """The joint distribution of each row."""
        return [case.joint.given(row) for row in self.rows]

    def log_tensor(self, case: Case) -> torch.Tensor:
        """``(B, S, V)`` log likelihoods in the tree's order, written without hgm's own code for it."""
        e = np.zeros((len(self.rows), max(case.cards), len(case.names)))
        for i, name in enumerate(case.tree.names):
            e[:, case.card(name) :, i] = -np.inf
            for b, row in enumerate(self.rows):
                if name in row:
                    with np.errstate(divide="ignore"):
                        e[b, : case.card(name), i] = np.log(row[name])
        return torch.from_numpy(e)


def draw_evidence(case: Case, kind: str, seed: int = 0) -> Evidence:
    """Possible evidence of one of the `KINDS`, the same for the same seed."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind == "batch":
        return _batch(case, rng)
    truth = case.joint.possible(rng)
    given: dict[str, Any] = {}
    row: dict[str, np.ndarray] = {}
    leaves = [case.tree.names[int(v)] for v in case.tree.leaves]
    inner = [name for name in case.names if name not in leaves] or list(case.names)
    for name in {"none": [], "hard_leaves": leaves, "inner": inner}.get(kind, list(case.names)):
        card, state = case.card(name), truth[name]
        if kind == "hard_leaves" or (kind == "inner" and rng.random() < 0.5):
            labels = case.tree.labels(case.tree.index(name))
            given[name] = (
                labels[state]
                if labels and rng.random() < 0.7
                else [state, np.int64(state), torch.tensor(state)][rng.integers(3)]
            )
            row[name] = np.eye(card)[state]
        elif kind in ("soft", "inner"):
            row[name] = rng.uniform(0.01, 1.0, card) * 10.0 ** rng.uniform(-3, 3)
            given[name] = single_likelihood(case, name, row[name], rng)
        elif rng.random() < 0.8:
            allowed = (rng.random(card) < 0.5) | (np.arange(card) == state)
            row[name] = allowed * (rng.uniform(0.01, 1.0, card) if rng.random() < 0.5 else 1.0)
            if set(row[name]) <= {0.0, 1.0}:
                given[name] = {state for state, keep in zip(states_of(case, name), allowed, strict=True) if keep}
            else:
                given[name] = single_likelihood(case, name, row[name], rng)
    return Evidence(given, [row], batched=False)


def states_of(case: Case, name: str) -> Sequence[Any]:
    """What the states of a variable are called."""
    return case.tree.labels(case.tree.index(name)) or range(case.card(name))


def single_likelihood(case: Case, name: str, values: np.ndarray, rng: np.random.Generator) -> Any:
    """A likelihood of each state, without a batch, in one of its forms."""
    by_label = dict(zip(states_of(case, name), values.tolist(), strict=True))
    with np.errstate(divide="ignore"):
        forms = [by_label, hgm.Likelihood(values.tolist()), hgm.Likelihood(torch.tensor(values)), np.log(values)]
    form = forms[rng.integers(4)]
    return hgm.Likelihood.log(form) if isinstance(form, np.ndarray) else form


def _batch(case: Case, rng: np.random.Generator, size: int = 3) -> Evidence:
    given: dict[str, Any] = {}
    rows: list[dict[str, np.ndarray]] = [{} for _ in range(size)]
    truths = [case.joint.possible(rng) for _ in range(size)]
    for name in case.names:
        card, states = case.card(name), np.array([truth[name] for truth in truths])
        allowed = (rng.random((size, card)) < 0.4) | (np.arange(card) == states[:, None])
        form = ["missing", "hard", "hard_labels", "allowed", "soft", "one_for_all"][rng.integers(6)]
        if form in ("hard", "hard_labels"):
            seen = rng.random(size) < 0.7
            likelihood = np.where(seen[:, None], np.eye(card)[states], 1.0)
            labels = case.tree.labels(case.tree.index(name))
            if labels and form == "hard_labels":
                given[name] = [labels[s] if see else None for s, see in zip(states, seen, strict=True)]
            else:
                given[name] = np.where(seen, states, -1)
        elif form == "allowed":
            likelihood, given[name] = allowed.astype(float), allowed
        elif form == "soft":
            likelihood = allowed * rng.uniform(0.01, 1.0, (size, card))
            given[name] = torch.tensor(likelihood)
        elif form == "one_for_all":
            likelihood = np.broadcast_to(rng.uniform(0.01, 1.0, card), (size, card))
            one = rng.random() < 0.5
            given[name] = single_likelihood(case, name, likelihood[0], rng) if one else likelihood[:1].copy()
        else:
            continue
        for row, own in zip(rows, likelihood, strict=True):
            row[name] = own
    if not any(np.ndim(x) for x in given.values()):
        name = case.names[0]
        given[name] = np.full(size, -1)
        for row in rows:
            row.pop(name, None)
    batch = max(len(x) for x in given.values() if np.ndim(x))
    return Evidence(given, rows[:batch], batched=True)


# ---------------------------------------------------------------------- random trees


@st.composite
def random_cases(draw: st.DrawFn, most: int = 7) -> Case:
    """Random factor trees and forests: any shape, cardinalities 1 to 4, zeros, rules, ties, and any roots.

    At least one assignment always has positive probability.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    count = draw(st.integers(1, most), label="variables")
    zeros = draw(st.sampled_from([0.0, 0.0, 0.4]), label="zeros")
    spread = draw(st.sampled_from([1.0, 1.0, 12.0]), label="decades")
    cards = [int(c) for c in rng.choice([1, 2, 2, 3, 4], size=count)]
    truth = [int(rng.integers(c)) for c in cards]
    factors: list[Factor] = []
    known: dict[tuple[int, ...], list[tuple[Any, np.ndarray]]] = {}  # potentials that may be used again
    done = 1
    while done < count or rng.random() < 0.4:
        new = min(int(rng.choice([0, 1, 1, 1, 2, 3])), count - done)
        old = [] if new and rng.random() < 0.15 else [int(rng.integers(done))]  # sometimes a new component
        scope = [int(v) for v in rng.permutation(old + list(range(done, done + new)))]
        done += new
        factors.append(_random_factor(rng, scope, cards, truth, zeros, spread, known))
    names = [f"v{i}" for i in rng.permutation(count)]
    named = [(tuple(names[v] for v in scope), given, table) for scope, given, table in factors]
    case = build(named, {name: cards[i] for i, name in enumerate(names)})
    return case.with_tree(case.tree.reroot(names[int(rng.integers(count))])) if rng.random() < 0.5 else case


def _random_factor(
    rng: np.random.Generator,
    scope: list[int],
    cards: list[int],
    truth: list[int],
    zeros: float,
    spread: float,
    known: dict[tuple[int, ...], list[tuple[Any, np.ndarray]]],
) -> tuple[list[int], Any, np.ndarray]:
    shape, keep = tuple(cards[v] for v in scope), tuple(truth[v] for v in scope)
    for given, table in known.get(shape, []):
        if table[keep] > 0 and rng.random() < 0.5:
            return scope, given, table
    table = 10.0 ** rng.uniform(-spread / 2, spread / 2, size=shape) * (rng.random(shape) >= zeros)
    table[keep] = 10.0 ** rng.uniform(-spread / 2, spread / 2)
    given: Any = table
    if rng.random() < 0.3:
        states = rng.permutation(np.argwhere(table > 0))
        given, table = rules(shape, states, table[tuple(states.T)])
    known.setdefault(shape, []).append((given, table))
    return scope, given, table
