"""Networks with potentials that are given at each call: the compiled tree with these tables, or a clear refusal."""

import numpy as np
import pytest
import torch
from oracles.trees import CASES, draw_evidence

import hgm
from hgm.measure.feed import feed
from hgm.testing import assert_close, random_evidence

pytestmark = pytest.mark.usefixtures("schedule")

NAMED = [name for name, case in CASES.items() if case.tree.potentials]
SETTINGS = {"fixed": {}, "trained": {"trainable": True}}


def named(tree):
    return tree.with_potentials([p.named(f"psi{i}") for i, p in enumerate(tree.potentials)])


def milder(tree, *powers):
    """The tree with all tables to some power, and every second of these logs by name; for several powers a batch."""
    tables = [p.with_log(p.log_potential * powers[0]) if i % 2 == 0 else p for i, p in enumerate(tree.potentials)]
    rows = {
        p.name: torch.stack([torch.from_numpy(p.log_potential * power) for power in powers])
        for p in tree.potentials[::2]
    }
    return tree.with_potentials(tables), {name: log[0] if len(powers) == 1 else log for name, log in rows.items()}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", NAMED)
def test_all_outputs_are_those_of_the_tree_with_these_tables(name, settings):
    case, tree = CASES[name], named(CASES[name].tree)
    e = draw_evidence(case, "batch").log_tensor(case)
    new, given = milder(tree, 0.6)
    net, plain = (hgm.compile(t, observed=t.names, query="all", **settings) for t in (tree, new))
    args, kwargs = feed(net, tree, e)
    outputs = ("posterior", "log_posterior", "leave_one_out", "log_partition")
    found = net(*args, **kwargs, outputs=outputs, log_potentials=given)
    for output, got, want in zip(outputs, found, plain(*args, **kwargs, outputs=outputs), strict=True):
        assert_close(got, want, 1e-9 if output == "log_posterior" else 1e-12, output)
    assert_close(
        net.log_partition(*args, **kwargs, log_potentials=given), hgm.infer(new, e).log_partition, 1e-12, "log Z"
    )
    own = net(*args, **kwargs)
    assert torch.equal(own, hgm.compile(tree, observed=tree.names, query="all", **settings)(*args, **kwargs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMED)
def test_each_row_may_have_its_own(name, dtype):
    case, tree = CASES[name], named(CASES[name].tree)
    rows = draw_evidence(case, "batch").log_tensor(case).to(dtype)
    powers = np.linspace(0.5, 1.0, len(rows)).tolist()
    _, given = milder(tree, *powers)
    net = hgm.compile(tree, observed=tree.names, query="all")
    args, kwargs = feed(net, tree, rows)
    p, log_z = net(*args, **kwargs, outputs=("posterior", "log_partition"), log_potentials=given)
    assert p.dtype == log_z.dtype == dtype
    for i, power in enumerate(powers):
        post = hgm.infer(milder(tree, power)[0], rows[i : i + 1].double())
        bound = 1e-12 if dtype == torch.float64 else 1e-6
        assert_close(log_z[i : i + 1], post.log_partition, 10 * bound, "log Z")
        assert_close(p[i], post.marginals[0], bound, "marginals")
    assert_close(log_z.double(), hgm.log_partition(tree, rows, log_potentials=given).double(), 1e-5, "reference")


@pytest.mark.parametrize("name", NAMED)
def test_gradients_are_those_of_the_reference_and_finite_at_zeros(name):
    case, tree = CASES[name], named(CASES[name].tree)
    e = draw_evidence(case, "batch").log_tensor(case)
    net = hgm.compile(tree, observed=tree.names)
    args, kwargs = feed(net, tree, e)
    for powers in ([0.7], np.linspace(0.5, 1.0, len(e)).tolist()):
        _, given = milder(tree, *powers)
        tables = [log.requires_grad_() for log in given.values()]
        got = torch.autograd.grad(net.log_partition(*args, **kwargs, log_potentials=given).sum(), tables)
        want = torch.autograd.grad(hgm.log_partition(tree, e, log_potentials=given).sum(), tables)
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, 1e-9, "gradient")


