"""What is exact at every time: densities against enumeration and quadrature, derivatives against autograd."""

import math
import pickle

import numpy as np
import pytest
import torch
from diffusion.models import VALUES, channel, noisy, tree
from oracles.trees import CASES

import hgm
from hgm.diffusion import (
    Exact,
    Masked,
    RectifiedFlow,
    StochasticLocalisation,
    Uniform,
    VarianceExploding,
    VariancePreserving,
    convert,
)

CONTINUOUS = [
    VariancePreserving(),
    VariancePreserving("cosine"),
    VarianceExploding(),
    RectifiedFlow(),
    StochasticLocalisation(),
]
TIMES = torch.tensor([0.2, 0.4, 0.5, 0.7, 0.95], dtype=torch.float64)
EVIDENCE = [None, {"label": 1}, {"label": [0, 1, 2, 0, 1], "x0_0": [2, 1, 0, None, 2]}]
continuous = pytest.mark.parametrize("process", CONTINUOUS, ids=repr)
given = pytest.mark.parametrize("evidence", EVIDENCE, ids=["nothing", "label", "rows"])
SMALL = ["binary_tied", "ragged", "rhm", "hard_zeros", "forest", "single", "cardinality_1", "unary_factors"]


def small(name):
    """A case, its leaves, and (S_v,) values of each."""
    case = CASES[name]
    leaves = [case.tree.names[int(v)] for v in case.tree.leaves]
    states = max(case.card(leaf) for leaf in leaves)
    return case, leaves, np.linspace(-1, 1.5, states)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("t", [0.3, 0.9])
def test_densities_are_those_of_enumeration(name, t):
    case, leaves, values = small(name)
    process = RectifiedFlow()
    exact = Exact(case.tree, process, hgm.Gaussian(values))
    z = noisy(3, case.tree.leaf_shape)
    alpha, sigma = 1 - t, t
    for row, got in zip(z.flatten(1).numpy(), exact.log_prob(z, t).tolist(), strict=True):
        seen = {
            leaf: np.exp(-((x - alpha * values[: case.card(leaf)]) ** 2) / (2 * sigma**2))
            / (sigma * math.sqrt(2 * math.pi))
            for leaf, x in zip(leaves, row, strict=True)
        }
        assert got == pytest.approx(case.joint.given(seen).log_z - case.joint.log_z, abs=1e-10)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("process", [Masked(), Uniform()], ids=repr)
def test_probabilities_of_symbols_are_those_of_enumeration(name, process):
    case, leaves, values = small(name)
    if isinstance(process, Uniform) and len({case.card(leaf) for leaf in leaves}) > 1:
        with pytest.raises(hgm.BadSpec, match="the same states everywhere"):
            Exact(case.tree, process)
        return
    exact, t, states = Exact(case.tree, process), 0.3, len(values)
    generator = torch.Generator().manual_seed(0)
    x = hgm.infer(case.tree).sample(4, generator=generator).leaves
    z = process.observe(x, t, exact.channel, generator)
    for row, got in zip(z.flatten(1).tolist(), exact.log_prob(z, t).tolist(), strict=True):
        seen = {}
        for leaf, symbol in zip(leaves, row, strict=True):
            a = np.arange(case.card(leaf))
            if isinstance(process, Masked):
                seen[leaf] = np.full(len(a), t) if symbol < 0 else (1 - t) * (a == symbol)
            else:
                seen[leaf] = (1 - t) * (a == symbol) + t / states
        assert got == pytest.approx(case.joint.given(seen).log_z - case.joint.log_z, abs=2e-6)


def test_a_density_integrates_to_one():
    exact = Exact(
        hgm.ghm([], 3, prior=[0.5, 0.2, 0.3]), VariancePreserving(), channel(), {"label": {0: 0.2, 1: 1.0, 2: 0.4}}
    )
    z = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None]
    assert float(torch.trapezoid(exact.log_prob(z, 0.2).exp(), z[:, 0])) == pytest.approx(1, abs=1e-9)


