"""Every network, on an image, a sequence and one that no halving fits: what each must do, whatever it is made of."""

import copy
import functools
import pickle

import pytest
import torch
from baselines.models import SIGMA, both, channel, noisy, tree

import hgm
from hgm.baselines import BASELINES, Framed, describe, make, names
from hgm.baselines.problem import Problem

BLIND = ("unet_blind",)
NAMES = [name for name in names() if name != "unet_cut_2"]
FRAMED = [name for name in NAMES if not name.startswith(("compiled", "relu"))]


@functools.cache
def small(name, kind="image", task="denoise"):
    """A small network of each name; widths are tried in test_sized."""
    torch.manual_seed(0)
    return BASELINES[name].recipe(Problem(tree(kind), channel(), task), 3)


@pytest.mark.parametrize(("name", "kind"), [*both(names()), *((name, "odd") for name in NAMES)])
def test_means_have_the_shape_of_the_data_and_every_weight_a_gradient(name, kind):
    net, z = copy.deepcopy(small(name, kind)), noisy(kind)
    got = net(z, SIGMA)
    assert got.shape == z.shape and got.dtype == z.dtype and bool(got.isfinite().all())
    assert not torch.allclose(got[:1], got[1:2])
    got.square().sum().backward()
    for part, weight in net.named_parameters():
        assert weight.grad is not None and bool(weight.grad.isfinite().all()), part
        # softmax does not see what is added to all keys; a ReLU network's kinks need not all be passed
        if "relu" not in name and not part.endswith(("to_k.bias", "key.bias")):
            assert float(weight.grad.abs().sum()) > 0, part


@pytest.mark.parametrize(("name", "kind"), both(FRAMED))
def test_rows_are_answered_each_by_itself_with_its_own_noise(name, kind):
    net, z = small(name, kind).eval(), noisy(kind)
    with torch.no_grad():
        whole = net(z, SIGMA)
        torch.testing.assert_close(net(z[2:3], SIGMA[2:3]), whole[2:3], rtol=1e-4, atol=1e-5)
        assert net(z[:0], SIGMA[:0]).shape == z[:0].shape and net(z[:0], 0.5).shape == z[:0].shape
        torch.testing.assert_close(net(z, 0.7), net(z, torch.full((5,), 0.7)), rtol=0, atol=0)
        moved = net(z, SIGMA * 2)
    assert torch.equal(moved, whole) == (name in BLIND)


def test_a_network_that_is_not_told_the_noise_needs_none():
    net, z = small("unet_blind"), noisy()
    assert torch.equal(net(z), net(z, 0.3))
    with pytest.raises(hgm.BadEvidence, match=r"called f\(z, sigma\)"):
        small("unet")(z)


@pytest.mark.parametrize("name", NAMES)
def test_copies_pickles_precisions_and_types(name):
    net, z = small(name), noisy()
    again = pickle.loads(pickle.dumps(net))
    assert torch.equal(again(z, SIGMA), net(z, SIGMA))
    double = copy.deepcopy(net).double()
    got = double(z.double(), SIGMA.double())
    assert got.dtype == torch.float64
    torch.testing.assert_close(got.float(), net(z, SIGMA), rtol=1e-3, atol=1e-4)
    assert net(z.half(), SIGMA).dtype == torch.float16
    assert torch.equal(net(z.numpy(), SIGMA.numpy()), net(z, SIGMA))
    torch.testing.assert_close(net(z.tolist(), SIGMA.tolist()).float(), net(z, SIGMA))


@pytest.mark.parametrize("name", FRAMED)
def test_whole_numbers_are_values(name):
    z = torch.ones(2, 8, 8, dtype=torch.uint8)
    assert torch.equal(small(name)(z, 0.5), small(name)(z.float(), 0.5))


@pytest.mark.parametrize("name", NAMES)
def test_posteriors_and_classes_are_distributions(name):
    z = noisy()
    for task, shape in (("posterior", (5, 3, 8, 8)), ("classify", (5, 3))):
        got = small(name, task=task)(z, SIGMA)
        assert got.shape == shape
        torch.testing.assert_close(got.sum(1), torch.ones_like(got.sum(1)))


@pytest.mark.parametrize("over", [hgm.Flip(), hgm.Erasure()], ids=["flip", "erasure"])
@pytest.mark.parametrize("name", FRAMED)
def test_symbols_are_read_as_they_are(name, over):
    torch.manual_seed(0)
    net = BASELINES[name].recipe(Problem(tree(), over, "posterior"), 3)
    z = torch.randint(-1, 3, (4, 8, 8), generator=torch.Generator().manual_seed(1))
    got = net(z, 0.3)
    assert got.shape == (4, 3, 8, 8) and got.dtype == torch.float32
    assert torch.equal(net(z.numpy(), 0.3), got)
    other = z.clone()
    other[0, 1, 1] = (other[0, 1, 1] + 2) % 3
    assert not torch.equal(net(other, 0.3)[0], got[0]) and torch.equal(net(other, 0.3)[1:], got[1:])


def test_vectors_and_states_that_a_leaf_does_not_have():
    vectors = hgm.Gaussian([[0.0, 1.0], [1.0, 0.0], [5.0, 5.0]])
    net = make("unet", tree(), vectors, parameters=20_000)
    assert net(torch.randn(3, 2, 8, 8), 0.5).shape == (3, 2, 8, 8)
    mixed = hgm.Tree.from_edges([("a", "b", torch.rand(2, 2).numpy()), ("a", "c", torch.rand(2, 3).numpy())])
    p = make("cnn_3", mixed, hgm.Gaussian([0.0, 1.0, 2.0]), parameters=5_000, task="posterior")(
        torch.randn(4, 2), 0.5
    ).detach()
    assert float(p[:, 2, 0].abs().max()) == 0 and float(p[:, 2, 1].min()) > 0


