"""How uncertain a posterior is, in nats: of its variables, of its factors, level by level, and as a whole.

    H(v) = -sum_s p_v(s) log p_v(s)                                       of a variable
    H(f) = -sum_x p_f(x) log p_f(x)                                       of a factor's variables together
    H    = sum_roots H(root) + sum_f (H(f) - H(parent of f))              of all variables

The last line is the chain rule: on a tree a factor's children depend on what is above only through its parent, so
H(f) - H(parent) is what they add. What a level adds is the sum over the factors above it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from hgm.bp.assignment import ByName
from hgm.bp.joints import probabilities
from hgm.bp.passes import Collected, Distributed, messages_into
from hgm.bp.tables import ROWS
from hgm.tree.showing import TextTable, telling
from hgm.tree.tree import Tree

__all__ = ["Entropy", "entropy_of"]


@dataclass(frozen=True, eq=False, repr=False)
class Entropy(ByName):
    """Entropies in nats, with a leading batch dimension B if the evidence had one. A mapping of the variables' own.

    Attributes:
        tree: the model.
        variables: ``(V,)`` of each variable, in tree order.
        factors: ``(F,)`` of each factor's variables together, in tree order.
        levels: ``(depth + 1,)`` what each level adds to those above it; the levels add up to the whole.
        whole: ``()`` of all variables together.
    """

    tree: Tree
    variables: Tensor
    factors: Tensor
    levels: Tensor
    whole: Tensor

    def __getitem__(self, name: Any) -> Tensor:
        """Of one variable: ``()`` or ``(B,)``."""
        return self.variables[..., self._variable(name)]

    def shown(self) -> Iterable[str | TextTable]:
        batched = self.whole.ndim > 0
        if batched:
            yield f"row 0 of {len(self.whole)}"
            if not len(self.whole):
                return
        whole, levels, variables, factors = (
            (x[0] if batched else x).tolist() for x in (self.whole, self.levels, self.variables, self.factors)
        )
        yield f"entropy {whole:.4f} nats"
        yield ""
        yield TextTable([[str(i), f"{h:.4f}"] for i, h in enumerate(levels)], ["level", "adds"])
        yield ""
        names = telling([self.tree.names[v] for v in range(min(len(variables), ROWS))])
        rows = [[name, f"{h:.4f}"] for name, h in zip(names, variables, strict=False)]
        yield TextTable(rows, ["variable", "entropy"])
        if factors:
            yield ""
            scopes = [", ".join(map(str, self.tree.scope_names(f))) for f in range(min(len(factors), ROWS))]
            rows = [[scope, f"{h:.4f}"] for scope, h in zip(scopes, factors, strict=False)]
            yield TextTable(rows, ["factor", "entropy"])
        if max(len(variables), len(factors)) > ROWS:
            yield f"the first {ROWS} of {len(variables):,} variables and {len(factors):,} factors"

    def __repr__(self) -> str:
        return f"Entropy of {len(self):,} variables, {self.whole.tolist()} nats"


def entropy_of(tree: Tree, collected: Collected, distributed: Distributed, marginals: Tensor) -> Entropy:
    """The entropies, with a batch dimension.

    Args:
        tree: the model.
        collected: the messages up.
        distributed: and down.
        marginals: ``(B, S, V)``.
    """
    variables = torch.special.entr(marginals).sum(1)
    ends = tree.factor_ptr[tree.level_ptr].tolist()
    found = [variables[:, :0]]
    for at, step in enumerate(collected.steps):
        if step.groups:
            u, below = distributed.down_to(at + 1).u[at], collected.h[at + 1] if at < tree.depth else None
            joints = [collected.bank.kernel(g).joint(messages_into(g, u, below)) for g in step.groups]
            flat = [probabilities(x.reshape(len(x), prod(x.shape[1:-1]), x.shape[-1])) for x in joints]
            each = torch.cat([torch.special.entr(p).sum(1) for p in flat], -1)
            found.append(each if step.by_factor is None else each[..., step.by_factor])
    factors = torch.cat(found, -1)
    parent = torch.from_numpy(tree.parent.copy()).to(factors.device)
    added = (factors - variables[:, parent]).clamp_min(0)  # below 0 by rounding only
    levels = [variables[:, : len(tree.roots)].sum(1)]
    levels += [added[:, ends[at] : ends[at + 1]].sum(1) for at in range(tree.depth)]
    by_level = torch.stack(levels, 1)
    return Entropy(tree, variables, factors, by_level, by_level.sum(1))