@continuous
@given
def test_the_score_is_the_gradient_of_the_log_density(process, evidence):
    exact, z = Exact(tree(), process, channel(), evidence), noisy().requires_grad_()
    (slope,) = torch.autograd.grad(exact.log_prob(z, TIMES).sum(), z)
    torch.testing.assert_close(exact.score(z.detach(), TIMES), slope, rtol=1e-9, atol=1e-10)
    alpha, sigma = process.at(TIMES)
    mean = exact.mean(z.detach(), TIMES)
    torch.testing.assert_close(
        convert(mean, "x0", "score", z.detach(), alpha=alpha, sigma=sigma), slope, rtol=1e-9, atol=1e-10
    )


@continuous
@given
def test_covariances_are_those_of_posterior_marginals_and_samples(process, evidence):
    exact, z = Exact(tree(), process, channel(), evidence), noisy()
    covariance, variance = exact.covariance(z, TIMES), exact.variance(z, TIMES)
    torch.testing.assert_close(torch.diagonal(covariance, dim1=1, dim2=2), variance.flatten(1), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(covariance, covariance.transpose(1, 2), rtol=1e-8, atol=1e-10)
    vector = noisy(seed=1)
    product = (covariance @ vector.flatten(1)[..., None])[..., 0].unflatten(1, (4, 4))
    torch.testing.assert_close(exact.covariance_times(z, TIMES, vector), product, rtol=1e-8, atol=1e-10)


def test_covariances_are_those_of_posterior_samples():
    exact, z = Exact(tree(), VariancePreserving(), channel(), {"label": 1}), noisy(1)
    x = exact.sample(z, 0.3, 40_000, generator=torch.Generator().manual_seed(0)).values(channel())[:, 0].flatten(1)
    torch.testing.assert_close(torch.cov(x.T), exact.covariance(z, 0.3)[0], rtol=0, atol=0.03)
    torch.testing.assert_close(x.mean(0), exact.mean(z, 0.3)[0].flatten(), rtol=0, atol=0.03)


def test_samples_hold_all_variables_and_keep_what_is_known():
    exact, z = Exact(tree(), VariancePreserving(), channel(), EVIDENCE[2]), noisy()
    drawn = exact.sample(z, TIMES, 7, generator=torch.Generator().manual_seed(0))
    assert drawn.states.shape == (7, 5, len(tree())) and drawn.leaves.shape == (7, 5, 4, 4)
    assert (drawn["label"] == torch.tensor([0, 1, 2, 0, 1])).all()
    assert (drawn["x0_0"][:, 0] == 2).all()


def test_entropies_are_those_of_the_marginals_of_each_level():
    exact, z = Exact(tree(), VariancePreserving(), channel()), noisy()
    alpha, sigma = VariancePreserving().at(0.3)
    p = hgm.infer(tree(), z, sigma, alpha, channel=channel()).marginals
    each = -(p * p.clamp_min(1e-300).log()).sum(1)
    want = torch.stack([each[:, :1].sum(1), each[:, 1:5].sum(1), each[:, 5:].sum(1)], 1)
    torch.testing.assert_close(exact.entropy(z, 0.3), want, rtol=0, atol=1e-10)
    x = torch.tensor(VALUES).double()[torch.zeros(1, 4, 4, dtype=torch.long)]
    assert 0 <= exact.entropy(x, 1e-3)[0, -1] < 1e-6  # there is no doubt where there is no noise


def test_the_information_of_all_noise_levels_is_the_entropy():
    """H(x) = 1/2 the integral of the mmse over the signal to noise ratio: Guo, Shamai, Verdu, cs/0412108."""
    prior = np.array([0.5, 0.2, 0.3])
    exact = Exact(hgm.ghm([], 3, prior=prior), VarianceExploding(1e-3, 1e3), channel())
    t = torch.linspace(0, 1, 1500, dtype=torch.float64)
    sigma = VarianceExploding(1e-3, 1e3).at(t)[1]
    grid = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    mmse = []
    for s, time in zip(sigma, t, strict=True):
        z = torch.cat([v + s * grid for v in torch.tensor(VALUES)])[:, None]
        weight = torch.cat([p * torch.exp(-(grid**2) / 2) for p in torch.from_numpy(prior)])
        mmse.append((weight * exact.variance(z, time)[:, 0]).sum() / weight.sum())
    snr = 1 / sigma**2
    total = -torch.trapezoid(torch.stack(mmse), snr) / 2
    assert float(total) == pytest.approx(-(prior * np.log(prior)).sum(), abs=2e-3)


def test_vectors_and_positions_in_one_dimension():
    over = hgm.Gaussian([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5]])
    line = hgm.random_ghm(2, 3, 2, bound=4, seed=0)
    exact, z = Exact(line, RectifiedFlow(), over), noisy(3, (2, 4)).requires_grad_()
    (slope,) = torch.autograd.grad(exact.log_prob(z, 0.4).sum(), z)
    z = z.detach()
    torch.testing.assert_close(exact.score(z, 0.4), slope, rtol=1e-9, atol=1e-10)
    assert exact.covariance(z, 0.4).shape == (3, 8, 8)
    diagonal = torch.diagonal(exact.covariance(z, 0.4), dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, exact.variance(z, 0.4).flatten(1), rtol=1e-8, atol=1e-10)


