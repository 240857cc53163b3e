"""Log partition functions with potentials that are given, on random models, against enumeration with 38 digits."""

import numpy as np
import torch
from search.bounds import Bounds
from search.models import Model, draw_evidence, draw_model, seeds

import hgm


@seeds(40, 4000, each=20)
def test_given_potentials(portion):
    for seed in portion:
        rng = np.random.default_rng([4, seed])
        model = draw_model(rng)
        if not model.tree.potentials:
            continue
        try:
            check(rng, model, draw_evidence(rng, model, 3))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def check(rng, model, e):
    """Some potentials moved: with and without a batch, in the reference and in networks that can take them."""
    tree = model.tree.with_potentials([p.named(f"p{i}") for i, p in enumerate(model.tree.potentials)])
    batched = bool(rng.random() < 0.5)
    rows = len(e) if batched else 1
    given, moved = {}, [list(tree.potentials) for _ in range(rows)]
    for i, p in enumerate(tree.potentials):
        if rng.random() < 0.6:
            logs = p.log_potential + 0.3 * rng.normal(size=(rows, *p.log_potential.shape))
            given[p.name] = torch.tensor(logs if batched else logs[0], requires_grad=True)
            for b in range(rows):
                moved[b][i] = p.with_log(logs[b])
    models = [of(tree.with_potentials(own)) for own in moved]
    evidence = torch.from_numpy(e)
    got = hgm.log_partition(tree, evidence, log_potentials=given)
    net = hgm.compile(tree, observed="all")
    exact = [models[b if batched else 0].exact.given(e[b : b + 1]) for b in range(len(e))]
    possible = [b for b in range(len(e)) if not exact[b].impossible.any()]
    for b in range(len(e)):
        if b not in possible:
            assert got[b] == -torch.inf
            continue
        Bounds(exact[b]).totals(got[b : b + 1], exact[b].log_z, "log Z")
    if not possible:
        return
    seen = {name: x[possible] if batched else x for name, x in given.items()}
    try:
        p, log_z = net(evidence[possible], outputs=("posterior", "log_partition"), log_potentials=seen)
    except hgm.BadPotential as error:
        assert "range" in str(error)
        return
    for i, b in enumerate(possible):
        bounds = Bounds(exact[b])
        bounds.totals(log_z[i : i + 1], exact[b].log_z, "log Z of the network")
        for v, card in enumerate(model.cards):
            bounds.probabilities(p[i : i + 1, :card, v], exact[b].marginal(v), f"posterior of {v}")
    if given:
        for total in (got[possible], log_z):
            for gradient in torch.autograd.grad(total.sum(), list(given.values()), allow_unused=True):
                assert gradient is None or bool(gradient.isfinite().all())


def of(tree):
    """The model of a tree, read off its factors."""
    factors = [
        (tree.scope_of(f).tolist(), tree.potential_of(f).dense_log().astype(np.longdouble)) for f in range(tree.factors)
    ]
    return Model(tree, factors)
