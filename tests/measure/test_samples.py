"""Random evidence: possible, of the kinds it says, and the same for the same seed."""

import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.measure.samples import evidence_by_kind, random_evidence, soft_evidence


@pytest.mark.parametrize("name", CASES)
def test_it_is_possible_in_every_row(name):
    tree = CASES[name].tree
    padding = torch.isneginf(hgm.log_evidence(tree))
    for e in (random_evidence(tree, 1, batch=8, decades=5.0), *(e for _, e in evidence_by_kind(tree, 4, 1))):
        assert e.dtype == torch.float64 and bool(torch.isneginf(e)[padding.expand_as(e)].all())
        assert hgm.log_partition(tree, e).isfinite().all()


def test_rows_are_of_their_kinds():
    tree = CASES["ragged"].tree
    none, soft, hard, excluded = random_evidence(tree, 0, batch=4, decades=3.0)
    states = ~torch.isneginf(hgm.log_evidence(tree))[0]
    assert bool((none[states] == 0).all())
    assert bool(soft[states].isfinite().all()) and 5 < float(-soft[states].min()) < 7
    assert bool(((hard == 0).sum(0) == 1).all()) and bool(torch.isneginf(hard)[states].any())
    assert bool((excluded.isfinite().sum(0) >= 1).all()) and bool(torch.isneginf(excluded)[states].any())


def test_the_seed_decides():
    tree = CASES["ragged"].tree
    for draw in (
        lambda seed: random_evidence(tree, seed),
        lambda seed: dict(evidence_by_kind(tree, 2, seed))["anywhere"],
        lambda seed: soft_evidence(tree, 2, 1.0, torch.Generator().manual_seed(seed)),
    ):
        assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))


def test_soft_evidence_is_of_the_scale_asked_for():
    tree = hgm.chain(200, 3)
    e = soft_evidence(tree, 20, 4.0, torch.Generator().manual_seed(0))
    assert abs(float(e.std()) - 4) < 0.1 and abs(float(e.mean())) < 0.1
