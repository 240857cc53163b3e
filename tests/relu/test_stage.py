"""The layers: made of the allowed operations only, in blocks or whole, trainable and portable."""

import operator
import sys

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from relu.nets import evidence

import hgm


@pytest.mark.parametrize("name", ["binary_tied", "joint_table", "zero_rows"])
def test_blocks_that_fit_the_cache_change_nothing(name, monkeypatch):
    tree = CASES[name].tree
    net = hgm.compile(tree, activation="relu", tol=0.1)
    e = torch.randn(9, net.states_in, *net.leaf_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = net(e)
    monkeypatch.setattr(sys.modules["hgm.relu.stage"], "BLOCK", 2000)
    torch.testing.assert_close(net(e), whole, rtol=1e-12, atol=1e-14)


LINEAR = {"add", "sub", "mul", "matmul", "mm", "bmm", "sum", "pad", "relu", "relu_", "amax", "softmax"}


MOVES = {
    "permute", "slice", "index_select", "select", "unsqueeze", "squeeze", "view", "reshape", "expand", "cat", "clone",
    "transpose", "t", "unflatten", "flatten", "split", "split_with_sizes", "getitem", "alias", "to", "zeros_like",
    "new_zeros", "unbind", "narrow", "numpy_T", "numpy_t", "_assert_tensor_metadata", "sym_size",
    "movedim", "contiguous",
}  # fmt: skip


@pytest.mark.parametrize("name", ["joint_table", pytest.param("ragged", marks=pytest.mark.slow)])
def test_it_exports_as_linear_maps_relus_sums_and_max_normalisation_only(name):
    tree = CASES[name].tree
    net = hgm.compile(tree, activation="relu", tol=0.5)
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(3, net.states_in, *net.leaf_shape, dtype=torch.float64, generator=generator)
    program = torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    used = set()
    for node in program.graph.nodes:
        if node.op == "call_function":
            used.add("getitem" if node.target is operator.getitem else node.target._schema.name.split("::")[1])
    assert used <= LINEAR | MOVES, used - LINEAR - MOVES
    assert {"relu", "relu_"} & used
    e = torch.randn(7, net.states_in, *net.leaf_shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(program.module()(e), net(e))


def test_it_trains_from_the_constructed_start():
    tree = hgm.random_ghm(3, 2, 2, seed=5)
    net = hgm.compile(tree, "classify", activation="relu", tol=0.2, trainable=True)
    e = evidence(tree, 64, 1.0, torch.Generator().manual_seed(0))[:, :, torch.tensor(tree.leaves)]
    target = hgm.compile(hgm.random_ghm(3, 2, 2, seed=6), "classify")(e)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = -(target * net(e).log()).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.export
def test_onnx_runs_equal_in_onnxruntime(tmp_path):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = hgm.compile(hgm.random_ghm(2, 3, 2, bound=2.0, seed=0), activation="relu", tol=0.5).float().eval()
    e = torch.randn(4, net.states_in, *net.leaf_shape, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "net.onnx"
    torch.onnx.export(net, (e,), path, dynamo=True, verbose=False)
    operations = {node.op_type for node in onnx.load(path).graph.node}
    assert "Relu" in operations
    assert not operations & {"Exp", "Log", "ReduceLogSumExp", "LogSoftmax"}
    session = onnxruntime.InferenceSession(path)
    (got,) = session.run(None, {session.get_inputs()[0].name: e.numpy()})
    np.testing.assert_allclose(got, net(e).numpy(), atol=1e-6)
