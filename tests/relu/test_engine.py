"""ReLU networks: never further from the reference than certified, whatever the evidence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.relu_checker import recomputed
from oracles.trees import CASES, random_cases
from relu.nets import evidence, log_error, run

import hgm
from hgm.errors import BadEvidence, BadSpec, HgmError, ImpossibleEvidence, Uncertifiable

TOL = 0.05

ALL = [pytest.param(case, id=name) for name, case in CASES.items()]


def network(tree, **options):
    return hgm.compile(tree, query="all", observed=tree.names, activation="relu", tol=TOL, **options)


def extreme(tree, size, rows, generator):
    """Every variable shouts for one state, at random: neighbours contradict each other."""
    e = evidence(tree, rows, 0.0, generator)
    loud = torch.randint(0, 10**6, (rows, 1, len(tree)), generator=generator) % torch.tensor(tree.cardinality)
    return torch.where(torch.arange(e.shape[1])[:, None] == loud, size, 0.0) + e


def climb(net, tree, start, steps=8):
    """Evidence that gradient ascent on the error makes of a start."""
    finite = start.isfinite()
    x = torch.where(finite, start, 0.0).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.3)
    worst = 0.0
    for _ in range(steps):
        e = torch.where(finite, x, -torch.inf)
        p, exact = run(net, tree, e), hgm.infer(tree, e).marginals
        seen = (exact > 1e-200) & (p > 1e-200)
        gap = (torch.where(seen, p, 1.0).log() - torch.where(seen, exact, 1.0).log()).abs().flatten(1).amax(1)
        worst = max(worst, float(gap.detach().max()))
        optimizer.zero_grad()
        (-gap.sum()).backward()
        x.grad.nan_to_num_(0.0)
        optimizer.step()
    return worst


@pytest.mark.long
@pytest.mark.parametrize("case", ALL)
def test_error_never_exceeds_certificate(case, record_property):
    generator = torch.Generator().manual_seed(0)
    net = network(case.tree)
    certified = net.certificate.log_posterior
    assert 0 < certified <= TOL
    measured = [log_error(net, case.tree, evidence(case.tree, 25, scale, generator)) for scale in (0.3, 2.0, 20.0)]
    measured += [log_error(net, case.tree, extreme(case.tree, size, 25, generator)) for size in (4.0, 40.0)]
    measured.append(climb(net, case.tree, evidence(case.tree, 4, 1.0, generator)))
    record_property("measured / certified", max(measured) / certified)
    assert max(measured) <= certified
    assert recomputed(net, case.factors) == pytest.approx(certified, rel=1e-3, abs=1e-7)


@settings(max_examples=8, deadline=None)
@given(case=random_cases(), seed=st.integers(0, 2**32 - 1), allocation=st.sampled_from(["optimal", "uniform"]))
def test_error_never_exceeds_certificate_on_random_trees(case, seed, allocation):
    generator = torch.Generator().manual_seed(seed)
    net = network(case.tree, allocation=allocation)
    worst = max(log_error(net, case.tree, evidence(case.tree, 30, scale, generator)) for scale in (0.5, 5.0))
    assert worst <= net.certificate.log_posterior <= TOL
    # a rule table without zeros is certified with contraction 1, which the checker betters
    assert recomputed(net, case.factors) <= net.certificate.log_posterior * (1 + 1e-3) + 1e-7


@pytest.mark.parametrize("name", ["binary_tied", "ragged", "joint_table", "hard_zeros", "polytree", "prior"])
def test_classification_costs_no_decoder(name):
    case = CASES[name]
    net = hgm.compile(case.tree, "classify", activation="relu", tol=TOL)
    assert isinstance(net, hgm.ConvNet) and net.certificate is not None
    generator = torch.Generator().manual_seed(0)
    e = evidence(case.tree, 30, 2.0, generator)
    e[:, :, np.setdiff1d(np.arange(len(case.tree)), case.tree.leaves)] *= 0.0
    e = e.nan_to_num(0.0)
    leaves = e[:, : net.states_in, torch.tensor(case.tree.leaves)].unflatten(2, net.leaf_shape)
    root = case.tree.names[int(case.tree.roots[0])]
    padded = evidence(case.tree, 30, 0.0, generator)
    padded[:, : net.states_in, torch.tensor(case.tree.leaves)] += leaves.flatten(2)
    exact = hgm.infer(case.tree, padded)[root]
    got = net(leaves)
    assert (got.log() - exact.log())[exact > 0].abs().max() <= net.certificate.log_posterior <= TOL
    assert all(level.direction == "up" for level in net.certificate.levels)


def test_denoising_keeps_the_bound_on_means():
    tree = hgm.random_ghm(3, 4, 2, seed=2)
    channel = hgm.Gaussian(values=[-3.0, 0.0, 1.0, 5.0])
    net = hgm.compile(tree, "denoise", channel=channel, activation="relu", tol=0.01, bound="mean")
    z = 3 * torch.randn(200, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sigma in (0.3, 1.0, 4.0):
        gap = (net(z, sigma) - hgm.compile(tree, "denoise", channel=channel)(z, sigma)).abs().max()
        assert gap <= net.certificate.mean <= 0.01


def test_hard_evidence_without_a_floor_is_refused_by_name():
    tree = hgm.random_ghm(2, 3, 2, seed=0)
    net = hgm.compile(tree, activation="relu")
    symbols = torch.tensor([[0, 1, 2, 0], [-1, -1, -1, 1]])
    with pytest.raises(Uncertifiable, match=r"'x0' \(its factor h1_0, x0\) .* rows 0, 1, where .*compile with floor=B"):
        net(symbols)
    assert net(symbols[:1] * 0 - 1).isfinite().all()


def test_floored_evidence_is_close_to_hard_evidence_where_factors_are_positive():
    tree = hgm.random_ghm(3, 3, 2, seed=0)
    net = hgm.compile(tree, activation="relu", tol=0.02, query="all", floor=30.0)
    symbols = torch.randint(-1, 3, (100, 8), generator=torch.Generator().manual_seed(1))
    certificate = net.certificate
    assert certificate.floor_total_variation < 1e-8
    assert "positive" in str(certificate)
    gap = 0.5 * (net(symbols).double() - hgm.compile(tree, query="all")(symbols).double()).abs().sum(1)
    assert gap.max() <= certificate.total_variation + certificate.floor_total_variation


def test_floored_evidence_is_conditional_where_factors_have_zeros():
    tree = CASES["hard_zeros"].tree
    net = hgm.compile(tree, activation="relu", floor=20.0)
    assert net.certificate.floor_total_variation == 1.0
    assert "conditional on the floor B=20" in str(net.certificate)
    e = torch.zeros(2, 2, 4, dtype=torch.float64)
    e[0, 1, 3] = e[1, 0, 3] = -torch.inf
    floored = e.clamp_min(-20.0)
    exact = hgm.compile(tree)(floored)
    assert (net(e).log() - exact.log())[exact > 0].abs().max() <= net.certificate.log_posterior


def test_impossible_evidence_and_bad_options_are_refused():
    tree = hgm.random_ghm(2, 3, 2, seed=0)
    net = hgm.compile(tree, activation="relu", floor=30.0)
    e = torch.zeros(2, 3, 4)
    e[1, :, 2] = -torch.inf
    with pytest.raises(ImpossibleEvidence) as caught:
        net(e)
    assert caught.value.rows == (1,)
    with pytest.raises(HgmError, match="log Z"):
        net.log_partition(e)
    for bad in (float("nan"), float("inf"), -1e300):
        e = torch.zeros(2, 3, 4, dtype=torch.float64)
        e[1, 0, 2] = bad
        with pytest.raises(BadEvidence):
            net(e)
    for options in (
        {"tol": 0.0},
        {"tol": float("inf")},
        {"floor": -1.0},
        {"floor": float("inf")},
        {"bound": "l2"},
        {"allocation": "best"},
        {"construction": "E"},
    ):
        with pytest.raises(BadSpec):
            hgm.compile(tree, activation="relu", **options)
    with pytest.raises(BadSpec):
        hgm.compile(tree, activation="tanh")
    for tol in (1e-9, 1e-13):
        with pytest.raises(Uncertifiable, match="raise it"):
            hgm.compile(tree, activation="relu", tol=tol)


def test_the_floor_is_below_the_largest_possible_state():
    """State 0 of b is impossible: its evidence, the largest, plays no part."""
    tree = hgm.Tree.from_factors([(("a", "b"), hgm.Edge([[0, 0.5, 0.5], [0, 0.3, 0.7]]))], roots=["a"])
    net = hgm.compile(tree, query="b", activation="relu", floor=20.0)
    e = torch.tensor([0.0, -30.0, -60.0], dtype=torch.float64).view(1, 3, 1)
    exact = hgm.compile(tree, query="b")(torch.tensor([-30.0, -30.0, -50.0], dtype=torch.float64).view(1, 3, 1))
    assert (net(e).log() - exact.log())[:, 1:].abs().max() <= net.certificate.log_posterior
    assert "largest among each variable's possible states" in str(net.certificate)


@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-4), (torch.float16, 0.05), (torch.bfloat16, 0.3)])
def test_other_precisions_run_and_their_error_is_measured(dtype, most):
    tree = hgm.random_ghm(3, 3, 2, seed=1)
    net = hgm.compile(tree, activation="relu", floor=30.0)
    e = evidence(tree, 50, 2.0, torch.Generator().manual_seed(0))[:, :, torch.tensor(tree.leaves)]
    assert 0 < net.extra_error(dtype, e.float()) < most
    assert net.engine.mask.dtype == torch.float64


@pytest.mark.parametrize("which", [0, -1])
def test_weights_that_are_nan_are_blamed_and_not_the_evidence(which):
    net = hgm.compile(hgm.chain(4, 3, transition=np.eye(3) * 2 + 1), activation="relu", tol=TOL, trainable=True)
    name, weight = list(net.engine.named_parameters())[which]
    with torch.no_grad():
        weight.fill_(torch.nan)
    with pytest.raises(hgm.BadPotential, match=r"weights of this network are NaN: .*an optimiser may have") as said:
        net(torch.zeros(1, 3, 1))
    assert name in str(said.value)
