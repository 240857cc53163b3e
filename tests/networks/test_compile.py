"""Compiled networks against the three oracles: enumeration, the reference inference, and calculus.

Every canonical tree, evidence of every kind, every task; random trees; and large trees and extreme numbers on which
careless arithmetic goes wrong without a word. What a network does as a module of torch is in test_module.py.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.enumeration import sum_product
from oracles.trees import CASES, KINDS, draw_evidence, random_cases

import hgm
from hgm.testing import assert_close, expected_counts, feed, random_evidence
from hgm.tree.flat import flatten

pytestmark = [pytest.mark.broad, pytest.mark.usefixtures("schedule")]

EXACT, SINGLE = 1e-12, 1e-6

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
kinds = pytest.mark.parametrize("kind", KINDS)


def marginals(tree, e, **options):
    """``(B, S, V)`` of all variables, from the network."""
    net = hgm.compile(tree, query="all", observed=tree.names, **options)
    args, kwargs = feed(net, tree, e)
    return net(*args, **kwargs).reshape(len(e), -1, len(tree))


def log_partition(tree, e, task="posterior", **options):
    net = hgm.compile(tree, task, observed=tree.names, **options)
    args, kwargs = feed(net, tree, e)
    return net.log_partition(*args, **kwargs)


def padded(case, joints, names, states=None):
    """``(B, S, n)`` marginals by enumeration."""
    states = states or max(case.card(name) for name in names)
    out = torch.zeros(len(joints), states, len(names), dtype=torch.float64)
    for b, joint in enumerate(joints):
        for i, name in enumerate(names):
            out[b, : case.card(name), i] = torch.from_numpy(joint.marginal(name))
    return out


# ---------------------------------------------------------------------- enumeration


@cases
@kinds
def test_all_marginals_are_those_of_enumeration(case, kind):
    evidence = draw_evidence(case, kind)
    got = marginals(case.tree, evidence.log_tensor(case))
    assert_close(got, padded(case, evidence.joints(case), case.tree.names), EXACT, "marginals")


@cases
@kinds
def test_the_log_partition_is_that_of_enumeration(case, kind):
    evidence = draw_evidence(case, kind)
    want = torch.tensor([joint.log_z for joint in evidence.joints(case)], dtype=torch.float64)
    for task in ("posterior", "classify", "denoise"):
        assert_close(log_partition(case.tree, evidence.log_tensor(case), task), want, EXACT, f"log Z, {task}")


@cases
@kinds
def test_float32_is_right_to_its_precision(case, kind):
    e = draw_evidence(case, kind).log_tensor(case).float()
    reference = hgm.infer(case.tree, e.double())
    got = marginals(case.tree, e)
    assert got.dtype == torch.float32
    assert_close(got, reference.marginals, SINGLE, "marginals")
    assert_close(log_partition(case.tree, e), reference.log_partition, SINGLE, "log Z")


@cases
@pytest.mark.parametrize("kind", ["inner", "batch"])
def test_every_variable_can_be_classified(case, kind):
    evidence = draw_evidence(case, kind)
    joints = evidence.joints(case)
    for name in case.names:
        net = hgm.compile(case.tree, "classify", query=name, observed=case.names)
        args, kwargs = feed(net, case.tree, evidence.log_tensor(case))
        got = net(*args, **kwargs)
        assert_close(got, padded(case, joints, [name])[:, :, 0], EXACT, f"posterior of {name!r}")
        want = torch.tensor([joint.log_z for joint in joints], dtype=torch.float64)
        assert_close(net.log_partition(*args, **kwargs), want, EXACT, f"log Z from {name!r}")


@cases
@pytest.mark.parametrize("kind", ["hard_leaves", "none"])
def test_the_default_question_is_the_root_and_the_default_answer_the_leaves(case, kind):
    evidence = draw_evidence(case, kind)
    joints = evidence.joints(case)
    e = evidence.log_tensor(case)
    root = case.tree.names[int(case.tree.roots[0])]
    net = hgm.compile(case.tree, "classify")
    assert net.inputs == tuple(case.tree.names[int(v)] for v in case.tree.leaves)
    args, _ = feed(net, case.tree, e)
    assert_close(net(*args), padded(case, joints, [root])[:, :, 0], EXACT, "posterior of the root")

    net = hgm.compile(case.tree)
    shape = case.tree.leaf_shape
    got = net(*args)
    assert got.shape[2:] == shape
    assert_close(got.flatten(2), padded(case, joints, net.inputs), EXACT, "posterior of the leaves")
    assert torch.equal(hgm.compile(case.tree, query="leaves")(*args), got)


@cases
def test_queries_come_in_the_order_asked(case):
    evidence = draw_evidence(case, "batch")
    names = [*reversed(case.names), case.names[0]]  # one of them twice
    net = hgm.compile(case.tree, query=names, observed=case.names)
    args, kwargs = feed(net, case.tree, evidence.log_tensor(case))
    assert_close(net(*args, **kwargs).flatten(2), padded(case, evidence.joints(case), names), EXACT, "marginals")
    one = hgm.compile(case.tree, query=case.names[-1], observed=case.names)
    assert_close(
        one(*args, **kwargs).flatten(2), padded(case, evidence.joints(case), case.names[-1:]), EXACT, "one marginal"
    )


@cases
@kinds
def test_evidence_by_name_is_understood_as_by_infer(case, kind):
    evidence = draw_evidence(case, kind)
    for task, query in (("posterior", "all"), ("classify", case.names[-1])):
        net = hgm.compile(case.tree, task, query=query, observed=case.names)
        got = net.given(evidence.given)
        names = case.tree.names if query == "all" else [query]
        assert_close(got.reshape(*got.shape[:2], -1), padded(case, evidence.joints(case), names), EXACT, "marginals")


@cases
@pytest.mark.parametrize("vectors", [False, True])
def test_the_denoiser_gives_the_mean_of_the_values(case, vectors):
    evidence = draw_evidence(case, "batch")
    joints = evidence.joints(case)
    tree = case.tree
    leaves = [tree.names[int(v)] for v in tree.leaves]
    states = max(case.card(name) for name in leaves)
    values = np.random.default_rng(0).normal(size=(states, 3) if vectors else states)
    net = hgm.compile(tree, "denoise", channel=hgm.Soft(values), observed=case.names)
    args, kwargs = feed(net, tree, evidence.log_tensor(case))
    got = net(*args, **kwargs)
    want = torch.stack([
        torch.stack([torch.as_tensor(joint.marginal(name) @ values[: case.card(name)]) for name in leaves], -1)
        for joint in joints
    ])  # fmt: skip
    shape = tree.leaf_shape
    assert got.shape == (len(joints), *((3,) if vectors else ()), *shape)
    assert_close(got.reshape(want.shape), want, EXACT, "means")


# ---------------------------------------------------------------------- calculus


@cases
@kinds
def test_the_gradient_of_the_encoder_is_the_decoder(case, kind):
    e = draw_evidence(case, kind).log_tensor(case).requires_grad_()
    for options in ({}, {"query": case.names[-1]}):
        task = "classify" if options else "posterior"
        (gradient,) = torch.autograd.grad(log_partition(case.tree, e, task, **options).sum(), e)
        assert_close(gradient, marginals(case.tree, e.detach()), 10 * EXACT, "gradient")


@cases
@kinds
def test_the_gradient_by_log_potentials_is_the_expected_counts(case, kind):
    e = draw_evidence(case, kind).log_tensor(case)
    net = hgm.compile(case.tree, observed=case.names, trainable=True)
    if not case.tree.potentials:
        return
    args, kwargs = feed(net, case.tree, e)
    net.log_partition(*args, **kwargs).sum().backward()
    want = torch.cat([c.ravel() for c in expected_counts(hgm.infer(case.tree, e))])
    positive = torch.from_numpy(flatten(case.tree.potentials)).isfinite()
    assert_close(net.engine.weights.log_potential.grad, want[positive], 100 * EXACT, "expected counts")


@cases
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_of_marginals_are_finite_at_zeros(case, dtype):
    e = draw_evidence(case, "batch").log_tensor(case).to(dtype).requires_grad_()
    net = hgm.compile(case.tree, query="all", observed=case.names, trainable=True)
    args, kwargs = feed(net, case.tree, e)
    p = net(*args, **kwargs)
    (p * torch.linspace(-1, 1, p.numel(), dtype=dtype).view_as(p)).sum().backward()
    assert bool(e.grad.isfinite().all())
    if case.tree.potentials:
        assert bool(net.engine.weights.log_potential.grad.isfinite().all())


@cases
def test_derivatives_are_those_of_finite_differences(case):
    """First derivatives of marginals and second ones of log Z by evidence, and by the positive weights."""
    tree = case.tree
    if len(tree) > 10:
        pytest.skip("slow by finite differences")
    e = random_evidence(tree, 0, batch=2)[1:2]  # soft: smooth where it is finite
    exists = torch.isfinite(e)
    net = hgm.compile(tree, query="all", observed=tree.names, trainable=True)
    start = net.engine.weights.log_potential.detach()

    def run(method, x, w):
        full = e.masked_scatter(exists, x)
        args, kwargs = feed(net, tree, full)
        given = {"net.engine.weights.log_potential": w}
        return torch.func.functional_call(Method(net, method), given, args, kwargs).flatten()

    x, w = e[exists].requires_grad_(), start.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: run("forward", x, w), (x, w), atol=1e-6, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x, w: run("log_partition", x, w), (x, w), atol=1e-6, fast_mode=True)


class Method(torch.nn.Module):
    """A method of a network, as the forward of a module."""

    def __init__(self, net, method):
        super().__init__()
        self.net, self.method = net, method

    def forward(self, *args, **kwargs):
        return getattr(self.net, self.method)(*args, **kwargs)


# ---------------------------------------------------------------------- random trees


@pytest.mark.long
@given(random_cases(), st.integers(0, 2**16))
@settings(max_examples=60)
def test_random_trees(case, seed):
    e = random_evidence(case.tree, seed, batch=5, decades=8.0)
    rows = [
        {name: e[b, : case.card(name), case.tree.index(name)].exp().numpy() for name in case.names}
        for b in range(len(e))
    ]
    joints = [case.joint.given(row) for row in rows]
    want = padded(case, joints, case.tree.names)
    assert_close(marginals(case.tree, e), want, 2 * EXACT, "marginals")
    log_z = torch.tensor([joint.log_z for joint in joints], dtype=torch.float64)
    assert_close(log_partition(case.tree, e), log_z, 2 * EXACT, "log Z")
    single = hgm.infer(case.tree, e.float().double())
    assert_close(marginals(case.tree, e.float()), single.marginals, SINGLE, "float32 marginals")
    assert_close(log_partition(case.tree, e.float()), single.log_partition, SINGLE, "float32 log Z")
    name = case.names[seed % len(case.names)]
    net = hgm.compile(case.tree, "classify", query=name, observed=case.names)
    args, kwargs = feed(net, case.tree, e)
    assert_close(net(*args, **kwargs), padded(case, joints, [name])[:, :, 0], 2 * EXACT, "posterior")


# ---------------------------------------------------------------------- large trees and extreme numbers


def against_reference(tree, e, tolerance=EXACT, single=SINGLE):
    """Marginals and log Z in both precisions against the reference.

    log Z sums one rounded number per variable, so in single precision it is off by up to their number of roundings.
    """
    for dtype, allowed in ((torch.float64, tolerance), (torch.float32, single)):
        x = e.to(dtype)
        reference = hgm.infer(tree, x.double())
        rounded = max(allowed, 6e-8 * len(tree)) if dtype == torch.float32 else allowed
        assert_close(log_partition(tree, x), reference.log_partition, rounded, f"log Z in {dtype}")
        assert_close(marginals(tree, x), reference.marginals, allowed, f"marginals in {dtype}")


def hard_leaves(tree, seed, batch=2):
    """Uniform symbols at the leaves, whether they are probable or not."""
    rng = np.random.default_rng(seed)
    full = {tree.names[int(v)]: rng.integers(tree.cardinality[v], size=batch) for v in tree.leaves}
    return hgm.log_evidence(tree, full)


def test_a_log_partition_far_below_what_a_float_can_hold():
    tree = hgm.zoo.random_ghm(10, 8, 2, seed=0)
    e = hard_leaves(tree, 0)
    assert float(hgm.infer(tree, e).log_partition.max()) - float(hgm.infer(tree).log_partition) < -1000
    against_reference(tree, e)


@pytest.mark.long
@pytest.mark.parametrize("leaves", [23, 150, 2000])
@pytest.mark.parametrize("states", [2, 10])
def test_a_star_with_many_leaves(leaves, states):
    tree = hgm.star(leaves, states, root=3, seed=1)
    against_reference(tree, random_evidence(tree, 1, batch=4))


@pytest.mark.long
@pytest.mark.parametrize(("leaves", "states"), [(60, 10), (150, 10), (2000, 2)])
@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_a_star_of_nearly_uninformative_leaves(leaves, states, spread):
    """Messages near `states` each: a product that grows, where others shrink."""
    rng = np.random.default_rng(2)
    tables = 1 - spread * rng.random((leaves, 2, states))
    tree = hgm.Tree.from_factors([(["r", f"x{i}"], tables[i]) for i in range(leaves)], roots=["r"])
    against_reference(tree, torch.cat([hgm.log_evidence(tree), random_evidence(tree, 1, batch=3)]))


@pytest.mark.long
@pytest.mark.parametrize("length", [23, 400])
def test_a_long_chain_with_evidence_all_along(length):
    tree = hgm.chain(length, 3, seed=3)
    against_reference(tree, random_evidence(tree, 3, batch=4), tolerance=1e-11)


@pytest.mark.long
def test_a_chain_of_two_thousand():
    tree = hgm.chain(2000, 2, seed=4)
    e = random_evidence(tree, 4, batch=4)
    assert_close(marginals(tree, e), hgm.infer(tree, e).marginals, 1e-11, "marginals")


@pytest.mark.parametrize("bound", [1e4, 1e8, 1e16, 1e30, 1e60, 1e150])
@pytest.mark.parametrize("seed", [0, 1])
def test_potentials_over_many_decades(bound, seed):
    tree = hgm.random_tree(40, bound=bound, seed=seed)
    against_reference(tree, random_evidence(tree, seed, decades=3.0))
    tree = hgm.zoo.random_ghm(4, 3, 3, bound=bound, seed=seed)
    against_reference(tree, random_evidence(tree, seed, decades=3.0))


@pytest.mark.parametrize("decades", [10, 30, 60, 300, 1e4])
@pytest.mark.parametrize("zeros", [0.0, 0.4])
def test_strong_soft_evidence_that_contradicts_itself(decades, zeros):
    """Also between siblings, and along every path; at the leaves only."""
    tree = hgm.random_tree(40, joint=0.2, zeros=zeros, bound=10.0, seed=5)
    e = random_evidence(tree, 5, decades=decades)
    inner = np.setdiff1d(np.arange(len(tree)), tree.leaves)
    exists = torch.arange(e.shape[1])[:, None] < torch.tensor(tree.cardinality)
    e[:, :, inner] = torch.where(exists, 0.0, -torch.inf).double()[:, inner]
    against_reference(tree, e, single=SINGLE if decades < 1e3 else 2e-6)


@pytest.mark.parametrize("decades", [10, 30, 60, 300])
@pytest.mark.parametrize("bound", [2.0, 10.0, 1e5])
def test_strong_soft_evidence_at_inner_variables(decades, bound):
    tree = hgm.random_tree(40, joint=0.2, bound=bound, seed=6)
    against_reference(tree, random_evidence(tree, 6, decades=decades))


def test_mixed_cardinalities_with_large_ones():
    tree = hgm.random_tree(60, cardinality=(1, 40), joint=0.1, width=2, bound=3.0, seed=7)
    against_reference(tree, random_evidence(tree, 7), single=2e-6)  # roundings of sums of 40 states add up


def test_a_forest_of_components_unlike_each_other():
    tree = hgm.forest((30, 1, 12, 2, 1), cardinality=(1, 6), joint=0.3, zeros=0.2, seed=8)
    against_reference(tree, random_evidence(tree, 8))
    net = hgm.compile(tree, "classify", query="t2_x3", observed=tree.names)
    e = random_evidence(tree, 8)
    args, kwargs = feed(net, tree, e)
    assert_close(net(*args, **kwargs), hgm.infer(tree, e)["t2_x3"], EXACT, "posterior in another component")


def test_the_random_hierarchy_model():
    tree = hgm.rhm(6, 3, 2, 4, seed=9)
    against_reference(tree, random_evidence(tree, 9))


@pytest.mark.parametrize("seed", range(6))
def test_large_random_trees(seed):
    options = [
        {},
        {"joint": 0.4},
        {"zeros": 0.3},
        {"joint": 0.4, "zeros": 0.3},
        {"unary": 1.0, "bound": 1e3},
        {"cardinality": (1, 9), "joint": 0.2, "zeros": 0.1},
    ][seed]
    tree = hgm.random_tree(200, seed=seed, **options)
    against_reference(tree, random_evidence(tree, seed))


def test_a_network_against_arithmetic_of_fifty_digits():
    """The reference itself is not taken on trust where numbers are extreme."""
    rng = np.random.default_rng(10)
    names = [f"n{i}" for i in range(15)]
    factors = [((f"n{(i - 1) // 2}", f"n{i}"), 10.0 ** rng.uniform(-60, 60, (3, 3))) for i in range(1, 15)]
    likelihoods = {name: 10.0 ** rng.uniform(-100, 0, 3) for name in names}
    log_z, want = sum_product(names, [3] * 15, factors, likelihoods)
    tree = hgm.Tree.from_factors(factors)
    e = hgm.log_evidence(tree, {name: hgm.Likelihood(x) for name, x in likelihoods.items()})
    got = marginals(tree, e)
    for i, name in enumerate(tree.names):
        assert_close(got[0, :, i], torch.from_numpy(want[name]), EXACT, name)
    assert_close(log_partition(tree, e), torch.tensor([log_z], dtype=torch.float64), EXACT, "log Z")


# ---------------------------------------------------------------------- invariances


@cases
def test_rooting_the_tree_elsewhere_changes_nothing(case):
    e = draw_evidence(case, "batch").log_tensor(case)
    want = marginals(case.tree, e)
    for name in case.names:
        tree = case.tree.reroot(name)
        order = [case.tree.index(n) for n in tree.names]
        assert_close(marginals(tree, e[:, :, order]), want[:, :, order], EXACT, f"marginals rooted at {name!r}")


@cases
def test_scaling_the_potentials_moves_only_log_z(case):
    e = draw_evidence(case, "soft").log_tensor(case)
    factors = np.linspace(-800, 900, len(case.tree.potentials))
    scaled = case.tree.with_potentials([p.scaled(c) for p, c in zip(case.tree.potentials, factors, strict=True)])
    assert_close(marginals(scaled, e), marginals(case.tree, e), 10 * EXACT, "marginals")
    moved = float(factors[case.tree.potential_id].sum()) if case.tree.factors else 0.0
    assert_close(log_partition(scaled, e), log_partition(case.tree, e) + moved, EXACT, "log Z")


@cases
def test_scaling_the_evidence_moves_only_log_z(case):
    e = draw_evidence(case, "batch").log_tensor(case)
    for shift in (-1e5, 700.0):
        assert_close(marginals(case.tree, e + shift), marginals(case.tree, e), 1e-9, "marginals")
        want = log_partition(case.tree, e) + shift * len(case.names)
        assert_close(log_partition(case.tree, e + shift), want, EXACT, "log Z")


# ---------------------------------------------------------------------- sabotage


@pytest.mark.parametrize("name", ["binary_tied", "ragged", "joint_table", "polytree", "chain"])
def test_the_comparison_refuses_another_model(name):
    """A transposed table, a dropped prior, exchanged siblings, a constant: all are seen at these tolerances."""
    case = CASES[name]
    evidence = draw_evidence(case, "soft")
    e, want = evidence.log_tensor(case), padded(case, evidence.joints(case), case.tree.names)
    rng = np.random.default_rng(0)
    wrong = {}
    for i, p in enumerate(case.tree.potentials):
        others = list(case.tree.potentials)
        others[i] = p.with_log(rng.permutation(p.log_potential.ravel()).reshape(p.log_potential.shape))
        if not np.array_equal(others[i].log_potential, p.log_potential):
            wrong[f"potential {i} shuffled"] = marginals(case.tree.with_potentials(others), e)
    wrong["a constant"] = want.mean(2, keepdim=True).expand_as(want)
    wrong["siblings exchanged"] = want.roll(1, 2)
    wrong["evidence dropped"] = marginals(case.tree, draw_evidence(case, "none").log_tensor(case))
    for what, got in wrong.items():
        with pytest.raises(AssertionError, match="off by"):
            assert_close(got, want, 1e-6, what)


def test_an_unknown_task_is_told_what_it_may_have_been():
    with pytest.raises(hgm.BadSpec, match=r"got 'clasify'; did you mean 'classify'\?$"):
        hgm.compile(hgm.chain(3, 2), task="clasify")


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_network_made_under_any_mode_has_gradients(tmp_path, mode, trainable):
    tree = hgm.random_tree(20, seed=3, joint=0.3, zeros=0.2)
    x = torch.zeros(2, int(tree.cardinality[tree.leaves].max()), *tree.leaf_shape, requires_grad=True)

    def gradients(net):
        return torch.autograd.grad(net.log_partition(x).sum(), [x, *net.parameters()])

    want = gradients(hgm.compile(tree, trainable=trainable))
    with mode():
        net = hgm.compile(tree, trainable=trainable)
        hgm.save_network(net, tmp_path / "net.safetensors")
        loaded = hgm.load_network(tmp_path / "net.safetensors")
    torch.testing.assert_close(gradients(net), want, rtol=0, atol=0)
    torch.testing.assert_close(gradients(loaded), want, rtol=0, atol=0)
