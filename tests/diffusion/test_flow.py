"""The probability flow's log likelihood is the exact one."""

import pytest
import torch
from diffusion.models import VALUES, channel, noisy, tree, unet
from torch import nn

import hgm
from hgm.diffusion import (
    Denoiser,
    Exact,
    RectifiedFlow,
    StochasticLocalisation,
    VarianceExploding,
    VariancePreserving,
    flow_log_prob,
)

PROCESSES = [
    VariancePreserving(),
    VariancePreserving("cosine"),
    VarianceExploding(0.05, 100.0),
    RectifiedFlow(),
    StochasticLocalisation(),
]


def data(process, t, rows=3):
    x = hgm.infer(tree()).sample(rows, generator=torch.Generator().manual_seed(0)).leaves
    return process.observe(x, t, channel().bound(3), torch.Generator().manual_seed(1))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("t", [0.1, 0.5])
def test_it_is_the_exact_log_density(process, t):
    z = data(process, t)
    want = Exact(tree(), process, channel()).log_prob(z, t)
    torch.testing.assert_close(flow_log_prob(unet(), z, t, process), want, rtol=0, atol=16e-4)  # 16 pixels


def test_given_a_label_it_is_the_conditional_one():
    z, process = data(VariancePreserving(), 0.1, 2), VariancePreserving()
    given = Denoiser(tree(), channel(), {"label": 1})
    want = Exact(tree(), process, channel(), {"label": 1}).log_prob(z, 0.1)
    torch.testing.assert_close(flow_log_prob(given, z, 0.1), want, rtol=0, atol=16e-4)


def test_a_denoiser_that_is_wrong_shows():
    z = data(VariancePreserving(), 0.1)
    wrong = hgm.compile(hgm.random_ghm(2, 3, (2, 2), bound=5, seed=7), "denoise", channel=channel())
    want = Exact(tree(), VariancePreserving(), channel()).log_prob(z, 0.1)
    assert ((flow_log_prob(wrong, z, 0.1) - want).abs() > 16e-3).all()


def test_random_directions_are_right_on_average():
    """One random direction for each row: sixty rows of the same image, within four standard errors."""
    z = data(VariancePreserving(), 0.2, 1).expand(60, 4, 4)
    got = flow_log_prob(unet(), z, 0.2, trace="hutchinson", generator=torch.Generator().manual_seed(0), tolerance=1e-4)
    want = float(Exact(tree(), VariancePreserving(), channel()).log_prob(z[:1], 0.2))
    assert abs(float(got.mean()) - want) < 4 * float(got.std()) / 60**0.5
    assert float(got.std()) > 0.05  # they are random
    again = flow_log_prob(
        unet(), z, 0.2, trace="hutchinson", generator=torch.Generator().manual_seed(0), tolerance=1e-4
    )
    assert torch.equal(again, got)


def test_networks_of_ones_own():
    class Normal(nn.Module):  # the denoiser of standard normal data
        def forward(self, z, sigma):
            return z / (1 + sigma.square())[:, None]

    z = noisy(4, (6,))
    got = flow_log_prob(Normal(), z, 0.3)
    want = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)  # alpha^2 + sigma^2 = 1
    torch.testing.assert_close(got, want, rtol=0, atol=2e-3)
    assert flow_log_prob(Normal(), z[:0], 0.3).shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: flow_log_prob(unet(), z, 0.0), "starts at a time with noise"),
        (lambda z: flow_log_prob(unet(), z, 1.0), "starts at a time with noise"),
        (lambda z: flow_log_prob(unet(), z, 0.1, hgm.diffusion.Masked()), "a continuous process"),
        (lambda z: flow_log_prob(unet(), z, 0.1, trace="full"), "trace must be"),
        (lambda z: flow_log_prob(unet(), z.long(), 0.1), "z must be floats"),
        (lambda z: flow_log_prob(unet(), z * torch.nan, 0.1), "z must be finite"),
        (lambda z: flow_log_prob(lambda z, s: z * torch.nan, z, 0.1), r"gave NaN or infinity in the flow \(sigma"),
        (lambda z: flow_log_prob(lambda z, s: z[:, :1], z, 0.1), "in the shape of z"),
        (lambda z: flow_log_prob(unet(), z, 0.1, tolerance=-1.0), "tolerance must be"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(hgm.HgmError, match=message) as error:
        call(noisy(2))
    assert "\n" not in str(error.value)


def test_rows_of_evidence_go_with_rows_of_images():
    z, process, evidence = (
        data(VariancePreserving(), 0.3),
        VariancePreserving(),
        {"label": [0, 1, 2], "x0_0": [1, 0, 2]},
    )
    want = Exact(tree(), process, channel(), evidence).log_prob(z, 0.3)
    got = flow_log_prob(Denoiser(tree(), channel(), evidence), z, 0.3)
    torch.testing.assert_close(got, want, rtol=0, atol=16e-4)


@pytest.mark.parametrize(("shift", "half"), [(0.0, 100.0), (1e6, 1.0), (3.0, 1e-3)])
def test_values_of_any_size_have_a_flow(shift, half):
    """Where the process ends with less noise than the data have range, the flow goes on."""
    over, process = hgm.Gaussian([shift + half * value for value in VALUES]).bound(3), VariancePreserving()
    x = hgm.infer(tree()).sample(2, generator=torch.Generator().manual_seed(0)).leaves
    z = process.observe(x, 0.3, over, torch.Generator().manual_seed(1))
    want = Exact(tree(), process, over).log_prob(z, 0.3)
    got = flow_log_prob(hgm.compile(tree(), "denoise", channel=over), z, 0.3)
    torch.testing.assert_close(got, want, rtol=0, atol=16e-4)


def test_of_many_numbers_the_trace_is_estimated(monkeypatch):
    z, seeds = data(VariancePreserving(), 0.5, 1), [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    assert torch.equal(*(flow_log_prob(unet(), z, 0.5, generator=seed) for seed in seeds))
    monkeypatch.setattr("hgm.diffusion.flow.EXACT_TRACE", 15)
    assert not torch.equal(*(flow_log_prob(unet(), z, 0.5, generator=seed) for seed in seeds))
