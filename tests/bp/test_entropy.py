"""Entropies are those of the enumerated joint distribution, and levels add up to the whole."""

import numpy as np
import pytest
import torch
from oracles.trees import CASES, KINDS, draw_evidence

import hgm


def nats(p):
    p = np.asarray(p)[np.asarray(p) > 0]
    return float(-(p * np.log(p)).sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_entropies_are_those_of_the_joint(case, kind):
    evidence = draw_evidence(case, kind)
    found = hgm.infer(case.tree, evidence.given).entropy()
    joints = evidence.joints(case)
    if not evidence.batched:
        found = hgm.bp.entropy.Entropy(
            case.tree, *(x[None] for x in (found.variables, found.factors, found.levels, found.whole))
        )
    for b, joint in enumerate(joints):
        assert float(found.whole[b]) == pytest.approx(nats(joint.probability), abs=1e-11)
        assert float(found.levels[b].sum()) == pytest.approx(nats(joint.probability), abs=1e-11)
        for name in case.names:
            assert float(found[name][b]) == pytest.approx(nats(joint.marginal(name)), abs=1e-11)
        for f in range(case.tree.factors):
            scope = case.tree.scope_names(f)
            assert float(found.factors[b, f]) == pytest.approx(nats(joint.marginal(*scope)), abs=1e-11)
        down_to = [n for n in case.names if case.tree.level[case.tree.index(n)] <= 1]
        assert float(found.levels[b, :2].sum()) == pytest.approx(nats(joint.marginal(*down_to)), abs=1e-11)


def test_a_single_answer_has_no_batch_dimension_and_shows_itself():
    tree = hgm.star(3, 2, seed=0)
    found = hgm.infer(tree).entropy()
    assert found.whole.shape == () and found.variables.shape == (4,) and found.levels.shape == (2,)
    assert f"entropy {float(found.whole):.4f} nats" in str(found)
    assert "<table>" in found._repr_html_()


def test_an_empty_batch_has_entropies_of_no_rows():
    tree = hgm.star(3, 2, seed=0)
    found = hgm.infer(tree, torch.zeros(0, 2, 4, dtype=torch.float64)).entropy()
    assert found.whole.shape == (0,) and found.factors.shape == (0, tree.factors)
    assert str(found)
