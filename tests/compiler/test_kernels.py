"""The choice between the linear and the log kernel: linear only where nothing can underflow or overflow.

Tables are put just inside and just outside the documented bound, with the evidence that is worst for them, and
single-precision results are compared with the reference in double precision.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hgm
from hgm.compiler.levels import by_levels as plan
from hgm.compiler.ranges import SAFE
from hgm.testing import assert_close, feed, random_evidence

pytestmark = pytest.mark.broad

DECADES = -SAFE / np.log(10)  # about 30


def check(tree, e, tolerance=1e-6):
    """Marginals and log Z in both precisions, with evidence allowed at every variable; the plan's kernels."""
    if not isinstance(e, torch.Tensor):
        e = hgm.log_evidence(tree, e)
    net = hgm.compile(tree, query="all", observed=tree.names)
    for dtype, allowed in ((torch.float32, tolerance), (torch.float64, 1e-12)):
        x = e.to(dtype)
        want = hgm.infer(tree, x.double())
        args, kwargs = feed(net, tree, x)
        assert_close(net.log_partition(*args, **kwargs), want.log_partition, allowed, f"log Z in {dtype}")
        got = net(*args, **kwargs).reshape(len(e), -1, len(tree))
        assert_close(got, want.marginals, allowed, f"marginals in {dtype}")
    return [level.kernel for level in net.plan.levels]


def table(small):
    """A matrix with entries 1 and `small`."""
    return np.array([[1.0, small], [small, 1.0]])


# ---------------------------------------------------------------------- the documented bound


