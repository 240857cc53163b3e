"""Noise of every shape: what it means by direct formulas, in channels, networks, and in what is drawn."""

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from scipy import stats

import hgm
from hgm.errors import BadEvidence
from hgm.testing import assert_close

VALUES = np.array([-1.0, 0.0, 0.5, 3.0])
S, B = len(VALUES), 3
POSITIONS = pytest.mark.parametrize("positions", [(), (3,), (4,), (3, 4), (2, 3, 2)], ids=str)


def shapes(positions):
    """Every shape that noise may have, among them such that sizes agree by chance."""
    ones = (1,) * len(positions)
    yield from [(), (1,), (B,), (B, S, *positions), (1, S, *ones), (B, 1, *positions), (1, 1, *ones), (B, S, *ones)]
    if positions:
        yield from [(B, *positions), (B, *ones), (1, *positions), (1, *ones), (B, *positions[:-1], 1)]


def everywhere(noise, positions):
    """Noise ``(B, S, *positions)``, spelled out."""
    rank = noise.ndim - len(positions)
    if noise.ndim < 2 and rank < 2:
        noise = noise.reshape(-1, 1, *(1,) * len(positions))
    elif rank == 1:
        noise = noise[:, None]
    return np.broadcast_to(noise, (B, S, *positions))


@POSITIONS
@pytest.mark.parametrize("size", [None, 2], ids=["numbers", "vectors"])
def test_gaussian_noise_of_every_shape(positions, size):
    rng = np.random.default_rng(0)
    values = VALUES if size is None else rng.normal(size=(S, size))
    z = torch.from_numpy(rng.normal(size=(B, *(() if size is None else (size,)), *positions)))
    channel, order = hgm.Gaussian(values), rng.permutation(int(np.prod(positions)))
    for shape in shapes(positions):
        sigma = rng.uniform(0.3, 2, shape)
        for alpha in (np.array(1.0), rng.uniform(0.5, 1, shape)):
            spread = everywhere(sigma, positions)
            at = values.reshape(1, S, *(() if size is None else (size,)), *(1,) * len(positions))
            wide = spread if size is None else spread[:, :, None]
            mean = at * (everywhere(alpha, positions) if size is None else everywhere(alpha, positions)[:, :, None])
            want = stats.norm.logpdf(z.numpy()[:, None], mean, wide)
            want = torch.from_numpy(want if size is None else want.sum(2))
            noise = (torch.from_numpy(sigma), torch.from_numpy(alpha))
            got = channel(z, *noise)
            assert got.shape == (B, S, *positions)
            assert_close(got.log_softmax(1), want.log_softmax(1), 1e-12, f"sigma of shape {shape}")
            if len(shape) == len(positions) + 2:
                constant = (size or 1) * 0.5 * np.log(2 * np.pi)
                assert_close(got, want + constant, 1e-12, f"with its logarithm, {shape}")
            first = channel.states_first(z, *noise)
            assert first.is_contiguous() and first.shape == (S, len(order), B)
            moved = channel.rearranged(torch.from_numpy(order), z, *noise)
            assert_close(channel.states_first(*moved), first[:, order], 1e-13, f"in another order, {shape}")


@POSITIONS
def test_flips_of_every_shape(positions):
    rng = np.random.default_rng(1)
    z = rng.integers(-1, S, (B, *positions))
    channel, order = hgm.Flip(states=S), rng.permutation(int(np.prod(positions)))
    for shape in shapes(positions):
        eps = rng.uniform(0, 1, shape)
        every = everywhere(eps, positions)
        got = channel(torch.from_numpy(z), torch.from_numpy(eps))
        assert got.shape == (B, S, *positions)
        for at in np.ndindex(*got.shape):
            seen = z[(at[0], *at[2:])]
            want = 1.0 if seen < 0 else 1 - every[at] if seen == at[1] else every[at] / (S - 1)
            assert abs(float(got[at].exp()) - want) < 1e-12, shape
        moved = channel.rearranged(torch.from_numpy(order), torch.from_numpy(z), torch.from_numpy(eps))
        first = channel.states_first(torch.from_numpy(z), torch.from_numpy(eps))
        assert_close(channel.states_first(*moved), first[:, order], 1e-13, f"in another order, {shape}")


@pytest.mark.parametrize("channel", [hgm.Gaussian(), hgm.Missing(hgm.Gaussian()), hgm.Flip()], ids=lambda c: c.kind)
@pytest.mark.parametrize("name", ["quad_2d", "ragged", "binary_untied", "single"])
def test_networks_with_noise_of_every_shape(channel, name):
    """Against the reference on the channel's log evidence; grids are put in another order before they are read."""
    tree = CASES[name].tree
    positions, states = tree.leaf_shape, int(tree.cardinality[tree.leaves].max())
    net = hgm.compile(tree, channel=channel)
    rng = np.random.default_rng(2)
    z = torch.from_numpy(rng.integers(-1, int(tree.cardinality[tree.leaves].min()), (B, *positions)))
    z = z if channel.kind == "flip" else z + torch.from_numpy(rng.normal(size=z.shape))
    if channel.kind == "missing":
        z[0].view(-1)[0] = torch.nan
    ones = (1,) * len(positions)
    leaves = torch.from_numpy(tree.leaves.copy())
    for shape in [(), (B,), (B, *positions), (B, *ones), (1, states, *ones), (B, states, *positions)]:
        noise = torch.from_numpy(rng.uniform(0.2, 0.8, shape))
        e = net.channel(z, noise)
        posterior = hgm.infer(tree, e)
        got, log_z = net(z, noise, outputs=("posterior", "log_partition"))
        want = posterior.marginals[:, :states, leaves].reshape(got.shape)
        assert_close(got, want, 1e-12, f"posterior, {shape}")
        assert_close(log_z, posterior.log_partition, 1e-12, f"log partition, {shape}")
        assert_close(net(z.numpy(), noise.numpy()), want, 1e-12, f"arrays, {shape}")


