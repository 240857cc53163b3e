"""`quality`: exact samples pass, each kind of mistake is told by its measure, and figures are those of enumeration."""

import json

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from scipy import stats

import hgm
from hgm.measure.nearest import as_symbols
from hgm.measure.parts import blocks, codes, joint_tables, pairs
from hgm.measure.pearson import _tail, merged, of_tables
from hgm.measure.quality import _likelihood, quality

TREE = hgm.random_ghm(2, 3, 2, bound=30.0, seed=1)  # four leaves


def draw(tree, n, seed=0):
    return hgm.infer(tree).sample(n, generator=torch.Generator().manual_seed(seed)).leaves


def leaf_names(case):
    return [case.tree.names[int(v)] for v in case.tree.leaves]


def leaf_joint(case):
    """The distribution of the leaves, by enumeration."""
    return case.joint.marginal(*leaf_names(case))


# ---------------------------------------------------------------------- exact samples


@pytest.mark.long
@pytest.mark.parametrize(
    ("tree", "samples"),
    [(TREE, 300), (hgm.broadcast(3, 2, eps=0.05), 200)],
    ids=["a random tree", "leaves that depend strongly on each other"],
)
def test_exact_samples_give_uniform_p_values(tree, samples):
    found = [quality(draw(tree, samples, 1000 + seed), tree, reference=256, seed=seed) for seed in range(200)]
    for name in [m.name for m in found[0].measures if m.p is not None]:
        measures = [q[name] for q in found]
        p = np.array([m.p for m in measures])
        assert stats.kstest(p, "uniform").pvalue > 0.01, name
        if name == "log likelihood":
            continue
        assert np.mean([m.low <= m.expected <= m.high for m in measures]) > 0.9, name
        for gap in (np.array([m.estimate - m.expected for m in measures]), np.array([m.kl for m in measures])):
            assert abs(gap.mean()) < 4 * gap.std() / len(gap) ** 0.5, name


@pytest.mark.parametrize("weights", [[1.0] * 30, [10.0] + [1.0] * 30, [5.0, 1.0], [4.0, 4.0, 0.5], [3.0]])
def test_the_tail_of_a_weighted_sum_of_squares(weights):
    rng, weights = np.random.default_rng(0), np.array(weights)
    features = rng.normal(size=(2000, len(weights))) * weights**0.5
    simulated = (rng.normal(size=(40_000, len(weights))) ** 2) @ weights
    for level in (0.5, 0.1, 0.01):
        p = _tail(float(np.quantile(simulated, 1 - level)), 500, features @ features.T, weights.sum())
        assert p == pytest.approx(level, rel=0.2, abs=1e-3)


# ---------------------------------------------------------------------- samples that are not exact


def test_the_likelihood_is_compared_by_the_test_of_welch():
    x, reference = np.random.default_rng(0).normal(size=40), np.random.default_rng(1).normal(0.3, 2.0, size=30)
    assert _likelihood(x, reference).p == pytest.approx(stats.ttest_ind(x, reference, equal_var=False).pvalue)


def told(q, level=0.01):
    return {m.name for m in q.measures if m.p is not None and m.p < level}


def test_samples_of_a_slightly_wrong_tree_are_told():
    rng = np.random.default_rng(0)
    wrong = TREE.with_potentials([p.with_log(p.log_potential + rng.normal(0, 0.2, p.shape)) for p in TREE.potentials])
    assert told(quality(draw(TREE, 2000), TREE)) == set()
    assert told(quality(draw(wrong, 2000), TREE)) >= {"leaves", "pairs", "blocks", "root", "inner"}


def test_leaves_in_wrong_places_have_right_symbols():
    q = quality(draw(TREE, 1000).flip(1), TREE)
    assert "symbols" not in told(q) and "leaves" in told(q)


def test_leaves_that_are_independent_have_right_distributions_each():
    generator = torch.Generator().manual_seed(3)
    x = torch.stack([leaf[torch.randperm(1000, generator=generator)] for leaf in draw(TREE, 1000).T], 1)
    assert told(quality(x, TREE)) >= {"pairs", "blocks"}
    assert not told(quality(x, TREE)) & {"symbols", "leaves"}


