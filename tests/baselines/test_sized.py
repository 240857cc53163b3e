"""`make`: sizes that are kept to or refused, seeds, and what is no name, tree, channel or task."""

from dataclasses import replace

import pytest
import torch
from baselines.models import SIGMA, both, channel, noisy, tree

import hgm
from hgm.baselines import BASELINES, describe, make, names
from hgm.baselines import sized as module

QUICK = [name for name in names() if not name.startswith("relu")]
PARAMETERS = {"standard": 100_000, "standard_convolutional": 100_000}  # their widths go in steps


def kept(name, kind, **size):
    ((what, wanted),) = size.items()
    got = describe(make(name, tree(kind), channel(), **size))["parameters" if what == "parameters" else "multiply_adds"]
    return abs(got - wanted) <= module.SHARE * wanted


@pytest.mark.parametrize(("name", "kind"), both(QUICK))
def test_parameters_are_kept(name, kind):
    assert kept(name, kind, parameters=PARAMETERS.get(name, 60_000))


@pytest.mark.parametrize("name", ["unet", "compiled", "transformer"])
def test_compute_is_kept(name):
    assert kept(name, "image", compute=500_000)


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind"), both(QUICK))
def test_compute_of_every_network_is_kept(name, kind):
    assert kept(name, kind, compute=500_000)


@pytest.mark.long
@pytest.mark.parametrize("name", ["relu", "relu_random"])
def test_sizes_of_relu_networks_are_kept(name):
    got = describe(make(name, tree(), channel(), parameters=4_000))
    assert abs(got["parameters"] - 4_000) <= 400 and got["multiply_adds"] > 4_000


@pytest.mark.parametrize("wanted", [700, 1_500, 4_321, 33_000])
def test_the_width_is_the_nearest_of_all(monkeypatch, wanted):
    monkeypatch.setattr(module, "SHARE", 10.0)
    sizes = {}
    for width in range(1, 60):
        with torch.device("meta"):
            net = BASELINES["unet"].recipe(hgm.baselines.Problem(tree(), channel()), width)
        sizes[width] = sum(weight.numel() for weight in net.parameters())
    got = describe(make("unet", tree(), channel(), parameters=wanted))["parameters"]
    assert got == min(sizes.values(), key=lambda size: abs(size - wanted))


@pytest.mark.parametrize("name", [name for name in QUICK if name != "unet_cut_2"])
def test_a_seed_is_all_the_randomness(name):
    size = dict(parameters=PARAMETERS.get(name, 60_000))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = make(name, tree(), channel(), **size, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = (make(name, tree(), channel(), **size, seed=seed) for seed in (1, 2))
    z = noisy()
    with torch.no_grad():
        assert torch.equal(one.eval()(z, SIGMA), again.eval()(z, SIGMA))
        assert torch.equal(one(z, SIGMA), other.eval()(z, SIGMA)) == (name == "compiled")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(name="unett"), "there is no network 'unett'.*did you mean 'unet'"),
        (dict(name=3), "there is no network 3"),
        (dict(parameters=None), "one of the two; got parameters=None and compute=None"),
        (dict(compute=1000), "one of the two"),
        (dict(parameters=2), "no size within 10% of parameters=2 here; the nearest is parameters="),
        (dict(parameters=2.5), "parameters must be a whole number"),
        (dict(seed=-1), "seed"),
        (dict(tree=3), "tree must be a Tree"),
        (dict(channel=hgm.Soft()), "hgm.Gaussian.*the channel is"),
        (dict(channel=None), "the channel is None"),
        (dict(channel=hgm.Flip()), "Flip is a channel of symbols: use task='posterior'"),
        (dict(channel=hgm.Gaussian([0.0, 1.0])), "2 states"),
        (dict(task="sample"), "task must be"),
        (dict(name="compiled", parameters=30), r"the nearest is parameters=\d+"),
    ],
)
def test_what_cannot_be_made_is_one_line(change, message):
    given = dict(name="unet", tree=tree(), channel=channel(), parameters=20_000) | change
    with pytest.raises(hgm.HgmError, match=message) as error:
        make(given.pop("name"), given.pop("tree"), given.pop("channel"), **given)
    assert "\n" not in str(error.value)


def test_leaves_that_a_network_does_not_take():
    cube = replace(hgm.star(8, 2, seed=0), grid=((), (2, 2, 2)))
    with pytest.raises(hgm.BadSpec, match=r"the leaves are \(2, 2, 2\): use a compiled network"):
        make("unet", cube, hgm.Gaussian(), parameters=1000)
    assert make("compiled", cube, hgm.Gaussian(), parameters=300)(torch.randn(3, 2, 2, 2), 0.5).shape == (3, 2, 2, 2)
    pair = hgm.star(2, 2, seed=0)
    with pytest.raises(hgm.BadSpec, match="cannot lack what it does not have"):
        make("autoencoder", pair, hgm.Gaussian(), parameters=1000)
    with pytest.raises(hgm.BadSpec, match="cannot lack"):
        make("unet_cut_2", tree(), channel(), parameters=1000)


def test_a_missing_library_is_one_line(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(hgm.BadSpec, match=r"standard needs diffusers; install it: pip install 'hgm\[diffusion\]'"):
        make("standard", tree(), channel(), parameters=100_000)


def test_single_leaves_and_small_images():
    for leaves in (1, 2, 3):
        star = hgm.star(leaves, 3, seed=0)
        for name in ("unet", "cnn_3", "standard", "transformer"):
            net = BASELINES[name].recipe(hgm.baselines.Problem(star, channel()), 2)
            assert net(torch.randn(2, leaves), 0.5).shape == (2, leaves)
