"""Observation channels against direct formulas, and what follows from them: posterior means and scores."""

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from scipy import stats

import hgm
from hgm.errors import BadEvidence, ImpossibleEvidence
from hgm.testing import assert_close


def same_up_to_a_constant(got, want, tolerance=1e-12):
    """Log evidence that agrees but for a number per position, states on axis 1."""
    assert got.shape == want.shape
    got, want = got.double(), torch.as_tensor(want)
    assert_close(got.log_softmax(1).exp(), want.log_softmax(1).exp(), tolerance, "likelihoods")
    shift = torch.where(torch.isfinite(got), got - want, torch.nan)
    spread = shift.nan_to_num(nan=-torch.inf).amax(1) - shift.nan_to_num(nan=torch.inf).amin(1)
    scale = want.abs().nan_to_num(posinf=0.0).amax().clamp_min(1.0)
    assert float(spread.max() / scale) < 1e-9 if got.dtype == torch.float64 else 1e-4
    assert torch.equal(torch.isneginf(got), torch.isneginf(want))


# ---------------------------------------------------------------------- symbols


@pytest.mark.parametrize("shape", [(4,), (2, 3), ()])
@pytest.mark.parametrize("channel", [hgm.Clamp, hgm.Erasure, hgm.Soft])
def test_symbols_are_clamped_and_minus_one_is_missing(shape, channel):
    z = torch.tensor(np.random.default_rng(0).integers(-1, 3, (5, *shape)))
    e = channel(states=3)(z)
    assert e.shape == (5, 3, *shape)
    for at in np.ndindex(*z.shape):
        want = [0.0] * 3 if z[at] < 0 else [0.0 if s == z[at] else -np.inf for s in range(3)]
        assert e[(at[0], slice(None), *at[1:])].tolist() == want


def test_erasure_takes_a_mask_of_what_is_kept():
    z, keep = torch.tensor([[0, 1, 2]]), torch.tensor([[True, False, True]])
    channel = hgm.Erasure(states=3)
    assert torch.equal(channel(z, keep), channel(torch.tensor([[0, -1, 2]])))
    assert torch.equal(z, torch.tensor([[0, 1, 2]]))
    with pytest.raises(BadEvidence, match="keep mask"):
        channel(z, keep.float())


def test_soft_is_log_evidence_as_it_stands():
    e = torch.randn(2, 3, 4)
    assert torch.equal(hgm.Soft(states=3)(e), e)


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.75, 1.0])
def test_flip_is_symmetric_noise(eps):
    z = torch.tensor([[0, 3, -1], [1, 1, 2]])
    e = hgm.Flip(states=4)(z, eps)
    for b, n in np.ndindex(2, 3):
        want = [1.0] * 4 if z[b, n] < 0 else [1 - eps if s == z[b, n] else eps / 3 for s in range(4)]
        np.testing.assert_allclose(e[b, :, n].exp().numpy(), want, rtol=1e-6)


def test_flip_takes_one_probability_per_row_and_keeps_double_precision():
    z = torch.tensor([[0, 1], [2, 2]])
    eps = torch.tensor([0.1, 0.3], dtype=torch.float64)
    e = hgm.Flip(states=3)(z, eps)
    assert e.dtype == torch.float64
    for b in range(2):
        assert_close(e[b], hgm.Flip(states=3)(z[b : b + 1], eps[b])[0], 0.0, "row")
    assert_close(e[1, :, 0].exp(), torch.tensor([0.15, 0.15, 0.7], dtype=torch.float64), 1e-15, "likelihood")


def test_flip_with_one_state_says_nothing():
    e = hgm.Flip(states=1)(torch.tensor([[0, -1]]), 0.2)
    assert bool(torch.isfinite(e).all())


# ---------------------------------------------------------------------- Gaussian


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("alpha", [1.0, 0.3, -1.0, 0.0])
def test_gaussian_noise_on_a_value(sigma, alpha):
    rng = np.random.default_rng(0)
    values = np.array([-1.0, 0.0, 0.5, 16.0])
    z = alpha * rng.choice(values, (3, 5)) + sigma * rng.normal(size=(3, 5))
    e = hgm.Gaussian(values)(torch.from_numpy(z), sigma, alpha)
    want = stats.norm.logpdf(z[:, None], loc=alpha * values[None, :, None], scale=sigma)
    same_up_to_a_constant(e, torch.from_numpy(want), 1e-8)


