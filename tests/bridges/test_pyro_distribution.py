"""`TreeDistribution`: probabilities and their derivatives by enumeration, and pyro's own ways of using them."""

import itertools
import math
import pickle
import re

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles.trees import CASES
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from pyro.optim import Adam

import hgm

pytestmark = pytest.mark.usefixtures("double")

ENGINES = ("network", "reference")
SMALL = [name for name, case in CASES.items() if case.tree.potentials and np.prod(case.cards) < 20_000]
BATCHES = [(), (3,), (2, 1), (2, 3)]


def named(tree):
    return tree.with_potentials([p.named(f"psi{i}") for i, p in enumerate(tree.potentials)])


def logs_for(tree, batch, requires_grad=True):
    """Other log potentials for every second one of a tree's, zeros where they were."""
    given = {}
    for p in tree.potentials[::2]:
        own = torch.from_numpy(p.log_potential.copy())
        noise = torch.randn(*batch, *own.shape)
        given[p.name] = (own + 0.5 * noise).requires_grad_(requires_grad)
    return given


def joint_log(tree, given):
    """``(*card)`` log of the product of all potentials, by torch, for one model: enumeration with gradients."""
    numbers = {p.name: i for i, p in enumerate(tree.potentials)}
    logs = [torch.from_numpy(p.log_potential.copy()) for p in tree.potentials]
    for name, log in given.items():
        logs[numbers[name]] = log
    total = torch.zeros(tree.cardinality.tolist())
    for f in range(tree.factors):
        i = int(tree.potential_id[f])
        entries = torch.from_numpy(tree.potentials[i].entries())
        table = torch.cat([logs[i].flatten(), torch.tensor([-torch.inf])])[entries]
        scope = tree.scope_of(f)
        order = np.argsort(scope)
        shape = [1] * len(tree)
        for axis in order:
            shape[scope[axis]] = table.shape[axis]
        total = total + table.permute(*order.tolist()).reshape(shape)
    return total


def brute(tree, given, variables, row):
    """log p(row) by enumeration; variables with -1 are summed out."""
    total = joint_log(tree, given)
    index = [slice(None)] * len(tree)
    for v, state in zip(variables, row, strict=True):
        if state >= 0:
            index[v] = slice(int(state), int(state) + 1)
    part, whole = total[tuple(index)].flatten(), total.flatten()
    part = part[part > -torch.inf]  # whose gradient would be NaN
    return (part.logsumexp(0) if len(part) else torch.tensor(-torch.inf)) - whole[whole > -torch.inf].logsumexp(0)


def rows_for(tree, variables, shape):
    card = torch.from_numpy(tree.cardinality[variables])
    return (torch.rand(*shape, len(variables)) * (card + 1)).long().clamp(max=card) - 1  # -1 among them


# ---------------------------------------------------------------------- values and derivatives


@pytest.mark.broad
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", SMALL)
def test_log_prob_and_its_gradient_are_those_of_enumeration(name, batch, engine):
    tree = named(CASES[name].tree)
    given = logs_for(tree, batch)
    d = hgm.TreeDistribution(tree, log_potentials=given, engine=engine)
    assert (d.batch_shape, d.event_shape) == (batch, tree.leaf_shape)
    x = rows_for(tree, tree.leaves, (2, *batch)).reshape(2, *batch, *tree.leaf_shape)
    got = d.log_prob(x)
    assert got.shape == (2, *batch) and got.dtype == torch.float64
    want = torch.stack([
        brute(tree, {k: v[at] for k, v in given.items()}, tree.leaves, x[(i, *at)].flatten())
        for i in range(2) for at in itertools.product(*map(range, batch))
    ]).reshape(2, *batch)  # fmt: skip
    assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)
    possible = want > -torch.inf
    weights = torch.rand(want.shape)
    ours = torch.autograd.grad((weights * got)[possible].sum() + 0 * got[possible].sum(), list(given.values()))
    if bool(possible.any()) and want.requires_grad:
        theirs = torch.autograd.grad((weights * want)[possible].sum(), list(given.values()), allow_unused=True)
        for own, other, log in zip(ours, theirs, given.values(), strict=True):
            other = torch.zeros_like(own) if other is None else other
            assert torch.allclose(own, torch.where(log.isneginf(), 0.0, other), atol=1e-10), "gradient"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["binary_tied", "joint_table", "forest", "polytree"])
