"""A kind of stage and a schedule, from outside: planned, run, trained, saved, loaded, exported, verified, drawn."""

import math
from dataclasses import dataclass, fields, replace

import pytest
import torch

import hgm
from hgm.compiler.levels import by_levels
from hgm.compiler.plan import LevelStage, StagePlan
from hgm.compiler.schedule import SCHEDULES
from hgm.compiler.stage import Message, Scale, Stage, stage_for
from hgm.compiler.stages.general import General
from hgm.testing import Conformance, assert_close, random_evidence


@dataclass(frozen=True)
class LoudStage(LevelStage):
    """A stage whose messages are twice as large as they should be, and which says so."""

    def rows(self, above, below):
        return [{**row, "op": f"loud {row['op']}"} for row in super().rows(above, below)]


class Loud(Stage):
    """Runs a `LoudStage` by the library's own stage and doubles what comes out."""

    def __init__(self, plan, above, below):
        super().__init__(plan, above, below)
        self.inner = General(plan, above, below)

    def collect(self, below, own, scaled=None):
        message, scales, skip = self.inner(below, own, scaled)
        linear = message.kernel == "linear"
        h = message.h * 2 if linear else message.h + math.log(2)
        half = torch.full_like(h[:1], 0.5)
        return Message(h, message.kernel, message.dtype), [*scales, Scale(half, "linear")], skip

    def distribute(self, above, skip):
        return self.inner.distribute(above, skip)

    def layers(self):
        return self.inner.layers()

    def rescale_always(self):
        self.inner.rescale_always()


@dataclass(frozen=True)
class Unknown(StagePlan):
    """A kind of stage that nobody runs."""


def rewritten(kind, name):
    """The schedule by levels with stages of another kind."""

    def schedule(tree, inputs, ranges=None):
        plan = by_levels(tree, inputs, ranges)
        stages = tuple(kind(**{f.name: getattr(stage, f.name) for f in fields(kind)}) for stage in plan.stages)
        return replace(plan, stages=stages, schedule=name)

    return schedule


stage_for.register(LoudStage, Loud)
TREE = hgm.random_ghm(3, 3, 2, bound=10.0, seed=0)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "loud", rewritten(LoudStage, "loud"))
    monkeypatch.setitem(SCHEDULES, "unknown", rewritten(Unknown, "unknown"))


class TestLoud(Conformance):
    schedule = "loud"
    seeds = (0, 1, 2)

    def make_tree(self, seed):
        return hgm.random_tree(15, cardinality=(1, 4), joint=0.3 * seed, zeros=0.2 * (seed > 1), seed=seed)


def test_the_stage_runs_and_is_printed_and_drawn(tmp_path):
    net = hgm.compile(TREE, schedule="loud")
    assert all(isinstance(stage, Loud) for stage in net.encoder)
    assert "loud conv1d" in str(net.plan) and net.plan.schedule == "loud"
    assert "Loud" in str(net)
    hgm.draw(net, tmp_path / "net.svg")
    assert (tmp_path / "net.svg").stat().st_size > 1000


def test_a_plan_can_be_handed_in():
    e = random_evidence(TREE)[:, :, TREE.leaves.copy()]
    plan = SCHEDULES["loud"](TREE, TREE.leaves)
    net = hgm.compile(TREE, plan=plan)
    assert net.plan is plan
    assert_close(net(e), hgm.compile(TREE)(e), 1e-12, "posterior")


@pytest.mark.parametrize("trained", [False, True])
def test_it_is_saved_loaded_and_exported(tmp_path, trained):
    net = hgm.compile(TREE, schedule="loud", trainable=trained)
    e = random_evidence(TREE)[:, :, TREE.leaves.copy()]
    if trained:
        optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(3):
            optimiser.zero_grad()
            (-net.log_partition(e).mean()).backward()
            optimiser.step()
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert all(isinstance(stage, Loud) for stage in again.encoder)
    assert torch.equal(again(e), net(e))
    hgm.export(net, tmp_path / "net.pt2", dtype=torch.float64)
    program = torch.export.load(tmp_path / "net.pt2").module()
    assert_close(program(e), net(e), 1e-12, "exported")


def test_a_file_of_a_schedule_that_is_not_there_is_refused(tmp_path, monkeypatch):
    hgm.save_network(hgm.compile(TREE, schedule="loud"), tmp_path / "net.safetensors")
    monkeypatch.delitem(SCHEDULES, "loud")
    with pytest.raises(hgm.BadSpec, match=r"no schedule .loud.*registered"):
        hgm.load_network(tmp_path / "net.safetensors")


def test_bad_plans_and_schedules_are_refused():
    plan = SCHEDULES["levels"](TREE, TREE.leaves)
    table = {
        "there is no schedule 'sideways'": {"schedule": "sideways"},
        "a plan or the name of a schedule, not both": {"schedule": "levels", "plan": plan},
        "of another tree": {"plan": by_levels(hgm.random_ghm(3, 3, 2, seed=1), TREE.leaves)},
        "other inputs": {"plan": by_levels(TREE, TREE.leaves[::-1].copy())},
        "plan must be a Plan": {"plan": "levels"},
    }
    for message, options in table.items():
        with pytest.raises(hgm.BadSpec, match=message):
            hgm.compile(TREE, **options)
    with pytest.raises(hgm.NoLoweringRule, match="no stage is registered for Unknown"):
        hgm.compile(TREE, schedule="unknown")
    with pytest.raises(hgm.NoLoweringRule, match="plans by levels; this one has a Unknown"):
        hgm.compile(TREE, schedule="unknown", activation="relu")
