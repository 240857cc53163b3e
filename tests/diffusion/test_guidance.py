"""Guidance: at strength 1 it is conditioning, and its direction is a difference of scores."""

import pickle

import pytest
import torch
from diffusion.models import channel, noisy, tree, unet
from torch import nn

import hgm
from hgm.diffusion import Denoiser, Exact, VarianceExploding, guided


def classifier(of=None):
    return hgm.compile(tree() if of is None else of, "classify", channel=channel())


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0, torch.linspace(0.1, 3, 5)], ids=["0.1", "0.5", "2", "by row"])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
@pytest.mark.parametrize("label", [1, [0, 1, 2, 0, 1]], ids=["one", "by row"])
def test_at_strength_one_it_is_conditioning(sigma, alpha, label):
    got = guided(unet(), classifier(), label)(noisy(), sigma, alpha)
    want = Denoiser(tree(), channel(), {"label": label})(noisy(), sigma, alpha)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_the_gradient_of_the_log_posterior_is_the_difference_of_the_scores(sigma):
    process, z = VarianceExploding(sigma, 100.0), noisy().requires_grad_()
    logs = classifier()(z, sigma, outputs="log_posterior")[:, 2]
    (slope,) = torch.autograd.grad(logs.sum(), z)
    z = z.detach()
    given, free = Exact(tree(), process, channel(), {"label": 2}), Exact(tree(), process, channel())
    torch.testing.assert_close(slope, given.score(z, 0.0) - free.score(z, 0.0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("strength", [0.0, 2.5, -1.0])
def test_strength_scales_the_difference_of_the_means(strength):
    z, free, given = noisy(), unet(), Denoiser(tree(), channel(), {"label": 0})
    want = free(z, 0.7) + strength * (given(z, 0.7) - free(z, 0.7))
    torch.testing.assert_close(guided(free, classifier(), 0, strength)(z, 0.7), want, rtol=0, atol=1e-10)


def test_a_network_of_ones_own_gives_logits():
    class Logits(nn.Module):
        def forward(self, z, sigma):
            return cnn(z, sigma, outputs="log_posterior") + 3.0  # logits are known up to a constant

    cnn = classifier()
    got = guided(unet(), Logits(), [0, 1, 2, 0, 1])(noisy(), torch.full((5,), 0.7, dtype=torch.float64))
    torch.testing.assert_close(got, guided(unet(), cnn, [0, 1, 2, 0, 1])(noisy(), 0.7), rtol=0, atol=1e-10)


def test_forms_of_input():
    lean = guided(unet(), classifier(), 1, 2.0)
    want = lean(noisy(), 0.7)
    torch.testing.assert_close(pickle.loads(pickle.dumps(lean))(noisy(), 0.7), want, rtol=0, atol=1e-13)
    assert not want.requires_grad
    assert torch.equal(lean(noisy().numpy(), 0.7), want) and lean(noisy(0), 0.7).shape == (0, 4, 4)
    with torch.inference_mode():
        assert torch.equal(lean(noisy(), 0.7), want)
    by_row = guided(unet(), classifier(), [0, 1, 2, 0, 1])
    torch.testing.assert_close(by_row.rows(slice(1, 3))(noisy()[1:3], 0.7), by_row(noisy(), 0.7)[1:3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guided(unet(), classifier(), 9), "label"),
        (lambda: guided(unet(), classifier(), None), "label must be one label"),
        (lambda: guided(unet(), classifier(), {0: 0.5, 1: 0.5}), "needs a state in each row"),
        (lambda: guided(unet(), classifier(), 1, float("nan")), "strength must be a finite number"),
        (lambda: guided(None, classifier(), 1), "the denoiser is called as"),
        (lambda: guided(unet(), 3, 1), "the classifier is called as"),
        (
            lambda: guided(unet(), lambda z, s: torch.zeros(5, 3), 1)(noisy(), 0.7),
            "which must be differentiable, fails",
        ),
        (
            lambda: guided(unet(), lambda z, s: z.flatten(1)[:, :3] * torch.nan, 1)(noisy(), 0.7),
            "gave NaN in batch rows 0",
        ),
        (lambda: guided(unet(), lambda z: z, 1)(noisy(), 0.7), "the classifier fails: TypeError"),
        (lambda: guided(unet(), classifier(), [0, 1])(noisy(), 0.7), "there are 2 labels, but 5 rows"),
        (lambda: guided(unet(), lambda z, s: z.flatten(1), [0.0, 1.5]), "label must be one label"),
        (lambda: guided(unet(), lambda z, s: z.flatten(1)[:1], 1)(noisy(), 0.7), "gives logits"),
        (lambda: guided(unet(), lambda z, s: z.flatten(1)[:, :2], 2)(noisy(), 0.7), "gives logits"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(hgm.HgmError, match=message):
        call()


def test_a_label_that_cannot_be_is_told():
    prior = hgm.ghm([hgm.Level(2, 2, potential=[[1.0, 0.0], [0.5, 0.5]])], 2, prior=[1.0, 0.0])
    cnn = hgm.compile(prior, "classify", channel=hgm.Gaussian([0.0, 1.0]))
    with pytest.raises(hgm.ImpossibleEvidence, match="the label cannot be"):
        guided(hgm.compile(prior, "denoise", channel=hgm.Gaussian([0.0, 1.0])), cnn, 1)(noisy(2, (2,)), 0.5)


def test_symbols_of_an_image_file_are_values_too():
    lean, z = guided(unet(), classifier(), 1), torch.ones(2, 4, 4, dtype=torch.uint8)
    torch.testing.assert_close(lean(z, 0.5), lean(z.float(), 0.5), rtol=0, atol=0)


def test_guidance_of_a_guided_denoiser_keeps_rows():
    z, twice = noisy(), guided(guided(unet(), classifier(), [0, 1, 2, 0, 1]), classifier(), 1, 0.5)
    torch.testing.assert_close(twice.rows(slice(1, 3))(z[1:3], 0.7), twice(z, 0.7)[1:3], rtol=0, atol=1e-12)


def test_labels_are_its_own():
    labels = torch.tensor([0, 1, 2, 0, 1])
    lean = guided(unet(), lambda z, s: classifier()(z, s, outputs="log_posterior"), labels)
    before = lean(noisy(), torch.full((5,), 0.7, dtype=torch.float64))
    labels.zero_()
    assert torch.equal(lean(noisy(), torch.full((5,), 0.7, dtype=torch.float64)), before)
