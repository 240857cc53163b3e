"""A forward process, a scheduler of values and one of symbols from outside, each a class or function and one line."""

from dataclasses import dataclass

import diffusers
import torch

import hgm
from hgm.diffusion import Denoiser, Exact, Masked, sample, scheduler
from hgm.diffusion.process import GaussianProcess
from hgm.diffusion.schedulers import LEVELS
from hgm.diffusion.tokens import TOKENS, Driver

TREE = hgm.random_ghm(1, 2, (2, 2), seed=0)
CHANNEL = hgm.Gaussian([-1.0, 1.0])


@dataclass(frozen=True)
class Angle(GaussianProcess):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2)."""

    def alpha_sigma(self, t):
        return torch.cos(torch.pi * t / 2), torch.sin(torch.pi * t / 2)


def test_a_process():
    exact, z = Exact(TREE, Angle(), CHANNEL), torch.randn(3, 2, 2, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(exact.log_prob(z, 0.4).sum(), z)
    torch.testing.assert_close(exact.score(z.detach(), 0.4), slope, rtol=1e-9, atol=1e-10)
    x = sample(Denoiser(TREE, CHANNEL), scheduler("heun", Angle()), 4, steps=20)
    assert (x.abs() - 1).abs().max() < 0.05


def test_a_scheduler_of_values(monkeypatch):
    class Straight:
        """One step: from noise to what the denoiser says."""

        def __init__(self):
            self.config = {"prediction_type": "sample"}

        def set_timesteps(self, steps):
            self.timesteps = torch.arange(steps).flip(0)

        def step(self, told, t, y, return_dict=False):
            return (told,)

    monkeypatch.setitem(LEVELS, "Straight", lambda made, index, t: (torch.tensor(0.1), torch.tensor(1.0)))
    assert sample(Denoiser(TREE, CHANNEL), Straight(), 3, steps=1).shape == (3, 2, 2)


def test_a_scheduler_of_symbols(monkeypatch):
    class AtOnce(diffusers.DiscreteDDIMScheduler):
        pass

    def steps(run):
        z = run.masks()
        yield run.log_posterior(z, step=0).argmax(1).view(run.shape)

    monkeypatch.setitem(TOKENS, "AtOnce", Driver(Masked(), steps))
    net = Denoiser(TREE, hgm.Erasure(), task="posterior", query="leaves")
    assert (
        sample(net, AtOnce(num_inference_steps=1), 3).tolist()
        == [sample(net, AtOnce(num_inference_steps=1))[0].tolist()] * 3
    )
