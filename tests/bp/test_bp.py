"""The reference belief propagation against enumeration, pgmpy and calculus; and numbers that break other programs.

`assert_exact` is the comparison everything rests on; the sabotage tests at the end show what it refuses.
"""

import itertools
import math
from dataclasses import dataclass, replace

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from oracles.enumeration import sum_product
from oracles.trees import CASES, KINDS, Case, Evidence, build, draw_evidence, random_cases

import hgm
from hgm.bp import schedule as schedule_module
from hgm.bp.assignment import Assignment
from hgm.bp.ops import logmaxexp
from hgm.bp.passes import collect, distribute
from hgm.bp.score import log_score, states_of

pytestmark = pytest.mark.broad

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def rows(x: torch.Tensor, batched: bool) -> np.ndarray:
    """A result with its batch dimension, which unbatched results lack."""
    return x.detach().numpy() if batched else x.detach().numpy()[None]


def assert_exact(post, case: Case, evidence: Evidence, atol: float = 1e-12) -> None:
    """log Z and all marginals are those of the enumerated joint."""
    for b, joint in enumerate(evidence.joints(case)):
        np.testing.assert_allclose(rows(post.log_partition, evidence.batched)[b], joint.log_z, rtol=1e-13, atol=atol)
        for name in case.names:
            np.testing.assert_allclose(
                rows(post[name], evidence.batched)[b], joint.marginal(name), rtol=0, atol=atol, err_msg=name
            )


# ---------------------------------------------------------------------- enumeration


@every_case
@every_kind
def test_posterior_is_that_of_the_enumerated_joint(case, kind):
    evidence = draw_evidence(case, kind)
    post = hgm.infer(case.tree, evidence.given)
    assert_exact(post, case, evidence)
    assert post.batched == evidence.batched
    assert post.marginals.shape == ((len(evidence.rows),) if evidence.batched else ()) + (
        max(case.cards),
        len(case.names),
    )
    padding = torch.isneginf(hgm.log_evidence(case.tree)[0])
    assert (post.marginals[..., padding] == 0).all()


@every_case
@every_kind
def test_factor_marginals_are_those_of_the_enumerated_joint(case, kind):
    evidence = draw_evidence(case, kind, seed=1)
    post = hgm.infer(case.tree, evidence.given)
    joints = evidence.joints(case)
    for f in range(case.tree.factors):
        scope = [case.tree.names[int(v)] for v in case.tree.scope_of(f)]
        by_index = post.factor_marginals(f)
        torch.testing.assert_close(post.factor_marginals(scope[::-1]), by_index, rtol=0, atol=1e-12)
        for b, joint in enumerate(joints):
            np.testing.assert_allclose(rows(by_index, evidence.batched)[b], joint.marginal(*scope), rtol=0, atol=1e-12)


@every_case
@every_kind
def test_the_mode_attains_the_largest_score(case, kind):
    evidence = draw_evidence(case, kind, seed=2)
    post = hgm.infer(case.tree, evidence.given)
    mode = post.mode()
    assert mode.states.shape == (*mode.log_score.shape, len(case.names))
    for b, joint in enumerate(evidence.joints(case)):
        assignment = {
            name: int(rows(mode.states[..., case.tree.index(name)], evidence.batched)[b]) for name in case.names
        }
        np.testing.assert_allclose(joint.score(assignment), joint.best, rtol=1e-13, atol=1e-12)
        np.testing.assert_allclose(rows(mode.log_score, evidence.batched)[b], joint.best, rtol=1e-13, atol=1e-12)
        np.testing.assert_allclose(
            rows(mode.log_prob, evidence.batched)[b], joint.best - joint.log_z, rtol=1e-13, atol=1e-12
        )


@every_case
@every_kind
def test_two_passes_with_a_maximum_give_the_max_marginals(case, kind):
    evidence = draw_evidence(case, kind, seed=3)
    collected = collect(case.tree, hgm.log_evidence(case.tree, evidence.given), logmaxexp)
    beliefs = torch.cat(distribute(collected).b, -1)
    for b, joint in enumerate(evidence.joints(case)):
        for name in case.names:
            belief = beliefs[b, : case.card(name), case.tree.index(name)]
            np.testing.assert_allclose(
                belief - belief.max(), joint.max_marginal(name) - joint.best, rtol=1e-12, atol=1e-11
            )


