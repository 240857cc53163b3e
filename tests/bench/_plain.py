"""Sum-product as an expert writes it in plain torch, level by level on log messages; no code of hgm.

Every message is: subtract the maximum over the states, exp, matrix product, log. What the subtraction takes is dropped
(it is a constant per node), or added up where log Z is wanted. Evidence and marginals are ``(B, S, n)``.

* `Batched`: complete trees, ``(batch, nodes, states)``, the layout most would choose.
* `StatesFirst`: the same on ``(states, nodes, batch)``: a layout chosen by measuring, with in-place operations.
* `Levels`: any tree: padded states, a gather, one batched matrix product per level, ``index_add``; batch last.
* `Caterpillar`: forward and backward along the spine; all legs in one batched product.
"""

from __future__ import annotations

import numpy as np
import torch
from _models import Edges, Regular
from torch import Tensor

__all__ = ["Batched", "Caterpillar", "Levels", "StatesFirst"]


class Batched:
    """Complete trees, messages ``(B, n, S)``."""

    def __init__(self, model: Regular, dtype: torch.dtype = torch.float32) -> None:
        self.up = [torch.tensor(w, dtype=dtype) for w in model.weights]  # (m, S, S')
        self.prior = torch.tensor(np.log(model.prior), dtype=dtype)
        self.order = None if model.order is None else torch.tensor(model.order)
        self.back = None if model.order is None else torch.tensor(np.argsort(model.order))

    def __call__(self, e: Tensor) -> Tensor:
        shape, batch = e.shape, e.shape[0]
        e = e.flatten(2)
        h = (e if self.order is None else e[:, :, self.order]).transpose(1, 2).contiguous()
        skips = []
        for w in reversed(self.up):
            x = h.view(batch, -1, w.shape[0], h.shape[-1])
            q = torch.einsum("bpja,jsa->bpjs", _shifted(x, -1), w).log_()
            skips.append((h, q))
            h = q.sum(2)
        b = h + self.prior
        for w in self.up:
            h, q = skips.pop()
            u = b[:, :, None] - q
            r = torch.einsum("bpjs,jsa->bpja", _shifted(u, -1), w).log_()
            b = r.reshape(h.shape) + h
        p = b.softmax(-1).transpose(1, 2)
        return (p if self.back is None else p[:, :, self.back]).reshape(shape)


class StatesFirst:
    """Complete trees, messages ``(S, n, B)``; edges position by position, ``(m, S, n, B)``."""

    def __init__(self, model: Regular, dtype: torch.dtype = torch.float32) -> None:
        self.up = [torch.tensor(w, dtype=dtype) for w in model.weights]
        self.prior = torch.tensor(np.log(model.prior), dtype=dtype)[:, None, None]
        self.order = None if model.order is None else torch.tensor(model.order)
        self.back = None if model.order is None else torch.tensor(np.argsort(model.order))

    def __call__(self, e: Tensor) -> Tensor:
        shape, batch = e.shape, e.shape[0]
        e = e.flatten(2).permute(1, 2, 0)
        h = e.contiguous() if self.order is None else e[:, self.order]
        skips = []
        for w in reversed(self.up):
            m, out, size = w.shape
            x = _shifted(h, 0).view(size, -1, m, batch).permute(2, 0, 1, 3).reshape(m, size, -1)
            q = torch.bmm(w, x).log_().view(m, out, -1, batch)
            skips.append((h, q))
            h = q.sum(0)
        b = h + self.prior
        for w in self.up:
            h, q = skips.pop()
            r = torch.bmm(w.mT, _shifted(b - q, 1).flatten(2)).log_()
            b = r.view(w.shape[0], w.shape[2], -1, batch).permute(1, 2, 0, 3).reshape(h.shape).add_(h)
        p = b.softmax(0) if self.back is None else b.softmax(0)[:, self.back]
        return p.permute(2, 0, 1).reshape(shape)


