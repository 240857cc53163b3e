"""The next forward of a shape is replayed: it gives what the stages give, to the last bit."""

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import hgm
from hgm.compiler.exact import Exact
from hgm.errors import BadEvidence, ImpossibleEvidence
from hgm.networks import replay
from hgm.networks.recording import Recording

TREES = {
    "conv": hgm.ghm([hgm.Level(3, 3), hgm.Level(2, 4)], root=2, seed=0),
    "grid": hgm.ghm([hgm.Level((2, 2), 3)] * 2, root=3, seed=0),
    "shared": hgm.broadcast(3, eps=0.1),
    "ragged": hgm.random_tree(40, cardinality=(1, 4), seed=1),
    "priors": hgm.random_tree(30, cardinality=(2, 3), unary=0.6, seed=2),
    "joint": hgm.random_ghm(3, 3, 2, seed=0),
    "star": hgm.star(11, 3, seed=0),
    "crowded": hgm.star(50, 2, seed=0),
    "zeros": hgm.Tree.from_edges([(i, i + 1, [[1.0, 0.0], [0.2, 1.0]]) for i in range(20)]),
    "chain": hgm.chain(30, 3, seed=0),
    "single": hgm.Tree.from_edges([], {"a": [0.2, 0.8]}),
    "forest": hgm.Tree.from_edges(
        [("a", "b", [[0.5, 0.5], [0.1, 0.9]]), ("c", "d", [[0.2, 0.8, 0.1]] * 3), ("d", "e", [[0.3, 0.2]] * 3)]
    ),
}
OUTPUTS = [("posterior",), ("log_posterior", "log_partition"), ("leave_one_out", "posterior"), ("log_partition",)]
trees = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """The recordings that were made, and how often each was replayed."""
    counts: dict[Recording, int] = {}
    call = Recording.__call__

    def counted(self, x):
        counts[self] = counts.get(self, 0) + 1
        return call(self, x)

    monkeypatch.setattr(Recording, "__call__", counted)
    return counts


def evidence(tree, rows=5, seed=0, dtype=torch.float32):
    card = torch.tensor(tree.cardinality[tree.leaves])
    e = 3 * torch.randn(rows, int(card.max()), len(card), generator=torch.Generator().manual_seed(seed))
    e = e.masked_fill(torch.arange(e.shape[1])[:, None] >= card, 0.0).to(dtype)
    return e.view(rows, -1, *tree.leaf_shape)


def plain(net, e, **options):
    """Without a recording: a copy has none."""
    return copy.deepcopy(net)(e, **options)


@trees
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("schedule", ["levels", "paths"])
def test_it_is_what_the_stages_give_to_the_last_bit(tree, dtype, schedule, made):
    net = hgm.compile(tree, query="all", observed="all" if tree is TREES["priors"] else (), schedule=schedule)
    if tree is TREES["priors"]:
        xs = [torch.randn(5, 3, len(tree), dtype=torch.float32).to(dtype) for _ in range(4)]
        card = torch.tensor(tree.cardinality)
        xs = [x.masked_fill(torch.arange(3)[:, None] >= card, 0.0) for x in xs]
    else:
        xs = [evidence(tree, seed=i, dtype=dtype) for i in range(4)]
    for outputs in OUTPUTS:
        before = sum(made.values())
        for x in xs:
            for got, want in zip(net(x, outputs=outputs), plain(net, x, outputs=outputs), strict=True):
                assert torch.equal(got, want) and got.dtype == want.dtype
        replays = 3 if type(net.engine) is Exact else 0  # the first of its kind is not
        assert sum(made.values()) == before + replays


def test_answers_are_tensors_of_their_own(made):
    tree = TREES["conv"]
    net = hgm.compile(tree, query="all")
    net(evidence(tree))
    x = evidence(tree, seed=1)
    kept, first = x.clone(), net(x)
    was = first.clone()
    first_again = net(x)
    first_again.zero_()
    net(evidence(tree, seed=2))
    assert torch.equal(first, was) and torch.equal(x, kept) and torch.equal(net(x), was)
    assert sum(made.values()) == 4


def test_impossible_and_broken_evidence_are_errors_as_before(made):
    tree = TREES["conv"]
    net = hgm.compile(tree)
    for seed in range(2):
        net(evidence(tree, seed=seed))
    impossible, broken = evidence(tree), evidence(tree)
    impossible[3], broken[1, 0, 0] = -torch.inf, torch.nan
    with pytest.raises(ImpossibleEvidence) as error:
        net(impossible)
    assert tuple(error.value.rows) == (3,)
    with pytest.raises(BadEvidence, match="row"):
        net(broken)
    net(impossible, check="later")
    with pytest.raises(ImpossibleEvidence):
        net.throw()
    assert bool(net(impossible, check=False)[3].isnan().all())
    assert sum(made.values()) == 5


