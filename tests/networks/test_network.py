"""Networks as modules of torch: state, precision, copies, batches, export, compilation, training, and errors."""

import copy
import re
import threading

import numpy as np
import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.errors import BadEvidence, BadSpec, ImpossibleEvidence
from hgm.testing import assert_close, feed, random_evidence

pytestmark = pytest.mark.broad


#: one tree per kind of layer
TREES = {
    "conv": hgm.zoo.random_ghm(3, [3, 2, 3], 2, seed=0),
    "grid": hgm.zoo.random_ghm(2, 3, (2, 2), seed=0),
    "gather": hgm.random_tree(25, cardinality=(1, 4), seed=1),
    "joint": hgm.random_tree(15, joint=0.6, seed=2),
    "zeros": hgm.random_tree(15, joint=0.3, zeros=0.4, seed=3),
    "rules": hgm.rhm(3, 2, 2, 2, seed=4),
    "log": hgm.random_tree(15, bound=1e40, seed=5),
    "single": CASES["single"].tree,
}
trees = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)


def made(tree, task="posterior", **options):
    """A network that takes evidence everywhere, and arguments for it in float64."""
    if task == "posterior":
        options = {"query": "all"} | options
    net = hgm.compile(tree, task, observed=tree.names, **options)
    args, kwargs = feed(net, tree, random_evidence(tree, 0))
    return net, args, kwargs


def cast(args, kwargs, dtype):
    return tuple(x.to(dtype) for x in args), {name: x.to(dtype) for name, x in kwargs.items()}


# ---------------------------------------------------------------------- precision and movement


@trees
@pytest.mark.parametrize("how", ["float", "double", "to", "cpu"])
@pytest.mark.parametrize("trainable", [False, True])
def test_results_follow_the_precision_of_the_input_wherever_the_module_was_moved(tree, how, trainable):
    net, args, kwargs = made(tree, trainable=trainable)
    want = net(*args, **kwargs)
    assert want.dtype == torch.float64
    single = cast(args, kwargs, torch.float32)
    reference = net(*cast(*single, torch.float64)[:1][0], **cast(*single, torch.float64)[1])
    moved = {"float": net.float, "double": net.double, "to": lambda: net.to(torch.float32), "cpu": net.cpu}[how]()
    assert moved is net
    got = net(*single[0], **single[1])
    assert got.dtype == torch.float32
    assert_close(got, reference, 1e-6, f"float32 after .{how}()")
    if how in ("double", "cpu"):
        assert_close(net(*args, **kwargs), want, 1e-13, f"float64 after .{how}()")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_evidence_is_worked_out_in_single(dtype):
    net, args, kwargs = made(TREES["conv"])
    half = cast(args, kwargs, dtype)
    got = net(*half[0], **half[1])
    back = cast(*half, torch.float32)
    assert_close(got, net(*back[0], **back[1]), 2e-3 if got.dtype == dtype else 1e-6, "half")


def test_single_precision_weights_of_small_numbers():
    """`.float()` rounds what is stored: not so coarsely that single-precision results suffer."""
    tree = hgm.random_tree(40, bound=1e14, seed=3)
    net, args, kwargs = made(tree)
    single = cast(args, kwargs, torch.float32)
    back = cast(*single, torch.float64)
    want = net(*back[0], **back[1])
    assert_close(net.float()(*single[0], **single[1]), want, 1e-6, "marginals")


# ---------------------------------------------------------------------- state


@trees
@pytest.mark.parametrize("trainable", [False, True])
def test_a_state_dict_goes_round(tree, trainable):
    source, args, kwargs = made(tree, trainable=trainable)
    wider = tree.with_potentials([p.with_log(p.log_potential * 1.02) for p in tree.potentials])
    target, _, _ = made(wider, trainable=trainable)
    want = source(*args, **kwargs)
    if tree.potentials and tree is not TREES["rules"]:
        assert float((target(*args, **kwargs) - want).detach().abs().max()) > 1e-6
    state = source.state_dict()
    assert set(state) <= {"engine.weights.log_potential", "channel.values"}
    assert target.load_state_dict(state) == ([], [])
    assert_close(target(*args, **kwargs), want, 1e-14, "loaded")
    holder = torch.nn.Sequential(made(wider, trainable=trainable)[0])
    holder.load_state_dict(torch.nn.Sequential(source).state_dict())
    assert_close(holder[0](*args, **kwargs), want, 1e-14, "loaded as a part of another module")
    assert target.tree() == tree


