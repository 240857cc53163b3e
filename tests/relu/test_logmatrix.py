"""What every construction promises: its proven bound, against every input that could break it and against sabotage."""

import itertools

import numpy as np
import pytest
import torch
from relu.matrices import NO, PAIRS, ascended, error, inputs, matrix
from scipy.special import logsumexp
from torch import fx

from hgm.relu.constructions.choose import build
from hgm.relu.constructions.logmatrix import contraction


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind"), PAIRS)
@pytest.mark.parametrize("tol", [0.3, 0.02])
def test_no_input_errs_more_than_the_bound(name, kind, tol):
    if kind == "A":
        tol *= 4  # its thousands of units make it slow
    table, rng = matrix(name), np.random.default_rng(1)
    module = build(kind, table, tol)
    assert module.kind == kind and module.shape == table.shape and module.error <= tol
    columns = 100 if kind == "A" else 2000
    h = inputs(table.shape[1], rng, columns)
    if kind != "A":
        h = torch.cat((h, ascended(module, table, rng)), dim=1)
    allowance = module.rounding_steps(1e6) * torch.finfo(torch.float64).eps
    assert allowance < 1e-7
    assert error(module, table, h).max() <= module.error + allowance
    # C and D do not need normalised inputs.
    if kind in ("C", "D"):
        assert error(module, table, h + 3.0).max() <= module.error + allowance


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_in_float32_no_input_errs_more_than_the_bound_and_the_allowance(name, kind):
    table, rng = matrix(name), np.random.default_rng(2)
    module = build(kind, table, 0.5 if kind == "A" else 0.05).float()
    h = inputs(table.shape[1], rng, 200).float()
    for magnitude in (100.0, 1e6):
        allowance = module.rounding_steps(magnitude) * torch.finfo(torch.float32).eps
        within = h[:, h.min(dim=0).values >= -magnitude]
        assert error(module, table, within).max() <= module.error + allowance
        # Only C adds up numbers of the size of its inputs; for the others an input of -1e6 is as good as any.
        assert allowance < (3e-4 * magnitude if kind == "C" else 1e-2), magnitude


@pytest.mark.parametrize(
    ("name", "kind", "sharp"),
    [("2x2", "D", 0.999), ("2x2", "C", 0.9), ("2x2 with a zero", "C", 0.999), ("4x4", "C", 0.9), ("4x4", "B", 0.6)],
)
def test_the_bound_is_nearly_reached(name, kind, sharp):
    table, rng = matrix(name), np.random.default_rng(3)
    module = build(kind, table, 0.02)
    h = torch.cat((inputs(table.shape[1], rng, 50_000), ascended(module, table, rng, 400, 200)), dim=1)
    assert error(module, table, h).max() > sharp * module.error


@pytest.mark.parametrize(("name", "kind"), [("3x5", "A"), ("3x5", "B"), ("3x5", "C"), ("2x2", "D")])
def test_units_are_the_relus_that_run(name, kind, monkeypatch):
    module, seen = build(kind, matrix(name), 0.1), []
    for name_, real in (("relu", torch.relu), ("relu_", torch.relu_)):
        monkeypatch.setattr(torch, name_, lambda x, real=real: seen.append(x.numel()) or real(x))
    module(torch.zeros(module.shape[1], 1, dtype=torch.float64))
    filled_up = int((module.log_changes == 0).sum()) if kind in "AB" else 0
    assert sum(seen) - filled_up == module.units


@pytest.mark.parametrize(
    ("name", "kind"), [("2x2", "D"), ("4x4", "C"), ("4x4", "B"), ("3x5", "A"), ("one input", "constant")]
)
def test_columns_and_batches_are_independent(name, kind):
    table = matrix(name)
    module = build(kind, table, 0.3)
    h = inputs(table.shape[1], np.random.default_rng(5), 60)[:, :60]
    batched = h.reshape(-1, 3, 20).movedim(1, 0)
    torch.testing.assert_close(module(batched).movedim(0, 1).reshape(-1, 60), module(h))


