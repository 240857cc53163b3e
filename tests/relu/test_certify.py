"""Certificates: confirmed by a checker that shares no code with the compiler, which sees every sabotage."""

import dataclasses

import numpy as np
import pytest
import torch
from oracles.relu_checker import recomputed
from oracles.trees import CASES

import hgm
from hgm.compiler.plan import plan
from hgm.errors import BadSpec
from hgm.relu.maps import stage_maps
from hgm.relu.propagate import Flow
from hgm.tree.possible import possible_states

TREES = {
    "binary": hgm.random_ghm(3, 2, 2, bound=10.0, seed=0),
    "three states": hgm.random_ghm(3, 3, 3, bound=4.0, seed=1),
    "untied": hgm.random_ghm(2, 3, 2, bound=5.0, tie="none", seed=2),
    "mixed": hgm.random_ghm(3, [2, 4, 3], [3, 2, 2], bound=3.0, seed=3),
    "ragged": CASES["ragged"].tree,
    "chain": CASES["chain"].tree,
    "random": hgm.random_tree(12, cardinality=(2, 3), seed=4),
}


# which canonical trees have maps that a construction applies to; C applies to all
POSITIVE = (
    "binary_tied", "binary_untied", "quad_2d", "ragged", "joint_table", "zero_rows", "forest", "star", "chain",
    "cardinality_1", "polytree", "unary_factors", "prior",
)  # fmt: skip
FORCED = [
    *(("A", 0.5, name) for name in POSITIVE),
    *(("B", 0.05, name) for name in POSITIVE),
    *(("C", 0.05, name) for name in CASES),
    *(("D", 0.05, name) for name in ("zero_rows", "unary_factors")),
]


def compiled(tree, tol=0.02, **options):
    return hgm.compile(tree, activation="relu", query="all", tol=tol, **options)


def kinds_of(net):
    return {kind for level in net.certificate.levels for kind in level.kinds}


