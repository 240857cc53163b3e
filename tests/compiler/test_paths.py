"""Plans by paths: what heavy paths are, how they are cut, when they are chosen, and what networks do along them."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles.trees import CASES

import hgm
from hgm.compiler.fold import plain_edges
from hgm.compiler.ops import PathOp
from hgm.compiler.path_plan import PathStage
from hgm.compiler.paths import by_paths, cheaper
from hgm.testing import assert_close, feed, random_evidence
from hgm.tree.paths import heavy_paths


def chain(n, states=3, seed=0):
    table = np.random.default_rng(seed).random((states, states)) + 0.1
    return hgm.Tree.from_edges([(i, i + 1, table) for i in range(n - 1)], {0: np.ones(states)})


def paths_of(tree):
    return heavy_paths(tree, plain_edges(tree))


# ---------------------------------------------------------------------- heavy paths


@given(st.integers(1, 60), st.integers(0, 1000), st.sampled_from([0.0, 0.3]))
def test_paths_are_heavy_and_few_levels_hold_them(n, seed, joint):
    tree = hgm.random_tree(n, cardinality=(1, 3), joint=joint, seed=seed)
    paths, above = paths_of(tree), tree.above
    size = np.ones(len(tree), dtype=int)
    for v in range(len(tree) - 1, len(tree.roots) - 1, -1):
        size[above[v]] += size[v]
    assert paths.level[tree.roots].tolist() == [0] * len(tree.roots)
    assert paths.levels <= np.log2(len(tree)) + 2 + 2 * joint * len(tree)  # tables of several children begin paths
    for v in range(len(tree.roots), len(tree)):
        u = above[v]
        edge = len(tree.scope_of(int(tree.parent_factor[v]))) == 2
        if paths.below[u] == v:
            assert edge and paths.top[v] == paths.top[u] and paths.place[v] == paths.place[u] + 1
            assert paths.level[v] == paths.level[u] > 0
        else:
            assert paths.top[v] == v and paths.place[v] == 0 and paths.level[v] == paths.level[u] + 1
            if edge and paths.level[u] > 0:
                assert size[paths.below[u]] >= size[v]


def test_a_deep_tree_has_few_levels():
    for tree, most in ((chain(3000), 2), (hgm.caterpillar(800, 2), 3), (hgm.random_tree(3000, seed=1), 13)):
        plan = by_paths(tree)
        assert len(plan.levels) <= most and plan.schedule == "paths"


# ---------------------------------------------------------------------- plans


@pytest.mark.parametrize("pieces", [1, 2, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_a_plan_has_every_factor_once_and_every_variable_in_its_step(pieces, seed, monkeypatch):
    monkeypatch.setattr("hgm.compiler.paths._best", lambda longest, *_: (pieces, 0.0))
    tree = hgm.random_tree(80, joint=0.1, seed=seed)
    plan, paths = by_paths(tree), paths_of(tree)
    factors = np.concatenate([op.factors for stage in plan.stages for op in stage.ops])
    assert sorted(factors) == np.flatnonzero(np.diff(tree.scope_ptr) > 1).tolist()
    for stage in plan.stages:
        level = plan.levels[stage.level + 1]
        assert (paths.level[level.order] == stage.level + 1).all()
        if not isinstance(stage, PathStage):
            assert (paths.top[level.order] == level.order).all()  # no path goes on
            continue
        order = level.order if stage.arrange is None else level.order[stage.arrange]
        steps = np.split(order, np.cumsum(stage.running)[:-1])
        inside = np.split(stage.line.factors, np.cumsum(stage.running[1:])[:-1])
        for below, above, edges in zip(steps[:-1], steps[1:], inside, strict=True):
            assert (paths.below[above] == below[: len(above)]).all()
            assert (tree.parent_factor[below[: len(above)]] == edges).all()
        assert (paths.place[stage.tops.order] == 0).all()
        assert np.isin(stage.tops.order, order).all()
        if stage.links is not None:
            assert len(stage.links.factors) == len(stage.chain) - stage.counts[0]
            assert len(np.unique(paths.top[order])) == stage.counts[0] == len(stage.heads)


def test_steps_and_multiply_adds_are_counted():
    plan = by_paths(chain(1001, states=4))
    (stage,) = plan.stages
    steps, segments = len(stage.running), len(stage.counts)
    assert plan.steps == 2 + 3 * steps + 2 * segments < 200
    edges = 2 * 1000 * 16
    assert edges < plan.flops <= edges * 3
    assert f"depth in steps {plan.steps:,} (schedule 'paths')" in str(plan)
    assert re.search(r"^ *1 +path ", str(plan), re.MULTILINE)


def test_large_matrices_are_not_cut():
    (stage,) = by_paths(chain(200, states=64)).stages
    assert stage.links is None and len(stage.running) == 199


def test_a_tied_chain_has_one_matrix():
    (stage,) = by_paths(chain(500)).stages
    assert [len(op.index) for op in stage.ops if isinstance(op, PathOp)] == [1, 1]


def test_kinds_of_potentials_with_an_op_of_their_own_begin_paths():
    tree = hgm.Tree.from_factors([((i, i + 1), hgm.Rules((2, 2), [[0, 1], [1, 0]])) for i in range(4)], {0: 2})
    assert by_paths(tree).steps == 8 and len(by_paths(tree).levels) == 5


def test_auto_takes_the_shorter_way():
    """The model's answer is what is faster: measured in tests/bench."""
    for tree, want in (
        (chain(1000), "paths"),
        (hgm.caterpillar(300, 4), "paths"),
        (hgm.hmm(200), "paths"),
        (hgm.ghm([hgm.Level(2, 3)] * 8, 3), "levels"),
        (hgm.ghm([hgm.Level((2, 2), 3)] * 5, 3), "levels"),
        (hgm.star(1000), "levels"),
        (hgm.random_tree(1000, seed=0), "levels"),
    ):
        assert cheaper(tree) == want
        assert hgm.compile(tree).plan.schedule == hgm.compile(tree, schedule="auto").plan.schedule == want
        for schedule in ("levels", "paths"):
            assert hgm.compile(tree, schedule=schedule).plan.schedule == schedule


