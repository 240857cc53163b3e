"""An op and its layer, from outside: a kind of potential with an op of its own, everywhere that ops go."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from kinds import Circulant

import hgm
from hgm.compiler.fold import fold
from hgm.compiler.layers import FactorLayer, layer_for
from hgm.compiler.numerics import logsumexp
from hgm.compiler.ops import Op
from hgm.compiler.ranges import has_linear
from hgm.testing import Conformance, assert_close, random_evidence


class Shift(Circulant):
    """A circulant with an op of its own."""


class Spin(Circulant):
    """A circulant whose op knows logs only."""


class Lost(Circulant):
    """A circulant whose op has no layer."""


@dataclass(frozen=True)
class ShiftOp(Op):
    """Factors that share a circulant: `index` ``(S,)``, and which way it turns."""

    turn: int = 1
    name = "shift"


class ShiftLayer(FactorLayer):
    """``q(s) = sum_k w(k) h(s + k mod S)`` and its transpose: S terms instead of a matrix."""

    def __init__(self, op, slots):
        super().__init__(op, slots)
        self.turn = op.turn

    def up(self, x, w):
        q = self._turned(x[: self.states], w, self.turn)
        q = torch.nn.functional.pad(q, (0, 0, 0, 0, 0, self.states_out - len(q)), value=float(self.kernel == "linear"))
        return q.view(self.states_out, self.slots, -1, x.shape[-1]).transpose(0, 1)

    def down(self, u, x, w):
        u = u.transpose(0, 1).reshape(self.states_out, self.factors, -1)[: self.states]
        r = self._turned(u, w, -self.turn)
        return torch.nn.functional.pad(r, (0, 0, 0, 0, 0, self.states_in - len(r)))

    @property
    def states(self):
        return len(self.index)

    def _turned(self, x, w, turn):
        rolled = torch.stack([x.roll(-turn * k, 0) for k in range(len(w))])
        if self.kernel == "log":
            return logsumexp(w[:, None, None, None] + rolled, 0)
        return (w[:, None, None, None] * rolled).sum(0)


@fold.register(Shift)
@fold.register(Spin)
def _(potential, batch):
    ((number, axis),) = batch.distinct[0]
    kernel = batch.kernel if isinstance(potential, Shift) else "log"
    index = batch.offset[number] + np.arange(potential.size)
    return ShiftOp(batch.factors, batch.states_out, batch.states_in, index, kernel, 1 if axis == 0 else -1)


@dataclass(frozen=True)
class LostOp(Op):
    """An op that nobody lowers."""


fold.register(
    Lost, lambda _, batch: LostOp(batch.factors, batch.states_out, batch.states_in, np.arange(3), batch.kernel)
)
layer_for.register(ShiftOp, ShiftLayer)
has_linear.register(Spin, lambda potential: False)


def tree_of(kind, seed, zeros=False):
    """A chain and branches of a circulant in both directions, beside other edges and more states."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 1.0, 3)
    step = kind(np.where(np.arange(3) == 1, 0.0, weights) if zeros else weights)
    wide = hgm.Edge(rng.uniform(0.2, 1.0, (3, 5)))
    edges = [("a", "b", step), ("b", "c", step), ("b", "d", step), ("a", "e", wide), ("c", "f", wide), ("c", "g", step)]
    return hgm.Tree.from_edges(edges, {"a": [0.2, 0.3, 0.5]}).reroot("c")


class TestShift(Conformance):
    seeds = (0, 1)

    def make_tree(self, seed):
        return tree_of(Shift, seed, zeros=seed == 1)


class TestSpin(TestShift):
    def make_tree(self, seed):
        return tree_of(Spin, seed)


def test_the_op_is_planned_printed_and_drawn(tmp_path):
    net = hgm.compile(tree_of(Shift, 0), query="all")
    ops = [op.name for stage in net.plan.stages for op in stage.ops]
    assert "shift" in ops and "shift" in str(net.plan)
    assert any(isinstance(module, ShiftLayer) for module in net.modules())
    hgm.draw(net, tmp_path / "net.svg")
    kernels = {
        op.kernel for stage in hgm.compile(tree_of(Spin, 0)).plan.stages for op in stage.ops if op.name == "shift"
    }
    assert kernels == {"log"}


def test_it_is_saved_loaded_exported_and_verified(tmp_path):
    tree = tree_of(Shift, 0)
    net = hgm.compile(tree, trainable=True)
    with torch.no_grad():
        for weights in net.parameters():
            weights.mul_(1.1)
    e = random_evidence(tree)[:, :, tree.leaves.copy()]
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert torch.equal(again(e), net(e)) and again.tree() == net.tree()
    hgm.export(net, tmp_path / "net.pt2", dtype=torch.float64)
    assert_close(torch.export.load(tmp_path / "net.pt2").module()(e), net(e), 1e-12, "exported")
    assert hgm.verify(tree, batch=3).ok


def test_a_relu_network_replaces_its_matrix():
    tree = tree_of(Shift, 0)
    net = hgm.compile(tree, activation="relu", tol=0.1)
    e = torch.randn(5, 5, len(tree.leaves), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gap = (net(e).log() - hgm.compile(tree)(e).log()).abs().nan_to_num(0.0).max()
    assert float(gap) <= net.certificate.log_posterior <= 0.1


def test_an_op_without_a_layer_is_named():
    with pytest.raises(hgm.NoLoweringRule, match="LostOp"):
        hgm.compile(tree_of(Lost, 0))