def confirmed(bound):
    """A recomputed bound that is as good as a certified one; the grids cost a little."""
    return pytest.approx(bound, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("allocation", ["optimal", "uniform"])
def test_the_checker_confirms_the_certificate(name, allocation):
    net = compiled(TREES[name], allocation=allocation)
    assert recomputed(net) == confirmed(net.certificate.log_posterior)
    assert recomputed(net) <= 0.02 * (1 + 1e-3)


@pytest.mark.parametrize("construction, tol, name", FORCED)
def test_the_checker_confirms_every_construction(construction, tol, name):
    case = CASES[name]
    net = compiled(case.tree, tol, construction=construction, allocation="uniform")
    assert kinds_of(net) <= {construction, "constant"}
    assert recomputed(net, case.factors) == confirmed(net.certificate.log_posterior)


def test_the_checker_confirms_large_matrices():
    net = compiled(hgm.random_ghm(1, 16, 2, bound=2.0, seed=5))
    assert kinds_of(net) == {"B"}
    assert recomputed(net) == confirmed(net.certificate.log_posterior)


# ---------------------------------------------------------------------- sabotage

SABOTAGE = [
    *(("binary", None, which, by) for which, by in [("kinks", 0.03), ("changes", 0.02), ("offset", 0.02)]),
    ("binary", None, "first", 0.05),
    *(("three states", "C", which, 0.02) for which in ("level", "log_psi")),
    *(("binary_tied", "B", which, 0.02) for which in ("exp_kinks", "exp_changes", "exp_offset", "psi")),
    *(("binary_tied", "B", which, 0.02) for which in ("log_kinks", "log_changes", "log_slope", "log_offset")),
    *(("joint_table", "A", which, 0.2) for which in ("exp_offset", "psi", "log_slope", "log_offset")),
    *(("joint_table", "B", which, 0.02) for which in ("exp_changes", "log_kinks")),
    *(("joint_table", "C", which, 0.02) for which in ("kinks", "changes", "level", "log_psi")),
    *(("rhm", None, which, 0.02) for which in ("kinks", "changes", "level", "log_psi")),
    ("ragged", None, "message", 0.02),
]


@pytest.mark.parametrize("name, construction, which, by", SABOTAGE)
def test_every_sabotage_breaks_the_check(name, construction, which, by):
    """One weight moved lifts the bound above the certificate, wherever the map matters for the worst variable."""
    tree = TREES[name] if name in TREES else CASES[name].tree
    net = compiled(tree, 0.5 if construction == "A" else 0.02, construction=construction)
    honest, certified = recomputed(net), net.certificate.log_posterior
    broken = 0
    for path, parameter in net.named_parameters():
        if path.split(".")[-1] == which and parameter.numel():
            first = (0,) * parameter.ndim
            before = parameter[first].clone()
            with torch.no_grad():
                parameter[first] += by
                broken += recomputed(net) > certified * (1 + 2e-3)
                parameter[first] = before
            if broken >= 3:
                break
    assert broken >= 1
    assert recomputed(net) == honest


def test_a_moved_knot_shows_in_the_certified_total():
    net = compiled(TREES["binary"])
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("changes") and parameter.numel():
                parameter[0] += 0.2
    assert recomputed(net) > 0.02


@pytest.mark.parametrize("name, construction", [("joint_table", "B"), ("joint_table", "C"), ("polytree", "C")])
def test_columns_that_read_wrong_states_break_the_check(name, construction):
    net = compiled(CASES[name].tree, construction=construction)
    for path, take in net.named_buffers():
        if path.endswith("take_1"):
            take.copy_(take.roll(1))
    assert recomputed(net) > net.certificate.log_posterior + 0.1


@pytest.mark.parametrize("name, buffer", [("rhm", "take_0"), ("rules_any_axis", "take_1"), ("zero_rows", "place")])
def test_columns_and_rows_of_impossible_states_are_refused(name, buffer):
    net = compiled(CASES[name].tree)
    for path, values in net.named_buffers():
        if path.endswith(buffer):
            values.copy_(values.roll(1))
    with pytest.raises(AssertionError):
        recomputed(net)


def test_a_table_that_forbids_the_likeliest_combination():
    """A and B need an input with maximum 0, which a column for every combination of states gives."""
    table = np.random.default_rng(0).uniform(0.5, 2.0, (8, 2, 4))
    table[:, 0, 0] = 0.0
    net = compiled(hgm.Tree.from_factors([(("p", "a", "b"), table)], roots=["p"]))
    assert recomputed(net) == confirmed(net.certificate.log_posterior)


def test_a_state_that_is_possible_but_rare_beyond_float64():
    """One state of the root allows 1 combination of the leaves, the other 2^1100: a number that float64 lacks."""
    edge = hgm.Edge(np.array([[1.0, 1.0], [1.0, 0.0]]))
    net = compiled(hgm.Tree.from_edges([("r", f"x{i}", edge) for i in range(1100)]), 0.5)
    assert recomputed(net) == confirmed(net.certificate.log_posterior)


@pytest.mark.parametrize("tol", [0.3, 0.01])
@pytest.mark.parametrize("bound", ["log_posterior", "tv", "mean"])
def test_the_tolerance_is_kept(tol, bound):
    certificate = hgm.compile(TREES["mixed"], activation="relu", tol=tol, bound=bound).certificate
    assert 0.7 * tol <= certificate.reached <= tol
    assert certificate.total_variation == pytest.approx(np.tanh(certificate.log_posterior / 4))


def test_a_certificate_prints_and_survives_json():
    certificate = hgm.compile(TREES["mixed"], activation="relu").certificate
    text = str(certificate)
    for word in ("tolerance 0.01 on log_posterior", "units", "contraction", "floating point", "assuming"):
        assert word in text
    assert hgm.Certificate.from_json(certificate.to_json()) == certificate
    assert sum(level.units for level in certificate.levels) == certificate.units
    assert sum(level.parameters for level in certificate.levels) == certificate.parameters
    with pytest.raises(BadSpec):
        hgm.Certificate.from_json('{"tol": 1}')
    with pytest.raises(dataclasses.FrozenInstanceError):
        certificate.tol = 1.0


def test_units_are_the_relus_that_run(monkeypatch):
    tree = TREES["three states"]
    net = hgm.compile(tree, activation="relu", query="leaves")
    count = 0

    def counting(real):
        def relu(x):
            nonlocal count
            count += x.numel()
            return real(x)

        return relu

    for name in ("relu", "relu_"):
        monkeypatch.setattr(torch, name, counting(getattr(torch, name)))
    net(torch.zeros(1, net.states_in, *net.leaf_shape, dtype=torch.float64))
    assert net.certificate.units <= count <= net.certificate.units * 1.2  # logs of several rows are padded


def test_errors_propagate_as_written_in_the_formulas():
    """Against the recursion on a star and a chain, worked out by hand."""
    tree = hgm.Tree.from_edges([("r", "a", np.eye(2) + 1), ("r", "b", np.eye(2) + 2), ("a", "c", np.eye(2) + 3)])
    planned = plan(tree)
    flow = Flow.of(planned, stage_maps(planned, possible_states(tree)))
    tau = {"a": np.tanh(np.log(2) / 2), "b": np.tanh(np.log(1.5) / 2), "c": np.tanh(np.log(4 / 3) / 2)}
    assert sorted(float(t) for t in flow.tau) == pytest.approx(sorted([*tau.values(), *tau.values()]))
    errors = flow.errors(torch.ones(len(flow.maps), dtype=torch.float64))
    got = {tree.names[int(v)]: float(e) for level, bs in zip(planned.levels, errors.b, strict=True)
           for v, e in zip(level.order, bs, strict=True)}  # fmt: skip
    q = {"c": 1.0, "a": 1 + tau["a"] * 1.0, "b": 1.0}
    assert got["r"] == pytest.approx(q["a"] + q["b"])
    d_a = 1 + tau["a"] * q["b"]
    assert got["a"] == pytest.approx(d_a + q["c"])
    assert got["b"] == pytest.approx(1 + tau["b"] * q["a"])
    assert got["c"] == pytest.approx(1 + tau["c"] * d_a)
