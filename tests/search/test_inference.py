"""`infer` on random models and evidence of any size, against enumeration with 38 digits."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from search.bounds import Bounds
from search.models import draw_evidence, draw_model, seeds

import hgm


@seeds(160, 20000, each=40)
def test_inference(portion):
    for seed in portion:
        rng = np.random.default_rng([1, seed])
        model = draw_model(rng)
        for rows in (1, 1, 4):
            try:
                check(rng, model, draw_evidence(rng, model, rows))
            except Exception as error:
                error.add_note(f"seed {seed}, {rows} rows")
                raise


def check(rng, model, e):
    """What `infer` says of rows of evidence, and that it says which rows are impossible."""
    tree, exact = model.tree, model.exact.given(e)
    if exact.impossible.any():
        with pytest.raises(hgm.ImpossibleEvidence) as refused:
            hgm.infer(tree, torch.from_numpy(e))
        assert list(refused.value.rows) == np.flatnonzero(exact.impossible).tolist()
        log_z = hgm.log_partition(tree, torch.from_numpy(e))
        assert np.array_equal(np.isneginf(log_z.numpy()), exact.impossible)
        if exact.impossible.all():
            return
        e = e[~exact.impossible]
        exact = model.exact.given(e)
    bounds, count = Bounds(exact), len(tree)
    post = hgm.infer(tree, torch.from_numpy(e))
    alone = hgm.infer(tree, torch.from_numpy(e))  # asked for one variable first, and for each by itself
    bounds.totals(post.log_partition, exact.log_z, "log Z")
    for v in rng.permutation(count).tolist():
        bounds.probabilities(alone[tree.names[v]], exact.marginal(v), f"one marginal, {v}")
    marginals = post.marginals
    for v, card in enumerate(model.cards):
        bounds.probabilities(marginals[:, :card, v], exact.marginal(v), f"marginal {v}")
        assert not marginals[:, card:, v].any()
    for f in range(tree.factors):
        scope, asked = tree.scope_of(f).tolist(), f
        if f in tree.names:  # a number that is a name is no index
            asked = tuple(tree.names[v] for v in scope)
            if [set(tree.scope_of(i)) for i in range(f)].count(set(scope)):
                continue
        bounds.probabilities(post.factor_marginals(asked), exact.marginal(*scope), f"factor {scope}")
    mode = post.mode()
    bounds.totals(mode.log_score, exact.best, "the mode's score")
    limit = 1e-12 + 16 * 2.0**-52 * exact.weight()
    assert (exact.behind(mode.states.numpy()) <= limit).all(), "the mode"
    drawn = post.sample(5, generator=torch.Generator().manual_seed(0)).states
    for sample in drawn.numpy():
        assert np.isfinite(exact.behind(sample)).all(), "an impossible sample"
    scores = post.log_prob(mode)
    bounds.totals(scores - mode.log_prob, np.zeros(len(e)), "log_prob of the mode")


@seeds(20, 400, each=20)
def test_threads_that_share_a_tree_that_is_new_to_them(portion):
    for seed in portion:
        rng = np.random.default_rng([8, seed])
        model = draw_model(rng)
        rows = [torch.from_numpy(draw_evidence(rng, model, 1)) for _ in range(8)]
        rows = [e for e in rows if not model.exact.given(e.numpy()).impossible.any()]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda e, tree=model.tree: hgm.infer(tree, e).marginals, rows))
        for e, marginals in zip(rows, found, strict=True):
            assert torch.equal(marginals, hgm.infer(model.tree, e).marginals), f"seed {seed}"
        nothing = hgm.infer(model.tree, torch.zeros(0, max(model.cards), len(model.cards)))
        assert nothing.marginals.shape == (0, max(model.cards), len(model.cards)) and nothing.log_partition.shape == (
            0,
        )


@seeds(40, 400, each=20)
def test_sampling_frequencies(portion):
    for seed in portion:
        rng = np.random.default_rng([2, seed])
        model = draw_model(rng)
        e = draw_evidence(rng, model, 2)
        exact = model.exact.given(e)
        if exact.impossible.any():
            continue
        post = hgm.infer(model.tree, torch.from_numpy(e))
        states = post.sample(4000, generator=torch.Generator().manual_seed(seed)).states.numpy()
        for v in range(len(model.cards)):
            w = int(rng.integers(len(model.cards)))
            for row in range(2):
                cell = states[:, row, v] * model.cards[w] + states[:, row, w]
                want = exact.marginal(v, w)[row].ravel() if v != w else np.diag(exact.marginal(v)[row]).ravel()
                got = np.bincount(cell, minlength=len(want)) / len(states)
                limit = 6 * np.sqrt(want * (1 - want) / len(states)) + 10 / len(states)
                assert (np.abs(got - want) <= limit).all() and not got[want == 0].any(), f"seed {seed}"
