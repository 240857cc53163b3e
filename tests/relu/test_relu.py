"""ReLU networks: never further from the reference than certified, made of the allowed operations only, portable."""

import operator
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.relu_checker import recomputed
from oracles.trees import CASES, random_cases

import hgm
from hgm.errors import BadEvidence, BadSpec, HgmError, ImpossibleEvidence, Uncertifiable

TOL = 0.05
ALL = [pytest.param(case, id=name) for name, case in CASES.items()]


def network(tree, **options):
    return hgm.compile(tree, query="all", observed=tree.names, activation="relu", tol=TOL, **options)


def evidence(tree, rows, scale, generator):
    """Log evidence ``(B, S, V)`` in tree order, -inf in the padding."""
    states = int(tree.cardinality.max())
    e = scale * torch.randn(rows, states, len(tree), generator=generator, dtype=torch.float64)
    return e.masked_fill(torch.arange(states)[:, None] >= torch.tensor(tree.cardinality), -torch.inf)


def run(net, tree, e):
    """Marginals ``(B, S, V)`` of a network that takes evidence everywhere."""
    index = torch.tensor([tree.index(name) for name in net.inputs])
    leaves = len(tree.leaves)
    at_leaves = e[:, : net.states_in, index[:leaves]].unflatten(2, net.leaf_shape)
    more = e[:, : net.states_in, index[leaves:]] if net.extra else None
    return net(at_leaves, evidence=more).flatten(2)


def log_error(net, tree, e):
    """Largest difference of log posteriors from the reference, where they are not below all bounds of float64."""
    p, exact = run(net, tree, e), hgm.infer(tree, e).marginals
    assert p.isfinite().all()
    assert (p.sum(1) - 1).abs().max() < 1e-12
    seen = (exact > 1e-280) & (p > 1e-280)
    return float((p.log() - exact.log())[seen].detach().abs().max())


def extreme(tree, size, rows, generator):
    """Every variable shouts for one state, at random: neighbours contradict each other."""
    e = evidence(tree, rows, 0.0, generator)
    loud = torch.randint(0, 10**6, (rows, 1, len(tree)), generator=generator) % torch.tensor(tree.cardinality)
    return torch.where(torch.arange(e.shape[1])[:, None] == loud, size, 0.0) + e


def climb(net, tree, start, steps=8):
    """Evidence that gradient ascent on the error makes of a start."""
    finite = start.isfinite()
    x = torch.where(finite, start, 0.0).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.3)
    worst = 0.0
    for _ in range(steps):
        e = torch.where(finite, x, -torch.inf)
        p, exact = run(net, tree, e), hgm.infer(tree, e).marginals
        seen = (exact > 1e-200) & (p > 1e-200)
        gap = (torch.where(seen, p, 1.0).log() - torch.where(seen, exact, 1.0).log()).abs().flatten(1).amax(1)
        worst = max(worst, float(gap.detach().max()))
        optimizer.zero_grad()
        (-gap.sum()).backward()
        x.grad.nan_to_num_(0.0)
        optimizer.step()
    return worst


@pytest.mark.parametrize("case", ALL)
def test_error_never_exceeds_certificate(case, record_property):
    generator = torch.Generator().manual_seed(0)
    net = network(case.tree)
    certified = net.certificate.log_posterior
    assert 0 < certified <= TOL
    measured = [log_error(net, case.tree, evidence(case.tree, 25, scale, generator)) for scale in (0.3, 2.0, 20.0)]
    measured += [log_error(net, case.tree, extreme(case.tree, size, 25, generator)) for size in (4.0, 40.0)]
    measured.append(climb(net, case.tree, evidence(case.tree, 4, 1.0, generator)))
    record_property("measured / certified", max(measured) / certified)
    assert max(measured) <= certified
    assert recomputed(net, case.factors) == pytest.approx(certified, rel=1e-3, abs=1e-7)


@settings(max_examples=8, deadline=None)
@given(case=random_cases(), seed=st.integers(0, 2**32 - 1), allocation=st.sampled_from(["optimal", "uniform"]))
def test_error_never_exceeds_certificate_on_random_trees(case, seed, allocation):
    generator = torch.Generator().manual_seed(seed)
    net = network(case.tree, allocation=allocation)
    worst = max(log_error(net, case.tree, evidence(case.tree, 30, scale, generator)) for scale in (0.5, 5.0))
    assert worst <= net.certificate.log_posterior <= TOL
    # a rule table without zeros is certified with contraction 1, which the checker betters
    assert recomputed(net, case.factors) <= net.certificate.log_posterior * (1 + 1e-3) + 1e-7