def test_weights_that_change_are_taken_up(made):
    tree = TREES["conv"]
    net, x = hgm.compile(tree), evidence(tree)
    for _ in range(3):
        before = net(x)
    other = tree.with_potentials([p.with_log(p.log_potential[..., ::-1] * 0.5) for p in tree.potentials])
    net.load_state_dict(hgm.compile(other).state_dict())
    for _ in range(3):
        after = net(x)
        torch.testing.assert_close(after, hgm.compile(other)(x))
    assert float((after - before).abs().max()) > 1e-3
    with torch.no_grad():
        net.engine.weights.log_potential.mul_(0.5)
    for _ in range(3):
        assert float((net(x) - after).abs().max()) > 1e-3


def test_hooks_gradients_and_transforms_see_the_stages(made):
    tree = TREES["conv"]
    net, x = hgm.compile(tree), evidence(tree)
    for _ in range(3):
        want = net(x)
    seen, count = [], sum(made.values())
    handle = net.encoder[0].register_forward_hook(lambda *_: seen.append(1))
    assert torch.equal(net(x), want) and seen == [1]
    handle.remove()
    y = x.clone().requires_grad_()
    net(y).square().sum().backward()
    assert y.grad is not None and sum(made.values()) == count
    torch.testing.assert_close(torch.func.vmap(lambda row: net(row[None])[0])(x), want)
    learns = hgm.compile(tree, trainable=True)
    for _ in range(3):
        learns(x)
    assert sum(made.values()) == count
    with torch.inference_mode():
        answer = net(x)
    assert answer.is_inference() and sum(made.values()) == count + 1 and torch.equal(net(x), want)


class Doubled(torch.nn.Module):
    """A stage that counts its message's first state twice."""

    def __init__(self, stage):
        super().__init__()
        self.stage = stage

    def forward(self, message, own, scaled):
        above, taken, skip = self.stage(message, own, scaled)
        above.h[0] *= 2
        return above, taken, skip


def test_a_stage_in_the_place_of_another_is_the_one_that_runs(made):
    tree = TREES["conv"]
    net, x = hgm.compile(tree, query="label"), evidence(tree)
    for _ in range(3):
        before = net(x)
    net.encoder[-1] = Doubled(net.encoder[-1])
    for _ in range(3):
        after = net(x)
        torch.testing.assert_close(after[:, 0] / after[:, 1], 2 * before[:, 0] / before[:, 1])
    assert sum(made.values()) == 2


def test_an_engine_in_the_place_of_another_is_the_one_that_runs(made):
    tree = TREES["conv"]
    other = hgm.compile(tree.with_potentials([p.with_log(p.log_potential * 0.5) for p in tree.potentials]))
    net, x = hgm.compile(tree), evidence(tree)
    for _ in range(3):
        net(x)
    net.engine = other.engine
    for _ in range(3):
        assert torch.equal(net(x), plain(other, x))
    assert sum(made.values()) == 4


def test_who_watches_functions_of_torch_sees_them(made):
    class Watch(torch.overrides.TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen += func is torch.bmm or func is torch.matmul
            return func(*args, **(kwargs or {}))

    tree = TREES["conv"]
    net, x = hgm.compile(tree), evidence(tree)
    counts = []
    for _ in range(3):
        with Watch() as watch:
            net(x)
        counts.append(watch.seen)
    assert counts[0] > 0 and len(set(counts)) == 1 and not made


def test_large_batches_are_not_recorded(made, monkeypatch):
    monkeypatch.setattr(replay, "MOST", 100)
    tree = TREES["conv"]
    net = hgm.compile(tree)
    for _ in range(3):
        net(evidence(tree))
    assert not made


def test_copies_begin_anew_and_threads_do_not_share(made):
    tree = TREES["grid"]
    net, xs = hgm.compile(tree), [evidence(tree, seed=i) for i in range(8)]
    want = [plain(net, x) for x in xs]
    for x in xs[:3]:
        net(x)
    assert torch.equal(pickle.loads(pickle.dumps(net))(xs[0]), want[0])
    wrong = []

    def run(i):
        wrong.extend(i for _ in range(50) if not torch.equal(net(xs[i]), want[i]))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_recording_is_the_function():
    """Also with views, lists, results that are read later, constants that are overwritten, and its own argument."""
    constant = torch.arange(6.0).view(2, 3)

    def function(x):
        total = torch.zeros(2, 3).add_(x).add_(constant)  # must be zero anew each time
        both = torch.cat([x, total], 1).t()
        top, _ = both[:3] * 2, both.exp()
        top += 1
        again = top.reshape(-1).view(3, 2)
        return again[1:], top.t() * total, total, x, torch.full((2,), 3.0), again.sum()

    recording = Recording(function, torch.zeros(2, 3))
    for seed in range(3):
        x = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32))
        for got, want in zip(recording(x), function(x), strict=True):
            assert torch.equal(got, want)


