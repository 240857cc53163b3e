"""Forward processes: what they say of alpha and sigma, and that what is observed has the law they state."""

import math

import numpy as np
import pytest
import torch

import hgm
from hgm.diffusion.process import (
    ALPHA_MIN,
    Masked,
    RectifiedFlow,
    StochasticLocalisation,
    Uniform,
    VarianceExploding,
    VariancePreserving,
)

CONTINUOUS = [
    VariancePreserving(),
    VariancePreserving("cosine"),
    VarianceExploding(),
    RectifiedFlow(),
    StochasticLocalisation(),
]


@pytest.mark.parametrize("process", CONTINUOUS, ids=repr)
def test_noise_grows_and_alpha_stays_above_its_least(process):
    alpha, sigma = process.at(torch.linspace(0, 1, 101))
    assert alpha.dtype == sigma.dtype == torch.float64
    assert (alpha >= ALPHA_MIN).all() and ((sigma / alpha).diff() >= 0).all()
    assert (sigma / alpha)[0] <= 0.011 and (sigma / alpha)[-1] >= 90


@pytest.mark.parametrize("process", CONTINUOUS, ids=repr)
def test_rates_are_differences(process):
    t, h = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), 1e-6
    for rate, after, before in zip(process.rates(t), process.at(t + h), process.at(t - h), strict=True):
        torch.testing.assert_close(rate, (after - before) / (2 * h), rtol=1e-5, atol=1e-8)


def test_known_values():
    for kind in ("linear", "cosine"):
        alpha, sigma = VariancePreserving(kind).at(torch.linspace(0, 0.99, 50))
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(50).double(), rtol=1e-12, atol=0)
        assert VariancePreserving(kind).at(0.0)[1] == 0
    steps = np.linspace(1e-4, 0.02, 1000)  # of DDPM, Ho et al.: the same process, in a thousand steps
    assert float(VariancePreserving().at(0.5)[0]) == pytest.approx(math.sqrt(np.prod(1 - steps[:500])), rel=1e-2)
    assert [float(x) for x in VarianceExploding(0.1, 10.0).at(0.5)] == pytest.approx([1, 1])
    assert [float(x) for x in RectifiedFlow().at(0.25)] == [0.75, 0.25]
    assert [float(x) for x in StochasticLocalisation().at(0.2)] == pytest.approx([4, 2])
    assert float(Uniform().noise(0.5, 4)[0]) == 0.375


@pytest.mark.parametrize("t", [-0.1, 1.5, math.nan, "half", [[0.5]], None])
def test_a_wrong_time_is_refused(t):
    with pytest.raises(hgm.HgmError, match="the time t must be"):
        RectifiedFlow().at(t)


def test_wrong_arguments_are_refused():
    for make in (
        lambda: VariancePreserving("square"),
        lambda: VarianceExploding(0.0),
        lambda: VarianceExploding(2.0, 1.0),
        lambda: RectifiedFlow().channel(hgm.Flip(), 3),
        lambda: Masked().channel(hgm.Gaussian(), 3),
        lambda: RectifiedFlow().channel(hgm.Gaussian([0.0, 1.0]), 3),
    ):
        with pytest.raises(hgm.HgmError):
            make()


def test_observations_have_the_stated_law():
    x = torch.arange(3).repeat(20_000, 1)
    generator = torch.Generator().manual_seed(0)
    z = RectifiedFlow().observe(x, 0.25, hgm.Gaussian([-1.0, 0.0, 2.0]), generator)
    torch.testing.assert_close(z.mean(0), torch.tensor([-0.75, 0, 1.5]).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(z.std(0), torch.full((3,), 0.25).double(), atol=0.01, rtol=0)
    z = Masked().observe(x, 0.3, hgm.Erasure(states=3), generator)
    torch.testing.assert_close((z == -1).double().mean(0), torch.full((3,), 0.3).double(), atol=0.015, rtol=0)
    assert ((z == -1) | (z == x)).all()
    z = Uniform().observe(x, 0.3, hgm.Flip(states=3), generator)
    torch.testing.assert_close((z == x).double().mean(0), torch.full((3,), 0.8).double(), atol=0.015, rtol=0)
    per_row = Masked().observe(x[:2], [0.0, 1.0], hgm.Erasure(states=3), generator)
    assert (per_row[0] == x[0]).all() and (per_row[1] == -1).all()


def test_times_of_other_rows_are_refused():
    for process, over in (
        (Masked(), hgm.Erasure(states=3)),
        (Uniform(), hgm.Flip(states=3)),
        (RectifiedFlow(), hgm.Gaussian([0.0, 1.0, 2.0])),
    ):
        with pytest.raises(hgm.BadEvidence, match="one per batch row \\(2,\\)"):
            process.observe(torch.zeros(2, 4, dtype=torch.long), [0.1, 0.2, 0.3], over)
