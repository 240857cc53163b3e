"""EM: against enumeration, Baum-Welch and pgmpy, none of which share code with it; what it promises; its errors."""

import contextlib
import itertools
import json

import numpy as np
import pytest
import torch
from oracles.trees import CASES, Case, build, conditional, dense

import hgm
from hgm.files.checkpoint import read_checkpoint
from hgm.learn.em import fit

DIRECTED = [
    "binary_tied", "binary_untied", "quad_2d", "ragged", "joint_table", "rhm", "hard_zeros", "forest", "star", "chain",
    "single", "single_without_factor", "polytree", "prior", "wide_range", "wide_factor",
]  # fmt: skip


# ---------------------------------------------------------------------- the oracle


class Enumerated:
    """EM on the joint distribution of a directed model, state by state. Tables that are one object are tied."""

    def __init__(self, case: Case):
        self.case = case
        self.tables = {id(table): np.array(table) for _, table in case.factors}
        unary = [scope[0] for scope, _ in case.factors if len(scope) == 1]
        roots = {case.tree.names[int(v)] for v in case.tree.roots}
        self.top_down = set(unary) <= roots
        self.depth = {case.tree.names[v]: int(case.tree.level[v]) for v in range(len(case.tree))}
        for key, scope in dict(self._scopes()).items():
            self.tables[key] = self._normalised(self.tables[key], scope)

    def _scopes(self):
        return [(id(table), scope) for scope, table in self.case.factors]

    def _produced(self, scope):
        """Axes that are normalised: the children of a top-down factor, the last variable of a conditional table."""
        if len(scope) == 1:
            return (0,)
        if not self.top_down:
            return (len(scope) - 1,)
        top = min(range(len(scope)), key=lambda axis: self.depth[scope[axis]])
        return tuple(axis for axis in range(len(scope)) if axis != top)

    def _normalised(self, table, scope):
        sums = table.sum(axis=self._produced(scope), keepdims=True)
        return np.where(sums > 0, table / np.where(sums > 0, sums, 1.0), 0.0)

    def joint(self):
        """p(x) as an array, normalised (roots without a prior are uniform)."""
        names = self.case.names
        p = np.ones(self.case.cards)
        for key, scope in self._scopes():
            where = [names.index(name) for name in scope]
            table = self.tables[key].transpose(np.argsort(where))
            p = p * table.reshape([c if i in where else 1 for i, c in enumerate(self.case.cards)])
        return p / p.sum()

    def step(self, rows, smoothing):
        """One iteration. Returns the objective before it."""
        names, p = self.case.names, self.joint()
        counts = {key: np.zeros_like(table) for key, table in self.tables.items()}
        total = sum(smoothing * np.log(t[t > 0]).sum() for t in self.tables.values())
        for row in rows:
            seen = np.ones(self.case.cards)
            for axis, name in enumerate(names):
                if row.get(name) is not None:
                    shape = [1] * len(names)
                    shape[axis] = -1
                    seen = seen * np.asarray(row[name], dtype=float).reshape(shape)
            q = p * seen
            total += np.log(q.sum())
            q = q / q.sum()
            for key, scope in self._scopes():
                where = [names.index(name) for name in scope]
                marginal = q.sum(axis=tuple(i for i in range(len(names)) if i not in where))
                counts[key] += marginal.transpose(np.argsort(np.argsort(where)))
        scopes = dict(self._scopes())
        for key, table in self.tables.items():
            added = counts[key] + smoothing * (table > 0)
            sums = added.sum(axis=self._produced(scopes[key]), keepdims=True)
            self.tables[key] = np.where(sums > 0, self._normalised(added, scopes[key]), table)
        return total


def observe(case: Case, rows: int, seed: int, missing: float = 0.4) -> dict[str, list]:
    """Rows drawn from the model (as it stands), with holes, at all variables."""
    rng = np.random.default_rng(seed)
    p = case.joint.probability.ravel()
    states = np.stack(np.unravel_index(rng.choice(len(p), size=rows, p=p), case.cards), axis=1)
    holes = rng.random(states.shape) < missing
    return {
        name: [None if holes[i, j] else int(states[i, j]) for i in range(rows)] for j, name in enumerate(case.names)
    }


def likelihoods(case: Case, data: dict[str, list]) -> list[dict]:
    rows = len(next(iter(data.values())))
    return [
        {name: None if data[name][i] is None else np.eye(case.card(name))[data[name][i]] for name in data}
        for i in range(rows)
    ]


