"""Evidence of any size: beside zeros of priors, with common factors, under ambient precisions; and who owns what."""

import numpy as np
import pytest
import torch

import hgm
from hgm.testing import assert_close, feed, random_evidence

pytestmark = pytest.mark.usefixtures("schedule")

TREE = hgm.ghm([hgm.Level((2, 2), 3), hgm.Level((2, 2), 4)], root=2, seed=0)


def with_zeros_in_priors(tree, rng):
    """The tree with a factor over one variable at every variable, half of whose entries are zero (never all)."""
    scopes, potentials = [], []
    for f in range(tree.factors):
        scopes.append([tree.names[int(v)] for v in tree.scope_of(f)])
        potentials.append(tree.potential_of(f))
    for v in range(len(tree)):
        table = rng.uniform(0.1, 1.0, int(tree.cardinality[v])) * (rng.random(int(tree.cardinality[v])) < 0.5)
        table[rng.integers(len(table))] = 1.0
        scopes.append([tree.names[v]])
        potentials.append(hgm.Table(table))
    return hgm.Tree.from_factors(zip(scopes, potentials, strict=True), roots=[tree.names[0]])


def possible_evidence(tree, rng, scale):
    """``(B, S, V)`` log evidence of a scale, with -inf, under which every row is possible."""
    e = random_evidence(tree, int(rng.integers(1 << 30)), batch=6).numpy()
    e = np.where(np.isneginf(e), e, e + scale * rng.standard_normal(e.shape))
    return torch.from_numpy(e)


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e3, 1e5])
def test_strong_evidence_beside_a_zero_of_a_prior(scale, dtype, trainable):
    """The largest evidence may lie at a state that the prior forbids; what is left must not underflow."""
    rng = np.random.default_rng(int(scale))
    for seed in range(5):
        tree = with_zeros_in_priors(hgm.random_tree(8, cardinality=(1, 4), unary=0.0, bound=3.0, seed=seed), rng)
        e = possible_evidence(tree, rng, scale).to(dtype)
        reference = hgm.infer(tree, e.double())
        net = hgm.compile(tree, query="all", observed=tree.names, trainable=trainable)
        args, kwargs = feed(net, tree, e)
        tolerance = 1e-12 if dtype == torch.float64 else 2e-6
        with torch.no_grad():
            assert_close(net(*args, **kwargs), reference.marginals, tolerance, "marginals")
            assert_close(net.log_partition(*args, **kwargs), reference.log_partition, tolerance, "log Z")


