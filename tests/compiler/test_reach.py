"""How small messages of a row can get, and that a row's answer does not depend on the kernel that this lets it take."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.trees import rules
from torch.nn.modules.module import register_module_forward_hook

import hgm
from hgm.compiler import split
from hgm.compiler.exact import Exact
from hgm.compiler.numerics import other_products
from hgm.compiler.reach import LIMIT, growth
from hgm.compiler.split import Split
from hgm.testing import assert_close, feed, random_evidence

pytestmark = pytest.mark.broad


def compiled(tree, **options):
    """A network that takes evidence everywhere, and answers for all variables."""
    return hgm.compile(tree, query="all", observed=tree.names, schedule="levels", **options)


def network_input(net, tree, e):
    """Evidence of all variables as the engine has it."""
    (z,), kwargs = feed(net, tree, e)
    return net._input([z], kwargs.get("evidence"))


def fitting(net, tree, e):
    """Which rows run linear."""
    found = net.engine.fitting(network_input(net, tree, e), None)
    return [found] * len(e) if isinstance(found, bool) else found.tolist()


def check(net, tree, e, tolerance=1e-12):
    """All outputs against the reference."""
    want = hgm.infer(tree, e.double())
    args, kwargs = feed(net, tree, e)
    p, logs, log_z = net(*args, **kwargs, outputs=("posterior", "log_posterior", "log_partition"))
    assert_close(p.reshape(want.marginals.shape), want.marginals, tolerance, "posterior")
    assert_close(logs.reshape(want.marginals.shape).exp(), want.marginals, tolerance, "log posterior")
    assert_close(log_z, want.log_partition, tolerance, "log Z")


# ---------------------------------------------------------------------- the bound


def smallest(net, x):
    """``(B,)`` log of the smallest finite entry of any message of each row, relative to its largest."""
    engine = net.engine
    collected = Exact.collect(engine, x)
    kernels = [level.kernel for level in net.plan.levels]
    found = [(m.h, m.kernel) for m in collected.messages]
    top = collected.messages[0].h
    belief = split.Belief(top - torch.logsumexp(top, 0) if kernels[0] == "log" else top / top.sum(0), None)
    for i, (up, skip) in enumerate(zip(engine.decoder, reversed(collected.skips), strict=True)):
        found += [(q, kernels[i]) for q in skip.q.clone().unbind(0)]
        belief = up(belief, skip)
        found.append((belief.r.reshape(belief.b.shape), kernels[i + 1]))
    least = torch.zeros(x.shape[2], dtype=torch.float64)
    for m, kernel in found:
        m = m if kernel == "log" else m.log()
        finite = torch.where(m.isneginf(), torch.inf, m).amin(0) - m.amax(0)
        finite = torch.where(finite.isfinite(), finite, 0.0)
        least = torch.minimum(least, finite.amin(0))
    return least


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_message_is_smaller_than_its_bound(seed):
    """On random trees of sparse tables: all levels run in logs, where nothing is lost, and are looked at."""
    rng = np.random.default_rng(seed)
    tree = sparse_tree(rng, even=True)  # no padding among the messages
    net = compiled(tree)
    if not isinstance(net.engine, Split):
        return
    e = random_evidence(tree, seed % 10**6, decades=float(rng.choice([0, 1, 20, 100]))).double()
    soft = torch.from_numpy(rng.choice([0.1, 10.0]) * rng.normal(size=e.shape))
    for evidence in (e, soft):
        x = network_input(net, tree, evidence)
        x = x if net.engine._mask is None else x + net.engine._mask
        ranges, alive = split.evidence_range(x, net.engine._dead)
        bound = ranges + torch.where(alive, net.engine._soft, net.engine._hard)
        assert bool((smallest(net, x) >= -bound - 1e-6 * (1 + bound)).all())


def sparse_tree(rng, even=False):
    """A random tree whose tables all have zeros: edges, joint tables and rules, priors at some variables."""
    count, factors, states = int(rng.integers(2, 9)), [], {}
    sizes = rng.integers(2, 5, count + 3)
    sizes = np.full_like(sizes, sizes[0]) if even else sizes
    v = 1
    while v < count:
        width = int(rng.integers(1, 3))
        scope = [int(rng.integers(v)), *range(v, v + width)]
        shape = tuple(int(sizes[u]) for u in scope)
        table = 10.0 ** -rng.uniform(0, rng.choice([0.3, 4]), shape) * (rng.random(shape) < 0.6)
        table[(0,) * len(shape)] = table[(1,) * len(shape)] = 1.0
        order = rng.permutation(len(scope))
        table = table.transpose(order)
        given = table
        if rng.random() < 0.5:
            support = np.argwhere(table > 0)
            given, _ = rules(table.shape, support, table[tuple(support.T)])
        factors.append(([f"v{scope[i]}" for i in order], given))
        v += width
    for u in range(v):
        states[f"v{u}"] = int(sizes[u])
        if rng.random() < 0.3:
            factors.append(([f"v{u}"], np.where(np.arange(sizes[u]) < 2, 1.0, 0.0)))
    return hgm.Tree.from_factors(factors, states, roots=[f"v{int(rng.integers(v))}"])


def test_the_bound_is_met():
    """A chain of permutations but for one state that only leads on: evidence against it adds up in every message."""
    tree = chain()
    net = compiled(tree)
    assert growth(tree) == pytest.approx(4 * np.log(2))  # two states lead to the same one
    e = torch.zeros(1, 2, 5, dtype=torch.float64)
    e[:, 1] = -100.0
    x = network_input(net, tree, e)
    assert float(smallest(net, x)) == pytest.approx(-500.0, abs=1.0)


def chain(length=5):
    """State 1 is never left for 0: x_0 in 1 makes all be in 1, whatever evidence says."""
    return hgm.chain(length, transition=np.array([[1.0, 1.0], [0.0, 1.0]]), prior=[0.5, 0.5])


# ---------------------------------------------------------------------- at the border


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("trainable", [False, True])
def test_rows_on_both_sides_of_the_border_in_one_batch(dtype, trainable):
    tree = chain()
    net = compiled(tree, trainable=trainable)
    e = torch.zeros(40, 2, 5, dtype=dtype)
    e[:, 1] = -torch.linspace(1.0, 250.0, 40)[:, None]
    e[::3, 0, 0] = -torch.inf  # only state 1 is left: of every variable, however much speaks against it
    e[1::3, :, 2] = 0.0
    sides = fitting(net, tree, e)
    assert 5 < sum(sides) < 35
    with torch.no_grad():
        check(net, tree, e, 1e-12 if dtype == torch.float64 else 2e-6)


def test_the_bound_is_needed(monkeypatch):
    """If all rows ran linear, whatever their evidence, the answers would be wrong."""
    tree = chain()
    net = compiled(tree)
    e = torch.zeros(2, 2, 5, dtype=torch.float64)
    e[:, 1], e[0, 0, 0] = -200.0, -torch.inf
    check(net, tree, e)
    monkeypatch.setattr(split, "LIMIT", 1e9)
    with pytest.raises((AssertionError, hgm.ImpossibleEvidence)):
        check(net, tree, e)


@pytest.mark.parametrize("seed", range(6))
def test_random_sparse_trees_either_way(seed):
    rng = np.random.default_rng(seed)
    for _ in range(10):
        tree = sparse_tree(rng)
        for trainable in (False, True):
            net = compiled(tree, trainable=trainable)
            e = random_evidence(tree, int(rng.integers(10**6)), decades=float(rng.choice([1, 20, 60]))).double()
            with torch.no_grad():
                check(net, tree, e)


def test_impossible_rows_are_named_whichever_way_they_ran():
    tree = chain()
    net = compiled(tree)
    e = torch.zeros(6, 2, 5, dtype=torch.float64)
    e[::2, 1] = -300.0
    for row in (1, 4):
        e[row, 0, 0], e[row, 1, 4] = -torch.inf, -torch.inf
    args, kwargs = feed(net, tree, e)
    with pytest.raises(hgm.ImpossibleEvidence) as refused:
        net(*args, **kwargs)
    assert sorted(refused.value.rows) == [1, 4]
    args[0][3, 0] = torch.nan
    with pytest.raises(hgm.BadEvidence, match=r"batch rows 3$"):
        net(*args, **kwargs)


# ---------------------------------------------------------------------- gradients


@pytest.mark.parametrize("scale", [1.0, 30.0, 60.0, 100.0])
def test_gradients_do_not_depend_on_the_way(scale):
    tree = chain()
    net = compiled(tree, trainable=True)
    e = torch.zeros(3, 2, 5, dtype=torch.float64)
    e[:, 1], e[1, 0, 0] = -scale, -torch.inf

    def gradients():
        x = e.clone().requires_grad_()
        args, kwargs = feed(net, tree, x)
        logs, log_z = net(*args, **kwargs, outputs=("log_posterior", "log_partition"))
        loss = log_z.sum() + logs[:, :, 1:3].exp().square().sum()
        first = torch.autograd.grad(loss, [x, net.engine.weights.log_potential], create_graph=True)
        return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), x)]

    found = gradients()
    with net.encoder[0].register_forward_hook(lambda *_: None):
        want = gradients()
    assert torch.is_tensor(found[0]) and all(bool(g.isfinite().all()) for g in found)
    for got, expected in zip(found, want, strict=True):
        assert_close(got, expected, 1e-10, "gradients")


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 13])
def test_products_of_the_others(k):
    x = torch.from_numpy(np.random.default_rng(k).normal(size=(k, 3)))
    x[k // 2] = 0.0
    want = torch.stack([torch.cat([x[:i], x[i + 1 :]]).prod(0) for i in range(k)])
    assert_close(other_products(x), want, 1e-14, "products")
    assert torch.autograd.gradcheck(other_products, x.requires_grad_())


# ---------------------------------------------------------------------- weights that change


def test_training_is_followed():
    """Weights that have learned may reach further: rows that ran linear then run in logs."""
    tree = hgm.chain(
        40, transition=np.array([[1.0, 0.9, 0.5], [0.0, 1.0, 0.5], [0.5, 0.0, 1.0]]), prior=[0.2, 0.3, 0.5]
    )
    net = compiled(tree, trainable=True)
    e = random_evidence(tree, 0, decades=1).double()
    with torch.no_grad():
        assert all(fitting(net, tree, e))
        net.engine.weights.log_potential[net.engine.weights.log_potential < -0.6] -= 20.0
        assert not any(fitting(net, tree, e))
        args, kwargs = feed(net, tree, e)
        assert_close(net(*args, **kwargs), hgm.infer(net.tree(), e).marginals, 1e-12, "posterior")


def test_weights_that_are_loaded_are_followed():
    tree, steep = (
        hgm.chain(9, transition=np.array([[1.0, small], [0.0, 1.0]]), prior=[0.5, 0.5]) for small in (0.5, 1e-200)
    )
    net = compiled(tree)
    e = torch.zeros(2, 2, 9, dtype=torch.float64)
    assert all(fitting(net, tree, e))
    net.load_state_dict(compiled(steep).state_dict())
    assert not any(fitting(net, tree, e))
    check(net, steep, e)


def test_given_potentials_are_followed():
    table = torch.tensor([[1.0, 0.5], [0.0, 1.0]], dtype=torch.float64)
    tree = hgm.Tree.from_factors([(["a", "b"], hgm.Table(table.numpy(), name="step")), (["b", "c"], table.numpy())])
    net = hgm.compile(tree, query="all")
    z = torch.zeros(3, 2, len(tree.leaves), dtype=torch.float64)
    for small in (0.3, 1e-300, 0.0):
        given = table.clone()
        given[0, 1] = small
        want = hgm.infer(hgm.Tree.from_factors([(["a", "b"], given.numpy()), (["b", "c"], table.numpy())])).marginals
        got = net(z, log_potentials={"step": given.log()})
        assert_close(got, want.expand_as(got), 1e-12, f"posterior with {small}")


# ---------------------------------------------------------------------- one module


def test_a_network_that_is_watched_runs_as_its_plan_says():
    net = hgm.compile(hgm.rhm(4, 2, 2, 3))
    x = torch.randn(2, 4, 8)
    seen = []
    before = net(x)
    with net.encoder[0].register_forward_hook(lambda _, __, out: seen.append(out[0].kernel)):
        assert_close(net(x), before, 1e-6, "posterior")
    assert seen == ["log"]


def test_a_hook_of_all_modules_watches_too():
    net = hgm.compile(hgm.rhm(4, 2, 2, 3))
    x = torch.randn(2, 4, 8)
    seen, before = [], net(x)
    with register_module_forward_hook(lambda m, _, out: seen.append(out[0].kernel) if m is net.encoder[0] else None):
        assert_close(net(x), before, 1e-6, "posterior")
    assert seen == ["log"]


def test_a_channel_without_soft_evidence_is_exported_linear():
    tree, x = hgm.rhm(4, 2, 2, 3), torch.full((3, 8), -1)
    for channel, logs in ((hgm.Erasure(), False), (hgm.Soft(), True)):
        net = hgm.compile(tree, channel=channel)
        program = torch.export.export(net, (x,))
        calls = Counter(str(node.target) for node in program.graph.nodes)
        assert bool(calls["aten.log.default"]) == logs
        assert_close(program.module()(x), net(x), 1e-12, "posterior")
        assert_close(torch.compile(net, fullgraph=True)(x), net(x), 1e-12, "posterior")
    more = hgm.compile(tree, channel=hgm.Erasure(), observed=["label"] if "label" in tree.names else [tree.names[0]])
    assert more.engine.most == np.inf


def test_it_is_copied_moved_and_saved_with_its_weights_once():
    net = hgm.compile(hgm.rhm(4, 2, 2, 3))
    assert isinstance(net.engine, Split)
    assert list(net.state_dict()) == ["channel.values", "engine.weights.log_potential"]
    x = torch.randn(2, 4, 8)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.deepcopy(net).double()):
        assert torch.equal(other(x), net(x))
    moved = copy.deepcopy(net)
    with torch.no_grad():
        moved.engine.weights.log_potential[0] -= 1.0
    assert_close(moved(x), hgm.compile(moved.tree())(x), 1e-6, "posterior")
    assert not torch.allclose(moved(x), net(x))


def test_bound_is_below_what_float64_holds():
    assert np.exp(-LIMIT) > np.finfo(float).tiny
