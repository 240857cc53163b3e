"""How far a network is from the optimum: what `hgm.compare` finds is what calculus and enumeration say."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles.enumeration import Joint
from oracles.trees import CASES

import hgm
from hgm.measure import gap as measured
from hgm.measure.interval import Tally

VALUES = [-1.5, -0.5, 0.5, 1.5]
CHANNELS = {
    "gaussian": (lambda s: hgm.Gaussian(torch.linspace(-1, 1, s).tolist() if s > 1 else [0.0]), [0.2, 1.0, 5.0]),
    "vectors": (lambda s: hgm.Gaussian([[math.cos(i), i / 2, -i] for i in range(s)]), [0.3, 2.0]),
    "flip": (lambda s: hgm.Flip(), [0.0, 0.1, 0.5]),
    "erasure": (lambda s: hgm.Erasure(), [0.1, 0.6, 1.0]),
}
TREES = ["quad_2d", "ragged", "forest", "hard_zeros", "rhm", "chain", "single", "cardinality_1", "polytree"]
UNEQUAL = [name for name in TREES if len(set(CASES[name].tree.cardinality[CASES[name].tree.leaves].tolist())) > 1]


def states_of(tree):
    return int(tree.cardinality[tree.leaves].max())


def pair_tree(eps=0.15):
    """Two blocks of two leaves, of three states."""
    return hgm.broadcast(2, 3, 2, eps=eps)


def joint_of(tree):
    factors = [(tree.scope_names(f), tree.potential_of(f).values) for f in range(tree.factors)]
    return Joint(list(tree.names), tree.cardinality.tolist(), factors)


def entropy(p):
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def standard_error(estimate):
    return (estimate.high - estimate.low) / 2 / 1.96


# ---------------------------------------------------------------------- the optimum


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("name", TREES)
def test_the_exact_network_is_zero_to_rounding(name, kind, dtype):
    tree = CASES[name].tree
    make, noise = CHANNELS[kind]
    channel = make(states_of(tree))
    if kind == "flip" and name in UNEQUAL:
        with pytest.raises(hgm.BadSpec, match="Flip goes to any of S states"):
            hgm.compare(lambda z, eps: z, tree, channel=channel, noise=noise)
        return
    net = hgm.compile(tree, "denoise" if kind in ("gaussian", "vectors") else "posterior", channel=channel).to(dtype)
    gap = hgm.compare(net, tree, noise=noise, n=40)
    assert gap.zero and gap.dtype == str(dtype).removeprefix("torch."), gap
    assert str(gap).count("zero to rounding") == len(noise) + 1
    top = {torch.float32: 1e-10, torch.float64: 1e-22}[dtype]
    assert gap.allowance <= top * max(1.0, (states_of(tree) ** 2))


def test_zero_to_rounding_is_said_of_the_whole_interval():
    gap = hgm.compare(lambda z, s: z, pair_tree(), noise=[1.0], n=20)
    (row,) = gap.levels
    assert not replace(gap, allowance=row.excess).zero and replace(gap, allowance=row.high).zero


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_has_an_allowance_of_its_own(dtype):
    tree = pair_tree()
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian([-1.0, 0.0, 1.0]))
    gap = hgm.compare(lambda z, s: net(z, s).to(dtype), tree, channel=net.channel, noise=[0.5, 2], n=50)
    assert gap.zero and gap.allowance > 1e-8 and gap.levels[0].excess > 1e-9


@pytest.mark.parametrize("kind", ["gaussian", "flip", "erasure"])
@pytest.mark.parametrize("name", ["quad_2d", "single", "hard_zeros"])
def test_a_classifier_is_measured_at_the_first_root(name, kind):
    tree = CASES[name].tree
    make, noise = CHANNELS[kind]
    net = hgm.compile(tree, "classify", channel=make(states_of(tree)))
    assert hgm.compare(net, tree, noise=noise, n=30).zero
    prior = hgm.infer(tree).marginals[: int(tree.cardinality[tree.roots[0]]), tree.roots[0]]
    blind = hgm.compare(
        lambda z, t: prior.expand(len(z), -1), tree, channel=net.channel, noise=noise, n=400, task="classify"
    )
    for row in blind.levels:  # H(y | z) + I(y; z) = H(y)
        assert row.low <= entropy(prior.numpy()) - row.optimum + 0.05 and row.excess >= 0
        assert row.optimum + row.excess == pytest.approx(entropy(prior.numpy()), abs=0.15)


def test_optimum_and_excess_are_those_of_enumeration():
    tree, sigma = pair_tree(), 0.7
    joint, values, seen = joint_of(tree), np.array([-1.0, 0.0, 2.0]), []
    leaves = [tree.names[int(v)] for v in tree.leaves]

    def by_hand(z, level):
        means, variances = [], []
        for row in z.double().numpy():
            like = {
                n: np.exp(-((x - values) ** 2) / 2 / float(level[0]) ** 2) for n, x in zip(leaves, row, strict=True)
            }
            p = np.array([joint.given(like).marginal(n) for n in leaves])
            means.append(p @ values)
            variances.append(p @ values**2 - means[-1] ** 2)
        seen.append(np.mean(variances))
        return torch.tensor(np.array(means)) + torch.tensor([0.1, 0.0, 0.0, -0.3], dtype=torch.float64)

    gap = hgm.compare(by_hand, tree, channel=hgm.Gaussian(values.tolist()), noise=sigma, n=60, per="leaf")
    (row,) = gap.rows()
    assert row.keys() == {"noise", "optimum", "excess", "low", "high", "n"} and row["n"] == 60
    assert row["optimum"] == pytest.approx(seen[0], rel=1e-9)
    assert row["excess"] == pytest.approx((0.1**2 + 0.3**2) / 4, rel=1e-9)
    assert [part["excess"] for part in gap.parts()] == pytest.approx([0.01, 0, 0, 0.09], abs=1e-12)
    assert [part["leaf"] for part in gap.parts()] == leaves


def test_divergences_are_those_of_enumeration():
    tree = pair_tree()
    joint, leaves = joint_of(tree), [tree.names[int(v)] for v in tree.leaves]
    for channel, like in (
        (hgm.Flip(), lambda a, e: np.where(np.arange(3) == a, 1 - e, e / 2)),
        (hgm.Erasure(), lambda a, e: np.ones(3) if a < 0 else (np.arange(3) == a) * 1.0),
    ):
        want = []

        def f(z, level, like=like, want=want, channel=channel):
            for row in z.tolist():
                given = joint.given({n: like(a, float(level[0])) for n, a in zip(leaves, row, strict=True)})
                for name, a in zip(leaves, row, strict=True):
                    p = given.marginal(name)
                    counts = a < 0 or isinstance(channel, hgm.Flip)
                    want.append((-entropy(p) + math.log(3), entropy(p)) if counts else (0.0, 0.0))
            return torch.full((len(z), 3, 4), 1 / 3, dtype=torch.float64)

        (row,) = hgm.compare(f, tree, channel=channel, noise=[0.3], n=50).levels
        assert (row.excess, row.optimum) == pytest.approx(tuple(np.mean(want, 0)), rel=1e-6)


# ---------------------------------------------------------------------- nats


def with_variance(tree, channel):
    """A network whose excess is the posterior variance: D + sqrt(Var)."""
    net = hgm.compile(tree, channel=channel).double()
    table = channel.bound(states_of(tree)).table()

    def f(z, sigma):
        p = net(z.double(), sigma.double())
        mean, second = (torch.einsum("bs...,s->b...", p, x) for x in (table, table**2))
        return mean + (second - mean**2).clamp_min(0).sqrt()

    return f


@pytest.mark.parametrize(
    ("tree", "values", "n"),
    [
        (pair_tree(), [-1.0, 0.0, 2.0], 20_000),
        (hgm.chain(8, 2, seed=3), [0.0, 1000.0], 20_000),
        pytest.param(hgm.broadcast(3, 4, (2, 2), eps=0.15), VALUES, 2_000, marks=pytest.mark.long),
        pytest.param(CASES["ragged"].tree, [0.0, 1.0, 1000.0, 1001.0, 5.0], 20_000, marks=pytest.mark.long),
    ],
)
def test_half_the_integral_of_the_mmse_is_the_entropy(tree, values, n):
    channel = hgm.Gaussian(values)
    nats = hgm.compare(with_variance(tree, channel), tree, channel=channel, n=n, seed=1).nats
    x = hgm.infer(tree).sample(40_000, generator=torch.Generator().manual_seed(5)).leaves
    log_p = hgm.compile(tree, channel=hgm.Clamp()).double().log_partition(x) - hgm.infer(tree).log_partition
    want, error = -float(log_p.mean()), float(log_p.std()) / 200
    assert abs(nats.value - want) < 3 * math.hypot(error, standard_error(nats))
    assert abs(nats.value - want) < 0.005 * want + 3 * error


def test_the_grid_leaves_out_less_than_it_says(monkeypatch):
    tree = pair_tree()
    channel = hgm.Gaussian([0.0, 1.0, 100.0])  # two scales: a gap in the middle must not end it
    few = hgm.compare(with_variance(tree, channel), tree, channel=channel, n=3000)
    monkeypatch.setattr("hgm.measure.snr.LEFT_OUT", 1e-7)
    more = hgm.compare(with_variance(tree, channel), tree, channel=channel, n=3000)
    assert len(more.levels) > len(few.levels)
    assert 0 <= 1 - few.nats.value / more.nats.value < 1e-3


def blocks_by_hand(tree, values):
    """The best denoiser of pairs of leaves, from the joint distribution of each pair."""
    joint, leaves = joint_of(tree), [tree.names[int(v)] for v in tree.leaves]
    tables = [torch.tensor(joint.marginal(*leaves[i : i + 2])) for i in (0, 2)]
    v = torch.tensor(values, dtype=torch.float64)

    def f(z, sigma):
        e = -((z.double()[:, :, None] - v) ** 2) / (2 * sigma.double()[:, None, None] ** 2)
        like = (e - e.amax(2, keepdim=True)).exp()
        means = []
        for i, table in zip((0, 2), tables, strict=True):
            p = table * like[:, i, :, None] * like[:, i + 1, None, :]
            p = p / p.sum((1, 2), keepdim=True)
            means += [p.sum(2) @ v, p.sum(1) @ v]
        return torch.stack(means, 1)

    cost = sum(entropy(t.numpy().ravel()) for t in tables) - entropy(joint.marginal(*leaves).ravel())
    return f, cost


def test_the_best_denoiser_of_blocks_costs_their_multi_information():
    tree, values = pair_tree(), [-1.0, 0.0, 2.0]
    f, cost = blocks_by_hand(tree, values)
    gap = hgm.compare(f, tree, channel=hgm.Gaussian(values), n=20_000)
    assert cost > 0.05 and abs(gap.nats.value - cost) < 3 * standard_error(gap.nats) + 0.002 * cost
    assert standard_error(gap.nats) < 0.02 * cost
    assert gap.last_octave < 0.01 and "grows" not in str(gap)


def test_the_prior_costs_the_multi_information_of_all_under_erasure():
    tree = pair_tree()
    joint, leaves = joint_of(tree), [tree.names[int(v)] for v in tree.leaves]
    prior = torch.tensor(np.array([joint.marginal(n) for n in leaves]).T)
    gap = hgm.compare(lambda z, t: prior.expand(len(z), -1, -1), tree, channel=hgm.Erasure(), n=20_000)
    cost = sum(entropy(joint.marginal(n)) for n in leaves) - entropy(joint.marginal(*leaves).ravel())
    assert abs(gap.nats.value - cost) < 3 * standard_error(gap.nats) and standard_error(gap.nats) < 0.02 * cost
    assert gap.last_octave is None


def test_a_tree_keeps_a_grid_for_each_set_of_values_and_seed():
    shared = hgm.broadcast(2, 2, 2, eps=0.2)
    for values, seed in (([-1, 1], 0), ([-1, 3], 0), ([-1, 1], 1), ([-1, 1], 0)):
        found = [
            hgm.compare(hgm.ablate(tree, "own", channel=hgm.Gaussian(values)), tree, n=5, seed=seed).rows()
            for tree in (shared, hgm.broadcast(2, 2, 2, eps=0.2))
        ]
        assert found[0] == found[1]


def test_an_error_that_stays_costs_more_on_a_longer_grid_and_the_report_says_so():
    tree, c = pair_tree(), 0.1
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian([0.0, 1.0, 2.0]))
    gap = hgm.compare(lambda z, s: net(z, s) + c, tree, channel=net.channel, n=50)
    snr = [row.noise**-2 for row in gap.levels]
    assert [row.excess for row in gap.levels] == pytest.approx([c**2] * len(snr), rel=1e-4)
    # the trapezoid rule in log snr has an error of 1% where nothing vanishes at the upper end
    assert gap.nats.value == pytest.approx(0.5 * 4 * c**2 * (snr[-1] - snr[0]), rel=0.012)
    assert gap.last_octave == pytest.approx(0.5, rel=0.01) and "cost grows with the grid" in str(gap)


def test_nats_of_the_exact_network_are_zero_to_rounding():
    net = hgm.compile(pair_tree(), "denoise", channel=hgm.Gaussian())
    text = str(hgm.compare(net, pair_tree(), n=50))
    assert "nats per sample: zero to rounding" in text and "octave" not in text


def test_values_of_several_states_are_told_and_their_nats_are_of_values():
    tree = pair_tree()
    channel = hgm.Gaussian([0.0, 1.0, 1.0])
    gap = hgm.compare(with_variance(tree, channel), tree, channel=channel, n=8000)
    assert gap.shared_values and "nats are of the values, not of the states" in str(gap)
    joint = joint_of(tree).marginal(*(tree.names[int(v)] for v in tree.leaves))
    merged = joint
    for axis in range(4):
        merged = np.add.reduceat(merged, [0, 1], axis=axis)
    assert gap.nats.value == pytest.approx(entropy(merged.ravel()), rel=0.01)
    assert not hgm.compare(with_variance(tree, hgm.Gaussian()), tree, noise=1.0, n=2).shared_values


# ---------------------------------------------------------------------- what is estimated, and how well


def test_the_same_excess_from_a_difference_of_risks_takes_many_times_the_samples():
    tree, values, n = pair_tree(), [-1.0, 0.0, 2.0], 20_000
    f, _ = blocks_by_hand(tree, values)
    channel = hgm.Gaussian(values)
    net = hgm.compile(tree, "denoise", channel=channel).double()
    generator = torch.Generator().manual_seed(0)
    x = hgm.infer(tree).sample(n, generator=generator)
    clean, sigma = x.values(channel), torch.full((n,), 0.7, dtype=torch.float64)
    z = net.channel.add_noise(clean, sigma, generator=generator)
    best, own = net(z, sigma), f(z, sigma)
    direct = (own - best).square().sum(1)
    difference = (own - clean).square().sum(1) - (best - clean).square().sum(1)
    assert abs(float(difference.mean() - direct.mean())) < 4 * float(difference.std()) / n**0.5
    assert float(difference.var() / direct.var()) > 15  # so many times the samples for the same interval
    (row,) = hgm.compare(f, tree, channel=channel, noise=0.7, n=n).levels
    assert (row.high - row.low) * 4 == pytest.approx(2 * 1.96 * float(direct.std()) / n**0.5, rel=0.1)


@pytest.mark.parametrize("draw", ["exponential", "lognormal"])
def test_intervals_cover_the_mean_of_skewed_numbers(draw):
    rng = np.random.default_rng(0)
    truth = {"exponential": 1.0, "lognormal": math.exp(0.5)}[draw]
    tally = Tally()
    tally.add(torch.from_numpy(getattr(rng, draw)(size=(60, 4000))))
    _, low, high = tally.estimates()
    plain = tally.mean.numpy() + 2.0 * np.sqrt(tally.second.numpy() / 59 / 60)
    above, below = np.mean(high < truth), np.mean(low > truth)
    assert 0.925 < 1 - above - below < 0.97
    assert above < 0.7 * np.mean(plain < truth)  # Student's misses on that side


def test_moments_in_batches_are_those_of_all():
    x = torch.from_numpy(np.random.default_rng(1).gamma(0.3, size=(100, 3)))
    tally = Tally()
    for part in (x[:1], x[1:50], x[50:50], x[50:]):
        tally.add(part)
    apart = x - x.mean(0)
    for got, want in ((tally.mean, x.mean(0)), (tally.second, (apart**2).sum(0)), (tally.third, (apart**3).sum(0))):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    whole = Tally()
    whole.add(x[:, 0])
    estimate = whole.estimate()
    assert 0 <= estimate.low < estimate.value < estimate.high
    assert estimate.high - estimate.value > estimate.value - estimate.low


def test_equal_numbers_have_an_interval_of_no_width():
    tally = Tally()
    tally.add(torch.full((5,), 0.25))
    assert tally.estimate() == (0.25, 0.25, 0.25)


def test_what_may_happen_and_is_excluded_costs_infinitely_much():
    tree = pair_tree()
    sure = torch.zeros(3, 4)
    sure[0] = 1
    gap = hgm.compare(lambda z, t: sure.expand(len(z), -1, -1), tree, channel=hgm.Erasure(), noise=[0.5], n=20)
    assert gap.rows()[0]["excess"] == gap.rows()[0]["high"] == math.inf
    assert json.loads(gap.to_json())["rows"][0]["excess"] is None


def test_a_sabotaged_optimum_is_caught(monkeypatch):
    tree = pair_tree()
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian())
    right = measured.Optimum.answer
    assert hgm.compare(net, tree, noise=[0.5, 1.0], n=50).zero
    monkeypatch.setattr(measured.Optimum, "answer", lambda self, z, level, y: right(self, z, level * 1.001, y))
    assert not hgm.compare(net, tree, noise=[0.5, 1.0], n=50).zero


def test_networks_see_the_same_samples_and_the_same_noise_at_all_levels():
    tree, seen = pair_tree(), []

    def f(z, sigma):
        seen.append((z, sigma))
        return z

    channel = hgm.Gaussian([0.0, 0.0, 0.0])
    a = hgm.compare(f, tree, channel=channel, noise=[1.0, 2.0], n=7, seed=3)
    (z, s), (w, _) = seen
    torch.testing.assert_close(2 * z, w)
    assert z.shape == (7, 4) and s.shape == (7,) and s.dtype == z.dtype == torch.float32
    assert hgm.compare(f, tree, channel=channel, noise=[1.0, 2.0], n=7, seed=3).rows() == a.rows()
    assert hgm.compare(f, tree, channel=channel, noise=[1.0, 2.0], n=7, seed=4).rows() != a.rows()


def test_batches_are_bounded_and_add_up(monkeypatch):
    tree, sizes = pair_tree(), []
    monkeypatch.setattr(measured, "ROWS", 10)
    gap = hgm.compare(lambda z, s: sizes.append(len(z)) or z, tree, noise=[1.0], n=25)
    again = []
    hgm.compare(lambda z, s: again.append(z) or z, tree, noise=[1.0], n=20)
    assert sizes == [10, 10, 5] and not torch.equal(*again) and gap.rows()[0]["n"] == 25
    # f = z: |z - D|^2 = sigma^2 + Var - 2 ... has the same mean as |z - x|^2 - |D - x|^2
    wide = hgm.compare(lambda z, s: z, tree, noise=[1.0], n=4000)
    assert wide.levels[0].excess == pytest.approx(1.0 - wide.levels[0].optimum, abs=0.1)


# ---------------------------------------------------------------------- how a network is called


def test_each_channel_gives_its_noise_and_the_default_task():
    tree = CASES["quad_2d"].tree
    shape = tree.leaf_shape
    calls = {}

    def called(name, channel, noise, give):
        def f(z, level):
            calls[name] = (z, level)
            return give(z)

        return hgm.compare(f, tree, channel=channel, noise=noise, n=6)

    uniform = lambda z: torch.full((len(z), 2, *shape), 0.5)  # noqa: E731
    assert called("gaussian", hgm.Gaussian(), [0.5], lambda z: z).task == "denoise"
    assert called("flip", hgm.Flip(), [0.25], uniform).task == "posterior"
    assert called("erasure", hgm.Erasure(), [1.0], uniform).task == "posterior"
    vectors = hgm.Gaussian([[0.0, 1.0, 2.0], [1.0, 1.0, 0.0]])
    assert called("vectors", vectors, 0.5, lambda z: z).task == "denoise"
    assert calls["vectors"][0].shape == (6, 3, *shape)
    for name, level in (("gaussian", 0.5), ("flip", 0.25), ("erasure", 1.0)):
        z, noise = calls[name]
        assert z.shape == (6, *shape) and noise.tolist() == [level] * 6
    assert bool((calls["erasure"][0] == -1).all()) and not calls["flip"][0].is_floating_point()


def test_a_network_is_shown_its_own_precision_and_runs_in_eval_mode():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
            self.seen = []

        def forward(self, z, sigma):
            self.seen += [z.dtype, sigma.dtype, self.training, torch.is_grad_enabled()]
            return z * self.weight

    net = Net()
    hgm.compare(net, pair_tree(), noise=[1.0], n=2)
    assert net.seen == [torch.float64, torch.float64, False, False] and net.training


def test_what_is_given_is_told_to_a_network_that_takes_it():
    tree = hgm.broadcast(2, 3, 2, eps=0.1)
    channel = hgm.Gaussian([-1.0, 0.0, 2.0])
    told = hgm.compile(tree, "denoise", channel=channel, observed=["label"]).double()
    seen = []

    def f(z, sigma, y):
        seen.append(y)
        e = torch.where(torch.arange(3) == y[:, None], 0.0, -torch.inf)[:, :, None]
        return told(z.double(), sigma.double(), evidence=e.double())

    gap = hgm.compare(f, tree, channel=channel, noise=[0.5, 2.0], n=300, given=["label"])
    assert gap.zero and seen[0].shape == (300,) and seen[0].dtype == torch.int64
    assert torch.bincount(seen[0]).min() > 60

    blind = hgm.compile(tree, "denoise", channel=channel)
    paid = hgm.compare(blind, tree, noise=[0.5, 2.0], n=4000, given=["label"])
    free = hgm.compare(blind, tree, noise=[0.5, 2.0], n=4000)
    for with_label, without in zip(paid.levels, free.levels, strict=True):
        assert with_label.low > 0.001
        assert with_label.excess == pytest.approx(without.optimum - with_label.optimum, abs=0.03)
    again = hgm.compare(lambda z, s: blind(z, s), tree, channel=channel, noise=[0.5, 2.0], n=4000, given=["label"])
    assert again.rows() == paid.rows()


def test_several_given_variables_are_several_arguments():
    tree, seen = pair_tree(), []
    inner = [name for name, own in zip(tree.names, tree.inner, strict=True) if own]
    hgm.compare(lambda z, s, *y: seen.append(y) or z, tree, noise=1.0, n=5, given=inner)
    assert [y.shape for y in seen[0]] == [(5,)] * 3


def test_a_denoiser_of_a_class_is_called_like_a_compiled_network():
    tree = pair_tree()
    net = hgm.diffusion.Denoiser(tree, hgm.Gaussian([-1.0, 0.0, 2.0]))
    assert hgm.compare(net, tree, noise=[0.5], n=20).zero
    assert not hgm.compare(hgm.diffusion.Denoiser(tree, net.channel, {"label": 0}), tree, noise=[0.5], n=20).zero


# ---------------------------------------------------------------------- parts


@pytest.mark.parametrize("name", ["quad_2d", "ragged", "forest", "polytree"])
def test_parts_by_level_add_up(name):
    tree = CASES[name].tree
    channel = hgm.Gaussian([[float(i), -i / 3] for i in range(states_of(tree))])
    gap = hgm.compare(lambda z, s: z, tree, channel=channel, noise=[0.5, 2.0], n=50, per="level")
    for row in gap.rows():
        mine = [part for part in gap.parts() if part["noise"] == row["noise"]]
        assert [part["level"] for part in mine] == list(range(tree.depth + 1))
        assert sum(part["excess"] for part in mine) == pytest.approx(row["excess"], rel=1e-9)
    leaf = hgm.compare(lambda z, s: z, tree, channel=channel, noise=[0.5, 2.0], n=50, per="leaf")
    for row in leaf.rows():
        mine = [part for part in leaf.parts() if part["noise"] == row["noise"]]
        assert np.mean([part["excess"] for part in mine]) == pytest.approx(row["excess"], rel=1e-9)
        assert np.mean([part["optimum"] for part in mine]) == pytest.approx(row["optimum"], rel=1e-9)


def test_a_part_is_that_of_averages_over_blocks():
    tree = hgm.broadcast(2, 3, (2, 2), eps=0.2)  # 4 x 4
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian()).double()
    ramp = torch.tensor([-3.0, -3.0, 3.0, 3.0], dtype=torch.float64)
    stripes = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    for error, level, size in ((torch.ones(4), 0, 1.0), (ramp, 1, 9.0), (stripes, 2, 1.0)):
        gap = hgm.compare(lambda z, s, e=error: net(z, s) + e, tree, channel=net.channel, noise=1.0, n=5, per="level")
        want = [size if k == level else 0 for k in range(3)]
        assert [part["excess"] for part in gap.parts()] == pytest.approx(want, abs=1e-6)
        left = sum(part["optimum"] for part in gap.parts())
        assert 0.2 < left / gap.levels[0].optimum < 5


# ---------------------------------------------------------------------- the report


def test_json_holds_what_the_rows_hold(tmp_path):
    gap = hgm.compare(lambda z, s: z, pair_tree(), n=20, per="leaf")
    gap.save(tmp_path / "gap.json")
    data = json.loads((tmp_path / "gap.json").read_text())
    assert data["rows"] == gap.rows() and data["parts"] == gap.parts() and data["nats"] == gap.nats._asdict()
    assert data["last_octave"] == gap.last_octave and data["zero"] is False
    with pytest.raises(hgm.BadSpec, match=r"must end in \.json"):
        gap.save(tmp_path / "gap.txt")
    assert hgm.compare(lambda z, s: z, pair_tree(), noise=1.0, n=20).nats is None


def test_the_table_names_what_was_measured():
    def mine(z, sigma):
        return z

    text = str(hgm.compare(mine, pair_tree(), noise=[0.5, 3.0], n=1200, per="level"))
    assert text.startswith(
        "mine against the optimum, task denoise, channel Gaussian: squared errors per leaf, of 4, 1,200"
    )
    assert "level 2" in text and "nats" not in text


def test_a_bar_is_shown_only_if_asked_for(capsys):
    hgm.compare(lambda z, s: z, pair_tree(), noise=[1.0], n=2)
    assert capsys.readouterr() == ("", "")
    hgm.compare(lambda z, s: z, pair_tree(), noise=[1.0], n=2, progress=True)
    assert "1/1" in capsys.readouterr().err


# ---------------------------------------------------------------------- bad input


def same(z, sigma):
    return z


REFUSED = {
    "a tree": (lambda: (pair_tree(), {}), "got a tree; compile it first"),
    "no function": (lambda: (3, {}), r"is called as f\(z, sigma\); got 3"),
    "a class": (lambda: (torch.nn.Identity, {}), "the class Identity"),
    "another shape": (lambda: (lambda z, s: z[:, 1:], {}), r"of shape \(5, 4\); it gave .*\(5, 3\) at noise 0.5"),
    "no tensor": (lambda: (lambda z, s: z.tolist(), {}), "must give E.x | z., a tensor of floats"),
    "integers": (lambda: (lambda z, s: z.long(), {}), "it gave torch.int64"),
    "a NaN": (
        lambda: (lambda z, s: torch.where(s[:, None] > 1, torch.nan, z), {"noise": [0.5, 2.0]}),
        "gave NaN or infinity at noise 2, in batch rows 0, 1, 2, 3, 4",
    ),
    "logits": (
        lambda: (lambda z, s: torch.zeros(5, 3, 4) + 1, {"channel": hgm.Flip()}),
        "sum to 1 over states.*of logits take the softmax",
    ),
    "one sample": (lambda: (same, {"n": 1}), "number of samples that an interval is of, .* at least 2; got 1"),
    "no noise": (lambda: (same, {"noise": []}), "got an empty one"),
    "noise below 0": (lambda: (same, {"noise": [-1.0]}), "noise must be a number from 0 up"),
    "no noise at all": (lambda: (same, {"noise": [0.0]}), "sigma must be positive"),
    "noise that is none": (lambda: (same, {"noise": "much"}), "noise must be a list of"),
    "more than all": (
        lambda: (same, {"noise": [0.5, 1.5], "channel": hgm.Erasure()}),
        "noise must be a share from 0 to 1, or a list of them; got 1.5",
    ),
    "a task": (lambda: (same, {"task": "sharpen"}), "task must be 'classify', 'denoise' or 'posterior'"),
    "per": (lambda: (same, {"per": "pixel"}), "per must be 'leaf' or 'level'"),
    "levels of posteriors": (lambda: (same, {"per": "level", "channel": hgm.Flip(), "noise": 0.1}), "take per='leaf'"),
    "parts of a class": (lambda: (same, {"per": "leaf", "task": "classify"}), "nothing to split"),
    "an unknown variable": (lambda: (same, {"given": ["digit"]}), "no variable 'digit'"),
    "a given leaf": (lambda: (same, {"given": [pair_tree().names[-1]]}), "variables above the leaves"),
    "a variable given twice": (
        lambda: (same, {"given": [pair_tree().names[0]] * 2}),
        "given names a variable twice",
    ),
    "a name and no list": (lambda: (same, {"given": "label"}), "given must be a list of"),
    "values": (lambda: (same, {"channel": hgm.Gaussian([0.0, 1.0])}), "values for 2 states, but the leaves have 3"),
    "a channel without noise": (lambda: (same, {"channel": hgm.Clamp()}), "a channel with one noise"),
    "nats of Flip": (lambda: (same, {"channel": hgm.Flip(), "noise": None}), "levels whose errors add up to nats"),
    "another tree": (
        lambda: (hgm.compile(hgm.broadcast(3, 3, 2, eps=0.1), "denoise", channel=hgm.Gaussian()), {}),
        r"of leaves \(8,\), but those of the tree are \(4,\)",
    ),
    "another task": (
        lambda: (hgm.compile(pair_tree(), channel=hgm.Gaussian()), {"task": "denoise"}),
        "compiled for task 'posterior', and is compared for 'denoise'",
    ),
    "another variable": (
        lambda: (hgm.compile(pair_tree(), "classify", channel=hgm.Gaussian(), query=pair_tree().names[1]), {}),
        "the network answers for",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_clear_error(name):
    make, says = REFUSED[name]
    network, options = make()
    with pytest.raises(hgm.HgmError, match=says) as error:
        hgm.compare(network, pair_tree(), **{"noise": [0.5], "n": 5} | options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("one", [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5), [0.5]])
def test_a_level_is_a_number_of_any_library(one):
    assert (
        hgm.compare(same, pair_tree(), noise=one, n=5).rows() == hgm.compare(same, pair_tree(), noise=0.5, n=5).rows()
    )


def test_a_network_that_writes_into_its_arguments_changes_nothing_else():
    tree = pair_tree()

    def rude(z, sigma, y):
        answer = z + y[:, None]
        for given in (z, sigma, y):
            given += 1
        return answer

    def polite(z, sigma, y):
        return z + y[:, None]

    options = {"noise": [0.5, 1.0], "n": 20, "given": [tree.names[0]]}
    assert hgm.compare(rude, tree, **options).rows() == hgm.compare(polite, tree, **options).rows()


@pytest.mark.parametrize("per", [None, "level"])
def test_the_default_device_plays_no_part(per):
    alone = hgm.compare(same, pair_tree(), n=5, per=per)
    with torch.device("meta"):
        assert hgm.compare(same, pair_tree(), n=5, per=per).to_json() == alone.to_json()


def test_an_error_of_the_network_is_passed_on_with_the_level():
    def picky(z, sigma):
        if sigma[0] > 1:
            raise ValueError("I know sigma up to 1 only")
        return z

    with pytest.raises(hgm.BadExtension, match=r"network picky, at noise 2, fails: ValueError: I know sigma up to 1"):
        hgm.compare(picky, pair_tree(), noise=[0.5, 2.0], n=5)


def test_certain_leaves_have_no_grid():
    with pytest.raises(hgm.BadSpec, match="nothing is; give levels"):
        hgm.compare(same, CASES["cardinality_1"].tree, n=5)


def test_a_network_that_has_a_channel_is_compared_through_it():
    tree = hgm.random_ghm(2, 2, 2, bound=3, seed=0)
    values = hgm.Gaussian([-3.0, 5.0])
    net = hgm.baselines.make("cnn_3", tree, values, parameters=500)
    assert hgm.compare(net, tree, noise=[1.0], n=20) == hgm.compare(net, tree, noise=[1.0], n=20, channel=values)
    assert hgm.compare(net, tree, noise=[5.0], n=20).levels[0].optimum > 1  # of values that are 8 apart
