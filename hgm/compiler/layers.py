"""The exact factor layers: each maps children's messages up (collect) and parents' cavities down (distribute).

Shapes: S, S' states of parents and children; n parents with k slots each (`hgm.compiler.plan`), F = k n factors, B
batch.

* ``up(x, w)``:   x ``(S', children, B)`` -> q ``(k, S, n, B)``         q_u(s) = sum_a psi_u(s, a) h_u(a)
* ``down(u, x, w)``: u ``(k, S, n, B)`` -> r ``(S', ..., B)``           r_v(a) = sum_s psi_v(s, a) u_v(s)

(THEORY: arXiv 2404.18444, Section 3, with exp and log taken out.) In the ``"linear"`` kernel messages are rescaled
probabilities; in the ``"log"`` kernel x, u, q, r and w are logs in float64 and sums become log-sum-exps. Both compute
the same layer. `kernel_weight` gives the layer's weight as an ordinary convolution kernel.
"""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.numerics import logsumexp
from hgm.compiler.plan import ConvOp, EdgeOp, JointOp, Kernel, Op, RulesOp
from hgm.tree.potential import Potential

__all__ = ["Conv", "FactorLayer", "Joint", "LocalEdges", "RuleTable", "Weights"]


class Weights(nn.Module):
    """All distinct weights of a network in one vector: entry p is log psi of one entry of one potential.

    Tied factors read the same entries, so tying needs no further care; `potentials` gives them back as a tree's.

    Args:
        potentials: the tree's.
        uses: ``(len(potentials),)`` how many factors use each.
        trainable: make the vector a parameter instead of a buffer.
    """

    log_potential: Tensor
    owner: Tensor
    uses: Tensor

    def __init__(self, potentials: tuple[Potential, ...], uses: Tensor, trainable: bool) -> None:
        super().__init__()
        self.of = potentials
        flat = torch.cat(
            [
                torch.zeros(0, dtype=torch.float64),
                *(torch.from_numpy(p.log_potential.ravel().copy()) for p in potentials),
            ]
        )
        if trainable:
            self.log_potential = nn.Parameter(flat)
        else:
            self.register_buffer("log_potential", flat)
        sizes = torch.tensor([p.size for p in potentials], dtype=torch.int64)
        self.register_buffer("owner", torch.repeat_interleave(torch.arange(len(potentials)), sizes), persistent=False)
        self.register_buffer("uses", uses.to(torch.float64), persistent=False)

    def largest(self) -> Tensor:
        """``(len(potentials),)`` the largest log entry of each; a constant to autograd."""
        empty = torch.full(
            (len(self.of),), -torch.inf, dtype=self.log_potential.dtype, device=self.log_potential.device
        )
        return empty.scatter_reduce(0, self.owner, self.log_potential.detach(), "amax")

    def ranges(self) -> Tensor:
        """``(len(potentials),)`` log(smallest / largest entry) of each; the zeros of priors do not count."""
        flat = self.log_potential.detach()
        prior = torch.tensor([p.axes == 1 for p in self.of], dtype=torch.bool, device=flat.device)[self.owner]
        counted = torch.where(prior & flat.isneginf(), torch.inf, flat)
        empty = torch.full((len(self.of),), torch.inf, dtype=flat.dtype, device=flat.device)
        return empty.scatter_reduce(0, self.owner, counted, "amin") - self.largest()

    def scaled(self) -> Tensor:
        """``(P + 1,)`` log weights with every potential's largest at 0, and a last 0 that pads (index -1)."""
        return F.pad(self.log_potential - self.largest()[self.owner], (0, 1))

    def constant(self) -> Tensor:
        """What the scaling took from log Z: the sum over all factors of their largest log entry."""
        return (self.uses * self.largest()).sum()

    def potentials(self) -> tuple[Potential, ...]:
        """The current weights as potentials."""
        pieces = self.log_potential.detach().double().cpu().split([p.size for p in self.of])
        return tuple(
            p.with_log(piece.numpy().reshape(p.log_potential.shape)) for p, piece in zip(self.of, pieces, strict=True)
        )

    def extra_repr(self) -> str:
        kind = "trainable" if isinstance(self.log_potential, nn.Parameter) else "fixed"
        return f"{len(self.log_potential)} in {len(self.of)} potentials, {kind}"


