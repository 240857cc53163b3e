"""log Z as a function of potentials: values by enumeration, derivatives by finite differences, batches one by one."""

import numpy as np
import pytest
import torch
from oracles.enumeration import Joint
from oracles.trees import CASES, KINDS, draw_evidence

import hgm
from hgm.testing import assert_close, expected_counts

NAMED = [name for name, case in CASES.items() if case.tree.potentials]


def named(tree):
    """The tree with a name for every potential."""
    return tree.with_potentials([p.named(f"psi{i}") for i, p in enumerate(tree.potentials)])


def other(tree, seed=0, batch=()):
    """Other log potentials for some of a tree's, by name: zeros where they were, and one more where there is room."""
    generator = torch.Generator().manual_seed(seed)
    given = {}
    for p in tree.potentials[::2]:
        own = torch.from_numpy(p.log_potential.copy())
        log = torch.randn(*batch, *own.shape, generator=generator, dtype=torch.float64)
        log = torch.where(own.isneginf(), -torch.inf, log)
        if own.isfinite().sum() > 2:
            log.view(*batch, -1)[..., int(own.isfinite().flatten().nonzero()[-1])] = -torch.inf
        given[p.name] = log
    return given


def enumerated(tree, given, likelihoods=None):
    """log Z by enumeration."""
    numbers = {p.name: i for i, p in enumerate(tree.potentials)}
    potentials = list(tree.potentials)
    for name, log in given.items():
        potentials[numbers[name]] = potentials[numbers[name]].with_log(log.detach().double().numpy())
    factors = [(tree.scope_names(f), np.exp(potentials[tree.potential_id[f]].dense_log())) for f in range(tree.factors)]
    joint = Joint(list(tree.names), tree.cardinality.tolist(), factors)
    return joint.given(likelihoods or {}).log_z


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize("name", NAMED)
def test_it_is_that_of_enumeration(name):
    tree = named(CASES[name].tree)
    assert abs(float(hgm.log_partition(tree)) - enumerated(tree, {})) < 1e-10
    for seed in range(3):
        given = other(tree, seed)
        got = hgm.log_partition(tree, log_potentials=given)
        assert got.shape == () and got.dtype == torch.float64
        want = enumerated(tree, given)
        assert float(got) == want or abs(float(got) - want) < 1e-10


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("kind", KINDS)
def test_with_evidence_it_is_that_of_the_tree_with_these_potentials(name, kind):
    tree = named(CASES[name].tree)
    e = draw_evidence(CASES[name], kind).log_tensor(CASES[name])
    given = {p.name: torch.from_numpy(p.log_potential * 0.7 - 0.3) for p in tree.potentials[::2]}
    new = tree.with_potentials([p.with_log(p.log_potential * 0.7 - 0.3) if i % 2 == 0 else p
                                for i, p in enumerate(tree.potentials)])  # fmt: skip
    assert_close(hgm.log_partition(tree, e, log_potentials=given), hgm.infer(new, e).log_partition, 1e-12, "log Z")


@pytest.mark.parametrize("name", NAMED)
def test_batches_are_the_rows_one_by_one(name):
    tree = named(CASES[name].tree)
    given = other(tree, 1, batch=(3,))
    want = [float(hgm.log_partition(tree, log_potentials={k: v[i] for k, v in given.items()})) for i in range(3)]
    got = hgm.log_partition(tree, log_potentials=given)
    assert got.shape == (3,) and np.allclose(got, want, rtol=1e-12, atol=1e-12)


def test_batches_are_broadcast_with_each_other_and_with_the_evidence():
    tree = hgm.hmm(4, 2, 3)
    step = torch.randn(5, 1, 2, 2, dtype=torch.float64)
    emit = torch.randn(3, 2, 3, dtype=torch.float64)
    seen = {"x0": [0, 1, 2], "x2": 1, "x3": [2, -1, 0]}
    got = hgm.log_partition(tree, seen, log_potentials={"transition": step, "emission": emit})
    assert got.shape == (5, 3)
    for i in range(5):
        for j in range(3):
            row = {"x0": seen["x0"][j], "x2": 1, "x3": None if j == 1 else seen["x3"][j]}
            one = {"transition": step[i, 0], "emission": emit[j]}
            assert abs(float(hgm.log_partition(tree, row, log_potentials=one) - got[i, j])) < 1e-12
    assert hgm.log_partition(tree, {"x0": 1}, log_potentials={"emission": emit}).shape == (3,)
    assert hgm.log_partition(tree, {"x0": [1]}, log_potentials={"transition": step[:, 0]}).shape == (5,)
    assert hgm.log_partition(tree, seen).shape == (3,) and hgm.log_partition(tree, {"x0": 1}).shape == ()
    assert hgm.log_partition(tree, seen, log_potentials={"transition": step[:0]}).shape == (0, 3)


