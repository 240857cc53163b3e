"""`Tree`: a rooted factor tree (or forest) as frozen arrays. No torch, no Python object per node.

Variables come in level order: level 0 holds the roots, level l the variables l factors away from their root; inside a
level they keep the order in which they were declared (row-major on a grid). Factors come in the order of their parents.
A factor's scope lists its variables in the order of its potential's axes; `up` says which axis is the parent's, and the
other axes are the children. So re-rooting a tree changes `up` and the order, never a potential, and tying is kept:

    p(x) = 1/Z * prod_f psi_{potential_id[f]}( x[scope of f] )
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from hgm.errors import BadEvidence, BadPotential, BadSpec, ImpossibleEvidence, NotATree, listing
from hgm.tree.names import ListedNames, Names
from hgm.tree.potential import Edge, Pool, Potential, Rules, Table

__all__ = ["States", "Tree", "read_states"]

States = int | Sequence[str]


@dataclass(frozen=True, eq=False, repr=False)
class Tree:
    """A rooted factor tree or forest with V variables, F factors and levels 0 (roots) to `depth`.

    Use `Tree.from_factors`, `Tree.from_edges`, `hgm.ghm` or a converter to make one. All arrays are read-only.

    Attributes:
        names: the variables' names, in tree order.
        cardinality: ``(V,)`` number of states of each variable.
        level_ptr: ``(depth + 2,)``; level l is ``level_ptr[l]:level_ptr[l+1]``.
        scope_ptr, scope: CSR; factor f's variables, in the order of its potential's axes.
        up: ``(F,)`` the axis of factor f that is its parent's.
        potential_id: ``(F,)`` index into `potentials`; factors with the same id are tied.
        potentials: the distinct potentials.
        label_sets, label_set: state labels; variable v has labels ``label_sets[label_set[v]]``, or none if -1.
        grid: for a layered model with one root, the shape of each level, ``()`` for the root; else ``None``.
    """

    names: Names
    cardinality: np.ndarray
    level_ptr: np.ndarray
    scope_ptr: np.ndarray
    scope: np.ndarray
    up: np.ndarray
    potential_id: np.ndarray
    potentials: tuple[Potential, ...]
    label_sets: tuple[tuple[str, ...], ...]
    label_set: np.ndarray
    grid: tuple[tuple[int, ...], ...] | None = None

    # ------------------------------------------------------------------ constructors

    @classmethod
    def from_factors(
        cls,
        factors: Iterable[tuple[Sequence[str], Potential | npt.ArrayLike]],
        variables: Mapping[str, States] | None = None,
        *,
        roots: Sequence[str] = (),
        observed: Mapping[str, int | str] | None = None,
    ) -> Tree:
        """A tree from its factors, each ``(scope, potential)``, in any order.

        Args:
            factors: scope (names in the order of the table's axes) and a `Potential` or an array of non-negative
                numbers. The same object given for several factors ties them.
            variables: number of states or state labels of each variable. May be left out for variables that some
                factor covers; a variable in no factor must be listed here.
            roots: the wanted root of each component; default the first declared variable of each.
            observed: states of variables to condition on *before* the tree is built. Their factors are sliced there,
                which can cut cycles; each observed variable stays as a single node that allows only that state.

        Raises:
            NotATree: if the factor graph has a cycle (the message names one).
            BadPotential: if a table does not fit its scope.
            BadSpec: for unknown names or bad states.
            BadEvidence: if an observed variable or state does not exist.
            ImpossibleEvidence: if a factor is zero at the observed states.
        """
        scopes: list[tuple[str, ...]] = []
        ids: list[int] = []
        pool = Pool()
        for scope, potential in factors:
            scopes.append((scope,) if isinstance(scope, str) else tuple(scope))
            try:
                ids.append(pool.number(potential))
            except BadPotential as error:
                raise BadPotential(f"factor {_shown(scopes[-1])}: {error}") from None

        states: dict[str, States] = dict(variables or {})
        for scope, i in zip(scopes, ids, strict=True):
            shape = pool.potentials[i].shape
            if len(scope) != len(shape):
                raise BadPotential(f"factor {_shown(scope)} has {len(scope)} variables but its table has shape {shape}")
            for name, size in zip(scope, shape, strict=True):
                states.setdefault(name, size)
        names = list(states)
        read = {name: read_states(value, f"variable {name!r}") for name, value in states.items()}
        cardinality = {name: count for name, (count, _) in read.items()}
        labels = {name: own for name, (_, own) in read.items() if own is not None}
        for scope, i in zip(scopes, ids, strict=True):
            wanted = tuple(cardinality[name] for name in scope)
            if pool.potentials[i].shape != wanted:
                raise BadPotential(
                    f"the table of factor {_shown(scope)} has shape {pool.potentials[i].shape}, but its variables have "
                    f"{wanted} states; axes follow the scope"
                )
        if observed:
            given = [pool.potentials[i] for i in ids]
            scopes, given = _condition(scopes, given, _observed_states(observed, cardinality, labels), cardinality)
            pool = Pool()
            ids = [pool.number(potential) for potential in given]

        index = {name: i for i, name in enumerate(names)}
        label_ids: dict[tuple[str, ...], int] = {}
        label_set = [label_ids.setdefault(labels[name], len(label_ids)) if name in labels else -1 for name in names]
        return cls.build(
            ListedNames(names),
            np.array([cardinality[name] for name in names], dtype=np.int64),
            np.concatenate([[0], np.cumsum([len(scope) for scope in scopes], dtype=np.int64)]).astype(np.int64),
            np.array([index[name] for scope in scopes for name in scope], dtype=np.int64),
            np.array(ids, dtype=np.int64),
            pool.potentials,
            roots=[_index(index, name) for name in roots],
            label_sets=tuple(label_ids),
            label_set=np.array(label_set, dtype=np.int64),
        )

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[str, str, Potential | npt.ArrayLike]],
        priors: Mapping[str, Potential | npt.ArrayLike] | None = None,
        variables: Mapping[str, States] | None = None,
    ) -> Tree:
        """A tree from directed edges ``(parent, child, matrix)`` and priors ``{variable: vector}``.

        The matrix has one row per parent state and one column per child state. Parents without a parent of their own
        are the roots. Other arguments and errors as for `from_factors`; also `NotATree` if a child has two parents.
        """
        edges = [(parent, child, potential) for parent, child, potential in edges]
        parent_of: dict[str, str] = {}
        for parent, child, _ in edges:
            if child in parent_of:
                raise NotATree(
                    f"variable {child!r} has two parents, {parent_of[child]!r} and {parent!r}; a tree's nodes have one"
                )
            parent_of[child] = parent
        roots = dict.fromkeys(parent for parent, _, _ in edges if parent not in parent_of)
        factors: list[tuple[Sequence[str], Potential | npt.ArrayLike]] = [((n,), p) for n, p in (priors or {}).items()]
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
        label_sets: Sequence[tuple[str, ...]] = (),
        label_set: np.ndarray | None = None,
        grid: tuple[tuple[int, ...], ...] | None = None,
    ) -> Tree:
        """A tree from arrays in any order (see the attributes): checks them, roots the tree and puts it in level order.

        Raises:
            NotATree: for a cycle, or two roots in one component.
            BadPotential: if a table does not fit its scope.
            BadSpec: for a variable twice in a scope, labels that do not fit the states, or no variable at all.
        """
        variables, factors = len(names), len(potential_id)
        if variables == 0:
            raise BadSpec("a tree needs at least one variable")
        if (cardinality < 1).any():
            v = int(np.argmax(cardinality < 1))
            raise BadSpec(f"variable {names[v]!r} has {cardinality[v]} states; at least one is needed")
        _check_shapes(names, cardinality, scope_ptr, scope, potential_id, potentials)
        label_set = np.full(variables, -1, dtype=np.int64) if label_set is None else label_set
        _check_labels(names, cardinality, label_sets, label_set)
        parent_factor, depth = _root(names, scope_ptr, scope, roots)

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
            cardinality=_frozen(cardinality[order]),
            level_ptr=_frozen(np.searchsorted(depth[order], np.arange(depth.max() + 2))),
            scope_ptr=_frozen(new_ptr),
            scope=_frozen(rank[scope[take]]),
            up=_frozen(up[factor_order]),
            potential_id=_frozen(potential_id[factor_order]),
            potentials=tuple(potentials),
            label_sets=tuple(label_sets),
            label_set=_frozen(label_set[order]),
            grid=grid,
        )

    # ------------------------------------------------------------------ shape

    def __len__(self) -> int:
        return len(self.names)

    @property
    def factors(self) -> int:
        """Number of factors F."""
        return len(self.potential_id)

    @property
    def depth(self) -> int:
        """The deepest level (0 for single nodes)."""
        return len(self.level_ptr) - 2

    @cached_property
    def level(self) -> np.ndarray:
        """``(V,)`` level of each variable."""
        return _frozen(np.repeat(np.arange(self.depth + 1), np.diff(self.level_ptr)))

    def at_level(self, level: int) -> np.ndarray:
        """Indices of the variables of one level, ascending."""
        return np.arange(self.level_ptr[level], self.level_ptr[level + 1])

    @cached_property
    def roots(self) -> np.ndarray:
        """Indices of the roots, one per component."""
        return _frozen(self.at_level(0))

    @cached_property
    def parent(self) -> np.ndarray:
        """``(F,)`` the parent variable of each factor, ascending."""
        return _frozen(self.scope[self.scope_ptr[:-1] + self.up])

    @cached_property
    def factor_ptr(self) -> np.ndarray:
        """``(V + 1,)``; the factors below variable v are ``factor_ptr[v]:factor_ptr[v+1]``."""
        return _frozen(np.searchsorted(self.parent, np.arange(len(self) + 1)))

    @cached_property
    def parent_factor(self) -> np.ndarray:
        """``(V,)`` the factor above each variable, -1 for roots."""
        above = np.full(len(self), -1, dtype=np.int64)
        owner = np.repeat(np.arange(self.factors), np.diff(self.scope_ptr))
        below = np.ones(len(self.scope), dtype=bool)
        below[self.scope_ptr[:-1] + self.up] = False
        above[self.scope[below]] = owner[below]
        return _frozen(above)

    @cached_property
    def leaves(self) -> np.ndarray:
        """Indices of the variables without children, ascending; row-major on a grid."""
        inner = np.zeros(len(self), dtype=bool)
        inner[self.parent[np.diff(self.scope_ptr) > 1]] = True
        return _frozen(np.flatnonzero(~inner))

    def scope_of(self, factor: int) -> np.ndarray:
        """The variables of a factor, in the order of its potential's axes."""
        return self.scope[self.scope_ptr[factor] : self.scope_ptr[factor + 1]]

    def children_of(self, factor: int) -> np.ndarray:
        """The children of a factor, in the order of its potential's axes."""
        return np.delete(self.scope_of(factor), self.up[factor])

    def potential_of(self, factor: int) -> Potential:
        """The potential of a factor."""
        return self.potentials[self.potential_id[factor]]

    # ------------------------------------------------------------------ names and states

    def index(self, name: str) -> int:
        """Index of the variable called `name`. Raises `BadEvidence` if there is none."""
        try:
            return self.names.index(name)
        except KeyError:
            raise BadEvidence(
                f"the model has no variable {name!r}; it has {listing(list(self._some_names()))}"
            ) from None

    def labels(self, variable: int) -> tuple[str, ...] | None:
        """State labels of a variable, or ``None`` if its states are only numbered."""
        i = int(self.label_set[variable])
        return None if i < 0 else self.label_sets[i]

    def state(self, variable: int, state: int | str | np.integer) -> int:
        """Index of a state given by index or label. Raises `BadEvidence` if the variable has no such state."""
        labels, size = self.labels(variable), int(self.cardinality[variable])
        if isinstance(state, str):
            if labels is None:
                raise BadEvidence(
                    f"variable {self.names[variable]!r} has no state labels; give {state!r} as a number 0 to {size - 1}"
                )
            if state not in labels:
                raise BadEvidence(
                    f"variable {self.names[variable]!r} has no state {state!r}; its states are {listing(labels)}"
                )
            return labels.index(state)
        if not 0 <= int(state) < size:
            raise BadEvidence(f"variable {self.names[variable]!r} has no state {state}; its states are 0 to {size - 1}")
        return int(state)

    def _some_names(self) -> Iterable[str]:
        return (self.names[i] for i in range(min(len(self), 9)))

    # ------------------------------------------------------------------ other trees

    def reroot(self, *roots: str) -> Tree:
        """The same model with other roots (one per component at most; the other components keep theirs).

        Potentials, tying, names and labels stay; levels and orders change. The joint distribution is the same.
        Raises `BadEvidence` for an unknown name, `NotATree` for two roots in one component.
        """
        wanted = [self.index(name) for name in roots]
        if all(self.level[v] == 0 for v in wanted):
            return self
        _, component = connected_components(_adjacency(len(self), self.scope_ptr, self.scope), directed=False)
        taken = {int(component[v]) for v in wanted}
        kept = [int(v) for v in self.roots if int(component[v]) not in taken]
        return Tree.build(
            self.names, self.cardinality, self.scope_ptr, self.scope, self.potential_id, self.potentials,
            roots=wanted + kept, label_sets=self.label_sets, label_set=self.label_set,
        )  # fmt: skip

    def with_potentials(self, potentials: Sequence[Potential]) -> Tree:
        """The same tree with other potentials, of the same kinds and shapes. Raises `BadPotential` if they differ."""
        if len(potentials) != len(self.potentials):
            raise BadPotential(f"the tree has {len(self.potentials)} distinct potentials; got {len(potentials)}")
        for i, (old, new) in enumerate(zip(self.potentials, potentials, strict=True)):
            if type(old) is not type(new) or old.shape != new.shape:
                raise BadPotential(f"potential {i} is {old}; it cannot be replaced by {new}")
        return replace(self, potentials=tuple(potentials))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        arrays = ("cardinality", "level_ptr", "scope_ptr", "scope", "up", "potential_id")
        return (
            all(np.array_equal(getattr(self, a), getattr(other, a)) for a in arrays)
            and self.names == other.names
            and self.potentials == other.potentials
            and _same_labels(self, other)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kind = "Tree" if len(self.roots) == 1 else f"Forest of {len(self.roots)} trees"
        return (
            f"{kind}: {len(self):,} variables on levels 0 to {self.depth}, {len(self.leaves):,} leaves, "
            f"{self.factors:,} factors, {len(self.potentials):,} distinct potentials "
            f"with {sum(p.size for p in self.potentials):,} weights"
        )


def read_states(states: States, what: str) -> tuple[int, tuple[str, ...] | None]:
    """How many states are meant, and their labels if they have any.

    Raises `BadSpec`, naming `what` has these states, unless they are a positive number or distinct labels.
    """
    if isinstance(states, (int, np.integer)) and not isinstance(states, bool):
        if states < 1:
            raise BadSpec(f"{what} has {states} states; at least one is needed")
        return int(states), None
    if isinstance(states, str) or not isinstance(states, Iterable):
        raise BadSpec(f"{what} needs a number of states or a list of their labels; got {states!r}")
    labels = tuple(str(label) for label in states)
    if not labels:
        raise BadSpec(f"{what} has an empty list of states; at least one is needed")
    if len(set(labels)) < len(labels):
        twice = next(label for i, label in enumerate(labels) if label in labels[:i])
        raise BadSpec(f"{what} has the state label {twice!r} twice: {listing(labels)}")
    return len(labels), labels


def _index(index: Mapping[str, int], name: str) -> int:
    if name not in index:
        raise BadSpec(f"{name!r} is wanted as a root, but there is no such variable")
    return index[name]


def _observed_states(
    observed: Mapping[str, int | str], cardinality: Mapping[str, int], labels: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    states = {}
    for name, state in observed.items():
        if name not in cardinality:
            raise BadEvidence(f"the observed variable {name!r} is not in the model")
        own = labels.get(name, ())
        states[name] = own.index(state) if isinstance(state, str) and state in own else state
        if isinstance(states[name], str) or not 0 <= int(states[name]) < cardinality[name]:
            raise BadEvidence(
                f"variable {name!r} has no state {state!r}; its states are {listing(own or range(cardinality[name]))}"
            )
    return {name: int(state) for name, state in states.items()}


def _condition(
    scopes: list[tuple[str, ...]],
    potentials: list[Potential],
    observed: Mapping[str, int],
    cardinality: Mapping[str, int],
) -> tuple[list[tuple[str, ...]], list[Potential]]:
    """The factors with the observed variables sliced out, plus for each one a factor that allows only its state."""
    new_scopes: list[tuple[str, ...]] = []
    new_potentials: list[Potential] = []
    weight = dict.fromkeys(observed, 0.0)  # log of the constants that slicing leaves behind
    sliced: dict[
        tuple[int, tuple[int | None, ...]], Potential | float
    ] = {}  # what was tied and is cut alike stays tied
    for scope, potential in zip(scopes, potentials, strict=True):
        seen = [name for name in scope if name in observed]
        if not seen:
            new_scopes.append(scope)
            new_potentials.append(potential)
            continue
        states = tuple(observed.get(name) for name in scope)
        key = (id(potential), states)
        if key not in sliced:
            sliced[key] = _slice(potential, states)
        piece = sliced[key]
        if isinstance(piece, Potential):
            new_scopes.append(tuple(name for name in scope if name not in observed))
            new_potentials.append(piece)
        else:
            weight[seen[0]] += piece
    for name, state in observed.items():
        if np.isneginf(weight[name]):
            raise ImpossibleEvidence([0], f"(observed={dict(observed)}: a factor over {name!r} is zero there)")
        only = np.full(cardinality[name], -np.inf)
        only[state] = weight[name]
        new_scopes.append((name,))
        new_potentials.append(Table.from_log(only))
    return new_scopes, new_potentials


def _slice(potential: Potential, states: Sequence[int | None]) -> Potential | float:
    """A potential at the given states (``None``: the axis stays), or the log of the constant that is left of it."""
    free = [axis for axis, state in enumerate(states) if state is None]
    if free and isinstance(potential, Rules):
        fixed = [axis for axis in range(potential.axes) if axis not in free]
        keep = (potential.states[:, fixed] == [states[axis] for axis in fixed]).all(axis=1)
        log = potential.log_potential[keep]
        if np.isneginf(log).all():
            return -np.inf
        return Rules.from_log(tuple(potential.shape[axis] for axis in free), potential.states[keep][:, free], log)
    table = potential.dense_log()[tuple(slice(None) if state is None else state for state in states)]
    if not free or np.isneginf(table).all():
        return float(table.max())
    return Edge.from_log(table) if len(free) == 2 else Table.from_log(table)


def _shown(scope: Sequence[str]) -> str:
    return f"({listing(scope)})"


def _check_shapes(
    names: Names,
    cardinality: np.ndarray,
    scope_ptr: np.ndarray,
    scope: np.ndarray,
    potential_id: np.ndarray,
    potentials: Sequence[Potential],
) -> None:
    """Every factor's potential must have one axis per variable, of its cardinality."""
    sizes = np.diff(scope_ptr)
    axes = np.array([p.axes for p in potentials], dtype=np.int64)
    widest = int(sizes.max(initial=0))
    shapes = np.zeros((len(potentials), widest), dtype=np.int64)
    for i, p in enumerate(potentials):
        shapes[i, : min(p.axes, widest)] = p.shape[:widest]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    wrong = np.zeros(len(sizes), dtype=bool)
    if len(sizes):
        wrong = axes[potential_id] != sizes
        axis = np.arange(len(scope)) - scope_ptr[owner]
        wrong[owner[shapes[potential_id[owner], axis] != cardinality[scope]]] = True
    if wrong.any():
        f = int(np.argmax(wrong))
        members = scope[scope_ptr[f] : scope_ptr[f + 1]]
        raise BadPotential(
            f"the table of factor {_shown([names[int(v)] for v in members])} has shape "
            f"{potentials[potential_id[f]].shape}, but its variables have {tuple(cardinality[members].tolist())} "
            "states; axes follow the scope"
        )


def _same_labels(one: Tree, two: Tree) -> bool:
    """Whether all variables have the same labels; each pair of label sets that meet is compared once."""
    pairs = np.unique(np.stack([one.label_set, two.label_set]), axis=1).T
    return all(
        a >= 0 and b >= 0 and one.label_sets[a] == two.label_sets[b] for a, b in pairs.tolist() if a >= 0 or b >= 0
    )


def _check_labels(
    names: Names, cardinality: np.ndarray, label_sets: Sequence[tuple[str, ...]], label_set: np.ndarray
) -> None:
    sizes = np.array([len(labels) for labels in label_sets] + [0], dtype=np.int64)
    wrong = (label_set >= 0) & (sizes[label_set] != cardinality)
    if wrong.any():
        v = int(np.argmax(wrong))
        raise BadSpec(f"variable {names[v]!r} has {cardinality[v]} states but {sizes[label_set[v]]} state labels")


def _check_scopes(names: Names, scope_ptr: np.ndarray, scope: np.ndarray) -> None:
    """No variable may come twice in a scope. Slow: only for finding out why a graph is not a tree."""
    pairs = np.sort(np.repeat(np.arange(len(scope_ptr) - 1), np.diff(scope_ptr)) * np.int64(len(names)) + scope)
    twice = pairs[:-1][pairs[:-1] == pairs[1:]]
    if len(twice):
        f, v = divmod(int(twice[0]), len(names))
        members = [names[int(u)] for u in scope[scope_ptr[f] : scope_ptr[f + 1]]]
        raise BadSpec(f"variable {names[v]!r} comes twice in the scope ({listing(members)}) of one factor")


def _adjacency(variables: int, scope_ptr: np.ndarray, scope: np.ndarray) -> coo_array:
    """The bipartite factor graph: nodes 0..V-1 are variables, V.. are factors."""
    owner = variables + np.repeat(np.arange(len(scope_ptr) - 1), np.diff(scope_ptr))
    nodes = variables + len(scope_ptr) - 1
    return coo_array((np.ones(len(scope), dtype=np.int8), (owner, scope)), shape=(nodes, nodes))


def _root(
    names: Names, scope_ptr: np.ndarray, scope: np.ndarray, roots: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Parent factor (-1 for roots) and depth of each variable, by one breadth-first search."""
    variables, nodes = len(names), len(names) + len(scope_ptr) - 1
    graph = _adjacency(variables, scope_ptr, scope)
    count, component = connected_components(graph, directed=False)
    if len(scope) != nodes - count:  # a graph is a forest exactly if edges = nodes - components
        _check_scopes(names, scope_ptr, scope)
        raise NotATree(_cycle_message(names, graph))
    # every component has a variable, because every factor has one; assigned from the back, so that the first one stays
    first = np.empty(count, dtype=np.int64)
    first[component[variables - 1 :: -1]] = np.arange(variables - 1, -1, -1)
    root_of = np.full(count, -1, dtype=np.int64)
    for v in roots:
        if root_of[component[v]] >= 0 and root_of[component[v]] != v:
            other = names[int(root_of[component[v]])]
            raise NotATree(
                f"{other!r} and {names[v]!r} are both wanted as roots, but they are in one component; choose one"
            )
        root_of[component[v]] = v
    root_of = np.where(root_of < 0, first, root_of)
    # a node above all roots makes one search of the whole forest
    top = nodes
    rows = np.concatenate([graph.row, np.full(count, top)])
    cols = np.concatenate([graph.col, root_of])
    whole = coo_array((np.ones(len(rows), dtype=np.int8), (rows, cols)), shape=(nodes + 1, nodes + 1)).tocsr()
    _, before = breadth_first_order(whole, top, directed=False, return_predecessors=True)
    before = before.astype(np.int64)
    above = before[:variables].copy()
    parent_factor = np.where(above == top, -1, above - variables)
    # depth by pointer doubling over variables: O(V log depth), no recursion
    jump = np.where(above == top, -1, before[np.where(above == top, 0, above)])
    depth = (jump >= 0).astype(np.int64)
    while (jump >= 0).any():
        step = np.where(jump >= 0, jump, 0)
        depth += np.where(jump >= 0, depth[step], 0)
        jump = np.where(jump >= 0, jump[step], -1)
    return parent_factor, depth


def _cycle_message(names: Names, graph: coo_array) -> str:
    import networkx as nx  # only for the message

    bipartite = nx.Graph(zip(graph.row.tolist(), graph.col.tolist(), strict=True))
    cycle = [names[a] for a, _ in nx.find_cycle(bipartite) if a < len(names)]
    cycle = list(dict.fromkeys(cycle + [names[b] for _, b in nx.find_cycle(bipartite) if b < len(names)]))
    shape = " - ".join([*cycle, cycle[0]]) if len(cycle) > 2 else " and ".join(cycle) + " share two factors"
    return (
        f"the factor graph has a cycle: {shape}. hgm is exact on trees only: multiply factors over the same variables "
        "into one, merge the variables of the cycle, or condition on one of them (observed=...)"
    )


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