def test_slices_and_single_rows():
    tree = hgm.hmm(6, 3, 4)
    net = hgm.compile(tree)
    x = torch.randint(0, 4, (5, 6), generator=torch.Generator().manual_seed(0))
    step = torch.randn(5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    want = net.log_partition(x, log_potentials={"transition": step})
    assert want.shape == (5,) and want.dtype == torch.float64
    by_row = [net.log_partition(x[i : i + 1], log_potentials={"transition": step[i]}) for i in range(5)]
    assert_close(torch.cat(by_row), want, 1e-12, "one by one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hgm.networks.running.SLICE", 2 * net.row_size)
        assert_close(net.log_partition(x, log_potentials={"transition": step}), want, 1e-12, "in slices")
    one = net.log_partition(x[:1], log_potentials={"transition": step})
    assert_close(
        one, torch.stack([net.log_partition(x[:1], log_potentials={"transition": t})[0] for t in step]), 1e-12, ""
    )
    assert_close(net.log_partition(x, log_potentials={"transition": step[:1]}),
                 net.log_partition(x, log_potentials={"transition": step[0]}), 0, "one for all")  # fmt: skip
    for rows in (0, 1):
        assert net.log_partition(x[:rows], log_potentials={"transition": step[:rows]}).shape == (rows,)
    assert net.log_partition(x[:0], log_potentials={"transition": step[0]}).shape == (0,)
    assert net(x, log_potentials={}).equal(net(x)) or net.trainable


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_with_symbols_the_dtype_is_that_of_the_potentials(dtype):
    net, x = hgm.compile(hgm.hmm(3, 2, 2)), torch.tensor([[0, 1, 0]])
    step = torch.randn(2, 2, dtype=torch.float64).to(dtype)
    assert net.log_partition(x, log_potentials={"transition": step}).dtype == dtype
    assert net.log_partition(torch.zeros(1, 2, 3), log_potentials={"transition": step}).dtype == torch.float32


# ---------------------------------------------------------------------- ranges


def shrinking(small):
    """Tables that shrink a message at every level: a fixed network need not rescale at those of small = 0.4."""
    step = hgm.Edge([[1, small], [1, 2 * small]], name="step")
    return hgm.ghm([hgm.Level(2, 2, step)] * 7, root=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batched", [False, True])
def test_messages_are_rescaled_where_that_could_be_skipped_for_the_networks_own_tables(batched, dtype, schedule):
    tree, strong = shrinking(0.4), shrinking(1e-6)
    net = hgm.compile(tree, query="all")
    assert schedule != "levels" or sum(level.rescale for level in net.plan.levels) < 3
    e = torch.zeros(2, 2, 128, dtype=dtype)
    e[:, 0] = -torch.inf
    log = torch.from_numpy(strong.potentials[1].log_potential.copy())
    given = {"step": log.expand(2, 2, 2) if batched else log}
    p, log_z = net(e, outputs=("posterior", "log_partition"), log_potentials=given)
    x = torch.zeros(1, 2, len(tree), dtype=torch.float64)
    x[:, 0, tree.leaves] = -torch.inf
    post = hgm.infer(strong, x)
    assert_close(p[:1], post.marginals, 1e-6, "marginals")
    assert_close(log_z[:1].double(), post.log_partition, 1e-6, "log Z")


@pytest.mark.parametrize("small", [1e-20, 1e-35, 1e-60, 0.0])
def test_what_leaves_the_range_is_right_or_refused_and_nan_where_nothing_can_be_raised(small):
    table = hgm.Edge([[1.0, 0.5], [0.5, 1.0]], name="step")
    tree = hgm.Tree.from_factors([(("a", "b"), table), (("b", "c"), table)])
    net = hgm.compile(tree)
    assert {level.kernel for level in net.plan.levels} == {"linear"}
    log = torch.tensor([[1.0, small], [small, 1.0]], dtype=torch.float64).log()
    e = torch.tensor([[[0.0], [-torch.inf]], [[0.0], [0.0]]])
    want = hgm.log_partition(tree, {"c": [0, -1]}, log_potentials={"step": log})
    try:
        got = net.log_partition(e, log_potentials={"step": log})
        assert_close(got.double(), want, 1e-6, "log Z")
    except hgm.BadPotential as error:
        assert small < 1e-15 and "'step' have left the range" in str(error) and "hgm.log_partition" in str(error)
        rows = torch.stack([torch.zeros(2, 2, dtype=torch.float64), log])
        got = torch.func.vmap(lambda log: net.log_partition(e, log_potentials={"step": log}))(rows)
        assert bool(got[1].isnan().all()) and bool(got[0].isfinite().all())


def test_zeros_may_be_given_where_the_kernels_are_logs_and_where_a_prior_is():
    tree = hgm.Tree.from_edges([("r", "x", hgm.Edge([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], name="step"))],
                               {"r": hgm.Table([0.4, 0.6], name="prior")})  # fmt: skip
    net = hgm.compile(tree)
    given = {"step": torch.tensor([[0.0, 0.7, 0.3], [0.1, 0.0, 0.9]]).log(), "prior": torch.tensor([0.0, 2.0]).log()}
    x = torch.tensor([[0], [2], [-1]])
    got = net.log_partition(x, log_potentials=given)
    assert_close(got.exp(), torch.tensor([0.2, 1.8, 2.0]), 1e-6, "by hand")
    with pytest.raises(hgm.ImpossibleEvidence) as caught:
        net.log_partition(torch.tensor([[0], [1]]), log_potentials=given)
    assert caught.value.rows == (1,)
    batch = {"step": torch.stack([given["step"], given["step"].flip(1), given["step"]])}
    with pytest.raises(hgm.ImpossibleEvidence) as caught:
        net.log_partition(torch.tensor([[1], [1], [1]]), log_potentials=batch | {"prior": given["prior"]})
    assert caught.value.rows == (0, 1, 2)


# ---------------------------------------------------------------------- plain functions, and refusals


def test_transforms_of_torch_pass():
    net = hgm.compile(hgm.hmm(4, 2, 3)).double()
    x = torch.tensor([[0, 1, 2, 0], [2, 2, -1, 1]])
    base = torch.randn(2, 2, dtype=torch.float64)

    def log_z(step, run=net.log_partition):
        return run(x, log_potentials={"transition": step}).sum()

    def reference(step):
        seen = {f"x{i}": x[:, i] for i in range(4)}
        return hgm.log_partition(net.plan.tree, seen, log_potentials={"transition": step}).sum()

    for derivative in (torch.func.grad, torch.func.jacrev, torch.func.jacfwd, torch.func.hessian):
        assert_close(derivative(log_z)(base), derivative(reference)(base), 1e-10, "derivative")
    many = torch.stack([base, base + 1])
    assert_close(torch.func.vmap(log_z)(many), torch.stack([log_z(row) for row in many]), 1e-12, "vmap")
    assert torch.autograd.gradcheck(log_z, (base.requires_grad_(),))


def test_a_branch_length_through_a_network():
    q = torch.tensor([[-1.0, 0.6, 0.4], [0.3, -0.8, 0.5], [0.2, 0.7, -0.9]], dtype=torch.float64)
    tree = hgm.Tree.from_edges([("r", v, hgm.Edge(np.ones((3, 3)), name=v)) for v in "ab"], {"r": [0.2, 0.5, 0.3]})
    net = hgm.compile(tree)
    t = torch.tensor([0.3, 0.9], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0, 2], [1, 1]])
    steps = torch.matrix_exp(q * t[:, None, None]).log()
    net.log_partition(x, log_potentials={"a": steps[0], "b": steps[1]}).sum().backward()

    def by_hand(t):
        a, b = torch.matrix_exp(q * t[:, None, None])
        prior = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
        return torch.einsum("s,sn,sn->n", prior, a[:, x[:, 0]], b[:, x[:, 1]]).log().sum()

    for i in range(2):
        h = torch.zeros(2, dtype=torch.float64)
        h[i] = 1e-5
        with torch.no_grad():
            assert abs(float(t.grad[i] - (by_hand(t + h) - by_hand(t - h)) / 2e-5)) < 1e-8


