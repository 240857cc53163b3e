"""What the page is told of a tree: plain lists, and the tables as the bytes of their float64, so that nothing is lost.

The page computes with these numbers, in the notation of `hgm.bp.passes`; `page/model.js` reads them.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from hgm.tree.potential import Potential
from hgm.tree.tree import Tree
from hgm.viz.layout import children_in_order, tidy
from hgm.viz.potentials import color_scheme, kind_of
from hgm.viz.words import title

__all__ = ["packed", "tree_facts"]

DEEP = 24  # levels from which on a long chain is drawn as a straight line


def tree_facts(tree: Tree) -> dict[str, Any]:
    """The tree as the page reads it: variables by their numbers, levels from the root, factors by their parents."""
    across = tidy(children_in_order(tree, range(len(tree))), tree.roots.tolist(), straight=tree.depth >= DEEP)
    color = color_scheme(tree).color
    return {
        "title": title(tree),
        "names": [str(name) for name in tree.names],
        "states": tree.cardinality.tolist(),
        "labels": [[str(label) for label in labels] for labels in tree.label_sets],
        "label": tree.label_set.tolist(),
        "levels": tree.level_ptr.tolist(),
        "grid": None if tree.grid is None else [list(shape) for shape in tree.grid],
        "x": [round(across[v], 2) for v in range(len(tree))],
        "scopes": [tree.scope_of(f).tolist() for f in range(tree.factors)],
        "up": tree.up.tolist(),
        "potential": tree.potential_id.tolist(),
        "potentials": [_potential(p, color[i]) for i, p in enumerate(tree.potentials)],
    }


def _potential(potential: Potential, color: str) -> dict[str, Any]:
    """Its stored entries: of a dense table in order, of any other with the states at which they stand, row by row."""
    states, entry = potential.places()
    return {
        "shape": list(potential.shape),
        "kind": kind_of(potential),
        "name": potential.name,
        "color": color,
        "weights": potential.size,
        "log": packed(potential.log_potential.ravel()[entry]),
        "places": None if potential.complete else states.tolist(),
    }


def packed(numbers: np.ndarray) -> str:
    """Numbers as text: base64 of little-endian float64."""
    return base64.b64encode(np.ascontiguousarray(numbers, dtype="<f8").tobytes()).decode()
