"""The same word for equal models, another for others: what a checkpoint belongs to."""

from __future__ import annotations

import hashlib

import numpy as np

from hgm.tree.tree import Tree

__all__ = ["structure_digest"]


def structure_digest(tree: Tree) -> str:
    """Of all that a tree is but the entries of its potentials."""
    model = hashlib.sha256()
    for array in (tree.cardinality, tree.scope_ptr, tree.scope, tree.up, tree.potential_id):
        model.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    for p in tree.potentials:
        model.update(repr((type(p).__name__, p.shape)).encode())
        for part in p.parts().values():
            model.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return model.hexdigest()
