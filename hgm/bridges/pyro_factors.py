"""Factors from the enumerated sites of a model of pyro, and the tree that they make.

The log probability of a site is a tensor. Each of its dimensions that is not 1 is that of a plate of the site, or that
in which an earlier latent (or the site itself) was enumerated. So at each position in the plates there is one table,
over the latents at the same position of those plates that they are in.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hgm.bridges.pyro_tied import Tied
from hgm.errors import BadPotential, BadSpec
from hgm.tree.labels import Label
from hgm.tree.potential import Edge, Table
from hgm.tree.tree import Tree

__all__ = ["Factor", "Latents", "factors_of", "plates_of", "tree_of"]

Site = Mapping[str, Any]


@dataclass(frozen=True)
class Factor:
    """A table of one site at one position of its plates.

    Attributes:
        site: the name of the site.
        at: the position, outermost plate first.
        scope: the variables of its axes; none for a constant.
        table: number of the table among those that are told apart.
        log: the table, float64.
        latent: whether it is the distribution of a latent, not something observed.
    """

    site: str
    at: tuple[int, ...]
    scope: tuple[Label, ...]
    table: int
    log: np.ndarray
    latent: bool


class Latents:
    """The latent sites of a model, and the variables that they are.

    Attributes:
        sites: the plates of each, ``{name: size}``, outermost first.
        dims: the dimensions of these plates.
        states: ``(K, *event)`` the values of each site's states.
    """

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites: dict[str, dict[str, int]] = {}
        self.dims: dict[str, list[int]] = {}
        self.states: dict[str, Tensor] = {}
        self._of: dict[str, str] = {}  # the site that was enumerated in a dimension, by its symbol
        for name, site in sites.items():
            if not site["is_observed"]:
                values = site["fn"].enumerate_support(expand=False).detach()
                self.sites[name] = {frame.name: frame.size for frame in plates_of(site)}
                self.dims[name] = [frame.dim for frame in plates_of(site)]
                self.states[name] = values.reshape(len(values), *site["fn"].event_shape)
                self._of[site["infer"]["_enumerate_symbol"]] = name

    def at(self, symbol: str) -> str | None:
        """The latent that was enumerated in the dimension with this symbol."""
        return self._of.get(symbol)

    def variable(self, name: str, position: Mapping[str, int]) -> Label:
        """The variable of a site at a position in (among others) its plates."""
        plates = self.sites[name]
        return (name, *(position[plate] for plate in plates)) if plates else name

    def variables(self) -> dict[Label, int]:
        """All variables with their numbers of states, in the order of the model."""
        found = {}
        for name, plates in self.sites.items():
            for at in itertools.product(*map(range, plates.values())):
                found[self.variable(name, dict(zip(plates, at, strict=True)))] = len(self.states[name])
        return found


def plates_of(site: Site) -> list[Any]:
    """The vectorised plates around a site, outermost first."""
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def factors_of(sites: Mapping[str, Site], latents: Latents) -> list[Factor]:
    """All factors of a run in which every latent was enumerated.

    Raises:
        BadSpec: for a site whose log probability has other dimensions.
        BadPotential: for one that is NaN or ``+inf``, or ``-inf`` throughout.
    """
    factors: list[Factor] = []
    tied = Tied()
    for name, site in sites.items():
        # as pyro's enumeration counts: a mask hides what is observed, and no latent
        log, own = site["log_prob" if site["is_observed"] else "unscaled_log_prob"], plates_of(site)
        plate_of = {frame.dim: frame.name for frame in own}
        axes: list[str | None] = []  # of each dimension the plate, the latent, or None where it is 1
        for dim in range(-log.ndim, 0):
            latent = latents.at(site["infer"]["_dim_to_symbol"].get(dim, ""))
            if log.shape[dim] == 1:
                axes.append(None)
            elif dim in plate_of or latent is not None:
                axes.append(plate_of.get(dim, latent))
            else:
                raise BadSpec(
                    f"the log probability of site {name!r} has shape {tuple(log.shape)}, and its dimension {dim} is no "
                    "plate of the site and no latent's: does it sum over a plate, or miss one?"
                )
        parents = [latent for latent in latents.sites if latent in axes]
        for latent in parents:
            outside = next((plate for plate in latents.sites[latent] if plate not in plate_of.values()), None)
            if outside is not None:
                raise BadSpec(
                    f"site {name!r} depends on the latent {latent!r} of plate {outside!r}, and is outside of that "
                    "plate; draw it inside, where each position has its own"
                )
        for at in itertools.product(*(range(frame.size) for frame in own)):
            position = dict(zip(plate_of.values(), at, strict=True))
            index = tuple(0 if axis is None else position.get(axis, slice(None)) for axis in axes)
            table = log[index]
            kept = [axis for axis in axes if axis in parents]
            table = table.permute([kept.index(latent) for latent in parents])
            scope = tuple(latents.variable(latent, position) for latent in parents)
            number, array = tied.number(table)
            _check(name, array)
            factors.append(Factor(name, at, scope, number, array, not site["is_observed"]))
    return factors


def _check(name: str, log: np.ndarray) -> None:
    if not (log < np.inf).all():
        raise BadPotential(f"the log probability of site {name!r} is NaN or +inf")
    if np.isneginf(log).all():
        raise BadPotential(
            f"the log probability of site {name!r} is -inf for all states: it cannot be as it is observed"
        )


def tree_of(factors: Sequence[Factor], latents: Latents) -> Tree:
    """The tree of these factors: constants in one, and those with a part of another's variables multiplied into it.

    Raises:
        NotATree: if they have a cycle.
    """
    hosts: dict[Label, list[list[Factor]]] = {name: [] for name in latents.variables()}
    groups: list[list[Factor]] = []  # what is multiplied; the first has all variables
    unary: dict[Label, list[Factor]] = {}  # what is observed of one variable
    constant = 0.0
    for factor in sorted(factors, key=lambda factor: -len(factor.scope)):  # stable: else in the order of the model
        if not factor.scope:
            constant += float(factor.log)
        elif len(factor.scope) == 1 and not factor.latent:
            if factor.log.any():
                unary.setdefault(factor.scope[0], []).append(factor)
        else:
            of = hosts[factor.scope[0]] if len(factor.scope) > 1 else []
            group = next((group for group in of if set(factor.scope) <= set(group[0].scope)), None)
            if group is None:
                groups.append([factor])
                for name in factor.scope:
                    hosts[name].append(groups[-1])
            else:
                group.append(factor)
    groups.sort(key=lambda group: factors.index(group[0]))
    made: dict[Any, Table] = {}
    named: set[str] = set()
    listed: list[tuple[tuple[Label, ...], Table]] = []
    for group in [*groups, *unary.values()]:
        scope = group[0].scope
        key = tuple((factor.table, *(scope.index(name) for name in factor.scope)) for factor in group)
        if key not in made:
            made[key] = (Edge if len(scope) == 2 else Table).from_log(_product(group))
            if group[0].latent and len(group) == 1 and group[0].site not in named:
                made[key] = made[key].named(group[0].site)
                named.add(group[0].site)
        listed.append((scope, made[key]))
    if constant:
        first, size = next(iter(latents.variables().items()))
        listed.append(((first,), Table.from_log(np.full(size, constant))))
    return Tree.from_factors(listed, latents.variables())


def _product(group: Sequence[Factor]) -> np.ndarray:
    """The sum of the logs over the variables of the first; the axes of all are in the order of the model."""
    scope, total = group[0].scope, group[0].log
    for factor in group[1:]:
        sizes = dict(zip(factor.scope, factor.log.shape, strict=True))
        total = total + factor.log.reshape([sizes.get(name, 1) for name in scope])
    if np.isneginf(total).all():
        names = ", ".join(repr(factor.site) for factor in group)
        raise BadPotential(f"the log probabilities of sites {names} are never both above -inf: no state is allowed")
    return total