@pytest.mark.parametrize("construction", ["A", "B", "C", "D"])
def test_a_construction_can_be_forced(construction):
    tree = hgm.random_ghm(3, 2, 2, bound=3.0, seed=1)
    net = hgm.compile(tree, activation="relu", tol=0.3, construction=construction)
    kinds = {kind for level in net.certificate.levels for kind in level.kinds}
    assert kinds == {construction}
    e = evidence(tree, 50, 2.0, torch.Generator().manual_seed(0))[:, :, torch.tensor(tree.leaves)]
    exact = hgm.compile(tree)(e)
    assert (net(e).log() - exact.log()).abs().max() <= net.certificate.log_posterior <= 0.3


def test_a_construction_that_does_not_apply_names_the_factor():
    with pytest.raises(Uncertifiable, match=r"factor \(r, .*construction D is for 2x2"):
        hgm.compile(CASES["ragged"].tree, activation="relu", construction="D")


@pytest.mark.parametrize("name", ["binary_tied", "ragged", "joint_table", "hard_zeros", "polytree", "prior"])
def test_classification_costs_no_decoder(name):
    case = CASES[name]
    net = hgm.compile(case.tree, "classify", activation="relu", tol=TOL)
    assert isinstance(net, hgm.ReluConvNet)
    generator = torch.Generator().manual_seed(0)
    e = evidence(case.tree, 30, 2.0, generator)
    e[:, :, np.setdiff1d(np.arange(len(case.tree)), case.tree.leaves)] *= 0.0
    e = e.nan_to_num(0.0)
    leaves = e[:, : net.states_in, torch.tensor(case.tree.leaves)].unflatten(2, net.leaf_shape)
    root = case.tree.names[int(case.tree.roots[0])]
    padded = evidence(case.tree, 30, 0.0, generator)
    padded[:, : net.states_in, case.tree.leaves] += leaves.flatten(2)
    exact = hgm.infer(case.tree, padded)[root]
    got = net(leaves)
    assert (got.log() - exact.log())[exact > 0].abs().max() <= net.certificate.log_posterior <= TOL
    assert all(level.direction == "up" for level in net.certificate.levels)