@pytest.mark.parametrize("x", [-100.0, -103.0, -120.0, -800.0, -1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_evidence_is_scaled_by_its_largest_entry_that_counts(x, dtype):
    tree = hgm.Tree.from_edges([("a", "b", [[0.5, 0.5], [0.3, 0.7], [0.6, 0.4]])], {"a": [0, 0.5, 0.5]})
    for query in ("a", "b"):
        net = hgm.compile(tree, "classify", query=query, observed=["a"])
        e = torch.tensor([[0.0, x, x - 1]], dtype=dtype).unsqueeze(2)
        got = net(torch.zeros(1, 2, 1, dtype=dtype), evidence=e)
        p = 1 / (1 + np.exp(-1.0))
        want = [0.0, p, 1 - p] if query == "a" else [0.3 * p + 0.6 * (1 - p), 0.7 * p + 0.4 * (1 - p)]
        assert_close(got, torch.tensor([want]), 1e-6, f"posterior of {query}")


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("peak", [1e3, 1e6, 1e12, 1e30])
def test_a_state_that_zeros_of_tables_forbid_does_not_drown_the_others(peak, dtype, trainable):
    """State 0 of a goes with state 0 of b only, which the prior of b forbids."""
    table = np.array([[0.5, 0.0, 0.0], [0.0, 0.25, 0.5], [0.0, 0.5, 0.5]])
    tree = hgm.Tree.from_factors([(("a", "b"), table), (("b",), [0.0, 0.5, 0.5])])
    want = np.array([0.0, 0.75 * np.exp(-0.25), 1.0]) / (1 + 0.75 * np.exp(-0.25))
    e = torch.zeros(1, 3, 2, dtype=dtype)
    e[0, :, tree.index("a")] = torch.tensor([peak, -0.25, 0.0])
    log_z = np.log(0.5 + 0.375 * np.exp(-0.25))
    for rooted in (tree, tree.reroot("b")):
        e = e if rooted is tree else e.flip(2)
        post = hgm.infer(rooted, e.double())
        net = hgm.compile(rooted, query="all", observed="all", trainable=trainable)
        base = 1e-12 if dtype == torch.float64 else 1e-6
        for got in (post["a"][0], net(e)[0, :, rooted.index("a")]):
            assert_close(got.detach().double(), torch.from_numpy(want), base, "posterior of a")
        for total in (post.log_partition, net.log_partition(e)):
            assert_close(total.detach().double(), torch.tensor([log_z]), 4 * base, "log Z")
        assert int(post.mode()["a"]) == 2


@pytest.mark.parametrize("zeros", [0.0, 0.3])
@pytest.mark.parametrize("offset", [3e3, 5e3, 1.3e8, 2.9e9, 1e15, 1e30])
def test_a_common_factor_of_a_leaf_s_likelihood_says_nothing(offset, zeros):
    """In float32, where adding it rounds: the network sees what is left, as the reference does."""
    for seed in range(3):
        tree = hgm.random_tree(12, cardinality=(2, 4), zeros=zeros, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        sign = torch.where(torch.rand(6, 1, len(tree), generator=generator) < 0.5, -offset, offset)
        e = (random_evidence(tree, seed).double() + sign).float()
        net = hgm.compile(tree, query="all", observed=tree.names)
        args, kwargs = feed(net, tree, e)
        with torch.no_grad():
            assert_close(net(*args, **kwargs), hgm.infer(tree, e.double()).marginals, 2e-6, "marginals")


@pytest.mark.parametrize(
    ("value", "sigma"), [(0.4, 1e-3), (0.4, 1e-6), (6e4, 1.0), (6e4, 1e-3), (1e6, 1.0), (1e6, 1e-3)]
)
def test_a_pixel_many_sigmas_away_is_no_impossible_one(value, sigma):
    net = hgm.compile(TREE, channel=hgm.Gaussian())
    z = torch.full((2, 4, 4), value)
    nearest = min(3, round(value))
    assert bool((net(z, sigma).argmax(1) == nearest).all())


# ---------------------------------------------------------------------- the digits of float32


@pytest.mark.parametrize("leaves", [30, 300, 2000])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_product_of_very_many_messages_keeps_the_digits_of_float32(leaves, trainable):
    """All leaves say the same, so that all roundings go one way; evidence at the root makes up for them."""
    step = np.array([[0.41, 0.59], [0.53, 0.47]])
    tree = hgm.Tree.from_factors([(["r", f"x{i}"], step) for i in range(leaves)], roots=["r"])
    net = hgm.compile(tree, query="all", observed=["r"], trainable=trainable)
    e = torch.zeros(9, 2, leaves + 1)
    e[:, 0, 1:] = torch.linspace(-1.0, 1.0, 9)[:, None]
    away = hgm.infer(tree, e.double()).marginals[:, :, 0].log()
    e[:, 0, 0] = (away[:, 1] - away[:, 0]).clamp(-1e3, 1e3).float()
    want = hgm.infer(tree, e.double()).marginals
    with torch.no_grad():
        for dtype in (torch.float32, torch.float16):
            x, exact = (e, want) if dtype == torch.float32 else (e.half(), hgm.infer(tree, e.half().double()).marginals)
            got = net(x[:, :, 1:], evidence=x[:, :, :1])
            assert got.dtype == dtype
            assert_close(got, exact, 1e-6 if dtype == torch.float32 else 1e-3, "marginals")
    assert float(want[:, 0, 0].min()) < 0.9 and float(want[:, 0, 0].max()) > 0.1


@pytest.mark.parametrize("decades", [9, 20, 29])
def test_a_small_entry_that_strong_evidence_makes_up_for_keeps_the_digits_of_float32(decades):
    """p is near 1/2 because two large logs cancel: their difference must not be rounded."""
    rng = np.random.default_rng(decades)
    for _ in range(20):
        prior = 10.0 ** -rng.uniform(0, decades, 3)
        tree = hgm.Tree.from_factors([(["a"], prior)])
        e = torch.from_numpy(rng.normal(size=(300, 3, 1)) + 100 * rng.normal(size=(300, 1, 1)) - np.log(prior)[:, None])
        e = e.float()
        got = hgm.compile(tree, query="all", observed="all")(e)
        assert_close(got, hgm.infer(tree, e.double()).marginals, 6e-7, "marginals")


# ---------------------------------------------------------------------- ambient precision


NETWORKS = {
    "classify": (hgm.compile(TREE, "classify"), (torch.randn(3, 4, 4, 4),)),
    "trainable": (hgm.compile(TREE, trainable=True), (torch.randn(3, 4, 4, 4),)),
    "gaussian": (hgm.compile(TREE, "denoise", channel=hgm.Gaussian()), (torch.randn(3, 4, 4), 0.7)),
    "symbols": (hgm.compile(TREE), (torch.randint(-1, 4, (3, 4, 4)),)),
    "relu": (hgm.compile(TREE, activation="relu", tol=1.0), (torch.randn(3, 4, 4, 4),)),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NETWORKS)
def test_exact_arithmetic_does_not_follow_autocast(name, dtype):
    net, observation = NETWORKS[name]
    want = net(*observation)
    with torch.autocast("cpu", dtype=dtype):
        got = net(*observation)
    assert got.dtype == want.dtype and torch.equal(got, want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["classify", "gaussian"])
def test_half_precision_is_read_and_given_back_and_computed_in_single(name, dtype):
    net, (z, *noise) = NETWORKS[name]
    got = net(z.to(dtype), *noise)
    assert got.dtype == dtype
    assert torch.equal(got, net(z.to(dtype).float(), *noise).to(dtype))
    if name == "classify":
        assert net.log_partition(z.to(dtype)).dtype == dtype


# ---------------------------------------------------------------------- who owns what


def test_two_networks_of_one_channel_are_independent():
    for channel in (hgm.Gaussian([0.1, 0.7, 1.3, 2.0]), hgm.Missing(hgm.Gaussian([0.1, 0.7, 1.3, 2.0]))):
        one, two = (hgm.compile(TREE, "denoise", channel=channel) for _ in range(2))
        z = torch.randn(2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        before = two(z, 0.05)
        one.bfloat16()
        assert torch.equal(two(z, 0.05), before)


def test_a_channel_owns_its_values():
    values = torch.tensor([0.1, 0.7, 1.3, 2.0], dtype=torch.float64)
    net = hgm.compile(TREE, "denoise", channel=hgm.Gaussian(values))
    z = torch.zeros(1, 4, 4)
    before = net(z, 0.5)
    values[0] = 5.0
    assert torch.equal(net(z, 0.5), before)


def test_a_fixed_network_whose_weights_are_changed_in_place_is_of_one_model():
    one, two = (hgm.compile(hgm.random_ghm(2, 3, 2, bound=2.0, seed=seed)) for seed in (0, 5))
    x = torch.randn(4, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    one(x)
    for p, q in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        p.copy_(q)
    assert_close(one(x), two(x), 1e-12, "posterior")
    assert_close(one.log_partition(x), two.log_partition(x), 1e-12, "log Z")
    assert one.tree() == two.tree()


def test_a_state_that_is_refused_does_not_leave_half_a_model():
    net = hgm.compile(hgm.random_ghm(2, 3, 2, bound=2.0, seed=0))
    x = torch.randn(4, 3, 4, dtype=torch.float64)
    net(x)
    wrong = {name: torch.where(t == t.min(), t - 1e3, t) for name, t in net.state_dict().items()}
    with pytest.raises(hgm.BadPotential, match="left the range"):
        net.load_state_dict(wrong)
    for call in (net, net.log_partition):
        with pytest.raises(hgm.BadPotential, match="left the range"):
            call(x)


# ---------------------------------------------------------------------- what users hand in


def test_arrays_and_lists_are_read_as_tensors_are():
    symbols = torch.randint(-1, 4, (3, 4, 4), generator=torch.Generator().manual_seed(3))
    net, logs = hgm.compile(TREE), torch.randn(3, 4, 4, 4, dtype=torch.float64)
    for given in (symbols.numpy(), symbols.tolist(), symbols.numpy().astype(np.int8), list(symbols)):
        assert torch.equal(net(given), net(symbols))
    for given in (logs.numpy(), logs.tolist(), np.asfortranarray(logs.numpy())):
        assert torch.equal(net(given), net(logs))
    half = logs.numpy().astype(np.float16)
    assert torch.equal(net(half), net(torch.from_numpy(half))) and net(half).dtype == torch.float16
    frozen = symbols.numpy().copy()
    frozen.flags.writeable = False
    assert torch.equal(net(frozen), net(symbols))
    more = hgm.compile(TREE, observed=["label"])
    assert torch.equal(more(symbols, evidence=[[1]]), more(symbols, evidence=torch.tensor([[1]])))
    gaussian = hgm.compile(TREE, "denoise", channel=hgm.Gaussian())
    z = torch.randn(3, 4, 4, dtype=torch.float64)
    assert torch.equal(gaussian(z.numpy(), np.array([0.5, 1.0, 2.0])), gaussian(z, torch.tensor([0.5, 1.0, 2.0])))


@pytest.mark.parametrize(
    "given",
    ["text", [["a"]], [[1], [2, 3]], np.array([1 + 2j]), np.ma.masked_array([[1]], [[True]]), {"a": 1}, object()],
)
def test_what_is_no_array_of_numbers_is_refused(given):
    with pytest.raises(hgm.BadEvidence, match="observation of the leaves must be an array of numbers"):
        hgm.compile(TREE)(given)


def test_a_channel_of_half_precision_is_worked_out_in_single():
    class Coarse(hgm.Channel):
        def states_first(self, z, *noise):
            return -(self.batch_last(z) - self.table()[:, None, None]).square().half()

    z = torch.randint(0, 4, (3, 4, 4)).float()
    logs = -(z[:, None] - torch.arange(4.0).reshape(1, 4, 1, 1)).square()
    assert_close(hgm.compile(TREE, channel=Coarse())(z), hgm.compile(TREE)(logs), 1e-6, "marginals")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_unsigned_symbols_are_symbols_at_every_door(kind):
    tree = hgm.ghm([hgm.Level((2, 2), 256)], root=3, seed=0)
    x = np.random.default_rng(0).integers(0, 256, (5, 2, 2))
    u = x.astype(kind)
    t = torch.from_numpy(x)
    want = hgm.compile(tree, "classify")(t)
    for channel in (hgm.Soft(), hgm.Clamp(), hgm.Erasure()):
        net = hgm.compile(tree, "classify", channel=channel)
        assert torch.equal(net(u), want)
        assert torch.equal(net(torch.from_numpy(u)), want)
    keep = torch.from_numpy(x % 2 == 0)
    erased = hgm.compile(tree, "classify", channel=hgm.Erasure())
    assert torch.equal(erased(torch.from_numpy(u), keep), erased(t, keep))
    flip = hgm.compile(tree, "classify", channel=hgm.Flip())
    assert torch.equal(flip(torch.from_numpy(u), 0.1), flip(t, 0.1))
    assert torch.equal(hgm.infer(tree, {"x0_0": u[:, 0, 0]})["label"], hgm.infer(tree, {"x0_0": x[:, 0, 0]})["label"])
    data = [hgm.fit(tree, d, iterations=1, progress=False).log_likelihood for d in (x, u, torch.from_numpy(u))]
    assert data[0] == data[1] == data[2]


def test_a_symbol_beyond_all_signed_types_is_refused():
    with pytest.raises(hgm.BadEvidence, match="18446744073709551615"):
        hgm.compile(TREE)(np.full((1, 4, 4), 2**64 - 1, dtype=np.uint64))


def test_a_symbol_of_another_leaf_is_an_unknown_state():
    table = {"b": [[0.9, 0.1], [0.2, 0.8]], "c": np.ones((2, 3)) / 3}
    tree = hgm.Tree.from_edges([("a", name, t) for name, t in table.items()], {"a": [0.5, 0.5]})
    with pytest.raises(hgm.BadEvidence, match=r"'b' has no state 2 .batch row 1"):
        hgm.compile(tree, "classify")(torch.tensor([[1, 2], [2, 2]]))
    net = hgm.compile(tree, observed=["a"])
    with pytest.raises(hgm.BadEvidence, match="'a' has no state 2"):
        net(torch.tensor([[1, 2]]), evidence=torch.tensor([[2]]))


# ---------------------------------------------------------------------- function transforms


TRANSFORMED = {
    "grid": hgm.random_ghm(2, 3, (2, 2), seed=0),
    "logs": hgm.random_ghm(2, 3, 2, bound=1e40, seed=1),
    "ragged": hgm.random_tree(9, joint=0.3, zeros=0.3, seed=3),
}


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("name", TRANSFORMED)
def test_function_transforms_of_torch(name, trainable):
    net = hgm.compile(TRANSFORMED[name], trainable=trainable)
    x = torch.randn(1, net.states_in, *net.leaf_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = x + torch.arange(3.0, dtype=torch.float64).reshape(3, *(1,) * x.ndim) * x.flip(1)
    assert_close(torch.func.vmap(net)(rows), torch.stack([net(row) for row in rows]), 1e-12, "vmap")

    def total(e):
        return net.log_partition(e).sum()

    marginals = net(x)
    for transform in (torch.func.jacfwd, torch.func.jacrev, torch.func.grad):
        assert_close(transform(total)(x), marginals.detach(), 1e-10, str(transform))
    direction = torch.ones_like(x) * torch.linspace(-1, 1, x.shape[1], dtype=x.dtype).reshape(-1, *(1,) * (x.ndim - 2))
    _, forward = torch.func.jvp(net, (x,), (direction,))
    reverse = (torch.func.jacrev(net)(x) * direction).flatten(marginals.ndim).sum(-1)
    assert_close(forward, reverse.detach(), 1e-10, "jvp")
    hessian = torch.func.hessian(total)(x)
    assert_close(
        hessian.flatten(x.ndim).flatten(0, x.ndim - 1), hessian.flatten(x.ndim).flatten(0, x.ndim - 1).T, 1e-10, "h"
    )
    assert torch.equal(torch.func.functional_call(net, dict(net.named_parameters()), (x,)), marginals)