def test_a_sliced_batch_takes_its_part_of_the_noise(monkeypatch):
    import importlib

    net = hgm.compile(CASES["quad_2d"].tree, "denoise", channel=hgm.Gaussian())
    z, (h, w), states = torch.randn(7, *net.leaf_shape, dtype=torch.float64), net.leaf_shape, net.leaf_states
    noises = [torch.rand(s, dtype=torch.float64) + 0.3 for s in [(7,), (7, h, w), (1, h, w), (7, states, 1, 1)]]
    want = [net(z, noise) for noise in noises]
    monkeypatch.setattr(importlib.import_module("hgm.networks.running"), "SLICE", 2 * net.row_size)
    for noise, whole in zip(noises, want, strict=True):
        assert_close(net(z, noise), whole, 1e-14, str(noise.shape))
        assert_close(net(z, noise.numpy()), whole, 1e-14, "an array")
        assert_close(net(z, noise.tolist()), whole, 1e-14, "a list")


@pytest.mark.parametrize("channel", [hgm.Gaussian(VALUES), hgm.Flip(states=S)], ids=lambda c: c.kind)
def test_what_is_drawn_with_noise_per_state_is_calibrated(channel):
    """Of x uniform, E[[x = a] p(a | z)] = E[p(a | z)^2]."""
    generator, n = torch.Generator().manual_seed(0), 60_000
    x = torch.randint(S, (n, 2), generator=generator)
    for noise in (torch.tensor([0.1, 0.5, 0.9, 0.3]).view(1, S, 1), torch.tensor([[0.2, 0.8]])):
        z = channel.observe(x, noise, generator=generator)
        p = channel(z, noise).double().softmax(1)
        gap = p * (torch.nn.functional.one_hot(x, S).movedim(-1, 1) - p)
        assert bool((gap.mean(0).abs() < 5 * (gap.std(0) / n**0.5).clamp_min(1e-9)).all())


def test_noise_is_added_per_position_but_not_per_state():
    channel = hgm.Gaussian(VALUES)
    x = torch.zeros(20_000, 2)
    drawn = channel.add_noise(x, torch.tensor([[0.1, 3.0]]), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(drawn.std(0).numpy(), [0.1, 3.0], rtol=0.02)
    with pytest.raises(BadEvidence, match=r"sigma is one per state.*observe"):
        channel.add_noise(x, torch.ones(1, S, 1))
    vectors = hgm.Gaussian(torch.randn(3, 2))
    drawn = vectors.add_noise(torch.zeros(20_000, 2, 2), torch.tensor([[0.1, 3.0]]))
    np.testing.assert_allclose(drawn.std(0).numpy(), [[0.1, 3.0]] * 2, rtol=0.03)


@pytest.mark.parametrize(
    "shape", [(3, 2, 4), (2, 2), (2, 4, 5), (2, 1, 4, 4), (2, 1, 1, 1, 1), (4,), (2, 5, 2, 4)], ids=str
)
def test_noise_of_another_shape_is_refused(shape):
    net = hgm.compile(CASES["quad_2d"].tree, "denoise", channel=hgm.Gaussian())
    z, noise = torch.randn(2, *net.leaf_shape), torch.ones(shape)
    for call in (net, net.channel):
        with pytest.raises(
            BadEvidence, match=r"sigma must be a number, .*\(2,\), .*\(2, 2, 4\) .*\(2, 2, 2, 4\).*got shape"
        ) as error:
            call(z, noise)
        assert str(tuple(noise.shape)) in str(error.value)


class Exposed(hgm.Channel):
    """Counts with an exposure: a channel of one's own that reads noise by `spread`."""

    pointwise = True
    noise_names = ("exposure",)

    def states_first(self, z, *noise):
        rate = self.table()[:, None, None] * self.spread(noise[0], z, "exposure")
        return self.batch_last(z) * rate.log() - rate


def test_a_channel_of_ones_own_takes_noise_of_every_shape():
    tree = CASES["quad_2d"].tree
    channel = Exposed(torch.arange(1.0, 1.0 + int(tree.cardinality[tree.leaves].max())))
    net = hgm.compile(tree, channel=channel)
    z = torch.poisson(torch.full((3, *net.leaf_shape), 2.0, dtype=torch.float64))
    for shape in ((), (3,), (3, *net.leaf_shape), (1, net.leaf_states, 1, 1)):
        exposure = torch.rand(shape, dtype=torch.float64) + 0.5
        want = hgm.compile(tree)(net.channel(z, exposure))
        assert_close(net(z, exposure), want, 1e-12, str(shape))
    with pytest.raises(BadEvidence, match="exposure must be a number"):
        net(z, torch.ones(3, 2, 2))