def test_products_in_logs_are_dear_so_paths_of_many_states_stay_whole():
    """Measured for 1,000 variables of 16 states and 16 rows: 311 ms in 39 segments, 82 whole, 166 by levels."""

    def segments(states, zeros):
        table = np.triu(np.ones((states, states))) if zeros else np.ones((states, states))
        tree = hgm.Tree.from_edges([(i, i + 1, edge) for i, edge in enumerate([hgm.Edge(table)] * 999)])
        assert cheaper(tree) == "paths"
        (stage,) = by_paths(tree).stages
        return len(stage.counts)

    assert segments(16, zeros=False) == segments(2, zeros=True) == segments(2, zeros=False) > 10
    assert segments(16, zeros=True) == 1


# ---------------------------------------------------------------------- networks


def test_a_chain_of_a_hundred_thousand():
    tree = chain(100_000)
    net = hgm.compile(tree, query=[0, 50_000, 99_999], observed=[0])
    e = torch.zeros(2, 3, 1, dtype=torch.float64)
    e[1, 1:] = -torch.inf
    got = net(e, evidence=torch.tensor([[-1], [2]]))
    w = torch.from_numpy(np.exp(tree.potentials[tree.potential_id[tree.parent_factor[5]]].dense_log()))
    power = torch.linalg.matrix_power(w / torch.linalg.eigvals(w).abs().max(), 50_000)
    half = torch.linalg.matrix_power(w / torch.linalg.eigvals(w).abs().max(), 49_999)
    ones = torch.ones(3, dtype=torch.float64)
    middle = (ones @ power) * (half @ ones)
    assert_close(got[0, :, 1], middle / middle.sum(), 1e-9, "the middle")
    assert_close(got[1, :, 0], torch.tensor([0.0, 0, 1], dtype=torch.float64), 1e-12, "the observed end")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strong_tables_and_evidence_along_paths(dtype):
    """Ranges near the safe one, evidence that contradicts, on every variable; and log Z."""
    rng = np.random.default_rng(0)
    tables = [np.exp(rng.uniform(-30, 0, (3, 3))) for _ in range(60)]
    tree = hgm.Tree.from_edges([(i, i + 1, table) for i, table in enumerate(tables)], {0: np.ones(3)})
    net = hgm.compile(tree, query="all", observed="all", schedule="paths")
    e = 40 * torch.randn(6, 3, 61, generator=torch.Generator().manual_seed(0), dtype=dtype)
    post = hgm.infer(tree, e.double())
    p, log_z = net(e, outputs=("posterior", "log_partition"))
    far = {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    assert_close(p, post.marginals, far, "marginals")
    assert_close(log_z, post.log_partition, far, "log Z")


def steep(reach, n=120):
    """A chain whose edges all have one table, by which every two steps the largest message falls by `reach`."""
    step = hgm.Edge([[reach, 1.0], [reach, reach]], name="step")
    return hgm.Tree.from_edges([(i, i + 1, step) for i in range(n)])


def step_of(tree):
    """The logs of that table."""
    (step,) = (potential for potential in tree.potentials if potential.name == "step")
    return torch.from_numpy(step.log_potential.copy())


def test_what_comes_from_both_sides_of_a_path_stays_in_range_together():
    """Ranges of 1e-20 are safe one by one, and not where a message from below meets one from above."""
    tree = steep(1e-20)
    assert {level.kernel for level in by_paths(tree).levels[1:]} == {"log"}
    assert {level.kernel for level in by_paths(steep(1e-12)).levels} == {"linear"}
    net = hgm.compile(tree, query="all", observed=[0], schedule="paths")
    e = torch.tensor([[[0.0], [-3.0]]])
    x = torch.zeros(1, 2, len(tree), dtype=torch.float64)
    x[:, :, tree.leaves] = e.double()
    assert_close(net(e), hgm.infer(tree, x).marginals, 1e-6, "marginals")


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_that_shrink_messages_more_are_scaled_at_every_step(trainable, dtype):
    """Given ones, those of training, and those that were loaded; and what reaches too far is refused."""
    mild, strong = steep(0.4), steep(1e-12)
    assert by_paths(mild).stages[-1].every > 4
    e = torch.tensor([[[0.0], [-3.0]]], dtype=dtype)
    x = torch.zeros(1, 2, len(mild), dtype=torch.float64)
    x[:, :, mild.leaves] = e.double()
    post = hgm.infer(strong, x)
    net = hgm.compile(mild, query="all", schedule="paths", trainable=trainable)
    outputs = ("posterior", "log_partition")
    given = net(e, outputs=outputs, log_potentials={"step": step_of(strong)})
    net.load_state_dict(hgm.compile(strong, query="all", schedule="paths", trainable=trainable).state_dict())
    for p, log_z in (given, net(e, outputs=outputs)):
        assert_close(p, post.marginals, 1e-6, "marginals")
        assert_close(log_z, post.log_partition, 1e-6, "log Z")
    with pytest.raises(hgm.BadPotential, match="range"):
        net(e, log_potentials={"step": step_of(steep(1e-20))})


@pytest.mark.parametrize("name", ["chain", "caterpillar", "hard_zeros", "mixed"])
def test_impossible_evidence_names_its_rows_in_both_schedules(name):
    case = CASES.get(name)
    tree = case.tree if case else chain(6)
    e = random_evidence(tree, 0)
    e[1, :, tree.leaves[0]] = -torch.inf
    for schedule in ("levels", "paths"):
        net = hgm.compile(tree, observed=tree.names, schedule=schedule)
        args, kwargs = feed(net, tree, e)
        with pytest.raises(hgm.ImpossibleEvidence) as error:
            net(*args, **kwargs)
        assert error.value.rows == (1,)


def test_weights_that_leave_the_range_are_an_error():
    net = hgm.compile(chain(40), schedule="paths", trainable=True)
    with torch.no_grad():
        net.engine.weights.log_potential[4] -= 200.0
    with pytest.raises(hgm.BadPotential, match="have left the range"):
        net(torch.zeros(1, 3, 1))


def test_half_precision_and_empty_batches():
    tree = hgm.caterpillar(40, 3)
    net = hgm.compile(tree, schedule="paths")
    e = torch.randn(4, 3, 40)
    for dtype in (torch.bfloat16, torch.float16):
        got = net(e.to(dtype))
        assert got.dtype == dtype
        assert_close(got, net(e.to(dtype).float()), 2 * torch.finfo(dtype).eps, "posterior")
    assert net(e[:0]).shape == (0, 3, 40)


@pytest.mark.parametrize("trainable", [False, True])
def test_torch_compile_of_paths(trainable):
    net = hgm.compile(hgm.caterpillar(30, 3), schedule="paths", trainable=trainable)
    e = torch.randn(3, 3, 30)
    assert_close(torch.compile(net, backend="eager", fullgraph=True)(e), net(e), 1e-6, "posterior")


def test_files_and_programs_of_paths(tmp_path):
    tree = hgm.hmm(60)
    net = hgm.compile(tree, channel=hgm.Clamp())
    assert net.plan.schedule == "paths"
    z = torch.randint(-1, 4, (3, 60), generator=torch.Generator().manual_seed(0))
    hgm.save_network(net, tmp_path / "net.safetensors")
    other = hgm.load_network(tmp_path / "net.safetensors")
    assert other.plan.schedule == "paths" and torch.equal(other(z), net(z))
    assert str(other) == str(net)


@pytest.mark.parametrize("ending", ["pt2", "onnx"])
def test_export_of_paths(tmp_path, ending):
    net = hgm.compile(hgm.caterpillar(12, 3), schedule="paths")
    path = tmp_path / f"net.{ending}"
    hgm.export(net, path)
    for rows in (1, 5):
        e = torch.randn(rows, 3, 12)
        if ending == "pt2":
            got = torch.export.load(path).module()(e)
        else:
            onnxruntime = pytest.importorskip("onnxruntime")
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            got = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: e.numpy()})[0])
        assert_close(got, net(e), 1e-6, "posterior")


