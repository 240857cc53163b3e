"""The study of samplers: its reference against closed forms, its statistics against known ones, and what it writes."""

import json
import re
from itertools import pairwise

import pytest
import torch

import hgm
from hgm.cli import main
from hgm.study.samplers import LOW, ORDERS, Model, biases, distances, fitted, squares
from hgm.study.samplers_figures import LOOKS

pytestmark = pytest.mark.long
STEPS = (50, 100)


@pytest.fixture(scope="module")
def model():
    return Model("small", hgm.random_ghm(2, 9, (2, 2), bound=10.0, seed=0), exact=20_000)


@pytest.fixture(scope="module")
def biased(model):
    return {(row.scheduler, row.evaluations): row for row in biases(model, 1000, (5, 100))}


def test_the_reference_follows_the_flow_of_independent_leaves():
    """Two values, -1 and 1, equally likely: E[x | z] = tanh(z / sigma^2), and Euler's method in 20,000 steps."""

    class Coin(Model):
        def __init__(self):
            self.precise = lambda z, sigma: torch.tanh(z / sigma**2)

    u = torch.tensor([[-1.5, 0.1, 0.7]])
    sigmas = torch.logspace(1, -0.5, 20_001, dtype=torch.float64, base=10.0)
    z = 10 * u.double()
    for a, b in pairwise(sigmas.tolist()):
        z = z + (b - a) * (z - torch.tanh(z / a**2)) / a
    assert torch.allclose(Coin().flow(u, 10.0, 10**-0.5, 1e-9), z, atol=1e-3)