@pytest.mark.parametrize("grid", [(), (4,), (2, 3)])
def test_gaussian_noise_on_an_embedding(grid):
    rng = np.random.default_rng(1)
    values, z = rng.normal(size=(4, 3)), rng.normal(size=(2, 3, *grid))
    e = hgm.Gaussian(values)(torch.from_numpy(z), 0.7, 0.9)
    assert e.shape == (2, 4, *grid)
    for at in np.ndindex(2, *grid):
        b, rest = at[0], at[1:]
        want = [stats.multivariate_normal.logpdf(z[(b, slice(None), *rest)], 0.9 * v, 0.49) for v in values]
        same_up_to_a_constant(e[(b, slice(None), *rest)][None], torch.tensor(want)[None])


def test_gaussian_noise_of_each_row_its_own():
    z = torch.randn(3, 4, dtype=torch.float64)
    sigma, alpha = torch.tensor([[0.2, 1.0, 5.0], [1.0, 0.5, -2.0]], dtype=torch.float64)
    channel = hgm.Gaussian([0.0, 1.0, 3.0])
    together = channel(z, sigma, alpha)
    for b in range(3):
        assert_close(together[b], channel(z[b : b + 1], float(sigma[b]), float(alpha[b]))[0], 1e-14, "row")
    assert_close(channel(z, sigma[:1]), channel(z, 0.2), 1e-14, "one for all")


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 3.0])
def test_gaussian_in_single_precision_at_common_noise_levels(sigma):
    """Gray values 0 to 16, noise of a fraction of a step to several steps: posteriors of single pixels to 1e-6."""
    rng = np.random.default_rng(2)
    values = np.arange(17.0)
    z = (rng.choice(values, (1, 4000)) + sigma * rng.normal(size=(1, 4000))).astype(np.float32)
    got = hgm.Gaussian(values)(torch.from_numpy(z), sigma).softmax(1)
    want = torch.from_numpy(stats.norm.logpdf(z[:, None].astype(float), values[None, :, None], np.float32(sigma)))
    assert_close(got, want.softmax(1), 1e-6, "posterior of a pixel")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_gaussian_of_integer_pixels_is_that_of_the_same_numbers(dtype):
    z = torch.tensor([[20, 200, 7]], dtype=dtype)
    channel = hgm.Gaussian([0.5, 16.0, 180.0])
    assert_close(channel(z, 10.0), channel(z.float(), 10.0), 1e-6, "log evidence")


