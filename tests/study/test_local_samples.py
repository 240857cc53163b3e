"""The study of samples drawn with local denoisers: its statistics, its bounds and its sums against enumeration."""

import itertools
import json
from math import log

import numpy as np
import pytest
import torch
from oracles.enumeration import Joint
from scipy.stats import chisquare

import hgm
from hgm.cli import main
from hgm.study import local_samples
from hgm.study.accumulation import accumulated
from hgm.study.local_samples import denoiser, measure, noise_of, schedule_of
from hgm.study.scales import Symmetric, blocks_of, correlations, informations, seams
from hgm.study.told_apart import binary, told_apart

SMALL = Symmetric(2, (2,), 0.8)
VALUES = torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64)


def joint(model=SMALL):
    """The model by enumeration: a child keeps the symbol of its parent with probability `kept`, else draws one."""
    table = model.kept * np.eye(4) + (1 - model.kept) / 4
    names = ["r", *(f"a{i}" for i in range(2)), *(f"x{i}" for i in range(4))]
    above = {"a0": "r", "a1": "r", "x0": "a0", "x1": "a0", "x2": "a1", "x3": "a1"}
    factors = [(("r",), np.ones(4) / 4), *(((up, v), table) for v, up in above.items())]
    return Joint(names, [4] * 7, factors)


LEAVES = ("x0", "x1", "x2", "x3")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(local_samples.TREES, "small", SMALL)


def draw(f, n, steps, solver="ddpm"):
    made = schedule_of(solver, steps)
    z = hgm.diffusion.sample(f, made, n, steps=steps, channel=SMALL.channel, generator=torch.Generator().manual_seed(1))
    return (z[..., None] - VALUES).abs().argmin(-1)


# ---------------------------------------------------------------------- scales


@pytest.mark.parametrize(("shape", "arity"), [((8,), (2,)), ((4, 4), (2, 2)), ((9,), (3,))])
def test_correlations_count_the_pairs_of_each_common_ancestor(shape, arity):
    x = torch.randint(0, 4, (3, *shape), generator=torch.Generator().manual_seed(0))
    places = list(itertools.product(*map(range, shape)))
    equal = {}
    for a, b in itertools.combinations(places, 2):
        height = next(
            h for h in range(1, 9) if all(i // m**h == j // m**h for i, j, m in zip(a, b, arity, strict=True))
        )
        equal.setdefault(height, []).append((x[(slice(None), *a)] == x[(slice(None), *b)]).double())
    expected = torch.stack([torch.stack(equal[h]).mean(0) for h in sorted(equal)], 1)
    assert torch.allclose(correlations(x, arity), (4 * expected - 1) / 3)


def test_closed_forms_are_those_of_enumeration():
    for other, height in (("x1", 1), ("x2", 2)):
        p = joint().marginal("x0", other)
        assert SMALL.correlation(height) == pytest.approx((4 * np.trace(p) - 1) / 3)
        assert SMALL.information(height) == pytest.approx((p * np.log(16 * p)).sum())
    assert SMALL.branching == pytest.approx(hgm.measure.threshold.siblings(SMALL.tree)[0]) == pytest.approx(1.28)


@pytest.mark.parametrize("model", [SMALL, Symmetric(2, (2, 2), 0.6)])
def test_exact_samples_have_the_closed_forms(model):
    x = hgm.infer(model.tree).sample(20_000, generator=torch.Generator().manual_seed(0)).leaves
    for found, shared in ((correlations(x, model.arity), (1, 2)), (seams(x), (2, 2))):
        for column, height in zip(found.T, shared, strict=True):
            assert float(column.mean()) == pytest.approx(model.correlation(height), abs=4.5 * float(column.std()) / 141)
    assert informations(x, model.arity).tolist() == pytest.approx([model.information(h) for h in (1, 2)], rel=0.1)


def test_seams_are_between_halves():
    """In a row 1 = 1 meet in the middle, and half the width apart are 0, 1 and 1, 0; on a grid both axes count."""
    assert seams(torch.tensor([[0, 1, 1, 0]])).tolist() == [[1, pytest.approx(-1 / 3)]]
    grid = torch.tensor([[[0, 0], [1, 0]]])  # 0 = 0 and 1, 0 across; 0, 1 and 0 = 0 down
    assert seams(grid).tolist() == [[pytest.approx((4 * 0.5 - 1) / 3)] * 2]


def test_log_likelihoods_of_all_and_of_blocks_are_those_of_enumeration():
    x = torch.tensor(list(itertools.product(range(4), repeat=4)))
    whole, pair = joint().marginal(*LEAVES), joint().marginal("x0", "x1")
    assert torch.allclose(SMALL.log_prob(x), torch.from_numpy(np.log(whole).ravel()))
    both = np.log(pair)[:, :, None, None] + np.log(pair)
    assert torch.allclose(SMALL.log_prob_of_blocks(x, 1), torch.from_numpy(both.ravel()))
    assert torch.allclose(SMALL.log_prob_of_blocks(x, 2), torch.tensor(-4 * log(4), dtype=torch.float64))
    grid = x.reshape(-1, 2, 2)
    assert Symmetric(1, (2, 2), 0.8).log_prob_of_blocks(grid, 1).tolist() == pytest.approx([-4 * log(4)] * 256)


def test_inner_nodes_are_decoded_from_the_leaves_below_them():
    x = torch.tensor([[[0, 0, 1, 2], [0, 3, 2, 2], [3, 3, 1, 1], [3, 0, 1, 1]]])
    model = Symmetric(2, (2, 2), 0.8)
    assert model.decoded(x, 1).tolist() == [[[0, 2], [3, 1]]]
    assert model.decoded(x, 2) is x
    assert blocks_of(x, (2, 2), 1).tolist()[0][1] == [[1, 2], [2, 2]]
    assert model.siblings(x)[0].tolist() == pytest.approx([-1 / 3, (4 * 15 / 24 - 1) / 3])


# ---------------------------------------------------------------------- told apart


def test_a_bound_is_below_the_divergence_and_not_far():
    g = torch.Generator().manual_seed(0)
    p, q = (torch.rand(40_000, 1, generator=g) < share for share in (0.8, 0.3))
    found = told_apart(p.double(), q.double())
    assert 0.9 * binary(0.8, 0.3) < found.bound < binary(0.8, 0.3)
    assert binary(0.8, 0.3) == pytest.approx(0.8 * log(8 / 3) + 0.2 * log(2 / 7))
    assert (found.hit, found.false) == pytest.approx((0.8, 0.3), abs=0.02)


def test_nothing_is_told_from_itself_and_all_from_what_is_far():
    g = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 1000, 5, generator=g, dtype=torch.float64)
    assert told_apart(p, q).bound == 0
    far = told_apart(p, q + 100)
    assert far.bound == far.most == pytest.approx(log(500 / log(40)), abs=0.1)