def test_rows_of_a_larger_batch_are_their_own():
    """Their memory does not begin where that of the recorded ones did."""
    tree = TREES["single"]
    net, x = hgm.compile(tree), torch.randn(6, 2, 1, generator=torch.Generator().manual_seed(0))
    want = net(x)
    for row in range(6):
        assert torch.equal(net(x[row : row + 1]), want[row : row + 1])


def test_a_recording_imports_no_compiler():
    """That would make the second forward of a process last for seconds."""
    lines = (
        "import sys, torch, hgm",
        "net, x = hgm.compile(hgm.chain(9, 2, seed=0)), torch.randn(1, 2, 1)",
        "net(x)",
        "before = set(sys.modules)",
        "net(x), net(x)",
        "assert net.replay._state.kept and set(sys.modules) == before, len(set(sys.modules) - before)",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


class Turned(hgm.Channel):
    """Log evidence as it lies in memory, whatever that is."""

    def positions(self, z):
        return tuple(z.shape[2:])

    def states_first(self, z, *noise):
        return z.permute(1, 2, 0)


LAID = {
    "apart": lambda z: z[::2, :, ::2],
    "once": lambda z: z[:1, :, :11].expand(5, -1, -1),
    "negative": lambda z: torch.complex(z, z)[:5, :, :11].permute(1, 2, 0).clone().conj().imag.permute(2, 0, 1),
}


@pytest.mark.parametrize("lay", LAID.values(), ids=LAID)
def test_evidence_that_lies_otherwise_in_memory_is_read_as_it_lies(lay):
    net, draw = hgm.compile(hgm.star(11, 3, seed=0), channel=Turned()), torch.Generator().manual_seed(0)
    for _ in range(4):
        z = lay(torch.randn(10, 3, 22, generator=draw))
        torch.testing.assert_close(net(z), plain(net, z.clone()))


@pytest.mark.parametrize("method", ["collect", "forward"])
def test_a_method_in_the_place_of_another_is_the_one_that_runs(method, made):
    tree = TREES["conv"]
    net, x = hgm.compile(tree, query="label"), evidence(tree)
    for _ in range(3):
        before = net(x)
    stage = net.encoder[-1]
    own = getattr(stage, method)

    def doubled(*given):
        above, *rest = own(*given)
        above.h[0] *= 2
        return above, *rest

    setattr(stage, method, doubled)
    for _ in range(3):
        after = net(x)
        torch.testing.assert_close(after[:, 0] / after[:, 1], 2 * before[:, 0] / before[:, 1])
    assert sum(made.values()) == 2
    delattr(stage, method)
    for _ in range(3):
        assert torch.equal(net(x), before)
    assert sum(made.values()) == 4


def test_kinds_that_take_turns_are_each_recorded_once(made):
    tree = TREES["conv"]
    net, x = hgm.compile(tree), evidence(tree)
    for _ in range(6):
        net(x), net(x[:2]), net(x, outputs="log_partition")
    assert sorted(made.values()) == [5, 5, 5]


def test_many_kinds_leave_few_recordings_and_are_seldom_recorded(made):
    tree = TREES["conv"]
    net = hgm.compile(tree)
    for _ in range(30):
        for rows in range(1, 10):
            net(evidence(tree, rows)), net(evidence(tree, rows))
    assert len(net.replay._state.kept) == replay.KEPT and len(made) < 12
    for rows in range(1, 200):
        net(evidence(tree, rows))
    assert len(net.replay._state.times) <= replay.COUNTED


def test_what_another_thread_recorded_for_weights_that_were_is_not_used():
    tree = TREES["conv"]
    net, x = hgm.compile(tree), evidence(tree)
    for _ in range(3):
        net(x)
    (recording,) = net.replay._state.kept.values()
    own = recording._bound[0]

    def meanwhile(*args, **kwargs):
        recording._bound[0] = own
        with torch.no_grad():
            net.engine.weights.log_potential.mul_(0.5)
        thread = threading.Thread(target=lambda: [net(x) for _ in range(2)])
        thread.start()
        thread.join()
        return own.function(*args, **kwargs)

    recording._bound[0] = own._replace(function=meanwhile)
    net(x)
    for _ in range(3):
        torch.testing.assert_close(net(x), hgm.compile(net.tree())(x))


def test_a_recording_that_is_broken_off_leaves_nothing(made, monkeypatch):
    tree = TREES["conv"]
    net, xs = hgm.compile(tree), [evidence(tree, seed=i) for i in range(3)]
    net(xs[0])

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(net.engine), "log_mass", stop)
        with pytest.raises(KeyboardInterrupt):
            net(xs[0])
    for x in xs:
        assert torch.equal(net(x), plain(net, x))
    (recording,) = net.replay._state.kept.values()
    last = recording._bound[-1]
    recording._bound[-1] = last._replace(function=stop)
    with pytest.raises(KeyboardInterrupt):
        net(xs[0])
    recording._bound[-1] = last
    count = sum(made.values())
    for x in xs:
        assert torch.equal(net(x), plain(net, x))
    assert sum(made.values()) == count + 3
