"""The exact factor layers: each maps children's messages up (collect) and parents' cavities down (distribute).

Shapes: S, S' states of parents and children; n parents with k slots each (`hgm.compiler.plan`), F = k n factors, B
batch.

* ``up(x, w)``:   x ``(S', children, B)`` -> q ``(k, S, n, B)``         q_u(s) = sum_a psi_u(s, a) h_u(a)
* ``down(u, x, w)``: u ``(k, S, n, B)`` -> r ``(S', ..., B)``           r_v(a) = sum_s psi_v(s, a) u_v(s)

(Source: arXiv 2404.18444, Section 3, with exp and log taken out.) In the ``"linear"`` kernel messages are rescaled
probabilities; in the ``"log"`` kernel x, u, q, r and w are logs in float64 and sums become log-sum-exps. Both compute
the same layer. A layer can be called by itself: ``layer(x)`` is `up` with its current weight.

The registry from an op of the plan to its layer is `layer_for`:

    @layer_for.register
    def _(op: MyOp, slots: int) -> FactorLayer: ...

(`functools.singledispatch`: the type of the op decides, subclasses inherit, and there is no second table to keep.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.numerics import logsumexp
from hgm.compiler.ops import ConvOp, EdgeOp, JointOp, Op, PathOp, Whole
from hgm.compiler.ranges import Kernel
from hgm.compiler.weights import Weights
from hgm.errors import BadExtension, NoLoweringRule, extension
from hgm.evidence.ambient import watched
from hgm.tree.flat import CHUNK

__all__ = ["Conv", "FactorLayer", "Joint", "LocalEdges", "PathEdges", "layer_for", "layer_of", "pad_states"]


class FactorLayer(nn.Module):
    """Base of the layers that stand for folded factors.

    Args:
        op: the plan's op.
        slots: k, the slots per parent if the whole stage is this op on a regular level; else 1.
    """

    index: Tensor | None
    start: Tensor | None
    entry: Tensor | None
    _source: tuple[Weights]

    def __init__(self, op: Op, slots: int) -> None:
        super().__init__()
        self.kernel: Kernel = op.kernel
        self.slots = slots
        self.states_in, self.states_out = op.states_in, op.states_out
        self.factors, self.child_count = len(op.factors), op.children
        whole = op.index if isinstance(op.index, Whole) else None
        parts = (op.index, None, None) if whole is None else (None, whole.start, whole.entry)
        for name, part in zip(("index", "start", "entry"), parts, strict=True):
            self.register_buffer(name, None if part is None else torch.from_numpy(part), persistent=False)
        self._fixed: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def bind(self, weights: Weights) -> None:
        """Take the weight from a network's vector of all weights."""
        self._source = (weights,)  # in a tuple, so that it is not a module of this one

    def places(self) -> Tensor:
        """The op's index, written out."""
        if self.start is None or self.entry is None:
            assert self.index is not None
            return self.index
        return self.start[:, None, None] + self.entry

    def materialise(self, scaled: Tensor) -> Tensor:
        """The weight from `Weights.scaled`: psi (linear) or log psi (log), a potential's largest entry at 1 or 0."""
        w = scaled[self.places()]
        return self.laid(w.exp_() if self.kernel == "linear" else w)

    def laid(self, w: Tensor) -> Tensor:
        """The weight as the layer wants it, from one in the layout of the op's index."""
        return w

    def fix(self, scaled: Callable[[], Tensor]) -> None:
        """Compute the weight once and keep it, for networks that are not trained, in the precision that is likely.

        In another one it is computed, and kept too, when it is first asked for.
        """
        dtype = torch.float64 if self.kernel == "log" else torch.get_default_dtype()
        self._fixed = {}
        self._keep(dtype, scaled)

    def _keep(self, dtype: torch.dtype, scaled: Callable[[], Tensor]) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            weight = self._whole(dtype) if self.start is not None else self.materialise(scaled().detach()).to(dtype)
        self._fixed[dtype, weight.device] = weight
        return weight

    def _whole(self, dtype: torch.dtype) -> Tensor:
        """The weight, if its tables are whole potentials: a few at a time, each scaled by its own largest entry."""
        assert self.start is not None and self.entry is not None
        full, at_once = self._source[0].full().detach(), max(1, CHUNK // self.entry.numel())
        weight = full.new_empty((len(self.start), *self.entry.shape), dtype=dtype)
        for some, out in zip(self.start.split(at_once), weight.split(at_once), strict=True):
            logs = full[some[:, None, None] + self.entry]
            logs -= logs.amax((1, 2), keepdim=True)
            out.copy_(logs.exp_() if self.kernel == "linear" else logs)
        return self.laid(weight)

    def weight(self, like: Tensor, scaled: Tensor | None = None) -> Tensor:
        """The current weight in the dtype and on the device of `like`; `scaled` saves computing it for each layer."""
        if scaled is None and self._fixed:
            kept = self._fixed.get((like.dtype, like.device))
            if kept is not None:
                return kept
            if not watched():
                return self._keep(like.dtype, self._source[0].scaled)
        return self.materialise(self._source[0].scaled() if scaled is None else scaled).to(like.dtype)

    def forward(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """`up`, with the layer's current weight if none is given."""
        return self.up(x, self.weight(x) if w is None else w)

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
    network orders the children position by position, it runs as m matrix products on slices. Weight ``(m, S, S')``, or
    ``(S, S')`` where the siblings share it.
    """

    def __init__(self, op: ConvOp, slots: int) -> None:
        super().__init__(op, slots)
        self.arity = op.arity
        self.parents = self.factors // slots
        self.shared = len(op.index) == 1 and op.kernel == "linear"  # one matrix for all siblings: one product for all

    def laid(self, w: Tensor) -> Tensor:
        return w[0] if self.shared else w

    def up(self, x: Tensor, w: Tensor) -> Tensor:
        b, k, n = x.shape[-1], self.slots, self.parents
        if self.shared:
            q = torch.mm(w, x.reshape(self.states_in, -1))
            return q.view(1, self.states_out, n, b) if k == 1 else q.view(self.states_out, k, n, b).transpose(0, 1)
        x = x.reshape(self.states_in, k, n * b).transpose(0, 1)
        if self.kernel == "linear":
            return torch.bmm(w, x).view(k, self.states_out, n, b)
        return logsumexp(w[..., None] + x[:, None], 2).view(k, self.states_out, n, b)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        b, k, n = u.shape[-1], self.slots, self.parents
        if self.shared:
            u = u if k == 1 else u.transpose(0, 1)
            return torch.mm(w.t(), u.reshape(self.states_out, -1)).view(self.states_in, k * n, b)
        u = u.reshape(k, self.states_out, n * b)
        r = torch.bmm(w.mT, u) if self.kernel == "linear" else logsumexp(w[..., None] + u[:, :, None], 1)
        return r.view(k, self.states_in, n, b).transpose(0, 1)

    def kernel_weight(self) -> Tensor:
        """``(m S, S', *arity)``: the weight as a convolution kernel; block j is zero off its own sibling position."""
        psi = self._source[0].scaled()[self.places()].exp().expand(self.slots, -1, -1)
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
        return q.view(self.slots, self.factors // self.slots, self.states_out, x.shape[-1]).transpose(1, 2)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        u = u.transpose(1, 2).reshape(self.factors, self.states_out, -1)
        r = torch.bmm(w.mT, u) if self.kernel == "linear" else logsumexp(w[..., None] + u[:, :, None], 1)
        return r.transpose(0, 1)

    def extra_repr(self) -> str:
        return super().extra_repr() + (", locally connected" if self.regular else ", gathered")


class PathEdges(LocalEdges):
    """The edges along paths, weight ``(F or 1, S, S')``, in the order in which `hgm.compiler.segments` runs them."""

    def weight(self, like: Tensor, scaled: Tensor | None = None) -> Tensor:
        return super().weight(like, scaled).expand(self.factors, -1, -1)

    def extra_repr(self) -> str:
        return FactorLayer.extra_repr(self) + ", along paths"


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
        q = pad_states(q, self.states_out, 1.0 if self.kernel == "linear" else 0.0)
        return q.view(self.states_out, self.slots, self.factors // self.slots, x.shape[-1]).transpose(0, 1)

    def down(self, u: Tensor, x: Tensor, w: Tensor) -> Tensor:
        h = self._split(x)
        u = u.transpose(0, 1).reshape(u.shape[1], self.factors, -1)[: self.rows]
        out = []
        for i in range(len(h)):
            rest = [u, *(h[j] for j in range(len(h)) if j != i)]
            matrix = w.movedim(2 + i, 1).flatten(2)
            r = self._contract(matrix, self._outer(rest))
            out.append(pad_states(r, x.shape[0], 0.0))
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
            return torch.mm(matrix[0], x.flatten(1)).view(matrix.shape[1], *x.shape[1:])
        return torch.bmm(matrix, x.transpose(0, 1)).transpose(0, 1)


def pad_states(x: Tensor, states: int, value: float) -> Tensor:
    """x ``(C, F, B)`` with `value` in the states C.. that the variable does not have."""
    return x if x.shape[0] == states else F.pad(x, (0, 0, 0, 0, 0, states - x.shape[0]), value=value)


@singledispatch
def layer_for(op: Op, slots: int) -> FactorLayer:
    """The layer for an op whose stage gives each parent `slots` slots. Raises `NoLoweringRule` if there is none."""
    raise NoLoweringRule(
        f"no layer is registered for the plan op {type(op).__name__}; register one with "
        "@layer_for.register (from hgm.compiler.layers import layer_for) on a function of op and slots"
    )


layer_for.register(ConvOp, Conv)
layer_for.register(EdgeOp, LocalEdges)
layer_for.register(PathOp, PathEdges)
layer_for.register(JointOp, Joint)


def layer_of(op: Op, slots: int) -> FactorLayer:
    """`layer_for`. Raises `BadExtension` if what is registered fails, or gives no whole layer."""
    name = type(op).__name__
    with extension(f"the layer registered for {name}"):
        layer = layer_for(op, slots)
    if not isinstance(layer, FactorLayer) or "_fixed" not in vars(layer):  # the last thing that its constructor sets
        raise BadExtension(
            f"what is registered for {name} must give a FactorLayer (hgm.compiler.layers) whose __init__ calls "
            f"super().__init__(op, slots); got a {type(layer).__name__}"
        )
    return layer