class Levels:
    """Any tree of pairwise factors, messages ``(n, S, B)``.

    Variables of one level are padded to its largest cardinality. Matrices are padded with ones and the evidence with
    -inf: padded states then drop out of every sum, and nothing becomes inf - inf.
    """

    def __init__(self, model: Edges, dtype: torch.dtype = torch.float32) -> None:
        depth = int(model.level.max())
        column = np.full(len(model.level), -1)
        column[model.leaves] = np.arange(len(model.leaves))
        nodes = [np.flatnonzero(model.level == level) for level in range(depth + 1)]
        sizes = [int(model.cardinality[v].max()) for v in nodes]
        self.columns, self.places, self.own, self.parents, self.weights = [], [], [], [], []
        for level, here in enumerate(nodes):
            own = np.full((len(here), sizes[level]), -np.inf)
            for i, v in enumerate(here):
                prior = model.prior[v]
                own[i, : model.cardinality[v]] = 0.0 if prior is None else np.log(prior)
            self.own.append(torch.tensor(own, dtype=dtype)[:, :, None])
            seen = column[here] >= 0
            self.places.append(torch.tensor(np.flatnonzero(seen)))
            self.columns.append(torch.tensor(column[here[seen]]))
            if level:
                w = np.ones((len(here), sizes[level - 1], sizes[level]))
                for i, v in enumerate(here):
                    matrix = model.matrices[v]
                    assert matrix is not None
                    w[i, : matrix.shape[0], : matrix.shape[1]] = matrix
                self.weights.append(torch.tensor(w, dtype=dtype))
                self.parents.append(torch.tensor(model.parent[here] - nodes[level - 1][0]))

    def __call__(self, e: Tensor) -> Tensor:
        h, skips, _ = self.collect(e)
        p = e.new_zeros(e.shape[2], e.shape[1], e.shape[0])
        b = h
        self._read(p, 0, b)
        for level, (w, parent) in enumerate(zip(self.weights, self.parents, strict=True), start=1):
            h, q = skips.pop()
            u = b[parent] - q
            b = torch.bmm(w.mT, _shifted(u, 1)).log_().add_(h)
            self._read(p, level, b)
        return p.permute(2, 1, 0).contiguous()

    def log_partition(self, e: Tensor) -> Tensor:
        h, _, constant = self.collect(e, constants=True)
        assert constant is not None
        return h.logsumexp(1).sum(0) + constant

    def collect(self, e: Tensor, constants: bool = False) -> tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor | None]:
        x = e.permute(2, 1, 0).contiguous()
        total = e.new_zeros(e.shape[0]) if constants else None
        h = self._own(x, len(self.weights))
        skips = []
        for level in reversed(range(len(self.weights))):
            top = h.amax(1, keepdim=True)
            if total is not None:
                total += top.sum((0, 1))
            q = torch.bmm(self.weights[level], (h - top).exp_()).log_()
            if not constants:
                skips.append((h, q))
            h = self._own(x, level).index_add_(0, self.parents[level], q)
        return h, skips, total

    def _own(self, x: Tensor, level: int) -> Tensor:
        own = self.own[level].repeat(1, 1, x.shape[2])
        if len(self.places[level]):
            own[self.places[level]] += x[self.columns[level], : own.shape[1]]
        return own

    def _read(self, p: Tensor, level: int, b: Tensor) -> None:
        if len(self.places[level]):
            p[self.columns[level], : b.shape[1]] = b[self.places[level]].softmax(1)


class Caterpillar:
    """A spine with one leaf at each node, messages ``(S, B)`` along the spine."""

    def __init__(self, model: Edges, dtype: torch.dtype = torch.float32) -> None:
        leaf = np.zeros(len(model.level), dtype=bool)
        leaf[model.leaves] = True
        spine = [0]
        inner = {int(model.parent[v]): int(v) for v in np.flatnonzero(~leaf) if v}
        while spine[-1] in inner:
            spine.append(inner[spine[-1]])
        leg = {int(model.parent[v]): i for i, v in enumerate(model.leaves)}
        self.order = torch.tensor([leg[v] for v in spine])  # one leaf at each
        self.back = torch.argsort(self.order)
        self.legs = torch.tensor(np.stack([model.matrices[model.leaves[leg[v]]] for v in spine]), dtype=dtype)
        self.step = list(torch.tensor(np.stack([model.matrices[v] for v in spine[1:]]), dtype=dtype))
        self.step_back = [w.t().contiguous() for w in self.step]
        prior = model.prior[0]
        assert prior is not None
        self.prior = torch.tensor(np.log(prior), dtype=dtype)[:, None]

    def __call__(self, e: Tensor) -> Tensor:
        x = e.permute(2, 1, 0)[self.order]
        seen = torch.bmm(self.legs, _shifted(x, 1)).log_()  # (n, S, B)
        rows = list(seen)
        below = torch.zeros_like(seen)  # what each spine node hears from the next one
        h, outs = rows[-1], list(below)
        for i in range(len(rows) - 2, -1, -1):
            out = outs[i]
            torch.mm(self.step[i], (h - h.amax(0)).exp_(), out=out).log_()
            h = out + rows[i]
        above = torch.zeros_like(seen)  # and from the one before
        outs = list(above)
        outs[0] += self.prior
        for i in range(len(rows) - 1):
            h = outs[i] + rows[i]
            h -= h.amax(0)
            torch.mm(self.step_back[i], h.exp_(), out=outs[i + 1]).log_()
        r = torch.bmm(self.legs.mT, _shifted(above.add_(below), 1)).log_()
        return r.add_(x).softmax(1)[self.back].permute(2, 1, 0).contiguous()


def _shifted(x: Tensor, dim: int) -> Tensor:
    return (x - x.amax(dim, keepdim=True)).exp_()
