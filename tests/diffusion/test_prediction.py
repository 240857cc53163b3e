"""Predictions: each from each, held against data and noise that are known."""

import itertools

import pytest
import torch

import hgm
from hgm.diffusion.prediction import PREDICTIONS, convert
from hgm.diffusion.process import RectifiedFlow, VarianceExploding, VariancePreserving


def known(process, t):
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, 5, 3, 3, generator=generator, dtype=torch.float64)
    alpha, sigma = process.at(t)
    rates = process.rates(t)
    a, s, da, ds = (v.reshape(-1, 1, 1) for v in (alpha, sigma, *rates))
    every = {"x0": x, "noise": g, "v": a * g - s * x, "score": -g / s, "velocity": da * x + ds * g}
    return every, a * x + s * g, {"alpha": alpha, "sigma": sigma, "rates": rates}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(PREDICTIONS, PREDICTIONS)))
@pytest.mark.parametrize("process", [VariancePreserving(), VarianceExploding(0.1, 3.0), RectifiedFlow()], ids=repr)
def test_each_prediction_from_each(process, source, target):
    every, z, levels = known(process, torch.linspace(0.2, 0.6, 5))
    torch.testing.assert_close(
        convert(every[source], source, target, z, **levels), every[target], rtol=1e-11, atol=1e-11
    )


def test_numbers_lists_and_default_rates():
    every, z, _ = known(RectifiedFlow(), 0.25)
    made = convert(every["x0"].tolist(), "x0", "velocity", z.numpy(), alpha=0.75, sigma=0.25)
    torch.testing.assert_close(made, every["velocity"])
    assert convert(torch.zeros(0, 2), "x0", "noise", torch.zeros(0, 2), alpha=0.5, sigma=1.0).shape == (0, 2)


def test_what_does_not_fit_is_refused():
    z = torch.zeros(2, 3)
    for given, source, target, message in (
        (z, "x", "noise", "source must be"),
        (z, "x0", "epsilon", "target must be"),
        (z[:1], "x0", "noise", "has the shape of z"),
    ):
        with pytest.raises(hgm.HgmError, match=message):
            convert(given, source, target, z, alpha=1.0, sigma=1.0)
    with pytest.raises(hgm.BadEvidence, match="sigma must be"):
        convert(z, "x0", "noise", z, alpha=1.0, sigma=torch.ones(3))
