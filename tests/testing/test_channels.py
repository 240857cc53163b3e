"""The battery for channels: those of the library pass it, and broken ones fail."""

import numpy as np
import pytest
import torch

import hgm
from hgm.evidence.channel import CHANNELS
from hgm.testing import ChannelConformance

VECTORS = np.random.default_rng(0).normal(size=(3, 2))


class Battery(ChannelConformance):
    """The battery; exporting, which takes seconds, only when asked for."""

    @pytest.mark.slow
    def test_a_network_with_it_exports(self):
        super().test_a_network_with_it_exports()


class TestSoft(Battery):
    def make_channel(self):
        return hgm.Soft(states=3)

    def log_likelihood(self, channel, z, *noise):
        hit = torch.eye(3, dtype=torch.float64)
        return torch.distributions.Normal(hit, 1.0).log_prob(z.movedim(1, -1).unsqueeze(-2)).sum(-1).movedim(-1, 1)


class TestClamp(Battery):
    def make_channel(self):
        return hgm.Clamp(states=3)


class TestErasure(Battery):
    def make_channel(self):
        return hgm.Erasure(states=3)


class TestErasureByMask(TestErasure):
    def make_observation(self, channel, x, generator):
        return x, torch.rand(x.shape, generator=generator) < 0.5


class TestFlip(ChannelConformance):
    def make_channel(self):
        return hgm.Flip(states=4)

    def make_observation(self, channel, x, generator):
        eps = torch.rand(len(x), generator=generator, dtype=torch.float64)
        return channel.observe(x, eps, generator=generator), eps

    def log_likelihood(self, channel, z, eps):
        eps = eps.view(-1, *(1,) * z.ndim)
        return torch.stack([torch.where(z == a, 1 - eps[:, 0], eps[:, 0] / 3) for a in range(4)], 1).log()


class TestGaussian(ChannelConformance):
    def make_channel(self):
        return hgm.Gaussian([-1.0, 0.5, 2.0])

    def log_likelihood(self, channel, z, sigma):
        sigma = sigma.view(-1, *(1,) * (z.ndim - 1))
        return torch.stack([torch.distributions.Normal(v, sigma).log_prob(z) for v in channel.values], 1)


class TestGaussianOfVectors(Battery):
    def make_channel(self):
        return hgm.Gaussian(VECTORS)

    def make_observation(self, channel, x, generator):
        sigma, alpha = 0.2 + torch.rand(2, len(x), generator=generator, dtype=torch.float64)
        return channel.observe(x, sigma, alpha, generator=generator), sigma, alpha


class TestMissing(Battery):
    def make_channel(self):
        return hgm.Missing(hgm.Gaussian(VECTORS))


class TestMissingSoft(Battery):
    def make_channel(self):
        return hgm.Missing(hgm.Soft(states=3))


# ---------------------------------------------------------------------- broken channels


class Overconfident(hgm.Flip):
    def states_first(self, z, *noise):
        return 2 * super().states_first(z, *noise)


class Strided(hgm.Flip):
    def states_first(self, z, *noise):
        return super().states_first(z, *noise).transpose(0, 2).contiguous().transpose(0, 2)


class AcrossRows(hgm.Gaussian):
    def states_first(self, z, *noise):
        return super().states_first(z - z.mean(0), *noise)


class AcrossPositions(hgm.Gaussian):
    """Says that it reads each position by itself, and does not."""

    def states_first(self, z, *noise):
        return super().states_first(z.cumsum(-1) if z.ndim > 1 else z, *noise)


class Impossible(hgm.Flip):
    def states_first(self, z, *noise):
        return super().states_first(z, *noise).log()


class Biased(hgm.Gaussian):
    def observe(self, x, *noise, generator):
        return super().observe(x, *noise, generator=generator) + 0.3


class Lossy(hgm.Gaussian):
    """Loses a setting in files."""

    def __init__(self, values=None, shift=0.0):
        super().__init__(values)
        self.shift = shift

    def entry(self):
        return super().entry() | {"shift": 0.0}

    def states_first(self, z, *noise):
        return super().states_first(z - self.shift * torch.arange(z.shape[-1]), *noise)


@pytest.mark.parametrize(
    ("make", "test", "message"),
    [
        (lambda: Overconfident(states=3), "the_posterior_is_calibrated", "standard errors"),
        (lambda: Biased(states=3), "the_posterior_is_calibrated", "standard errors"),
        (lambda: Strided(states=3), "log_evidence_is_states_first_in_memory", "contiguous"),
        (lambda: AcrossRows(states=3), "rows_of_a_batch_do_not_touch_each_other", "row 0"),
        (lambda: AcrossPositions(states=3), "positions_can_be_put_in_order_before_or_after", "another order"),
        (lambda: Impossible(states=3), "what_was_drawn_is_possible", "a number at what was drawn"),
        (lambda: Lossy([0.0, 1.0, 2.0], 0.7), "a_network_with_it_is_saved_and_loaded", "the loaded network"),
    ],
)
def test_a_broken_channel_fails(make, test, message, monkeypatch):
    class Mine(ChannelConformance):
        def make_channel(self):
            channel = make()
            if isinstance(channel, Lossy):
                monkeypatch.setattr(Lossy, "kind", "lossy")
                monkeypatch.setitem(CHANNELS, "lossy", Lossy)
            return channel

    with pytest.raises(AssertionError, match=message):
        getattr(Mine(), f"test_{test}")()


def test_the_battery_runs_without_pytest():
    with pytest.raises(NotImplementedError, match="make_channel"):
        ChannelConformance().run()

    class Mine(ChannelConformance):
        def make_channel(self):
            return Strided(states=3)

        def test_a_network_with_it_exports(self):
            pass

        def test_a_network_with_it_is_saved_and_loaded(self):
            pass

    with pytest.raises(AssertionError, match="contiguous"):
        Mine().run()
