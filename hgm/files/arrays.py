"""A `Tree` as tensors and plain data, and back: what network files hold of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadSpec
from hgm.tree.flat import flatten
from hgm.tree.labels import Label, LabelSet
from hgm.tree.names import GridNames, ListedNames, Names, ReorderedNames
from hgm.tree.plain import held, label_of
from hgm.tree.potential import KINDS, Potential
from hgm.tree.tree import Tree

if TYPE_CHECKING:
    from hgm.files.header import NamesEntry, PotentialEntry, TreeEntry

__all__ = ["indices", "integers", "split", "tree_entry", "tree_from"]


def tree_entry(tree: Tree, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What the header says of a tree; its arrays are added to `tensors`."""
    for name in ("cardinality", "scope_ptr", "scope", "potential_id", "label_set"):
        tensors[f"tree.{name}"] = torch.from_numpy(getattr(tree, name).copy())
    potentials = []
    for i, potential in enumerate(tree.potentials):
        kind, parts = type(potential).__name__, potential.parts()
        entry = {"kind": kind, "shape": list(potential.shape), "size": potential.size, "parts": list(parts)}
        potentials.append(entry if potential.name is None else {**entry, "name": potential.name})
        for name, part in parts.items():
            tensors[f"tree.potential.{i}.{name}"] = torch.from_numpy(part.astype(np.int64))
    tensors["tree.log_potential"] = torch.from_numpy(flatten(tree.potentials))
    return {
        "names": _names_entry(tree.names, tensors),
        "roots": len(tree.roots),
        "grid": None if tree.grid is None else [list(shape) for shape in tree.grid],
        "label_sets": [[held(label, "a state label") for label in labels] for labels in tree.label_sets],
        "potentials": potentials,
    } | _codes(tree)


def _codes(tree: Tree) -> dict[str, Any]:
    """The ambiguity codes of each label set, if there are any."""
    codes = [dict(getattr(labels, "codes", {})) for labels in tree.label_sets]
    pairs = [[[held(code, "an ambiguity code"), list(own)] for code, own in of.items()] for of in codes]
    return {"codes": pairs} if any(codes) else {}


def _label_set(labels: list[Label], codes: list[list[Any]]) -> tuple[Label, ...]:
    read = {label_of(code): [label_of(label) for label in own] for code, own in codes}
    return LabelSet(list(map(label_of, labels)), read) if read else tuple(map(label_of, labels))


def tree_from(entry: TreeEntry, tensors: Mapping[str, Tensor]) -> Tree:
    """The tree of an entry and its arrays. Raises `BadSpec` if they do not fit together."""
    cardinality, ptr, scope = (integers(tensors[f"tree.{name}"]) for name in ("cardinality", "scope_ptr", "scope"))
    variables, factors = len(cardinality), len(ptr) - 1
    if ptr[0] != 0 or (np.diff(ptr) < 1).any() or ptr[-1] != len(scope):
        raise BadSpec("the factors' scopes do not fit together")
    sizes = np.array([given.size for given in entry.potentials], dtype=np.int64)
    logs = split(tensors["tree.log_potential"].double().numpy(), sizes)
    potentials = [
        _potential(i, given, log, tensors) for i, (given, log) in enumerate(zip(entry.potentials, logs, strict=True))
    ]
    potential_id = indices(tensors["tree.potential_id"], len(potentials))
    label_set = indices(tensors["tree.label_set"] + 1, len(entry.label_sets) + 1) - 1
    if len(potential_id) != factors or len(label_set) != variables:
        raise BadSpec("the tree's arrays have different lengths")
    codes: list[list[list[Any]]] = [[]] * len(entry.label_sets) if entry.codes is None else entry.codes
    if len(codes) != len(entry.label_sets):
        raise BadSpec("there are codes of other label sets")
    tree = Tree.build(
        _names(entry.names, tensors),
        cardinality,
        ptr,
        indices(tensors["tree.scope"], variables),
        potential_id,
        potentials,
        roots=range(entry.roots),
        label_sets=[_label_set(*own) for own in zip(entry.label_sets, codes, strict=True)],
        label_set=label_set,
        grid=None if entry.grid is None else tuple(tuple(shape) for shape in entry.grid),
    )
    if not np.array_equal(tree.scope, scope):
        raise BadSpec("its tree is not in the order of a tree")
    return tree


def _potential(i: int, entry: PotentialEntry, log_potential: np.ndarray, tensors: Mapping[str, Tensor]) -> Potential:
    if entry.kind not in KINDS:
        raise BadSpec(f"no kind of potential is named {entry.kind!r}; import the module that defines it")
    parts = {name: integers(tensors[f"tree.potential.{i}.{name}"]) for name in entry.parts}
    return KINDS[entry.kind].from_parts(tuple(entry.shape), log_potential, parts).named(entry.name)


def _names_entry(names: Names, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if isinstance(names, GridNames):
        return {"prefixes": list(names.prefixes), "shapes": [list(shape) for shape in names.shapes]}
    if isinstance(names, ReorderedNames):
        tensors["tree.name_order"] = torch.from_numpy(names.order.copy())
        return {"base": _names_entry(names.base, tensors)}
    return {"listed": [held(name, "the name of a variable") for name in names]}


def _names(entry: NamesEntry, tensors: Mapping[str, Tensor]) -> Names:
    if entry.base is not None:
        base = _names(entry.base, {})
        order = indices(tensors["tree.name_order"], len(base))
        if not np.array_equal(np.sort(order), np.arange(len(base))):
            raise BadSpec("the order of the names is none")
        return base.take(order)
    if entry.listed is not None:
        return ListedNames([label_of(name) for name in entry.listed])
    return GridNames(entry.prefixes or [], [tuple(shape) for shape in entry.shapes or []])


# ---------------------------------------------------------------------- checked arrays


def integers(given: Tensor) -> np.ndarray:
    """The array of an int64 tensor. Raises `BadSpec` for another type."""
    if given.dtype != torch.int64:
        raise BadSpec(f"expected whole numbers; got {given.dtype}")
    return given.numpy()


def indices(given: Tensor, size: int) -> np.ndarray:
    """``(n,)`` the array of a tensor of numbers 0 to size - 1. Raises `BadSpec` for any other."""
    array = integers(given)
    if array.ndim != 1 or ((array < 0) | (array >= size)).any():
        raise BadSpec(f"expected a list of numbers 0 to {size - 1}")
    return array


def split(flat: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """The parts of a vector, by their sizes. Raises `BadSpec` if these do not add up to it."""
    if (sizes < 0).any() or sizes.sum() != len(flat):
        raise BadSpec("the sizes of its pieces do not add up")
    return np.split(flat, np.cumsum(sizes))[:-1]
