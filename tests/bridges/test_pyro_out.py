"""`to_pyro`: what pyro's own enumeration finds in the model of a tree is what enumeration finds in the tree."""

import pickle

import numpy as np
import pyro
import pytest
import torch
from oracles.trees import CASES
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate, infer_discrete

import hgm

pytestmark = pytest.mark.usefixtures("double")

PLATES = ["binary_tied", "binary_untied", "quad_2d", "star", "chain", "single", "prior", "wide_range"]


def nothing(*_):
    pass


def elbo(model, *args, plates=None):
    """log p(evidence), by pyro."""
    nesting = {} if plates is None else {"max_plate_nesting": plates}
    return -TraceEnum_ELBO(strict_enumeration_warning=False, **nesting).loss(model, nothing, *args)


def evidence_for(case, seed):
    """Possible states of about half of the variables."""
    rng = np.random.default_rng(seed)
    states = case.joint.possible(rng)
    return {name: state for name, state in states.items() if rng.random() < 0.5}


def likelihoods(case, evidence):
    return {name: np.eye(case.card(name))[state] for name, state in evidence.items()}


def labelled(case, evidence):
    """The same by labels."""
    tree = case.tree
    labels = {name: tree.labels(tree.index(name)) for name in evidence}
    return {name: state if labels[name] is None else labels[name][state] for name, state in evidence.items()}


def dimensions(model, *args):
    """How many dimensions the enumeration takes."""
    nesting = max((len(s["cond_indep_stack"]) for s in sites(poutine.trace(model).get_trace(*args))), default=0)
    trace = poutine.trace(poutine.enum(model, first_available_dim=-1 - nesting)).get_trace(*args)
    return len({s["infer"]["_enumerate_dim"] for s in sites(trace) if "_enumerate_dim" in s["infer"]})


def sites(trace):
    return [site for _, site in trace.iter_stochastic_nodes()] + [
        site for name, site in trace.nodes.items() if name in trace.observation_nodes
    ]


# ---------------------------------------------------------------------- the same distribution


@pytest.mark.parametrize("name", CASES)
def test_the_elbo_is_the_log_probability_of_the_evidence(name):
    case = CASES[name]
    model = hgm.to_pyro(case.tree)
    assert abs(elbo(model)) < 1e-12
    for seed in range(4):
        evidence = evidence_for(case, seed)
        want = case.joint.given(likelihoods(case, evidence)).log_z - case.joint.log_z
        assert abs(elbo(model, labelled(case, evidence)) - want) < 1e-10, evidence


@pytest.mark.parametrize("name", CASES)
def test_forward_samples_have_the_probability_of_the_tree(name):
    """log p of a sample by pyro's trace is that of the tree, normalised; and every site is where it says."""
    case = CASES[name]
    model = hgm.to_pyro(case.tree)
    for _ in range(5):
        trace = poutine.trace(model).get_trace()
        values = trace.nodes["_RETURN"]["value"]
        assert values.keys() == model.sites.keys()
        states = {}
        for site, names in model.sites.items():
            assert names.shape == values[site].shape
            states |= {n: int(s) for n, s in zip(names.ravel(), values[site].flatten(), strict=True)}
        assert states.keys() == set(case.names)
        assert abs(float(trace.log_prob_sum()) - (case.joint.score(states) - case.joint.log_z)) < 1e-10


@pytest.mark.parametrize(
    "name", ["binary_tied", "quad_2d", "unary_factors", "joint_table", "rhm", "forest", "polytree", "star"]
)
def test_marginals_are_those_of_enumeration(name):
    case = CASES[name]
    evidence = evidence_for(case, 1)
    model = hgm.to_pyro(case.tree)
    found = TraceEnum_ELBO().compute_marginals(model, nothing, labelled(case, evidence))
    given = case.joint.given(likelihoods(case, evidence))
    checked = 0
    for site, names in model.sites.items():
        for key in (site, f"{site}_unobserved"):
            if key in found:
                probs = found[key].probs.expand(*names.shape, -1).reshape(names.size, -1)
                for variable, p in zip(names.ravel(), probs, strict=True):
                    if variable not in evidence:
                        assert np.allclose(p, given.marginal(variable), atol=1e-10)
                        checked += 1
    assert checked == len(case.names) - len(evidence) > 0


# ---------------------------------------------------------------------- plates, paths, dimensions


def test_a_regular_tree_has_a_site_for_each_level_in_nested_plates():
    regular = {name for name, case in CASES.items() if "plates" in repr(hgm.to_pyro(case.tree))}
    assert regular == {*PLATES, "single_without_factor"}
    tree = hgm.ghm([hgm.Level(2, 3), hgm.Level(1, 2), hgm.Level(3, 4)], root=2, seed=0)
    model = hgm.to_pyro(tree)
    assert [names.shape for names in model.sites.values()] == [(), (2,), (2,), (3, 2)]
    frames = poutine.trace(model).get_trace().nodes["level3"]["cond_indep_stack"]
    assert sorted((frame.size, frame.dim) for frame in frames) == [(2, -1), (3, -2)]
    forest = hgm.Tree.from_edges([(f"r{i}", f"x{i}{j}", np.eye(2) + i + j) for i in range(3) for j in range(2)])
    assert [names.tolist() for names in hgm.to_pyro(forest).sites.values()] == [
        ["r0", "r1", "r2"],
        [["x00", "x10", "x20"], ["x01", "x11", "x21"]],
    ]
    assert abs(elbo(hgm.to_pyro(forest), {"x10": 1, "r2": 0}) - want_of(forest, {"x10": 1, "r2": 0})) < 1e-12


