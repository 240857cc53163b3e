"""Wrong extensions: each is told in one sentence, by one error of hgm, when a network is made or run."""

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch

import hgm
from hgm.cli import app
from hgm.compiler.fold import fold
from hgm.compiler.layers import LocalEdges, layer_for
from hgm.compiler.levels import by_levels
from hgm.compiler.ops import EdgeOp
from hgm.compiler.plan import LevelStage
from hgm.compiler.schedule import SCHEDULES
from hgm.compiler.stage import Belief, Message, Stage, stage_for
from hgm.compiler.stages.general import General
from hgm.errors import BadExtension
from hgm.evidence.channel import CHANNELS as BY_NAME
from hgm.relu.constructions.choose import CONSTRUCTIONS, assemble, build
from hgm.relu.constructions.difference import Difference
from hgm.relu.constructions.logmatrix import LogMatrix
from hgm.relu.pieces.piecewise import PiecewiseLinear, Target, certify
from hgm.relu.pieces.targets import Exp, minimax
from hgm.study import STUDIES, study

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
    "plan must be a Plan .* got None": lambda tree, inputs: None,
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
    for given, message in (
        ((), "got nothing"),
        (("text",), "array of numbers; got a str"),
        ((None,), "got nothing"),
    ):
        with pytest.raises(hgm.BadEvidence, match=f"observation of the leaves.*{message}"):
            net(*given)
    with pytest.raises(hgm.BadEvidence, match=r"must have shape \(B, 1\); got \(2,\)"):
        net(torch.zeros(2, 3, 8), evidence=[1, 2])


TABLE = np.array([[1.1, -0.4], [-2.0, 0.7]])


class Own(Difference):
    """Construction D from outside."""

    kind = "E"


def own(**changes):
    return type("Wrong", (Own,), changes)


def says(**attributes):
    """Construction E that says other things of itself."""

    def made(cls, table, tol):
        module = super(Own, cls).build(table, tol)
        for name, value in attributes.items():
            setattr(module, name, value)
        return module

    return own(build=classmethod(made))


def gives(change):
    return own(forward=lambda self, h: change(Own.forward(self, h)))


CONSTRUCTED = {
    "'E' must be a subclass of LogMatrix; got 'text'": "text",
    "subclass of LogMatrix; got <function": lambda table, tol: None,
    "Wrong has no build": type("Wrong", (LogMatrix,), {"kind": "E"}),
    "Wrong must have the kind .* 'E', .*; got 'D'": own(kind="D"),
    "must give one of this kind; got a NoneType": own(build=classmethod(lambda cls, table, tol: None)),
    "Wrong.build fails: ZeroDivisionError": own(build=classmethod(lambda cls, table, tol: 1 / 0)),
    "Wrong.cost must be a number from 0 up; got None": own(cost=classmethod(lambda cls, table: None)),
    "Wrong.cost must .*; got nan": own(cost=classmethod(lambda cls, table: np.nan)),
    "Wrong.error must .*; got -1.0": says(error=-1.0),
    "Wrong.error must .*; got nan": says(error=np.nan),
    "Wrong.error must .*; got 'small'": says(error="small"),
    "Wrong.units must be the number of its ReLUs; got None": says(units=None),
    "another construction": says(error=3.0),
    "forward must give .* NoneType": gives(lambda out: None),
    r"forward must give .* of shape \(2, 32\); got .* \(1, 32\)": gives(lambda out: out[:1]),
    "forward must give .*; got torch.float32": gives(lambda out: out.float()),
    "forward gives NaN": gives(lambda out: out * torch.nan),
    "its error is .*, but it is off by": gives(lambda out: out * 1.5),
    r"rounding_steps\(.*\) must be a number from 0 up; got None": own(rounding_steps=lambda self, magnitude: None),
    r"rounding_steps\(.*\) must .*; got nan": own(rounding_steps=lambda self, magnitude: np.nan),
    r"rounding_steps\(.*\) fails: NotImplementedError": own(rounding_steps=LogMatrix.rounding_steps),
}


@pytest.mark.parametrize("message", CONSTRUCTED)
@pytest.mark.parametrize("named", [True, False])
def test_constructions(monkeypatch, message, named):
    monkeypatch.setitem(CONSTRUCTIONS, "E", CONSTRUCTED[message])
    if isinstance(CONSTRUCTED[message], type) and "cost" not in vars(CONSTRUCTED[message]):
        CONSTRUCTED[message].cost = classmethod(lambda cls, table: 0.1)  # it is the first to be tried
    with pytest.raises(BadExtension, match=message):
        hgm.compile(
            hgm.random_ghm(2, 2, 2, bound=3.0, seed=1), activation="relu", tol=0.5, construction="E" if named else None
        )


