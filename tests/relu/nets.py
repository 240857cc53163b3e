"""Trees and ReLU networks of them, and their distance from the reference."""

import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.testing import feed

TREES = {
    "binary": hgm.random_ghm(3, 2, 2, bound=10.0, seed=0),
    "three states": hgm.random_ghm(3, 3, 3, bound=4.0, seed=1),
    "untied": hgm.random_ghm(2, 3, 2, bound=5.0, tie="none", seed=2),
    "mixed": hgm.random_ghm(3, [2, 4, 3], [3, 2, 2], bound=3.0, seed=3),
    "ragged": CASES["ragged"].tree,
    "chain": CASES["chain"].tree,
    "random": hgm.random_tree(12, cardinality=(2, 3), seed=4),
}


def compiled(tree, tol=0.02, **options):
    return hgm.compile(tree, activation="relu", query="all", tol=tol, **options)


def kinds_of(net):
    return {kind for level in net.certificate.levels for kind in level.kinds}


def confirmed(bound):
    """A recomputed bound that is as good as a certified one; the grids cost a little."""
    return pytest.approx(bound, rel=1e-3, abs=1e-7)


def evidence(tree, rows, scale, generator):
    """Log evidence ``(B, S, V)`` in tree order, -inf in the padding."""
    states = int(tree.cardinality.max())
    e = scale * torch.randn(rows, states, len(tree), generator=generator, dtype=torch.float64)
    return e.masked_fill(torch.arange(states)[:, None] >= torch.tensor(tree.cardinality), -torch.inf)


def run(net, tree, e):
    """Marginals ``(B, S, V)`` of a network that takes evidence everywhere."""
    given, named = feed(net, tree, e)
    return net(*given, **named).flatten(2)


def log_error(net, tree, e):
    """Largest difference of log posteriors from the reference, where they are not below all bounds of float64."""
    p, exact = run(net, tree, e), hgm.infer(tree, e).marginals
    assert p.isfinite().all()
    assert (p.sum(1) - 1).abs().max() < 1e-12
    seen = (exact > 1e-280) & (p > 1e-280)
    return float((p.log() - exact.log())[seen].detach().abs().max())
