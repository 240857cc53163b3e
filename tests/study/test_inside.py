"""What is inside of networks: probes of features that are known, gradients by hand, and known supports."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import hgm
from hgm.learn.objective import objective
from hgm.measure.snr import stream
from hgm.study.blocks import activations, blocks, fresh, in_order, parts
from hgm.study.inside import effective, gradient_norms, probes
from hgm.study.inside_figures import draw_effective, draw_gradients, draw_probes
from hgm.study.linear import explained, held_out
from hgm.study.places import at_nodes, by_distance, groups, sides_of
from hgm.viz.drawing import picture

VALUES = [-1.5, -0.5, 0.5, 1.5]
CHANNEL = hgm.Gaussian(VALUES)


def quad(depth=3, eps=0.15):
    return hgm.broadcast(depth, 4, (2, 2), eps=eps)


def net_of(name, tree, parameters=20_000):
    return hgm.baselines.make(name, tree, CHANNEL, parameters=parameters)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ---------------------------------------------------------------------- the regression


def test_a_linear_function_is_explained_wholly_with_a_constant_of_each_place():
    x = torch.randn(60, 5, 4)
    y = x @ torch.randn(4, 3) + 10 * torch.randn(5, 3)
    assert explained([(x, y)]).value > 1 - 1e-9
    assert explained([(x.repeat(1, 1, 2), y)]).value > 1 - 1e-9  # also where features say the same twice


def test_noise_explains_nothing_however_many_features_it_has():
    """Without a ridge 60 features and 100 samples would give about -1.5."""
    found = [explained([(torch.randn(200, 1, 60), torch.randn(200, 1, 2))]) for _ in range(20)]
    values = torch.tensor([f.value for f in found])
    assert values.max() < 0.03 and values.mean() > -0.05
    assert sum(f.low > 0 for f in found) <= 2


def test_the_share_of_known_noise_is_found_and_the_interval_holds_it():
    """y = x + noise of variance 3: R² = 1 / 4 at the best, less by what fitting 1 weight costs."""
    found = [explained([(x := torch.randn(400, 2, 1), x + 3**0.5 * torch.randn(400, 2, 1))]) for _ in range(60)]
    assert np.mean([f.value for f in found]) == pytest.approx(0.25, abs=0.015)
    assert np.mean([f.low <= 0.248 <= f.high for f in found]) > 0.85
    assert np.mean([f.high - f.low for f in found]) == pytest.approx(4 * np.std([f.value for f in found]), rel=0.4)


def test_the_interval_is_that_of_a_ratio():
    """Samples of very different sizes, of which the same share is explained: the share is sure, the sums are not."""
    x, size = torch.randn(400, 20, 1), torch.rand(400, 1, 1) ** 4 + 0.01
    found = [explained([(x * size, size * (x + torch.randn(400, 20, 1)))]) for _ in range(20)]
    assert np.mean([f.high - f.low for f in found]) < 0.15
    assert np.mean([f.low <= 0.5 <= f.high for f in found]) > 0.8


def test_no_sample_is_in_the_fit_that_it_is_held_against():
    x, y = torch.randn(40, 1, 3).double(), torch.randn(40, 1, 1).double()
    before = held_out(x, y)[0]
    x[25], y[25] = 50.0, -70.0
    after = held_out(x, y)[0]
    changed = (before != after).nonzero().flatten().tolist()
    assert changed == [*range(20), 25]


def test_what_does_not_vary_has_nothing_to_explain():
    assert explained([(torch.randn(30, 2, 3), torch.ones(30, 2, 1))]) == (0, 0, 0)
    constant = torch.cat([torch.randn(30, 2, 3), torch.zeros(30, 2, 1)], 2)  # a feature that is dead
    assert explained([(constant, constant[..., :1])]).value > 1 - 1e-9


# ---------------------------------------------------------------------- places


def test_a_node_is_told_the_mean_of_its_cells_or_the_cell_that_holds_it():
    h = torch.arange(16.0).double().reshape(1, 1, 4, 4)
    half = at_nodes(h, (8, 8), (8, 8), (2, 2))
    assert half[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    fine = at_nodes(h, (8, 8), (8, 8), (8, 8))
    assert torch.equal(fine, h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert at_nodes(h, (8, 8), (8, 8), (1, 1)).item() == 7.5


def test_the_middle_cell_is_one_inside_the_node_or_the_one_that_holds_it():
    h = torch.arange(16.0).double().reshape(1, 1, 4, 4)
    assert at_nodes(h, (8, 8), (8, 8), (2, 2), True)[0, 0].tolist() == [[5, 7], [13, 15]]
    assert torch.equal(at_nodes(h, (8, 8), (8, 8), (8, 8), True), at_nodes(h, (8, 8), (8, 8), (8, 8)))
    assert at_nodes(h, (8, 8), (8, 8), (1, 1), True).item() == 10


def test_a_node_astride_two_cells_is_told_their_share():
    """Nine leaves in three blocks of three, padded to twelve, six cells of two."""
    h = torch.arange(6.0).double().reshape(1, 1, 6)
    assert at_nodes(h, (12,), (9,), (3,)).flatten().tolist() == pytest.approx([1 / 3, (1 + 4) / 3, 10 / 3])


def test_nodes_of_one_cell_are_targets_of_one_probe():
    h, y = torch.randn(7, 5, 2, 2).double(), torch.randn(7, 64, 3).double()
    ((features, targets),) = groups(h, (8, 8), (8, 8), (8, 8), y)
    assert torch.equal(features, h.flatten(2).movedim(1, -1)) and targets.shape == (7, 4, 16 * 3)
    within = [y.reshape(7, 8, 8, 3)[:, i::4, j::4].reshape(7, 4, 3) for i in range(4) for j in range(4)]
    assert torch.equal(targets, torch.cat(within, -1))
    ((features, targets),) = groups(h, (8, 8), (8, 8), (1, 1), y[:, :1])
    assert features.shape == (7, 1, 5) and torch.equal(targets, y[:, :1])


def test_nodes_that_lie_in_their_cells_otherwise_have_another_probe():
    """Nine leaves, padded to twelve, in six cells of two: those at even places, and those at odd ones."""
    y = torch.arange(9.0).double().expand(4, 9).unsqueeze(-1)
    pairs = groups(torch.randn(4, 2, 6).double(), (12,), (9,), (9,), y)
    assert sorted(t[0, :, 0].tolist() for _, t in pairs) == [[0, 2, 4, 6, 8], [1, 3, 5, 7]]


def test_every_node_is_in_one_group_whatever_the_sides_are():
    tree = hgm.broadcast(2, 2, 3)
    for sides, nodes in zip(sides_of(tree), (1, 3, 9), strict=True):
        y = torch.arange(float(nodes)).double().expand(4, nodes).unsqueeze(-1)
        for cells in (2, 3, 6, 12):
            pairs = groups(torch.randn(4, 2, cells).double(), (12,), (9,), sides, y)
            assert sorted(v for _, t in pairs for v in t[0].flatten().tolist()) == list(range(nodes))


def test_energy_by_ring_and_by_ancestor():
    energy = torch.zeros(4, 4).double()
    energy[1, 1], energy[0, 0], energy[1, 2], energy[3, 3] = 0.4, 0.3, 0.2, 0.1
    rings, levels = by_distance(energy, (1, 1), sides_of(quad(2)))
    assert rings.tolist() == pytest.approx([0.4, 0.5, 0.1, 0]) and levels.tolist() == pytest.approx([0.3, 0.3, 0.4])


# ---------------------------------------------------------------------- probes


class Knows(nn.Module):
    """A block gives the exact posteriors of one level, at its resolution; another gives noise."""

    def __init__(self, tree, level):
        super().__init__()

        class Belief(nn.Module):
            def __init__(self):
                super().__init__()
                names = [tree.names[v] for v in range(int(tree.level_ptr[level]), int(tree.level_ptr[level + 1]))]
                self.part = nn.Identity()
                self.exact = [hgm.compile(tree, "posterior", channel=CHANNEL, query=names).double()]

            def forward(self, z, sigma):
                return self.exact[0](z.double(), sigma.double()).unflatten(2, tree.grid[level])

        class Noise(nn.Module):
            def __init__(self):
                super().__init__()
                self.part = nn.Identity()

            def forward(self, z):
                return torch.randn(len(z), 6, *z.shape[1:])

        self.blocks = nn.ModuleList([Belief(), Noise()])

    def forward(self, z, sigma):
        self.blocks[0](z, sigma)
        self.blocks[1](z)
        return z


def test_exact_beliefs_are_found_at_their_level_and_noise_at_none():
    tree = quad()
    found = probes(Knows(tree, 2), tree, CHANNEL, 1.0, n=100)["trained"]
    belief, noise, output = found["blocks.0"], found["blocks.1"], found["output"]
    assert belief["positions"] == [4, 4] and belief["channels"] == 4 and noise["positions"] == [8, 8]
    assert belief["r2"][2] > 1 - 1e-6 and all(0.05 < belief["r2"][k] < 0.99 for k in (0, 1, 3))
    assert max(noise["r2"]) < 0.05 and sum(low > 0 for low in noise["low"]) <= 1
    assert 0 < output["r2"][3] < 0.9  # the data themselves
    assert output["cell"]["r2"][3] == output["r2"][3] and output["cell"]["r2"][0] < output["r2"][0]


def test_the_means_of_the_blocks_of_ancestors_are_all_that_is_linear_in_the_data():
    """On a symmetric tree: beside least squares on all of z, with so many samples that fitting costs nothing."""
    tree, n = hgm.broadcast(2, 2, (2, 2), eps=0.1), 4000
    channel, sigma = hgm.Gaussian([-1.0, 1.0]), 1.0
    net = hgm.baselines.make("cnn_3", tree, channel, parameters=2000)
    told = probes(net, tree, channel, sigma, n=n)["input"]
    x = hgm.infer(tree).sample(n, generator=torch.Generator().manual_seed(5)).leaves
    z = channel.table().double()[x] * 1.0 if channel.states else torch.tensor([-1.0, 1.0]).double()[x]
    z = z + sigma * torch.randn(z.shape, dtype=torch.float64)
    p = hgm.compile(tree, "posterior", channel=channel, query="all").double()(z, sigma)
    a = torch.cat([z.flatten(1), torch.ones(n, 1)], 1)
    for k, (first, last) in enumerate([(0, 1), (1, 5), (5, 21)]):
        y = p[:, 0, first:last]
        left = (y - a @ torch.linalg.lstsq(a, y).solution).square().mean() / y.var(0).mean()
        assert told["r2"][k] == pytest.approx(1 - float(left), abs=0.03)


@pytest.mark.long
def test_a_probe_says_how_much_the_posterior_varies_and_repeats_itself():
    tree = quad(2)
    net = net_of("unet", tree, 5000)
    one, other = (probes(net, tree, CHANNEL, 2.0, n=60, seed=1) for _ in range(2))
    assert one == other and one["input"] != probes(net, tree, CHANNEL, 2.0, n=60, seed=2)["input"]
    assert all(one["trained"][b] != one["untrained"][b] for b in one["trained"])
    assert len(one["variance"]) == 3 and all(0 < v < 1 for v in one["variance"])
    assert list(one["trained"]) == ["encoder.0", "middle.0", "middle.1", "decoder.0", "output"]
    assert all(v["low"][k] <= v["r2"][k] <= v["high"][k] for v in one["trained"].values() for k in range(3))


def test_the_samples_are_of_the_seed():
    """With hardly any noise the posterior is the leaf itself: how much it varies is a matter of the samples alone."""
    tree = quad(1)
    net = net_of("cnn_3", tree, 3000)
    one, other = (probes(net, tree, CHANNEL, 0.05, n=40, seed=seed)["variance"][1] for seed in (1, 2))
    assert abs(one - other) > 1e-4


@pytest.mark.long
def test_probes_take_sequences_and_sides_that_do_not_fit():
    tree = hgm.broadcast(3, 3, 3)
    channel = hgm.Gaussian([-1.0, 0.0, 1.0])
    found = probes(hgm.baselines.make("unet", tree, channel, parameters=5000), tree, channel, 1.0, n=60)
    assert found["trained"]["encoder.1"]["positions"] == [16] and len(found["input"]["r2"]) == 4


def test_networks_and_trees_that_have_no_places_are_refused():
    tree = quad(2)
    net = net_of("cnn_3", tree, 3000)
    with pytest.raises(hgm.BadSpec, match="blocks"):
        probes(Two(), tree, CHANNEL, 1.0)
    irregular = hgm.Tree.from_edges([("a", "b", np.ones((4, 4))), ("a", "c", np.ones((4, 4)))])
    with pytest.raises(hgm.BadSpec, match="grid"):
        probes(net, irregular, CHANNEL, 1.0)
    with pytest.raises(hgm.BadSpec, match="Gaussian"):
        probes(net, tree, hgm.Flip(), 0.1)
    with pytest.raises(hgm.BadSpec, match="reset_parameters"):
        fresh(net_of("compiled_random", tree, 500), 0)


# ---------------------------------------------------------------------- blocks


def test_blocks_and_other_parts_are_all_of_a_network():
    net = net_of("unet", quad())
    named = list(blocks(net))
    assert named == [
        "body.encoder.0",
        "body.encoder.1",
        "body.middle.0",
        "body.middle.1",
        "body.decoder.0",
        "body.decoder.1",
    ]
    own = parts(net)
    assert sum(w.numel() for several in own.values() for w in several) == sum(w.numel() for w in net.parameters())
    assert {*named, "body.lift", "body.down.0", "body.up.1", "body.last"} <= set(own)


def test_blocks_of_blocks_are_the_innermost_with_parts():
    inner = nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU())
    net = nn.Sequential(nn.ModuleList([nn.ModuleDict({"list": nn.ModuleList([inner])})]), nn.Conv1d(1, 1, 1))
    assert list(blocks(net)) == ["0.0.list.0"]


def test_parts_are_in_the_order_in_which_they_run():
    net = net_of("unet", quad(), 10_000)
    names = [part for part in parts(net) if "time" not in part]
    assert [name.removeprefix("body.") for name in in_order(net, names, torch.randn(1, 8, 8), torch.ones(1))] == [
        "lift", "encoder.0", "down.0", "encoder.1", "down.1", "middle.0", "middle.1",
        "up.1", "decoder.1", "up.0", "decoder.0", "last",
    ]  # fmt: skip
    found = gradient_norms(net, quad(), CHANNEL, 1.0, n=128)["trained"]
    assert list(found)[-4:] == ["decoder.1", "up.0", "decoder.0", "last"]


def test_activations_are_in_the_order_in_which_they_run_and_leave_the_network_as_it_was():
    net = net_of("unet", quad()).train()
    seen = activations(net, torch.randn(3, 8, 8), torch.ones(3))
    assert [n.split(".", 1)[1] for n in seen if "." in n][-2:] == ["decoder.1", "decoder.0"]
    assert seen["body.encoder.1"].shape[2:] == (4, 4) and seen["output"].shape == (3, 1, 8, 8)
    assert net.training and not any(m._forward_hooks for m in net.modules())


def test_a_fresh_network_has_other_weights_of_the_same_law_and_touches_nothing():
    net = net_of("unet", quad())
    with torch.no_grad():
        for w in net.parameters():
            w.mul_(5)
    state = torch.get_rng_state()
    one, other = fresh(net, 3), fresh(net, 3)
    assert torch.equal(state, torch.get_rng_state())
    for a, b, c in zip(net.parameters(), one.parameters(), other.parameters(), strict=True):
        assert torch.equal(b, c) and not torch.equal(a, b)
    start = net_of("unet", quad())
    for a, b in zip(start.parameters(), one.parameters(), strict=True):
        if a.numel() > 100:
            assert b.std().item() == pytest.approx(a.std().item(), rel=0.3)
        assert not bool((a == 1).all()) or bool((b == 1).all())  # gains


# ---------------------------------------------------------------------- gradients


class Two(nn.Module):
    """f(z) = b (a z), two layers of one number; it is not told the noise."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            self.first.weight.fill_(0.7)
            self.second.weight.fill_(-1.3)

    def forward(self, z, sigma):
        return self.second(self.first(z.unsqueeze(-1))).squeeze(-1)