def test_a_bound_on_rounding_that_is_none_where_messages_are_large(monkeypatch):
    wrong = own(rounding_steps=lambda self, magnitude: 1e3 if magnitude < 100 else np.nan)
    monkeypatch.setitem(CONSTRUCTIONS, "E", wrong)
    tree = hgm.random_ghm(2, 2, 2, bound=3.0, seed=1)
    with pytest.raises(BadExtension, match=r"rounding_steps\(.*\) must .*; got nan"):
        hgm.compile(tree, activation="relu", tol=0.5, construction="E", floor=1e4)


def test_pieces_of_a_construction_that_says_too_little(monkeypatch):
    monkeypatch.setitem(CONSTRUCTIONS, "E", Own)
    pieces = build("E", TABLE, 0.1).pieces
    assert assemble("E", TABLE, pieces).error <= 0.1
    monkeypatch.setattr(Own, "forward", lambda self, h: h * 1.5)
    with pytest.raises(hgm.HgmError, match="its error is"):
        assemble("E", TABLE, pieces)


class Square(Target):
    """``x^2`` for 0 <= x <= 1."""

    low = 0.0
    high = 1.0

    def __call__(self, x):
        return np.square(x)

    def tangents(self, slopes):
        return slopes[None] / 2

    def best(self, units, tol):
        return PiecewiseLinear([0.0, 1.0], [0.0, 1.0])


TARGETS = {
    "Wrong.best must give a PiecewiseLinear; got a NoneType": {"best": lambda self, units, tol: None},
    "Wrong.best fails: NotImplementedError": {"best": Target.best},
    r"Wrong.__call__ must give .* of shape \(3\); got a NoneType": {"__call__": lambda self, x: None},
    r"Wrong.__call__ must give .*; got a float": {"__call__": lambda self, x: 1.0},
    r"Wrong.__call__ must give .*; got float64s of shape \(17,\)": {"__call__": lambda self, x: np.zeros(17)},
    "Wrong.__call__ gives NaN at 0.5": {"__call__": lambda self, x: np.where(x == 0.5, np.nan, x)},
    "Wrong.tangents must give .* got a NoneType": {"tangents": lambda self, slopes: None},
    r"Wrong.tangents must .* \(k, 1\); got float64s of shape \(1,\)": {"tangents": lambda self, slopes: slopes / 2},
    r"Wrong.tangents must .* \(k, 1\); got .* \(1, 9\)": {"tangents": lambda self, slopes: np.zeros((1, 9))},
    "Wrong must have numbers low <= high.*; got None and 1.0": {"low": None},
    "got nan and 1.0": {"low": np.nan},
    "got 2.0 and 1.0": {"low": 2.0},
    "Wrong.limit fails: TypeError": {"high": np.inf, "limit": lambda self, end: None},
    "Wrong.limit must give two finite numbers; got 0.0, nan": {
        "high": np.inf,
        "limit": lambda self, end: (0.0, np.nan),
    },
    "Wrong.step must be a whole number": {"step": 0},
}


@pytest.mark.parametrize("message", TARGETS)
def test_targets(message):
    assert minimax(Square(), tol=0.5).units == 2
    with pytest.raises(BadExtension, match=message):
        minimax(type("Wrong", (Square,), TARGETS[message])(), tol=0.5)


def test_what_is_no_target():
    for wrong in (Exp, None):
        with pytest.raises(BadExtension, match="must be a Target"):
            minimax(wrong, tol=0.5)
        with pytest.raises(BadExtension, match="must be a Target"):
            certify(PiecewiseLinear([0.0], [0.0]), wrong)


def potential(shape=(3, 3), **changes):
    given = {"__init__": lambda self: hgm.Potential.__init__(self, shape, np.arange(9) / 9), "entries": Plain.entries}
    return type("Odd", (hgm.Potential,), given | changes)


def turned(self):
    self.turn = 1
    hgm.Potential.__init__(self, (3, 3), np.arange(9) / 9)


POTENTIALS = {
    r"one integer for each axis; got 'ab'": potential(shape="ab"),
    r"one integer for each axis; got 3": potential(shape=3),
    r"one integer for each axis; got \(3.5, 3\)": potential(shape=(3.5, 3)),
    r"Odd.entries\(\) fails: AttributeError": potential(entries=lambda self: self.missing),
    r"Odd.__init__ must call super\(\).__init__": potential(__init__=lambda self: None),
    r"Odd.parts\(\) must be arrays of integers by name; got None": potential(parts=lambda self: None),
    r"Odd.parts\(\) must be .*; got {'x': \[1.5\]}": potential(parts=lambda self: {"x": [1.5]}),
    r"Odd.entries\(\), from shape, .* alone, fails: AttributeError": potential(
        __init__=turned, entries=lambda self: np.roll(Plain.entries(self), self.turn)
    ),
    r"Odd.entries\(\) depends on more than": potential(
        turn=0, __init__=turned, entries=lambda self: np.roll(Plain.entries(self), self.turn)
    ),
}


@pytest.mark.parametrize("message", POTENTIALS)
def test_potentials(message):
    with pytest.raises((BadExtension, hgm.BadPotential), match=message):
        hgm.Tree.from_edges([("a", "b", POTENTIALS[message]())])


