"""The public face of a network, what a reader can watch, and how often evidence is copied on its way in."""

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hgm
from hgm.compiler.layers import FactorLayer
from hgm.compiler.stage import Stage
from hgm.testing import assert_close, feed, random_evidence

TREE = hgm.random_ghm(3, 4, (2, 2), bound=10.0, seed=0)
LOGS = hgm.random_ghm(3, 3, 2, bound=1e40, seed=1)
RAGGED = hgm.random_tree(20, joint=0.3, seed=2)
ENGINES = {"exact": {}, "relu": {"activation": "relu", "tol": 1.0, "floor": 30.0}}
TREES = {"grid": TREE, "logs": LOGS, "ragged": RAGGED}
FACE = {
    *("log_partition", "given", "extra_error", "plan", "tree", "certificate", "trainable", "task", "query", "inputs"),
    *("leaf_shape", "states_in", "leaf_states", "extra", "channel", "engine", "encoder", "decoder"),
}


@pytest.mark.parametrize("options", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("task", ["classify", "denoise", "posterior"])
def test_every_network_has_the_face(options, task):
    tree = hgm.random_ghm(2, 3, (2, 2), bound=4.0, seed=0)
    net = hgm.compile(tree, task, **options)
    assert all(hasattr(net, name) for name in FACE)
    assert net.task == task
    assert net.leaf_shape == (4, 4) and net.states_in == 3
    assert net.tree() == tree
    assert net.query.tolist() == ([0] if task == "classify" else tree.leaves.tolist())
    assert (net.certificate is None) == (not options)
    assert net.given({"x0_0": 1}).shape == net(torch.zeros(1, 3, 4, 4)).shape
    assert len(net.encoder) == 2 and len(net.decoder) == (0 if task == "classify" else 2)
    names = {name.partition(".")[0] for name in net.state_dict()}
    assert names <= {"engine", "channel"}


def test_the_query_is_that_of_the_plan_s_tree():
    net = hgm.compile(RAGGED, "classify", query="x7", observed=["x0"])
    assert [net.plan.tree.names[int(v)] for v in net.query] == ["x7"]
    net = hgm.compile(RAGGED, query=["x7", "x0"])
    assert [net.plan.tree.names[int(v)] for v in net.query] == ["x7", "x0"]


# ---------------------------------------------------------------------- a reader can watch


@pytest.mark.parametrize("options", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("name", TREES)
def test_hooks_fire_on_every_stage_of_encoder_and_decoder(name, options):
    tree = TREES[name] if not options else hgm.random_ghm(3, 2, 2, bound=4.0, seed=0)
    net = hgm.compile(tree, query="all", **options)
    args, kwargs = feed(net, tree, random_evidence(tree))
    seen = []
    for module in (*net.encoder, *net.decoder):
        module.register_forward_hook(lambda module, args, output: seen.append(module))
    net(*args, **kwargs)
    assert seen == [*net.encoder, *net.decoder]


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_a_stage_or_layer_called_by_itself_gives_what_it_gives_in_the_network(name, trainable):
    """Also after the weights have changed: a layer called alone takes its current weight."""
    tree = TREES[name]
    net = hgm.compile(tree, query="all", trainable=trainable)
    if trainable:
        with torch.no_grad():
            for weights in net.parameters():
                weights.mul_(0.9)
    args, kwargs = feed(net, tree, random_evidence(tree))
    calls = []
    layers = [module for module in net.modules() if isinstance(module, FactorLayer)]
    stages = [module for module in net.modules() if isinstance(module, Stage)]
    for module in (*layers, *stages):
        module.register_forward_hook(lambda module, args, output: calls.append((module, copy.deepcopy(args), output)))
    with torch.no_grad():
        net.log_partition(*args, **kwargs)
        assert {id(module) for module, _, _ in calls} == {id(module) for module in (*layers, *stages)}
        for module, given, output in list(calls):
            alone = module(given[0]) if isinstance(module, FactorLayer) else module(*given[:2])[0].h
            assert_close(alone, output if isinstance(module, FactorLayer) else output[0].h, 0.0, str(module))


def test_a_hook_can_change_what_passes():
    """A decoder without its finest skip: every leaf then gets what the rest of the image says."""
    net = hgm.compile(TREE)
    args, kwargs = feed(net, TREE, random_evidence(TREE))
    whole = net(*args, **kwargs)

    def without_skip(module, args, output):
        output.b = output.r.reshape(output.b.shape) / output.r.reshape(output.b.shape).sum(0)

    handle = net.decoder[-1].register_forward_hook(without_skip)
    cavity = net(*args, **kwargs) * args[0].exp()
    assert_close(cavity / cavity.sum(1, keepdim=True), whole, 1e-12, "cavity times own evidence")
    handle.remove()
    assert torch.equal(net(*args, **kwargs), whole)


def test_the_kernel_weight_needs_no_argument():
    net = hgm.compile(TREE)
    (layer,) = net.encoder[0].layers()
    assert layer.kernel_weight().shape == (16, 4, 2, 2)
    assert torch.equal(copy.deepcopy(layer).kernel_weight(), layer.kernel_weight())


# ---------------------------------------------------------------------- evidence comes in without copies


class FullSizeCopies(TorchDispatchMode):
    """Names of the operations that only move numbers, at least `size` of them."""

    MOVES = (
        "clone",
        "copy_",
        "_to_copy",
        "index_select",
        "index.Tensor",
        "cat",
        "gather",
        "constant_pad_nd",
        "contiguous",
    )

    def __init__(self, size):
        super().__init__()
        self.size, self.found = size, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = str(func).removeprefix("aten.")
        if name.startswith(self.MOVES) and isinstance(out, torch.Tensor) and out.numel() >= self.size:
            self.found.append(name)
        return out


SYMBOLS = torch.randint(-1, 4, (6, 8, 8), generator=torch.Generator().manual_seed(0))
NOISY = torch.randn(6, 8, 8, generator=torch.Generator().manual_seed(1))
OBSERVATIONS = {
    "gaussian": (hgm.Gaussian(), (NOISY, 0.7), 0),
    "missing": (hgm.Missing(hgm.Gaussian()), (NOISY, 0.7), 0),
    "flip": (hgm.Flip(), (SYMBOLS, 0.2), 0),
    "clamp": (hgm.Clamp(), (SYMBOLS,), 0),
    "soft": (hgm.Soft(), (torch.randn(6, 4, 8, 8),), 2),  # states first, and in the network's order
}


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_evidence_is_not_copied_on_its_way_in(name):
    channel, observation, most = OBSERVATIONS[name]
    net = hgm.compile(TREE, "classify", channel=channel)
    with torch.no_grad(), FullSizeCopies(4 * 64 * 6) as counter:
        net(*observation)
    assert len(counter.found) == most, counter.found


def test_a_copy_is_counted():
    net = hgm.compile(TREE, "classify", channel=hgm.Gaussian())
    net.channel.register_forward_pre_hook(lambda *_: None)
    plain = net.channel.states_first
    net.channel.states_first = lambda *z: plain(*z).clone()
    with torch.no_grad(), FullSizeCopies(4 * 64 * 6) as counter:
        net(NOISY, 0.7)
    assert counter.found == ["clone.default"]


def test_evidence_of_inner_variables_goes_where_it_belongs():
    """Leaves, then `observed`, in any order of the tree: the engine's own order is nobody's business."""
    for seed in range(4):
        tree = hgm.random_tree(15, cardinality=(2, 4), joint=0.3, seed=seed)
        names = np.random.default_rng(seed).permutation([str(name) for name in tree.names]).tolist()
        e = random_evidence(tree, seed)
        for observed in (names, names[:3], []):
            known = {*observed, *(tree.names[int(v)] for v in tree.leaves)}
            seen = e.clone()
            for v in range(len(tree)):
                if tree.names[v] not in known:
                    seen[:, : int(tree.cardinality[v]), v] = 0.0
            net = hgm.compile(tree, query="all", observed=observed)
            args, kwargs = feed(net, tree, e)
            assert_close(net(*args, **kwargs), hgm.infer(tree, seen).marginals, 1e-12, "marginals")


@pytest.mark.parametrize("level", [0, 2, 5])
def test_the_decoder_runs_as_far_down_as_it_is_asked(level):
    tree, ran = hgm.chain(6), []
    net = hgm.compile(tree, query=[f"x{level}"], observed=list(tree.names))
    for at, up in enumerate(net.decoder):
        up.register_forward_hook(lambda *_, at=at: ran.append(at))
    p = net.given({"x1": 2, "x5": 0})
    assert ran == list(range(level))
    torch.testing.assert_close(p[0, :, 0], hgm.infer(tree, {"x1": 2, "x5": 0})[f"x{level}"], rtol=0, atol=1e-12)