@every_case
@pytest.mark.parametrize("kind", ["none", "zeros", "batch"])
def test_samples_have_the_frequencies_of_the_enumerated_joint(case, kind):
    n = 4000
    evidence = draw_evidence(case, kind, seed=4)
    post = hgm.infer(case.tree, evidence.given)
    sample = post.sample(n, generator=torch.Generator().manual_seed(7))
    assert sample.states.shape == ((n, len(evidence.rows)) if evidence.batched else (n,)) + (len(case.names),)
    for b, joint in enumerate(evidence.joints(case)):
        of = [sample.states[..., case.tree.index(name)] for name in case.names]
        states = [x[:, b] if evidence.batched else x for x in of]
        cells = np.ravel_multi_index([s.numpy() for s in states], case.cards)
        expected = n * joint.probability.ravel()
        observed = np.bincount(cells, minlength=len(expected))
        assert (expected[cells] > 0).all(), "a sample of probability zero"
        common = expected >= 5
        o = np.append(observed[common], observed[~common].sum())
        e = np.append(expected[common], expected[~common].sum())
        o, e = o[e > 0], e[e > 0]
        chi2, freedom = float(((o - e) ** 2 / e).sum()), len(e) - 1
        assert chi2 < freedom + 6 * math.sqrt(2 * freedom) + 6


