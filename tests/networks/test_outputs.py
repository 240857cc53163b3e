"""One forward, any outputs: each against enumeration, the reference, and calculus."""

import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.testing import assert_close, feed, random_evidence

pytestmark = pytest.mark.usefixtures("schedule")


ALL = ("posterior", "log_posterior", "leave_one_out", "log_partition")
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def fed(tree, e, task="posterior", **options):
    """A network that takes evidence everywhere, and log evidence ``(B, S, V)`` for it."""
    if task == "posterior":
        options = {"query": "all"} | options
    net = hgm.compile(tree, task, observed=tree.names, **options)
    return net, *feed(net, tree, e)


def enumerated(case, e):
    """By enumeration: posteriors, those without own evidence ``(B, S, V)`` each, and log Z ``(B,)``."""
    posterior, alone, log_z = (torch.zeros_like(e), torch.zeros_like(e), torch.zeros(len(e), dtype=e.dtype))
    for b, row in enumerate(e.exp().numpy()):
        seen = {name: row[: case.card(name), case.tree.index(name)] for name in case.names}
        whole = case.joint.given(seen)
        log_z[b] = whole.log_z
        for name in case.names:
            v, card = case.tree.index(name), case.card(name)
            posterior[b, :card, v] = torch.from_numpy(whole.marginal(name))
            without = case.joint.given({other: x for other, x in seen.items() if other != name})
            alone[b, :card, v] = torch.from_numpy(without.marginal(name))
    return posterior, alone, log_z


@cases
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_output_is_that_of_enumeration(case, trainable, dtype):
    e = random_evidence(case.tree, 1)
    posterior, alone, log_z = enumerated(case, e)
    tolerance = 1e-12 if dtype == torch.float64 else 3e-6
    net, args, kwargs = fed(case.tree, e.to(dtype), trainable=trainable)
    got = dict(zip(ALL, net(*args, **kwargs, outputs=ALL), strict=True))
    assert all(x.dtype == dtype for x in got.values())
    assert_close(got["posterior"], posterior, tolerance, "posterior")
    assert_close(got["log_posterior"].exp(), posterior, tolerance, "log posterior")
    assert torch.equal(torch.isneginf(got["log_posterior"]), posterior == 0)
    assert_close(got["leave_one_out"], alone, tolerance, "leave one out")
    assert_close(got["log_partition"], log_z, tolerance * 10, "log partition")
    for name in ALL:
        assert_close(net(*args, **kwargs, outputs=name), got[name], 1e-12 if dtype == torch.float64 else 1e-6, name)


@cases
def test_a_classifier_has_them_too(case):
    e = random_evidence(case.tree, 1)
    posterior, alone, log_z = enumerated(case, e)
    for name in case.names:
        net, args, kwargs = fed(case.tree, e, "classify", query=name)
        v, card = case.tree.index(name), case.card(name)
        got = net(*args, **kwargs, outputs=["log_partition", "leave_one_out", "log_posterior", "posterior"])
        for x, want in zip(
            got, (log_z, alone[:, :card, v], posterior[:, :card, v].log(), posterior[:, :card, v]), strict=True
        ):
            assert_close(x.nan_to_num(neginf=-1e3), want.nan_to_num(neginf=-1e3), 1e-11, name)


def test_a_name_gives_a_tensor_and_a_tuple_a_tuple_in_its_order():
    net = hgm.compile(CASES["quad_2d"].tree, "denoise", channel=hgm.Gaussian())
    z, shape = torch.randn(3, *net.leaf_shape), net.leaf_shape
    mean, p, log_z = net(z, 0.7, outputs=("mean", "posterior", "log_partition"))
    assert mean.shape == z.shape and p.shape == (3, net.leaf_states, *shape) and log_z.shape == (3,)
    assert torch.equal(net(z, 0.7), mean) and torch.equal(net(z, 0.7, outputs="mean"), mean)
    assert_close(mean, (p * torch.arange(net.leaf_states).view(1, -1, 1, 1)).sum(1), 1e-6, "mean")
    again = net(z, 0.7, outputs=["log_partition", "mean"])
    assert isinstance(again, tuple) and torch.equal(again[0], log_z) and torch.equal(again[1], mean)
    assert torch.equal(net.log_partition(z, 0.7), log_z)
    (only,) = net(z, 0.7, outputs=("mean",))
    assert torch.equal(only, mean)
    named = net.given({net.inputs[0]: 1}, outputs=("posterior", "leave_one_out"))
    assert float(named[0].flatten(2)[0, 1, 0]) == 1.0 and float(named[1].flatten(2)[0, 1, 0]) < 1.0