def test_a_state_dict_of_another_shape_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        made(TREES["conv"])[0].load_state_dict(made(TREES["joint"])[0].state_dict())


@trees
def test_a_copy_stands_on_its_own(tree):
    net, args, kwargs = made(tree, trainable=True)
    want = net(*args, **kwargs).detach()
    twin = copy.deepcopy(net)
    with torch.no_grad():
        net.engine.weights.log_potential.zero_()
    assert_close(twin(*args, **kwargs), want, 0.0, "the copy")


def test_training_and_evaluation_mode_are_the_same():
    net, args, kwargs = made(TREES["gather"])
    assert torch.equal(net.train()(*args, **kwargs), net.eval()(*args, **kwargs))


def test_a_fixed_network_has_no_parameters_and_a_trainable_one_has_one_vector():
    assert list(made(TREES["joint"])[0].parameters()) == []
    (vector,) = made(TREES["joint"], trainable=True)[0].parameters()
    assert len(vector) == sum(p.size for p in TREES["joint"].potentials)


@trees
def test_the_tree_comes_back_exactly(tree):
    for trainable in (False, True):
        back = made(tree, trainable=trainable)[0].tree()
        assert back == tree
    classifier = hgm.compile(tree, "classify", query=tree.names[len(tree) - 1])
    assert classifier.tree() == tree.reroot(tree.names[len(tree) - 1])


# ---------------------------------------------------------------------- batches and memory


@trees
def test_batches_of_none_one_and_many(tree):
    for task in ("posterior", "classify", "denoise"):
        net, args, kwargs = made(tree, task)
        many = net(*args, **kwargs)
        none = net(*(x[:0] for x in args), **{name: x[:0] for name, x in kwargs.items()})
        assert none.shape == (0, *many.shape[1:])
        assert none.dtype == many.dtype
        one = net(*(x[2:3] for x in args), **{name: x[2:3] for name, x in kwargs.items()})
        assert_close(one, many[2:3], 1e-14, "one row")
        assert net.log_partition(*(x[:0] for x in args), **{n: x[:0] for n, x in kwargs.items()}).shape == (0,)