def test_gradients_of_two_layers_are_those_by_hand():
    """L = mean (b a z - x)²: dL/da = 2 b m and dL/db = 2 a m with the same m, so their ratio is known."""
    found = gradient_norms(Two(), quad(1), CHANNEL, 0.5, n=256)
    first, second = found["trained"]["first"], found["trained"]["second"]
    assert first["norm"] / second["norm"] == pytest.approx(1.3 / 0.7, rel=1e-5)
    assert first["relative"] == pytest.approx(first["norm"] / 0.7, rel=1e-5) and first["parameters"] == 1
    assert first["share"] == pytest.approx(1.3**2 / (1.3**2 + 0.7**2), rel=1e-5)
    assert first["share"] + second["share"] == pytest.approx(1)
    # E z x = E x², E z² = E x² + sigma²:  dL/da = 2 b (b a E z² - E x²)
    power = np.mean(np.square(VALUES))
    truth = abs(2 * -1.3 * (-1.3 * 0.7 * (power + 0.25) - power))
    assert first["low"] < truth < first["high"]


def test_gradients_are_those_of_differences():
    tree = quad(1)
    net = net_of("cnn_3", tree, 3000)
    found = gradient_norms(net, tree, CHANNEL, 1.0, n=128, seed=3)
    ask = objective(net, CHANNEL.bound(4), "denoise", 1.0, 1.0)
    norms = []
    for batch in range(2):
        x = hgm.infer(tree).sample(64, generator=stream(3, "samples", batch)).leaves
        shown = ask.shown(x, x, stream(3, "noise", batch))
        other = copy.deepcopy(net).double()
        weight, square = other.body.first.weight, 0.0
        for i in range(weight.numel()):
            ends = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    weight.view(-1)[i] += step
                    ends.append(float((other(*(g.double() for g in shown.given)) - shown.target).square().mean()))
                    weight.view(-1)[i] -= step
            square += ((ends[0] - ends[1]) / 2e-5) ** 2
        bias = other.body.first.bias
        (ask.loss(other(*(g.double() for g in shown.given)), shown.target)).backward()
        norms.append((square + float(bias.grad.square().sum())) ** 0.5)
    assert found["trained"]["first"]["norm"] == pytest.approx(np.mean(norms), rel=1e-3)