# ---------------------------------------------------------------------- accumulation


def test_a_run_of_ddpm_is_a_walk_with_drift_in_a_clock_of_snr():
    """Y' = Y + f(Y / t) d + sqrt(d) g, with the noise that the sampler draws."""
    f, steps = denoiser(SMALL, "window 1"), 25
    noise = torch.tensor(noise_of(schedule_of("ddpm", steps)), dtype=torch.float64)
    assert noise[0] == pytest.approx(60, rel=1e-3) and 0.1 < noise[-1] < 0.15
    t, g = noise**-2, torch.Generator().manual_seed(1)
    y = t[0].sqrt() * torch.randn(50, 4, generator=g).double()
    for now, then in itertools.pairwise(t.tolist()):
        mean = f((y / now).float(), now**-0.5).double()
        y = y + mean * (then - now) + (then - now) ** 0.5 * torch.randn(50, 4, generator=g).double()
    end = f((y / then).float(), then**-0.5)
    z = hgm.diffusion.sample(
        f,
        schedule_of("ddpm", steps),
        50,
        steps=steps,
        channel=SMALL.channel,
        generator=torch.Generator().manual_seed(1),
    )
    assert torch.allclose(z, end, atol=1e-2)


def test_the_cost_of_a_step_is_its_divergence():
    """One leaf of four values, a step from sigma 2 to .7, f = .7 E[x | z]: by numerical integration."""
    sigmas = torch.logspace(log(2.0), log(0.7), 401, base=np.e, dtype=torch.float64)
    grid = torch.linspace(-14, 14, 2801, dtype=torch.float64)

    def posterior(z, sigma):
        return torch.softmax(-((z[:, None] - VALUES) ** 2) / (2 * sigma**2), 1)

    def density(z, mean, sigma):
        return (-((z[..., None] - mean) ** 2) / (2 * sigma**2)).exp() / (sigma * (2 * np.pi) ** 0.5)

    def parts(sigma):
        p, weight = posterior(grid, sigma), density(grid, VALUES, sigma).mean(1) * 0.01
        mean = p @ VALUES
        return float(weight @ (p @ VALUES**2 - mean**2)), float(weight @ (0.3 * mean) ** 2)

    optimum, excess = zip(*map(parts, sigmas.tolist()), strict=True)
    # two levels of a run whose finest levels are 802: the second half is after the step
    cost = {"noise": [*sigmas.tolist()[:-1], *[0.7] * 400], "leaves": 1}
    cost |= {"optimum": [*optimum[:-1], *[optimum[-1]] * 400], "excess": [*excess[:-1], *[excess[-1]] * 400]}
    found = accumulated(cost | {"low": cost["excess"], "high": cost["excess"]}, 2)
    t, d = 2.0**-2, 0.7**-2 - 2.0**-2
    p, weight = posterior(grid, 2.0), density(grid, VALUES, 2.0).mean(1) * 0.01
    y = torch.linspace(-25, 25, 2001, dtype=torch.float64)[:, None] * torch.ones(len(grid))
    true = (density(y, t * grid[:, None] + d * VALUES, d**0.5) * p).sum(-1)
    said = density(y, (t * grid + d * 0.7 * (p @ VALUES))[:, None], d**0.5)[..., 0]
    divergence = float(weight @ (torch.xlogy(true, true) - torch.xlogy(true, said)).sum(0)) * 0.025
    assert found["steps"][-1] + found["restriction"][-1] == pytest.approx(divergence, rel=1e-3)
    assert found["restriction"][-1] == pytest.approx(d / 2 * excess[0]) and found["noise"] == [0.7]