def test_trained_weights_and_given_ones_have_their_own_gradients():
    tree = hgm.hmm(3, 2, 2)
    net = hgm.compile(tree, trainable=True)
    step = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    net.log_partition(torch.tensor([[0, 1, 0]]), log_potentials={"transition": step}).sum().backward()
    (weights,) = net.parameters()
    counts = [float(part.sum()) for part in weights.grad.split([p.size for p in tree.potentials])]
    assert [round(c, 9) for c in counts] == [0.0 if p.name == "transition" else round(c, 0)
                                             for p, c in zip(tree.potentials, counts, strict=True)]  # fmt: skip
    assert abs(float(step.grad.sum()) - 2) < 1e-9


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ({"transition": torch.zeros(2, 2, 2)}, r"one for each of the 3 rows .* \(3, \*shape\); got a batch \(2,\)"),
        ({"transition": torch.zeros(1, 3, 2, 2)}, r"got a batch \(1, 3\)"),
        ({"transition": torch.zeros(3, 3)}, r"must have shape \(2, 2\)"),
        ({"step": torch.zeros(2, 2)}, "no potential of this tree is called 'step'"),
        ({"transition": torch.full((2, 2), -torch.inf)}, "the weights of potentials 'transition' are NaN"),
        ({("z0", "x0"): torch.zeros(2, 2)}, r"that of 3 factors; call it by its name, 'emission'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(log, message):
    net = hgm.compile(hgm.hmm(3, 2, 2))
    with pytest.raises(hgm.BadPotential, match=message):
        net.log_partition(torch.zeros(3, 3, dtype=torch.int64), log_potentials=log)


def test_a_relu_network_takes_none():
    net = hgm.compile(hgm.chain(3, 2, transition=[[0.9, 0.1], [0.1, 0.9]]), activation="relu", tol=0.1)
    with pytest.raises(hgm.HgmError, match="made for its potentials"):
        net(torch.zeros(1, 2, 1), log_potentials={"transition": torch.zeros(2, 2)})


# ---------------------------------------------------------------------- search


@pytest.mark.parametrize("seed", [*range(40), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(40, 600))])
def test_random_trees_with_random_tables_are_right_or_refused(seed):
    """Of every kind, with zeros and up to fifty decades in the tables that are given, one for all rows or one each."""
    rng = np.random.default_rng(seed)
    tree = named(
        hgm.random_tree(
            int(rng.integers(2, 12)),
            cardinality=(1, 4),
            joint=0.2,
            unary=0.4,
            zeros=float(rng.choice([0, 0.2])),
            bound=10.0 ** rng.uniform(0, 8),
            seed=seed,
        )
    )
    net = hgm.compile(tree, query="all", observed=tree.names, trainable=bool(rng.integers(2)))
    rows, batched, dtype = int(rng.integers(1, 4)), bool(rng.integers(2)), (torch.float32, torch.float64)[seed % 2]
    given = {}
    for p in tree.potentials:
        if rng.random() < 0.5:
            shape = ((rows,) if batched else ()) + p.log_potential.shape
            log = rng.uniform(-1, 0, shape) * np.log(10) * 10 ** rng.uniform(0, 1.7) + 5 * rng.normal()
            log[rng.random(shape) < rng.choice([0, 0.2], p=[0.8, 0.2])] = -np.inf
            given[p.name] = torch.from_numpy(log)
    e = random_evidence(tree, seed, batch=3, decades=float(rng.choice([1, 20, 40])))[:rows].to(dtype)
    args, kwargs = feed(net, tree, e)
    want = hgm.log_partition(tree, e.double(), log_potentials=given)
    try:
        p, log_z = net(*args, **kwargs, outputs=("posterior", "log_partition"), log_potentials=given)
    except hgm.BadPotential:
        return
    except hgm.ImpossibleEvidence as error:
        assert error.rows == tuple(torch.nonzero(want == -np.inf).flatten().tolist())
        return
    bound = 2e-6 if dtype == torch.float32 else 1e-10
    assert_close(log_z, want, bound, "log Z")
    for i in range(rows):
        new = {name: log[i] if batched else log for name, log in given.items()}
        tables = [p.with_log(new[p.name].numpy()) if p.name in new else p for p in tree.potentials]
        post = hgm.infer(tree.with_potentials(tables), e[i : i + 1].double())
        assert_close(p[i], post.marginals[0], 3 * bound, "marginals")