@every_case
@every_kind
def test_log_probability_of_assignments(case, kind):
    evidence = draw_evidence(case, kind, seed=5)
    post = hgm.infer(case.tree, evidence.given)
    rng = np.random.default_rng(0)
    assignments = [case.joint.possible(rng) for _ in range(6)]
    assignments += [{name: int(rng.integers(case.card(name))) for name in case.names} for _ in range(6)]
    by_name = {name: [x[name] for x in assignments] for name in case.names}
    states = torch.tensor([[x[name] for name in case.tree.names] for x in assignments])
    scores = np.array([case.joint.score(x) for x in assignments])
    np.testing.assert_allclose(log_score(case.tree, states_of(case.tree, by_name)), scores, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(hgm.log_likelihood(case.tree, states), scores - case.joint.log_z, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(
        hgm.log_likelihood(case.tree, assignments[0]), scores[0] - case.joint.log_z, rtol=1e-12, atol=1e-11
    )
    got = post.log_prob(states[:, None] if evidence.batched else states).numpy()
    for b, joint in enumerate(evidence.joints(case)):
        expected = [joint.score(x) - joint.log_z for x in assignments]
        np.testing.assert_allclose(got[:, b] if evidence.batched else got, expected, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(post.log_prob(post.mode()), post.mode().log_prob, rtol=1e-12, atol=1e-11)
    assert (post.log_prob(post.sample(3, generator=torch.Generator().manual_seed(0))) > -math.inf).all()


@pytest.mark.long
@settings(max_examples=100)
@given(case=random_cases())
def test_random_trees(case):
    for kind in ("soft", "zeros", "batch"):
        evidence = draw_evidence(case, kind)
        post = hgm.infer(case.tree, evidence.given)
        assert_exact(post, case, evidence, atol=1e-11)
        mode = post.mode()
        for b, joint in enumerate(evidence.joints(case)):
            assignment = {
                name: int(rows(mode.states[..., case.tree.index(name)], evidence.batched)[b]) for name in case.names
            }
            np.testing.assert_allclose(joint.score(assignment), joint.best, rtol=1e-12, atol=1e-11)


# ---------------------------------------------------------------------- calculus


@every_case
@every_kind
def test_the_gradient_of_log_z_is_the_marginals(case, kind):
    evidence = draw_evidence(case, kind, seed=6)
    e = hgm.log_evidence(case.tree, evidence.given).requires_grad_()
    post = hgm.infer(case.tree, e)
    (gradient,) = torch.autograd.grad(post.log_partition.sum(), e)
    torch.testing.assert_close(gradient, post.marginals.detach(), rtol=0, atol=1e-12)


@every_case
def test_the_gradient_with_respect_to_potentials_is_the_sum_of_factor_marginals(case):
    evidence = draw_evidence(case, "batch", seed=7)
    e = hgm.log_evidence(case.tree, evidence.given)
    logs = [torch.tensor(p.log_potential, requires_grad=True) for p in case.tree.potentials]
    log_z = collect(case.tree, e, log_potentials=logs).log_partition.sum()
    if logs:
        log_z.backward()
    post = hgm.infer(case.tree, e)
    for i, potential in enumerate(case.tree.potentials):
        counts = sum(post.factor_marginals(int(f)).sum(0) for f in np.flatnonzero(case.tree.potential_id == i))
        if isinstance(potential, hgm.Rules):
            counts = counts[tuple(torch.tensor(potential.states.T.copy()))]
        torch.testing.assert_close(logs[i].grad, counts, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["binary_tied", "hard_zeros", "rhm", "ragged"])
def test_gradients_are_right_and_finite_where_rows_are_impossible(name):
    case = CASES[name]
    v = case.tree.index(case.names[-1])
    e = hgm.log_evidence(case.tree, draw_evidence(case, "soft").given).repeat(2, 1, 1)
    e[1, :, v] = -math.inf
    e.requires_grad_()
    log_z = hgm.log_partition(case.tree, e)
    assert torch.isneginf(log_z[1])
    (gradient,) = torch.autograd.grad(log_z[0] + log_z[1], e)
    torch.testing.assert_close(gradient[0], hgm.infer(case.tree, e[:1]).marginals[0].detach(), rtol=0, atol=1e-12)
    assert (gradient[1] == 0).all()


@pytest.mark.parametrize("name", ["binary_untied", "joint_table", "rules_any_axis", "forest"])
def test_marginals_are_differentiable_too(name):
    case = CASES[name]
    names = [x for x in case.names if case.card(x) > 1][:3]
    given = [
        torch.rand(2, case.card(x), dtype=torch.float64, generator=torch.Generator().manual_seed(i)) + 0.1
        for i, x in enumerate(names)
    ]

    def outputs(*likelihoods: torch.Tensor) -> torch.Tensor:
        post = hgm.infer(case.tree, dict(zip(names, likelihoods, strict=True)))
        return torch.cat([post.log_partition.reshape(-1), post.marginals.reshape(-1)])

    assert torch.autograd.gradcheck(outputs, [x.requires_grad_() for x in given])


# ---------------------------------------------------------------------- pgmpy


@pytest.mark.parametrize("name", ["binary_untied", "joint_table", "hard_zeros", "polytree", "unary_factors"])
def test_pgmpy_variable_elimination_agrees(name):
    from pgmpy.factors.discrete import DiscreteFactor
    from pgmpy.inference import VariableElimination
    from pgmpy.models import DiscreteMarkovNetwork

    case = CASES[name]
    model = DiscreteMarkovNetwork()
    model.add_nodes_from(case.names)
    for scope, table in case.factors:
        model.add_edges_from(itertools.combinations(scope, 2))
        model.add_factors(DiscreteFactor(scope, table.shape, table))
    truth = case.joint.possible(np.random.default_rng(3))
    observed = {n: truth[n] for n in case.names[::3]}
    post, engine = hgm.infer(case.tree, observed), VariableElimination(model)
    for n in case.names:
        if n not in observed:
            other = engine.query([n], evidence=observed, show_progress=False)
            np.testing.assert_allclose(post[n], other.values / other.values.sum(), rtol=0, atol=1e-12)


# ---------------------------------------------------------------------- invariances


@every_case
def test_any_root_gives_the_same_posterior(case):
    evidence = draw_evidence(case, "batch", seed=8)
    for name in case.names:
        tree = case.tree.reroot(name)
        assert tree.level[tree.index(name)] == 0
        assert_exact(hgm.infer(tree, evidence.given), case, evidence)


@every_case
def test_the_order_of_declaration_does_not_matter(case):
    rng = np.random.default_rng(9)
    evidence = draw_evidence(case, "batch", seed=9)
    factors = []
    for i in rng.permutation(len(case.factors)):
        scope, table = case.factors[i]
        axes = rng.permutation(len(scope))
        factors.append(([scope[a] for a in axes], table.transpose(axes)))
    names = [case.names[i] for i in rng.permutation(len(case.names))]
    tree = hgm.Tree.from_factors(factors, {n: case.tree.labels(case.tree.index(n)) or case.card(n) for n in names})
    assert_exact(hgm.infer(tree, evidence.given), case, evidence)


@every_case
def test_names_do_not_matter(case):
    evidence = draw_evidence(case, "soft", seed=10)
    tree = hgm.Tree.from_factors(
        [([f"new {n}" for n in scope], table) for scope, table in case.factors],
        {
            f"new {n}": case.tree.labels(case.tree.index(n)) or card
            for n, card in zip(case.names, case.cards, strict=True)
        },
    )
    post = hgm.infer(tree, {f"new {n}": x for n, x in evidence.given.items()})
    for n in case.names:
        np.testing.assert_allclose(post[f"new {n}"], evidence.joints(case)[0].marginal(n), rtol=0, atol=1e-12)


@every_case
def test_scaling_potentials_changes_log_z_only(case):
    evidence = draw_evidence(case, "zeros", seed=11)
    scale = np.random.default_rng(0).uniform(-50, 50, size=len(case.tree.potentials))
    tree = case.tree.with_potentials([p.scaled(s) for p, s in zip(case.tree.potentials, scale, strict=True)])
    post, scaled = hgm.infer(case.tree, evidence.given), hgm.infer(tree, evidence.given)
    change = float(scale[case.tree.potential_id].sum()) if case.tree.factors else 0.0
    np.testing.assert_allclose(scaled.log_partition - post.log_partition, change, rtol=1e-13, atol=1e-11)
    torch.testing.assert_close(scaled.marginals, post.marginals, rtol=0, atol=1e-12)
    torch.testing.assert_close(scaled.mode().states, post.mode().states)


@every_case
def test_splitting_factors_changes_nothing(case):
    """A unary factor into two of the square root; a pairwise one by a copy of one variable in its middle."""
    evidence = draw_evidence(case, "soft", seed=12)
    factors = []
    for i, (scope, table) in enumerate(case.factors):
        if len(scope) == 1:
            factors += [(scope, np.sqrt(table))] * 2
        elif len(scope) == 2:
            factors += [((scope[0], f"copy {i}"), np.eye(table.shape[0])), ((f"copy {i}", scope[1]), table)]
        else:
            factors.append((scope, table))
    tree = hgm.Tree.from_factors(factors, {n: case.tree.labels(case.tree.index(n)) or case.card(n) for n in case.names})
    assert_exact(hgm.infer(tree, evidence.given), case, evidence)


# ---------------------------------------------------------------------- numbers that break other programs


def assert_like_50_digits(case: Case, likelihoods: dict[str, np.ndarray], marginals: float = 1e-12) -> float:
    log_z, expected = sum_product(case.names, case.cards, case.factors, likelihoods)
    post = hgm.infer(case.tree, {name: hgm.Likelihood(x) for name, x in likelihoods.items()})
    np.testing.assert_allclose(post.log_partition, log_z, rtol=1e-14, atol=1e-12)
    worst = max(np.abs(post[name].numpy() - expected[name]).max() for name in case.names)
    assert worst < marginals
    return log_z


def tree_of(edges: list[tuple[str, str]], tables: list[np.ndarray], prior: np.ndarray) -> Case:
    factors = [(edge, hgm.Edge(table), table) for edge, table in zip(edges, tables, strict=True)]
    return build([((edges[0][0],), prior, prior), *factors])


def test_a_binary_tree_of_depth_10_with_log_z_below_the_smallest_float():
    rng = np.random.default_rng(0)
    edges = [(f"n{(i - 1) // 2}", f"n{i}") for i in range(1, 2**11 - 1)]
    pair = [rng.dirichlet(np.full(8, 0.3), size=8) for _ in range(2)]
    case = tree_of(edges, [pair[i % 2] for i in range(len(edges))], np.full(8, 1 / 8))
    likelihoods = {f"n{i}": np.eye(8)[rng.integers(8)] for i in range(2**10 - 1, 2**11 - 1)}
    assert assert_like_50_digits(case, likelihoods) < -1000


def test_a_star_of_2000_leaves():
    rng = np.random.default_rng(1)
    n, hub = 2000, 3
    tables = [rng.dirichlet(np.ones(4), size=hub) for _ in range(n)]
    seen = [rng.uniform(1e-3, 1.0, 4) if i % 2 else np.eye(4)[rng.integers(4)] for i in range(n)]
    prior = np.array([0.98, 0.01, 0.01])
    case = tree_of([("hub", f"x{i}") for i in range(n)], tables, prior)
    post = hgm.infer(case.tree, {f"x{i}": hgm.Likelihood(s) for i, s in enumerate(seen)})
    with mpmath.workdps(50):
        mp = np.frompyfunc(mpmath.mpf, 1, 1)
        said = [(mp(t) * mp(s)).sum(axis=1) for t, s in zip(tables, seen, strict=True)]
        belief = mp(prior)
        for q in said:
            belief = belief * q
        np.testing.assert_allclose(post.log_partition, float(mpmath.log(belief.sum())), rtol=1e-14)
        np.testing.assert_allclose(post["hub"], (belief / belief.sum()).astype(float), rtol=0, atol=1e-12)
        for i in (0, 1, 998, 999, 1998, 1999):
            own = ((belief / said[i])[:, None] * mp(tables[i])).sum(axis=0) * mp(seen[i])
            np.testing.assert_allclose(post[f"x{i}"], (own / own.sum()).astype(float), rtol=0, atol=1e-12)
    assert float(post.log_partition) < -1000


def test_a_chain_of_23_is_propagated_to_its_end():
    rng = np.random.default_rng(2)
    step = np.array([[0.999, 0.001], [0.001, 0.999]])
    case = tree_of([(f"x{i}", f"x{i + 1}") for i in range(22)], [step] * 22, np.array([0.5, 0.5]))
    assert_like_50_digits(case, {"x0": np.array([1.0, 0.0])})
    assert hgm.infer(case.tree, {"x0": 0})["x22"][0] > 0.97
    assert_like_50_digits(case, {f"x{i}": rng.uniform(0.1, 1.0, 2) for i in range(23)})


@pytest.mark.parametrize("decades", [16, 150, 300])
def test_potentials_and_likelihoods_over_many_decades(decades):
    rng = np.random.default_rng(decades)
    parents = [int(rng.integers(max(0, i - 4), i)) for i in range(1, 80)]
    edges = [(f"v{p}", f"v{i}") for i, p in enumerate(parents, start=1)]
    tables = [
        10.0 ** rng.uniform(-decades, decades, size=(3, 3)) * (rng.random((3, 3)) > 0.2) + np.eye(3) for _ in edges
    ]
    case = tree_of(edges, tables, 10.0 ** rng.uniform(-decades, decades, size=3))
    seen = {f"v{i}": 10.0 ** rng.uniform(-decades, decades, size=3) for i in range(0, 80, 3)}
    assert_like_50_digits(case, seen, marginals=1e-11)


def test_likelihoods_of_any_scale_shift_log_z_only():
    case = CASES["star"]
    unit = {f"x{i}": np.array([0.25, 0.75]) for i in range(9)}
    post = hgm.infer(case.tree, {n: hgm.Likelihood(x) for n, x in unit.items()})
    tiny = hgm.infer(case.tree, {n: hgm.Likelihood(x * 1e-300) for n, x in unit.items()})
    torch.testing.assert_close(tiny.marginals, post.marginals, rtol=0, atol=1e-12)
    np.testing.assert_allclose(tiny.log_partition, post.log_partition + 9 * math.log(1e-300), rtol=1e-14)


@pytest.mark.long
def test_a_long_chain_does_not_recurse_and_stays_exact():
    n = 3000  # three times the depth of Python's stack
    step = np.array([[0.9, 0.1], [0.3, 0.7]])
    edge = hgm.Edge(step)
    tree = hgm.Tree.from_edges([(f"x{i}", f"x{i + 1}", edge) for i in range(n - 1)], {"x0": [0.5, 0.5]})
    rng = np.random.default_rng(3)
    seen = rng.uniform(0.1, 1.0, size=(n, 2))
    e = torch.zeros(1, 2, n, dtype=torch.float64)
    e[0] = torch.tensor(np.log(seen[[int(name[1:]) for name in tree.names]]).T)
    e.requires_grad_()
    post = hgm.infer(tree, e)
    forward, scale = np.zeros((n, 2)), np.zeros(n)
    message = np.array([0.5, 0.5])
    for i in range(n):
        forward[i] = message * seen[i]
        scale[i] = forward[i].sum()
        forward[i] /= scale[i]
        message = forward[i] @ step
    backward = np.ones((n, 2))
    for i in reversed(range(n - 1)):
        backward[i] = step @ (backward[i + 1] * seen[i + 1])
        backward[i] /= backward[i].sum()
    smoothed = forward * backward
    smoothed /= smoothed.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(post.log_partition.item(), math.fsum(np.log(scale)), rtol=1e-13)
    got = post.marginals[0].detach().numpy().T
    np.testing.assert_allclose(got, smoothed[[int(name[1:]) for name in tree.names]], rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(post.log_partition.sum(), e)
    torch.testing.assert_close(gradient, post.marginals.detach(), rtol=0, atol=1e-12)
    assert post.mode().states.shape == (1, n)
    assert post.sample(1, generator=torch.Generator().manual_seed(0)).states.shape == (1, 1, n)


# ---------------------------------------------------------------------- the mode, ties and samples


def test_a_tie_is_broken_into_one_assignment_that_attains_the_score():
    """Each variable alone is indifferent; only the two unequal pairs are allowed."""
    tree = hgm.Tree.from_edges([("a", "b", [[0, 1], [1, 0]]), ("b", "c", [[0, 1], [1, 0]])])
    mode = hgm.infer(tree).mode()
    assert mode.states.tolist() in ([0, 1, 0], [1, 0, 1])
    assert mode.log_score == 0.0
    assert mode.log_prob.item() == pytest.approx(math.log(0.5))
    assert hgm.infer(tree).mode().states.tolist() == mode.states.tolist()


def test_states_of_a_mode_and_of_samples_come_by_name_and_label():
    case = CASES["ragged"]
    post = hgm.infer(case.tree, {"r": ["red", "blue"], "d": "yes"})
    mode, sample = post.mode(), post.sample(5, generator=torch.Generator().manual_seed(1))
    assert mode.states[:, case.tree.index("r")].tolist() == [0, 2]
    assert mode.labels("r") == ["red", "blue"]
    assert sample.labels("d") == [["yes", "yes"]] * 5
    assert hgm.infer(case.tree, {"r": 1}).mode().labels("r") == "green"
    assert mode.labels("a") == mode["a"].tolist()
    assert isinstance(sample, Assignment)


def test_samples_depend_on_the_generator_only():
    post = hgm.infer(CASES["ragged"].tree)
    state = torch.get_rng_state()
    one, two = (post.sample(50, generator=torch.Generator().manual_seed(5)).states for _ in range(2))
    other = post.sample(50, generator=torch.Generator().manual_seed(6)).states
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_samples_follow_the_global_one():
    post = hgm.infer(CASES["ragged"].tree)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        one, other = post.sample(50).states, post.sample(50).states
        torch.manual_seed(5)
        assert torch.equal(post.sample(50).states, one), "it is read"
        assert not torch.equal(one, other), "and moves on: it is never seeded"
    assert torch.equal(one, post.sample(50, generator=torch.Generator().manual_seed(5)).states)


@pytest.mark.parametrize("n", [-1, 2.5, "3", None, True, [2], math.nan])
def test_no_number_of_samples_is_one_clear_error(n):
    with pytest.raises(hgm.BadSpec, match="n must be a whole number of at least 0"):
        hgm.infer(CASES["ragged"].tree).sample(n)


@pytest.mark.parametrize("generator", [3, np.random.default_rng(0), torch.Generator])
def test_no_generator_is_one_clear_error(generator):
    with pytest.raises(hgm.BadSpec, match=r"generator must be a torch\.Generator"):
        hgm.infer(CASES["ragged"].tree).sample(2, generator=generator)


@pytest.mark.parametrize("height", [0.0, 1.0 - 2.0**-53])
def test_the_smallest_and_the_largest_random_number_draw_possible_states(monkeypatch, height):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, height, dtype=torch.float64))
    for name in ("hard_zeros", "prior", "rhm", "zero_rows", "rules_any_axis", "wide_range"):
        case = CASES[name]
        post = hgm.infer(case.tree, draw_evidence(case, "zeros").given)
        assert (post.log_prob(post.sample(2, generator=torch.Generator())) > -math.inf).all(), name


def test_many_samples_are_drawn_in_chunks(monkeypatch):
    post = hgm.infer(CASES["rhm"].tree, {"x0": [0, 1]})
    whole = post.sample(200, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr("hgm.bp.choices.CHUNK", 64)
    parts = post.sample(200, generator=torch.Generator().manual_seed(5))
    assert parts.states.shape == whole.states.shape
    assert (post.log_prob(parts) > -math.inf).all()


# ---------------------------------------------------------------------- interface


def test_results_are_mappings_with_the_names_for_keys():
    tree = hgm.Tree.from_edges(
        [("sky", "wet", [[0.1, 0.9], [0.8, 0.2]]), ("sky", "n", [[1, 0, 0], [0, 0, 1]])],
        {"sky": [0.3, 0.7]},
        {"sky": ["sun", "rain"], "wet": ["yes", "no"]},
    )
    post = hgm.infer(tree)
    mode, samples, batch = post.mode(), post.sample(4), hgm.infer(tree, {"sky": ["rain", "sun"]}).mode()
    for result in (post, mode, samples):
        assert list(result) == list(result.keys()) == list(tree.names) and len(result) == 3
        assert "sky" in result and "snow" not in result and 0 not in result
        assert [name for name, _ in result.items()] == list(tree.names)
        with pytest.raises(hgm.BadEvidence, match="no variable 'snow'"):
            result["snow"]
    # by hand: 0.3 * 0.9 for (sun, no, 0) against 0.7 * 0.8 for (rain, yes, 2)
    assert dict(mode) == {"sky": "rain", "wet": "yes", "n": 2}
    assert {name: getattr(x, "tolist", lambda x=x: x)() for name, x in batch.items()} == {
        "sky": ["rain", "sun"], "wet": ["yes", "no"], "n": [2, 0]
    }  # fmt: skip
    torch.testing.assert_close(dict(post)["wet"], torch.tensor([0.59, 0.41], dtype=torch.float64))
    assert hgm.infer(tree, dict(samples)).log_partition.shape == (4,), "what comes out goes in again"
    assert post.log_prob(dict(samples)).tolist() == post.log_prob(samples).tolist()


# ---------------------------------------------------------------------- modes of autograd, and whose the evidence is

MODES = {"no_grad": torch.no_grad, "inference": torch.inference_mode, "grad": torch.enable_grad}
LOOKS = {
    "log_partition": lambda p: p.log_partition,
    "marginals": lambda p: p.marginals,
    "by name": lambda p: p[p.tree.names[-1]],
    "factor_marginals": lambda p: p.factor_marginals(0),
    "entropy": lambda p: p.entropy().whole,
    "messages": lambda p: p.messages()[-1].log,
    "mode": lambda p: p.mode().log_prob,
    "sample": lambda p: p.sample(2).states,
    "log_prob": lambda p: p.log_prob(p.sample(2)),
}


def own_evidence(tree):
    e = torch.rand((2, int(tree.cardinality.max()), len(tree)), generator=torch.Generator().manual_seed(3)).double()
    return e.requires_grad_()


def gradient(post, e):
    """Of a function of everything that has gradients."""
    n = post.tree.names[-1]
    some = post.log_partition.sum() + post.marginals.square().sum() + post[n].square().sum()
    some = some + post.factor_marginals(0).square().sum() + post.log_prob(post.mode().states).sum()
    return torch.autograd.grad(some, e)[0]


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("name", ["ragged", "rhm", "joint_table"])
def test_a_look_under_any_mode_changes_no_later_gradient(name, mode, look):
    tree = CASES[name].tree
    e = own_evidence(tree)
    want = gradient(hgm.infer(tree, e), e)
    fresh = replace(tree, cardinality=tree.cardinality)  # nothing kept for it
    post = hgm.infer(fresh, e)
    with mode():
        seen = look(post)
        assert not seen.requires_grad or torch.is_grad_enabled()
    torch.testing.assert_close(gradient(post, e), want, rtol=0, atol=1e-14)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_what_was_first_done_under_a_mode_leaves_no_trace(mode):
    tree = replace(CASES["ragged"].tree, cardinality=CASES["ragged"].tree.cardinality)
    e = own_evidence(tree)
    with mode():
        post, named = hgm.infer(tree, e), hgm.infer(tree, {"r": "red"})
        assert post.log_evidence.requires_grad == torch.is_grad_enabled()
    want = gradient(hgm.infer(CASES["ragged"].tree, e), e)
    torch.testing.assert_close(gradient(hgm.infer(tree, e), e), want, rtol=0, atol=1e-14)
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    for p in (post, named):
        assert not p.log_evidence.is_inference()
        (x * p.marginals).sum().backward()  # which keeps them for the way back


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["ragged", "binary_tied", "single"])
def test_the_answers_are_to_the_evidence_that_was_given(name, dtype):
    tree = CASES[name].tree
    e = own_evidence(tree).detach().to(dtype)
    want = hgm.infer(tree, e.clone())
    post = hgm.infer(tree, e)
    e.fill_(-torch.inf)[:, 0] = 0
    for look in ("log_partition", "marginals", "by name", "factor_marginals", "mode"):
        if tree.factors or look != "factor_marginals":
            assert torch.equal(LOOKS[look](post), LOOKS[look](want)), look


def test_a_tensor_is_batched_and_computed_in_float64():
    case = CASES["ragged"]
    evidence = draw_evidence(case, "soft")
    e = hgm.log_evidence(case.tree, evidence.given)
    single, named = hgm.infer(case.tree, e.float()), hgm.infer(case.tree, evidence.given)
    assert single.log_partition.shape == (1,)
    assert named.log_partition.shape == ()
    assert single.marginals.dtype == torch.float64
    torch.testing.assert_close(single["c"][0], named["c"], rtol=0, atol=1e-6)
    assert repr(named).startswith("Posterior of a Tree: 9 variables")


def test_steps_are_kept_for_new_potentials():
    tree = hgm.Tree.from_edges([("a", "b", [[1.0, 2.0], [3.0, 4.0]])])
    other = tree.with_potentials([hgm.Edge([[4.0, 1.0], [1.0, 1.0]])])
    assert schedule_module.schedule(other, torch.device("cpu")) is schedule_module.schedule(tree, torch.device("cpu"))
    assert hgm.infer(other).log_partition.item() == pytest.approx(math.log(7))


def test_few_and_many_factors_with_a_potential_are_grouped_alike():
    """Below a node: 20 leaves that share a potential (one group) and 5 with their own (grouped by shape)."""
    rng = np.random.default_rng(4)
    shared = hgm.Edge(table := rng.random((2, 2)))
    factors = [(("a", f"s{i}"), shared, table) for i in range(20)]
    for i in range(5):
        own = rng.random((2, 2))
        factors.insert(int(rng.integers(len(factors))), (("a", f"o{i}"), own, own))
    case = build(factors)
    (step, _) = schedule_module.schedule(case.tree, torch.device("cpu"))
    assert sorted(group.count for group in step.groups) == [5, 20]
    likelihoods = {name: rng.uniform(0.1, 1.0, 2) for name in case.names}
    assert_like_50_digits(case, likelihoods)


# ---------------------------------------------------------------------- errors


def test_impossible_evidence_names_the_rows_and_where_they_contradict():
    tree = hgm.Tree.from_edges([("a", "b", np.eye(2)), ("b", "c", np.eye(2)), ("a", "d", np.ones((2, 2)))])
    with pytest.raises(hgm.ImpossibleEvidence) as error:
        hgm.infer(tree, {"b": [0, 1, 1, 0], "c": [0, 0, 1, 1]})
    assert error.value.rows == (1, 3)
    assert "probability zero" in str(error.value)
    assert "row 1: what is known of variable 'b' and below it leaves it no state" in str(error.value)
    assert "batch rows 1, 3" in str(error.value)
    with pytest.raises(hgm.ImpossibleEvidence, match="variable 'd'") as error:
        hgm.infer(tree, {"d": hgm.Likelihood([0.0, 0.0])})
    assert error.value.rows == (0,)


def test_impossible_evidence_in_one_tree_of_a_forest_is_found():
    with pytest.raises(hgm.ImpossibleEvidence, match="variable 'c'"):
        hgm.infer(CASES["forest"].tree, {"c": 2})


def test_a_model_that_allows_nothing_is_impossible():
    tree = hgm.Tree.from_factors([(["a"], [1.0, 0.0]), (["a"], [0.0, 1.0])])
    with pytest.raises(hgm.ImpossibleEvidence, match="variable 'a'"):
        hgm.infer(tree)
    with pytest.raises(hgm.ImpossibleEvidence):
        hgm.log_likelihood(tree, {"a": 0})


@pytest.mark.parametrize(
    ("factor", "error", "message"),
    [
        (99, hgm.BadSpec, r"no factor 99; it has 8"),
        (-1, hgm.BadSpec, r"no factor -1"),
        (("r", "c"), hgm.BadSpec, r"no factor over \(r, c\)"),
        (("r", "a", "b"), hgm.BadSpec, r"no factor over \(r, a, b\)"),
        ("r", hgm.BadSpec, r"no factor over \(r\)"),
        (("r", "zz"), hgm.BadEvidence, r"no variable 'zz'"),
    ],
)
def test_factor_marginals_of_no_factor_are_refused(factor, error, message):
    with pytest.raises(error, match=message):
        hgm.infer(CASES["ragged"].tree).factor_marginals(factor)


def test_an_unknown_name_is_refused():
    post = hgm.infer(CASES["chain"].tree)
    for get in (post.__getitem__, post.mode().__getitem__):
        with pytest.raises(hgm.BadEvidence, match="no variable 'zz'"):
            get("zz")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ({"a": 0, "b": 0}, r"gives every variable a state; missing: c"),
        ({"a": 0, "b": 0, "c": 2}, r"variable 'c' has no state 2; its labels are 'x', 'y'"),
        ({"a": 0, "b": 0, "c": [0, -1]}, r"no missing states; variable 'c' has one"),
        ({"a": 0, "b": 0, "c": "mauve"}, r"variable 'c' has no state 'mauve'; its states are x, y"),
        ({"a": 0, "b": 0, "c": ["x", "mauve"]}, r"variable 'c' has no state 'mauve'"),
        ({"a": [0, 1], "b": 0, "c": [0, 0, 0]}, r"batches of an assignment must have the same size"),
        ({"a": 0.5, "b": 0, "c": 0}, r"variable 'a' has no state 0.5; its states are 0 to 1"),
        (torch.zeros(4, 2, dtype=torch.int64), r"shape \(\.\.\., 3\).*got torch.int64 of shape \(4, 2\)"),
        ({"a": 0, "b": 0, "c": 0, "d": 0}, r"no variable 'd'"),
    ],
)  # fmt: skip
def test_bad_assignments_are_refused(assignment, message):
    tree = hgm.Tree.from_edges([("a", "b", np.ones((2, 2))), ("a", "c", np.ones((2, 2)))], variables={"c": ["x", "y"]})
    assert hgm.log_likelihood(tree, {"a": 0, "b": 0, "c": ["x", "y"]}).shape == (2,)
    with pytest.raises(hgm.BadEvidence, match=message):
        hgm.log_likelihood(tree, assignment)


