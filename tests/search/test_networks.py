"""Compiled networks on random models and evidence of any size, against enumeration with 38 digits."""

import numpy as np
import pytest
import torch
from search.bounds import Bounds
from search.models import Model, draw_evidence, draw_model, seeds

import hgm

pytestmark = pytest.mark.usefixtures("schedule")

OUTPUTS = ("posterior", "log_posterior", "leave_one_out", "log_partition")


@seeds(120, 8000, each=20)
def test_networks(portion):
    for seed in portion:
        rng = np.random.default_rng([3, seed])
        model = draw_model(rng)
        asked = draw_network(rng, model)
        net = hgm.compile(model.tree, **asked)
        if asked["trainable"] and rng.random() < 0.5:
            model = moved(rng, model, net)
        for dtype in (torch.float64, torch.float32):
            try:
                check(rng, model, net, draw_evidence(rng, model).astype(str(dtype)[6:]))
            except Exception as error:
                error.add_note(f"seed {seed}, {dtype}, {asked}")
                raise


def draw_network(rng, model):
    """What to compile a model to."""
    names = model.tree.names
    some = [name for name in names if rng.random() < 0.5]
    observed = [names, names, some, "all"][rng.integers(4)]
    asked = {"task": "posterior", "observed": observed, "trainable": bool(rng.random() < 0.4)}
    if rng.random() < 0.3:
        return asked | {"task": "classify", "query": names[int(rng.integers(len(names)))]}
    return asked | {"query": [some or "all", "all", "all", "leaves"][rng.integers(4)]}


def moved(rng, model, net):
    """Weights that have learned a little, and the model with them."""
    entries = next(net.parameters())
    with torch.no_grad():
        entries += 0.2 * torch.from_numpy(rng.normal(size=entries.shape))
    tree, names = net.tree(), list(model.tree.names)
    factors = [
        ([names.index(tree.names[v]) for v in tree.scope_of(f)], tree.potential_of(f).dense_log())
        for f in range(tree.factors)
    ]
    return Model(model.tree, factors)


def fed(net, tree, e):
    """The arguments of a network for evidence of all variables, and that evidence without what it does not take."""
    columns = [list(tree.names).index(name) for name in net.inputs]
    seen = torch.from_numpy(e[:, :, columns])
    n = len(columns) - net.extra
    leaves = seen[:, : net.leaf_states, :n].reshape(len(e), net.leaf_states, *net.leaf_shape)
    kept = np.zeros_like(e)
    kept[:, :, columns] = e[:, :, columns]
    more = {"evidence": seen[:, : net.states_in, n:]} if net.extra else {}
    return (leaves,), more, kept


def check(rng, model, net, e):
    dtype = torch.from_numpy(e).dtype
    args, more, kept = fed(net, model.tree, e)
    exact = model.exact.given(kept)
    if exact.impossible.any():
        for call in (net, net.log_partition):
            with pytest.raises(hgm.ImpossibleEvidence) as refused:
                call(*args, **more)
            assert list(refused.value.rows) == np.flatnonzero(exact.impossible).tolist()
        if exact.impossible.all():
            return
        e = e[~exact.impossible]
        args, more, kept = fed(net, model.tree, e)
        exact = model.exact.given(kept)
    bounds = Bounds(exact, dtype)
    with torch.set_grad_enabled(bool(rng.random() < 0.5)):
        p, logs, alone, log_z = net(*args, **more, outputs=OUTPUTS)
    assert p.dtype == logs.dtype == alone.dtype == log_z.dtype == dtype
    bounds.totals(log_z, exact.log_z, "log Z")
    query = [list(model.tree.names).index(net.plan.tree.names[int(v)]) for v in net.query]
    p, logs, alone = (x.reshape(len(e), x.shape[1], len(query)) for x in (p, logs, alone))
    for i, v in enumerate(query):
        card = model.cards[v]
        bounds.probabilities(p[:, :card, i], exact.marginal(v), f"posterior of {v}")
        bounds.logs(logs[:, :card, i], exact.log_marginal(v), f"log posterior of {v}")
        assert not p[:, card:, i].any() and not alone[:, card:, i].any()
    for i in rng.permutation(len(query))[:2].tolist():
        v = query[i]
        less = kept.copy()
        less[:, : model.cards[v], v] = 0
        without = model.exact.given(less)
        Bounds(without, dtype).probabilities(alone[:, : model.cards[v], i], without.marginal(v), f"leave one out {v}")