def test_gradient_norms_leave_the_network_as_it_is():
    net = net_of("unet", quad(2), 5000).eval().requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    found = gradient_norms(net, quad(2), CHANNEL, (0.1, 10.0), n=128)
    assert not net.training and all(w.grad is None and not w.requires_grad for w in net.parameters())
    assert all(torch.equal(x, before[k]) for k, x in net.state_dict().items())
    for name in ("trained", "untrained"):
        assert sum(v["share"] for v in found[name].values()) == pytest.approx(1)
        assert all(v["low"] <= v["norm"] <= v["high"] for v in found[name].values())


# ---------------------------------------------------------------------- what an output uses


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("hgm.study.inside.PLACES", 5)


def test_a_cnn_uses_nothing_outside_its_window_and_the_posterior_does(few):
    tree = quad()
    found = effective(net_of("cnn_3", tree, 5000), tree, CHANNEL, 1.0)
    assert found["network"]["rings"]["value"][2:] == [0.0] * 6 and found["network"]["rings"]["value"][1] > 0
    assert all(v > 0 for v in found["exact"]["rings"]["value"][:6])
    for who in ("network", "exact"):
        for how in ("rings", "levels"):
            assert sum(found[who][how]["value"]) == pytest.approx(1)
    assert 0 < found["apart"]["low"] <= found["apart"]["value"] <= found["apart"]["high"] <= 1


