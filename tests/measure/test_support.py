"""Receptive fields of networks whose windows are known: exact, whatever the network is made of."""

import numpy as np
import pytest
import torch
from torch import nn

import hgm


class Plain(nn.Module):
    """Layers on ``(B, 1, *shape)``, called as networks are."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, z, sigma):
        return self.layers(z.unsqueeze(1)).squeeze(1)


def stack(layers, axes, *between, width=6):
    conv = (nn.Conv1d, nn.Conv2d)[axes - 1]
    sizes = [1, *[width] * (layers - 1), 1]
    parts = []
    for i in range(layers):
        parts += [conv(sizes[i], sizes[i + 1], 3, padding=1), nn.ReLU(), *(b() for b in between)]
    return Plain(*parts[: -1 - len(between)])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_layers_of_3x3_see_a_window(layers):
    side = 2 * layers + 1
    image = hgm.receptive_field(stack(layers, 2), (16, 17))
    assert image.size == side**2 and image.extent == (side, side) and not image.whole
    row = hgm.receptive_field(stack(layers, 1), (16,))
    assert row.size == side and row.extent == (side,)
    where = np.argwhere(image.support)
    assert (where.min(0) == (8 - layers, 8 - layers)).all() and (where.max(0) == (8 + layers, 8 + layers)).all()


def test_at_the_border_a_window_is_cut():
    seen = hgm.receptive_field(stack(2, 2), (9, 9), at=(0, 8))
    assert seen.size == 9 and seen.at == (0, 8) and seen.support[:3, 6:].all()
    assert hgm.receptive_field(stack(2, 1), 9, at=0).size == 3


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.GroupNorm(2, 6),
        lambda: nn.InstanceNorm2d(6),
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Upsample(size=(12, 12))),
    ],
    ids=["group norm", "instance norm", "pooling"],
)
def test_what_averages_over_positions_sees_all(layer):
    assert hgm.receptive_field(Plain(nn.Conv2d(1, 6, 1), layer(), nn.Conv2d(6, 1, 1)), (12, 12)).whole


def test_attention_sees_all_and_masked_attention_the_past():
    class Attention(nn.Module):
        def __init__(self, causal):
            super().__init__()
            self.layer, self.causal = nn.MultiheadAttention(8, 2, batch_first=True), causal
            self.lift = nn.Linear(1, 8)

        def forward(self, z, sigma):
            h, n = self.lift(z.unsqueeze(-1)), z.shape[1]
            mask = torch.full((n, n), -torch.inf, dtype=h.dtype).triu(1) if self.causal else None
            return self.layer(h, h, h, attn_mask=mask, need_weights=False)[0][..., 0]

    assert hgm.receptive_field(Attention(False), 10).whole
    seen = hgm.receptive_field(Attention(True), 10, at=4)
    assert seen.support.tolist() == [True] * 5 + [False] * 5


def test_batch_norm_sees_nothing_more_in_evaluation_and_is_left_as_it_was():
    net = stack(2, 2, lambda: nn.BatchNorm2d(6))
    before = {name: x.clone() for name, x in net.state_dict().items()}
    assert hgm.receptive_field(net, (12, 12)).size == 25
    assert net.training and all(torch.equal(x, before[name]) for name, x in net.state_dict().items())
    assert next(net.parameters()).dtype == torch.float32 and next(net.parameters()).grad is None


def test_a_masked_kernel_does_not_count_what_is_multiplied_by_zero():
    layer = nn.Conv1d(1, 1, 5, padding=2)
    with torch.no_grad():
        layer.weight[0, 0, 3:] = 0
    assert hgm.receptive_field(Plain(layer), 11).support.nonzero()[0].tolist() == [3, 4, 5]


def test_faint_influence_counts_and_none_does_not():
    class Faint(nn.Module):
        def forward(self, z, sigma):
            return z + 1e-250 * z.flip(1)

    seen = hgm.receptive_field(Faint(), 7, at=0)
    assert seen.support.nonzero()[0].tolist() == [0, 6]
    assert seen.effective == pytest.approx(1.0)
    assert hgm.receptive_field(lambda z, sigma: torch.zeros_like(z), 7).size == 0
    blind = hgm.receptive_field(lambda z, sigma: z.roll(1, 1), 7, at=3)
    assert blind.support.nonzero()[0].tolist() == [2]


def test_the_effective_size_is_known_for_linear_networks():
    weights = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0], dtype=torch.float64)
    seen = hgm.receptive_field(lambda z, sigma: z * 0 + (z @ weights)[:, None], 5)
    energy = np.array([0, 1, 4, 9, 0]) / 14
    np.testing.assert_allclose(seen.energy, energy, atol=1e-12)
    assert seen.effective == pytest.approx(14**2 / (1 + 16 + 81)) and seen.size == 3
    even = hgm.receptive_field(lambda z, sigma: z.mean(1, keepdim=True).expand_as(z), 5)
    assert even.effective == pytest.approx(5) and even.whole
    assert "sees 3 of 5 positions (3), effectively 2.0" in str(seen) and "sees all positions" in str(even)


def test_several_outputs_and_components():
    """A softmax over states sums to 1: its sum has no derivative, each part has."""
    three = lambda z, sigma: torch.stack([z, 2 * z.roll(1, -1), -z], 1).softmax(1)  # noqa: E731
    assert hgm.receptive_field(three, 6, at=2).support.nonzero()[0].tolist() == [1, 2]
    tree = hgm.random_ghm(2, 3, (2, 2), seed=0)
    vectors = hgm.compile(tree, "denoise", channel=hgm.Gaussian([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]))
    assert hgm.receptive_field(vectors, inputs=2).whole
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian())
    seen = hgm.receptive_field(net, sigma=0.5)
    assert seen.whole and seen.support.shape == (4, 4) and 1 <= seen.effective <= 16


def test_the_derivatives_are_those_of_differences():
    net = hgm.compile(hgm.random_ghm(3, 3, 2, seed=0), "denoise", channel=hgm.Gaussian())
    seen = hgm.receptive_field(net, sigma=0.8, at=5, inputs=3, seed=4)
    source, energy = torch.Generator().manual_seed(4), torch.zeros(8, dtype=torch.float64)
    for _ in range(3):
        z = torch.randn(1, 8, generator=source, dtype=torch.float64) * (1 + 0.8**2) ** 0.5
        step = torch.eye(8, dtype=torch.float64) * 1e-6
        energy += ((net(z + step, 0.8) - net(z - step, 0.8))[:, 5] / 2e-6).square()
    np.testing.assert_allclose(seen.energy, (energy / energy.sum()).numpy(), rtol=1e-5, atol=1e-9)


def test_it_works_under_no_grad_and_inference_mode():
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert hgm.receptive_field(stack(2, 1), 9).size == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(net=3), "net must be a network"),
        (dict(shape=None), "give the shape of a row of z"),
        (dict(shape=()), "shape must have an axis"),
        (dict(shape=(2.5,)), "shape"),
        (dict(sigma=0), "sigma must be a positive number"),
        (dict(at=(1, 2)), "at must be a position"),
        (dict(at=9), "at must be a whole number"),
        (dict(inputs=0), "inputs"),
        (dict(seed=-1), "seed"),
        (dict(net=lambda z, sigma: z[:, :2]), "must give a tensor"),
        (dict(net=lambda z, sigma: z / 0 * 0), "NaN or infinite"),
        (dict(net=lambda z: z), "fails: TypeError"),
    ],
)
def test_wrong_arguments_are_one_line(change, message):
    given = dict(net=stack(1, 1), shape=(9,)) | change
    with pytest.raises(hgm.HgmError, match=message) as error:
        hgm.receptive_field(**given)
    assert "\n" not in str(error.value)


def test_networks_of_symbols_and_other_shapes_are_refused():
    tree = hgm.random_ghm(2, 3, 2, seed=0)
    with pytest.raises(hgm.BadSpec, match="the network reads Flip"):
        hgm.receptive_field(hgm.compile(tree, channel=hgm.Flip()))
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian())
    with pytest.raises(hgm.BadSpec, match=r"has the shape \(4,\); got shape=5"):
        hgm.receptive_field(net, 5)


@pytest.mark.parametrize("make", ["compiled", "cnn_3"])
def test_of_a_classifier_it_is_what_the_whole_answer_sees(make):
    tree, channel = hgm.random_ghm(2, 3, (2, 2), seed=0), hgm.Gaussian()
    if make == "compiled":
        net = hgm.compile(tree, "classify", channel=channel)
    else:
        net = hgm.baselines.make(make, tree, channel, task="classify", parameters=2000)
    seen = hgm.receptive_field(net)
    assert seen.at == () and seen.whole and str(seen).startswith("the answer sees all positions (4x4)")
    with pytest.raises(hgm.BadExtension, match=r"such as a classifier's, give at=\(\)"):
        hgm.receptive_field(net, at=(0, 0))


def test_the_whole_answer_sees_what_any_part_of_it_does():
    half = lambda z, sigma: torch.stack([z[:, 1] + z[:, 2], z[:, 4]], 1)  # noqa: E731
    assert hgm.receptive_field(half, 7, at=()).support.nonzero()[0].tolist() == [1, 2, 4]
    assert hgm.receptive_field(stack(1, 1), 9, at=()).whole
    number = hgm.receptive_field(lambda z, sigma: z[:, 3], 7, at=())
    assert number.size == 1 and number.support[3]


def test_energy_is_at_the_inputs_that_are_given():
    """f_v = z_v² / 2 + z_(v + 1): slopes z_v and 1."""
    square = lambda z, sigma: z.square() / 2 + z.roll(-1, 1)  # noqa: E731
    given = np.array([[0, 0, 3, 0], [0, 0, 4, 0]])
    for inputs in (given, given.tolist(), torch.tensor(given), torch.tensor(given, dtype=torch.float16)):
        seen = hgm.receptive_field(square, 4, inputs=inputs)
        np.testing.assert_allclose(seen.energy, [0, 0, 25 / 27, 2 / 27], atol=1e-12)
    learns = torch.ones(1, 4, requires_grad=True)
    assert hgm.receptive_field(square, 4, inputs=learns).size == 2 and learns.grad is None
    assert hgm.receptive_field(square, 4, inputs=0 * given).size == 1  # where the slope is 0 nothing is seen


@pytest.mark.parametrize(
    "inputs", [[[1.0, 2.0]], np.zeros((0, 4)), torch.zeros(4), torch.full((1, 4), torch.nan), "all"]
)
def test_inputs_that_are_none_are_refused(inputs):
    with pytest.raises(hgm.BadEvidence, match="inputs"):
        hgm.receptive_field(lambda z, sigma: z, 4, inputs=inputs)