@pytest.mark.parametrize("solver", ORDERS)
def test_every_solver_has_its_order(model, solver):
    rows, order = distances(model, solver, STEPS, 16)
    assert abs(order.measured - ORDERS[solver]) < 0.1 and order.half < 0.1
    assert [row.evaluations for row in rows] == [(2 if solver == "heun" else 1) * n for n in STEPS]


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_distances_are_those_of_the_textbook(model, solver):
    """dz/dsigma = (z - E[x | z]) / sigma from 80 to half a gap, in ten steps of sigma^(1/7)."""

    def slope(z, sigma):
        return (z - model.precise(z, sigma)) / sigma

    low, high = LOW * (80 / LOW) ** 0.001, 80.0  # the first and the last of a thousand times
    sigmas = [(high ** (1 / 7) + i / 10 * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(11)]
    z = high * model.noise(3).double()
    expected = model.flow(z / high, high, low, 1e-9)
    for a, b in pairwise(sigmas):
        first = slope(z, a)
        z = z + (b - a) * (first if solver == "euler" else (first + slope(z + (b - a) * first, b)) / 2)
    off = (z - expected).square().mean((1, 2))
    assert torch.allclose(squares(model, solver, [10], 3)[0].double(), off, rtol=1e-2)


def test_heun_without_its_second_evaluation_is_of_order_one(model):
    """Each second answer of a step is the first again, which makes it Euler's method."""
    said = []

    def once(z, sigma):
        said.append(model.denoiser(z, sigma) if len(said) % 2 == 0 else said[-1])
        return said[-1]

    once.leaf_shape = model.denoiser.leaf_shape
    for spoilt, order in ((None, 2), (once, 1)):
        rows = []
        for n in STEPS:
            said.clear()
            rows.append(squares(model, "heun", [n], 16, spoilt)[0])
        assert abs(fitted(STEPS, torch.stack(rows))[0] - order) < 0.1


def test_an_order_is_the_slope_and_its_interval_that_of_the_mean():
    """Squares (1 + e) / n^4, e of spread s: slope 2, or with e at one of two counts varies by s / (2 log 2 n^.5)."""
    e = torch.randn(10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 10
    same = torch.stack([(1 + e) / n**4 for n in (10, 20)])
    assert fitted((10, 20), same) == (pytest.approx(2), pytest.approx(0, abs=1e-9))
    apart = torch.stack([(1 + e) / 10**4, torch.full_like(e, 1 / 20**4)])
    assert fitted((10, 20), apart)[1] == pytest.approx(1.96 * 0.1 / (2 * 0.6931 * 100), rel=0.05)


def test_few_steps_are_biased_and_many_are_not(biased):
    for name in LOOKS:
        few = biased[name, 5]
        assert few.bias < -few.half < 0 or name == "heun", name
    for name in ("ddpm", "heun", "dpm++"):
        many = next(row for (mine, n), row in biased.items() if mine == name and n > 90)
        assert abs(many.bias) < many.half + 0.05, name


def test_the_bias_is_that_of_the_samples_and_its_interval_is_narrower(model, biased):
    """Plain means of samples of DDPM, which the noise at its start says little about, and of other samples of DDIM."""
    prior = hgm.infer(model.tree)
    for name, seed, n in (("ddpm", 0, 1000), ("ddim", 5, 4000)):
        z = hgm.diffusion.sample(model.denoiser, name, n, steps=5, generator=torch.Generator().manual_seed(seed))
        symbols = (z[..., None] - torch.linspace(-1, 1, 9)).abs().argmin(-1)
        log_p = hgm.infer(model.tree, symbols).log_partition - prior.log_partition
        row = biased[name, 5]
        assert row.bias == pytest.approx(float(log_p.mean()) - model.truth[0], abs=0.02 if name == "ddpm" else 0.3)
        if name == "ddpm":
            assert row.half == pytest.approx(1.96 * (float(log_p.var()) / n + model.truth[1] ** 2) ** 0.5, rel=0.02)
            assert biased["dpm++", 100].half < 0.3 * row.half


def test_the_truth_is_minus_the_entropy():
    """Of one leaf below a root: a sum over nine symbols."""
    model = Model("leaf", hgm.random_ghm(1, 9, 1, seed=0), exact=20_000)
    p = hgm.infer(model.tree)[model.tree.names[-1]]
    mean, error = model.truth
    entropy = -float((p * p.log()).sum())
    spread = float((p * (p.log() + entropy).square()).sum()) ** 0.5
    assert abs(mean + entropy) < 4 * error and error == pytest.approx(spread / 20_000**0.5, rel=0.05)


def test_heun_asks_twice_a_step_but_in_the_last(biased):
    assert {(row.steps, row.evaluations) for (name, _), row in biased.items() if name == "heun"} == {(3, 5), (50, 99)}


@pytest.mark.parametrize("solver", ORDERS)
def test_all_runs_begin_with_the_same_noise_and_end_at_half_a_gap(model, solver, monkeypatch):
    asked = []
    monkeypatch.setattr(model, "flow", lambda *given: asked.append(given) or torch.zeros(3, 4, 4))
    for steps in (5, 10):
        squares(model, solver, [steps], 3)
    for u, start, sigma, _ in asked:
        assert start == pytest.approx(1e4 if solver == "flow" else 80, rel=1e-6)
        assert sigma == pytest.approx(LOW, rel=0.01) and LOW == 0.125
        assert torch.allclose(u, model.noise(3), rtol=1e-3)
    assert len({(start, round(sigma, 6)) for _, start, sigma, _ in asked}) == 1 and len(asked) == 2


def test_the_command_writes_table_plot_and_data(tmp_path, capsys):
    assert main(["study", "samplers", "--quick", "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count(" ask=bias ") == 2 and out.count(" ask=order ") == 2 * 5 and out.count("The truth is") == 2
    names = {"study.json", "study.md", "samplers.svg", "cells.jsonl"}
    assert {p.name for p in tmp_path.iterdir()} == names
    found = json.loads((tmp_path / "study.json").read_text())
    assert {(row["model"], row["scheduler"]) for row in found["biases"]} == {
        (m, s) for m in ("1-D", "2-D") for s in LOOKS
    }
    for row in found["orders"]:
        assert abs(row["measured"] - row["expected"]) < 0.25, row
    table = (tmp_path / "study.md").read_text()
    assert all(len(re.findall(rf"^\| {re.escape(label)} ", table, re.M)) >= 2 for label, *_ in LOOKS.values())
    text = (tmp_path / "samplers.svg").read_text()
    assert text.startswith("<?xml") and "nan" not in text