def test_forms_of_input():
    exact, z = Exact(tree(), VariancePreserving(), channel()), noisy()
    want = exact.log_prob(z, 0.3)
    assert torch.equal(exact.log_prob(z.numpy(), 0.3), want) and torch.equal(
        exact.log_prob(z.tolist(), [0.3] * 5), want
    )
    torch.testing.assert_close(pickle.loads(pickle.dumps(exact)).log_prob(z, 0.3), want, rtol=1e-14, atol=0)
    for answer in (exact.log_prob, exact.score, exact.variance, exact.covariance, exact.entropy, exact.mean):
        assert len(answer(noisy(0), 0.3)) == 0
        assert answer(z.float(), 0.3).dtype == torch.float32
        with torch.inference_mode():
            assert torch.equal(answer(z, 0.3), answer(z.clone(), 0.3))
    assert exact.score(torch.ones(2, 4, 4, dtype=torch.uint8), 0.3).dtype == torch.float32


def test_it_observes_as_its_process_does():
    x = hgm.infer(tree()).sample(3, generator=torch.Generator().manual_seed(0)).leaves
    for process in (VariancePreserving(), Masked(), Uniform()):
        exact = Exact(tree(), process)
        z = exact.observe(x, 0.3, generator=torch.Generator().manual_seed(1))
        assert torch.equal(z, process.observe(x, 0.3, exact.channel, torch.Generator().manual_seed(1)))
        assert exact.log_prob(z, 0.3).isfinite().all()