# ---------------------------------------------------------------------- the chain of blocks


@pytest.mark.long
@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
def test_samples_of_blocks_are_independent_blocks(solver):
    x = draw(denoiser(SMALL, "block 1"), 20_000, 250, solver)
    pair = joint().marginal("x0", "x1")
    expected = 20_000 * (pair[:, :, None, None] * pair).ravel()
    seen = torch.bincount((x * torch.tensor([64, 16, 4, 1])).sum(1), minlength=256).numpy()
    assert chisquare(seen, expected).pvalue > 1e-3
    assert chisquare(seen, 20_000 * joint().marginal(*LEAVES).ravel()).pvalue < 1e-9


@pytest.mark.long
def test_errors_entropies_and_the_flow_agree_on_blocks(small):
    whole, pair = joint().marginal(*LEAVES), joint().marginal("x0", "x1")
    truth = float((whole * np.log(whole)).sum() - 2 * (pair * np.log(pair)).sum())
    cell = {"tree": "small", "denoiser": "block 1", "seed": 0}
    cost = measure(cell | {"what": "cost", "steps": 250, "n": 1000})
    assert cost["noise"] == noise_of(schedule_of("ddpm", 250))  # those of the run that is added up
    _, low, high = cost["nats"]
    assert low < truth < high and high - low < 0.2 * truth
    mean, half = cost["entropies"]
    assert abs(mean - truth) < 2 * half < 0.1 * truth
    assert cost["block entropies"][0] == pytest.approx(-2 * (pair * np.log(pair)).sum(), rel=0.02)
    flow = measure(cell | {"what": "flow", "n": 300})
    mean, half = flow["kl"]
    assert abs(mean - truth) < 2 * half < truth and abs(flow["off"][0]) < 2 * flow["off"][1]
    along = accumulated(cost, 250)
    assert along["restriction"][-1] == pytest.approx(truth, rel=0.15)
    assert 0 < along["steps"][-1] < accumulated(cost, 50)["steps"][-1] / 4


@pytest.mark.long
def test_a_run_is_described_by_its_statistics(small):
    cell = {"what": "run", "tree": "small", "solver": "ddpm", "steps": 125, "n": 4000, "seed": 0}
    local, exact = (measure(cell | {"denoiser": name}) for name in ("block 1", "exact"))
    for found, far in ((local, 0.0), (exact, SMALL.correlation(2))):
        for (mean, half), expected in zip(found["pairs"], (SMALL.correlation(1), far), strict=True):
            assert abs(mean - expected) < 2 * half
    assert local["apart"]["bound"] > 0.02 > exact["apart"]["bound"] == 0
    assert abs(exact["log_p of samples"][0] - float(np.log(p := joint().marginal(*LEAVES)).ravel() @ p.ravel())) < 0.2


@pytest.mark.long
def test_the_command_writes_figures_tables_and_data(tmp_path, capsys):
    assert main(["study", "local-samples", "--quick", "-o", str(tmp_path)]) == 0
    names = {"study.json", "study.md", "cells.jsonl", "samples.svg", "scales.svg", "costs.svg"}
    assert {p.name for p in tmp_path.iterdir()} == names
    found = json.loads((tmp_path / "study.json").read_text())
    assert {row["cell"]["tree"] for row in found["cells"]} == {"8x8 above", "8x8 below"}
    assert [min(row["siblings"]) for row in found["trees"].values()] == pytest.approx([2.56, 0.64])
    page = (tmp_path / "study.md").read_text()
    assert page.count("\n## ") >= 5 and "nan" not in page
    for name in ("samples.svg", "scales.svg", "costs.svg"):
        assert (tmp_path / name).read_text().startswith("<?xml")