def want_of(tree, evidence):
    return float(hgm.log_partition(tree, evidence) - hgm.log_partition(tree))


def joint_chain(length):
    """A chain each of whose factors has a second child, which is listed first."""
    rng = np.random.default_rng(0)
    return hgm.Tree.from_factors([((f"x{t}", f"y{t}", f"x{t + 1}"), rng.random((2, 2, 2))) for t in range(length)])


@pytest.mark.parametrize(
    ("tree", "most"),
    [
        (joint_chain(60), 4),
        (hgm.chain(400, 3, seed=0), 2),
        (hgm.hmm(100, 2, 3, seed=0), 4),
        (hgm.caterpillar(60, 2, 2, seed=0), 4),
        (hgm.random_tree(300, seed=0), 18),
        (hgm.ghm([hgm.Level(2, 2)] * 6, root=2, seed=0), 2),
    ],
    ids=["joint chain", "chain", "hmm", "caterpillar", "random", "layered"],
)
def test_enumeration_takes_few_dimensions(tree, most):
    model = hgm.to_pyro(tree)
    evidence = {tree.names[v]: 0 for v in tree.leaves[::2]}
    assert dimensions(model, evidence) <= most
    if len(tree) <= 130:
        assert abs(elbo(model, evidence) - want_of(tree, evidence)) < 1e-8


# ---------------------------------------------------------------------- evidence


@pytest.mark.parametrize("name", ["binary_tied", "ragged", "chain", "joint_table"])
def test_rows_of_evidence_in_a_plate_of_the_user(name):
    tree = CASES[name].tree
    model = hgm.to_pyro(tree)
    rows = hgm.infer(tree).sample(4).states
    rows[1, tree.leaves[0]] = -1  # missing in one row
    rows[1:, 0] = -1
    evidence = {}
    for v in [0, *tree.leaves]:
        labels = tree.labels(v)
        by_label = labels and [None if s < 0 else labels[s] for s in rows[:, v]]
        evidence[tree.names[v]] = by_label or rows[:, v]

    def batch():
        with pyro.plate("rows", 4):
            model(evidence)

    want = (hgm.log_partition(tree, evidence) - hgm.log_partition(tree)).sum()
    assert abs(elbo(batch) - float(want)) < 1e-10


def test_states_seen_are_kept_and_the_rest_is_drawn_given_them():
    tree = CASES["binary_tied"].tree
    model = hgm.to_pyro(tree)
    leaf = tree.names[tree.leaves[3]]
    trace = poutine.trace(model).get_trace({leaf: 1})
    value = trace.nodes["_RETURN"]["value"]["level3"]
    assert int(value[model.sites["level3"] == leaf]) == 1
    assert {"level3_observed", "level3_unobserved"} <= set(trace.nodes)

    posterior = infer_discrete(config_enumerate(model), first_available_dim=-4)
    traces = [poutine.trace(posterior).get_trace({leaf: 1}) for _ in range(400)]
    drawn = [int(trace.nodes["label"]["value"]) for trace in traces]
    p = hgm.infer(tree, {leaf: 1})["label"]
    assert abs(np.mean(drawn) - float(p[1])) < 5 * float(p[1] * p[0] / 400) ** 0.5


def test_it_can_be_pickled_and_comes_in_the_default_type():
    tree = CASES["ragged"].tree
    model = pickle.loads(pickle.dumps(hgm.to_pyro(tree)))
    assert abs(elbo(model, {"r": "red"}) - want_of(tree, {"r": "red"})) < 1e-12
    torch.set_default_dtype(torch.float32)
    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["r"]["log_prob"].dtype == torch.float32


def test_names_that_are_no_strings():
    tree = hgm.Tree.from_edges([(("a", 1), 2, np.eye(2) + 0.1), (2, "2", np.eye(2) + 0.3), (2, 3.5, np.eye(2) + 1)])
    model = hgm.to_pyro(tree)
    assert {n for names in model.sites.values() for n in names.ravel()} == {("a", 1), 2, "2", 3.5}
    assert abs(elbo(model, {"2": 1, ("a", 1): 0}) - want_of(tree, {"2": 1, ("a", 1): 0})) < 1e-12


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda t: hgm.to_pyro("t"), hgm.BadSpec, "tree must be a Tree"),
        (lambda t: hgm.to_pyro(t)({"q": 1}), hgm.BadEvidence, "no variable 'q'"),
        (lambda t: hgm.to_pyro(t)({"a": 5}), hgm.BadEvidence, "'a' has no state 5"),
        (lambda t: hgm.to_pyro(t)([1]), hgm.BadEvidence, "must be a mapping"),
        (lambda t: hgm.to_pyro(t)({"a": torch.tensor([0, 1]), "c": torch.tensor([0, 1, 2])}), hgm.BadEvidence, "rows"),
        (lambda t: hgm.to_pyro(t)({"a": {0: 0.3}}), hgm.BadEvidence, "needs a state"),
        (
            lambda t: hgm.to_pyro(hgm.Tree.from_factors([(list("abc"), hgm.Rules((300,) * 3, [[0, 0, 0]], [1.0]))])),
            hgm.BadSpec,
            "27,000,000 entries",
        ),
        (
            lambda t: hgm.to_pyro(hgm.Tree.from_factors([(["a", "b"], np.eye(2)), ("a", [1, 0]), ("b", [0, 1])])),
            hgm.ImpossibleEvidence,
            "probability zero",
        ),
    ],
)
def test_bad_input_is_one_clear_error(make, error, says):
    with pytest.raises(error, match=says) as caught:
        make(CASES["ragged"].tree)
    assert "\n" not in str(caught.value)
