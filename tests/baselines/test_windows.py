"""What networks see: the windows they state, the skips they lack, what normalisation and attention show them."""

import pytest
import torch
from baselines.models import SIGMA, channel, noisy, tree
from torch import nn

import hgm
from hgm.baselines import BASELINES, names
from hgm.baselines.problem import Problem


def large(kind="image"):
    return hgm.random_ghm(5, 3, (2, 2), seed=0) if kind == "image" else hgm.random_ghm(6, 3, 2, seed=0)


def net_of(name, of):
    torch.manual_seed(0)
    return BASELINES[name].recipe(Problem(of, channel()), 4)


@pytest.mark.parametrize("kind", ["image", "sequence"])
@pytest.mark.parametrize("name", [name for name in names() if name.startswith("cnn") or name == "unet_flat"])
def test_networks_see_the_window_they_state(name, kind):
    of = large(kind)
    net = net_of(name, of)
    seen = hgm.receptive_field(net, inputs=2)
    sides = tuple(min(net.window, n) for n in of.leaf_shape)
    assert seen.extent == sides and seen.size == int(torch.tensor(sides).prod())


@pytest.mark.parametrize(
    "name", ["standard", "standard_convolutional", "transformer", "compiled", "unet", "autoencoder"]
)
def test_networks_that_see_everything(name):
    for kind in ("image", "sequence"):
        assert hgm.receptive_field(net_of(name, tree(kind)), inputs=2).whole


def flows(net, level):
    """Whether a gradient passes the skip of a level, with the way down stopped."""
    heard = {}
    body = net.body
    hook = body.down[level].register_forward_hook(lambda layer, given, out: out.detach().clone().requires_grad_())
    keep = body.encoder[level].register_forward_hook(lambda layer, given, out: heard.update(skip=out))
    out = net(noisy("sequence", rows=2), 0.7)
    hook.remove(), keep.remove()
    (slope,) = torch.autograd.grad(out.square().sum(), heard["skip"], allow_unused=True)
    return slope is not None and float(slope.abs().sum()) > 0


@pytest.mark.parametrize(
    ("name", "open_levels"),
    [
        ("unet", {0, 1, 2}),
        ("unet_added", {0, 1, 2}),
        ("unet_cut_0", {1, 2}),
        ("unet_cut_1", {0, 2}),
        ("unet_cut_2", {0, 1}),
        ("autoencoder", set()),
    ],
)
def test_a_cut_skip_is_cut(name, open_levels):
    net = net_of(name, tree("sequence"))
    assert net.body.levels == 4
    assert {level for level in (0, 1, 2) if flows(net, level)} == open_levels


@pytest.mark.parametrize("name", ["autoencoder", "unet_cut_0"])
def test_nothing_goes_past_a_network_whose_finest_skip_is_cut(name):
    """All that leaves of one block see of the data is what their halving passes on: the same for both."""
    net = net_of(name, tree("sequence")).double().eval()
    with torch.no_grad():
        net.body.down[0].weight.zero_()
    assert hgm.receptive_field(net, inputs=2).size == 0
    assert net_of("unet", tree("sequence")).sees == "skip" and net.sees == "scale"


@pytest.mark.parametrize(("name", "channels"), [("unet_narrow", 3), ("unet_narrow_2", 2), ("unet_narrow_1", 1)])
def test_the_narrow_ones_pass_so_many_channels(name, channels):
    narrow = net_of(name, tree())
    through = []
    narrow.body.squeeze[0].register_forward_hook(lambda layer, given, out: through.append(out.shape[1]))
    narrow(noisy(), 0.7)
    assert through == [channels]


def test_resolutions_are_thirds():
    """27 leaves have the resolutions 27, 9, 3; 10 are padded to 12 and have 12, 4."""
    for leaves, sides in ((27, [27, 9, 3]), (10, [12, 4])):
        net, seen = net_of("unet_thirds", hgm.star(leaves, 3, seed=0)), []
        for block in (*net.body.encoder, net.body.middle[0]):
            block.register_forward_hook(lambda layer, given, out, seen=seen: seen.append(out.shape[-1]))
        assert net(torch.randn(2, leaves), 0.7).shape == (2, leaves) and seen == sides


def test_noise_is_told_at_the_input_only():
    """All blocks are without a time, and with the input told another noise the answer is another."""
    net, z = net_of("unet_told_once", tree()), noisy()
    assert all(getattr(block, "time", None) is None for block in net.body.modules() if block is not net.body)
    assert net.sees == "scale" and not torch.allclose(net.body(z[:, None], torch.zeros(5)), net.body(z[:, None], SIGMA))
    with torch.no_grad():
        net.body.tell.weight.zero_()
    assert torch.equal(net.body(z[:, None], torch.zeros(5)), net.body(z[:, None], SIGMA))


def test_the_fixed_encoder_has_no_weights():
    fixed = net_of("unet_haar", tree())
    assert not len(fixed.body.encoder) and not len(fixed.body.down)
    y = torch.randn(2, 1, 8, 8)
    lifted, skips = fixed.body._encoded(y, None)
    means = [y.unfold(2, side, side).unfold(3, side, side).mean((4, 5)) for side in (1, 2, 4)]
    for skip, mean in zip(skips, means[:2], strict=True):
        torch.testing.assert_close(skip, mean)
    torch.testing.assert_close(lifted, fixed.body.lift(means[2]))


def test_no_network_without_normalisation_has_one():
    """So what they see is what their kernels see."""
    kinds = (nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LayerNorm)
    for name in names():
        has = any(isinstance(layer, kinds) for layer in net_of(name, tree("sequence")).modules())
        assert has == (name in ("standard", "standard_convolutional", "transformer")), name
