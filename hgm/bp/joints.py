"""The joint posterior of a factor's variables: p_f(s, a) is proportional to psi_f(s, a) u_f(s) prod_u h_u(a_u)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from hgm.bp.ops import Array
from hgm.bp.passes import Collected, Distributed
from hgm.errors import BadSpec, brief
from hgm.tree.arguments import listed
from hgm.tree.called import factors_over
from hgm.tree.checks import shown
from hgm.tree.labels import Label
from hgm.tree.tree import Tree

__all__ = ["factor_number", "joint_of", "probabilities"]


def factor_number(tree: Tree, factor: Label | Sequence[Label]) -> int:
    """The number of the factor over some variables, given by name in any order, or by its number.

    Raises `BadSpec` if there is none. A number or tuple that is a name is one variable.
    """
    one = factor in tree.names or isinstance(factor, str)
    if isinstance(factor, int | np.integer) and not one:
        f = int(factor)
        if not 0 <= f < tree.factors:
            raise BadSpec(f"the model has no factor {brief(f)}; it has {tree.factors}")
        return f
    names = [factor] if one else listed("factor", factor, "names, or the number of a factor")
    over = factors_over(tree, {tree.index(name) for name in names})
    if not over:
        raise BadSpec(f"the model has no factor over {shown(names)}; factor marginals exist for scopes of factors only")
    return over[0]


def joint_of(tree: Tree, collected: Collected, distributed: Distributed, factor: int) -> Tensor:
    """``(B, *shape)`` the joint probability of one factor's variables, axes as in its potential."""
    parent, up = int(tree.parent[factor]), int(tree.up[factor])
    level = int(tree.level[parent])
    shape = tree.potential_of(factor).shape
    position = factor - int(tree.factor_ptr[tree.level_ptr[level]])
    down = distributed.down_to(level + 1).u[level]
    messages = []
    for axis, v in enumerate(tree.scope_of(factor).tolist()):
        below = v - int(tree.level_ptr[level + 1])
        message = down[..., position] if axis == up else collected.h[level + 1][..., below]
        messages.append(message[:, : shape[axis], None])
    joint = collected.bank.single(int(tree.potential_id[factor]), up).joint(messages)
    return probabilities(joint.reshape(len(joint), prod(shape))).reshape(len(joint), *shape)


def probabilities(b: Array) -> Tensor:
    """Log beliefs ``(B, S, ...)`` as probabilities, normalised over S."""
    return torch.as_tensor(b).softmax(1)