def test_blocks_see_what_pairs_do_not():
    parity = np.fromfunction(lambda r, a, b, c: 1.0 + 0.6 * (-1.0) ** (a + b + c), (2, 2, 2, 2))
    tree = hgm.Tree.from_factors([(["r", "a", "b", "c"], parity)], roots=["r"])
    x = torch.randint(2, (1000, 3), generator=torch.Generator().manual_seed(0))
    assert told(quality(x, tree)) == {"log likelihood", "blocks"}


def test_one_class_only_is_told_by_the_root():
    tree = hgm.broadcast(2, 2, eps=0.2)
    of_one = hgm.infer(tree, {tree.names[0]: 1}).sample(500, generator=torch.Generator().manual_seed(0)).leaves
    assert "root" in told(quality(of_one, tree))


def test_samples_that_are_all_the_same_are_told():
    assert told(quality(draw(TREE, 1).expand(500, -1), TREE)) >= {"symbols", "leaves", "pairs", "blocks"}


def test_an_impossible_sample_is_found():
    case = CASES["rhm"]
    impossible = np.argwhere(leaf_joint(case) == 0)[:3]
    x = np.concatenate([draw(case.tree, 197).numpy(), impossible])
    q = quality(x, case.tree)
    measure = q["possible"]
    assert (measure.estimate, measure.expected, measure.p) == (197 / 200, 1.0, 0.0)
    low, high = stats.binomtest(197, 200).proportion_ci(method="wilson")
    assert (measure.low, measure.high) == pytest.approx((low, high))
    assert q["log likelihood"].estimate == pytest.approx(np.log(leaf_joint(case).max()))  # all words are equally likely


def test_where_nothing_is_possible_the_others_still_answer():
    case = CASES["rhm"]
    x = np.repeat(np.argwhere(leaf_joint(case) == 0)[:1], 30, 0)
    q = quality(x, case.tree)
    assert q["possible"].estimate == 0 and np.isnan(q["log likelihood"].estimate) and q["root"].p is None
    assert q["leaves"].p < 1e-9
    json.dumps(q.rows(), allow_nan=False)


def test_a_tree_without_zeros_has_no_p_value_for_what_is_possible():
    assert quality(draw(TREE, 50), TREE)["possible"].p is None
    assert quality(draw(CASES["rhm"].tree, 50), CASES["rhm"].tree)["possible"].p == 1.0


# ---------------------------------------------------------------------- every figure is that of enumeration


@pytest.mark.parametrize("name", CASES)
def test_pairs_and_blocks_have_the_probabilities_of_enumeration(name):
    case = CASES[name]
    names, groups = leaf_names(case), pairs(case.tree) + blocks(case.tree)
    states = max(case.card(leaf) for leaf in names)
    if not groups:
        assert len(names) == 1
        return
    joint, alone = joint_tables(hgm.infer(case.tree), groups)
    for group, table, product in zip(groups, joint, alone, strict=True):
        want = case.joint.marginal(*(names[v] for v in group))
        pad = [(0, states - size) for size in want.shape]
        want = np.pad(want, pad).ravel()
        assert table[: want.size] == pytest.approx(want, abs=1e-12) and not table[want.size :].any()
        assert product.sum() == pytest.approx(1.0) and len(product) == len(table)


