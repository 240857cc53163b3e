"""Certificates: confirmed by a checker that shares no code with the compiler, which sees every sabotage."""

import dataclasses

import numpy as np
import pytest
import torch
from relu_checker import check
from trees import CASES

import hgm
from hgm.compile.maps import possible_states, stage_maps
from hgm.compile.plan import plan
from hgm.compile.propagate import flow, propagate
from hgm.errors import BadSpec

TREES = {
    "binary": hgm.random_ghm(3, 2, 2, bound=10.0, seed=0),
    "three states": hgm.random_ghm(3, 3, 3, bound=4.0, seed=1),
    "untied": hgm.random_ghm(2, 3, 2, bound=5.0, tie="none", seed=2),
    "mixed": hgm.random_ghm(3, [2, 4, 3], [3, 2, 2], bound=3.0, seed=3),
    "ragged": CASES["ragged"].tree,
    "chain": CASES["chain"].tree,
    "random": hgm.random_tree(12, cardinality=(2, 3), seed=4),
}


def edges_of(tree):
    """Log matrices by (parent, child), written without the compiler's code."""
    edges = {}
    for f in range(tree.factors):
        scope = [tree.names[int(v)] for v in tree.scope_of(f)]
        if len(scope) == 2:
            with np.errstate(divide="ignore"):
                table = np.log(tree.potential_of(f).values)
            up = int(tree.up[f])
            edges[scope[up], scope[1 - up]] = np.ascontiguousarray(table if up == 0 else table.T)
    return edges


def compiled(tree, tol=0.02, **options):
    # B is left to its own tests: the checker does not know it
    net = hgm.compile(tree, activation="relu", query="all", tol=tol, **options)
    kinds = {kind for level in net.certificate.levels for kind in level.kinds}
    return net if kinds <= {"C", "D", "constant"} else hgm.compile(
        tree, activation="relu", query="all", tol=tol, construction="C", **options
    )  # fmt: skip


def recomputed(net):
    tree = net.plan.tree
    return max(check(net, edges_of(tree), [tree.names[int(v)] for v in tree.roots]).values())


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("allocation", ["optimal", "uniform"])
def test_the_checker_confirms_the_certificate(name, allocation):
    net = compiled(TREES[name], allocation=allocation)
    assert recomputed(net) == pytest.approx(net.certificate.log_posterior, rel=1e-3)
    assert recomputed(net) <= 0.02 * (1 + 1e-3)


def weights_to_break():
    """One weight of each kind of construction, moved by 1%, and what it is."""
    return [("kinks", 0.03), ("changes", 0.02), ("level", 0.02), ("log_psi", 0.02), ("offset", 0.02), ("first", 0.05)]


@pytest.mark.parametrize("which, by", weights_to_break())
def test_every_sabotage_breaks_the_check(which, by):
    tree = TREES["three states"] if which in ("level", "log_psi") else TREES["binary"]
    net = compiled(tree)
    honest = recomputed(net)
    broken = 0
    for name, parameter in net.named_parameters():
        if name.split(".")[-1] == which and parameter.numel():
            with torch.no_grad():
                flat = parameter.view(-1)
                before = flat[0].clone()
                flat[0] += by
                broken += recomputed(net) > honest * (1 + 1e-6)
                flat[0] = before
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


@pytest.mark.parametrize("tol", [0.3, 0.01])
@pytest.mark.parametrize("bound", ["log_posterior", "tv", "mean"])
def test_the_tolerance_is_kept(tol, bound):
    certificate = hgm.compile(TREES["mixed"], activation="relu", tol=tol, bound=bound).certificate
    reached = {
        "log_posterior": certificate.log_posterior, "tv": certificate.total_variation, "mean": certificate.mean,
    }[bound]  # fmt: skip
    assert reached <= tol
    assert reached >= 0.7 * tol
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


def test_units_are_the_relus_that_run():
    tree = TREES["three states"]
    net = hgm.compile(tree, activation="relu", query="leaves")
    count = 0
    real = torch.relu

    def counting(x):
        nonlocal count
        count += x.numel()
        return real(x)

    torch.relu = counting
    try:
        net(torch.zeros(1, net.states_in, *net.leaf_shape, dtype=torch.float64))
    finally:
        torch.relu = real
    assert net.certificate.units <= count <= net.certificate.units * 1.2  # logs of several rows are padded


def test_errors_propagate_as_written_in_the_formulas():
    """Against the recursion on a star and a chain, worked out by hand."""
    tree = hgm.Tree.from_edges([("r", "a", np.eye(2) + 1), ("r", "b", np.eye(2) + 2), ("a", "c", np.eye(2) + 3)])
    the_plan = plan(tree)
    maps = [stage_maps(the_plan, s, possible_states(tree)) for s in the_plan.stages]
    the_flow = flow(the_plan, maps)
    tau = {"a": np.tanh(np.log(2) / 2), "b": np.tanh(np.log(1.5) / 2), "c": np.tanh(np.log(4 / 3) / 2)}
    assert sorted(float(t) for t in the_flow.tau) == pytest.approx(sorted([*tau.values(), *tau.values()]))
    errors = propagate(the_flow, torch.ones(len(the_flow.maps), dtype=torch.float64), the_flow.tau)
    got = {tree.names[int(v)]: float(e) for level, bs in zip(the_plan.levels, errors.b, strict=True)
           for v, e in zip(level.order, bs, strict=True)}  # fmt: skip
    q = {"c": 1.0, "a": 1 + tau["a"] * 1.0, "b": 1.0}
    assert got["r"] == pytest.approx(q["a"] + q["b"])
    d_a = 1 + tau["a"] * q["b"]
    assert got["a"] == pytest.approx(d_a + q["c"])
    assert got["b"] == pytest.approx(1 + tau["b"] * q["a"])
    assert got["c"] == pytest.approx(1 + tau["c"] * d_a)