class FactorLayer(nn.Module):
    """Base of the layers that stand for folded factors.

    Args:
        op: the plan's op.
        slots: k, the slots per parent if the whole stage is this op on a regular level; else 1.
    """

    index: Tensor

    def __init__(self, op: Op, slots: int) -> None:
        super().__init__()
        self.kernel: Kernel = op.kernel
        self.slots = slots
        self.states_in, self.states_out = op.states_in, op.states_out
        self.factors, self.child_count = len(op.factors), op.children
        self.register_buffer("index", torch.from_numpy(op.index), persistent=False)
        self._fixed: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def materialise(self, scaled: Tensor) -> Tensor:
        """The weight from `Weights.scaled`: psi (linear) or log psi (log), a potential's largest entry at 1 or 0."""
        w = scaled[self.index]
        return w.exp() if self.kernel == "linear" else w

    def fix(self, scaled: Tensor) -> None:
        """Compute the weight once and keep it, in both precisions: for networks that are not trained."""
        weight = self.materialise(scaled.detach())
        self._fixed = {(dtype, weight.device): weight.to(dtype) for dtype in (torch.float64, torch.float32)}

    def weight(self, like: Tensor, scaled: Tensor | None) -> Tensor:
        """The weight in the dtype and on the device of `like`: from `scaled` if given (training), or the fixed one."""
        if scaled is not None:
            return self.materialise(scaled).to(like.dtype)
        return self._fixed[like.dtype, like.device]

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        """Children's messages ``(S', children, B)`` to the parents' ``(k, S, n, B)``."""
        raise NotImplementedError

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """Parents' cavities ``(k, S, n, B)`` to the children's ``(S', ..., B)``, children in the order of x."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.states_in} -> {self.states_out}, factors={self.factors}, kernel={self.kernel!r}"


class Conv(FactorLayer):
    """A tied level: convolution with kernel = stride = arity, one ``(S, S')`` matrix per sibling position j.

        q[(j, s), p] = sum_a psi_j(s, a) h[a, m p + j]

    which is ``conv1d(h, kernel_weight, stride=m)`` (``conv2d`` on a grid), and `down` is its transpose. Because the
    network orders the children position by position, it runs as m matrix products on slices. Weight ``(m or 1, S,
    S')``.
    """

    def __init__(self, op: ConvOp, slots: int) -> None:
        super().__init__(op, slots)
        self.arity = op.arity
        self.parents = self.factors // slots
        self.shared = len(op.index) == 1 and op.kernel == "linear"  # one matrix for all siblings: one product for all

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        b, k, n = x.shape[-1], self.slots, self.parents
        if self.shared:
            q = torch.mm(w[0], x.reshape(self.states_in, -1))
            return q.view(self.states_out, k, n, b).transpose(0, 1)
        x = x.reshape(self.states_in, k, n * b).transpose(0, 1)
        if self.kernel == "linear":
            return torch.bmm(w, x).view(k, self.states_out, n, b)
        return logsumexp(w[..., None] + x[:, None], 2).view(k, self.states_out, n, b)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        b, k, n = u.shape[-1], self.slots, self.parents
        if self.shared:
            return torch.mm(w[0].t(), u.transpose(0, 1).reshape(self.states_out, -1)).view(self.states_in, k * n, b)
        u = u.reshape(k, self.states_out, n * b)
        r = torch.bmm(w.mT, u) if self.kernel == "linear" else logsumexp(w[..., None] + u[:, :, None], 1)
        return r.view(k, self.states_in, n, b).transpose(0, 1)

    def kernel_weight(self, scaled: Tensor) -> Tensor:
        """``(m S, S', *arity)``: the weight as a convolution kernel; block j is zero off its own sibling position."""
        psi = scaled[self.index].exp().expand(self.slots, -1, -1)
        kernel = torch.diag_embed(psi.permute(1, 2, 0)).permute(3, 0, 1, 2)  # (j, S, S', j')
        shape = self.arity if prod(self.arity) == self.slots else (self.slots,)
        return kernel.reshape(-1, self.states_in, *shape)

    def _get_name(self) -> str:
        return f"Conv{len(self.arity)}d"

    def extra_repr(self) -> str:
        arity = self.arity if len(self.arity) > 1 else self.arity[0]
        size = f"kernel_size={arity}, stride={arity}"
        return f"{self.states_in} -> {self.states_out}, {size}, nodes={self.factors}, kernel={self.kernel!r}"


class LocalEdges(FactorLayer):
    """A matrix per edge, weight ``(F, S, S')``: a locally connected layer, or, on a ragged level, a folded gather.

    q_u(s) = sum_a psi_u(s, a) h_u(a)      one batched matrix product for all edges u of the level
    """

    def __init__(self, op: EdgeOp, slots: int) -> None:
        super().__init__(op, slots)
        self.regular = op.regular

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        x = x.transpose(0, 1)
        q = torch.bmm(w, x) if self.kernel == "linear" else logsumexp(w[..., None] + x[:, None], 2)
        return q.view(self.slots, -1, self.states_out, x.shape[-1]).transpose(1, 2)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        u = u.transpose(1, 2).reshape(self.factors, self.states_out, -1)
        r = torch.bmm(w.mT, u) if self.kernel == "linear" else logsumexp(w[..., None] + u[:, :, None], 1)
        return r.transpose(0, 1)

    def extra_repr(self) -> str:
        return super().extra_repr() + (", locally connected" if self.regular else ", gathered")


class Joint(FactorLayer):
    """A joint table over a parent and its children: the products of the children's messages are the input channels.

        q(s)    = sum_{a_1..a_c} psi(s, a_1..a_c) h_1(a_1) ... h_c(a_c)
        r_i(a)  = sum over s and the other children of psi(s, .., a, ..) u(s) prod_{j != i} h_j(a_j)

    Weight ``(F or 1, S, C_1, ..., C_c)``. Children come child by child: all first children, then all second ones.
    """

    def __init__(self, op: JointOp, slots: int) -> None:
        super().__init__(op, slots)
        self.cards = tuple(op.index.shape[2:])
        self.rows = op.index.shape[1]

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        h = self._split(x)
        q = self._contract(w.flatten(2), self._outer(h))
        q = _pad_states(q, self.states_out, 1.0 if self.kernel == "linear" else 0.0)
        return q.view(self.states_out, self.slots, -1, x.shape[-1]).transpose(0, 1)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        h = self._split(x)
        u = u.transpose(0, 1).reshape(u.shape[1], self.factors, -1)[: self.rows]
        out = []
        for i in range(len(h)):
            rest = [u, *(h[j] for j in range(len(h)) if j != i)]
            matrix = w.movedim(2 + i, 1).flatten(2)
            r = self._contract(matrix, self._outer(rest))
            out.append(_pad_states(r, x.shape[0], 0.0))
        return torch.cat(out, 1)

    def _split(self, x: Tensor) -> list[Tensor]:
        return [part[:c] for part, c in zip(x.split(self.factors, 1), self.cards, strict=True)]

    def _outer(self, parts: list[Tensor]) -> Tensor:
        """``(C_1 * ... * C_c, F, B)``: products (sums of logs) of one state of each part."""
        out = parts[0]
        for part in parts[1:]:
            out = (out[:, None] * part if self.kernel == "linear" else out[:, None] + part).flatten(0, 1)
        return out

    def _contract(self, matrix: Tensor, x: Tensor) -> Tensor:
        """``(F or 1, R, C)`` times ``(C, F, B)`` -> ``(R, F, B)``."""
        if self.kernel == "log":
            return torch.stack([logsumexp(row.t()[..., None] + x, 0) for row in matrix.unbind(1)])
        if matrix.shape[0] == 1:
            return torch.mm(matrix[0], x.flatten(1)).view(-1, *x.shape[1:])
        return torch.bmm(matrix, x.transpose(0, 1)).transpose(0, 1)


class RuleTable(FactorLayer):
    """Production rules r = (s; a_1..a_c) with weights w_r: gather and multiply the children, weigh, sum per state.

        q(s)   = sum_{r: s(r) = s}   w_r prod_j h_j(a_j(r))
        r_i(a) = sum_{r: a_i(r) = a} w_r u(s(r)) prod_{j != i} h_j(a_j(r))

    Always in logs, since a sparse table is full of zeros. Weight ``(R,)``; children come child by child.
    """

    states: Tensor

    def __init__(self, op: RulesOp, slots: int) -> None:
        super().__init__(op, slots)
        self.shape = op.shape
        states = torch.from_numpy(op.states)
        self.register_buffer("states", states, persistent=False)
        for axis, size in enumerate(op.shape):
            # rules by their state on this axis, padded with the number R, which stands for "no rule"
            members = [torch.nonzero(states[:, axis] == s).flatten() for s in range(size)]
            table = nn.utils.rnn.pad_sequence(members, batch_first=True, padding_value=len(states))
            self.register_buffer(f"rules_{axis}", table, persistent=False)

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        q = self._reduce(0, self._terms(list(x.split(self.factors, 1)), range(1, len(self.shape))), w)
        q = _pad_states(q, self.states_out, 0.0)
        return q.view(self.states_out, self.slots, -1, x.shape[-1]).transpose(0, 1)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        u = u.transpose(0, 1).reshape(u.shape[1], self.factors, -1)
        h = list(x.split(self.factors, 1))
        out = []
        for i in range(1, len(self.shape)):
            terms = self._terms([u, *h[: i - 1], *h[i:]], [0, *range(1, i), *range(i + 1, len(self.shape))])
            out.append(_pad_states(self._reduce(i, terms, w), x.shape[0], 0.0))
        return torch.cat(out, 1)

    def _terms(self, parts: list[Tensor], axes: range | list[int]) -> Tensor:
        """``(R, F, B)`` log product of the given messages, each at its state of each rule."""
        total = parts[0].index_select(0, self.states[:, axes[0]])
        for part, axis in zip(parts[1:], axes[1:], strict=True):
            total = total + part.index_select(0, self.states[:, axis])
        return total

    def _reduce(self, axis: int, terms: Tensor, w: Tensor) -> Tensor:
        """``(size of axis, F, B)`` log-sum-exp of the rules with each state on an axis."""
        table = getattr(self, f"rules_{axis}")
        padded = F.pad(terms + w[:, None, None], (0, 0, 0, 0, 0, 1), value=-torch.inf)
        return logsumexp(padded[table], 1)


def _pad_states(x: Tensor, states: int, value: float) -> Tensor:
    """x ``(C, F, B)`` with `value` in the states C.. that the variable does not have."""
    return x if x.shape[0] == states else F.pad(x, (0, 0, 0, 0, 0, states - x.shape[0]), value=value)
