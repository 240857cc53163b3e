"""Certificates: confirmed by a checker that shares no code with the compiler, which sees every sabotage."""

import numpy as np
import pytest
import torch
from oracles.relu_checker import recomputed
from oracles.trees import CASES
from relu.nets import TREES, compiled, confirmed, kinds_of

import hgm

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


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("allocation", ["optimal", "uniform"])
def test_the_checker_confirms_the_certificate(name, allocation):
    net = compiled(TREES[name], allocation=allocation)
    assert recomputed(net) == confirmed(net.certificate.log_posterior)
    assert recomputed(net) <= 0.02 * (1 + 1e-3)


@pytest.mark.long
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


@pytest.mark.long
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


def test_a_floor_that_is_too_small_says_so():
    tree = hgm.random_ghm(5, 2, 2, bound=10.0, seed=0)
    assert "B is too small" in str(hgm.compile(tree, activation="relu", tol=1.0, floor=3.0).certificate)


def test_the_bound_does_not_depend_on_names():
    """Also where the variable with the largest bound is called by the empty string."""

    def certificate(root):
        edges = [(root, "b", [[9, 1], [2, 8]]), (root, "c", [[9, 1], [2, 8]]), (root, "d", [[5, 5], [4, 6]])]
        return hgm.compile(hgm.Tree.from_edges(edges), "posterior", query="all", activation="relu").certificate

    want = certificate("a")
    assert want.worst == "a"
    for name in ("", 0, False, ()):
        got = certificate(name)
        assert got.log_posterior == pytest.approx(want.log_posterior, rel=1e-9) and got.worst == name