def learned(case: Case, tree: hgm.Tree) -> dict[int, np.ndarray]:
    """The tables of a tree, by the object that the case has for each factor."""
    by_scope = {}
    for f in range(tree.factors):
        names = [tree.names[int(v)] for v in tree.scope_of(f)]
        by_scope[tuple(names)] = np.exp(tree.potential_of(f).dense_log())
    return {id(table): by_scope[tuple(scope)] for scope, table in case.factors}


def same(a: dict[int, np.ndarray], b: dict[int, np.ndarray], tolerance: float) -> bool:
    return a.keys() == b.keys() and all(np.abs(a[k] - b[k]).max() <= tolerance for k in a)


# ---------------------------------------------------------------------- against the oracles


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", DIRECTED)
def test_three_iterations_equal_those_by_enumeration(name, smoothing):
    case = CASES[name]
    data = observe(case, 12, seed=DIRECTED.index(name))
    oracle = Enumerated(case)
    objectives = [oracle.step(likelihoods(case, data), smoothing) for _ in range(3)]
    result = fit(case.tree, data, smoothing=smoothing, iterations=3, tolerance=0)
    if result.iterations == 3:
        assert same(learned(case, result.tree), oracle.tables, 1e-10)
    np.testing.assert_allclose(result.history[:3], objectives[: len(result.history)][:3], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("forget", ["one iteration", "the smoothing", "the tying", "a row"])
def test_enumeration_rejects_what_is_not_em(forget):
    case = CASES["chain"]
    data = observe(case, 12, seed=3)
    rows = likelihoods(case, data)
    other = case
    if forget == "the tying":
        other = build([dense(scope, np.array(table)) for scope, table in case.factors])
    oracle = Enumerated(other)
    for _ in range(2 if forget == "one iteration" else 3):
        oracle.step(rows[1:] if forget == "a row" else rows, 0.0 if forget == "the smoothing" else 0.3)
    result = fit(case.tree, data, smoothing=0.3, iterations=3, tolerance=0)
    mine = learned(case, result.tree)
    theirs = dict(
        zip([id(table) for _, table in case.factors], [oracle.tables[k] for k, _ in oracle._scopes()], strict=True)
    )
    assert not same(mine, theirs, 1e-4)


def test_soft_evidence_counts_as_by_enumeration():
    case = CASES["binary_tied"]
    rng = np.random.default_rng(0)
    data = {name: rng.random((6, case.card(name))) for name in case.names[1:]}
    data["label"] = rng.integers(-1, 2, size=6)
    rows = [
        {name: data[name][i] for name in case.names[1:]}
        | {"label": None if data["label"][i] < 0 else np.eye(2)[data["label"][i]]}
        for i in range(6)
    ]
    oracle = Enumerated(case)
    for _ in range(3):
        oracle.step(rows, 0.1)
    result = fit(case.tree, data, smoothing=0.1, iterations=3, tolerance=0)
    assert same(learned(case, result.tree), oracle.tables, 1e-10)


def baum_welch(start, step, emit, words):
    """One iteration for a hidden Markov model, by the forward and backward recursions with scaling."""
    new = [np.zeros_like(start), np.zeros_like(step), np.zeros_like(emit)]
    total = 0.0
    for word in words:
        length, states = len(word), len(start)
        seen = np.stack([emit[:, x] if x >= 0 else np.ones(states) for x in word])
        forward, scale = np.zeros((length, states)), np.zeros(length)
        for t in range(length):
            forward[t] = seen[t] * (start if t == 0 else forward[t - 1] @ step)
            scale[t] = forward[t].sum()
            forward[t] /= scale[t]
        backward = np.ones((length, states))
        for t in reversed(range(length - 1)):
            backward[t] = step @ (seen[t + 1] * backward[t + 1]) / scale[t + 1]
        gamma = forward * backward
        total += np.log(scale).sum()
        new[0] += gamma[0]
        for t in range(length - 1):
            new[1] += forward[t][:, None] * step * (seen[t + 1] * backward[t + 1])[None] / scale[t + 1]
        for t in range(length):
            if word[t] >= 0:
                new[2][:, word[t]] += gamma[t]
            else:
                new[2] += gamma[t][:, None] * emit
    return [x / x.sum(-1, keepdims=True) for x in new], total


def test_a_tied_hidden_markov_model_equals_baum_welch():
    rng = np.random.default_rng(4)
    length, states, symbols = 30, 3, 4
    tables = [conditional(rng, states), conditional(rng, states, states), conditional(rng, states, symbols)]
    start, step, emit = (hgm.Table(tables[0]), hgm.Edge(tables[1]), hgm.Edge(tables[2]))
    factors = [(["z0"], start)] + [([f"z{t}", f"z{t + 1}"], step) for t in range(length - 1)]
    factors += [([f"z{t}", f"x{t}"], emit) for t in range(length)]
    tree = hgm.Tree.from_factors(factors)
    words = rng.integers(-1, symbols, size=(20, length))
    result = fit(tree, {f"x{t}": words[:, t] for t in range(length)}, iterations=15, tolerance=0)
    totals = []
    for _ in range(15):
        tables, total = baum_welch(*tables, words)
        totals.append(total)
    np.testing.assert_allclose(result.log_likelihood[:-1], totals, rtol=1e-11)
    assert len(result.tree.potentials) == 3
    for potential, table in zip(result.tree.potentials, tables, strict=True):
        np.testing.assert_allclose(potential.values, table, atol=1e-9)


def polytree():
    """p -> c <- q, c -> d, c -> e, in the order of pgmpy's axes."""
    rng = np.random.default_rng(8)
    factors = [
        (("p",), conditional(rng, 2)),
        (("q",), conditional(rng, 3)),
        (("p", "q", "c"), conditional(rng, 2, 3, 2)),
    ]
    factors += [(("c", "d"), conditional(rng, 2, 3)), (("c", "e"), conditional(rng, 2, 2))]
    return hgm.Tree.from_factors(factors)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [(), ("c",)], ids=["complete", "hidden"])