def test_the_exact_network_beside_itself_is_the_same(few):
    tree = quad(2)
    found = effective(hgm.compile(tree, "denoise", channel=CHANNEL), tree, CHANNEL, 0.7)
    assert found["network"] == found["exact"] and found["apart"]["value"] == 0


class Far(nn.Module):
    """Every output is the leaf across."""

    leaf_shape = (4, 4)

    def forward(self, z, sigma):
        return z.roll((2, 2), (1, 2))


def test_outputs_that_use_nothing_in_common_are_wholly_apart(few):
    """Leaves are independent where all edges are uniform: the posterior uses its own leaf alone."""
    tree = hgm.broadcast(2, 4, (2, 2), eps=0.75)
    found = effective(Far(), tree, CHANNEL, 1.0)
    assert found["apart"]["value"] == pytest.approx(1) and found["exact"]["size"]["value"] == pytest.approx(1)
    assert found["network"]["rings"]["value"] == [0, 0, 1, 0] and found["network"]["levels"]["value"] == [1, 0, 0]


@pytest.mark.long
def test_the_posterior_uses_a_leaf_the_less_the_further_it_is_in_the_tree():
    """Of a leaf: the share of a level over how many leaves meet it there."""
    tree = hgm.broadcast(4, 2, 2, eps=0.1)
    channel = hgm.Gaussian([-1.0, 1.0])
    exact = hgm.compile(tree, "denoise", channel=channel)
    share = np.array(effective(exact, tree, channel, 1.5)["exact"]["levels"]["value"])
    each = share / np.array([8, 4, 2, 1, 1])
    assert (np.diff(each) > 0).all()


