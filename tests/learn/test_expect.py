"""The E-step: what it counts, and how often it builds a network for potentials that change."""

import numpy as np
import torch

import hgm
from hgm.evidence.data import read_data
from hgm.learn import expect
from hgm.tree.flat import flatten


def test_a_network_serves_until_an_entry_crosses_a_power_of_ten(monkeypatch):
    tree = hgm.random_ghm(2, 3, 2, bound=3.0, seed=0)
    states = hgm.infer(tree).sample(20, generator=torch.Generator().manual_seed(0)).states[:, tree.leaves.copy()]
    seen = {tree.names[int(v)]: column for v, column in zip(tree.leaves, states.T, strict=True)}
    built, build = [], expect.compile
    monkeypatch.setattr(expect, "compile", lambda *args, **options: built.append(1) or build(*args, **options))
    step = expect.Expectation(tree, read_data(tree, states), torch.float64, None)
    log = torch.from_numpy(flatten(tree.potentials))
    for factor in (1.0, 0.99, 0.98, 0.97):
        value, counts = step(log * factor)
        now = tree.with_potentials([p.with_log(p.log_potential * factor) for p in tree.potentials])
        assert abs(value - float(hgm.infer(now, seen).log_partition.sum())) < 1e-9
        assert abs(float(counts.sum()) - 20 * tree.factors) < 1e-9
    assert len(built) == 1
    smaller = log.clone()
    smaller[log.argmin()] -= np.log(1e3)
    for potentials, networks in ((smaller, 2), (smaller, 2), (log, 3)):
        step(potentials)
        assert len(built) == networks
