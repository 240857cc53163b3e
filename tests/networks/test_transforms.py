"""Networks under torch's machinery: function transforms, compilation, the meta device, and other processes."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

import hgm
from hgm.testing import assert_close, feed, random_evidence

#: one tree per kind of stage, layer and kernel
TREES = {
    "conv": hgm.zoo.random_ghm(2, [2, 3], 2, root=3, seed=0),
    "grid": hgm.zoo.random_ghm(1, 3, (2, 2), seed=0),
    "gather": hgm.random_tree(9, cardinality=(1, 4), seed=1),
    "joint": hgm.random_tree(9, joint=0.6, seed=2),
    "zeros": hgm.random_tree(9, joint=0.3, zeros=0.4, seed=3),
    "rules": hgm.rhm(2, 2, 2, 2, seed=4),
    "log": hgm.random_tree(9, bound=1e40, seed=5),
    "prior": CASES["prior"].tree,
    "single": CASES["single"].tree,
    "paths": hgm.caterpillar(5, 2, seed=6),
    "log paths": hgm.hmm(4, transition=[[0.5, 0.5, 0], [0, 0.5, 0.5], [0.2, 0, 0.8]], seed=7),
}
#: those that are planned by paths, which so small ones are not by themselves
BY_PATHS = [tree for name, tree in TREES.items() if "paths" in name]
trees = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
tasks = pytest.mark.parametrize("task", ["posterior", "classify", "denoise"])
learning = pytest.mark.parametrize("trainable", [False, True])
OUTPUTS = ("posterior", "log_posterior", "leave_one_out", "log_partition")


def made(tree, task="posterior", **options):
    by_paths = any(tree is each for each in BY_PATHS)
    options = ({"query": "all"} if task == "posterior" else {}) | {"schedule": "paths" if by_paths else None} | options
    net = hgm.compile(tree, task, observed=tree.names, **options)
    return net, *feed(net, tree, random_evidence(tree, 0))


def finite(x):
    return x.nan_to_num(neginf=-1e3)


# ---------------------------------------------------------------------- torch.func


@trees
@tasks
@learning
def test_vmap_over_rows_is_the_batch(tree, task, trainable):
    net, args, kwargs = made(tree, task, trainable=trainable)
    want = net(*args, **kwargs, outputs=OUTPUTS)

    def one(e, more):
        out = net(e[None], evidence=None if more is None else more[None], outputs=OUTPUTS)
        return tuple(x[0] for x in out)

    more = kwargs.get("evidence")
    got = vmap(one, in_dims=(0, None if more is None else 0))(args[0], more)
    for name, x, y in zip(OUTPUTS, got, want, strict=True):
        assert_close(finite(x), finite(y), 1e-12, name)


@trees
@tasks
@learning
@pytest.mark.parametrize("output", [None, "log_posterior", "leave_one_out"])
def test_jacobians_forward_and_reverse_are_those_of_autograd(tree, task, trainable, output):
    net, args, kwargs = made(tree, task, trainable=trainable)
    hard = torch.isneginf(args[0])

    def run(x):
        out = net(torch.where(hard, args[0], x), **kwargs, outputs=output)
        return torch.where(torch.isneginf(out), 0.0, out).flatten(1).sum(0)

    x = args[0].masked_fill(hard, 0.0)
    want = torch.autograd.functional.jacobian(run, x)
    assert bool(want.isfinite().all())
    assert_close(jacrev(run)(x), want, 1e-10, "jacrev")
    assert_close(jacfwd(run)(x), want, 1e-10, "jacfwd")
    direction = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    value, slope = jvp(run, (x,), (direction,))
    assert_close(value, run(x), 1e-12, "the value of jvp")
    assert_close(slope, (want.flatten(1) @ direction.flatten()), 1e-10, "jvp")


@trees
@learning
def test_the_hessian_of_log_z_is_the_derivative_of_the_marginals(tree, trainable):
    net, args, kwargs = made(tree, trainable=trainable, query="leaves")
    hard = torch.isneginf(args[0][:1])
    more = {name: x[:1] for name, x in kwargs.items()}

    def log_z(x):
        return net.log_partition(torch.where(hard, args[0][:1], x), **more).sum()

    def marginals(x):
        return net(torch.where(hard, args[0][:1], x), **more)

    x = args[0][:1].masked_fill(hard, 0.0)
    assert_close(grad(log_z)(x), torch.where(hard, 0.0, marginals(x)), 1e-12, "gradient")
    want = torch.where(
        hard[..., None].flatten(-1)[..., None].view(*hard.shape, *[1] * x.ndim), 0.0, jacrev(marginals)(x)
    )
    assert_close(hessian(log_z)(x), want, 1e-9, "hessian")
    assert_close(jacrev(jacrev(log_z))(x), want, 1e-9, "reverse over reverse")


@trees
@tasks
@learning
def test_weights_are_swapped_mapped_and_differentiated(tree, task, trainable):
    net, args, kwargs = made(tree, task, trainable=trainable)
    before = net(*args, **kwargs)
    name = "engine.weights.log_potential"
    own = net.engine.weights.log_potential.detach()
    if not len(own):
        return
    stack = torch.stack([own, own * 0.9, own * 0.8])

    def run(w):
        return functional_call(net, {name: w}, args, kwargs)

    want = torch.stack([run(w) for w in stack])
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed.engine.weights.log_potential.mul_(0.9)
    assert_close(want[1], changed(*args, **kwargs), 1e-13, "functional_call")
    assert_close(vmap(run)(stack), want, 1e-12, "vmap over weights")
    j = torch.autograd.functional.jacobian(run, own)
    assert bool(j.isfinite().all())
    assert_close(jacrev(run)(own), j, 1e-10, "jacrev")
    assert_close(jacfwd(run)(own), j, 1e-10, "jacfwd")
    assert_close(net(*args, **kwargs), before, 1e-13, "with its own weights again")


def test_noise_is_differentiated_and_mapped():
    net = hgm.compile(TREES["grid"], "denoise", channel=hgm.Gaussian())
    z = torch.randn(4, 2, 2, dtype=torch.float64)
    sigma = torch.rand(4, dtype=torch.float64) + 0.3
    assert_close(vmap(lambda z, s: net(z[None], s[None])[0])(z, sigma), net(z, sigma), 1e-12, "vmap")
    assert_close(vmap(lambda s: net(z, s))(sigma)[1], net(z, sigma[1]), 1e-12, "vmap over a number")
    j = torch.autograd.functional.jacobian(lambda s: net(z, s), sigma)
    assert_close(jacfwd(lambda s: net(z, s))(sigma), j, 1e-10, "jacfwd")
    trace = jacrev(lambda x: net(x, sigma))(z).reshape(4, 4, 4, 4).diagonal(dim1=0, dim2=2).diagonal(dim1=0, dim2=1)
    assert bool((trace > 0).all()), "the covariance is sigma^2 times this"


def test_a_relu_network_is_transformed_too():
    net = hgm.compile(TREES["conv"], activation="relu", tol=1e-1)
    e = torch.randn(3, 3, 4, dtype=torch.float64)
    want = net(e)
    assert_close(vmap(lambda x: net(x[None])[0])(e), want, 1e-12, "vmap")
    j = torch.autograd.functional.jacobian(net, e)
    assert_close(jacfwd(net)(e), j, 1e-10, "jacfwd")
    assert_close(jacrev(net)(e), j, 1e-10, "jacrev")


# ---------------------------------------------------------------------- torch.compile


@pytest.mark.export
@pytest.mark.parametrize("channel", [hgm.Gaussian(), hgm.Flip()], ids=lambda c: c.kind)
@pytest.mark.parametrize("fullgraph", [True, False])
def test_a_compiled_network_is_compiled_once_for_all_numbers(channel, fullgraph):
    """Twice at most: torch takes the first number for a constant."""
    from torch._dynamo.utils import counters

    net = hgm.compile(TREES["grid"], channel=channel)
    z = torch.randint(0, 3, (3, 2, 2))
    z = z if channel.kind == "flip" else z + torch.randn(3, 2, 2)
    torch.compiler.reset()
    counters.clear()
    run = torch.compile(net, backend="eager", fullgraph=fullgraph)
    for noise in torch.linspace(0.05, 0.95, 12).tolist():
        assert_close(run(z, noise), net(z, noise), 1e-6, f"noise of {noise}")
    assert counters["stats"]["unique_graphs"] <= 2
    torch.compiler.reset()


# ---------------------------------------------------------------------- the meta device


@trees
@tasks
@learning
def test_shapes_are_known_without_numbers(tree, task, trainable):
    net, args, kwargs = made(tree, task, trainable=trainable)
    want = net(*args, **kwargs, outputs=OUTPUTS)
    nowhere = copy.deepcopy(net).to("meta")
    got = nowhere(args[0].to("meta"), **{name: x.to("meta") for name, x in kwargs.items()}, outputs=OUTPUTS)
    assert all(x.is_meta for x in got)
    assert [(x.shape, x.dtype) for x in got] == [(x.shape, x.dtype) for x in want]


def test_shapes_are_known_without_numbers_behind_every_channel():
    tree = TREES["grid"]
    with torch.device("meta"):
        symbols, z, sigma = torch.zeros(3, 2, 2, dtype=torch.long), torch.zeros(3, 2, 2), torch.ones(3)
        for channel, given in (
            (hgm.Clamp(), (symbols,)),
            (hgm.Erasure(), (symbols,)),
            (hgm.Flip(), (symbols, 0.2)),
            (hgm.Gaussian(), (z, 0.5)),
            (hgm.Gaussian(), (z, sigma)),
            (hgm.Missing(hgm.Gaussian()), (z, sigma)),
        ):
            net = hgm.compile(tree, channel=channel).to("meta")
            out = net(*given)
            assert out.is_meta and out.shape == (3, 3, 2, 2)


def test_the_ambient_device_changes_nothing():
    net = hgm.compile(TREES["zeros"], channel=hgm.Gaussian())
    z = torch.randn(3, *net.leaf_shape)
    want = net(z, 0.5, outputs=OUTPUTS)
    with torch.device("meta"):
        made_there = hgm.compile(TREES["zeros"], channel=hgm.Gaussian())
        for other in (net, made_there):
            for x, y in zip(other(z, 0.5, outputs=OUTPUTS), want, strict=True):
                assert torch.equal(x, y)


# ---------------------------------------------------------------------- state and processes


@trees
@learning
@pytest.mark.parametrize("move", [lambda net: net, lambda net: net.float()], ids=["float64", "float32"])
def test_loading_its_own_state_changes_no_bit(tree, trainable, move):
    net, args, kwargs = made(tree, trainable=trainable)
    net = move(net)
    for dtype in (torch.float64, torch.float32):
        e, more = args[0].to(dtype), {name: x.to(dtype) for name, x in kwargs.items()}
        want = net(e, **more, outputs=OUTPUTS)
        net.load_state_dict(net.state_dict())
        net.load_state_dict(copy.deepcopy(net.state_dict()))
        for x, y in zip(net(e, **more, outputs=OUTPUTS), want, strict=True):
            assert torch.equal(x, y)
    holder = torch.nn.Sequential(net)
    holder.load_state_dict(copy.deepcopy(holder.state_dict()))
    assert torch.equal(holder[0](e, **more), want[0])


@trees
@tasks
@learning
def test_copies_and_files_give_the_same_bits(tree, task, trainable, tmp_path):
    net, args, kwargs = made(tree, task, trainable=trainable)
    want = net(*args, **kwargs, outputs=OUTPUTS)
    torch.save(net, tmp_path / "net.pt")
    for twin in (
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(tmp_path / "net.pt", weights_only=False),
    ):
        assert type(twin) is type(net) and twin.dtype == net.dtype
        for x, y in zip(twin(*args, **kwargs, outputs=OUTPUTS), want, strict=True):
            assert torch.equal(x, y)


def test_loading_its_own_state_leaves_the_scaling_of_messages_as_planned():
    net = hgm.compile(hgm.zoo.random_ghm(6, 4, bound=3.0))
    assert not all(level.rescale for level in net.plan.levels)
    e = torch.randn(3, 4, 64)
    want = net(e)
    net.load_state_dict(copy.deepcopy(net.state_dict()))
    assert torch.equal(net(e), want)


class _Denoised(torch.utils.data.Dataset):
    def __init__(self, net):
        self.net = net

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return self.net(np.full((1, 4), float(i)), 0.5)[0]


@pytest.mark.long
def test_a_network_works_in_other_processes():
    """Started anew, as on Windows and macOS, where everything is pickled."""
    from torch.utils.data import DataLoader

    net = hgm.compile(TREES["conv"], "denoise", channel=hgm.Gaussian())
    want = torch.stack([net(np.full((1, 4), float(i)), 0.5)[0] for i in range(3)])
    (batch,) = DataLoader(_Denoised(net), batch_size=3, num_workers=1, multiprocessing_context="spawn")
    assert_close(batch, want, 1e-14, "a loader")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        z = np.arange(3.0)[:, None] + np.zeros(4)
        assert_close(pool.apply(net, (z, 0.5)), want, 1e-14, "a pool")


# ---------------------------------------------------------------------- what comes in


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(
    ("channel", "noise"),
    [
        (hgm.Soft(), ()),
        (hgm.Clamp(), ()),
        (hgm.Erasure(), (np.array([[[True, False], [True, True]]] * 3),)),
        (hgm.Flip(), (np.array([0.1, 0.2, 0.3]),)),
        (hgm.Gaussian(), (np.array([0.5, 1.0, 2.0]), 0.9)),
        (hgm.Gaussian(np.eye(3)[:, :2]), (0.5,)),
        (hgm.Missing(hgm.Gaussian()), ([0.5, 1.0, 2.0],)),
    ],
    ids=lambda x: x.kind if isinstance(x, hgm.Channel) else "",
)
def test_arrays_and_lists_are_tensors_and_no_rows_are_no_rows(channel, noise, learns):
    net = hgm.compile(TREES["grid"], channel=channel, trainable=learns)
    vectors = channel.values is not None
    rng = np.random.default_rng(0)
    symbols = rng.integers(-1, 3, (3, 2, 2))
    floats = rng.normal(size=(3, 3, 2, 2) if channel.kind == "soft" else (3, 2, 2, 2) if vectors else (3, 2, 2))
    z = symbols if channel.kind in ("clamp", "erasure", "flip") else floats
    tensors = tuple(torch.as_tensor(x) if not isinstance(x, float) else x for x in noise)
    want = net(torch.as_tensor(z), *tensors, outputs=OUTPUTS)
    for given in ((z, *noise), (z.tolist(), *(x.tolist() if isinstance(x, np.ndarray) else x for x in noise))):
        for x, y in zip(net(*given, outputs=OUTPUTS), want, strict=True):
            assert_close(finite(x), finite(y), 1e-12, "arrays and lists")
    none = net(z[:0], *(x if isinstance(x, float) else np.asarray(x)[:0] for x in noise), outputs=OUTPUTS)
    assert [(x.shape, x.dtype) for x in none] == [((0, *x.shape[1:]), x.dtype) for x in want]
    assert none[0].requires_grad == learns