def test_the_inputs_are_noisy_data_and_no_white_noise():
    """x is -10 or 10 at all leaves together: at data the posterior is sure and flat, at noise around 0 it is steep."""
    seen = []

    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.leaf_shape = (2, 2)

        def forward(self, z, sigma):
            seen.append(z.detach().clone())
            return z * self.weight

    tree = hgm.broadcast(1, 2, (2, 2), eps=0.0)
    effective(Looks(), tree, hgm.Gaussian([-10.0, 10.0]), 0.1)
    assert all(abs(abs(float(z.mean())) - 10) < 0.5 and float(z.std()) < 1 for z in seen)


# ---------------------------------------------------------------------- pictures


def texts(figure):
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


@pytest.mark.long
def test_pictures_show_every_network_and_level(few):
    tree = quad(2)
    nets = {name: net_of(name, tree, 5000) for name in ("unet", "cnn_3")}
    drawn = draw_probes({name: probes(net, tree, CHANNEL, 1.0, n=40) for name, net in nets.items()})
    assert [a.get_title() for a in drawn.axes] == ["unet", "cnn_3"]
    assert {"root", "level 1", "leaves"} <= set(texts(drawn))
    assert [t.get_text() for t in drawn.axes[1].get_xticklabels()] == ["blocks.0", "output"]
    gradients = draw_gradients({n: gradient_norms(net, tree, CHANNEL, 1.0, n=128) for n, net in nets.items()})
    assert [t.get_text() for t in gradients.axes[1].get_xticklabels()] == ["first", "blocks.0", "last"]
    share = draw_effective({n: effective(net, tree, CHANNEL, 1.0) for n, net in nets.items()})
    assert {"exact posterior mean", "unet", "cnn_3"} <= set(texts(share))
    own = share.axes[0].get_lines()[0].get_ydata()
    assert len(share.axes) == 2 and min(own) > 0 and max(own) <= 1
    for figure in (drawn, gradients, share):
        assert picture(figure, "svg").startswith(b"<?xml")