def test_noise_is_added_with_the_given_generator():
    channel = hgm.Gaussian([0.0, 1.0])
    x = torch.zeros(20000, 2)
    z = channel.add_noise(x + 1.0, 0.5, 2.0, generator=torch.Generator().manual_seed(0))
    assert abs(float(z.mean()) - 2.0) < 0.02
    assert abs(float(z.std()) - 0.5) < 0.02
    again = channel.add_noise(x + 1.0, 0.5, 2.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(z, again)
    rows = channel.add_noise(torch.zeros(2, 50000), torch.tensor([0.1, 3.0]), generator=torch.Generator())
    np.testing.assert_allclose(rows.std(1).numpy(), [0.1, 3.0], rtol=0.02)


# ---------------------------------------------------------------------- Missing


@pytest.mark.parametrize(
    ("channel", "shape", "noise"),
    [
        (hgm.Gaussian([0.0, 1.0, 2.0]), (2, 4), (0.5,)),
        (hgm.Gaussian(np.eye(3)), (2, 3, 4), (0.5, 0.9)),
        (hgm.Soft(states=3), (2, 3, 4), ()),
    ],
    ids=["values", "vectors", "soft"],
)
def test_holes_say_nothing_and_the_rest_is_as_without_them(channel, shape, noise):
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = channel(z, *noise)
    hole = (slice(None), 1) if len(shape) == 2 else (slice(None), 0, 1)
    z[hole] = torch.nan
    e = hgm.Missing(channel)(z.requires_grad_(), *noise)
    assert bool((e[:, :, 1] == 0).all())
    others = [0, 2, 3]
    assert torch.equal(e[:, :, others], whole[:, :, others])
    e.square().sum().backward()
    assert bool(z.grad.isfinite().all())


def test_missing_without_states_gets_those_of_the_tree():
    tree = CASES["binary_tied"].tree
    net = hgm.compile(tree, "denoise", channel=hgm.Missing(hgm.Gaussian()))
    z = torch.full((1, 8), torch.nan, dtype=torch.float64)
    prior = CASES["binary_tied"].joint.marginal(tree.names[int(tree.leaves[0])])
    assert abs(float(net(z, 0.5)[0, 0]) - prior[1]) < 1e-12


def test_a_channel_keeps_its_values_apart_from_the_tree_it_is_used_with():
    channel = hgm.Gaussian()
    for states in (2, 3):
        net = hgm.compile(hgm.star(3, states), "denoise", channel=channel)
        assert net.channel.states == states
    assert channel.states is None
    assert hgm.Gaussian([0.0, 2.0]).bound(2).values.tolist() == [0.0, 2.0]


# ---------------------------------------------------------------------- denoising

GAUSSIAN = ["binary_tied", "quad_2d", "ragged", "rhm", "forest", "hard_zeros"]


def channel_of(case, k=None):
    tree = case.tree
    leaves = [tree.names[int(v)] for v in tree.leaves]
    states = max(case.card(name) for name in leaves)
    values = np.random.default_rng(5).normal(size=(states, k) if k else states) * 2
    shape = tree.leaf_shape
    return leaves, values, shape


def enumerated(case, leaves, values, z, sigma, alpha):
    """E[value | z] of each leaf, and log p(z), by enumeration; z ``(n,)`` or ``(k, n)``."""
    joint = case.joint.given({})
    for i, name in enumerate(leaves):
        own = values[: case.card(name)]
        log = stats.norm.logpdf(z[..., i], alpha * own, sigma)
        joint.log = joint.log + joint._spread([name], log.sum(-1) if own.ndim == 2 else log)
    means = [joint.marginal(name) @ values[: case.card(name)] for name in leaves]
    return np.stack(means, -1), joint.log_z - case.joint.log_z


@pytest.mark.parametrize("name", GAUSSIAN)
@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize(("sigma", "alpha"), [(0.05, 1.0), (0.8, 0.6), (1000.0, 1.0)])
def test_the_denoiser_is_the_posterior_mean(name, k, sigma, alpha):
    case = CASES[name]
    leaves, values, shape = channel_of(case, k)
    rng = np.random.default_rng(6)
    z = rng.normal(size=(3, *([k] if k else []), len(leaves))) * 2
    net = hgm.compile(case.tree, "denoise", channel=hgm.Gaussian(values))
    got = net(torch.from_numpy(z).reshape(3, *([k] if k else []), *shape), sigma, alpha)
    want = np.stack([enumerated(case, leaves, values, row, sigma, alpha)[0] for row in z])
    assert_close(got.reshape(z.shape), torch.from_numpy(want), 1e-9, "posterior mean")


@pytest.mark.parametrize("name", GAUSSIAN)
@pytest.mark.parametrize("k", [None, 2])
def test_tweedie_the_score_is_that_of_the_posterior_mean(name, k):
    """d/dz log p(z) = (alpha E[x | z] - z) / sigma^2, with log p(z) by enumeration and by autograd of the encoder."""
    case = CASES[name]
    leaves, values, shape = channel_of(case, k)
    sigma, alpha = 0.7, 0.9
    rng = np.random.default_rng(7)
    channels = [k] if k else []
    z = torch.from_numpy(rng.normal(size=(2, *channels, *shape))).requires_grad_()
    net = hgm.compile(case.tree, "denoise", channel=hgm.Gaussian(values))
    mean = net(z, sigma, alpha)
    tweedie = (alpha * mean - z) / sigma**2

    # the channel may leave out what does not depend on the state: put the z-dependent rest back, found from the channel
    e = net.channel(z, sigma, alpha)
    own = torch.from_numpy(values)
    zz = z if k else z.unsqueeze(1)
    first = own[0].reshape(1, -1, *[1] * len(shape))
    full = -((zz - alpha * first) ** 2).sum(1) / (2 * sigma**2)
    rest = full - e[:, 0]
    log_p = net.log_partition(z, sigma, alpha).sum() + rest.sum()
    (score,) = torch.autograd.grad(log_p, z)
    assert_close(score, tweedie, 1e-10, "score by autograd")

    flat = z.detach().reshape(2, *channels, -1).numpy()
    step, at = 1e-5, (0, *([1] if k else []), len(leaves) - 1)
    up, down = flat.copy(), flat.copy()
    up[at] += step
    down[at] -= step
    slope = (
        enumerated(case, leaves, values, up[0], sigma, alpha)[1]
        - enumerated(case, leaves, values, down[0], sigma, alpha)[1]
    ) / (2 * step)
    assert abs(slope - float(tweedie.detach().reshape(flat.shape)[at])) < 1e-6


def test_no_noise_at_all_and_nothing_but_noise():
    """sigma to 0: what was observed. sigma to infinity: the prior mean."""
    case = CASES["binary_tied"]
    values = np.array([0.0, 5.0])
    net = hgm.compile(case.tree, "denoise", channel=hgm.Gaussian(values))
    x = torch.tensor([[0.0, 5.0, 5.0, 0.0, 0.0, 5.0, 5.0, 5.0]], dtype=torch.float64)
    assert_close(net(x, 1e-3), x, 1e-12, "observed")
    prior = torch.tensor([[case.joint.marginal(f"x{i}")[1] * 5.0 for i in range(8)]], dtype=torch.float64)
    assert_close(net(x, 1e9), prior, 1e-12, "prior mean")


def test_a_mean_of_large_values_lies_among_them():
    """A sum of p(a) x_a in float32 leaves them where the p(a) sum to 1 only nearly; x_0 + p(a) (x_a - x_0) cannot."""
    values = np.array([2.0**24, 2.0**24, 2.0**24 + 2])
    net = hgm.compile(hgm.star(64, 3), "denoise", channel=hgm.Gaussian(values))
    z = 2.0**24 + torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    mean = net(z, 3.0)
    assert mean.dtype == torch.float32
    assert bool(((mean >= 2.0**24) & (mean <= 2.0**24 + 2)).all())


def test_discrete_channels_denoise_too():
    case = CASES["quad_2d"]
    rng = np.random.default_rng(8)
    z = torch.from_numpy(rng.integers(-1, 2, (2, *case.tree.grid[-1])))
    leaves = [case.tree.names[int(v)] for v in case.tree.leaves]
    for channel, noise in ((hgm.Clamp(), ()), (hgm.Flip(), (torch.tensor(0.2, dtype=torch.float64),))):
        got = hgm.compile(case.tree, "denoise", channel=channel)(z, *noise).flatten(1)
        eps = float(noise[0]) if noise else 0.0
        for b, row in enumerate(z.flatten(1).tolist()):
            seen = {
                name: np.where(np.arange(2) == s, 1 - eps, eps) for name, s in zip(leaves, row, strict=True) if s >= 0
            }
            joint = case.joint.given(seen)
            want = torch.tensor([joint.marginal(name)[1] for name in leaves], dtype=torch.float64)
            assert_close(got[b], want, 1e-6, "mean")


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "call", "message"),
    [
        (lambda: hgm.Clamp(states=3), lambda c: c(torch.zeros(1, 2)), r"symbols must be integers 0 to 2.*float32"),
        (lambda: hgm.Clamp(states=3), lambda c: c(torch.ones(1, 2, dtype=torch.bool)), "bool"),
        (lambda: hgm.Clamp(states=3), lambda c: c(torch.tensor([[0, 3]])), r"must be 0 to 2 .*got 0 to 3"),
        (lambda: hgm.Clamp(states=3), lambda c: c(torch.tensor([[0, -2]])), r"got -2 to 0"),
        (lambda: hgm.Flip(states=3), lambda c: c(torch.tensor([[0]])), r"channel\(z, eps\)"),
        (lambda: hgm.Flip(states=3), lambda c: c(torch.tensor([[0]]), 1.5), "probability"),
        (lambda: hgm.Flip(states=3), lambda c: c(torch.tensor([[0]]), float("nan")), "probability"),
        (lambda: hgm.Gaussian([0, 1]), lambda c: c(torch.zeros(1, 2)), "sigma"),
        (lambda: hgm.Gaussian([0, 1]), lambda c: c(torch.zeros(1, 2), 0.0), "sigma must be positive"),
        (lambda: hgm.Gaussian([0, 1]), lambda c: c(torch.zeros(1, 2), float("nan")), "sigma must be positive"),
        (
            lambda: hgm.Gaussian([0, 1]),
            lambda c: c(torch.zeros(2, 2), torch.ones(3)),
            r"per batch row \(2,\).*got shape \(3,\)",
        ),
        (lambda: hgm.Gaussian(np.eye(2)), lambda c: c(torch.zeros(1, 3, 2), 1.0), r"R\^2 .*\(1, 3, 2\)"),
        (lambda: hgm.Gaussian(), lambda c: c(torch.zeros(1, 2), 1.0), "does not know its states"),
        (lambda: hgm.Gaussian([0, np.nan]), lambda c: c, "finite"),
        (lambda: hgm.Gaussian(np.zeros((2, 2, 2))), lambda c: c, r"\(S,\) or \(S, k\)"),
        (lambda: hgm.Gaussian([0, 1]), lambda c: c.bound(3), "2 states, but the leaves have 3"),
    ],
)
def test_a_bad_observation_is_named(make, call, message):
    with pytest.raises(BadEvidence, match=message):
        call(make())