def test_second_derivatives_are_those_of_enumeration(name, engine):
    tree = named(CASES[name].tree)
    p = tree.potentials[0]
    log = torch.from_numpy(p.log_potential.copy())
    row = rows_for(tree, tree.leaves, ())

    def ours(t):
        return hgm.TreeDistribution(tree, log_potentials={p.name: t}, engine=engine).log_prob(
            row.reshape(tree.leaf_shape)
        )

    def theirs(t):
        return brute(tree, {p.name: t}, tree.leaves, row)

    hessian = torch.autograd.functional.hessian
    assert torch.allclose(hessian(ours, log), hessian(theirs, log), atol=1e-9)
    assert hessian(ours, log).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["ragged", "forest", "polytree", "chain", "rhm"])
def test_over_all_one_or_several_variables(name):
    tree = CASES[name].tree
    names = [tree.names[v] for v in np.random.default_rng(0).permutation(len(tree))[:3]]
    for over, event in (("all", (len(tree),)), (names[0], ()), (names, (3,)), (None, tree.leaf_shape)):
        d = hgm.TreeDistribution(tree, over=over)
        assert d.event_shape == event
        variables = [tree.index(n) for n in d.names]
        x = rows_for(tree, np.array(variables), (6,))
        want = torch.stack([brute(tree, {}, variables, row) for row in x])
        got = d.log_prob(x.reshape(6, *event))
        assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)
    assert hgm.TreeDistribution(tree, over=names).names == tuple(names)


@pytest.mark.parametrize("name", SMALL)
def test_the_probabilities_of_its_support_sum_to_one(name):
    tree = CASES[name].tree
    d = hgm.TreeDistribution(tree)
    support = d.enumerate_support()
    assert support.shape == (np.prod(tree.cardinality[tree.leaves]), *tree.leaf_shape)
    assert len({tuple(row.flatten().tolist()) for row in support}) == len(support)
    assert abs(float(d.log_prob(support).logsumexp(0))) < 1e-12
    assert bool(d.support.check(support).all()) and not bool(d.support.check(support - support.max() - 2).any())


def test_values_and_logs_are_the_same_and_zeros_have_gradient_zero():
    tree = named(CASES["chain"].tree)
    table = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [1.0, 2.0, 3.0]], requires_grad=True)
    x = torch.tensor([2])
    step = tree.potentials[1].name
    one = hgm.TreeDistribution(tree, {step: table}).log_prob(x)
    other = hgm.TreeDistribution(tree, log_potentials={step: table.detach().log()}).log_prob(x)
    assert torch.equal(one, other)
    (gradient,) = torch.autograd.grad(one, table)
    assert gradient[0, 2] == 0 and bool((gradient != 0).sum() == 8)


def encoders(tree):
    """The networks that a tree has kept for its distributions, by schedule."""
    return {key[-1]: network for key, network in tree.kept.items() if isinstance(key, tuple) and key[0] == "encoder"}


def test_few_rows_of_a_long_chain_go_by_paths_and_many_by_levels():
    tree = hgm.hmm(40, 4, 3, seed=0)
    d = hgm.TreeDistribution(tree)
    x = d.sample((1200,))
    by_rows = torch.cat([d.log_prob(part) for part in x.split(100)])
    assert encoders(tree).keys() == {"auto", "paths"}
    assert torch.allclose(d.log_prob(x), by_rows, rtol=1e-12)
    assert encoders(tree).keys() == {"auto", "paths", "levels"}
    balanced = CASES["binary_tied"].tree
    d = hgm.TreeDistribution(balanced)
    assert d.log_prob(d.sample((20_000,))).shape == (20_000,) and bool(d.log_prob(d.sample()) < 0)
    assert encoders(balanced)["auto"] is encoders(balanced)["levels"]


# ---------------------------------------------------------------------- it never raises


def test_impossible_rows_have_probability_zero_and_do_not_spoil_the_gradients_of_others():
    tree = named(CASES["hard_zeros"].tree)
    given = logs_for(tree, ())
    support = hgm.TreeDistribution(tree).enumerate_support()
    for engine in ENGINES:
        d = hgm.TreeDistribution(tree, log_potentials=given, engine=engine)
        log = d.log_prob(support)
        possible = log > -torch.inf
        assert bool(possible.any()) and not bool(possible.all())
        for got, want in zip(
            torch.autograd.grad(log.exp().sum() + log[possible].sum(), list(given.values()), retain_graph=True),
            torch.autograd.grad(d.log_prob(support[possible]).sum(), list(given.values())),
            strict=True,
        ):
            assert torch.allclose(got, want, atol=1e-12) and bool(got.isfinite().all())