@pytest.mark.parametrize(
    ("name", "kind"), [("2x2", "D"), ("4x4", "C"), ("4x4", "B"), ("3x5", "A"), ("one input", "constant")]
)
def test_forward_is_linear_maps_and_relus_only(name, kind):
    """No operation multiplies two activations or bends them, other than relu."""
    graph = fx.symbolic_trace(build(kind, matrix(name), 0.3)).graph
    additive = {"add", "sub", "sum", "relu", "relu_", "unsqueeze", "squeeze", "index_select", "cat", "getitem"}
    additive |= {"zeros_like", "unflatten", "unbind"}
    depends = {}
    for node in graph.nodes:
        depends[node] = node.op == "placeholder" or any(depends[source] for source in node.all_input_nodes)
        if node.op not in ("call_function", "call_method"):
            continue
        called = node.target if isinstance(node.target, str) else node.target.__name__
        variable = sum(depends[source] for source in node.all_input_nodes)
        assert called in additive or (called in ("mul", "matmul") and variable <= 1), called


@pytest.mark.parametrize(
    ("name", "kind", "weight"),
    [
        ("4x4", "B", "exp_kinks"), ("4x4", "B", "exp_changes"), ("4x4", "B", "psi"), ("4x4", "B", "log_offset"),
        ("4x4", "C", "log_psi"), ("4x4", "C", "rounds.0.changes"), ("4x4", "C", "rounds.1.kinks"),
        ("2x2", "D", "first"), ("2x2", "D", "changes"), ("2x2", "D", "slope"),
    ],
)  # fmt: skip
def test_a_perturbed_weight_breaks_the_bound(name, kind, weight):
    table, rng = matrix(name), np.random.default_rng(6)
    module = build(kind, table, 0.02)
    values = dict(module.named_parameters())[weight]
    flat = values.data.view(-1)
    i = flat.abs().argmax()
    flat[i] += 0.2 * max(1.0, float(flat[i].abs()))
    h = torch.cat((inputs(table.shape[1], rng), ascended(module, table, rng)), dim=1)
    assert error(module, table, h).max() > module.error + module.rounding_steps(1e6) * torch.finfo(torch.float64).eps


def test_weights_train_from_the_constructive_start():
    for kind in "BC":
        module = build(kind, matrix("4x4"), 0.3)
        assert not any(p.requires_grad for p in module.parameters())
        module.requires_grad_(True)
        module(inputs(4, np.random.default_rng(9), 100)).square().sum().backward()
        assert module.parameter_count == sum(p.grad.numel() for p in module.parameters())
        assert all(torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize("name", ["2x2", "2x2 steep", "4x4", "3x5", "5x2", "proportional rows", "one input"])
def test_contraction_bounds_and_is_reached(name):
    """The derivative of f in direction v has osc at most tau osc v, and it is largest in a direction of 0 and 1."""
    table, rng = matrix(name), np.random.default_rng(10)
    tau, ins = contraction(table), table.shape[1]
    largest = 0.0
    for scale in (0.5, 2.0, 5.0):
        h = rng.standard_normal((20_000, 1, ins)) * scale
        weights = np.exp(table + h - logsumexp(table + h, axis=2, keepdims=True))
        for v in itertools.islice(itertools.product((0.0, 1.0), repeat=ins), 1, 2**ins - 1):
            largest = max(largest, np.ptp(weights @ np.array(v), axis=1).max())
    assert largest <= tau + 1e-12
    assert largest >= 0.9 * tau - 1e-12


def test_contraction_with_zeros():
    assert contraction(matrix("2x2 with a zero")) == 1.0
    assert contraction(matrix("permutation")) == 1.0
    padded = np.full((3, 4), NO)
    padded[:2, [0, 2]] = matrix("2x2")
    assert contraction(padded) == contraction(matrix("2x2")) < 1.0
    assert contraction(matrix("proportional rows")) == pytest.approx(0.0, abs=1e-12)