def test_pairs_are_neighbours_and_leaves_half_of_an_axis_apart():
    assert {tuple(pair) for pair in pairs(hgm.star(5, 2))} >= {(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (2, 4)}
    grid = {tuple(pair) for pair in pairs(hgm.random_ghm(1, 2, (2, 2), seed=0))}
    assert grid == {(0, 1), (2, 3), (0, 2), (1, 3), (0, 3)}


def test_zeros_in_a_table_make_it_a_question_what_is_possible():
    tree = hgm.Tree.from_factors([(["r", "a"], [[0.5, 0.0], [0.2, 0.3]])])
    assert quality(draw(tree, 50), tree)["possible"].p == 1.0


def test_few_samples_have_no_p_values_of_distances():
    few, enough = (quality(draw(TREE, n), TREE, reference=100) for n in (19, 20))
    assert few["leaves"].p is None and enough["leaves"].p is not None


def test_codes_number_the_patterns():
    x = np.array([[0, 1, 2], [2, 2, 0]])
    assert codes(x, [np.array([0, 2]), np.array([2, 1, 0])], 3).tolist() == [[2, 21], [6, 8]]


@pytest.mark.parametrize("name", ["quad_2d", "ragged", "hard_zeros", "forest"])
def test_figures_are_those_of_enumeration(name):
    case = CASES[name]
    x, names, p = draw(case.tree, 3000).flatten(1).numpy(), leaf_names(case), leaf_joint(case)
    q = quality(x.reshape(-1, *case.tree.leaf_shape), case.tree, reference=2000)
    log_p = np.log(p[tuple(x.T)])
    entropy = -float((p[p > 0] * np.log(p[p > 0])).sum())
    own = q["log likelihood"]
    assert own.estimate == pytest.approx(log_p.mean())
    assert (own.low, own.high) == pytest.approx(stats.t.interval(0.95, 2999, log_p.mean(), stats.sem(log_p)))
    assert abs(own.expected + entropy) < 4 * own.error
    states = max(case.card(leaf) for leaf in names)
    exact = np.zeros((len(names), states))
    for i, leaf in enumerate(names):
        exact[i, : case.card(leaf)] = case.joint.marginal(leaf)
    seen = np.stack([np.bincount(column, minlength=states) for column in x.T]) / len(x)
    assert q["leaves"].estimate == pytest.approx(
        np.abs(seen - exact).sum(1).mean() / 2, abs=2e-3
    )  # rare ones are merged
    assert q["symbols"].estimate == pytest.approx(np.abs(seen.mean(0) - exact.mean(0)).sum() / 2)


def test_the_posterior_of_the_root_is_that_of_enumeration():
    case = CASES["binary_untied"]
    names, x = leaf_names(case), draw(case.tree, 200)
    root = case.tree.names[0]
    table = case.joint.marginal(root, *names)
    given = table / table.sum(0)
    mean = np.mean([given[(slice(None), *row)] for row in x.tolist()], axis=0)
    q = quality(x, case.tree)
    assert q["root"].estimate == pytest.approx(np.abs(mean - table.sum((1, 2, 3, 4))).sum() / 2)


def test_total_variation_and_kl_of_one_table():
    p = np.array([[0.5, 0.3, 0.2, 0.0]])
    seen = np.repeat([0, 1, 2], [60, 20, 20])[:, None]
    exact = np.repeat([0, 1, 2], [500, 300, 200])[:, None]
    measure = of_tables("leaves", p, seen, exact)
    assert measure.estimate == pytest.approx(0.1)
    kl = 0.6 * np.log(1.2) + 0.2 * np.log(2 / 3)
    assert measure.kl == pytest.approx(kl - 2 / 200 - (2 + 10 / 3 + 5 - 1) / 12 / 100**2)
    gaps = [stats.binom(100, share).expect(lambda k, share=share: abs(k / 100 - share)) for share in p[0, :3]]
    assert measure.expected == pytest.approx(sum(gaps) / 2)
    assert measure.p == pytest.approx(stats.chisquare([60, 20, 20], [50, 30, 20]).pvalue, rel=0.1)
    odd = of_tables("leaves", p, seen[:37], exact)  # N p is no whole number
    gaps = [stats.binom(37, share).expect(lambda k, share=share: abs(k / 37 - share)) for share in p[0, :3]]
    assert odd.expected == pytest.approx(sum(gaps) / 2)
    impossible = of_tables("leaves", p, np.append(seen, 3)[:, None], exact)
    assert impossible.p == 0 and impossible.kl == np.inf


@pytest.mark.parametrize("samples", [20, 100, 10_000])
def test_rare_states_are_merged_until_five_samples_are_expected(samples):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(40, 0.3), size=5)
    p[:, 7] = 0
    p /= p.sum(1, keepdims=True)
    to, cells = merged(p, rng.random(p.shape), samples)
    for t in range(5):
        assert np.bincount(to[t], p[t], cells.shape[1]) == pytest.approx(cells[t])
        assert to[t, 7] == cells.shape[1] - 1 and cells[t, -1] == 0
        assert samples * cells[t][cells[t] > 0].min() >= 5 - 1e-9
        common = np.flatnonzero(p[t] * samples >= 5)
        assert len(set(to[t, common])) == len(common)