def test_a_nan_pixel_is_an_error_unless_missing_is_asked_for():
    net = hgm.compile(hgm.star(3, 2), "denoise", channel=hgm.Gaussian())
    z = torch.zeros(4, 3)
    z[2, 1] = torch.nan
    with pytest.raises(BadEvidence, match="batch rows 2"):
        net(z, 0.5)


def test_symbols_that_contradict_the_model_are_impossible():
    tree = hgm.broadcast(2, eps=0.0)
    net = hgm.compile(tree, channel=hgm.Clamp())
    with pytest.raises(ImpossibleEvidence) as error:
        net(torch.tensor([[0, 0, 0, 0], [0, 1, -1, -1], [-1, 1, 1, -1]]))
    assert error.value.rows == (1,)


# ---------------------------------------------------------------------- randomness

DRAWS = {
    "soft": lambda x, **g: hgm.Soft(states=3).observe(x, **g),
    "erasure": lambda x, **g: hgm.Erasure(states=3).example(x, torch.float64, **g)[0],
    "flip": lambda x, **g: hgm.Flip(states=3).observe(x, 0.5, **g),
    "gaussian": lambda x, **g: hgm.Gaussian(states=3).observe(x, 0.5, **g),
    "noise": lambda x, **g: hgm.Gaussian(states=3).add_noise(x.double(), 0.5, **g),
    "missing": lambda x, **g: hgm.Missing(hgm.Gaussian(states=3)).example(x, torch.float64, **g)[0],
    "test evidence": lambda x, **g: hgm.testing.soft_evidence(hgm.star(3, 3), len(x), 1.0, **g),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_without_a_generator_draws_follow_the_global_one(draw):
    x = torch.arange(60).reshape(4, 15) % 3
    with torch.random.fork_rng():
        torch.manual_seed(5)
        one, other = draw(x), draw(x)
        torch.manual_seed(5)
        assert_equal(draw(x), one)
        state = torch.get_rng_state()
        assert_equal(draw(x, generator=torch.Generator().manual_seed(5)), one)
        assert torch.equal(torch.get_rng_state(), state), "a generator of one's own leaves the global one alone"
    assert not torch.equal(one, other)


def assert_equal(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["soft", "erasure", "flip", "gaussian", "noise", "missing"])
def test_no_generator_is_one_clear_error(name):
    with pytest.raises(hgm.BadSpec, match=r"generator must be a torch\.Generator"):
        DRAWS[name](torch.zeros(4, 15, dtype=torch.int64), generator=3)