def test_potentials_beyond_the_range_of_the_network_go_to_the_reference():
    tree = named(CASES["star"].tree)
    name = tree.potentials[1].name
    x = torch.tensor([[0] * 9, [1] * 9])
    for table in (torch.tensor([[1.0, 1e-60]] * 3), torch.tensor([[1.0, 0.0], [0.5, 0.5], [1.0, 2.0]])):
        want = hgm.TreeDistribution(tree, {name: table}, engine="reference").log_prob(x)
        assert torch.equal(hgm.TreeDistribution(tree, {name: table}).log_prob(x), want)
        with pytest.raises(hgm.BadPotential, match=name):
            hgm.TreeDistribution(tree, {name: table}, engine="network").log_prob(x)
    nothing = torch.zeros(3, 2, requires_grad=True)
    log = hgm.TreeDistribution(tree, {name: nothing}).log_prob(x)
    assert bool(log.isneginf().all())
    with pytest.raises(hgm.ImpossibleEvidence):
        hgm.TreeDistribution(tree, {name: nothing}).sample()


def test_what_is_no_number_is_an_error_or_without_validation_nan():
    tree = named(CASES["star"].tree)
    hub = tree.potentials[0].name
    bad = torch.tensor([[0.2, 0.5, 0.3], [0.2, -0.5, 0.3], [0.2, torch.nan, 0.3], [torch.inf, 1.0, 1.0]])
    with pytest.raises(hgm.BadPotential, match=rf"{hub}.* entry \(1, 1\) is -0.5"):
        hgm.TreeDistribution(tree, {hub: bad}, validate_args=True)
    d = hgm.TreeDistribution(tree, {hub: bad.requires_grad_()}, validate_args=False)
    log = d.log_prob(torch.zeros(9))
    assert log.isnan().tolist() == [False, True, True, True]
    assert (
        abs(float(log[0].detach()) - float(hgm.TreeDistribution(tree, {hub: bad[0].detach()}).log_prob(torch.zeros(9))))
        < 1e-12
    )
    (gradient,) = torch.autograd.grad(log[0], bad)
    assert bool(gradient.isfinite().all()) and bool(gradient[0].any())
    with pytest.raises(hgm.BadPotential, match="nothing can be drawn"):
        d.sample()


def test_states_outside_of_the_support():
    tree = CASES["ragged"].tree
    d = hgm.TreeDistribution(tree, validate_args=False)
    fine, leaves = torch.zeros(len(tree.leaves)), tree.cardinality[tree.leaves]
    for wrong in (-2, int(leaves[0]), 0.5, torch.nan, torch.inf, 1e300):
        x = fine.clone()
        x[0] = wrong
        assert d.log_prob(torch.stack([fine, x])).isneginf().tolist() == [False, True]
        with pytest.raises(hgm.BadEvidence, match=re.escape(f"{d.names[0]!r} has no state {float(wrong)} ")):
            hgm.TreeDistribution(tree, validate_args=True).log_prob(x)
    whole = hgm.TreeDistribution(tree, missing=False, validate_args=False)
    assert float(whole.log_prob(fine - 1)) == -torch.inf and abs(float(d.log_prob(fine - 1))) < 1e-12
    assert not bool(whole.support.check(fine - 1)) and bool(d.support.check(fine - 1))


# ---------------------------------------------------------------------- samples and posteriors