STUDY = {
    r'needs a name, as in @study\("mine"\); got a function': lambda: study(lambda out, *, quick: None),
    r"needs a name, .*; got 3": lambda: study(3),
    r"'wrong' must be a function f\(out, \*, quick\): 'text' is not": lambda: study("wrong")("text"),
    r"'wrong' must be .*: None is not": lambda: study("wrong")(None),
    r"'wrong' must be .*: got an unexpected keyword argument 'quick'": lambda: study("wrong")(lambda out: None),
    r"'wrong' must be .*: missing a required argument: 'more'": lambda: study("wrong")(lambda out, more, quick: None),
}


@pytest.mark.parametrize("message", STUDY)
def test_studies(message):
    before = dict(STUDIES)
    with pytest.raises(BadExtension, match=message):
        STUDY[message]()
    assert before == STUDIES


def test_commands():
    before = list(app.registered_commands)
    for name, function in (("check", "mine"), (None, "check")):
        with pytest.raises(BadExtension, match=rf"{function} cannot be the command 'check': that is hgm.cli"):
            app.command(name=name)(named(function))
    with pytest.raises(BadExtension, match=r"must be a function, under @app.command.*got 'text'"):
        app.command()("text")
    with pytest.raises(BadExtension, match=r"write @app.command\(\) or .*got <function"):
        app.command(named("mine"))
    assert app.registered_commands == before


def named(name):
    def function():
        """A command."""

    function.__name__ = function.__qualname__ = name
    return function


class Blur(hgm.Channel, name="blur"):
    """A channel with a setting."""

    def __init__(self, width=1.0, values=None):
        super().__init__(values)
        self.width = width

    def entry(self):
        return super().entry() | {"width": self.width}

    def states_first(self, z):
        return -((self.batch_last(z) - self.table()[:, None, None]) ** 2) / self.width

    def observe(self, x, *noise, generator):
        return self.table()[x]


def blur(**changes):
    """Blur with other methods, under its name."""
    kind = type("Wrong", (Blur,), changes)
    kind.kind = "blur"
    return hgm.compile(TREE, channel=kind(2.0))


FILED = {
    r"Wrong: its __init__ also takes width, which entry\(\) must hold": {"entry": hgm.Channel.entry},
    r"Wrong: its __init__ must take values": {"__init__": lambda self, width: Blur.__init__(self, width)},
    r"Wrong.entry\(\) must be a dict with 'kind': 'blur'; got None": {"entry": lambda self: None},
    r"Wrong.entry\(\) must be .*; got {'width': 1}": {"entry": lambda self: {"width": 1}},
    r"Wrong.entry\(\) must be .*; got {'kind': 'soft'}": {"entry": lambda self: {"kind": "soft"}},
    r"Wrong.entry\(\) fails: TypeError: .*JSON": {"entry": lambda self: {"kind": "blur", "width": self}},
    r"Wrong.from_entry must give such a channel; got a NoneType": {
        "from_entry": classmethod(lambda cls, entry, values: None)
    },
}


@pytest.mark.parametrize("message", FILED)
@pytest.mark.parametrize("around", [False, True])
def test_channels_that_a_file_cannot_hold(monkeypatch, tmp_path, message, around):
    net = blur(**FILED[message])
    monkeypatch.setitem(BY_NAME, "blur", type(net.channel))
    if around:
        net = hgm.compile(TREE, channel=hgm.Missing(net.channel))
    with pytest.raises(BadExtension, match=message):
        hgm.save_network(net, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_channel_whose_settings_come_first_is_kept(tmp_path):
    hgm.save_network(hgm.compile(TREE, channel=Blur(2.0)), tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors").channel
    assert again.width == 2.0 and again.values.tolist() == [0.0, 1.0, 2.0]


def test_names_of_channels():
    for name in (3, [3], ""):
        with pytest.raises(BadExtension, match="name of the channel Wrong must be a word"):
            type("Wrong", (hgm.Channel,), {}, name=name)


def test_what_channels_say_of_observations(tmp_path):
    z = torch.zeros(2, 8)
    with pytest.raises(BadExtension, match=r"Wrong.positions must give a tuple.* got a NoneType"):
        blur(positions=lambda self, z: None)(z)
    with pytest.raises(hgm.BadEvidence, match=r"Wrong.states_first takes \(self, z, noise\): missing .*'noise'"):
        blur(states_first=lambda self, z, noise: Blur.states_first(self, z))(z)
    with pytest.raises(hgm.BadEvidence, match=r"Blur.states_first takes .*: too many positional arguments"):
        hgm.compile(TREE, channel=Blur())(z, 0.5)
    with pytest.raises(BadExtension, match=r"Wrong.observe must give a tensor, .*; got a NoneType"):
        hgm.export(blur(observe=lambda self, x, *noise, generator: None), tmp_path / "net.pt2")
    with pytest.raises(BadExtension, match=r"Wrong.observe fails: TypeError: .*'generator'"):
        hgm.export(blur(observe=lambda self, x: x), tmp_path / "net.pt2")