@trees
@pytest.mark.parametrize("task", ["posterior", "classify", "denoise"])
def test_large_batches_are_sliced_and_nobody_can_tell(tree, task, monkeypatch):
    net, args, kwargs = made(tree, task)
    rows = torch.arange(29) % len(args[0])
    args, kwargs = (args[0][rows],), {name: x[rows] for name, x in kwargs.items()}
    whole, log_z = net(*args, **kwargs), net.log_partition(*args, **kwargs)
    inputs = net.states_in * len(net.inputs)
    runs = []
    answer = net._answers
    monkeypatch.setattr(net, "_answers", lambda *a: runs.append(1) or answer(*a))
    for rows in (1, 4, 28, 29):
        monkeypatch.setattr("hgm.networks.running.SLICE", rows * inputs)
        runs.clear()
        assert_close(net(*args, **kwargs), whole, 1e-14, f"{rows} rows at a time")
        assert len(runs) == -(-29 // rows)
        assert_close(net.log_partition(*args, **kwargs), log_z, 1e-14, f"log Z, {rows} rows at a time")


def test_impossible_rows_are_all_named_also_across_slices(monkeypatch):
    net = hgm.compile(hgm.broadcast(1, eps=0.0))
    z = torch.zeros(20, 2, dtype=torch.long)
    wrong = (3, 4, 8, 19)
    z[list(wrong), 0] = 1
    for rows in (20, 8, 3):
        monkeypatch.setattr("hgm.networks.running.SLICE", rows * 4)
        for method in (net.forward, net.log_partition):
            with pytest.raises(ImpossibleEvidence) as error:
                method(z)
            assert error.value.rows == wrong


@pytest.mark.long
@trees
@pytest.mark.parametrize("task", ["posterior", "classify", "denoise"])
@pytest.mark.parametrize("layout", ["plain", "transposed", "strided", "one row", "expanded"])
@pytest.mark.parametrize("grad", [False, True])
def test_inputs_are_not_written_to_whatever_their_layout(tree, task, layout, grad):
    net, args, kwargs = made(tree, task)
    if layout == "one row":
        args, kwargs = (args[0][:1].clone(),), {name: x[:1].clone() for name, x in kwargs.items()}
    want = net(*(x.clone() for x in args), **{name: x.clone() for name, x in kwargs.items()})

    def laid(x):
        if layout == "transposed":  # batch last in memory, as the network works
            return x.movedim(0, -1).contiguous().movedim(-1, 0)
        if layout == "strided":
            return torch.stack([x, x + 1], -1)[..., 0]
        if layout == "expanded":
            return x[1:2].expand(x.shape)
        return x

    args, kwargs = tuple(map(laid, args)), {name: laid(x) for name, x in kwargs.items()}
    before = [x.clone() for x in (*args, *kwargs.values())]
    with torch.set_grad_enabled(grad):
        got, again = net(*args, **kwargs), net(*args, **kwargs)
        net.log_partition(*args, **kwargs)
    for x, old in zip((*args, *kwargs.values()), before, strict=True):
        assert torch.equal(x, old)
    assert torch.equal(got, again)
    if layout != "expanded":
        assert_close(got, want, 1e-14, layout)


@trees
def test_results_do_not_depend_on_whether_gradients_are_kept(tree):
    for dtype in (torch.float64, torch.float32):
        net, args, kwargs = made(tree)
        args, kwargs = cast(args, kwargs, dtype)
        with torch.no_grad():
            want = net(*args, **kwargs)
        kept = net(*(x.clone().requires_grad_() for x in args), **kwargs)
        assert_close(kept, want, 1e-14 if dtype == torch.float64 else 1e-6, "with gradients")


@trees
def test_a_result_is_not_overwritten_by_the_next_forward(tree):
    net, args, kwargs = made(tree)
    with torch.no_grad():
        first = net(*args, **kwargs)
        kept = first.clone()
        net(*(x * 0.5 for x in args), **kwargs)
    assert torch.equal(first, kept)


def test_two_threads_share_a_network():
    net, args, kwargs = made(TREES["joint"])
    other = (args[0].flip(0),), {name: x.flip(0) for name, x in kwargs.items()}
    want = [net(*args, **kwargs), net(*other[0], **other[1])]
    wrong = []

    def work(which):
        a, k = (args, kwargs) if which == 0 else other
        for _ in range(30):
            with torch.no_grad():
                if not torch.equal(net(*a, **k), want[which]):
                    wrong.append(which)

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------------- torch's machinery


@pytest.mark.parametrize("name", ["conv", "grid", "rules"])
@pytest.mark.parametrize("task", ["posterior", "classify", "denoise"])
def test_export_runs_with_other_batch_sizes(name, task):
    tree = TREES[name]
    net = hgm.compile(tree, task)
    args, _ = feed(net, tree, random_evidence(tree, 0))
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(net, args, dynamic_shapes=({0: batch},))
    for rows in (2, 6, 31):
        e = random_evidence(tree, rows, batch=rows)
        args, _ = feed(net, tree, e)
        assert_close(program.module()(*args), net(*args), 1e-13, f"{rows} rows")


def test_export_of_a_denoiser_takes_the_noise_level():
    tree = hgm.zoo.random_ghm(2, 3, (2, 2), seed=0)
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian())
    batch = torch.export.Dim("batch", min=2)
    z, sigma = torch.randn(3, 4, 4), torch.tensor([0.5, 1.0, 2.0])
    program = torch.export.export(net, (z, sigma), dynamic_shapes=({0: batch}, {0: batch}))
    z, sigma = torch.randn(5, 4, 4), torch.rand(5) + 0.1
    assert_close(program.module()(z, sigma), net(z, sigma), 1e-6, "exported")


