"""`hgm.TreeDistribution` beside pyro: `DiscreteHMM` on chains, `TraceEnum_ELBO` on trees, a network; milliseconds.

python tests/bench/against_pyro.py
"""

from __future__ import annotations

import itertools

import pyro.distributions as dist
import torch
from _measure import measure
from pyro.infer import TraceEnum_ELBO
from tabulate import tabulate

import hgm

STATES = 8


def chains() -> list[dict[str, object]]:
    """log_prob and gradients of one sequence and of 1,000. (`DiscreteHMM` makes a step before the first symbol.)"""
    rows = []
    for count, length in itertools.product((1, 1000), (20, 50, 100, 200)):
        tree = hgm.hmm(length, STATES, STATES, seed=0)
        names = [f"p{i}" for i in range(len(tree.potentials))]
        tree = tree.with_potentials([p.named(name) for p, name in zip(tree.potentials, names, strict=True)])
        tables = {p.name: torch.tensor(p.log_potential).requires_grad_() for p in tree.potentials}
        start, step, emit = (tables[name] for name in _order(tree))
        x = hgm.TreeDistribution(tree).sample((count,))

        def ours(tree=tree, tables=tables, x=x):
            total = hgm.TreeDistribution(tree, log_potentials=tables).log_prob(x).sum()
            return torch.autograd.grad(total, list(tables.values()))

        def theirs(start=start, step=step, emit=emit, x=x, length=length):
            hmm = dist.DiscreteHMM(start, step, dist.Categorical(logits=emit), duration=length)
            return torch.autograd.grad(hmm.log_prob(x).sum(), [start, step, emit])

        found = measure({"hgm": ours, "pyro": theirs}, 5.0)
        rows.append({"sequences": count, "length": length, **found, "hgm / pyro": found["hgm"] / found["pyro"]})
    return rows


def _order(tree: hgm.Tree) -> list[str]:
    """The names of the prior, the transition and the emission of a hidden Markov model."""
    over = {tuple(str(name)[0] for name in tree.scope_names(f)): tree.potential_of(f).name for f in range(tree.factors)}
    hidden = str(tree.names[int(tree.roots[0])])[0]
    leaf = str(tree.names[int(tree.leaves[-1])])[0]
    return [over[(hidden,)], over[(hidden, hidden)], over[(hidden, leaf)]]


def trees() -> list[dict[str, object]]:
    """log p of one row of all leaves."""
    rows = []
    for depth in (3, 5, 7, 8, 10):
        tree = hgm.ghm([hgm.Level(2, 4)] * depth, root=4, seed=0)
        model, leaves = hgm.to_pyro(tree), [tree.names[v] for v in tree.leaves]
        x = hgm.TreeDistribution(tree).sample((1,))
        evidence = dict(zip(leaves, x[0].tolist(), strict=True))
        elbo = TraceEnum_ELBO(max_plate_nesting=depth)

        def ours(tree=tree, x=x):
            return hgm.TreeDistribution(tree).log_prob(x)

        def theirs(model=model, evidence=evidence, elbo=elbo):
            return -elbo.loss(model, lambda evidence: None, evidence)

        assert abs(float(ours()) - theirs()) < 1e-8
        found = measure({"hgm": ours, "pyro": theirs}, 5.0)
        rows.append({"leaves": 2**depth, **found, "hgm / pyro": found["hgm"] / found["pyro"]})
    return rows


def networks() -> list[dict[str, object]]:
    """log_prob and gradients of 1,000 rows beside those of a trainable network's `log_partition`."""
    rows = []
    models = {
        "binary tree, 64 leaves": hgm.ghm([hgm.Level(2, 4)] * 6, root=4, seed=0),
        "hidden Markov model, 60 steps": hgm.hmm(60, seed=0),
        "irregular, 300 nodes": hgm.random_tree(300, seed=0),
    }
    for name, tree in models.items():
        tree = tree.with_potentials([p.named(f"p{i}") for i, p in enumerate(tree.potentials)])
        tables = {p.name: torch.tensor(p.log_potential).requires_grad_() for p in tree.potentials}
        network, x = hgm.compile(tree, trainable=True).double(), hgm.TreeDistribution(tree).sample((1000,))
        weights = list(network.parameters())

        def ours(tree=tree, tables=tables, x=x):
            total = hgm.TreeDistribution(tree, log_potentials=tables).log_prob(x).sum()
            return torch.autograd.grad(total, list(tables.values()))

        def its(network=network, weights=weights, x=x):
            return torch.autograd.grad(network.log_partition(x).sum(), weights)

        found = measure({"distribution": ours, "network": its}, 5.0)
        rows.append({"model": name, **found, "ratio": found["distribution"] / found["network"]})
    return rows


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    for table in (chains, trees, networks):
        print(f"\n{table.__doc__}\n")
        print(tabulate(table(), headers="keys", floatfmt=".3g", tablefmt="github"))
