"""`Tree`: a rooted factor tree (or forest). No torch, no Python object per node.

`p(x) = 1/Z * prod_f psi_{potential_id[f]}( x[scope of f] )`
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from hgm.errors import BadEvidence, BadPotential, BadSpec, NotATree, brief, did_you_mean
from hgm.tree.arguments import listed, mapping
from hgm.tree.arrays import frozen
from hgm.tree.checks import check_labels, check_potential_names, check_shapes, shown
from hgm.tree.condition import condition
from hgm.tree.labels import Label, States, distinct_labels, read_key, read_states
from hgm.tree.names import ListedNames, Names
from hgm.tree.pool import Pool
from hgm.tree.potential import Potential
from hgm.tree.readable import Factor, factor_called, level_table, outline
from hgm.tree.rooting import components, root
from hgm.tree.showing import Shown, TextTable
from hgm.tree.structure import Structure, checked_number

__all__ = ["Tree", "checked_tree"]


@dataclass(frozen=True, eq=False, repr=False)
class Tree(Shown, Structure):
    """A rooted factor tree or forest: its structure and its potentials.

    Use `Tree.from_factors`, `Tree.from_edges`, `hgm.ghm` or a converter to make one. The other attributes are those of
    `Structure`.

    Attributes:
        potentials: the distinct potentials, by their numbers.
        kept: what was computed once for these potentials.
    """

    potentials: tuple[Potential, ...] = field(kw_only=True)
    kept: dict[Hashable, Any] = field(default_factory=dict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"kept": {}}

    # ------------------------------------------------------------------ constructors

    @classmethod
    def from_factors(
        cls,
        factors: Iterable[tuple[Sequence[Label], Potential | npt.ArrayLike]],
        variables: Mapping[Label, States] | None = None,
        *,
        roots: Sequence[Label] = (),
        observed: Mapping[Label, object] | None = None,
    ) -> Tree:
        """A tree from its factors, each ``(scope, potential)``, in any order.

        Args:
            factors: scope (names in the order of the table's axes) and a `Potential` or an array of non-negative
                numbers. The same object given for several factors ties them. A table of pandas or xarray is read by the
                labels of its rows and columns, which must be those of the `variables`.
            variables: number of states or state labels of each variable. May be left out for variables that some
                factor covers; a variable in no factor must be listed here.
            roots: the wanted root of each component; default the first declared variable of each.
            observed: states of variables to condition on *before* the tree is built. Their factors are sliced there,
                which can cut cycles; each observed variable stays as a single node that allows only that state.

        Raises:
            NotATree: if the factor graph has a cycle (the message names one).
            BadPotential: if a table does not fit its scope, or two potentials that are not tied have one name.
            BadSpec: for unknown names or bad states.
            BadEvidence: if an observed variable or state does not exist.
            ImpossibleEvidence: if a factor is zero at the observed states.
        """
        scopes: list[tuple[Label, ...]] = []
        ids: list[int] = []
        pool = Pool()
        states: dict[Label, States] = dict(mapping("variables", variables, "{name: states}"))
        read = {name: read_states(value, f"variable {name!r}") for name, value in states.items()}
        for i, factor in enumerate(listed("factors", factors, "pairs (scope, potential)")):
            scope, potential = _several(f"factor {i}", factor, "scope, potential")
            members = [scope] if isinstance(scope, str) else listed(f"the scope of factor {i}", scope, "names")
            scopes.append(tuple(members))
            try:
                ids.append(pool.number(potential, [(name, read.get(name)) for name in scopes[-1]]))
            except BadPotential as error:
                raise BadPotential(f"factor {shown(scopes[-1])}: {error}") from None

        for scope, i in zip(scopes, ids, strict=True):
            shape = pool.potentials[i].shape
            if len(scope) != len(shape):
                raise BadPotential(f"factor {shown(scope)} has {len(scope)} variables but its table has shape {shape}")
            for name, size in zip(scope, shape, strict=True):
                states.setdefault(name, size)
        roots = [roots] if isinstance(roots, str) else listed("roots", roots, "names")
        for name in roots:
            if not isinstance(name, Hashable) or name not in states:
                close = did_you_mean(name, states)
                raise BadSpec(f"{brief(name)} is wanted as a root, but there is no such variable{close}")
        names = ListedNames(list(states))
        read = {name: read.get(name) or read_states(value, f"variable {name!r}") for name, value in states.items()}
        cardinality = np.array([count for count, _ in read.values()], dtype=np.int64)
        observed = mapping("observed", observed, "{name: state}", BadEvidence)
        if observed:
            check_shapes(names, cardinality, *_csr(scopes, names), np.array(ids, dtype=np.int64), pool.potentials)
            scopes, given = condition(scopes, [pool.potentials[i] for i in ids], observed, read)
            pool = Pool()
            ids = [pool.number(potential) for potential in given]
        label_sets, label_set = distinct_labels([own for _, own in read.values()])
        return cls.build(
            names,
            cardinality,
            *_csr(scopes, names),
            np.array(ids, dtype=np.int64),
            pool.potentials,
            roots=[names.index(name) for name in roots],
            label_sets=label_sets,
            label_set=label_set,
        )

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[Label, Label, Potential | npt.ArrayLike]],
        priors: Mapping[Label, Potential | npt.ArrayLike] | None = None,
        variables: Mapping[Label, States] | None = None,
    ) -> Tree:
        """A tree from directed edges ``(parent, child, matrix)`` and priors ``{variable: vector}``.

        The matrix has one row per parent state and one column per child state. Parents without a parent of their own
        are the roots. Other arguments and errors as for `from_factors`; also `NotATree` if a child has two parents.
        """
        edges = [
            _several(f"edge {i}", edge, "parent, child, matrix")
            for i, edge in enumerate(listed("edges", edges, "triples (parent, child, matrix)"))
        ]
        parent_of: dict[Label, Label] = {}
        for i, (*ends, _) in enumerate(edges):
            parent, child = (read_key(name, f"a variable's name (edge {i})") for name in ends)
            if child in parent_of:
                raise NotATree(
                    f"variable {child!r} has two parents, {parent_of[child]!r} and {parent!r}; a tree's nodes have one"
                )
            parent_of[child] = parent
        roots = dict.fromkeys(parent for parent, _, _ in edges if parent not in parent_of)
        factors: list[tuple[Sequence[Label], Potential | npt.ArrayLike]] = []
        factors += [((name,), potential) for name, potential in mapping("priors", priors, "{name: vector}").items()]
        factors += [((parent, child), potential) for parent, child, potential in edges]
        return cls.from_factors(factors, variables, roots=list(roots))

    @classmethod
    def build(
        cls,
        names: Names,
        cardinality: np.ndarray,
        scope_ptr: np.ndarray,
        scope: np.ndarray,
        potential_id: np.ndarray,
        potentials: Sequence[Potential],
        *,
        roots: Sequence[int] = (),
        label_sets: Sequence[tuple[Label, ...]] = (),
        label_set: np.ndarray | None = None,
        grid: tuple[tuple[int, ...], ...] | None = None,
    ) -> Tree:
        """A tree from arrays in any order (see the attributes): checks them, roots the tree and puts it in level order.

        Raises:
            NotATree: for a cycle, or two roots in one component.
            BadPotential: if a table does not fit its scope, or two potentials have one name.
            BadSpec: for a variable twice in a scope, labels that do not fit the states, or no variable at all.
        """
        variables, factors = len(names), len(potential_id)
        if variables == 0:
            raise BadSpec("a tree needs at least one variable")
        if (cardinality < 1).any():
            v = int(np.argmax(cardinality < 1))
            raise BadSpec(f"variable {names[v]!r} has {cardinality[v]} states; at least one is needed")
        check_shapes(names, cardinality, scope_ptr, scope, potential_id, potentials)
        check_potential_names(potentials)
        label_set = np.full(variables, -1, dtype=np.int64) if label_set is None else label_set
        check_labels(names, cardinality, label_sets, label_set)
        parent_factor, depth = root(names, scope_ptr, scope, roots)

        # level order, then factors by parent; both sorts stable, so that declared order decides inside a level
        order = np.argsort(depth, kind="stable")
        rank = np.empty(variables, dtype=np.int64)
        rank[order] = np.arange(variables)
        owner = np.repeat(np.arange(factors), np.diff(scope_ptr))
        is_up = parent_factor[scope] != owner  # in a tree, a factor is the parent factor of all its variables but one
        parent = np.full(factors, -1, dtype=np.int64)
        parent[owner[is_up]] = rank[scope[is_up]]
        axis = np.arange(len(scope)) - scope_ptr[owner]
        up = np.zeros(factors, dtype=np.int64)
        up[owner[is_up]] = axis[is_up]
        factor_order = np.argsort(parent, kind="stable")
        sizes = np.diff(scope_ptr)[factor_order]
        new_ptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        take = np.repeat(scope_ptr[:-1][factor_order] - new_ptr[:-1], sizes) + np.arange(len(scope))
        return cls(
            names=names.take(order),
            cardinality=frozen(cardinality[order]),
            level_ptr=frozen(np.searchsorted(depth[order], np.arange(depth.max() + 2))),
            scope_ptr=frozen(new_ptr),
            scope=frozen(rank[scope[take]]),
            up=frozen(up[factor_order]),
            potential_id=frozen(potential_id[factor_order]),
            potentials=tuple(potentials),
            label_sets=tuple(label_sets),
            label_set=frozen(label_set[order]),
            grid=grid,
        )

    # ------------------------------------------------------------------ for readers

    def show(self) -> None:
        """Print the variables as an indented text, each under its parent, with its states; of large trees the start."""
        print(outline(self))

    def factor(self, key: Label | Sequence[Label]) -> Factor:
        """The factor above a variable, or of a root its prior; of a tuple of names the factor over exactly these.

            tree.factor("wet")           # prints its table, with the labels of its states
            tree.factor("wet").table     # and this is the array

        Raises `BadSpec` if there is none, or there are several, `BadEvidence` for an unknown name.
        """
        return factor_called(self, key)

    def shown(self) -> Iterable[str | TextTable]:
        return (repr(self), level_table(self))

    # ------------------------------------------------------------------ other trees

    def potential_of(self, factor: int) -> Potential:
        """The potential of a factor. Raises `BadSpec` if there is no such factor."""
        return self.potentials[self.potential_id[checked_number("factor", factor, self.factors)]]

    def reroot(self, *roots: Label) -> Tree:
        """The same model with other roots (one per component at most; the other components keep theirs).

        Potentials, tying, names and labels stay; levels and orders change. The joint distribution is the same.
        Raises `BadEvidence` for an unknown name, also a list of names, `NotATree` for two roots in one component.
        """
        wanted = [self.index(name) for name in roots]
        if all(self.level[v] == 0 for v in wanted):
            return self
        _, component = components(len(self), self.scope_ptr, self.scope)
        taken = {int(component[v]) for v in wanted}
        kept = [int(v) for v in self.roots if int(component[v]) not in taken]
        return Tree.build(
            self.names, self.cardinality, self.scope_ptr, self.scope, self.potential_id, self.potentials,
            roots=wanted + kept, label_sets=self.label_sets, label_set=self.label_set,
        )  # fmt: skip

    def with_potentials(self, potentials: Sequence[Potential]) -> Tree:
        """The same tree with other potentials, of the same kinds and shapes. Raises `BadPotential` if they differ.

        A potential without a name gets the name of the one whose place it takes.
        """
        potentials = listed("potentials", potentials, "Potentials", BadPotential)
        if len(potentials) != len(self.potentials):
            raise BadPotential(f"the tree has {len(self.potentials)} distinct potentials; got {len(potentials)}")
        for i, (old, new) in enumerate(zip(self.potentials, potentials, strict=True)):
            if not isinstance(new, Potential) or type(old) is not type(new) or old.shape != new.shape:
                raise BadPotential(f"potential {i} is {old}; it cannot be replaced by {brief(new)}")
        named = [new.named(new.name or old.name) for old, new in zip(self.potentials, potentials, strict=True)]
        check_potential_names(named)
        other = replace(self, potentials=tuple(named))
        object.__setattr__(other, "memo", self.memo)  # what was computed for this structure serves the other tree too
        return other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and super().__eq__(other) and self.potentials == other.potentials

    def __hash__(self) -> int:
        return hash((super().__hash__(), self.potentials))

    def __repr__(self) -> str:
        kind = "Tree" if len(self.roots) == 1 else f"Forest of {len(self.roots)} trees"
        return (
            f"{kind}: {len(self):,} variables on levels 0 to {self.depth}, {len(self.leaves):,} leaves, "
            f"{self.factors:,} factors, {len(self.potentials):,} distinct potentials "
            f"with {sum(p.size for p in self.potentials):,} weights"
        )


def checked_tree(given: Any) -> Tree:
    """The tree. Raises `BadSpec` for anything else."""
    if isinstance(given, Tree):
        return given
    hint = ""
    if isinstance(given, str | PathLike):
        hint = "; hgm.load(path) reads a tree from its file"
    elif isinstance(given, Mapping | list | tuple):
        hint = "; hgm.Tree.from_factors and hgm.Tree.from_edges make one"
    elif callable(getattr(given, "tree", None)):
        hint = "; network.tree() is the tree of a network"
    raise BadSpec(f"tree must be a Tree; got {brief(given)}{hint}")


def _several(what: str, given: Any, parts: str) -> tuple[Any, ...]:
    """The parts of a factor or an edge. Raises `BadSpec` unless there are as many as are named."""
    wanted = len(parts.split(", "))
    if not isinstance(given, tuple | list) or len(given) != wanted:
        got = f"{len(given)} things" if isinstance(given, tuple | list) else brief(given)
        raise BadSpec(f"{what} must be ({parts}); got {got}")
    return tuple(given)


def _csr(scopes: Sequence[tuple[Label, ...]], names: Names) -> tuple[np.ndarray, np.ndarray]:
    """`scope_ptr` and `scope` of scopes given by name."""
    sizes = np.array([0, *map(len, scopes)], dtype=np.int64)
    return np.cumsum(sizes), np.array([names.index(name) for scope in scopes for name in scope], dtype=np.int64)
