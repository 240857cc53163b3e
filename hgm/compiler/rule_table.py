"""The layer of production rules, which are sparse joint tables."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hgm.compiler.layers import FactorLayer, pad_states
from hgm.compiler.numerics import logsumexp, summing, unkept
from hgm.compiler.ops import RulesOp

__all__ = ["RuleTable"]


class RuleTable(FactorLayer):
    """Production rules r = (s; a_1..a_c) with weights w_r: gather and multiply the children, weigh, sum per state.

        q(s)   = sum_{r: s(r) = s}   w_r prod_j h_j(a_j(r))
        r_i(a) = sum_{r: a_i(r) = a} w_r u(s(r)) prod_{j != i} h_j(a_j(r))

    Weight ``(R,)``; children come child by child. In the linear kernel rules are added up by `index_add`, in logs by
    tables of the rules of each state.
    """

    states: Tensor

    def __init__(self, op: RulesOp, slots: int) -> None:
        super().__init__(op, slots)
        self.shape = op.shape
        states = torch.from_numpy(op.states)
        self.register_buffer("states", states, persistent=False)
        self.steps = []
        for axis, size in enumerate(op.shape):
            tables = summing(op.states[:, axis], size)
            self.steps.append(len(tables))
            for i, table in enumerate(tables):
                self.register_buffer(f"rules_{axis}_{i}", torch.from_numpy(table), persistent=False)

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        q = self._reduce(0, self._terms(list(x.split(self.factors, 1)), range(1, len(self.shape))), w)
        q = pad_states(q, self.states_out, 1.0 if self.kernel == "linear" else 0.0)
        return q.view(self.states_out, self.slots, self.factors // self.slots, x.shape[-1]).transpose(0, 1)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        u = u.transpose(0, 1).reshape(u.shape[1], self.factors, -1)
        h = list(x.split(self.factors, 1))
        out = []
        for i in range(1, len(self.shape)):
            terms = self._terms([u, *h[: i - 1], *h[i:]], [0, *range(1, i), *range(i + 1, len(self.shape))])
            out.append(pad_states(self._reduce(i, terms, w), x.shape[0], 0.0))
        return torch.cat(out, 1)

    def _terms(self, parts: list[Tensor], axes: range | list[int]) -> Tensor:
        """``(R, F, B)`` product (sum of logs) of the given messages, each at its state of each rule."""
        total = parts[0].index_select(0, self.states[:, axes[0]])
        for part, axis in zip(parts[1:], axes[1:], strict=True):
            total = self._with(total, part.index_select(0, self.states[:, axis]))
        return total

    def _with(self, terms: Tensor, more: Tensor) -> Tensor:
        """Product (sum of logs). Terms are many: where autograd keeps nothing, they are overwritten."""
        times = torch.mul if self.kernel == "linear" else torch.add
        return times(terms, more, out=terms if unkept(terms, more) else None)

    def _reduce(self, axis: int, terms: Tensor, w: Tensor) -> Tensor:
        """``(size of axis, F, B)`` sum (log-sum-exp) of the rules with each state on an axis."""
        x = self._with(terms, w[:, None, None])
        if self.kernel == "linear":
            return x.new_zeros(self.shape[axis], *x.shape[1:]).index_add(0, self.states[:, axis], x)
        for i in range(self.steps[axis]):
            table = getattr(self, f"rules_{axis}_{i}")
            x = logsumexp(F.pad(x, (0, 0, 0, 0, 0, 1), value=-torch.inf)[table], 1)
        return x