@pytest.mark.parametrize("siblings", [1, 2, 7])
@pytest.mark.parametrize(("decades", "kernel"), [(DECADES - 0.5, "linear"), (DECADES + 0.5, "log")])
def test_the_bound_is_on_the_product_over_siblings(siblings, decades, kernel):
    small = 10.0 ** (-decades / siblings)
    tree = hgm.Tree.from_factors([(["r", f"x{i}"], table(small)) for i in range(siblings)], roots=["r"])
    rows = {f"x{i}": [0, 1, i % 2, i % 2, int(i > siblings // 2)] for i in range(siblings)}
    rows["r"] = [1, 1, 0, -1, 1]
    assert check(tree, rows)[0] == kernel


@pytest.mark.parametrize(("decades", "kernel"), [(DECADES - 0.5, "linear"), (DECADES + 0.5, "log")])
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_the_bound_is_met_again_and_again_along_a_path(decades, kernel, levels):
    """Each level is near the bound; evidence at the two ends contradicts itself, and forces the least likely states."""
    step = table(10.0**-decades)
    factors = [([f"n{i}", f"n{i + 1}"], step) for i in range(levels)]
    tree = hgm.Tree.from_factors([*factors, (["n0", "y"], step)], roots=["n0"])
    states = {f"n{i}": [i % 2, -1, 0, i % 2] for i in range(levels + 1)} | {"y": [0, 1, 1, 1]}
    assert f"{kernel}" in check(tree, states)


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
def test_levels_that_are_not_rescaled_stay_in_range(levels):
    """Ten decades at a time: several levels go without rescaling, and evidence makes each as small as it can be."""
    tree = hgm.chain(levels + 1, transition=table(1e-10), prior=[0.5, 0.5])
    kernels = check(tree, {name: [i % 2, (i // 2) % 2, 0] for i, name in enumerate(tree.names)})
    assert set(kernels) == {"linear"}
    tree = hgm.zoo.random_ghm(4, 3, 2, bound=1e3, seed=levels)
    assert {level.kernel for level in plan(tree).levels} == {"linear"}
    leaves = [tree.names[int(v)] for v in tree.leaves]
    check(tree, {name: [i % 3, (i // 2) % 3, (i * 7) % 3, 2] for i, name in enumerate(leaves)})


@pytest.mark.parametrize("decades", [12, 20, 29])
@pytest.mark.parametrize("levels", [2, 3, 4])
def test_messages_that_shrink_level_by_level_are_rescaled_in_time(decades, levels):
    """Tables f(s) g(a): each level takes half of the decades from the largest entry, and all of them from the rest."""
    half = 10.0 ** (-decades / 2)
    step = np.outer([1.0, half], [half, 1.0])
    tree = hgm.chain(levels + 1, transition=step, prior=[0.5, 0.5])
    check(tree, {f"x{levels}": [0, 1, -1]})


@pytest.mark.parametrize("decades", [12, 20, 29])
def test_evidence_meets_messages_that_are_rescaled(decades):
    """A leaf makes all messages above it small alike; soft evidence then takes one state out of range."""
    small = 10.0**-decades
    factors = [(["u", "x"], [[small, 1.0], [small, 1.0]]), (["v", "u"], table(0.5)), (["p", "v"], table(small))]
    tree = hgm.Tree.from_factors(factors, roots=["p"])
    for strength in (1e-10, 1e-16, 1e-25):
        check(tree, {"x": 0, "v": hgm.Likelihood([1.0, strength]), "p": 1})


@pytest.mark.parametrize("states", [2, 30, 200])
def test_levels_that_are_not_rescaled_do_not_grow_out_of_range(states):
    """Messages of many states and near-uniform tables: sums, not products, decide."""
    rng = np.random.default_rng(0)
    tree = hgm.ghm([hgm.Level(3, states, [1 - 0.01 * rng.random((states, states)) for _ in range(3)])] * 4, states)
    check(tree, {"x0": [0, -1]})


@pytest.mark.parametrize(("leaves", "states"), [(20, 10), (60, 10), (1100, 2)])
def test_a_product_of_messages_above_one_does_not_overflow(leaves, states):
    tree = hgm.Tree.from_factors([(["r", f"x{i}"], np.ones((2, states))) for i in range(leaves)], roots=["r"])
    check(tree, {})


def test_a_table_with_a_zero_runs_in_logs_together_with_its_variables():
    zero = np.array([[1.0, 0.0], [0.5, 0.5]])
    tree = hgm.Tree.from_factors(
        [(["a", "b"], table(0.1)), (["b", "c"], zero), (["c", "d"], table(0.1)), (["d", "e"], table(0.1))], roots=["a"]
    )
    assert [level.kernel for level in plan(tree).levels] == ["linear", "log", "log", "linear", "linear"]
    e = hgm.log_evidence(tree, {"a": [[0.3, 0.7]]}).repeat(3, 1, 1)
    e[1, 0, tree.index("e")] = -1e4  # where only a zero's row is left, any small message counts
    e[2, 1, tree.index("d")] = -500.0
    e[2, 0, tree.index("b")] = -torch.inf
    check(tree, e)


@pytest.mark.parametrize("kind", ["full", "sparse"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_rules_run_in_logs_also_if_they_list_every_combination(kind, axes):
    rng = np.random.default_rng(axes)
    states = np.stack(np.unravel_index(np.arange(2**axes), (2,) * axes), 1)
    if kind == "sparse" and axes > 1:
        states = states[1:]
    own = hgm.Rules((2,) * axes, states, rng.random(len(states)) + 0.1)
    names = ["a", "b", "c"][:axes]
    tree = hgm.Tree.from_factors([(names, own), (["a", "x"], table(0.2)), ([names[-1], "y"], table(0.3))], roots=["x"])
    check(tree, random_evidence(tree, 0))
    check(tree.reroot("a"), random_evidence(tree.reroot("a"), 0))


# ---------------------------------------------------------------------- unary potentials


@pytest.mark.parametrize("small", [1e-10, 1e-29, 1e-45, 1e-200, 1e-300])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("where", ["root", "inner", "leaf", "shallow leaf"])
def test_a_small_entry_of_a_prior_counts_where_evidence_leaves_nothing_else(small, zero, where):
    prior = [1.0, small, 0.0 if zero else 0.5]
    rng = np.random.default_rng(0)
    name = {"root": "a", "inner": "b", "leaf": "c", "shallow leaf": "d"}[where]
    tables = [rng.random((3, 3)) + 0.1 for _ in range(3)]
    factors = list(zip([["a", "b"], ["b", "c"], ["a", "d"]], tables, strict=True))
    tree = hgm.Tree.from_factors([*factors, ([name], prior)], roots=["a"])
    check(tree, {name: [1, 0, -1]})


@pytest.mark.parametrize("small", [1e-25, 1e-200])
def test_two_priors_that_leave_only_a_small_entry(small):
    """No evidence at all: the product of two unary factors is `small` squared at the only allowed state."""
    factors = [(["a"], [1.0, small, 0.0]), (["a"], [0.0, small, 1.0]), (["a", "b"], np.full((3, 2), 0.5))]
    check(hgm.Tree.from_factors(factors, roots=["a"]), {})
    check(hgm.Tree.from_factors(factors, roots=["b"]), {"b": [0, 1]})


@pytest.mark.parametrize("deep", [False, True])
def test_a_prior_of_a_leaf_and_its_edge_together(deep):
    """Each is inside the bound, their product is not: the leaf's messages were never rescaled."""
    factors = [(["b"], [1e-29, 1.0]), (["a", "b"], table(1e-20))]
    if deep:
        factors += [(["b", "c"], table(0.5))]
    tree = hgm.Tree.from_factors(factors, roots=["a"])
    check(tree, {"b": [0, 0, 1, -1], "a": [1, -1, 0, 1]})


@pytest.mark.parametrize("small", [1e-10, 1e-50])
def test_log_z_keeps_what_a_prior_takes_from_a_leaf(small):
    """A leaf in logs below a linear layer: its maximum is not 0."""
    tree = hgm.Tree.from_factors([(["b"], [small, 1.0]), (["a", "b"], table(0.5))], roots=["a"])
    check(tree, {"b": [0, 1, -1]})


# ---------------------------------------------------------------------- evidence at inner variables


@pytest.mark.parametrize("decades", [5, 14, 20, 29])
@pytest.mark.parametrize("strength", [1e-10, 1e-30, 1e-38, 1e-46, 1e-60])
def test_soft_evidence_at_an_inner_variable_between_strong_tables(decades, strength):
    """The table above makes up for what the table below and the evidence take: neither may get lost on the way."""
    small = 10.0**-decades
    tree = hgm.Tree.from_factors([(["p", "v"], table(small)), (["v", "x"], table(small)[::-1])], roots=["p"])
    likelihood = hgm.Likelihood([1.0, strength])
    check(tree, {"p": 1, "v": likelihood, "x": 0})
    check(tree, {"p": 0, "v": likelihood, "x": 0})
    check(tree, {"p": hgm.Likelihood([1e-12, 1.0]), "v": likelihood, "x": 0})


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_random_trees_near_the_bound_with_evidence_near_the_limits(seed):
    rng = np.random.default_rng(seed)
    tree = hgm.random_tree(
        int(rng.integers(2, 9)),
        cardinality=(1, 3),
        joint=0.2,
        unary=0.3,
        zeros=float(rng.choice([0.0, 0.2])),
        bound=10.0 ** rng.uniform(0, 16),
        seed=seed % 1000,
    )
    check(tree, random_evidence(tree, seed % 10**6, decades=float(rng.choice([1, 20, 50]))), tolerance=2e-6)


# ---------------------------------------------------------------------- weights that change


def changed(tree, small, trainable, loaded):
    """A network of a tame tree, with the weights of a wild one."""
    tame = tree(0.5)
    net = hgm.compile(tame, query="all", observed=tame.names, trainable=trainable)
    assert {level.kernel for level in net.plan.levels} == {"linear"}
    wild = tree(small)
    flat = torch.cat([torch.from_numpy(p.log_potential.ravel().copy()) for p in wild.potentials])
    if loaded:
        net.load_state_dict({**net.state_dict(), "engine.weights.log_potential": flat})
    else:
        with torch.no_grad():
            net.engine.weights.log_potential.copy_(flat)
    return net, wild


@pytest.mark.parametrize(("trainable", "loaded"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("small", [0.1, 1e-12, 1e-35, 1e-60, 0.0])
def test_weights_that_leave_the_range_of_the_kernel_are_right_or_refused(trainable, loaded, small):
    """The kernels are chosen for the weights at compile time. Others may be given later; never a wrong answer."""

    def tree(entry):
        return hgm.Tree.from_factors([(["a", "b"], table(entry)), (["b", "c"], table(entry))], roots=["a"])

    try:
        net, wild = changed(tree, small, trainable, loaded)
        for dtype in (torch.float32, torch.float64):
            e = hgm.log_evidence(wild, {"a": [0, 1, -1], "b": [-1, 1, 0], "c": [0, 1, 0]}).to(dtype)
            args, kwargs = feed(net, wild, e)
            got = net(*args, **kwargs)
            assert_close(got, hgm.infer(wild, e.double()).marginals, 1e-6, "marginals")
    except hgm.BadPotential:
        assert small < 1e-20


@pytest.mark.parametrize("small", [1e-12, 1e-20, 1e-29])
def test_weights_that_leave_the_range_where_evidence_comes_in_are_right_or_refused(small):
    """Each table alone stays in range; the one above an observed variable and the one below it together do not."""

    def tree(entry):
        return hgm.Tree.from_factors([(["a", "b"], table(entry)), (["b", "c"], table(entry)[::-1])], roots=["a"])

    try:
        net, wild = changed(tree, small, True, False)
        for strength in (1e-10, 1e-25, 1e-46):
            e = hgm.log_evidence(wild, {"a": 1, "b": hgm.Likelihood([1.0, strength]), "c": 0}).float()
            args, kwargs = feed(net, wild, e)
            assert_close(net(*args, **kwargs), hgm.infer(wild, e.double()).marginals, 1e-6, "marginals")
    except hgm.BadPotential:
        assert small < 1e-15


@pytest.mark.parametrize("decades", [[24.0], [20.0, 4.0], [1.0, 13.0, 13.0]])
def test_weights_near_the_bound_may_move_as_far_as_there_is_room(decades):
    """Unequal tables of siblings: half of what is left may be used by all of them at once."""
    tables = [table(10.0**-d) for d in decades]
    tree = hgm.Tree.from_factors([(["r", f"x{i}"], psi) for i, psi in enumerate(tables)], roots=["r"])
    net = hgm.compile(tree, query="all", observed=["r"], trainable=True)
    assert {level.kernel for level in net.plan.levels} == {"linear"}
    room = (DECADES - sum(decades)) * np.log(10) / len(decades) / 2
    with torch.no_grad():
        net.engine.weights.log_potential[net.engine.weights.log_potential < 0] -= room
    e = hgm.log_evidence(tree, {f"x{i}": [0, 1, i % 2] for i in range(len(decades))}).float()
    args, kwargs = feed(net, tree, e)
    assert_close(net(*args, **kwargs), hgm.infer(net.tree(), e.double()).marginals, 1e-6, "marginals")


@pytest.mark.parametrize("way", ["trained", "loaded", "in place"])
def test_messages_are_rescaled_at_every_level_once_weights_have_changed(way):
    """Where that could be skipped was decided for other tables; these shrink a message by 1e-12 at every level."""
    tree = hgm.ghm([hgm.Level(2, 2, [[0.5, 0.5], [0.4, 0.6]])] * 7, root=2)
    strong = tree.with_potentials([hgm.Edge([[1, 1e-6], [1, 2e-6]]) if p.axes == 2 else p for p in tree.potentials])
    net = hgm.compile(tree, query="all", trainable=way == "trained")
    assert sum(level.rescale for level in net.plan.levels) < 3
    new = hgm.compile(strong).state_dict()
    if way == "loaded":
        net.load_state_dict(new)
    else:
        weights = dict(net.named_parameters()) | dict(net.named_buffers())
        with torch.no_grad():
            weights["engine.weights.log_potential"].copy_(new["engine.weights.log_potential"])
    e = torch.zeros(1, 2, 128)
    e[:, 0] = -torch.inf
    x = torch.zeros(1, 2, len(tree))
    x[:, 0, tree.leaves.copy()] = -torch.inf
    assert_close(net(e), hgm.infer(strong, x.double()).marginals, 1e-6, "marginals")