def test_a_polytree_equals_pgmpy(hidden):
    import pandas as pd
    from pgmpy.models import DiscreteBayesianNetwork
    from pgmpy.parameter_estimator import DiscreteEM

    tree = polytree()
    sample = hgm.infer(tree).sample(200, generator=torch.Generator().manual_seed(0))
    data = {name: sample[name].tolist() for name in tree.names if name not in hidden}
    start = fit(tree, data, iterations=0, seed=5).tree
    model = hgm.to_pgmpy(start, "bayesian")
    init = {cpd.variable: cpd for cpd in model.cpds}
    model = DiscreteBayesianNetwork(model.edges, latents=set(hidden))
    em = DiscreteEM(latent_card=dict.fromkeys(hidden, 2), max_iter=4, atol=0, init_cpds=init, show_progress=False)
    theirs = {cpd.variables[0]: cpd for cpd in em.fit(model, pd.DataFrame(data)).parameters_}
    ours = hgm.to_pgmpy(fit(start, data, iterations=4 if hidden else 1, tolerance=0).tree, "bayesian")
    for cpd in ours.cpds:
        other = theirs[cpd.variables[0]]
        order = [other.variables.index(name) for name in cpd.variables]
        np.testing.assert_allclose(cpd.values, other.values.transpose(order), atol=1e-7)


# ---------------------------------------------------------------------- what it promises