@pytest.mark.parametrize("batch", BATCHES)
def test_samples_follow_the_distribution(batch):
    tree = named(CASES["unary_factors"].tree)
    d = hgm.TreeDistribution(tree, log_potentials=logs_for(tree, batch, False))
    x = d.sample((20_000,))
    assert x.dtype == torch.int64 and x.shape == (20_000, *batch, *tree.leaf_shape) and d().shape == d.shape()
    for row in d.enumerate_support(expand=False)[:, *(0,) * len(batch)]:
        p = d.log_prob(row).exp()
        seen = (x == row).all(-1).double().mean(0)
        assert bool(((seen - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt() + 1e-12).all())


def test_samples_of_an_expanded_distribution_are_independent_and_pyro_seeds_them():
    keep = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    own = hgm.TreeDistribution(step_tree(), {"step": torch.stack([keep, keep.flip(0)])[:, None]}, over="all")  # (2, 1)
    d = own.expand((500, 2, 3))
    assert isinstance(d, hgm.TreeDistribution) and d.batch_shape == (500, 2, 3)
    pyro.set_rng_seed(1)
    x = d.sample((4,))
    pyro.set_rng_seed(1)
    assert torch.equal(x, d.sample((4,))) and x.shape == (4, 500, 2, 3, 3)
    for one, other in ((x[..., 0, :], x[..., 1, :]), (x[:, 0], x[:, 1]), (x[0], x[1])):
        assert not torch.equal(one, other)
    row = torch.tensor([0, 0, 0])
    want = own.log_prob(row)[:, 0].exp()
    seen = (x == row).all(-1).double().mean((0, 1, 3))
    assert bool(((seen - want).abs() < 5 * (want * (1 - want) / 6000).sqrt()).all())
    assert torch.allclose(want, torch.tensor([0.405, 0.005])) and torch.equal(d.log_prob(x), own.log_prob(x))
    assert d.log_prob(row).shape == (500, 2, 3)


def test_posteriors_are_those_of_infer_with_these_potentials():
    tree = named(CASES["polytree"].tree)
    given = logs_for(tree, (3,))
    d = hgm.TreeDistribution(tree, log_potentials=given, over=["e", "f"])
    x = torch.tensor([[1, 0], [0, -1]])[:, None]  # (2, 1, 2)
    posterior = d.posterior(x)
    assert isinstance(posterior, hgm.Posterior) and posterior["c"].shape == (6, 2)
    for i, j in itertools.product(range(2), range(3)):
        numbers = {p.name: k for k, p in enumerate(tree.potentials)}
        own = list(tree.potentials)
        for name, log in given.items():
            own[numbers[name]] = own[numbers[name]].with_log(log[j].detach().numpy())
        e = {name: int(s) for name, s in zip(("e", "f"), x[i, 0], strict=True) if s >= 0}
        want, row = hgm.infer(tree.with_potentials(own), e), 3 * i + j
        assert torch.allclose(posterior.marginals[row], want.marginals, atol=1e-12)
        assert torch.equal(posterior.mode().states[row], want.mode().states)
        assert torch.allclose(posterior.mode().log_prob[row], want.mode().log_prob, atol=1e-10)
        states = want.sample(5)
        log = posterior.log_prob(states.states[:, None].expand(-1, 6, -1))
        assert log.shape == (5, 6) and torch.allclose(log[:, row], want.log_prob(states), atol=1e-10)
    posterior["c"][:, 0].sum().backward()
    assert bool(given[tree.potentials[0].name].grad.any())
    assert hgm.TreeDistribution(tree).posterior(torch.zeros(tree.leaf_shape))["c"].shape == (2,)
    with pytest.raises(hgm.BadEvidence, match="outside of the support"):
        hgm.TreeDistribution(tree, validate_args=False).posterior(torch.full(tree.leaf_shape, 9))


# ---------------------------------------------------------------------- inside pyro


def step_tree():
    """A chain whose transition has a name."""
    step = hgm.Edge([[0.7, 0.3], [0.4, 0.6]], name="step")
    return hgm.Tree.from_edges([("a", "b", step), ("b", "c", step)], {"a": [0.5, 0.5]})


def test_masks_events_and_observation_masks():
    tree = step_tree()
    d = hgm.TreeDistribution(tree, {"step": torch.rand(3, 2, 2)}, over="all")
    x = torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0]])
    mask = torch.tensor([True, False, True])
    assert torch.equal(d.mask(mask).log_prob(x), d.log_prob(x) * mask)
    assert torch.equal(d.to_event(1).log_prob(x), d.log_prob(x).sum())
    assert d.to_event(1).event_shape == (3, 3)

    def model():
        with pyro.plate("rows", 3):
            return pyro.sample("x", d, obs=x, obs_mask=mask)

    trace = poutine.trace(model).get_trace()
    assert torch.equal(trace.nodes["_RETURN"]["value"][mask], x[mask])
    assert torch.equal(trace.nodes["x_observed"]["value"], x)
    trace.compute_log_prob()
    assert torch.equal(trace.nodes["x_observed"]["log_prob"], d.log_prob(x) * mask)


