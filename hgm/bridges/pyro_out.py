"""`to_pyro`: a tree as a model of pyro, with enumerated sites.

The model is directed, from the roots down. With h_u the messages of `collect` without evidence (`hgm.bp.passes`),

    p(root) ~ exp h_root              p(children of f | parent of f) ~ psi_f prod_u exp h_u

so it is normalised, whatever the potentials are. Its sites are written in one of two ways: *plates*, a site for each
level (`hgm.bridges.pyro_plates`), where all variables of a level have as many children, one by one; else *paths*, a
site for each variable (`hgm.bridges.pyro_paths`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bridges.pyro_directed import Directed
from hgm.bridges.pyro_paths import Paths
from hgm.bridges.pyro_plates import Plates, levels
from hgm.errors import BadEvidence
from hgm.evidence.column import column_of
from hgm.tree.arguments import mapping
from hgm.tree.labels import Label
from hgm.tree.tree import Tree, checked_tree

__all__ = ["TreeModel", "to_pyro"]


def to_pyro(tree: Tree) -> TreeModel:
    """A tree as a model of pyro: ``model(evidence=None)``, the tree's normalised distribution.

        model = hgm.to_pyro(tree)
        elbo = pyro.infer.TraceEnum_ELBO()
        elbo.loss(model, lambda evidence: None, {"x3": "red"})  # log Z() - log Z(evidence): all is enumerated

    Args:
        tree: the model. Its potentials become tables of conditional probabilities, without gradients.

    Returns:
        A `TreeModel`.

    Raises:
        BadSpec: for a sparse potential that is too large for a dense table.
        ImpossibleEvidence: if the model allows nothing at all.
    """
    arranged = levels(checked_tree(tree))
    return TreeModel(tree, Paths(Directed(tree)) if arranged is None else Plates(Directed(tree), arranged))


class TreeModel:
    """A model of pyro, as `to_pyro` makes it: ``model(evidence=None)`` runs it and gives the value of each site.

    Evidence maps names of variables to states: labels, or numbers where states have none, also as tensors of rows if
    the model is called inside of a plate of that size; ``None`` and -1 are missing. What is seen becomes ``obs``; all
    other sites are enumerated in parallel by an enumerating ELBO, so that an empty guide suffices. Its loss is then
    ``log Z() - log Z(evidence)``. A site that is seen in part is two, ``..._observed`` and ``..._unobserved``.

    The tables come in torch's default type at the time of the call.

    Attributes:
        tree: the tree.
        sites: for each site the names of its variables, an array of the shape of its value.
    """

    def __init__(self, tree: Tree, form: Plates | Paths) -> None:
        self.tree = tree
        self._form = form

    @property
    def sites(self) -> dict[str, np.ndarray]:
        """For each site the names of its variables, an array of the shape of its value."""
        found = {}
        for site, variables in self._form.sites.items():
            found[site] = np.empty(variables.shape, dtype=object)
            for at, v in np.ndenumerate(variables):
                found[site][at] = self.tree.names[int(v)]
        return found

    def __call__(self, evidence: Mapping[Label, Any] | None = None) -> dict[str, Tensor]:
        """Run the model. Raises `BadEvidence` for an unknown variable or state, or rows that do not fit together."""
        seen = {}
        for name, given in mapping("evidence", evidence, "from variables to states", BadEvidence).items():
            v = self.tree.index(name)
            seen[v] = column_of(self.tree, v, given)
        try:
            torch.broadcast_shapes(*(states.shape for states in seen.values()))
        except RuntimeError:
            shapes = ", ".join(str(tuple(states.shape)) for states in seen.values())
            raise BadEvidence(
                f"the states of all variables must have the same rows, or one; got shapes {shapes}"
            ) from None
        return self._form.run({v: states for v, states in seen.items() if bool((states >= 0).any())})

    def __repr__(self) -> str:
        return f"{type(self._form).__name__.lower()} of {len(self._form.sites)} sites of pyro: {self.tree!r}"
