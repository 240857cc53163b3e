"""Many rows, and only the root is asked for: a walk gives what the reference gives, and what the stages give."""

import copy
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import hgm
from hgm.compiler import tables, walk
from hgm.errors import BadEvidence, ImpossibleEvidence
from hgm.evidence.coded import Coded
from hgm.testing import assert_close

ROWS = 37

#: what a walk takes, one tree for each kind of stage and oddity
TREES = {
    "conv": hgm.ghm([hgm.Level(3, 3), hgm.Level(2, 4)], root=2, seed=0),
    "grid": hgm.ghm([hgm.Level((2, 2), 3)] * 2, root=3, seed=0),
    "shared": hgm.broadcast(3, eps=0.1),
    "ragged": hgm.random_tree(40, cardinality=(1, 4), seed=1),
    "priors": hgm.random_tree(30, cardinality=(2, 3), unary=0.6, seed=2),
    "caterpillar": hgm.caterpillar(12, 3, seed=0),
    "star": hgm.star(11, 3, seed=0),
    "forest": hgm.Tree.from_edges(
        [("a", "b", [[0.5, 0.5], [0.1, 0.9]]), ("c", "d", [[0.2, 0.8, 0.1]] * 3), ("d", "e", [[0.3, 0.2]] * 3)]
    ),
    "single": hgm.Tree.from_edges([], {"a": [0.2, 0.8]}),
    "zero prior": hgm.Tree.from_edges([("a", "b", [[0.5, 0.5], [0.1, 0.9]])], {"a": [0.0, 1.0], "b": [1e-3, 0.0]}),
}
trees = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)


@pytest.fixture(autouse=True)
def walked(monkeypatch):
    """However few rows there are; and which walks were made."""
    monkeypatch.setattr(walk, "FEWEST", 1)
    made = []
    call = walk.Walk.__call__
    monkeypatch.setattr(walk.Walk, "__call__", lambda self, e: made.append(type(e)) or call(self, e))
    return made


def symbols(tree, rows=ROWS, seed=0, holes=True):
    """Possible symbols of the leaves, some of them missing."""
    generator = torch.Generator().manual_seed(seed)
    x = hgm.infer(tree).sample(rows, generator=generator).states[:, tree.leaves.copy()]
    hole = torch.rand(x.shape, generator=generator) < 0.3
    return torch.where(hole & holes, -1, x).view(rows, *tree.leaf_shape)