# ---------------------------------------------------------------------- every tree, every form of samples


@pytest.mark.parametrize("name", CASES)
def test_every_tree_has_a_quality(name):
    tree = CASES[name].tree
    q = quality(hgm.infer(tree).sample(60, generator=torch.Generator().manual_seed(1)), tree, reference=200)
    assert {"log likelihood", "possible", "symbols", "leaves"} <= {m.name for m in q.measures}
    assert all(m.p is None or m.p > 1e-4 for m in q.measures)
    assert json.loads(json.dumps(q.rows(), allow_nan=False))[0]["name"] == "log likelihood"
    assert len(str(q).splitlines()) == 4 + len(q.measures)


def test_what_a_tree_does_not_have_is_left_out():
    q = quality(draw(CASES["single"].tree, 50), CASES["single"].tree)
    assert [m.name for m in q.measures] == ["log likelihood", "possible", "symbols", "leaves"]
    with pytest.raises(hgm.BadSpec, match="must be 'log likelihood', 'possible', 'symbols' or 'leaves'; got 'pairs'"):
        q["pairs"]


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        lambda x: x.to(torch.uint8),
        lambda x: x.float().requires_grad_(),
        lambda x: x.half() + 0.25,
        lambda x: x.double().numpy() - 0.25,
    ],
    ids=["array", "lists", "uint8", "gradients", "half", "float64"],
)
def test_the_form_of_samples_does_not_matter(form):
    x = draw(TREE, 40)
    assert quality(form(x), TREE, reference=100).measures == quality(x, TREE, reference=100).measures


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    x = draw(TREE, 40)
    state = torch.get_rng_state()
    one, same, other = (quality(x, TREE, reference=100, seed=seed) for seed in (1, 1, 2))
    assert one == same and one != other
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_drawn_with_the_same_seed_are_not_those_they_are_compared_with():
    measure = quality(draw(TREE, 500, seed=0), TREE, reference=500, seed=0)["log likelihood"]
    assert measure.estimate != measure.expected


def test_what_is_ambient_does_not_matter():
    x = draw(TREE, 40)
    want = quality(x, TREE, reference=100)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.inference_mode():
            assert quality(x, TREE, reference=100) == want
    finally:
        torch.set_default_dtype(torch.float32)


def test_samples_by_name_are_those_of_the_same_tree():
    samples = hgm.infer(TREE).sample(40, generator=torch.Generator().manual_seed(0))
    again = hgm.Tree.from_factors(
        [(TREE.scope_names(f), TREE.potential_of(f)) for f in reversed(range(TREE.factors))], roots=[TREE.names[0]]
    )
    order = [again.names.index(TREE.names[int(v)]) for v in TREE.leaves]
    assert torch.equal(as_symbols(samples, again).symbols[:, np.searchsorted(again.leaves, order)], samples.leaves)


def test_floats_are_the_nearest_value_among_the_states_of_their_leaf():
    tree = CASES["ragged"].tree
    card = torch.from_numpy(tree.cardinality[tree.leaves])
    values = torch.tensor([0.0, 2.0, 3.0, 7.0, 8.0])
    x = torch.tensor([[9.0, 9.0, 9.0, 9.0, 9.0], [0.4, 0.4, 0.4, 0.4, 0.4]])
    read = as_symbols(x, tree, hgm.Gaussian(values))
    assert read.symbols[0].tolist() == (card - 1).tolist() and read.symbols[1].tolist() == [0] * 5
    away = torch.stack([9 - values[card - 1], torch.full((5,), 0.4)])
    assert read.mean == pytest.approx(float(away.mean())) and read.largest == pytest.approx(float(away.max()))
    twice = as_symbols(2 * x, tree, hgm.Gaussian(2 * values))
    assert (twice.mean, twice.largest) == pytest.approx((read.mean, read.largest))


