"""The conformance battery: every potential kind and layer of hgm passes it, a user's own too, and broken ones fail."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import hgm
from hgm.compiler.layers import FactorLayer, LocalEdges, layer_for
from hgm.compiler.levels import by_levels
from hgm.compiler.numerics import logsumexp
from hgm.compiler.ops import EdgeOp
from hgm.compiler.plan import Plan
from hgm.compiler.schedule import SCHEDULES
from hgm.errors import HgmError, NoLoweringRule
from hgm.testing import Conformance, assert_close, random_evidence

pytestmark = pytest.mark.broad


class Battery(Conformance):
    """The battery; exporting, which takes seconds, only when asked for."""

    @pytest.mark.slow
    def test_it_exports(self):
        super().test_it_exports()


# ---------------------------------------------------------------------- the kinds of hgm


class TestConv1d(Conformance):
    def make_tree(self, seed):
        return hgm.zoo.random_ghm(3, [2, 3, 4], [2, 3, 2], root=3, bound=30.0, seed=seed)


class TestConv2d(Battery):
    def make_tree(self, seed):
        return hgm.zoo.random_ghm(2, 3, [(2, 1), (2, 3)], tie="level" if seed else "position", seed=seed)


class TestLocallyConnected(Battery):
    def make_tree(self, seed):
        return hgm.zoo.random_ghm(3, 3, 2, tie="none", seed=seed)


class TestGathered(Battery):
    def make_tree(self, seed):
        return hgm.random_tree(20, cardinality=(1, 4), seed=seed)


class TestJoint(Battery):
    def make_tree(self, seed):
        tie = ("level", "none", "level")[seed]
        return hgm.zoo.random_ghm(2, [3, 2], [2, 3], joint=True, tie=tie, seed=seed)


class TestJointWithZeros(Battery):
    def make_tree(self, seed):
        return hgm.random_tree(16, cardinality=(1, 4), joint=0.6, zeros=0.4, seed=seed)


class TestRules(Conformance):
    def make_tree(self, seed):
        return hgm.rhm(3, 2, 2, 2, seed=seed)


class TestZeros(Battery):
    def make_tree(self, seed):
        return hgm.random_tree(20, cardinality=(2, 4), zeros=0.4, seed=seed)


class TestWideRange(Battery):
    """Potentials over 60 decades: the log kernel."""

    def make_tree(self, seed):
        return hgm.random_tree(15, bound=1e30, seed=seed)


class TestForest(Battery):
    def make_tree(self, seed):
        return hgm.forest((6, 1, 4), cardinality=(1, 3), joint=0.3, zeros=0.2, seed=seed)


class TestStrongEvidence(Battery):
    """Likelihoods over 40 decades at every variable, inner ones too, and tables of one decade."""

    def make_tree(self, seed):
        return hgm.random_tree(15, cardinality=(2, 3), joint=0.3, bound=3.0, seed=seed)

    def make_evidence(self, tree, seed):
        return random_evidence(tree, seed, decades=40.0)


# ---------------------------------------------------------------------- a kind of one's own


class Banded(hgm.Edge):
    """A transition that moves by at most one state."""

    def __init__(self, size, stay):
        steps = np.abs(np.subtract.outer(range(size), range(size)))
        super().__init__(np.select([steps == 0, steps == 1], [stay, 0.3], 0.0))


class TestBanded(Battery):
    def make_tree(self, seed):
        step = Banded(4, 0.1 + 0.2 * seed)
        return hgm.hmm(6, transition=step, symbols=3, seed=seed)


@dataclass(frozen=True)
class EinsumOp(EdgeOp):
    """Edges that run as one einsum."""

    name = "einsum"  # type: ignore[assignment]


class EinsumLayer(FactorLayer):
    """``q[f, s, b] = sum_a w[f, s, a] h[a, f, b]``, written down as that."""

    def up(self, x, w):
        if self.kernel == "log":
            q = logsumexp(w.permute(1, 2, 0)[..., None] + x[None], 1)
        else:
            q = torch.einsum("fsa,afb->sfb", w, x)
        return q.view(self.states_out, self.slots, -1, x.shape[-1]).transpose(0, 1)

    def down(self, u, x, w):
        u = u.transpose(0, 1).reshape(self.states_out, self.factors, -1)
        if self.kernel == "log":
            return logsumexp(w.permute(1, 2, 0)[..., None] + u[:, None], 0)
        return torch.einsum("fsa,sfb->afb", w, u)


def rewrite(plan: Plan, kind: type[EdgeOp]) -> Plan:
    """The plan with all its edge ops as ops of another kind."""
    stages = []
    for stage in plan.stages:
        ops = tuple(
            kind(op.factors, op.states_out, op.states_in, op.index, op.kernel) if type(op) is EdgeOp else op
            for op in stage.ops
        )
        stages.append(replace(stage, ops=ops))
    return replace(plan, stages=tuple(stages))


class WithOp(Battery):
    """The battery on networks whose edge ops are all of one kind."""

    kind: type[EdgeOp] = EinsumOp
    seeds = (0, 1)

    def make_tree(self, seed):
        return hgm.random_tree(15, cardinality=(1, 4), zeros=0.3 * seed, seed=seed)

    def make_network(self, tree, task="posterior", **options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SCHEDULES, "mine", lambda *args: rewrite(by_levels(*args), self.kind))
            made = hgm.compile(tree, task, schedule="mine", **options)
        assert all(type(op) is not EdgeOp for stage in made.plan.stages for op in stage.ops)
        return made


class TestOwnOp(WithOp):
    @pytest.fixture(autouse=True)
    def registered(self):
        layer_for.register(EinsumOp, EinsumLayer)

    def test_the_layer_runs(self):
        net = self.make_network(self.make_tree(0))
        assert any(isinstance(layer, EinsumLayer) for layer in net.modules())
        assert "einsum" in str(net.plan)


# ---------------------------------------------------------------------- what is broken is refused


def broken(up=None, down=None):
    """The battery on a layer with a mistake."""

    class Layer(EinsumLayer):
        pass

    if up:
        Layer.up = lambda self, x, w: up(EinsumLayer.up(self, x, w))
    if down:
        Layer.down = lambda self, u, x, w: down(EinsumLayer.down(self, u, x, w))

    @dataclass(frozen=True)
    class Op(EinsumOp):
        pass

    layer_for.register(Op, Layer)

    class Broken(WithOp):
        kind = Op

    return Broken()


def failures(battery: Conformance) -> set[str]:
    """The tests of a battery that fail."""
    failed = set()
    for name in dir(battery):
        if name.startswith("test_") and name != "test_it_exports":
            try:
                getattr(battery, name)()
            except (AssertionError, HgmError):
                failed.add(name)
    return failed


@pytest.mark.long
def test_a_layer_without_a_mistake_passes():
    assert failures(broken()) == set()


@pytest.mark.long
def test_a_wrong_message_upwards_is_refused():
    failed = failures(broken(up=lambda q: q.flip(1)))
    assert {"test_marginals_are_those_of_the_reference", "test_every_variable_can_be_classified"} <= failed


@pytest.mark.long
def test_a_wrong_message_downwards_is_refused():
    failed = failures(broken(down=lambda r: r.flip(0)))
    assert "test_marginals_are_those_of_the_reference" in failed
    assert "test_the_gradient_of_the_log_partition_is_the_marginals" in failed
    assert "test_every_variable_can_be_classified" not in failed  # the encoder is right


@pytest.mark.long
def test_a_scaled_message_is_refused_by_the_log_partition():
    failed = failures(broken(up=lambda q: q * 2 if bool((q >= 0).all()) else q + 1))
    assert "test_log_partition_is_that_of_the_reference" in failed
    assert "test_every_variable_can_be_classified" not in failed


@pytest.mark.long
def test_a_broken_gradient_is_refused():
    failed = failures(broken(up=lambda q: q.detach()))
    assert "test_the_gradient_of_the_log_partition_is_the_marginals" in failed
    assert "test_the_gradient_by_log_potentials_is_the_expected_counts" in failed
    assert "test_marginals_are_those_of_the_reference" not in failed


@pytest.mark.long
def test_rounding_to_single_precision_is_refused():
    assert "test_marginals_are_those_of_the_reference" in failures(broken(up=lambda q: q.float().to(q.dtype)))


@pytest.mark.long
def test_rows_that_touch_each_other_are_refused():
    failed = failures(broken(up=lambda q: q.roll(1, -1)))
    assert "test_rows_of_a_batch_do_not_touch_each_other" in failed


@pytest.mark.long
def test_the_battery_runs_without_pytest():
    battery = TestRules()
    battery.seeds = (0,)
    battery.run()
    with pytest.raises((AssertionError, hgm.BadExtension), match=r"marginals|holds NaN where all evidence is flat"):
        broken(down=lambda r: r.flip(0)).run()
    with pytest.raises(NotImplementedError, match="make_tree"):
        Conformance().run()


def test_an_op_without_a_layer_is_named():
    @dataclass(frozen=True)
    class Unknown(EdgeOp):
        pass

    class WithUnknown(WithOp):
        kind = Unknown

    # a subclass of a known op inherits its layer; an op of no known kind has none
    net = WithUnknown().make_network(hgm.random_tree(5, seed=0))
    assert isinstance(next(net.encoder[0].layers()), LocalEdges)

    class Stranger:
        pass

    with pytest.raises(NoLoweringRule, match="Stranger"):
        layer_for(Stranger(), 1)


def test_assert_close_says_how_far_off():
    assert_close(torch.tensor([1.0, -torch.inf]), torch.tensor([1.0, -torch.inf]), 0.0, "infinities")
    with pytest.raises(AssertionError, match=r"x: 1\.5 instead of 1\.0 at \(1,\): off by 0\.5"):
        assert_close(torch.tensor([0.0, 1.5]), torch.tensor([0.0, 1.0]), 1e-3, "x")
    with pytest.raises(AssertionError, match="nan"):
        assert_close(torch.tensor([torch.nan]), torch.tensor([0.0]), 1e-3, "x")
    with pytest.raises(AssertionError, match="shape"):
        assert_close(torch.zeros(2), torch.zeros(3), 1e-3, "x")