def test_predictive_draws_what_it_draws():
    tree = step_tree()

    def model():
        step = pyro.sample("step", dist.Dirichlet(torch.ones(2, 2)).to_event(1))
        with pyro.plate("rows", 5):
            return pyro.sample("x", hgm.TreeDistribution(tree, {"step": step}, over="all"))

    for parallel in (False, True):
        drawn = Predictive(model, num_samples=400, parallel=parallel)()
        assert drawn["x"].shape == (400, 5, 3)
        with torch.no_grad():
            expected = hgm.TreeDistribution(tree, {"step": drawn["step"].reshape(400, 1, 2, 2)}, over="c")
            p = expected.log_prob(1).exp().mean()
        assert abs(float((drawn["x"][..., 2] == 1).double().mean() - p)) < 0.05


@pytest.mark.parametrize("over", ["c", "all"])
def test_enumeration_around_and_of_it_in_two_nested_plates(over):
    """TraceEnum sums the tree's own states, and a switch between two trees, inside two plates."""
    tree = step_tree()
    tables = torch.tensor([[[0.9, 0.1], [0.2, 0.8]], [[0.3, 0.7], [0.6, 0.4]]])
    switch, emit = torch.tensor([0.3, 0.7]), torch.tensor([0.25, 0.65])
    y = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])

    @config_enumerate
    def model():
        with pyro.plate("outer", 3, dim=-1):
            s = pyro.sample("switch", dist.Categorical(switch))
            with pyro.plate("inner", 2, dim=-2):
                x = pyro.sample("x", hgm.TreeDistribution(tree, {"step": tables[s]}, over=over))
                last = x if over == "c" else x[..., 2]
                pyro.sample("y", dist.Bernoulli(emit[last]), obs=y)

    got = -TraceEnum_ELBO(max_plate_nesting=2).loss(model, lambda: None)
    want = 0.0
    for column in range(3):
        total = 0.0
        for s in range(2):
            own = switch[s]
            for row in range(2):
                p = torch.exp(torch.stack([brute(tree, {"step": tables[s].log()}, [2], [c]) for c in range(2)]))
                own = own * sum(p[c] * (emit[c] if y[row, column] else 1 - emit[c]) for c in range(2))
            total += own
        want += math.log(total)
    assert abs(got - want) < 1e-10


def test_nuts_and_svi_run_through_and_find_the_posterior():
    tree = step_tree()
    truth = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    x = hgm.TreeDistribution(tree, {"step": truth}, over="all").sample((300,))

    def model(x):
        step = pyro.sample("step", dist.Dirichlet(torch.ones(2, 2)).to_event(1))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", hgm.TreeDistribution(tree, {"step": step}, over="all"), obs=x)

    mcmc = MCMC(NUTS(model), num_samples=150, warmup_steps=100, disable_progbar=True)
    mcmc.run(x)
    counts = torch.ones(2, 2)
    for before, after in ((0, 1), (1, 2)):
        counts.index_put_((x[:, before], x[:, after]), torch.tensor(1.0), accumulate=True)
    mean = counts / counts.sum(1, keepdim=True)
    assert torch.allclose(mcmc.get_samples()["step"].mean(0), mean, atol=0.02)

    def guide(x):
        a = pyro.param("a", torch.ones(2, 2) * 20, constraint=dist.constraints.positive)
        pyro.sample("step", dist.Dirichlet(a).to_event(1))

    svi = SVI(model, guide, Adam({"lr": 0.1}), Trace_ELBO(num_particles=4, vectorize_particles=True))
    for _ in range(150):
        svi.step(x)
    a = pyro.param("a").detach()
    assert torch.allclose(a / a.sum(1, keepdim=True), mean, atol=0.05)


def test_a_model_of_more_sites_than_torch_has_dimensions():
    tree = hgm.ghm([hgm.Level(2, 3)] * 7, root=3, seed=0)
    assert len(tree) > 64
    x = hgm.TreeDistribution(tree).sample((7,))
    want = hgm.infer(tree, x).log_partition - hgm.infer(tree).log_partition
    assert torch.allclose(hgm.TreeDistribution(tree).log_prob(x), want, atol=1e-10)


# ---------------------------------------------------------------------- what comes in and goes out