def test_denoising_keeps_the_bound_on_means():
    tree = hgm.random_ghm(3, 4, 2, seed=2)
    channel = hgm.Gaussian(values=[-3.0, 0.0, 1.0, 5.0])
    net = hgm.compile(tree, "denoise", channel=channel, activation="relu", tol=0.01, bound="mean")
    z = 3 * torch.randn(200, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sigma in (0.3, 1.0, 4.0):
        gap = (net(z, sigma) - hgm.compile(tree, "denoise", channel=channel)(z, sigma)).abs().max()
        assert gap <= net.certificate.mean <= 0.01


def test_other_bounds_buy_units():
    tree = hgm.random_ghm(4, 3, 2, seed=3)
    units = {bound: hgm.compile(tree, activation="relu", bound=bound).certificate for bound in ("log_posterior", "tv")}
    assert units["tv"].total_variation <= 0.01 < units["tv"].log_posterior <= 0.041
    assert units["tv"].units < 0.6 * units["log_posterior"].units


def test_optimal_allocation_takes_fewer_units_than_uniform():
    tree = hgm.random_ghm(5, 3, 2, seed=3)
    units = [hgm.compile(tree, activation="relu", allocation=how).certificate.units for how in ("optimal", "uniform")]
    assert units[0] < 0.9 * units[1]


# ---------------------------------------------------------------------- hard evidence


def test_hard_evidence_without_a_floor_is_refused_by_name():
    tree = hgm.random_ghm(2, 3, 2, seed=0)
    net = hgm.compile(tree, activation="relu")
    symbols = torch.tensor([[0, 1, 2, 0], [-1, -1, -1, 1]])
    with pytest.raises(Uncertifiable, match=r"'x0' \(its factor h1_0, x0\) .* rows 0, 1, where .*compile with floor=B"):
        net(symbols)
    assert net(symbols[:1] * 0 - 1).isfinite().all()


def test_floored_evidence_is_close_to_hard_evidence_where_factors_are_positive():
    tree = hgm.random_ghm(3, 3, 2, seed=0)
    net = hgm.compile(tree, activation="relu", tol=0.02, query="all", floor=30.0)
    symbols = torch.randint(-1, 3, (100, 8), generator=torch.Generator().manual_seed(1))
    certificate = net.certificate
    assert certificate.floor_total_variation < 1e-8
    assert "positive" in str(certificate)
    gap = 0.5 * (net(symbols).double() - hgm.compile(tree, query="all")(symbols).double()).abs().sum(1)
    assert gap.max() <= certificate.total_variation + certificate.floor_total_variation


def test_floored_evidence_is_conditional_where_factors_have_zeros():
    tree = CASES["hard_zeros"].tree
    net = hgm.compile(tree, activation="relu", floor=20.0)
    assert net.certificate.floor_total_variation == 1.0
    assert "conditional on the floor B=20" in str(net.certificate)
    e = torch.zeros(2, 2, 4, dtype=torch.float64)
    e[0, 1, 3] = e[1, 0, 3] = -torch.inf
    floored = e.clamp_min(-20.0)
    exact = hgm.compile(tree)(floored)
    assert (net(e).log() - exact.log())[exact > 0].abs().max() <= net.certificate.log_posterior


def test_impossible_evidence_and_bad_options_are_refused():
    tree = hgm.random_ghm(2, 3, 2, seed=0)
    net = hgm.compile(tree, activation="relu", floor=30.0)
    e = torch.zeros(2, 3, 4)
    e[1, :, 2] = -torch.inf
    with pytest.raises(ImpossibleEvidence) as caught:
        net(e)
    assert caught.value.rows == (1,)
    with pytest.raises(HgmError, match="log Z"):
        net.log_partition(e)
    for bad in (float("nan"), float("inf"), -1e300):
        e = torch.zeros(2, 3, 4, dtype=torch.float64)
        e[1, 0, 2] = bad
        with pytest.raises(BadEvidence):
            net(e)
    for options in (
        {"tol": 0.0},
        {"tol": float("inf")},
        {"floor": -1.0},
        {"floor": float("inf")},
        {"bound": "l2"},
        {"allocation": "best"},
        {"construction": "E"},
    ):
        with pytest.raises(BadSpec):
            hgm.compile(tree, activation="relu", **options)
    with pytest.raises(BadSpec):
        hgm.compile(tree, activation="tanh")
    for tol in (1e-9, 1e-13):
        with pytest.raises(Uncertifiable, match="raise it"):
            hgm.compile(tree, activation="relu", tol=tol)


@pytest.mark.parametrize("name", ["binary_tied", "joint_table", "zero_rows"])
def test_blocks_that_fit_the_cache_change_nothing(name, monkeypatch):
    tree = CASES[name].tree
    net = hgm.compile(tree, activation="relu", tol=0.1)
    e = torch.randn(9, net.states_in, *net.leaf_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = net(e)
    monkeypatch.setattr(sys.modules["hgm.relu.stage"], "BLOCK", 2000)
    torch.testing.assert_close(net(e), whole, rtol=1e-12, atol=1e-14)


def test_a_star_with_many_children_reaches_small_tolerances_or_says_no():
    edge = hgm.Edge([[1.0, 1.1], [1.1, 1.0]])
    star = hgm.Tree.from_factors([(("hub", f"x{i}"), edge) for i in range(300)])
    assert hgm.compile(star, "classify", query="hub", activation="relu", tol=1e-5).certificate.log_posterior <= 1e-5
    with pytest.raises(Uncertifiable, match="raise it"):
        hgm.compile(star, "classify", query="hub", activation="relu", tol=1e-7)


@pytest.mark.parametrize("construction", ["A", "B"])
def test_maps_that_do_not_matter_are_built_all_the_same(construction):
    tree = hgm.random_ghm(2, 3, 2, bound=3.0, seed=0)
    net = hgm.compile(tree, query="x0", activation="relu", construction=construction, tol=0.1)
    assert net.certificate.log_posterior <= 0.1
    wide = hgm.Tree.from_factors([(("a", "b"), hgm.Edge.from_log([[0, -800.0, -1], [-400, 0, 0.0]]))])
    with pytest.raises(Uncertifiable, match=r"factor \(a, b\): .* e\^800; use C"):
        hgm.compile(wide, activation="relu", construction=construction)
    assert hgm.compile(wide, activation="relu").certificate.log_posterior <= 0.01


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("task", ["classify", "posterior"])
def test_it_compiles_where_gradients_are_off(mode, task):
    tree = hgm.random_ghm(2, 2, 2, seed=0)
    with mode():
        net = hgm.compile(tree, task, activation="relu")
    assert net.certificate == hgm.compile(tree, task, activation="relu").certificate


def test_means_of_large_values_keep_their_bound():
    tree = hgm.random_ghm(2, 2, 2, bound=3.0, seed=0)
    far = hgm.Gaussian(values=[1e9, 1e9 + 1])
    net = hgm.compile(tree, "denoise", channel=far, activation="relu", tol=1e-4, bound="mean")
    near = hgm.compile(tree, "denoise", channel=hgm.Gaussian(values=[0.0, 1.0]))
    z = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e9
    assert (net(z, 1.0) - 1e9 - near(z - 1e9, 1.0)).abs().max() <= net.certificate.mean <= 1e-4
    with pytest.raises(Uncertifiable):  # float64 has no such means
        hgm.compile(tree, "denoise", channel=far, activation="relu", tol=1e-7, bound="mean")


def test_the_floor_is_below_the_largest_possible_state():
    """State 0 of b is impossible: its evidence, the largest, plays no part."""
    tree = hgm.Tree.from_factors([(("a", "b"), hgm.Edge([[0, 0.5, 0.5], [0, 0.3, 0.7]]))], roots=["a"])
    net = hgm.compile(tree, query="b", activation="relu", floor=20.0)
    e = torch.tensor([0.0, -30.0, -60.0], dtype=torch.float64).view(1, 3, 1)
    exact = hgm.compile(tree, query="b")(torch.tensor([-30.0, -30.0, -50.0], dtype=torch.float64).view(1, 3, 1))
    assert (net(e).log() - exact.log())[:, 1:].abs().max() <= net.certificate.log_posterior
    assert "largest among each variable's possible states" in str(net.certificate)


def test_a_floor_that_is_too_small_says_so():
    tree = hgm.random_ghm(5, 2, 2, bound=10.0, seed=0)
    assert "B is too small" in str(hgm.compile(tree, activation="relu", tol=1.0, floor=3.0).certificate)


# ---------------------------------------------------------------------- what it is made of, and where it runs

LINEAR = {"add", "sub", "mul", "matmul", "mm", "bmm", "sum", "pad", "relu", "relu_", "amax", "softmax"}
MOVES = {
    "permute", "slice", "index_select", "select", "unsqueeze", "squeeze", "view", "reshape", "expand", "cat", "clone",
    "transpose", "t", "unflatten", "flatten", "split", "split_with_sizes", "getitem", "alias", "to", "zeros_like",
    "new_zeros", "unbind", "narrow", "numpy_T", "numpy_t", "_assert_tensor_metadata", "sym_size",
}  # fmt: skip


@pytest.mark.parametrize("name", ["joint_table", pytest.param("ragged", marks=pytest.mark.slow)])
def test_it_exports_as_linear_maps_relus_sums_and_max_normalisation_only(name):
    tree = CASES[name].tree
    net = hgm.compile(tree, activation="relu", tol=0.5)
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(3, net.states_in, *net.leaf_shape, dtype=torch.float64, generator=generator)
    program = torch.export.export(net, (example,), dynamic_shapes={"observation": ({0: torch.export.Dim.AUTO},)})
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


@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-4), (torch.float16, 0.05), (torch.bfloat16, 0.3)])
def test_other_precisions_run_and_their_error_is_measured(dtype, most):
    tree = hgm.random_ghm(3, 3, 2, seed=1)
    net = hgm.compile(tree, activation="relu", floor=30.0)
    e = evidence(tree, 50, 2.0, torch.Generator().manual_seed(0))[:, :, torch.tensor(tree.leaves)]
    assert 0 < net.extra_error(dtype, e.float()) < most
    assert net.input_mask.dtype == torch.float64


def test_float32_stays_within_its_allowance():
    tree = hgm.random_ghm(5, 3, 2, seed=1)
    net = hgm.compile(tree, activation="relu")
    e = evidence(tree, 200, 5.0, torch.Generator().manual_seed(0))[:, :, torch.tensor(tree.leaves)]
    double = net(e)
    single = net.float()(e.float()).double()
    assert (single.log() - double.log()).abs().max() <= net.certificate.rounding["float32"]