@pytest.mark.export
@pytest.mark.parametrize("name", ["conv", "rules", "single"])
def test_torch_compile_sees_one_graph(name):
    """Nothing in the way of tracing; the generated code, and the other trees, are for the slow test."""
    tree = TREES[name]
    net, args, kwargs = made(tree)
    torch.compiler.reset()
    run = torch.compile(net, fullgraph=True, backend="eager", dynamic=True)
    assert_close(run(*args, **kwargs), net(*args, **kwargs), 1e-13, "traced")
    fewer = {name: x[:4] for name, x in kwargs.items()}
    assert_close(run(args[0][:4], **fewer), net(args[0][:4], **fewer), 1e-13, "traced, other batch")


@pytest.mark.export
@pytest.mark.slow
@trees
def test_torch_compile_gives_the_same(tree):
    net, args, kwargs = made(tree)
    torch.compiler.reset()  # graphs of other trees count towards the limit
    run = torch.compile(net, fullgraph=True)
    assert_close(run(*args, **kwargs), net(*args, **kwargs), 1e-12, "compiled")


@trees
def test_functional_derivatives(tree):
    """torch.func: gradients, and Jacobians by forward mode, agree with plain autograd."""
    net, args, kwargs = made(tree)
    finite = torch.isfinite(args[0])
    base = torch.where(finite, args[0], 0.0)

    def log_z(x):
        return net.log_partition(torch.where(finite, x, args[0]), **kwargs).sum()

    x = base.clone().requires_grad_()
    (want,) = torch.autograd.grad(log_z(x), x)
    assert_close(torch.func.grad(log_z)(base), want, 1e-12, "func.grad")
    direction = torch.linspace(-1, 1, base.numel(), dtype=base.dtype).view_as(base)
    _, slope = torch.func.jvp(log_z, (base,), (direction,))
    assert_close(slope, (want * direction).sum(), 1e-10, "func.jvp")


@trees
def test_functional_calls_swap_the_weights(tree):
    if not tree.potentials:
        return
    net, args, kwargs = made(tree, trainable=True)
    others = {"engine.weights.log_potential": net.engine.weights.log_potential.detach() * 0.7}
    got = torch.func.functional_call(net, others, args, kwargs)
    with torch.no_grad():
        net.engine.weights.log_potential.mul_(0.7)
    assert_close(got, net(*args, **kwargs), 1e-13, "functional_call")


# ---------------------------------------------------------------------- training


def test_training_lowers_the_loss_and_keeps_what_is_tied_tied():
    truth = hgm.zoo.random_ghm(2, 3, 2, tie="level", bound=20.0, seed=1)
    start = truth.with_potentials([p.with_log(p.log_potential * 0.1) for p in truth.potentials])
    samples = hgm.infer(truth).sample(400, generator=torch.Generator().manual_seed(0))
    x = samples.states[:, torch.from_numpy(truth.leaves.copy())]
    net = hgm.compile(start, trainable=True)
    blank = torch.full((1, x.shape[1]), -1)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = net.log_partition(blank).squeeze() - net.log_partition(x).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05
    learnt = net.tree()
    assert len(learnt.potentials) == len(truth.potentials)
    assert np.array_equal(learnt.potential_id, truth.potential_id)
    e = random_evidence(learnt, 0)
    args, _ = feed(net, learnt, e)
    assert_close(hgm.compile(learnt)(*args), net(*args), 1e-12, "the learnt tree, compiled again")


def test_zeros_stay_zeros_in_training():
    zeros = hgm.broadcast(2, 3, eps=0.0)
    net = hgm.compile(zeros, "classify", trainable=True)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    x = torch.tensor([[0, 0, 0, 0], [2, -1, 2, 2]])
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.nll_loss(net(x).clamp_min(1e-30).log(), torch.tensor([0, 2])).backward()
        optimiser.step()
    after = net.tree().potentials
    for p, q in zip(zeros.potentials, after, strict=True):
        assert np.array_equal(np.isneginf(p.log_potential), np.isneginf(q.log_potential))


# ---------------------------------------------------------------------- symbols