def test_holes_are_no_dimensions():
    exact, z = Exact(tree(), VariancePreserving(), hgm.Missing(channel())), noisy(1)
    z[0, 0, 0] = torch.nan
    whole = Exact(tree(), VariancePreserving(), channel())
    grid = torch.linspace(-9, 9, 3001, dtype=torch.float64)
    filled = z.repeat(len(grid), 1, 1)
    filled[:, 0, 0] = grid
    integral = torch.trapezoid(whole.log_prob(filled, 0.4).exp(), grid)
    assert float(exact.log_prob(z, 0.4).exp()) == pytest.approx(float(integral), rel=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Exact(tree(), "linear"), "process must be one of hgm.diffusion"),
        (lambda: Exact(tree(), Masked(), channel()), "Masked is observed through the channel Erasure"),
        (lambda: Exact(tree(), RectifiedFlow(), hgm.Gaussian([0.0, 1.0])), "values for 2 states"),
        (
            lambda: Exact(tree(), Masked()).score(torch.zeros(1, 4, 4, dtype=torch.long), 0.5),
            "a score is of continuous",
        ),
        (lambda: Exact(tree(), RectifiedFlow()).log_prob(noisy(), 2.0), "the time t must be"),
        (lambda: Exact(tree(), RectifiedFlow()).log_prob(noisy(), 0.0), "no density without noise, as at time 0.0"),
        (lambda: Exact(tree(), RectifiedFlow()).log_prob(noisy(5, (3, 3)), 0.5), "must have shape"),
        (
            lambda: Exact(tree(), RectifiedFlow()).covariance_times(noisy(), 0.5, noisy(1)),
            "the vector must have the shape",
        ),
        (lambda: Exact(tree(), RectifiedFlow()).log_prob(noisy() * torch.nan, 0.5), "NaN"),
        (lambda: Exact(CASES["hard_zeros"].tree, RectifiedFlow(), evidence={"x": 99}), "x"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, message):
    with pytest.raises(hgm.HgmError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_covariances_too_large_for_memory_are_refused():
    exact = Exact(hgm.random_ghm(5, 2, (2, 2), seed=0), RectifiedFlow())
    with pytest.raises(hgm.BadSpec, match="take products, by covariance_times"):
        exact.covariance(torch.zeros(300, 32, 32), 0.5)


def test_times_and_evidence_have_the_rows_of_the_observation():
    exact = Exact(tree(), RectifiedFlow(), channel(), {"label": [0, 1, 2, 0, 1]})
    with pytest.raises(hgm.BadEvidence, match="the evidence has 5 rows, but the observation has 1"):
        exact.sample(noisy(1), 0.5)
    holes = torch.full((5, 4, 4), -1)
    for answer in (Exact(tree(), Masked()).log_prob, Exact(tree(), Masked()).posterior, Exact(tree(), Masked()).sample):
        for rows in (1, 5):
            with pytest.raises(hgm.BadEvidence, match=rf"one per row \({rows},\); got 3 times"):
                answer(holes[:rows], [0.1, 0.2, 0.3])
    none = Exact(tree(), RectifiedFlow(), channel(), {"label": []})
    assert none.log_prob(noisy(0), 0.5).shape == (0,)


def test_densities_of_vectors_are_those_of_enumeration():
    case, values = CASES["binary_tied"], np.array([[0.0, 1.0, 2.0], [1.0, 0.5, -1.0]])
    leaves, t = [case.tree.names[int(v)] for v in case.tree.leaves], 0.6
    exact = Exact(case.tree, RectifiedFlow(), hgm.Gaussian(values[: case.card(leaves[0])]))
    z = noisy(2, (3, *case.tree.leaf_shape))
    for row, got in zip(z.flatten(2).numpy(), exact.log_prob(z, t).tolist(), strict=True):
        square = ((row.T[:, None, :] - (1 - t) * values[None]) ** 2).sum(2)
        each = np.exp(-square / (2 * t**2)) / (t * math.sqrt(2 * math.pi)) ** 3
        seen = dict(zip(leaves, each, strict=True))
        assert got == pytest.approx(case.joint.given(seen).log_z - case.joint.log_z, abs=1e-10)


def test_a_hole_in_one_component_is_a_hole():
    exact = Exact(tree(), RectifiedFlow(), hgm.Missing(hgm.Gaussian([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.5]])))
    z = noisy(1, (2, 4, 4))
    z[0, :, 0, 0] = torch.nan
    half = z.clone()
    half[0, 1, 0, 0] = 0.3
    torch.testing.assert_close(exact.log_prob(half, 0.4), exact.log_prob(z, 0.4), rtol=0, atol=1e-12)
    score = exact.score(half, 0.4)
    assert (score[0, :, 0, 0] == 0).all() and (score[0, :, 1:] != 0).all()


def test_derivatives_need_numbers():
    exact, z = Exact(tree(), RectifiedFlow(), hgm.Missing(channel())), noisy(1)
    z[0, 0, 0] = torch.nan
    for call in (lambda: exact.covariance(z, 0.4), lambda: exact.covariance_times(z, 0.4, torch.ones_like(z))):
        with pytest.raises(hgm.BadEvidence, match="z has NaN"):
            call()
    assert exact.variance(z, 0.4)[0, 0, 0] > 0.01


def test_variances_of_large_values_are_those_of_small_ones():
    moved, z = hgm.Gaussian([1000.0 + value for value in VALUES]), noisy(20)
    want = Exact(tree(), VarianceExploding(0.5), channel()).variance(z, 0.0)
    got = Exact(tree(), VarianceExploding(0.5), moved).variance((z + 1000).float(), 0.0)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-3)
    assert (Exact(tree(), VarianceExploding(0.01), channel()).variance(z.float(), 0.0) >= 0).all()
