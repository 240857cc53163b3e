"""A checked model file to a `Tree`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from hgm.errors import BadPotential, HgmError, NotATree, did_you_mean, listing
from hgm.files.schema import Explicit, Layered, LevelEntry, PotentialEntry, check
from hgm.files.text import Document, Way
from hgm.files.write import MADE_UP
from hgm.tree.checks import shown
from hgm.tree.labels import Label, distinct_labels
from hgm.tree.names import ListedNames
from hgm.tree.pool import Pool
from hgm.tree.potential import Edge, Potential, Table
from hgm.tree.rules import Rules
from hgm.tree.tree import Tree
from hgm.zoo.hierarchy import Level, ghm

__all__ = ["tree_of"]


def tree_of(document: Document) -> Tree:
    """The tree that a file declares: layered if it has the key ``levels``, else explicit.

    Raises:
        BadSpec: for whatever is wrong with the file.
        NotATree: for a cycle in its factor graph, or two roots in one tree.
    """
    data = document.data
    form: type[Layered | Explicit] = Layered if isinstance(data, dict) and "levels" in data else Explicit
    if data is None:
        raise document.error((), "it is empty; a model has at least the key 'levels' or 'variables'")
    if not isinstance(data, dict) or not {"levels", "variables"} & set(data):
        raise document.error(
            (), "expected a mapping with the key 'levels' (a layered model) or 'variables' (an explicit one)"
        )
    model = check(form, document)
    try:
        return _layered(model, document) if isinstance(model, Layered) else _explicit(model, document)
    except (MemoryError, OverflowError) as error:
        raise document.error((), f"this model is too large for this machine ({error})") from None


def _layered(model: Layered, document: Document) -> Tree:
    named = _named(model.potentials, document)

    def one(given: str | PotentialEntry, way: Way) -> Potential:
        return _lookup(given, named, way, document) if isinstance(given, str) else _potential(given, document, way)

    def joining(i: int, level: LevelEntry) -> Potential | list[Potential] | None:
        way: Way = ("levels", i, "potential")
        if isinstance(level.potential, list):
            return [one(given, (*way, j)) for j, given in enumerate(level.potential)]
        return None if level.potential is None else one(level.potential, way)

    given = model.root.prior
    prior = one(given, ("root", "prior")) if isinstance(given, (str, PotentialEntry)) else given
    levels = [
        Level(level.arity, level.states, joining(i, level), level.tie or "position", level.name)
        for i, level in enumerate(model.levels)
    ]
    try:
        return ghm(levels, model.root.states, prior=prior, grid=model.grid, seed=model.seed, root_name=model.root.name)
    except HgmError as error:  # ghm counts its levels from 1
        level = re.match(r"level (\d+)", str(error))
        way: Way = ("levels", int(level[1]) - 1) if level else ()
        if not level:
            way = ("grid",) if str(error).startswith("grid") else ("root",) if "prior" in str(error) else ()
        raise document.error(way, str(error)) from None


def _explicit(model: Explicit, document: Document) -> Tree:
    named = _named(model.potentials, document)
    index = {name: v for v, name in enumerate(model.variables)}
    cardinality = [states if isinstance(states, int) else len(states) for states in model.variables.values()]
    pool = Pool()
    for potential in named.values():  # first, so that their numbers are those of the file
        pool.number(potential)
    scopes: list[list[int]] = []
    ids: list[int] = []
    for i, factor in enumerate(model.factors):
        way: Way = ("factors", i)
        scopes.append(_scope(factor.scope, index, (*way, "scope"), document))
        if factor.potential is None:
            potential = _potential(factor, document, way)
        else:
            potential = _lookup(factor.potential, named, (*way, "potential"), document)
        wanted = tuple(cardinality[v] for v in scopes[-1])
        if potential.shape != wanted:
            raise document.error(
                way,
                f"the table of {shown(factor.scope)} has shape {potential.shape}, but these variables have "
                f"{wanted} states; axes follow the scope",
            )
        ids.append(pool.number(potential))
    labels = [None if isinstance(states, int) else states for states in model.variables.values()]
    label_sets, label_set = distinct_labels(labels)
    try:
        return Tree.build(
            ListedNames(list(index)),
            np.array(cardinality, dtype=np.int64),
            np.cumsum([0, *map(len, scopes)], dtype=np.int64),
            np.array([v for scope in scopes for v in scope], dtype=np.int64),
            np.array(ids, dtype=np.int64),
            pool.potentials,
            roots=_scope(model.roots, index, ("roots",), document),
            label_sets=label_sets,
            label_set=label_set,
        )
    except NotATree as error:
        raise NotATree(f"{document.path}: {error}") from None


def _named(entries: Mapping[str, PotentialEntry], document: Document) -> dict[str, Potential]:
    """The potentials of the section by their keys, which are their names too unless an entry has its own."""
    named = {}
    for key, entry in entries.items():
        own = None if MADE_UP.fullmatch(key) else key
        named[key] = _potential(entry, document, ("potentials", key)).named(entry.name or own)
    return named


def _lookup(name: str, named: Mapping[str, Potential], way: Way, document: Document) -> Potential:
    if name not in named:
        known = f"which has {listing(list(named))}{did_you_mean(name, named)}" if named else "which is empty"
        raise document.error(way, f"no potential is called {name!r} in the section 'potentials', {known}")
    return named[name]


def _scope(names: Sequence[Label], index: Mapping[Label, int], way: Way, document: Document) -> list[int]:
    for i, name in enumerate(names):
        if name not in index:
            close = did_you_mean(name, index)
            raise document.error((*way, i), f"there is no variable {name!r} in the section 'variables'{close}")
        if name in names[:i]:
            raise document.error((*way, i), f"variable {name!r} comes twice")
    return [index[name] for name in names]


def _potential(entry: PotentialEntry, document: Document, way: Way) -> Potential:
    try:
        if (rules := entry.rules) is not None:
            if rules.log_weights is not None:
                return Rules.from_log(rules.shape, rules.states, rules.log_weights, name=entry.name)
            return Rules(rules.shape, rules.states, rules.weights, name=entry.name)
        table = entry.table if entry.table is not None else entry.log_table
        assert table is not None  # the schema asks for one of the three
        kind = Edge if entry.kind == "edge" or (entry.kind is None and table.ndim == 2) else Table
        return kind(table, name=entry.name) if entry.table is not None else kind.from_log(table, name=entry.name)
    except BadPotential as error:
        raise document.error(way, str(error)) from None
