"""Posteriors over potentials by NUTS, where they are known."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import init_to_value

import hgm

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("double")]


def nuts(model, data, start, draws, warmup=150):
    kernel = NUTS(model, init_strategy=init_to_value(values=start))
    mcmc = MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
    mcmc.run(data)
    return mcmc.get_samples()


def test_nuts_finds_the_exact_posterior_where_all_is_observed():
    step = hgm.Edge([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.2, 0.6]], name="step")
    tree = hgm.Tree.from_edges([("a", "b", step), ("b", "c", step)], {"a": [0.4, 0.3, 0.3]})
    x = hgm.TreeDistribution(tree, over="all").sample((150,))

    def model(x):
        step = pyro.sample("step", dist.Dirichlet(torch.full((3, 3), 2.0)).to_event(1))
        with pyro.plate("rows", len(x)):
            pyro.sample("x", hgm.TreeDistribution(tree, {"step": step}, over="all"), obs=x)

    drawn = nuts(model, x, {"step": torch.full((3, 3), 1 / 3)}, 1500)["step"]
    counts = torch.full((3, 3), 2.0)
    for before, after in ((0, 1), (1, 2)):
        counts.index_put_((x[:, before], x[:, after]), torch.ones(()), accumulate=True)
    exact = dist.Dirichlet(counts)
    assert bool(((drawn.mean(0) - exact.mean).abs() < 0.15 * exact.stddev).all())
    assert bool(((drawn.std(0) / exact.stddev - 1).abs() < 0.1).all())


def test_groups_that_share_a_prior_are_drawn_to_each_other():
    """A hierarchical model: the emission of each group has a common mean; a small group is shrunk to the others."""
    tree = hgm.Tree.from_edges([("h", "x", hgm.Edge([[0.9, 0.1], [0.2, 0.8]], name="emit"))], {"h": [1.0, 0.0]})
    sizes, truth = [200, 200, 4], torch.tensor([0.8, 0.8, 0.8])
    data = [
        torch.cat([torch.zeros(n - round(n * float(p))), torch.ones(round(n * float(p)))])
        for n, p in zip(sizes, truth, strict=True)
    ]
    data[2] = torch.zeros(4)  # by chance

    def model(data):
        mean = pyro.sample("mean", dist.Beta(1.0, 1.0))
        with pyro.plate("groups", 3):
            p = pyro.sample("p", dist.Beta(20 * mean, 20 * (1 - mean)))
        for i, x in enumerate(data):
            row = torch.stack([1 - p[i], p[i]])
            with pyro.plate(f"rows{i}", len(x)):
                pyro.sample(
                    f"x{i}", hgm.TreeDistribution(tree, {"emit": torch.stack([row, row.flip(0)])}), obs=x[:, None]
                )

    drawn = nuts(model, data, {"mean": torch.tensor(0.5), "p": torch.full((3,), 0.5)}, 400)["p"].mean(0)
    assert bool((drawn[:2] - 0.8).abs().max() < 0.05) and 0.4 < float(drawn[2]) < 0.75
