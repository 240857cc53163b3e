"""A network of many matrices holds them once as logs and once as its layers multiply them, and no index as large."""

import copy

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import hgm
from hgm.compiler.levels import by_levels
from hgm.compiler.ops import EdgeOp, Whole
from hgm.compiler.paths import by_paths
from hgm.testing import assert_close

STATES, EDGES = 20, 31


def untied(rng=0):
    rng = np.random.default_rng(rng)
    return hgm.Tree.from_edges(
        [(i // 2, i + 1, rng.random((STATES, STATES)) + 0.1) for i in range(EDGES)], {0: rng.random(STATES) + 0.1}
    )


def held(net):
    """Bytes of all different tensors of a network."""
    kept = [t for m in net.modules() if "_fixed" in vars(m) for t in m._fixed.values() if isinstance(t, torch.Tensor)]
    every = {t.untyped_storage().data_ptr(): t for t in [*net.buffers(), *net.parameters(), *kept]}
    return sum(t.untyped_storage().nbytes() for t in every.values())


def test_fixed_networks_hold_logs_and_one_precision():
    tree = untied()
    net, numbers = hgm.compile(tree), EDGES * STATES**2
    assert held(net) < 1.2 * (8 + 4) * numbers  # float64 logs, and float32
    assert held(hgm.compile(tree, trainable=True)) < 1.2 * (8 + 8) * numbers  # float64 logs, and whose they are
    plan = hgm.compile(tree).plan
    arrays = [a for stage in plan.stages for op in stage.ops for a in vars(op.index).values()]
    assert sum(a.nbytes for a in arrays) < 0.2 * 8 * numbers


def test_tables_are_not_copied_into_logs_before_somebody_asks():
    tree = untied()
    hgm.compile(tree)
    assert not any("log_potential" in vars(p) for p in tree.potentials)
    p = tree.potentials[0]
    assert np.array_equal(p.log_potential, np.log(p.values)) and p.log_potential is p.log_potential
    assert not p.log_potential.flags.writeable


@pytest.mark.parametrize("plan", [by_levels, by_paths])
def test_whole_tables_have_the_index_that_is_written_out(plan):
    """By its definition: which entry of which potential stands where; also for matrices that are used upwards."""
    tree = untied().reroot(EDGES)
    found = 0
    ops = [op for stage in plan(tree).stages for op in stage.ops]
    for op in (op for op in ops if isinstance(op, EdgeOp) and isinstance(op.index, Whole)):
        index = np.asarray(op.index)
        assert index.shape == op.index.shape and len(op.index) == len(index) and op.weights == len(np.unique(index))
        for f, table in zip(op.factors, index, strict=True):
            i = tree.potential_id[f]
            want = plan(tree).offset[i] + np.moveaxis(tree.potentials[i].entries(), tree.up[f], 0)
            assert np.array_equal(table, want)
            found += 1
    assert found


def test_each_precision_is_made_when_it_is_asked_for_and_never_by_a_tracer():
    tree = untied()
    net = hgm.compile(tree, query="all")
    e = torch.randn(3, STATES, len(tree.leaves), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (layer,) = net.encoder[0].layers()
    assert {dtype for dtype, _ in layer._fixed} == {torch.float32}
    full = torch.full((3, STATES, len(tree)), 0.0, dtype=torch.float64)
    full[:, :, torch.tensor(tree.leaves)] = e
    want = hgm.infer(tree, full).marginals
    exported = torch.export.export(copy.deepcopy(net), (e,))
    assert {dtype for dtype, _ in layer._fixed} == {torch.float32}
    assert_close(exported.module()(e), want, 1e-12, "exported before it ran in float64")
    assert_close(net(e), want, 1e-12, "float64")
    assert {dtype for dtype, _ in layer._fixed} == {torch.float32, torch.float64}
    assert_close(net(e.float()).double(), want, 1e-5, "float32")
    with torch.inference_mode():
        other = hgm.compile(tree, query="all")
        other(e)
    x = e.clone().requires_grad_()
    other(x).square().sum().backward()  # what was kept in inference mode serves autograd too
    assert x.grad is not None


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("schedule", ["levels", "paths"])
def test_what_a_mode_of_torch_sees_is_not_kept(schedule):
    tree = untied()
    net, e = hgm.compile(tree, query="all", schedule=schedule), torch.randn(3, STATES, len(tree.leaves)).double()
    want = copy.deepcopy(net)(e)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        net(mode.from_tensor(e), check=False)
    make_fx(lambda e: net(e, check=False))(e)
    torch.jit.trace(lambda e: net(e, check=False), e, check_trace=False)
    kept = [t for m in net.modules() if "_fixed" in vars(m) for t in m._fixed.values() if t is not None]
    assert not {key[0] for m in net.encoder.modules() if "_fixed" in vars(m) for key in m._fixed} - {torch.float32}
    assert kept and all(type(t) is torch.Tensor for t in kept)
    assert torch.equal(net(e), want)