def test_symbols_at_the_leaves_and_at_observed_variables():
    case = CASES["ragged"]
    tree = case.tree
    net = hgm.compile(tree, query="all", observed=["a", "r"])
    leaves = [tree.names[int(v)] for v in tree.leaves]
    assert net.inputs == (*leaves, "a", "r")
    z = torch.tensor([[0] * len(leaves), [-1, 1, *[0] * (len(leaves) - 3), -1]])
    extra = torch.tensor([[1, -1], [-1, 2]])
    got = net(z, evidence=extra)
    for b in range(2):
        names = [*leaves, "a", "r"]
        states = dict(zip(names, [*z[b].tolist(), *extra[b].tolist()], strict=True))
        joint = case.joint.given({name: np.eye(case.card(name))[s] for name, s in states.items() if s >= 0})
        for i, name in enumerate(tree.names):
            assert_close(got[b, : case.card(name), i], torch.from_numpy(joint.marginal(name)), 1e-6, name)
    one = net(z, evidence=torch.tensor([[1, -1]]))  # one row of extra evidence for the whole batch
    assert_close(one[0], got[0], 1e-6, "broadcast")
    assert_close(net(z), net(z, evidence=torch.full((2, 2), -1)), 1e-6, "no extra evidence")


# ---------------------------------------------------------------------- errors


RAGGED = CASES["ragged"].tree  # leaves of 4, 2, 3, 5 and 2 states and more


def test_nan_and_infinite_evidence_are_refused_by_row():
    for tree in TREES.values():
        for bad in (torch.nan, torch.inf):
            for task in ("posterior", "classify"):
                net, args, kwargs = made(tree, task)
                e = args[0].clone()
                e[1, 0], e[4, 0] = bad, bad
                with pytest.raises(BadEvidence, match=r"rows 1, 4"):
                    net(e, **kwargs)


@pytest.mark.parametrize("name", ["rules", "zeros", "joint"])
def test_infinite_evidence_is_refused_also_where_no_rule_reads_it(name):
    tree = TREES[name]
    net = hgm.compile(tree)
    args, _ = feed(net, tree, random_evidence(tree, 0))
    for state in range(net.leaf_states):
        for leaf in range(len(tree.leaves)):
            if state < tree.cardinality[tree.leaves[leaf]]:
                e = args[0].clone()
                e.flatten(2)[3, state, leaf] = torch.inf
                with pytest.raises(BadEvidence, match="rows 3"):
                    net(e)


@pytest.mark.parametrize(
    "shape", [(3, 5), (3, 4, 5), (3, 6, 5), (3, 5, 4), (3, 5, 6), (3, 5, 5, 1), (5,), (3, 1, 5)], ids=str
)
def test_leaf_evidence_of_a_wrong_shape_is_refused(shape):
    net = hgm.compile(hgm.star(5, 5))
    with pytest.raises(BadEvidence, match=r"shape \(B, (5, 5|S, \*positions)\); got " + re.escape(str(shape))):
        net(torch.zeros(shape))


def test_evidence_of_a_wrong_shape_on_a_grid_is_refused():
    net = hgm.compile(TREES["grid"])
    for shape in ((2, 3, 16), (2, 3, 4, 5), (2, 2, 4, 4), (2, 4, 4, 4), (4, 4)):
        with pytest.raises(BadEvidence, match=r"\(B, 3, 4, 4\)"):
            net(torch.zeros(shape))
    with pytest.raises(BadEvidence):
        net(torch.zeros(2, 16, dtype=torch.long))


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 3, 3), (3, 3, 2), (2, 6, 2), (2, 2, 2), (3, 2)], ids=str)
def test_evidence_of_observed_variables_of_a_wrong_shape_is_refused(shape):
    net = hgm.compile(hgm.zoo.random_ghm(2, 3, 2, seed=0), observed=["h1_0", "h1_1"])
    with pytest.raises(BadEvidence, match="observed variables must have shape"):
        net(torch.zeros(2, 3, 4), evidence=torch.zeros(shape))


def test_evidence_that_the_network_does_not_take_is_refused():
    tree = TREES["conv"]
    net = hgm.compile(tree)
    with pytest.raises(BadEvidence, match=r"observed=\[\.\.\.\]"):
        net(torch.zeros(1, 3, 8), evidence=torch.zeros(1, 3, 1))
    with pytest.raises(BadEvidence, match=r"'h1_0'.*observed=\['h1_0'\]"):
        net.given({"h1_0": 1})
    with pytest.raises(BadEvidence, match="no variable 'nobody'"):
        net.given({"nobody": 1})
    with pytest.raises(BadEvidence, match="state 7"):
        net.given({"x0": 7})


