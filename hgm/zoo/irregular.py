"""Irregular random trees and forests: mixed cardinalities, joint factors and zeros on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hgm.errors import BadSpec, brief
from hgm.tree.arguments import MOST, listed, seeded, whole
from hgm.tree.labels import States
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.tree import Tree
from hgm.zoo.draw import fraction, log_uniform

__all__ = ["forest", "random_tree"]


def random_tree(
    variables: int = 20,
    *,
    cardinality: tuple[int, int] = (2, 5),
    joint: float = 0.0,
    width: int = 3,
    unary: float = 0.5,
    zeros: float = 0.0,
    bound: float = 10.0,
    seed: int = 0,
) -> Tree:
    """An irregular tree x0, x1, ...: every new factor hangs below a variable drawn from all that exist.

    Args:
        variables: number of variables.
        cardinality: smallest and largest number of states, each variable's drawn uniformly.
        joint: probability that a factor has several children, 2 to `width`; its axes then come in random order.
        width: the most children of a factor.
        unary: probability that a variable has a factor of its own.
        zeros: probability that an entry is zero. One assignment, drawn first, keeps a positive probability.
        bound: the other entries are log-uniform in ``[1 / bound, bound]``.
        seed: seed of everything.

    Raises:
        BadSpec: for a bad number.
    """
    return _Looks(cardinality, joint, width, unary, zeros, bound).draw({"x": variables}, seed)


def forest(
    sizes: Sequence[int] = (7, 4, 1),
    *,
    cardinality: tuple[int, int] = (2, 5),
    joint: float = 0.0,
    width: int = 3,
    unary: float = 0.5,
    zeros: float = 0.0,
    bound: float = 10.0,
    seed: int = 0,
) -> Tree:
    """Several random trees side by side; variable 3 of tree 0 is ``t0_x3``.

    Args:
        sizes: number of variables of each tree.
        cardinality: as for `random_tree`, like all that follows.
        joint: probability of several children.
        width: the most children of a factor.
        unary: probability of a factor over one variable.
        zeros: probability of a zero.
        bound: of the other entries.
        seed: seed of everything.

    Raises:
        BadSpec: for a bad number, or no tree.
    """
    sizes = listed("sizes", sizes, "numbers of variables")
    if not sizes:
        raise BadSpec("a forest needs at least one tree; sizes is empty")
    looks = _Looks(cardinality, joint, width, unary, zeros, bound)
    return looks.draw({f"t{i}_x": size for i, size in enumerate(sizes)}, seed)


@dataclass(frozen=True)
class _Looks:
    """What random trees look like; the attributes are the arguments of `random_tree`."""

    cardinality: tuple[int, int]
    joint: float
    width: int
    unary: float
    zeros: float
    bound: float

    def __post_init__(self) -> None:
        whole("width", self.width, 1, MOST)
        for name in ("joint", "unary", "zeros"):
            fraction(name, getattr(self, name))
        pair = listed("cardinality", self.cardinality, "two numbers, (smallest, largest)")
        if len(pair) != 2 or whole("cardinality", pair[0], 1) > whole("cardinality", pair[1], 1, MOST):
            raise BadSpec(
                f"cardinality must be (smallest, largest) with 1 <= smallest <= largest; got {brief(self.cardinality)}"
            )

    def draw(self, sizes: Mapping[str, int], seed: int) -> Tree:
        """Trees of so many variables, called prefix0, prefix1, ..., side by side."""
        rng = seeded(seed)
        factors: list[tuple[Sequence[str], Potential]] = []
        states: dict[str, States] = {}
        for prefix, size in sizes.items():
            more, own = self._tree(rng, prefix, size)
            factors += more
            states |= own
        return Tree.from_factors(factors, states, roots=[f"{prefix}0" for prefix in sizes])

    def _tree(
        self, rng: np.random.Generator, prefix: str, variables: int
    ) -> tuple[list[tuple[Sequence[str], Potential]], dict[str, States]]:
        """The factors and the states of one tree."""
        whole("variables", variables, 1, MOST)
        size = rng.integers(self.cardinality[0], self.cardinality[1] + 1, size=variables)
        chosen = rng.integers(size)  # the assignment that stays possible

        def factor(scope: list[int]) -> tuple[Sequence[str], Potential]:
            table = log_uniform(rng, self.bound, tuple(size[scope]))
            if self.zeros:
                keep = table[tuple(chosen[scope])]
                table[rng.random(table.shape) < self.zeros] = 0.0
                table[tuple(chosen[scope])] = keep
            return tuple(f"{prefix}{v}" for v in scope), Edge(table) if len(scope) == 2 else Table(table)

        factors = [factor([v]) for v in np.flatnonzero(rng.random(variables) < self.unary).tolist()]
        v = 1
        while v < variables:
            children = int(rng.integers(2, self.width + 1)) if self.width > 1 and rng.random() < self.joint else 1
            scope = [int(rng.integers(v)), *range(v, min(v + children, variables))]
            factors.append(factor([scope[i] for i in rng.permutation(len(scope))] if self.joint else scope))
            v += children
        return factors, {f"{prefix}{v}": int(n) for v, n in enumerate(size)}