def test_learning_along_paths_is_that_by_levels(monkeypatch):
    rows = hgm.infer(hgm.hmm(80, seed=3)).sample(30, generator=torch.Generator().manual_seed(1)).leaves
    learned = []
    for schedule in ("levels", "paths"):
        monkeypatch.setattr("hgm.compiler.schedule.cheaper", lambda *_, schedule=schedule: schedule)
        learned.append(hgm.fit(hgm.hmm(80, seed=4), rows, iterations=4).tree)
    for one, other in zip(*(tree.potentials for tree in learned), strict=True):
        np.testing.assert_allclose(one.log_potential, other.log_potential, atol=1e-9)


# ---------------------------------------------------------------------- what goes wrong


def test_wrong_schedules_say_so():
    tree = chain(20)
    with pytest.raises(hgm.BadSpec, match="no schedule 'path'; did you mean 'paths'"):
        hgm.compile(tree, schedule="path")
    for bad in (3, "", ["paths"]):
        with pytest.raises(hgm.BadSpec, match="there is no schedule"):
            hgm.compile(tree, schedule=bad)
    with pytest.raises(hgm.BadSpec, match="a plan or the name of a schedule, not both"):
        hgm.compile(tree, plan=by_paths(tree), schedule="auto")
    with pytest.raises(hgm.BadSpec, match="the plan is of another tree"):
        hgm.compile(tree, plan=by_paths(chain(21)))
    with pytest.raises(hgm.NoLoweringRule, match="use schedule='levels'"):
        hgm.compile(tree, schedule="paths", activation="relu")
    assert hgm.compile(tree, activation="relu", tol=0.5).plan.schedule == "levels"
    assert torch.equal(
        hgm.compile(tree, plan=by_paths(tree))(torch.zeros(1, 3, 1)),
        hgm.compile(tree, schedule="paths")(torch.zeros(1, 3, 1)),
    )