# ---------------------------------------------------------------------- sabotage: what the comparison refuses


@dataclass
class Constant:
    """A predictor that always says the same, with the right log Z."""

    tree: hgm.Tree
    log_partition: torch.Tensor

    def __getitem__(self, name: str) -> torch.Tensor:
        card = int(self.tree.cardinality[self.tree.index(name)])
        return torch.full((card,), 1 / card, dtype=torch.float64)


@pytest.mark.parametrize("name", ["chain", "hard_zeros", "wide_range"])
def test_a_transposed_table_is_refused(name):
    case = CASES[name]
    evidence = draw_evidence(case, "soft")
    i, edge = next((i, p) for i, p in enumerate(case.tree.potentials) if p.shape == (3, 3))
    potentials = list(case.tree.potentials)
    potentials[i] = hgm.Edge(edge.values.T)
    with pytest.raises(AssertionError):
        assert_exact(hgm.infer(case.tree.with_potentials(potentials), evidence.given), case, evidence)


@pytest.mark.parametrize("name", ["star", "chain", "prior", "binary_tied", "polytree"])
def test_a_dropped_prior_is_refused(name):
    case = CASES[name]
    evidence = draw_evidence(case, "soft")
    prior = next(i for i, (scope, _) in enumerate(case.factors) if len(scope) == 1)
    tree = hgm.Tree.from_factors([f for i, f in enumerate(case.factors) if i != prior])
    with pytest.raises(AssertionError):
        assert_exact(hgm.infer(tree, evidence.given), case, evidence)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if max(case.cards) > 1])
def test_a_constant_predictor_is_refused(name):
    case = CASES[name]
    evidence = draw_evidence(case, "soft")
    right = hgm.infer(case.tree, evidence.given)
    assert_exact(right, case, evidence)
    with pytest.raises(AssertionError):
        assert_exact(Constant(case.tree, right.log_partition), case, evidence)


def test_evidence_of_another_row_is_refused():
    case = CASES["ragged"]
    evidence = draw_evidence(case, "batch")
    shuffled = Evidence(evidence.given, evidence.rows[::-1], evidence.batched)
    with pytest.raises(AssertionError):
        assert_exact(hgm.infer(case.tree, evidence.given), case, shuffled)


def test_no_samples_are_an_empty_tensor():
    tree = hgm.chain(5)
    assert hgm.infer(tree).sample(0, generator=torch.Generator()).states.shape == (0, len(tree))