@pytest.mark.long
@pytest.mark.parametrize("smoothing", [0.0, 0.05, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_objective_never_falls(seed, smoothing):
    rng = np.random.default_rng(seed)
    tree = hgm.ghm([hgm.Level(2, 4, tie="none"), hgm.Level(3, 3), hgm.Level(2, 5)], 3, seed=seed)
    data = rng.integers(-1, 5, size=(40, 12))
    result = fit(tree, data, {"label": rng.integers(-1, 3, size=40)}, smoothing=smoothing, iterations=60, tolerance=0)
    steps = np.diff(result.history)
    assert result.iterations > 20 and steps[0] > 1
    assert steps.min() > -1e-11 * abs(result.history[0])
    if smoothing == 0:
        assert result.history == result.log_likelihood


@pytest.mark.long
def test_entries_that_vanish_stay_harmless():
    # without smoothing entries fall to 1e-300 and to 0, and the network must follow with kernels that are safe
    rng = np.random.default_rng(0)
    tree = hgm.ghm([hgm.Level(4, 6, tie="none"), hgm.Level(4, 6, tie="none")], 4, seed=0)
    data = rng.integers(0, 2, size=(30, 16)) * rng.integers(1, 4, size=(30, 1))
    result = fit(tree, data, iterations=400, tolerance=0)
    smallest = min(p.values.min() for p in result.tree.potentials)
    assert smallest < 1e-100
    assert np.diff(result.history).min() > -1e-10 * abs(result.history[0])
    again = hgm.infer(result.tree, {f"x{i}": data[:, i] for i in range(16)}).log_partition.sum()
    assert result.log_likelihood[-1] == pytest.approx(float(again), rel=1e-12)


def test_complete_data_give_counts_in_one_iteration():
    case = CASES["polytree"]
    data = observe(case, 300, seed=1, missing=0.0)
    result = fit(case.tree, data, smoothing=0.5)
    assert result.converged and result.iterations == 2
    for f in range(result.tree.factors):
        names = [result.tree.names[int(v)] for v in result.tree.scope_of(f)]
        counts = np.full([case.card(name) for name in names], 0.5)
        np.add.at(counts, tuple(np.array(data[name]) for name in names), 1.0)
        # of these factors each produces its last variable
        np.testing.assert_allclose(
            result.tree.potential_of(f).values, counts / counts.sum(-1, keepdims=True), atol=1e-12
        )


def test_known_parameters_are_recovered_from_samples():
    rng = np.random.default_rng(5)
    truth = hgm.Tree.from_factors(
        [(["class"], np.array([0.3, 0.7]))]
        + [
            (["class", f"x{i}"], np.array([[0.8, 0.15, 0.05], [0.1, 0.2, 0.7]])[:, rng.permutation(3)])
            for i in range(6)
        ]
    )
    sample = hgm.infer(truth).sample(20_000, generator=torch.Generator().manual_seed(0))
    data = {f"x{i}": sample[f"x{i}"] for i in range(6)}  # the class is hidden
    best = max((fit(truth, data, seed=seed, iterations=200) for seed in range(3)), key=lambda r: r.history[-1])
    tables = [p.values for p in best.tree.potentials]
    if tables[0][0] > tables[0][1]:  # the classes are known only up to their order
        tables = [tables[0][::-1]] + [t[::-1] for t in tables[1:]]
    for table, potential in zip(tables, truth.potentials, strict=True):
        np.testing.assert_allclose(table, potential.values, atol=0.02)
    assert best.log_likelihood[-1] > float(hgm.infer(truth, data).log_partition.sum()) - 1


def test_zeros_stay_and_ties_stay():
    case = CASES["hard_zeros"]
    result = fit(case.tree, observe(case, 50, seed=2), smoothing=1.0, iterations=5, seed=1)
    assert np.array_equal(result.tree.potential_id, case.tree.potential_id)
    for old, new in zip(case.tree.potentials, result.tree.potentials, strict=True):
        assert np.array_equal(old.values == 0, new.values == 0)
        assert new.values.sum(-1) == pytest.approx(1.0)


def test_rules_keep_their_kind():
    case = CASES["rhm"]
    result = fit(case.tree, observe(case, 30, seed=2), iterations=3)
    assert [type(p) for p in result.tree.potentials] == [type(p) for p in case.tree.potentials]
    for old, new in zip(case.tree.potentials[1:], result.tree.potentials[1:], strict=True):
        assert np.array_equal(old.states, new.states)
        sums = np.bincount(new.states[:, 0], weights=new.values)
        np.testing.assert_allclose(sums, 1.0)


def test_the_start_is_the_trees_own_or_drawn():
    case = CASES["binary_untied"]
    data = observe(case, 10, seed=0)
    own, own_again = (fit(case.tree, data, iterations=0) for _ in range(2))
    one, one_again, two = (fit(case.tree, data, iterations=0, seed=seed) for seed in (1, 1, 2))
    assert own.tree == own_again.tree and one.tree == one_again.tree
    assert own.tree != one.tree and one.tree != two.tree
    assert own.iterations == 0 and len(own.history) == 1
    oracle = Enumerated(case)
    assert same(learned(case, own.tree), oracle.tables, 1e-14)
    taken_up = fit(own.tree, data, iterations=0)
    assert taken_up.tree == own.tree  # bit for bit


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_batches_change_nothing(size):
    case = CASES["ragged"]
    data = observe(case, 10, seed=6)
    whole = fit(case.tree, data, iterations=4, tolerance=0, smoothing=0.1)
    parts = fit(case.tree, data, iterations=4, tolerance=0, smoothing=0.1, batch_size=size)
    np.testing.assert_allclose(parts.history, whole.history, rtol=1e-13)
    assert same(learned(case, parts.tree), learned(case, whole.tree), 1e-12)


def test_every_form_of_data_gives_the_same():
    tree = hgm.ghm([hgm.Level((2, 2), 3), hgm.Level((1, 2), 4)], ["cat", "dog"], seed=1)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(-1, 4, size=(9, 2, 4)), rng.integers(0, 2, size=9)
    words = np.array(["cat", "dog"])[labels].tolist()
    names = np.array([[f"x{r}_{c}" for c in range(4)] for r in range(2)])
    hard = {name: images[:, r, c] for (r, c), name in np.ndenumerate(names)}
    one_hot = np.where(images[:, None] < 0, 1.0, np.arange(4)[:, None, None] == images[:, None])
    with np.errstate(divide="ignore"):
        logs = torch.tensor(np.log(one_hot))
    forms = [
        (images, {"label": labels}),
        (torch.tensor(images, dtype=torch.int16), {"label": words}),
        (hard | {"label": words}, None),
        (np.ma.masked_less(images, 0), {"label": words}),
        ({name: one_hot[:, :, r, c] for (r, c), name in np.ndenumerate(names)}, {"label": labels}),
        (logs, {"label": np.eye(2)[labels]}),
        (hgm.log_evidence(tree, hard | {"label": words}), None),
        (logs.float() - 3.0, {"label": np.eye(2)[labels] * 0.5}),
    ]
    results = [fit(tree, data, more, iterations=3, tolerance=0) for data, more in forms]
    for result in results[:-1]:
        assert result.tree == results[0].tree
        assert result.history == results[0].history
    for potential, expected in zip(results[-1].tree.potentials, results[0].tree.potentials, strict=True):
        np.testing.assert_allclose(potential.values, expected.values, atol=1e-12)


def test_columns_of_a_data_frame():
    import pandas as pd

    tree = hgm.Tree.from_edges([("a", "b", np.ones((2, 3)))], {"a": [0.5, 0.5]}, {"a": ["x", "y"], "b": 3})
    frame = pd.DataFrame({"a": ["x", "y", None, "x"], "b": [0, 1, 2, None]})
    plain = {"a": ["x", "y", None, "x"], "b": [0, 1, 2, None]}
    for data in (frame, dict(frame), frame.convert_dtypes(), frame.astype({"a": "category"}), frame[::-1][::-1]):
        assert fit(tree, data, iterations=3).history == fit(tree, plain, iterations=3).history


def test_float32_comes_close():
    tree = hgm.ghm([hgm.Level((2, 2), 5), hgm.Level((2, 2), 4)], 3, seed=1)
    data = np.random.default_rng(0).integers(0, 4, size=(50, 4, 4))
    exact = fit(tree, data, iterations=5, tolerance=0, smoothing=0.1)
    quick = fit(tree, data, iterations=5, tolerance=0, smoothing=0.1, dtype=torch.float32)
    np.testing.assert_allclose(quick.history, exact.history, rtol=1e-5)
    for a, b in zip(quick.tree.potentials, exact.tree.potentials, strict=True):
        np.testing.assert_allclose(a.values, b.values, atol=1e-3)


@pytest.fixture
def default_dtype():
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "ambient",
    [
        torch.inference_mode,
        torch.no_grad,
        lambda: torch.autocast("cpu", torch.bfloat16),
        torch.float64,
        torch.bfloat16,
    ],
    ids=["inference_mode", "no_grad", "autocast", "float64", "bfloat16"],
)
@pytest.mark.parametrize("name", ["binary_tied", "hard_zeros", "rhm", "polytree"])
def test_the_callers_modes_change_nothing(name, ambient, default_dtype):
    case = CASES[name]
    states = observe(case, 12, seed=5)
    oracle = Enumerated(case)
    objectives = [oracle.step(likelihoods(case, states), 0.3) for _ in range(3)]
    if isinstance(ambient, torch.dtype):
        default_dtype(ambient)
        ambient = contextlib.nullcontext
    with ambient():
        data = {k: torch.tensor([-1 if x is None else x for x in column]) for k, column in states.items()}
        result = fit(case.tree, data, smoothing=0.3, iterations=3, tolerance=0)
        left = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        assert left == (ambient is torch.inference_mode, ambient not in (torch.inference_mode, torch.no_grad))
    np.testing.assert_allclose(result.history[:3], objectives, rtol=1e-10)
    assert same(learned(case, result.tree), oracle.tables, 1e-10)


def test_likelihoods_made_in_inference_mode_are_learned_from(default_dtype):
    tree = hgm.ghm([hgm.Level(2, 3, tie="none")], 2, seed=0)
    for dtype in (torch.float32, torch.float64):
        default_dtype(dtype)
        with torch.inference_mode():
            logs = torch.randn(20, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
            inside = fit(tree, logs, iterations=4)
        assert inside.history == fit(tree, logs.clone(), iterations=4).history and inside.iterations == 4


def test_autocast_takes_no_digits():
    tree = hgm.ghm([hgm.Level(2, 4), hgm.Level(2, 4)], 4, seed=0)
    data = np.random.default_rng(1).integers(0, 4, size=(30, 4))
    settings = {"dtype": torch.float32, "iterations": 5, "tolerance": 0}
    with torch.autocast("cpu", torch.bfloat16):
        inside = fit(tree, data, **settings)
    assert inside.history == fit(tree, data, **settings).history


def test_it_stops_when_little_is_gained():
    tree = hgm.ghm([hgm.Level(2, 3), hgm.Level(2, 3)], 2, seed=1)
    data = np.random.default_rng(0).integers(0, 3, size=(50, 4))
    result = fit(tree, data, tolerance=1e-2, iterations=1000)
    gains = np.diff(result.history) / 50
    assert result.converged and (gains[:-1] > 1e-2).all() and gains[-1] <= 1e-2
    assert not fit(tree, data, tolerance=1e-9, iterations=3).converged
    assert "converged after" in repr(result) and "50" in repr(result)


def test_a_root_without_a_prior_stays_uniform():
    tree = hgm.Tree.from_edges([("a", "b", np.array([[0.5, 0.5], [0.2, 0.8]]))])
    result = fit(tree, {"b": [0, 1, 1, 1, None]}, tolerance=1e-9, iterations=1000)
    assert hgm.infer(result.tree)["a"].tolist() == pytest.approx([0.5, 0.5], abs=1e-15)
    assert result.log_likelihood[-1] == pytest.approx(np.log(0.25) + 3 * np.log(0.75), abs=1e-6)


def test_nothing_is_printed_unless_asked_or_on_a_terminal(capsys):
    tree = hgm.ghm([hgm.Level(2, 3)], 2)
    fit(tree, [[0, 1], [2, 2]], iterations=2)
    assert capsys.readouterr() == ("", "")
    fit(tree, [[0, 1], [2, 2]], iterations=2, progress=True)
    assert "log likelihood" in capsys.readouterr().err


# ---------------------------------------------------------------------- interruption


@pytest.fixture
def problem():
    tree = hgm.ghm([hgm.Level(2, 3, tie="none"), hgm.Level(2, 4, tie="none")], 3, seed=1)
    data = np.random.default_rng(0).integers(-1, 4, size=(40, 4))
    return tree, data, {"smoothing": 0.1, "tolerance": 0.0}


@pytest.mark.parametrize("stop", [0, 1, 5, 12])
def test_resumed_equals_uninterrupted(problem, tmp_path, stop):
    tree, data, settings = problem
    whole = fit(tree, data, iterations=12, **settings)
    path = tmp_path / "em.json"
    fit(tree, data, iterations=stop, checkpoint=path, **settings)
    resumed = fit(tree, data, iterations=12, checkpoint=path, **settings)
    assert resumed.tree == whole.tree and resumed.history == whole.history
    assert resumed.log_likelihood == whole.log_likelihood


def test_a_finished_fit_is_not_done_again(problem, tmp_path):
    tree, data, settings = problem
    path = tmp_path / "em.json"
    settings["tolerance"] = 1e-2
    done = fit(tree, data, checkpoint=path, **settings)
    before = path.read_bytes()
    again = fit(tree, data, checkpoint=path, **settings)
    assert done.converged and again.converged and again.history == done.history and again.tree == done.tree
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("fewer", "end"), [({"iterations": 4}, 4), ({"iterations": 0}, 0), ({"tolerance": 0.05}, None)]
)
def test_a_checkpoint_that_is_further_than_asked_for_is_refused(problem, tmp_path, fewer, end):
    tree, data, settings = problem
    path = tmp_path / "em.json"
    fit(tree, data, iterations=9, checkpoint=path, **settings)
    before = path.read_bytes()
    asked = settings | {"iterations": 9} | fewer
    end = fit(tree, data, **asked).iterations if end is None else end
    assert end < 9
    with pytest.raises(hgm.BadSpec, match=rf"em\.json is 9 iterations from the start, .* ends after {end};.*anew"):
        fit(tree, data, checkpoint=path, **asked)
    assert path.read_bytes() == before


def test_a_kill_in_between_loses_at_most_a_few_iterations(problem, tmp_path, monkeypatch):
    tree, data, settings = problem
    path = tmp_path / "em.json"
    from hgm.learn import em

    step = em._Model.maximise
    calls = itertools.count()

    def interrupted(self, counts, theta):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return step(self, counts, theta)

    monkeypatch.setattr(em._Model, "maximise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tree, data, iterations=12, checkpoint=path, every=3, **settings)
    monkeypatch.undo()
    assert len(json.loads(path.read_text())["history"]) == 6
    assert list(tmp_path.iterdir()) == [path]  # no draft is left
    whole = fit(tree, data, iterations=12, **settings)
    assert fit(tree, data, iterations=12, checkpoint=path, **settings).history == whole.history


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("data", "the data"),
        ("smoothing", "the smoothing"),
        ("seed", "the start"),
        ("dtype", "the dtype"),
        ("tree", "the model"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(problem, tmp_path, change, word):
    tree, data, settings = problem
    path = tmp_path / "em.json"
    fit(tree, data, iterations=2, checkpoint=path, **settings)
    before = path.read_bytes()
    match change:
        case "data":
            data = data.copy()
            data[0, 0] = (data[0, 0] + 1) % 4
        case "smoothing":
            settings["smoothing"] = 0.2
        case "seed":
            settings["seed"] = 7
        case "dtype":
            settings["dtype"] = torch.float32
        case "tree":
            tree = hgm.ghm([hgm.Level(2, 3, tie="none"), hgm.Level(2, 4)], 3, seed=1)
    with pytest.raises(hgm.BadSpec, match=f"em.json belongs to another fit: it differs in .*{word}.*remove this one"):
        fit(tree, data, iterations=4, checkpoint=path, **settings)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: '{"hgm": 1}',
        lambda text: text.replace('"hgm_fit": 2', '"hgm_fit": 99'),
        lambda text: text.replace('"entries": [', '"entries": [0.5, '),
        lambda text: text.replace('"entries": [', '"entries": ["x", '),
        lambda text: text.replace('"history": [', '"history": [NaN, '),
        lambda text: "\x00\xff" + text,
    ],
    ids=["half", "empty", "list", "other file", "newer", "too many", "word", "nan", "binary"],
)
def test_a_damaged_checkpoint_is_refused(problem, tmp_path, damage):
    tree, data, settings = problem
    path = tmp_path / "em.json"
    fit(tree, data, iterations=2, checkpoint=path, **settings)
    path.write_text(damage(path.read_text()), encoding="latin-1")
    with pytest.raises(hgm.BadSpec, match=r"em\.json.*remove this one to start anew"):
        fit(tree, data, iterations=4, checkpoint=path, **settings)


def test_a_checkpoint_with_any_digit_changed_is_refused(problem, tmp_path):
    tree, data, settings = problem
    path = tmp_path / "em.json"
    whole = fit(tree, data, iterations=4, checkpoint=path, **settings)
    identity = json.loads(path.read_text())["identity"]
    text, size = path.read_text(), sum(p.size for p in tree.potentials)
    written = read_checkpoint(path, identity, size)
    refused = 0
    for i in [i for i, letter in enumerate(text) if letter.isdigit()]:
        path.write_text(text[:i] + str((int(text[i]) + 4) % 10) + text[i + 1 :])
        try:
            assert read_checkpoint(path, identity, size) == written  # a last digit that float64 does not hold
        except hgm.BadSpec:
            refused += 1
    assert refused > 0.9 * sum(letter.isdigit() for letter in text)
    path.write_text(text)
    assert fit(tree, data, iterations=4, checkpoint=path, **settings).history == whole.history


def test_a_checkpoint_that_cannot_be_written_or_read(problem, tmp_path):
    tree, data, settings = problem
    with pytest.raises(hgm.BadSpec, match="cannot be written"):
        fit(tree, data, iterations=1, checkpoint=tmp_path / "nowhere" / "em.json", **settings)
    with pytest.raises(hgm.BadSpec, match="cannot be read"):
        fit(tree, data, iterations=1, checkpoint=tmp_path, **settings)


def test_a_checkpoint_holds_every_number_exactly(problem, tmp_path):
    tree, data, settings = problem
    result = fit(tree, data, iterations=3, checkpoint=tmp_path / "em.json", **settings)
    identity = json.loads((tmp_path / "em.json").read_text())["identity"]
    entries = np.concatenate([p.values.ravel() for p in result.tree.potentials])
    assert read_checkpoint(tmp_path / "em.json", identity, len(entries)).entries == entries.tolist()


# ---------------------------------------------------------------------- errors

ROOT = hgm.ghm([hgm.Level(2, 3)], ["cat", "dog"], seed=0)  # x0, x1


@pytest.mark.parametrize(
    ("data", "evidence", "message"),
    [
        ([[0, 3]], None, r"'x1' has no state 3 \(batch row 0\).*0 to 2, and -1 for missing"),
        ([[0, 0], [-2, 0]], None, r"'x0' has no state -2 \(batch row 1\)"),
        ([[0, 1, 2]], None, r"must have shape \(B, 2\); got \(1, 3\)"),
        (np.zeros((0, 2), dtype=int), None, "the data have no rows"),
        ({}, None, "the data have no rows"),
        ({"x0": []}, None, "no rows|kind|got"),
        ([[True, False]], None, "an array of states or of log evidence; got torch.bool"),
        ({"y": [0, 1]}, None, "no variable 'y'"),
        ({"x0": [0, 1], "x1": [0]}, None, "variable 'x1' has 1 rows, but variable 'x0' has 2"),
        ({"label": ["cat", "cow"]}, None, "no state 'cow'.*cat, dog"),
        ([[0, 1]], {"label": ["cat", "dog"]}, "variable 'label' has 2 rows, but the array has 1"),
        ([[0, 1]], {"x0": [1]}, "'x0' is observed twice"),
        ([[0, 1]], ["cat"], "what comes after the observation is for its channel"),
        (torch.zeros(2, 4, 2), None, r"shape \(B, 3, 2\).*States are integers"),
        (torch.full((2, 3, 2), torch.nan), None, "log evidence of variable 'x0', state 0, is nan in batch row 0"),
        ("what", None, "a mapping from variables, a data frame, or an array of numbers; got 'what'"),
        ({"x0": np.full((2, 3), -1.0)}, None, "expected a finite number from 0 up"),
    ],
)
def test_bad_data(data, evidence, message):
    with pytest.raises(hgm.BadEvidence, match=message):
        fit(ROOT, data, evidence)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_impossible_rows_are_named(batch_size):
    tree = hgm.Tree.from_edges([("a", "b", np.array([[1.0, 0.0], [0.5, 0.5]]))], {"a": np.array([0.3, 0.7])})
    data = {"a": [0, 1, 0, 0, 1], "b": [0, 1, 1, None, 0]}
    data["a"] += [0]
    data["b"] += [1]
    with pytest.raises(hgm.ImpossibleEvidence, match="rows of the data") as error:
        fit(tree, data, batch_size=batch_size)
    assert set(error.value.rows) <= {2, 5} and 2 in error.value.rows


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unary_factors", r"factor \(.*\) is no conditional distribution of one variable.*multiply.*gradient"),
        ("cardinality_1", r"factor \(a, b\) .*it could produce any of a, b.*tree.reroot\('e'\)"),
        ("zero_rows", "the tables cannot be normalised"),
        ("rules_any_axis", "the tables cannot be normalised"),
    ],
)
def test_trees_that_are_not_directed(name, message):
    with pytest.raises(hgm.BadSpec, match=message):
        fit(CASES[name].tree, observe(CASES[name], 3, seed=0))


