"""Two oracles for inference that share no code with hgm and know nothing of its trees.

Both take a model as plain data: names, cardinalities, and factors, each ``(scope, table)`` with a dense array of
non-negative numbers whose axes follow the scope; and evidence as a likelihood vector per variable.

`Joint` enumerates all joint states, so it is right for anything small. `sum_product` passes messages in the linear
domain with 50 digits and unbounded exponents, so it also does large trees and any range of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mpmath
import numpy as np

Factors = Sequence[tuple[Sequence[str], np.ndarray]]
Likelihoods = Mapping[str, np.ndarray]


class Joint:
    """The unnormalised joint distribution over all variables, as one array of logs."""

    def __init__(self, names: Sequence[str], cards: Sequence[int], factors: Factors) -> None:
        self.names = tuple(names)
        self.log = np.zeros(tuple(cards))
        with np.errstate(divide="ignore"):
            for scope, table in factors:
                self.log = self.log + self._spread(scope, np.log(np.asarray(table, dtype=float)))

    def _spread(self, scope: Sequence[str], table: np.ndarray) -> np.ndarray:
        """A table over some variables, its axes put where the joint has them."""
        where = [self.names.index(name) for name in scope]
        order = np.argsort(where)
        shape = [1] * len(self.names)
        for axis in order:
            shape[where[axis]] = table.shape[axis]
        return table.transpose(order).reshape(shape)

    def given(self, likelihoods: Likelihoods) -> Joint:
        """The joint times the likelihood of each state."""
        other = object.__new__(Joint)
        other.names, other.log = self.names, self.log
        with np.errstate(divide="ignore"):
            for name, likelihood in likelihoods.items():
                other.log = other.log + self._spread([name], np.log(np.asarray(likelihood, dtype=float)))
        return other

    @property
    def log_z(self) -> float:
        top = self.log.max()
        return float(top + np.log(np.exp(self.log - top).sum())) if top > -np.inf else -np.inf

    @property
    def probability(self) -> np.ndarray:
        """The normalised joint."""
        p = np.exp(self.log - self.log.max())
        return p / p.sum()

    def marginal(self, *names: str) -> np.ndarray:
        """Joint marginal of some variables, axes in the order of `names`."""
        where = [self.names.index(name) for name in names]
        p = self.probability.sum(axis=tuple(i for i in range(len(self.names)) if i not in where))
        return p.transpose(np.argsort(np.argsort(where)))

    def max_marginal(self, name: str) -> np.ndarray:
        """Largest log score for each state of one variable."""
        where = self.names.index(name)
        return self.log.max(axis=tuple(i for i in range(len(self.names)) if i != where))

    @property
    def best(self) -> float:
        """The largest log score of an assignment."""
        return float(self.log.max())

    def score(self, assignment: Mapping[str, int]) -> float:
        """The log score of one assignment."""
        return float(self.log[tuple(assignment[name] for name in self.names)])

    def possible(self, rng: np.random.Generator) -> dict[str, int]:
        """A random assignment of positive probability."""
        at = rng.choice(np.flatnonzero(self.log.ravel() > -np.inf))
        return dict(zip(self.names, (int(i) for i in np.unravel_index(at, self.log.shape)), strict=True))


def sum_product(
    names: Sequence[str], cards: Sequence[int], factors: Factors, likelihoods: Likelihoods
) -> tuple[float, dict[str, np.ndarray]]:
    """log Z and all marginals of a connected factor tree, in 50-digit arithmetic."""
    exact = np.frompyfunc(mpmath.mpf, 1, 1)
    card = dict(zip(names, cards, strict=True))
    tables = [exact(np.asarray(table, dtype=float)) for _, table in factors]
    own = {name: exact(np.asarray(likelihoods.get(name, np.ones(card[name])), dtype=float)) for name in names}
    touching: dict[str, list[int]] = {name: [] for name in names}
    for f, (scope, _) in enumerate(factors):
        for name in scope:
            touching[name].append(f)

    order: list[tuple[str, int]] = [(names[0], -1)]  # (variable, factor above it), each after the one above
    below: list[tuple[int, str]] = []  # (factor, variable above it)
    for name, above in order:
        for f in touching[name]:
            if f != above:
                below.append((f, name))
                order += [(other, f) for other in factors[f][0] if other != name]
    assert len(order) == len(names), "not one tree"

    with mpmath.workdps(50):
        messages: dict[tuple[int, str], np.ndarray] = {}  # from a factor to a variable

        def from_variable(name: str, to: int) -> np.ndarray:
            product = own[name]
            for f in touching[name]:
                if f != to:
                    product = product * messages[f, name]
            return product

        def send(f: int, name: str) -> None:
            scope = list(factors[f][0])
            product = tables[f]
            for axis, other in enumerate(scope):
                if other != name:
                    product = product * from_variable(other, f).reshape(
                        [-1 if i == axis else 1 for i in range(len(scope))]
                    )
            to = scope.index(name)
            messages[f, name] = (
                product.transpose([to, *(i for i in range(len(scope)) if i != to)]).reshape(card[name], -1).sum(axis=1)
            )

        for f, name in reversed(below):
            send(f, name)
        log_z = float(mpmath.log(from_variable(names[0], -1).sum()))
        for f, above in below:
            for name in factors[f][0]:
                if name != above:
                    send(f, name)
        marginals = {}
        for name in names:
            belief = from_variable(name, -1)
            marginals[name] = (belief / belief.sum()).astype(float)
    return log_z, marginals