@pytest.mark.parametrize("values", [[-1.0, 0.2, 1.3], [99.0, 100.2, 102.3]])
def test_answers_follow_the_scale_of_the_values(values):
    """The same data in other units: the same answer in those units."""
    units = torch.tensor([-1.0, 0.2, 1.3]) * 10 + 200
    z = noisy()
    for name in ("unet", "cnn_3", "autoencoder", "unet_blind"):
        one = make(name, tree(), channel(), parameters=20_000)
        other = make(name, tree(), hgm.Gaussian(units), parameters=20_000)
        torch.testing.assert_close(other(z * 10 + 200, SIGMA * 10), one(z, SIGMA) * 10 + 200, rtol=1e-4, atol=1e-3)


def test_the_frame_is_karras_preconditioning():
    """With a body that gives zero, the best linear guess of independent values; no skip, the middle."""
    net, z = copy.deepcopy(small("unet")), noisy(dtype=torch.float64)
    with torch.no_grad():
        net.double().body.last.weight.zero_()
        net.body.last.bias.zero_()
    values, sigma = torch.tensor([-1.0, 0.2, 1.3], dtype=torch.float64), 0.8
    centre, variance = 0.15, values.var(correction=0)
    torch.testing.assert_close(net(z, sigma), centre + variance / (variance + sigma**2) * (z - centre))
    bare = copy.deepcopy(small("autoencoder")).double()
    with torch.no_grad():
        bare.body.last.weight.zero_()
        bare.body.last.bias.zero_()
    torch.testing.assert_close(bare(z, sigma), torch.full_like(z, centre))


class Echo(torch.nn.Module):
    """A body that gives back its features, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()))

    def forward(self, y, t):
        self.shown = y, t
        return y * self.one


@pytest.mark.parametrize("kind", ["image", "odd"])
def test_a_body_is_shown_scaled_padded_data_and_the_time(kind):
    net, z, sigma = Framed(Problem(tree(kind), channel()), Echo(), "scale", 4), noisy(kind), torch.linspace(0.3, 2, 5)
    got = net(z, sigma)
    centre, half, variance = 0.15, 1.15, torch.tensor([-1.0, 0.2, 1.3]).var(correction=0) / 1.15**2
    s, axes = sigma / half, (slice(None), *(None,) * (z.ndim - 1))
    y = (z - centre) / half / (s.square() + variance).sqrt()[axes]
    shown, t = net.body.shown
    torch.testing.assert_close(t, 100 * s.log())
    assert shown.shape == ((5, 1, 8, 8) if kind == "image" else (5, 1, 12))
    torch.testing.assert_close(shown[:, 0][..., : z.shape[-1]], y)
    assert float(shown[:, 0][..., z.shape[-1] :].detach().abs().sum()) == 0
    torch.testing.assert_close(got, centre + half * y)


def test_symbols_are_shown_one_hot_and_erased_ones_as_nothing():
    net = Framed(Problem(tree("odd"), hgm.Erasure(), "posterior"), Echo())
    z = torch.tensor([[0, 1, 2, -1, 0, 0, 1, 2, 2]])
    got = net(z, 0.25)
    want = torch.stack([(z == state).float() for state in range(3)], 1)
    torch.testing.assert_close(net.body.shown[0], want)
    torch.testing.assert_close(net.body.shown[1], torch.tensor([250.0]))
    torch.testing.assert_close(got, want.softmax(1))


@pytest.mark.parametrize(
    ("z", "noise", "message"),
    [
        (torch.zeros(2, 4), 0.5, r"z must be of shape \(B, 8, 8\)"),
        (torch.zeros(()), 0.5, r"z must be of shape"),
        (torch.zeros(2, 8, 8), -1.0, "sigma must be positive and finite; got -1"),
        (torch.zeros(2, 8, 8), float("nan"), "sigma must be positive and finite"),
        (torch.zeros(2, 8, 8), torch.ones(3), r"sigma must be a number or of shape \(2,\)"),
        (torch.zeros(2, 8, 8), None, r"called f\(z, sigma\)"),
        ("noise", 0.5, "array of numbers"),
    ],
)
def test_wrong_input_is_one_line(z, noise, message):
    with pytest.raises(hgm.BadEvidence, match=message):
        small("unet")(z, noise)


def test_describe_counts_what_a_hand_counts():
    net = small(
        "cnn_1"
    )  # 4 channels: 1 -> 4, two blocks of 1x1 convolutions, 4 -> 1; times: 32 -> 8 -> 8, 8 -> 8 twice
    assert net.body.first.out_channels == 4
    convolutions = 4 + 4 * 16 + 4
    times = 32 * 8 + 8 * 8 + 2 * 8 * 8
    assert describe(net)["multiply_adds"] == 64 * convolutions + times
    free = sum(weight.numel() for weight in net.parameters())
    assert describe(net)["parameters"] == free
    next(net.body.first.parameters()).requires_grad_(False)
    assert describe(net)["parameters"] == free - 4
    next(net.body.first.parameters()).requires_grad_(True)
    with pytest.raises(hgm.BadSpec, match="describe is for networks"):
        describe(torch.nn.Linear(1, 1))
