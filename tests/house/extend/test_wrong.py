"""Wrong extensions: each is told in one sentence, by one error of hgm, when a network is made or run."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch

import hgm
from hgm.compiler.fold import fold
from hgm.compiler.layers import LocalEdges, layer_for
from hgm.compiler.levels import by_levels
from hgm.compiler.plan import EdgeOp, LevelStage
from hgm.compiler.schedule import SCHEDULES
from hgm.compiler.stage import Belief, Message, Stage, stage_for
from hgm.compiler.stages.general import General
from hgm.errors import BadExtension

TREE = hgm.random_ghm(3, 3, 2, bound=10.0, seed=0)
PLAN = by_levels(TREE)


class Plain(hgm.Potential):
    """A 3x3 table with an op of its own."""

    def __init__(self):
        super().__init__((3, 3), np.arange(9) / 9)

    def entries(self):
        return np.arange(9).reshape(3, 3)


@dataclass(frozen=True)
class OwnOp(EdgeOp):
    """An op with a layer of its own."""


@dataclass(frozen=True)
class OwnStage(LevelStage):
    """A stage with a module of its own."""


def good_op(batch, kind=OwnOp, **changes):
    index = np.stack([batch.entries(*pair) for pair in batch.distinct[0][batch.distinct[1]]])
    given = {"states_out": batch.states_out, "states_in": batch.states_in, "index": index, "kernel": batch.kernel}
    return kind(**({"factors": batch.factors} | given | changes))


def compiled_with(op=None, layer=LocalEdges):
    """A network of edges whose op, or whose layer, is another."""
    fold.register(Plain, op or (lambda _, batch: good_op(batch)))
    layer_for.register(OwnOp, layer)
    edge = Plain()
    return hgm.compile(hgm.Tree.from_edges([("a", "b", edge), ("a", "c", edge), ("b", "d", edge)]))


def scheduled(stage):
    """A network whose stages are run by `stage`."""
    stage_for.register(OwnStage, stage)
    stages = tuple(OwnStage(**{f.name: getattr(s, f.name) for f in fields(s)}) for s in PLAN.stages)
    return hgm.compile(TREE, plan=replace(PLAN, stages=stages))


def changed(base, **methods):
    """A subclass of which the results of some methods are changed."""

    def method(name, change):
        return lambda self, *args: change(getattr(base, name)(self, *args))

    return type("Wrong", (base,), {name: method(name, change) for name, change in methods.items()})


def test_right_ones_are_not_refused():
    e = torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    own = compiled_with()(e)
    torch.testing.assert_close(own, hgm.compile(compiled_with().tree())(e))
    e = torch.randn(4, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scheduled(General)(e), hgm.compile(TREE)(e))


OPS = {
    "must give an Op .* got None": lambda _, batch: None,
    "fails: TypeError": lambda _: None,
    "must keep factors": lambda _, batch: good_op(batch, factors=batch.factors[:0]),
    "kernel='linear' or 'log'; got 'fast'": lambda _, batch: good_op(batch, kernel="fast"),
    "states_out=3; got 2": lambda _, batch: good_op(batch, states_out=2),
    "array of int64s from -2 to 8": lambda _, batch: good_op(batch, index=np.full((1, 3, 3), 9)),
}


@pytest.mark.parametrize("message", OPS)
def test_ops(message):
    with pytest.raises(BadExtension, match=f"fold Plain.*{message}"):
        compiled_with(OPS[message])


LAYERS = {
    r"must give a FactorLayer .* got a NoneType": lambda op, slots: None,
    r"super\(\).__init__.* got a Linear": lambda op, slots: torch.nn.Linear(3, 3),
    r"OwnOp fails: TypeError": lambda op: None,
    r"Wrong.up must be a tensor of shape .* got a NoneType": changed(LocalEdges, up=lambda q: None),
    r"Wrong.up must have shape \(.*3, ., 2\).*; got \(.*2, ., 2\)": changed(LocalEdges, up=lambda q: q[:, :2]),
    r"Wrong.up .*torch.float32; got .*torch.float64": changed(LocalEdges, up=lambda q: q.double()),
    r"Wrong.up holds NaN": changed(LocalEdges, up=lambda q: q * torch.nan),
    r"Wrong.down must have shape \(3, ., 2\)": changed(LocalEdges, down=lambda r: r[:2]),
    r"the layer Wrong fails: ZeroDivisionError": changed(LocalEdges, down=lambda r: 1 / 0),
}


@pytest.mark.parametrize("message", LAYERS)
def test_layers(message):
    with pytest.raises(BadExtension, match=message):
        compiled_with(layer=LAYERS[message])


def in_message(change):
    def collect(out):
        message, scales, skip = out
        return Message(change(message.h), message.kernel, message.dtype), scales, skip

    return changed(General, collect=collect)


STAGES = {
    r"OwnStage must give a Stage .* got None": lambda plan, above, below: None,
    r"OwnStage fails: TypeError": lambda plan: None,
    r"has no collect": type("Wrong", (Stage,), {}),
    r"Wrong.layers\(\) fails": changed(General, layers=lambda out: None),
    r"layers\(\) must give FactorLayers": changed(General, layers=lambda out: [torch.nn.Identity()]),
    r"collect must return a Message, .*; got NoneType": changed(General, collect=lambda out: None),
    r"collect must return .*; got Message, list$": changed(General, collect=lambda out: out[:2]),
    r"collect must return a list of Scales; got a int": changed(General, collect=lambda out: (out[0], [1], out[2])),
    r"h of the message must have shape \(3, 4, 2\).*got \(2, 4, 2\)": in_message(lambda h: h[:2]),
    r"h of the message must have shape .*got \(3, 4, 1\)": in_message(lambda h: h[..., :1]),
    r"h of the message holds NaN": in_message(lambda h: h * torch.nan),
    r"distribute must return a Belief; got a Tensor": changed(General, distribute=lambda out: out.b),
    r"b of the belief must have shape .*; got \(3, 1, 2\)": changed(
        General, distribute=lambda out: Belief(out.b[:, :1], out.r)
    ),
}


@pytest.mark.parametrize("message", STAGES)
def test_stages(message):
    with pytest.raises(BadExtension, match=message):
        scheduled(STAGES[message])


SCHEDULED = {
    "plan must be a Plan .* got a NoneType": lambda tree, inputs: None,
    "fails: TypeError": lambda tree: None,
    "fails: .*not callable": "levels",
    "of another tree": lambda tree, inputs: by_levels(hgm.star(3)),
    "other inputs": lambda tree, inputs: by_levels(tree, inputs[1:]),
    "must have stages 0 to 2": lambda tree, inputs: replace(PLAN, stages=PLAN.stages[1:]),
    "levels of the plan must be a tuple of LevelPlans": lambda tree, inputs: replace(PLAN, levels=(1, 2)),
    "hold every factor": lambda tree, inputs: replace(PLAN, stages=tuple(replace(s, ops=()) for s in PLAN.stages)),
    "one column": lambda tree, inputs: replace(
        PLAN, levels=tuple(replace(level, observed=np.full(level.nodes, -1)) for level in PLAN.levels)
    ),
    "ranges and offset": lambda tree, inputs: replace(PLAN, offset=PLAN.offset + 1),
}


@pytest.mark.parametrize("message", SCHEDULED)
@pytest.mark.parametrize("options", [{}, {"activation": "relu"}])
def test_schedules(monkeypatch, message, options):
    monkeypatch.setitem(SCHEDULES, "wrong", SCHEDULED[message])
    with pytest.raises(BadExtension, match=f"the schedule 'wrong' .*{message}"):
        hgm.compile(TREE, schedule="wrong", **options)


def test_a_schedule_that_forgets_its_name_is_found_again(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "mine", lambda tree, inputs: by_levels(tree, inputs))
    assert hgm.compile(TREE, schedule="mine").plan.schedule == "mine"


CHANNELS = {
    r"got NoneType": lambda e: None,
    r"got ndarray": lambda e: e.numpy(),
    r"\(S, 8, 2\); got torch.float32 of shape \(2, 3, 8\)": lambda e: e.permute(2, 0, 1),
    r"\(S, 8, 2\); got torch.float32 of shape \(3, 9, 2\)": lambda e: torch.cat([e, e[:, :1]], 1),
    r"\(S, 8, 2\); got torch.float32 of shape \(3, 8, 1\)": lambda e: e[..., :1],
    r"got torch.int64": lambda e: e.long(),
}


@pytest.mark.parametrize("message", CHANNELS)
@pytest.mark.parametrize("pointwise", [True, False])
def test_channels(message, pointwise):
    wrong = changed(hgm.Soft, states_first=CHANNELS[message])
    wrong.pointwise = pointwise
    with pytest.raises(BadExtension, match=rf"Wrong.states_first must give floats of shape .*{message}"):
        hgm.compile(TREE, channel=wrong())(torch.zeros(2, 3, 8))


def test_what_is_no_whole_channel():
    with pytest.raises(BadExtension, match=r"Empty does not say .* give it states_first"):
        hgm.compile(TREE, channel=type("Empty", (hgm.Channel,), {})())
    with pytest.raises(BadExtension, match=r"Idle .*super\(\).__init__"):
        hgm.compile(TREE, channel=type("Idle", (hgm.Soft,), {"__init__": lambda self: None})())
    with pytest.raises(hgm.BadSpec, match="channel must be a Channel"):
        hgm.compile(TREE, channel="gaussian")


def test_what_is_no_observation():
    net = hgm.compile(TREE, observed=[TREE.names[0]])
    for given, got in (((), "nothing"), ((np.zeros((2, 3, 8)),), "a ndarray"), (([[0] * 8],), "a list")):
        with pytest.raises(hgm.BadEvidence, match=f"a torch tensor, first; got {got}"):
            net(*given)
    with pytest.raises(hgm.BadEvidence, match="must be a tensor; got a list"):
        net(torch.zeros(2, 3, 8), evidence=[1, 2])
