"""ReLU networks for one factor: the proven bound against every input that could break it, and against sabotage."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import fx

from hgm.errors import BadPotential, HgmError, Uncertifiable
from hgm.relu.constructions.choose import baseline_size, build, cheapest, cost
from hgm.relu.constructions.explog import relative_error
from hgm.relu.constructions.logmatrix import contraction
from hgm.relu.pieces.grids import uniform_exp
from hgm.relu.pieces.targets import Exp, minimax
from hgm.relu.pieces.tube import relative_exp

NO = -np.inf
MATRICES = {
    "2x2": [[1.1, -0.4], [-2.0, 0.7]],
    "2x2 steep": np.log([[0.999, 0.001], [0.002, 0.998]]),
    "2x2 weak": [[0.0, 0.05], [0.03, 0.0]],
    "2x2 with a zero": [[0.0, NO], [-1.0, 0.5]],
    "2x2 falling": [[-1.0, 2.0], [1.5, -0.5]],
    "4x4": np.random.default_rng(4).uniform(-2.3, 2.3, (4, 4)),
    "3x5": np.random.default_rng(5).uniform(-3, 1, (3, 5)),
    "5x2": np.random.default_rng(6).uniform(-1, 4, (5, 2)),
    "8x8": np.random.default_rng(8).uniform(-2.3, 2.3, (8, 8)),
    "joint 3x12": np.random.default_rng(12).uniform(-1, 1, (3, 12)),
    "rules": [[0.1, 0.2, NO, NO, NO, NO, NO], [NO, NO, -1.0, 0.0, 2.0, NO, NO], [NO, NO, NO, NO, NO, 0.3, NO]],
    "permutation": [[NO, 0.2, NO], [NO, NO, -1.0], [3.0, NO, NO]],
    "proportional rows": np.add.outer([0.0, 2.0, -1.0], [0.3, -0.2, 1.0, 0.0]),
    "one input": [[0.4], [-1.0], [2.0]],
    "one output": [[0.4, NO, 2.0]],
    "nearly equal": np.random.default_rng(9).uniform(-0.001, 0.001, (3, 3)),
}
KINDS = ("constant", "A", "B", "C", "D")


def matrix(name):
    return np.asarray(MATRICES[name], dtype=np.float64)


def built():
    """All pairs of a matrix and a construction that applies to it."""
    for name in MATRICES:
        table = matrix(name)
        positive = np.isfinite(table).all()
        yield name, "C"
        if positive:
            yield from ((name, kind) for kind in "AB")
        if positive and table.shape == (2, 2):
            yield name, "D"
        if name in ("proportional rows", "one input", "one output"):
            yield name, "constant"


PAIRS = [pytest.param(name, kind, id=f"{name} {kind}") for name, kind in built()]


def error(module, table, h):
    """osc(module(h) - f(h)) for every column of h, f by scipy in float64."""
    with np.errstate(divide="ignore"), torch.no_grad():
        exact = logsumexp(np.asarray(table)[:, :, None] + h.double().numpy()[None], axis=1)
    return np.ptp(module(h).detach().double().numpy() - exact, axis=0)


def inputs(states, rng, columns=2000):
    """Normalised columns: Gaussian of many widths, ties, one-hot and other corners."""
    wide = rng.standard_normal((states, columns)) * 10 ** rng.uniform(-2, 1.5, columns)
    levels = np.array([0.0, -0.7, -3.0, -30.0, -1e6])
    if states <= 4:
        corners = np.array(list(itertools.product(levels, repeat=states))).T
    else:
        corners = rng.choice(levels, (states, 500))
    one_hot = np.where(np.eye(states) == 1, 0.0, -1e6)
    h = np.concatenate((wide, corners, one_hot, np.zeros((states, 1))), axis=1)
    return torch.tensor(h - h.max(axis=0))


def ascended(module, table, rng, columns=60, steps=30):
    """Inputs that gradient ascent finds to be worst, from random starts."""
    psi = torch.tensor(np.asarray(table))[:, :, None]
    u = torch.tensor(rng.standard_normal((psi.shape[1], columns)) * 3, requires_grad=True)
    optimiser = torch.optim.Adam([u], lr=0.05)
    for _ in range(steps):
        h = u - u.max(dim=0).values
        gap = module(h) - torch.logsumexp(psi + h, dim=1)
        loss = -(gap.amax(dim=0) - gap.amin(dim=0)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    h = u.detach()
    return h - h.max(dim=0).values


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
    allowance = module.rounding(torch.float64, 1e6)
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
        allowance = module.rounding(torch.float32, magnitude)
        within = h[:, h.min(dim=0).values >= -magnitude]
        assert error(module, table, within).max() <= module.error + allowance
        # Only C adds up numbers of the size of its inputs; for the others an input of -1e6 is as good as any.
        assert allowance < (3e-4 * magnitude if kind == "C" else 1e-2), magnitude


@given(data=st.data())
@settings(max_examples=40)
def test_the_cheapest_construction_keeps_its_bound(data):
    outs, ins = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    entry = st.one_of(st.floats(-4, 4), st.just(NO)) if data.draw(st.booleans()) else st.floats(-4, 4)
    table = np.array(data.draw(st.lists(st.lists(entry, min_size=ins, max_size=ins), min_size=outs, max_size=outs)))
    tol = data.draw(st.sampled_from([0.5, 0.05, 0.01]))
    if np.isneginf(table).all(axis=1).any():
        with pytest.raises(Uncertifiable, match="impossible"):
            cheapest(table, tol)
        return
    module = cheapest(table, tol)
    assert module.error <= tol
    h = inputs(ins, np.random.default_rng(data.draw(st.integers(0, 99))), 300)
    assert error(module, table, h).max() <= module.error + module.rounding(torch.float64, 1e6) + 1e-9  # of the oracle


@pytest.mark.parametrize(
    ("name", "kind", "sharp"),
    [("2x2", "D", 0.999), ("2x2", "C", 0.9), ("2x2 with a zero", "C", 0.999), ("4x4", "C", 0.9), ("4x4", "B", 0.6)],
)
def test_the_bound_is_nearly_reached(name, kind, sharp):
    table, rng = matrix(name), np.random.default_rng(3)
    module = build(kind, table, 0.02)
    h = torch.cat((inputs(table.shape[1], rng, 50_000), ascended(module, table, rng, 400, 200)), dim=1)
    assert error(module, table, h).max() > sharp * module.error


@pytest.mark.parametrize(
    "exp",
    [
        relative_exp(30.0, units=6),
        minimax(Exp(), units=5),
        minimax(Exp(), units=5).moved(up=-0.0079),
        uniform_exp(9),
    ],
    ids=["relative", "minimax", "below exp", "uniform"],
)
@pytest.mark.parametrize("ratio", [0.0, 0.5, 30.0, 2000.0])
def test_relative_error_of_a_sum_is_exact(exp, ratio):
    """Of all sums e^0 + ratio e^x, on a grid, the extreme ones have the error that is claimed for all."""
    x = np.append(np.linspace(-30, 0, 100_001), exp.knots)
    sums = [np.log(exp(0.0) + r * exp(x)) - np.log1p(r * np.exp(x)) for r in np.linspace(0, ratio, 20)]
    low, high = relative_error(exp, ratio)
    assert low <= np.min(sums) and np.max(sums) <= high
    assert low == pytest.approx(np.min(sums), rel=1e-3, abs=1e-9)
    assert high == pytest.approx(np.max(sums), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("name", ["2x2", "4x4", "rules", "5x2"])
def test_the_cheapest_has_the_fewest_units(name):
    table = matrix(name)
    units = {}
    for kind in "ABCD":
        try:
            units[kind] = build(kind, table, 0.03).units
        except Uncertifiable:
            continue
    best = cheapest(table, 0.03)
    assert best.units == min(units.values()) == units[best.kind]


@pytest.mark.parametrize(
    ("name", "units"),
    [("proportional rows", 0), ("one input", 0), ("permutation", 0), ("nearly equal", 0), ("2x2 weak", 2)],
)
def test_easy_factors_cost_nothing(name, units):
    assert cheapest(matrix(name), 0.02).units == units


# Median units over 7 matrices with log psi uniform on [-log K, log K], at an error of 0.01 in oscillation.
@pytest.mark.parametrize(
    ("states", "k", "most"),
    [(2, 10, {"B": 60, "C": 12, "D": 9}), (4, 10, {"B": 178, "C": 100}), (4, 100, {"B": 300, "C": 100})],
)
def test_units_at_one_percent(states, k, most):
    rng = np.random.default_rng(1)
    tables = [rng.uniform(-math.log(k), math.log(k), (states, states)) for _ in range(7)]
    for kind, bound in most.items():
        assert np.median([build(kind, table, 0.01).units for table in tables]) <= bound, kind
    baseline = np.median([baseline_size(table, 0.01)[0] for table in tables])
    assert baseline > 100 * min(most.values())


@pytest.mark.parametrize("name", ["2x2", "2x2 steep", "4x4", "3x5", "rules", "8x8", "joint 3x12"])
def test_cost_predicts_the_units(name):
    table = matrix(name)
    tol = 1e-4
    assert cheapest(table, tol).units == pytest.approx(cost(table) / math.sqrt(tol), rel=0.12)


@pytest.mark.parametrize(("name", "kind"), [("3x5", "A"), ("3x5", "B"), ("3x5", "C"), ("2x2", "D")])
def test_units_are_the_relus_that_run(name, kind, monkeypatch):
    module, seen = build(kind, matrix(name), 0.1), []
    for name_, real in (("relu", torch.relu), ("relu_", torch.relu_)):
        monkeypatch.setattr(torch, name_, lambda x, real=real: seen.append(x.numel()) or real(x))
    module(torch.zeros(module.shape[1], 1, dtype=torch.float64))
    filled_up = int((module.log_changes == 0).sum()) if kind in "AB" else 0
    assert sum(seen) - filled_up == module.units


def test_baseline_is_counted_as_it_is_built():
    table = matrix("4x4")
    built = build("A", table, 0.3)
    units, parameters_ = baseline_size(table, 0.3)
    assert units == built.units
    assert parameters_ == built.parameter_count


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
    assert error(module, table, h).max() > module.error + module.rounding(torch.float64, 1e6)


def test_a_transposed_table_breaks_the_bound():
    table = matrix("4x4")
    module = build("C", table.T, 0.02)
    assert error(module, table, inputs(4, np.random.default_rng(7))).max() > module.error


def test_the_backward_message_is_the_transposed_matrix():
    table, rng = matrix("3x5"), np.random.default_rng(8)
    module = build("C", table.T, 0.02)
    u = inputs(3, rng)
    exact = np.log(np.exp(table).T @ np.exp(u.numpy()))
    assert np.ptp(module(u).detach().numpy() - exact, axis=0).max() <= 0.02 + 1e-8


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


@pytest.mark.parametrize("kind", ["A", "B", "D", "constant"])
def test_zeros_need_construction_c(kind):
    with pytest.raises(Uncertifiable, match=r"zeros.*construction C"):
        build(kind, matrix("2x2 with a zero"), 0.1)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(Uncertifiable, match="2x2 potentials"):
        build("D", matrix("4x4"), 0.1)
    with pytest.raises(Uncertifiable, match="output state 1 is impossible"):
        build("C", [[0.0, 1.0], [NO, NO]], 0.1)
    with pytest.raises(Uncertifiable, match="reaches only"):
        build("constant", matrix("4x4"), 0.1)
    with pytest.raises(HgmError, match="positive"):
        build("C", matrix("4x4"), 0.0)
    with pytest.raises(HgmError, match="no construction"):
        build("E", matrix("4x4"), 0.1)
    with pytest.raises(BadPotential, match="matrix"):
        build("C", [0.0, 1.0], 0.1)
    with pytest.raises(BadPotential, match="NaN"):
        build("C", [[0.0, np.nan]], 0.1)