def test_it_can_be_pickled_and_holds_arrays_empty_batches_and_half_precision():
    tree = step_tree()
    table = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    d = hgm.TreeDistribution(tree, {"step": table}, over="all")
    x = np.array([[0, 1, 1], [1, -1, 0]])
    want = d.log_prob(x)
    d.sample()
    again = pickle.loads(pickle.dumps(d))
    assert torch.equal(again.log_prob(x), want) and again.names == d.names and again.sample().shape == (3,)
    assert d.log_prob(torch.zeros(0, 3)).shape == (0,) and d.sample((0,)).shape == (0, 3)
    assert hgm.TreeDistribution(tree, {"step": torch.ones(0, 2, 2)}, over="all").log_prob(x[:1]).shape == (0,)
    half = hgm.TreeDistribution(tree, {"step": table.half()}, over="all").log_prob(x)
    assert half.dtype == torch.float32 and torch.allclose(half.double(), want, atol=1e-6)
    torch.set_default_dtype(torch.float32)
    assert hgm.TreeDistribution(tree).log_prob(torch.zeros(1)).dtype == torch.float32
    assert "batch_shape=()" in repr(d)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda t: hgm.TreeDistribution("t"), hgm.BadSpec, "tree must be a Tree"),
        (lambda t: hgm.TreeDistribution(t, over="d"), hgm.BadEvidence, "no variable 'd'"),
        (lambda t: hgm.TreeDistribution(t, over=["a", "a"]), hgm.BadSpec, "each once"),
        (lambda t: hgm.TreeDistribution(t, over=[]), hgm.BadSpec, "each once"),
        (
            lambda t: hgm.TreeDistribution(t, {"stop": torch.ones(2, 2)}),
            hgm.BadPotential,
            "'stop'; did you mean 'step'",
        ),
        (lambda t: hgm.TreeDistribution(t, {"step": torch.ones(2, 3)}), hgm.BadPotential, r"must have shape \(2, 2\)"),
        (lambda t: hgm.TreeDistribution(t, {"step": [[1.0, 1.0], [-0.1, 1]]}), hgm.BadPotential, r"\(1, 0\) is -0.1"),
        (lambda t: hgm.TreeDistribution(t, {"step": "x"}), hgm.BadPotential, "'step' must be a tensor of numbers"),
        (lambda t: hgm.TreeDistribution(t, {"step": torch.ones(2, 2) * 1j}), hgm.BadPotential, "'step'.* real numbers"),
        (
            lambda t: hgm.TreeDistribution(t, {"step": np.ma.masked_equal([[1.0, 2.0], [3.0, 4.0]], 2.0)}),
            hgm.BadPotential,
            "'step' must be known; part of it is masked",
        ),
        (
            lambda t: hgm.TreeDistribution(t, log_potentials={"step": "x"}, validate_args=False),
            hgm.BadPotential,
            "'step' must be a tensor of floats",
        ),
        (lambda t: hgm.TreeDistribution(t, torch.ones(2, 2)), hgm.BadPotential, "potentials must be a mapping"),
        (
            lambda t: hgm.TreeDistribution(t, {"step": torch.ones(2, 2)}, log_potentials={"step": torch.ones(2, 2)}),
            hgm.BadPotential,
            "by its values and by its logs",
        ),
        (lambda t: hgm.TreeDistribution(t, {"step": torch.ones(2, 2, 2)}).expand((1,)), hgm.BadSpec, "to .1,."),
        (
            lambda t: hgm.TreeDistribution(t, {"step": torch.ones(2, 2, 2)}).expand(()),
            hgm.BadSpec,
            "cannot be expanded",
        ),
        (lambda t: hgm.TreeDistribution(t, engine="fast"), hgm.BadSpec, "engine must be"),
        (lambda t: hgm.TreeDistribution(t, missing=1), hgm.BadSpec, "missing must be True or False"),
        (lambda t: hgm.TreeDistribution(t, over="all").log_prob(torch.zeros(4)), hgm.BadEvidence, r"\(\*batch, 3\)"),
        (lambda t: hgm.TreeDistribution(t, over="all").log_prob(torch.tensor(0)), hgm.BadEvidence, r"\(\*batch, 3\)"),
        (
            lambda t: hgm.TreeDistribution(t, {"step": torch.ones(3, 2, 2)}).log_prob(torch.zeros(2, 1)),
            hgm.BadEvidence,
            "does not fit",
        ),
        (lambda t: hgm.TreeDistribution(hgm.star(17, 2, seed=0)).enumerate_support(), hgm.BadSpec, "131,072 joint"),
    ],
)
def test_bad_input_is_one_clear_error(make, error, says):
    with pytest.raises(error, match=says) as caught:
        make(step_tree())
    assert "\n" not in str(caught.value)