def test_a_rerooted_tree_is_still_understood_or_says_what_to_do():
    chain = CASES["chain"].tree
    data = observe(CASES["chain"], 20, seed=0)
    there = fit(chain, data, iterations=3, tolerance=0)
    back = fit(chain.reroot("x5"), data, iterations=3, tolerance=0)  # the prior is inside now
    for one, two in zip(there.tree.potentials, back.tree.potentials, strict=True):
        np.testing.assert_allclose(one.values, two.values, atol=1e-12)


def test_tied_tables_of_two_directions_are_refused():
    shared = hgm.Edge(np.array([[0.5, 0.5], [0.2, 0.8]]))
    tree = hgm.Tree.from_factors([(["a"], [0.5, 0.5]), (["a", "b"], shared), (["c", "a"], shared)])
    with pytest.raises(hgm.BadSpec, match=r"\(a, b\) and \(c, a\) share a potential.*axis.*transpose"):
        fit(tree, {"b": [0, 1]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smoothing": -1.0}, "smoothing"),
        ({"smoothing": np.nan}, "smoothing"),
        ({"iterations": -1}, "iterations"),
        ({"tolerance": -1e-3}, "tolerance"),
        ({"batch_size": 0}, "batch_size"),
        ({"every": 0}, "every"),
        ({"dtype": torch.int64}, "dtype"),
        ({"dtype": "float64"}, "dtype must be torch.float64 or torch.float32; got 'float64'"),
        ({"smoothing": "0.1"}, "smoothing is a pseudo-count, .*; got '0.1'"),
        ({"tolerance": None}, "tolerance is a gain .*; got None"),
        ({"tolerance": np.nan}, "tolerance"),
        ({"iterations": 2.5}, "iterations must be a whole number of at least 0; got 2.5"),
        ({"iterations": True}, "iterations must be a whole number of at least 0; got True"),
        ({"iterations": "3"}, "iterations must be a whole number"),
        ({"every": 1.5}, "every must be a whole number of at least 1; got 1.5"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1; got 2.5"),
        ({"seed": 0.5}, "seed must be a whole number of at least 0; got 0.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"checkpoint": 7}, "the path of a checkpoint is .* got 7"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(hgm.BadSpec, match=message):
        fit(ROOT, [[0, 1]], **settings)