def test_a_factor_is_called_by_its_variables():
    tables = {"ab": [[0.9, 0.1], [0.4, 0.6]], "bc": [[0.3, 0.7], [0.5, 0.5]]}
    tree = hgm.Tree.from_factors([(tuple(scope), table) for scope, table in tables.items()])
    new = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)
    got = hgm.log_partition(tree, {"a": 1, "c": 0}, log_potentials={("b", "c"): new.log()})
    assert abs(float(got.exp()) - (0.4 * 0.1 + 0.6 * 0.3)) < 1e-12


def test_impossible_evidence_has_probability_zero_and_gradients_of_zero():
    tree = hgm.hmm(3, 2, 2)
    step = torch.full((2, 2), -torch.inf, dtype=torch.float64, requires_grad=True)
    z = hgm.log_partition(tree, {"x0": 1}, log_potentials={"transition": step})
    assert float(z.detach()) == -np.inf
    z.backward()
    assert torch.equal(step.grad, torch.zeros(2, 2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_is_that_of_what_was_given(dtype):
    tree, step = hgm.hmm(3, 2, 2), torch.randn(2, 2, dtype=torch.float64).to(dtype)
    assert hgm.log_partition(tree, log_potentials={"transition": step}).dtype == dtype
    assert (
        hgm.log_partition(tree, {"x0": hgm.Likelihood([0.5, 0.5])}, log_potentials={"transition": step}).dtype == dtype
    )
    e = hgm.log_evidence(tree, {"x0": 1}).to(dtype)
    assert hgm.log_partition(tree, e).dtype == dtype
    assert hgm.log_partition(tree, e.double(), log_potentials={"transition": step}).dtype == torch.float64
    assert hgm.log_partition(tree, {"x0": 1}).dtype == torch.float64


def test_arrays_and_lists_serve_as_tensors():
    tree, log = hgm.chain(3, 2), [[-0.1, -2.0], [-1.0, -0.5]]
    want = hgm.log_partition(tree, log_potentials={"transition": torch.tensor(log, dtype=torch.float64)})
    for given in (log, np.array(log)):
        assert torch.equal(hgm.log_partition(tree, log_potentials={"transition": given}), want)


# ---------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("name", NAMED)
def test_the_gradient_is_the_expected_counts_and_finite_at_zeros(name):
    case = CASES[name]
    tree = named(case.tree)
    e = draw_evidence(case, "batch").log_tensor(case)
    given = {p.name: torch.tensor(p.log_potential, requires_grad=True) for p in tree.potentials}
    hgm.log_partition(tree, e, log_potentials=given).sum().backward()
    for p, want in zip(tree.potentials, expected_counts(hgm.infer(tree, e)), strict=True):
        assert_close(given[p.name].grad, want, 1e-10, "expected counts")


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("name", ["chain", "rules_any_axis", "joint_table", "hard_zeros"])
def test_derivatives_are_those_of_finite_differences(name, batch):
    tree = named(CASES[name].tree)
    free = {key: log.masked_fill(log.isneginf(), -2.0).requires_grad_() for key, log in other(tree, 2, batch).items()}

    def run(*tables):
        return hgm.log_partition(tree, log_potentials=dict(zip(free, tables, strict=True)))

    assert torch.autograd.gradcheck(run, tuple(free.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, tuple(free.values()), fast_mode=True)


def test_transforms_of_torch_pass_with_zeros():
    tree = hgm.hmm(4, 2, 3)
    base = torch.randn(2, 2, dtype=torch.float64)
    base[0, 1] = -torch.inf
    seen = {"x0": [0, 1, 2], "x3": [2, 0, 1]}

    def log_z(step):
        return hgm.log_partition(tree, seen, log_potentials={"transition": step}).sum()

    step = base.clone().requires_grad_()
    (want,) = torch.autograd.grad(log_z(step), step, create_graph=True)
    for jacobian in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd):
        assert_close(jacobian(log_z)(base), want.detach(), 1e-12, "first derivative")
    rows = [torch.autograd.grad(want.flatten()[i], step, retain_graph=True)[0] for i in range(4)]
    assert_close(torch.func.hessian(log_z)(base).view(4, 2, 2), torch.stack(rows), 1e-10, "second derivative")
    direction = torch.randn(2, 2, dtype=torch.float64)
    _, slope = torch.func.jvp(log_z, (base,), (direction,))
    assert_close(slope, (want.detach() * direction).sum(), 1e-12, "jvp")
    many = torch.stack([base, base * 2, base - 1])
    one_by_one = torch.stack([log_z(row) for row in many])
    assert_close(torch.func.vmap(log_z)(many), one_by_one, 1e-12, "vmap")
    slopes = torch.stack([torch.func.grad(log_z)(row) for row in many])
    assert_close(torch.func.vmap(torch.func.grad(log_z))(many), slopes, 1e-12, "vmap of grad")
    both = torch.func.vmap(lambda rows: hgm.log_partition(tree, log_potentials={"transition": rows}))
    assert both(torch.stack([many, many + 1])).shape == (2, 3)


def test_log_evidence_as_a_tensor_passes_transforms_too():
    tree = hgm.hmm(3, 2, 2)
    e = torch.randn(4, 2, 6, dtype=torch.float64)
    rows = torch.func.vmap(lambda row: hgm.log_partition(tree, row[None])[0])(e)
    assert_close(rows, hgm.log_partition(tree, e), 1e-12, "vmap over evidence")
    slope = torch.func.jacrev(lambda e: hgm.log_partition(tree, e).sum())(e)
    assert_close(slope, hgm.infer(tree, e).marginals, 1e-12, "marginals")


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_inference_mode_leaves_no_trace(default):
    tree, step = hgm.hmm(3, 2, 2), torch.randn(2, 2, dtype=torch.float64)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        with torch.inference_mode():
            batched = hgm.log_partition(tree, log_potentials={"transition": step.expand(2, 2, 2)})
        step.requires_grad_()
        z = hgm.log_partition(tree, log_potentials={"transition": step})
        z.backward()
        assert abs(float(z.detach() - batched[0])) < 1e-12 and abs(float(step.grad.sum()) - 2) < 1e-12
    finally:
        torch.set_default_dtype(before)


# ---------------------------------------------------------------------- a branch length

Q = torch.tensor([[-1.0, 0.6, 0.4], [0.3, -0.8, 0.5], [0.2, 0.7, -0.9]], dtype=torch.float64)


def branch(t):
    """log p(leaves) of a tree of three variables by hand: prior, then exp(Q t) to each leaf."""
    p = torch.matrix_exp(Q * t)
    return (torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64) * p[:, 0] * p[:, 2]).sum().log()


def test_a_branch_length_is_three_lines():
    step = hgm.Edge(np.ones((3, 3)), name="branch")
    tree = hgm.Tree.from_edges([("root", "a", step), ("root", "b", step)], {"root": [0.2, 0.5, 0.3]})
    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    z = hgm.log_partition(tree, {"a": 0, "b": 2}, log_potentials={"branch": torch.matrix_exp(Q * t).log()})
    (slope,) = torch.autograd.grad(z, t)
    with torch.no_grad():
        assert abs(float(z) - float(branch(t))) < 1e-12
        h = 1e-5
        assert abs(float(slope) - float((branch(t + h) - branch(t - h)) / (2 * h))) < 1e-8


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ({"transition": torch.zeros(3, 2)}, r"must have shape \(2, 2\), or a batch \(\*batch, 2, 2\); got \(3, 2\)"),
        ({"transition": torch.zeros(2)}, r"got \(2,\)"),
        ({"transition": torch.zeros(2, 2, dtype=torch.int64)}, "must be a tensor of floats; got torch.int64"),
        ({"transition": torch.zeros(2, 2, dtype=torch.complex64)}, "must be a tensor of floats; got torch.complex64"),
        ({"transition": torch.tensor([[0.0, torch.nan], [0, 0]])}, r"must be numbers or -inf; entry \(0, 1\) is nan"),
        ({"transition": torch.tensor([[0.0, 0], [torch.inf, 0]])}, r"entry \(1, 0\) is inf"),
        ({"transition": "abc"}, "must be a tensor of floats"),
        ({"transition": [[1.0], [1.0, 2.0]]}, "must be a tensor of floats"),
        ({"transition": None}, "must be a tensor of floats"),
        ({"transitoin": torch.zeros(2, 2)}, "did you mean 'transition'"),
        ({"emission": torch.zeros(3, 2, 2), ("z0",): torch.zeros(2, 2)}, r"batch \(2,\) of the log potential \('z0'"),
        ({"prior": torch.zeros(2), ("z0",): torch.zeros(2)}, "'prior' is given twice"),
        ({"transition": torch.zeros(3, 2, 2)}, r"the batch \(3,\) .* does not fit that of the evidence, \(2,\)"),
        ([torch.zeros(2, 2)], "log_potentials is a mapping"),
    ],
)  # fmt: skip
def test_bad_log_potentials_are_refused(log, message):
    with pytest.raises(hgm.BadPotential, match=message):
        hgm.log_partition(hgm.hmm(3, 2, 2), {"x0": [0, 1]}, log_potentials=log)


def test_what_was_seen_is_read_as_by_infer():
    tree, z = hgm.hmm(3, 2, 2), torch.tensor([[0.1, 0.9, 0.4]], requires_grad=True)
    given = {"channel": hgm.Gaussian(), "evidence": {"z1": 1}}
    step = torch.tensor([[0.3, 0.7], [0.6, 0.4]], dtype=torch.float64).log()
    log_z = hgm.log_partition(tree, z, 0.5, **given, log_potentials={"transition": step})
    number = next(i for i, p in enumerate(tree.potentials) if p.name == "transition")
    other = tree.with_potentials(
        [p.with_log(step.numpy()) if i == number else p for i, p in enumerate(tree.potentials)]
    )
    post = hgm.infer(other, z.double(), 0.5, **given)
    assert_close(log_z, post.log_partition.to(log_z.dtype), 1e-6, "log Z")
    (score,) = torch.autograd.grad(log_z.sum(), z)
    assert_close(score, ((post.mean(hgm.Gaussian()) - z) / 0.25).to(score.dtype), 1e-5, "score")