def test_a_symbol_that_a_leaf_does_not_have_is_refused():
    """Leaves of different cardinalities: what one leaf may be another may not."""
    net = hgm.compile(RAGGED)
    small = int(np.argmin(RAGGED.cardinality[RAGGED.leaves]))
    z = torch.full((2, len(RAGGED.leaves)), -1)
    z[1, small] = 4
    with pytest.raises((BadEvidence, ImpossibleEvidence)):
        net(z)


def test_what_is_in_the_padding_of_a_leaf_with_fewer_states_does_not_matter():
    e = random_evidence(RAGGED, 0)
    net = hgm.compile(RAGGED)
    args, _ = feed(net, RAGGED, e)
    exists = torch.arange(net.leaf_states)[:, None] < torch.from_numpy(RAGGED.cardinality[RAGGED.leaves].copy())
    want = net(*args)
    for padding in (0.0, 50.0, -torch.inf, 1e30):
        got = net(torch.where(exists, args[0], padding))
        assert_close(got, want, 1e-12, f"padding of {padding}")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"task": "guess"}, BadSpec, "'classify', 'denoise' or 'posterior'; got 'guess'"),
        ({"task": "classify", "query": "nobody"}, BadEvidence, "no variable 'nobody'"),
        ({"task": "classify", "query": ["x0", "x1"]}, BadSpec, "asks for one variable"),
        ({"query": "nobody"}, BadEvidence, "no variable 'nobody'"),
        ({"query": ["x0", "nobody"]}, BadEvidence, "no variable 'nobody'"),
        ({"query": []}, BadSpec, "names no variable"),
        ({"observed": ["nobody"]}, BadEvidence, "no variable 'nobody'"),
        ({"task": "denoise", "query": ["h1_0"]}, BadSpec, "means of the leaves"),
        ({"channel": hgm.Soft(states=7)}, BadEvidence, "7 states, but the leaves have 3"),
    ],
)
def test_what_cannot_be_compiled_is_named(options, kind, message):
    with pytest.raises(kind, match=message):
        hgm.compile(TREES["conv"], **options)


def test_impossible_evidence_names_its_rows():
    tree = hgm.broadcast(2, 3, eps=0.0)
    for task in ("posterior", "classify", "denoise"):
        net = hgm.compile(tree, task)
        z = torch.tensor([[0, 0, -1, 0], [0, 1, 0, 0], [2, 2, 2, 2], [-1, -1, 1, 2]])
        for method in (net.forward, net.log_partition):
            with pytest.raises(ImpossibleEvidence, match="rows 1, 3") as error:
                method(z)
            assert error.value.rows == (1, 3)


def test_a_component_of_a_forest_may_be_the_impossible_one():
    tree = CASES["forest"].tree
    net = hgm.compile(tree, query="all", observed=tree.names)
    e = random_evidence(tree, 0)
    e[2, :, tree.index("single")] = -torch.inf
    args, kwargs = feed(net, tree, e)
    with pytest.raises(ImpossibleEvidence) as error:
        net(*args, **kwargs)
    assert error.value.rows == (2,)


# ---------------------------------------------------------------------- the precision of symbols


@trees
@pytest.mark.parametrize("task", ["posterior", "classify", "denoise"])
def test_symbols_give_the_precision_of_the_network(tree, task):
    leaves = torch.from_numpy(tree.leaves.copy())
    z = hgm.infer(tree).sample(3, generator=torch.Generator().manual_seed(0)).states[:, leaves]
    names = ("posterior", "log_posterior", "leave_one_out", "log_partition")
    net = hgm.compile(tree, task)
    assert net.dtype == torch.float32
    single = net(z.reshape(3, *net.leaf_shape), outputs=names)
    assert net.double() is net and net.dtype == torch.float64
    double = net(z.reshape(3, *net.leaf_shape), outputs=names)
    logs = hgm.Clamp(states=net.leaf_states)(z).double().reshape(3, net.leaf_states, *net.leaf_shape)
    for x, y, want in zip(single, double, net(logs, outputs=names), strict=True):
        assert (x.dtype, y.dtype) == (torch.float32, torch.float64)
        assert torch.equal(y, want)
        assert_close(x.nan_to_num(neginf=1), y.nan_to_num(neginf=1), 1e-5, "float32")
    assert net.log_partition(z.reshape(3, *net.leaf_shape)).dtype == torch.float64
    assert net.half()(z.reshape(3, *net.leaf_shape)).dtype == torch.float16


