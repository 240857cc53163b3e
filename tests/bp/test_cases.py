"""The oracle cases: models, evidence and answers that other programs computed, replayed with the reference."""

import math
from functools import cache

import numpy as np
import pytest
from oracles.case_files import FILES, CaseFile, queries

import hgm
from hgm.bp.score import log_score, states_of

pytestmark = pytest.mark.broad

load = cache(CaseFile.load)
BATCHES = [name for name in FILES if "batch" in load(name).raw]
REJECTED = [name for name in FILES if load(name).raw["kind"] == "reject"]
LOOPY = [name for name in FILES if load(name).raw.get("is_forest") is False]


@cache
def tree_of(name: str) -> hgm.Tree:
    return hgm.Tree.from_factors(load(name).factors, load(name).variables)


def assert_agrees(case: CaseFile, tree: hgm.Tree, query: dict) -> None:
    expected, evidence = query["expected"], case.evidence(query)
    given = {name: hgm.Likelihood(x) if np.ndim(x) else x for name, x in evidence.items()}
    if expected["log_evidence"] == "-inf":
        with pytest.raises(hgm.ImpossibleEvidence, match=r"in batch rows 0"):
            hgm.infer(tree, given)
        return
    post = hgm.infer(tree, given)
    assert case.close(post.log_partition, expected["log_evidence"], "log_evidence")
    for name, marginal in expected["marginals"].items():
        assert case.close(post[name], marginal, "marginal"), name
    best = expected.get("map")
    if best:
        mode = post.mode()
        assert case.close(mode.log_score, best["log_score"], "log_evidence")
        assert case.close(mode.log_prob, best["log_score"] - expected["log_evidence"], "log_evidence")
        seen = sum(math.log(x[mode.states[tree.index(name)]]) for name, x in evidence.items() if np.ndim(x))
        assert case.close(log_score(tree, states_of(tree, mode)) + seen, best["log_score"], "log_evidence")
        for name, state in best.get("assignment", {}).items():
            assert mode.states[tree.index(name)] == state, name


@pytest.mark.parametrize(("name", "i"), [pytest.param(f, i, id=f"{f}: {q}") for f, i, q in queries()])
def test_query(name, i):
    case = load(name)
    query = case.raw["queries"][i]
    cut = case.cut(query)
    tree = hgm.Tree.from_factors(case.factors, case.variables, observed=cut) if cut else tree_of(name)
    assert_agrees(case, tree, query)


@pytest.mark.parametrize("name", BATCHES)
def test_batch(name):
    case, tree = load(name), tree_of(name)
    batch = case.raw["batch"]
    log_z = np.array(batch["expected"]["log_evidence"], dtype=float)
    assert len(log_z) == case.rows
    possible = np.flatnonzero(log_z > -np.inf).tolist()
    if len(possible) < case.rows:
        with pytest.raises(hgm.ImpossibleEvidence) as error:
            hgm.infer(tree, case.batch_evidence(list(range(case.rows))))
        assert error.value.rows == tuple(sorted(set(range(case.rows)) - set(possible)))
    post = hgm.infer(tree, case.batch_evidence(possible))
    assert case.close(post.log_partition, log_z[possible], "log_evidence")
    if "total_log_likelihood" in batch["expected"]:
        weights = np.array(batch.get("weights", np.ones(case.rows)), dtype=float)
        total = weights[possible] @ post.log_partition.numpy()
        assert case.close(total, batch["expected"]["total_log_likelihood"], "total")
    listed = batch["expected"].get("marginals_rows")
    listed = list(range(case.rows)) if listed is None else listed
    for variable, marginals in batch["expected"].get("marginals", {}).items():
        checked = [(possible.index(row), m) for row, m in zip(listed, marginals, strict=True) if row in possible]
        assert case.close(post[variable][[at for at, _ in checked]], [m for _, m in checked], "marginal"), variable


@pytest.mark.parametrize("name", REJECTED)
def test_a_model_with_a_cycle_is_refused_and_the_cycle_named(name):
    case = load(name)
    with pytest.raises(hgm.NotATree, match="cycle") as error:
        tree_of(name)
    assert sum(variable in str(error.value) for variable in case.cards) >= 2


@pytest.mark.parametrize("name", sorted(set(LOOPY) - set(REJECTED)))
def test_a_model_that_is_a_tree_only_once_observed_is_refused_before(name):
    with pytest.raises(hgm.NotATree, match=r"observed="):
        tree_of(name)


def test_the_comparison_refuses_other_answers():
    """A transposed table, a dropped factor and the answers of another query."""
    case, tree = load("random_pairwise_30"), tree_of("random_pairwise_30")
    query, other = case.raw["queries"][0], case.raw["queries"][1]
    assert_agrees(case, tree, query)
    with pytest.raises(AssertionError):
        assert_agrees(case, tree, {**query, "expected": other["expected"]})
    pair = next(i for i, (_, table) in enumerate(case.factors) if table.ndim == 2 and table.shape[0] == table.shape[1])
    scope, table = case.factors[pair]
    for changed in ([(scope, table.T)], [(scope, np.ones_like(table))]):
        factors = case.factors[:pair] + changed + case.factors[pair + 1 :]
        with pytest.raises(AssertionError):
            assert_agrees(case, hgm.Tree.from_factors(factors, case.cards), query)