def logs(tree, rows=ROWS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    card = torch.tensor(tree.cardinality[tree.leaves])
    e = 3 * torch.randn(rows, int(card.max()), len(card), generator=generator, dtype=torch.float64)
    return e.view(*e.shape[:2], *tree.leaf_shape)


def reference(tree, e):
    """Log Z and the posterior of the first root, from log evidence of the leaves ``(B, S, *leaf shape)``."""
    full = torch.zeros(len(e), int(tree.cardinality.max()), len(tree), dtype=torch.float64)
    full[:, : e.shape[1], tree.leaves.copy()] = e.flatten(2).double()
    full.masked_fill_(torch.arange(full.shape[1])[:, None] >= torch.tensor(tree.cardinality), -torch.inf)
    posterior = hgm.infer(tree, full)
    return posterior.log_partition, posterior.marginals[:, : tree.cardinality[0], 0]


@trees
@pytest.mark.parametrize("columns", [1, 20, 640])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("most", [1 << 16, 25])
def test_symbols_give_what_the_reference_gives(tree, columns, dtype, most, walked, monkeypatch):
    monkeypatch.setattr(tables, "COLUMNS", columns)
    monkeypatch.setattr(walk, "MOST", most)
    z = symbols(tree)
    log_z, root = reference(tree, hgm.compile(tree).channel(z).double())
    net = hgm.compile(tree, task="classify").to(dtype)
    tol = 1e-12 if dtype == torch.float64 else 2e-6
    assert_close(net.log_partition(z), log_z, tol, "log Z")
    assert_close(net(z), root, tol, "the root")
    assert len(walked) == 2 and net(z).dtype == dtype
    both = hgm.compile(tree, query="all").to(dtype)
    assert_close(both.log_partition(z.to(torch.int8)), log_z, tol, "log Z of a U-Net")
    assert len(walked) == 4


@trees
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_logs_give_what_the_reference_gives(tree, dtype, walked):
    e = logs(tree)
    log_z, root = reference(tree, e)
    net = hgm.compile(tree, task="classify")
    tol = 1e-12 if dtype == torch.float64 else 5e-6
    got, answer = net(e.to(dtype), outputs=("log_partition", "posterior"))
    assert_close(got, log_z, tol, "log Z")
    assert_close(answer, root, tol, "the root")
    regular = all(type(stage) is walk.Regular for stage in net.encoder)
    assert len(walked) == (not regular)


CHANNELS = {
    "clamp": (hgm.Clamp(), ()),
    "erasure": (hgm.Erasure(), ()),
    "flip": (hgm.Flip(), (0.2,)),
    "flip, float64": (hgm.Flip(), (torch.tensor(0.2, dtype=torch.float64),)),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_of_symbols_are_tables(name, walked):
    channel, noise = CHANNELS[name]
    tree = TREES["ragged"] if not noise else TREES["caterpillar"]
    net = hgm.compile(tree, channel=channel, task="classify")
    z = symbols(tree)
    log_z, root = reference(tree, net.channel(z, *noise))
    assert_close(net.log_partition(z, *noise), log_z, 1e-5, "log Z")
    assert_close(net(z, *noise), root, 2e-6, "the root")
    assert walked == [Coded, Coded]
    assert net(z, *noise).dtype == (torch.float64 if "float64" in name else torch.float32)


@pytest.mark.parametrize("noise", [torch.rand(ROWS), torch.rand(ROWS, 12)], ids=["by row", "by position"])
def test_noise_that_differs_is_walked_as_logs(noise, walked):
    tree = TREES["caterpillar"]
    net = hgm.compile(tree, channel=hgm.Flip())
    z = symbols(tree)
    assert_close(net.log_partition(z, noise), reference(tree, net.channel(z, noise))[0], 1e-5, "log Z")
    assert walked == [torch.Tensor]


@pytest.mark.parametrize("form", ["symbols", "logs"])
def test_chains_that_are_observed_everywhere(form, walked):
    chain = hgm.chain(30, states=4)
    net = hgm.compile(chain, observed="all").double()
    z = torch.randint(-1, 4, (ROWS, 30), generator=torch.Generator().manual_seed(0))
    e = net.channel(z).double()
    want = hgm.infer(chain, e).log_partition
    assert_close(net.log_partition(z if form == "symbols" else e), want, 1e-12, "log Z")
    assert len(walked) == (form == "symbols" or not all(type(s) is walk.Regular for s in net.encoder))


def test_evidence_at_inner_variables_is_walked_as_logs(walked):
    tree = TREES["ragged"]
    inner = [tree.names[int(v)] for v in np.flatnonzero(tree.inner)[:3]]
    net = hgm.compile(tree, observed=inner).double()
    z = symbols(tree)
    more = torch.full((1, 3), -1)
    more[0, 0] = 0
    got = net.log_partition(z, evidence=more)
    hooked = hgm.compile(tree, observed=inner).double()
    hooked.encoder[0].register_forward_hook(lambda *_: None)
    assert_close(got, hooked.log_partition(z, evidence=more), 1e-12, "log Z")
    assert walked == [torch.Tensor]


def test_a_root_that_is_a_leaf(walked):
    tree = TREES["ragged"]
    name = tree.names[int(tree.leaves[-1])]
    z = symbols(tree)
    net = hgm.compile(tree, task="classify", query=name).double()
    v = int(tree.leaves[-1])
    full = torch.zeros(ROWS, 4, len(tree), dtype=torch.float64)
    full[:, :, tree.leaves.copy()] = net.channel(z).double()
    full.masked_fill_(torch.arange(4)[:, None] >= torch.tensor(tree.cardinality), -torch.inf)
    assert_close(net(z), hgm.infer(tree, full).marginals[:, : tree.cardinality[v], v], 1e-12, "the leaf")
    assert len(walked) == 1


def test_what_a_walk_is_not_for(walked):
    tree = TREES["ragged"]
    z, e = symbols(tree), logs(tree)
    for made in (
        hgm.compile(tree, trainable=True),
        hgm.compile(hgm.random_tree(40, cardinality=(2, 4), joint=0.5, seed=1)),
        hgm.compile(hgm.random_tree(40, cardinality=(2, 4), zeros=0.3, seed=1)),
        hgm.compile(hgm.random_tree(40, bound=1e40, seed=1)),
        hgm.compile(tree, activation="relu", tol=0.5, floor=20, task="classify"),
    ):
        answer = made.log_partition if made.certificate is None else made
        answer(logs(made.plan.tree))
    net = hgm.compile(tree)
    net(z), net(z, outputs=("posterior", "log_partition"))
    net.log_partition(e.requires_grad_()).sum().backward()
    torch.func.vmap(lambda row: net.log_partition(row[None]))(e.detach())
    net.log_partition(e.detach(), log_potentials={})
    seen = []
    net.encoder[0].register_forward_hook(lambda *_: seen.append(1))
    net.log_partition(z)
    assert seen and len(walked) == 1


def test_few_rows_are_left_to_the_stages(walked, monkeypatch):
    net = hgm.compile(TREES["ragged"])
    monkeypatch.setattr(walk, "FEWEST", 4 * ROWS + 1)
    net.log_partition(symbols(TREES["ragged"]))
    assert not walked
    monkeypatch.setattr(walk, "FEWEST", 4 * ROWS)
    net.log_partition(symbols(TREES["ragged"]))
    assert len(walked) == 1


@pytest.mark.parametrize("form", ["symbols", "logs"])
def test_impossible_rows_are_named(form, walked):
    tree = TREES["zero prior"]
    net = hgm.compile(tree, task="classify")
    z = torch.zeros(ROWS, 1, dtype=torch.long)
    z[[3, 20, 36]] = 1
    z[5] = -1
    with pytest.raises(ImpossibleEvidence) as error:
        net(z if form == "symbols" else net.channel(z))
    assert error.value.rows == (3, 20, 36)


def test_bad_evidence_is_refused_as_ever(walked):
    tree = TREES["ragged"]
    net = hgm.compile(tree)
    few, e = hgm.compile(tree), logs(tree)
    few.encoder[0].register_forward_hook(lambda *_: None)
    e[7, 0, 0] = torch.nan
    wide = symbols(tree)
    wide[4, int(np.argmin(tree.cardinality[tree.leaves]))] = 3
    for wrong in (e, symbols(tree) + 9, symbols(tree) - 5, wide, symbols(tree)[:, 1:], symbols(tree) > 0, wide[0]):
        with pytest.raises(BadEvidence) as want:
            few.log_partition(wrong)
        with pytest.raises(BadEvidence) as got:
            net.log_partition(wrong)
        assert str(got.value) == str(want.value)
    assert net.log_partition(symbols(tree)[:0]).shape == (0,)
    assert_close(net.log_partition(symbols(tree).numpy()), few.log_partition(symbols(tree)), 1e-5, "NumPy")


def test_what_was_put_in_the_place_of_a_part_is_what_runs(walked):
    tree = TREES["ragged"]
    z, net = symbols(tree), hgm.compile(tree)
    other = hgm.compile(tree.with_potentials([p.with_log(0.5 * p.log_potential) for p in tree.potentials]))
    before = net.log_partition(z)
    stage, seen = net.encoder[0], []
    own = stage.collect
    stage.collect = lambda *given: seen.append(1) or own(*given)
    assert_close(net.log_partition(z), before, 1e-5, "a method")
    del stage.collect
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: seen.append(2))
    net.log_partition(z)
    handle.remove()
    assert set(seen) == {1, 2} and len(walked) == 1
    net.engine = other.engine
    assert_close(net.log_partition(z), other.log_partition(z), 1e-5, "an engine")
    assert len(walked) == 3


@pytest.mark.parametrize("change", ["load", "in place", "double", "deepcopy", "pickle"])
def test_the_weights_of_today_are_walked(change, walked):
    tree, z = TREES["ragged"], symbols(TREES["ragged"])
    other = hgm.random_tree(40, cardinality=(1, 4), seed=1)
    other = other.with_potentials([type(p)(np.exp(0.5 * p.dense_log())) for p in other.potentials])
    net, want = hgm.compile(tree).double(), hgm.compile(other).double().log_partition(z)
    before = net.log_partition(z)
    if change == "load":
        net.load_state_dict(hgm.compile(other).double().state_dict())
    elif change == "in place":
        net.engine.weights.log_potential.mul_(0.5)
    else:
        again = {"double": net.double, "deepcopy": lambda: copy.deepcopy(net), "pickle": lambda: _pickled(net)}
        net, want = again[change](), before
    assert_close(net.log_partition(z), want, 1e-12, f"{change}, at once")  # the stages take note of it
    walked.clear()
    assert_close(net.log_partition(z), want, 1e-12, change)
    assert len(walked) == 1


def test_weights_that_were_loaded_are_rescaled_everywhere(walked):
    """Flat tables need no rescaling; those that are loaded do."""

    def caterpillar(low):
        step = np.eye(3) * (1 - low) + low
        edges = [(f"s{i}", f"s{i + 1}", step) for i in range(150)]
        return hgm.Tree.from_edges(edges + [(f"s{i}", f"x{i}", step) for i in range(151)])

    net, tree = hgm.compile(caterpillar(1.0)), caterpillar(1e-4)
    z = torch.randint(0, 3, (ROWS, 151), generator=torch.Generator().manual_seed(0))
    net.load_state_dict(hgm.compile(tree).state_dict())
    assert_close(net.log_partition(z), reference(tree, net.channel(z))[0], 1e-5, "log Z")
    assert walked == [Coded]


def test_a_symbol_that_a_prior_forbids_is_no_scale(walked):
    """The largest evidence that counts is 1e-44: float32 holds it, but not 0.3 of it."""
    tree = hgm.Tree.from_edges([("a", "b", [[1.0, 0.1, 0.1], [0.1, 1.0, 0.1]])], {"b": [1.0, 0.3, 0.0]})
    net = hgm.compile(tree, channel=hgm.Flip(), task="classify")
    z = torch.full((ROWS, 1), 2)
    assert_close(net(z, 1e-44), reference(tree, net.channel(z, 1e-44))[1], 1e-5, "the root")
    assert walked == [Coded]


@pytest.mark.parametrize("tree", ["low", "high"])
def test_messages_are_rescaled_before_they_underflow_or_overflow(tree, walked):
    """Without it, both would be far out of what float32 holds."""
    rng = np.random.default_rng(0)
    if tree == "low":
        step, seen = (np.eye(3) + rng.uniform(1e-5, 2e-5, (3, 3)) for _ in range(2))
        edges = [(f"s{i}", f"s{i + 1}", step) for i in range(150)]
        edges += [(f"s{i}", f"x{i}", seen) for i in range(151)]
    else:
        edges = [("r", "y", np.ones((8, 8))), *(("r", f"m{i}", np.ones((8, 8))) for i in range(20))]
        edges += [(f"m{i}", f"x{i}_{j}", np.ones((8, 8))) for i in range(20) for j in range(20)]
    tree = hgm.Tree.from_edges(edges)
    z = torch.randint(-1, 3, (ROWS, len(tree.leaves)), generator=torch.Generator().manual_seed(0))
    net = hgm.compile(tree, task="classify")
    log_z, root = reference(tree, net.channel(z))
    for given in (z, net.channel(z)):
        assert_close(net.log_partition(given), log_z, 1e-5, "log Z")
        assert_close(net(given), root, 1e-5, "the root")
    assert len(walked) == 4


def _pickled(net):
    return pickle.loads(pickle.dumps(net))


class Peak(TorchDispatchMode):
    """The most bytes that tensors held at once which were made while this was on."""

    def __init__(self):
        super().__init__()
        self.live = self.most = 0
        self.known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() not in given:
                size = x.untyped_storage().nbytes()
                self.live += size
                self.most = max(self.most, self.live)
                weakref.finalize(x, self.free, size)
        return out

    def free(self, size):
        self.live -= size


def test_few_messages_are_alive_also_below_a_variable_of_many_children(monkeypatch):
    monkeypatch.setattr(tables, "COLUMNS", 1)
    rng = np.random.default_rng(0)
    edges = [("r", f"m{i}", rng.uniform(0.8, 1, (2, 2))) for i in range(60)]
    edges += [(f"m{i}", f"x{i}{j}", rng.uniform(0.5, 1, (2, 2))) for i in range(60) for j in "ab"]
    net = hgm.compile(hgm.Tree.from_edges(edges))
    z = torch.zeros(walk.MOST // 2, 120, dtype=torch.int16)
    net.log_partition(z[:100])
    with Peak() as peak:
        net.log_partition(z)
    assert peak.most < z.nbytes + 20 * 4 * walk.MOST, (
        f"{peak.most} bytes"
    )  # the codes, and fewer messages than children


@pytest.mark.parametrize("form", ["symbols", "logs"])
def test_memory_does_not_grow_with_rows_times_variables(form, monkeypatch):
    monkeypatch.setattr(walk, "EVIDENCE", 1 << 16)
    tree = hgm.random_tree(400, cardinality=(3, 3), seed=0)
    net = hgm.compile(tree)
    peaks = []
    for rows in (2000, 8000):
        z = symbols(tree, 500).repeat(rows // 500, 1)
        z = z if form == "symbols" else net.channel(z).contiguous()
        net.log_partition(z[:200])
        with Peak() as peak:
            net.log_partition(z)
        peaks.append(peak.most)
    assert peaks[1] - peaks[0] < 6000 * 64, f"{peaks} bytes"  # what is returned, and on its way there
    assert peaks[0] < 2 << 20


@pytest.mark.parametrize("check", ["later", False])
def test_who_may_not_look_does_not_walk(check, walked):
    """A walk looks at its roots."""
    net, z = hgm.compile(TREES["ragged"]), symbols(TREES["ragged"])
    unseen = net.log_partition(z, check=check)
    assert not walked
    torch.testing.assert_close(net.log_partition(z), unseen)
    assert walked