def test_vectors_are_read_by_their_distance():
    tree = CASES["quad_2d"].tree
    x = draw(tree, 30)
    values = torch.tensor([[0.0, 1.0], [3.0, 5.0]])
    z = values[x].movedim(-1, 1) + 0.3
    read = as_symbols(z, tree, hgm.Gaussian(values))
    assert torch.equal(read.symbols, x.flatten(1))
    assert read.mean == pytest.approx(0.3 * 2**0.5 / 5)
    assert "0.085 of the smallest gap away" in str(quality(z, tree, hgm.Gaussian(values), reference=100))


@pytest.mark.parametrize(
    ("samples", "options", "kind", "text"),
    [
        (torch.zeros(3, 5), {}, hgm.BadEvidence, r"floats must have shape \(N, 4\); got \(3, 5\)"),
        (torch.zeros(3, 2, 4), {"channel": hgm.Gaussian(torch.eye(3))}, hgm.BadEvidence, r"shape \(N, 3, 4\)"),
        (torch.zeros(4, dtype=torch.int64), {}, hgm.BadEvidence, r"symbols must have shape \(N, 4\); got \(4,\)"),
        (torch.zeros(1, 4), {}, hgm.BadEvidence, "at least 2 samples; got 1"),
        (torch.zeros(0, 4), {}, hgm.BadEvidence, "at least 2 samples; got 0"),
        ([[0, 1, 2, 0], [0, 3, 0, 0]], {}, hgm.BadEvidence, r"'x1' has no state 3 \(sample 1\); its states are 0 to 2"),
        ([[0, 1, 2, 0], [0, 0, 0, -1]], {}, hgm.BadEvidence, r"'x3' has no state -1 \(sample 1\)"),
        ([[0.0] * 4, [0.0, np.nan, 0.0, 0.0]], {}, hgm.BadEvidence, r"sample 1 holds a NaN or an infinity \(1 of 2"),
        (torch.ones(3, 4, dtype=torch.bool), {}, hgm.BadEvidence, "got booleans"),
        ({"x0": [1, 2]}, {}, hgm.BadEvidence, "samples must be an array of numbers; got a dict"),
        (
            torch.zeros(3, 4),
            {"channel": hgm.Gaussian([0.0, 1.0, 1.0])},
            hgm.BadEvidence,
            "states 1 and 2 have the same",
        ),
        (torch.zeros(3, 4), {"channel": hgm.Gaussian([0.0, 1.0])}, hgm.BadEvidence, "2 states, but the leaves have 3"),
        (torch.zeros(3, 4), {"channel": 3}, hgm.BadEvidence, "Channel"),
        (torch.zeros(3, 4), {"reference": 10}, hgm.BadSpec, "reference must be a whole number of at least 100; got 10"),
        (torch.zeros(3, 4), {"seed": -1}, hgm.BadSpec, "seed must be a whole number of at least 0"),
    ],
)
def test_bad_input_is_one_clear_error(samples, options, kind, text):
    with pytest.raises(kind, match=text):
        quality(samples, TREE, **options)


def test_samples_of_a_batch_of_evidence_are_refused():
    posterior = hgm.infer(TREE, {"x0": [0, 1, 2]})
    with pytest.raises(hgm.BadEvidence, match=r"shape \(N, 4\)"):
        quality(posterior.sample(5), TREE)


def test_without_a_tree_there_is_no_quality():
    with pytest.raises(hgm.BadSpec, match="tree must be a Tree"):
        quality(torch.zeros(3, 4), "tree")


def test_samples_given_evidence_are_held_against_the_posterior():
    tree = hgm.random_ghm(2, 3, 2, bound=8, seed=3)
    given = {"label": 1, tree.names[int(tree.leaves[0])]: 2}
    drawn = hgm.infer(tree, given).sample(400, generator=torch.Generator().manual_seed(0)).leaves
    told = hgm.diffusion.quality(drawn, tree, evidence=given)
    assert min(p for measure in told.measures if (p := measure.p) is not None) > 1e-3
    assert hgm.diffusion.quality(drawn, tree)["leaves"].p < 1e-9
    with pytest.raises(hgm.BadEvidence, match="a model is told one thing, and not 2 rows"):
        hgm.diffusion.quality(drawn, tree, evidence={"label": [0, 1]})