def test_a_u_net_for_posteriors_of_the_leaves_gives_means_too():
    tree = CASES["quad_2d"].tree
    channel = hgm.Gaussian(torch.randn(int(tree.cardinality[tree.leaves].max()), 2, dtype=torch.float64))
    z = torch.randn(3, 2, *tree.leaf_shape, dtype=torch.float64)
    want = hgm.compile(tree, "denoise", channel=channel)(z, 0.5)
    assert torch.equal(hgm.compile(tree, channel=channel)(z, 0.5, outputs="mean"), want)


@pytest.mark.parametrize("task", ["posterior", "classify"])
@pytest.mark.parametrize("name", ["quad_2d", "ragged", "hard_zeros", "rhm", "joint_table"])
def test_log_posteriors_have_finite_gradients_that_are_right(name, task):
    """Of the finite values those of the reference by autograd; 0 of what is impossible."""
    tree = CASES[name].tree
    e = random_evidence(tree, 2)
    net, args, kwargs = fed(tree, e, task)
    x = args[0].clone().requires_grad_()
    got = net(x, **kwargs, outputs="log_posterior")
    finite = got > -torch.inf
    weights = torch.linspace(-1, 1, got.numel(), dtype=got.dtype).view_as(got)
    (gradient,) = torch.autograd.grad((got.masked_fill(~finite, 0) * weights).sum(), x, retain_graph=True)
    (everywhere,) = torch.autograd.grad(got, x, weights)
    assert torch.equal(gradient, everywhere), "what is -inf has gradient 0"
    full = e.clone().requires_grad_()
    p = hgm.infer(tree, full).marginals
    p = p[:, :, [int(v) for v in net.query]] if task == "posterior" else p[:, : got.shape[1], int(tree.roots[0])]
    (want,) = torch.autograd.grad((p[finite].log() * weights[finite]).sum(), full)
    want = want[:, : net.leaf_states, torch.from_numpy(tree.leaves.copy())].view_as(gradient)
    known = torch.isfinite(args[0]) & torch.isfinite(want)
    assert_close(gradient[known], want[known], 1e-9, "gradient")
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["quad_2d", "ragged", "binary_untied", "single"])
def test_log_posteriors_are_exact_where_probabilities_underflow(name, dtype):
    tree = CASES[name].tree
    net = hgm.compile(tree, observed=tree.names, query="all")
    e = (torch.randn(4, int(tree.cardinality.max()), len(tree), dtype=torch.float64) * 3000).to(dtype)
    args, kwargs = feed(net, tree, e)
    got, p = net(*args, **kwargs, outputs=("log_posterior", "posterior"))
    exists = torch.arange(e.shape[1])[:, None] < torch.from_numpy(tree.cardinality.copy())
    assert bool((p == 0)[:, exists].any()) and bool(got[:, exists].isfinite().all())
    want = reference_logs(tree, e.double())
    worst = ((got.double() - want).abs() / want.abs().clamp_min(1))[:, exists].max()
    assert float(worst) < (1e-5 if dtype == torch.float32 else 1e-11)


def reference_logs(tree, e):
    """log p of every state by log Z with that state clamped: nothing underflows in logs."""
    whole = hgm.infer(tree, e).log_partition
    out = torch.full_like(e, -torch.inf)
    for v in range(len(tree)):
        for state in range(int(tree.cardinality[v])):
            clamped = e.clone()
            clamped[:, :, v] = -torch.inf
            clamped[:, state, v] = e[:, state, v]
            out[:, state, v] = hgm.infer(tree, clamped).log_partition - whole
    return out


def test_guidance_by_a_classifier_has_a_gradient_at_every_noise_level():
    tree = hgm.broadcast(3, 4, eps=0.05)
    net = hgm.compile(tree, "classify", channel=hgm.Gaussian())
    z = torch.randn(5, *net.leaf_shape).requires_grad_()
    for sigma in (0.01, 0.1, 1.0):
        log_p = net(z, sigma, outputs="log_posterior")
        (gradient,) = torch.autograd.grad(log_p[:, 1].sum(), z)
        assert bool(log_p.isfinite().all()) and bool(gradient.isfinite().all()) and bool((gradient != 0).any())


