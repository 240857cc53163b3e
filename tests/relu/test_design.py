"""Designs keep their tolerance, with the constructions that are asked for, or say why not."""

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from relu.nets import TREES, evidence

import hgm
from hgm.errors import Uncertifiable


@pytest.mark.long
@pytest.mark.parametrize("tol", [0.3, 0.01])
@pytest.mark.parametrize("bound", ["log_posterior", "tv", "mean"])
def test_the_tolerance_is_kept(tol, bound):
    certificate = hgm.compile(TREES["mixed"], activation="relu", tol=tol, bound=bound).certificate
    assert 0.7 * tol <= certificate.reached <= tol
    assert certificate.total_variation == pytest.approx(np.tanh(certificate.log_posterior / 4))


@pytest.mark.parametrize("construction", ["A", "B", "C", "D"])
def test_a_construction_can_be_forced(construction):
    tree = hgm.random_ghm(3, 2, 2, bound=3.0, seed=1)
    net = hgm.compile(tree, activation="relu", tol=0.3, construction=construction)
    kinds = {kind for level in net.certificate.levels for kind in level.kinds}
    assert kinds == {construction}
    e = evidence(tree, 50, 2.0, torch.Generator().manual_seed(0))[:, :, torch.tensor(tree.leaves)]
    exact = hgm.compile(tree)(e)
    assert (net(e).log() - exact.log()).abs().max() <= net.certificate.log_posterior <= 0.3


def test_a_construction_that_does_not_apply_names_the_factor():
    with pytest.raises(Uncertifiable, match=r"factor \(r, .*construction D is for 2x2"):
        hgm.compile(CASES["ragged"].tree, activation="relu", construction="D")


def test_other_bounds_buy_units():
    tree = hgm.random_ghm(4, 3, 2, seed=3)
    units = {bound: hgm.compile(tree, activation="relu", bound=bound).certificate for bound in ("log_posterior", "tv")}
    assert units["tv"].total_variation <= 0.01 < units["tv"].log_posterior <= 0.041
    assert units["tv"].units < 0.6 * units["log_posterior"].units


def test_a_star_with_many_children_reaches_small_tolerances_or_says_no():
    edge = hgm.Edge([[1.0, 1.1], [1.1, 1.0]])
    star = hgm.Tree.from_factors([(("hub", f"x{i}"), edge) for i in range(300)])
    assert hgm.compile(star, "classify", query="hub", activation="relu", tol=1e-5).certificate.log_posterior <= 1e-5
    with pytest.raises(Uncertifiable, match="raise it"):
        hgm.compile(star, "classify", query="hub", activation="relu", tol=1e-7)


@pytest.mark.parametrize("construction", ["A", "B"])
def test_maps_that_do_not_matter_are_built_all_the_same(construction):
    tree = hgm.random_ghm(2, 3, 2, bound=3.0, seed=0)
    net = hgm.compile(tree, query="x0", activation="relu", construction=construction, tol=0.1)
    assert net.certificate.log_posterior <= 0.1
    wide = hgm.Tree.from_factors([(("a", "b"), hgm.Edge.from_log([[0, -800.0, -1], [-400, 0, 0.0]]))])
    with pytest.raises(Uncertifiable, match=r"factor \(a, b\): .* e\^800; use C"):
        hgm.compile(wide, activation="relu", construction=construction)
    assert hgm.compile(wide, activation="relu").certificate.log_posterior <= 0.01


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("task", ["classify", "posterior"])
def test_it_compiles_where_gradients_are_off(mode, task):
    tree = hgm.random_ghm(2, 2, 2, seed=0)
    with mode():
        net = hgm.compile(tree, task, activation="relu")
    assert net.certificate == hgm.compile(tree, task, activation="relu").certificate
