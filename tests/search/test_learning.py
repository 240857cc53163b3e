"""`fit` on random directed models and evidence: the objective is right at the start, and never falls."""

import numpy as np
import torch
from oracles.exact import wide_log
from search.models import Model, draw_evidence, seeds

import hgm


@seeds(20, 2000, each=20)
def test_learning(portion):
    for seed in portion:
        rng = np.random.default_rng([7, seed])
        model = directed(rng)
        e = draw_evidence(rng, model, 6)
        e[np.isfinite(e)] = np.clip(e[np.isfinite(e)], -1e5, 1e5)
        exact = model.exact.given(e)
        if exact.impossible.any():
            continue
        options = {"smoothing": float(rng.choice([0.0, 0.1])), "batch_size": [None, 2][rng.integers(2)]}
        fit = hgm.fit(model.tree, torch.from_numpy(e), iterations=4, tolerance=0.0, progress=False, **options)
        want = exact.log_z.sum()
        assert abs(fit.log_likelihood[0] - want) <= 1e-11 * (1 + np.abs(exact.log_z).sum() + exact.offset.sum()), seed
        size = 1 + np.abs(fit.history).max() + exact.offset.sum()
        assert (np.diff(fit.history) >= -1e-12 * size).all(), f"seed {seed}: {fit.history}"
        for old, new in zip(model.tree.potentials, fit.tree.potentials, strict=True):
            zeros = np.isneginf(old.log_potential)
            assert np.isneginf(new.log_potential[zeros]).all() and not np.isnan(new.log_potential).any(), seed


def directed(rng):
    """A random tree of conditional tables, some tied, some with zeros, rooted anywhere a prior is."""
    count = int(rng.integers(2, 7))
    card, tied = int(rng.integers(2, 4)), bool(rng.random() < 0.5)

    def table(*shape):
        out = rng.uniform(0.1, 1, shape) * (rng.random(shape) >= rng.choice([0.0, 0.3]))
        out[..., 0] += 0.1
        return out / out.sum(-1, keepdims=True)

    prior, shared = table(card), table(card, card)
    step = hgm.Edge(shared)
    edges, factors = [], [([0], prior)]
    for v in range(1, count):
        own = shared if tied else table(card, card)
        edges.append((int(rng.integers(v)), v, step if tied else own))
        factors.append(([edges[-1][0], v], own))
    tree = hgm.Tree.from_edges([(f"v{a}", f"v{b}", own) for a, b, own in edges], {"v0": prior})
    at = [list(tree.names).index(f"v{v}") for v in range(count)]
    return Model(tree, [([at[v] for v in scope], wide_log(own)) for scope, own in factors])