def test_leave_one_out_is_right_under_hard_evidence():
    """Where the posterior of each leaf is certain, and dividing by its likelihood is 0 / 0."""
    tree = CASES["ragged"].tree
    net = hgm.compile(tree)
    x = hgm.infer(tree).sample(4, generator=torch.Generator().manual_seed(0)).states
    leaves = torch.from_numpy(tree.leaves.copy())
    got = net(x[:, leaves], outputs="leave_one_out")
    for i, v in enumerate(leaves.tolist()):
        given = {tree.names[u]: x[:, u] for u in leaves.tolist() if u != v}
        assert_close(got[:, : tree.cardinality[v], i], hgm.infer(tree, given)[tree.names[v]], 1e-6, tree.names[v])


@pytest.mark.parametrize("task", ["posterior", "classify", "denoise"])
def test_slices_give_the_same(task, monkeypatch):
    tree = CASES["quad_2d"].tree
    net, args, kwargs = fed(tree, random_evidence(tree, 0), task)
    names = ALL if task != "denoise" else ("mean", *ALL)
    want = net(*args, **kwargs, outputs=names)
    monkeypatch.setattr("hgm.networks.running.SLICE", 2 * net.row_size)
    for x, whole in zip(net(*args, **kwargs, outputs=names), want, strict=True):
        assert_close(x.nan_to_num(), whole.nan_to_num(), 1e-14, "slices")
    empty = net(args[0][:0], **{k: x[:0] for k, x in kwargs.items()}, outputs=names)
    assert [x.shape for x in empty] == [(0, *x.shape[1:]) for x in want]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype):
    net = hgm.compile(CASES["quad_2d"].tree)
    e = torch.randn(3, net.leaf_states, *net.leaf_shape)
    want = net(e.to(dtype).float(), outputs=ALL)
    for x, single in zip(net(e.to(dtype), outputs=ALL), want, strict=True):
        assert x.dtype == dtype
        assert torch.equal(x, single.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for x, outside in zip(net(e, outputs=ALL), net(e, outputs=ALL), strict=True):
            assert x.dtype == torch.float32 and torch.equal(x, outside)


def test_relu_networks_give_logs_and_say_what_they_do_not_know():
    net = hgm.compile(hgm.random_ghm(2, 3, bound=4.0), activation="relu", tol=1e-2)
    e = torch.randn(4, 3, 4, dtype=torch.float64)
    p, log_p, mean = net(e, outputs=("posterior", "log_posterior", "mean"))
    assert_close(log_p, p.log(), 1e-12, "log posterior")
    assert mean.shape == (4, 4)
    for name in ("leave_one_out", "log_partition"):
        with pytest.raises(hgm.BadSpec, match=f"no output '{name}': a ReLU network.*activation='exact'"):
            net(e, outputs=("posterior", name))


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ("log_posteriors", "did you mean 'log_posterior'"),
        ("mean", "a ConvNet answers for one variable"),
        ((), "a name or a tuple of names"),
        (3, "a name or a tuple of names"),
        (("posterior", 3), "no 3"),
    ],
)
def test_what_cannot_be_asked_for(outputs, says):
    net = hgm.compile(CASES["quad_2d"].tree, "classify")
    with pytest.raises(hgm.BadSpec, match=says):
        net(torch.zeros(1, net.leaf_states, *net.leaf_shape), outputs=outputs)


def test_means_are_of_the_leaves():
    net = hgm.compile(CASES["quad_2d"].tree, query="all")
    with pytest.raises(hgm.BadSpec, match="query='leaves'"):
        net(torch.zeros(1, net.leaf_states, *net.leaf_shape), outputs="mean")


@pytest.mark.export
@pytest.mark.parametrize("name", ["quad_2d", "ragged", "hard_zeros"])
def test_outputs_are_traced(name):
    tree = CASES[name].tree
    net, args, kwargs = fed(tree, random_evidence(tree, 0))
    torch.compiler.reset()
    run = torch.compile(net, fullgraph=True, backend="eager", dynamic=True)
    for got, want in zip(run(*args, **kwargs, outputs=ALL), net(*args, **kwargs, outputs=ALL), strict=True):
        assert_close(got.nan_to_num(), want.nan_to_num(), 1e-13, "traced")
