"""How a potential of a tree is called: by its name, or by the variables of its factor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from hgm.errors import BadPotential, did_you_mean, listing
from hgm.tree.checks import shown
from hgm.tree.potential import Potential
from hgm.tree.tree import Tree

__all__ = ["factors_over", "potential_called", "potential_number"]


def factors_over(tree: Tree, variables: Collection[int]) -> list[int]:
    """The numbers of all factors whose scope has exactly these variables, in any order; several only over one."""
    if len(variables) == 1:
        among = set(tree.factors_of(*variables))
    else:  # the parent is one of them, and the factor is above the others
        among = {int(tree.parent_factor[v]) for v in variables} - {-1}
    return [f for f in sorted(among) if sorted(tree.scope_of(f).tolist()) == sorted(variables)]


def potential_number(tree: Tree, key: Any) -> int:
    """The number of the potential with a name, or of the one factor over some variables.

    Args:
        tree: the model.
        key: a name, or a tuple of variables in the order of the factor's scope, which is that of the table's axes.

    Raises:
        BadPotential: if there is none, there are several such factors, or the factor is tied to others, which have
            other variables: their potential must be called by its name.
        BadEvidence: for an unknown variable.
    """
    if isinstance(key, str):
        for i, potential in enumerate(tree.potentials):
            if potential.name == key:
                return i
        names = [p.name for p in tree.potentials if p.name is not None]
        known = f"names are {listing(names)}" if names else "none has a name"
        raise BadPotential(
            f"no potential of this tree is called {key!r}{did_you_mean(key, names)}; {known}, and a factor is called "
            "by the tuple of its variables"
        )
    if not isinstance(key, tuple) or not key:
        raise BadPotential(
            f"a potential is called by its name or the tuple of its factor's variables; got {key!r:.100}"
        )
    scope = [tree.index(name) for name in key]
    over = factors_over(tree, scope)
    if len(over) != 1:
        raise BadPotential(f"the tree has {'several factors' if over else 'no factor'} over {shown(key)}")
    if tree.scope_of(over[0]).tolist() != scope:
        order = shown(tree.scope_names(over[0]))
        raise BadPotential(f"the axes of the factor over {shown(key)} are {order}; name its variables in that order")
    number = int(tree.potential_id[over[0]])
    uses = int((tree.potential_id == number).sum())
    if uses > 1:
        name = tree.potentials[number].name
        instead = "give it a name, or each factor its own table" if name is None else f"call it by its name, {name!r}"
        raise BadPotential(f"the potential of {shown(key)} is that of {uses} factors; {instead}")
    return number


def potential_called(potentials: Sequence[Potential], number: int) -> str:
    """One of a tree's potentials in a message: by its name if it has one."""
    name = potentials[number].name
    return str(number) if name is None else repr(name)