@pytest.mark.parametrize("channel", [hgm.Gaussian(), hgm.Flip(), hgm.Clamp(), hgm.Erasure()], ids=lambda c: c.kind)
def test_symbols_and_numbers_give_the_precision_of_the_network(channel):
    tree = TREES["grid"]
    net = hgm.compile(tree, channel=channel).double()
    z = torch.randint(0, 3, (2, 4, 4))
    noise = (0.3,) if channel.noise_names else ()
    got = net(z, *noise)
    assert got.dtype == torch.float64
    floats = (
        net(z.double(), 0.3)
        if channel.kind == "gaussian"
        else hgm.compile(tree)(net.channel(z, *[torch.tensor(x, dtype=torch.float64) for x in noise]).double())
    )
    assert_close(got, floats, 1e-14, channel.kind)
    if channel.kind == "flip":
        one = hgm.compile(tree, channel=channel)(z, torch.tensor(0.3, dtype=torch.float64))
        assert one.dtype == torch.float64
        assert_close(one, got, 1e-14, "a tensor of noise decides")


@pytest.mark.parametrize("name", ["quad_2d", "ragged", "binary_untied"])
def test_evidence_by_name_goes_with_an_observation(name):
    """As the reference reads both."""
    tree = CASES[name].tree
    root, inner = tree.names[0], tree.names[int(np.flatnonzero(tree.inner)[-1])]
    states = int(tree.cardinality[tree.leaves].max())
    channel = hgm.Gaussian(list(range(states)))
    net = hgm.compile(tree, query="all", observed=[root, inner], channel=channel).double()
    z = torch.randn(3, *tree.leaf_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    for seen in ({root: 1}, {root: [1, 0, None]}, {root: {0: 0.2, 1: 0.5}, inner: [None, 1, 0]}, {}):
        want = hgm.infer(tree, z, sigma, channel=channel, evidence=seen)
        got, log_z = net.given(seen, z, sigma, outputs=("posterior", "log_partition"))
        assert_close(got, want.marginals, 1e-12, "marginals")
        assert_close(log_z, want.log_partition, 1e-11, "log Z")
    with pytest.raises(hgm.BadEvidence, match="is one of the leaves, which are observed together"):
        net.given({tree.names[int(tree.leaves[0])]: 0}, z, sigma)
    with pytest.raises(hgm.BadEvidence, match=r"a mapping from variables to what was seen; got \[1, 2\]"):
        net.given([1, 2])


def test_evidence_by_name_under_inference_mode_leaves_later_gradients_alone():
    tree = hgm.chain(4, 3, seed=0)
    net = hgm.compile(tree, observed=["x1"], query="all")
    with torch.inference_mode():
        first = net.given({"x1": 2})
    values = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64, requires_grad=True)
    net.given({"x1": hgm.Likelihood(values)})[0, 0, 2].backward()
    assert values.grad is not None and bool(values.grad.abs().sum() > 0)
    torch.testing.assert_close(net.given({"x1": 2}), first.clone())


@pytest.mark.parametrize("query", ["x0", "leaves"])
def test_none_stands_for_what_is_left_out_at_the_end_only(query):
    tree = hgm.chain(4, 3, seed=0)
    net = hgm.compile(tree, query=query, channel=hgm.Gaussian([-1.0, 0.0, 1.0]))
    z, sigma, alpha = torch.zeros(2, *tree.leaf_shape), 0.5, 0.7
    assert torch.equal(net(z, sigma, None), net(z, sigma))
    assert not torch.equal(net(z, sigma, alpha), net(z, alpha))
    for given in ((z, None, alpha), (None, sigma), (z, sigma, None, 0.3)):
        for answer in (net, net.log_partition):
            with pytest.raises(hgm.BadEvidence, match="must be an array of numbers; got a NoneType"):
                answer(*given)
