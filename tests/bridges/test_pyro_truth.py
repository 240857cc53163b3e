"""Posteriors over potentials, where they are known exactly or by simulation, by pyro's own inference."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoLaplaceApproximation, AutoMultivariateNormal, init_to_value
from pyro.optim import ClippedAdam

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


def latent_class(rows):
    """A hidden class with three symptoms, its prior, and data."""
    truth = torch.tensor([[0.85, 0.15], [0.25, 0.75]])
    tree = hgm.Tree.from_edges(
        [("class", f"x{i}", hgm.Edge(truth, name=f"x{i}")) for i in range(3)],
        {"class": hgm.Table([0.6, 0.4], name="class")},
    )
    prior = {"class": torch.tensor([3.0, 2.0])} | {f"x{i}": torch.tensor([[6.0, 1.0], [2.0, 6.0]]) for i in range(3)}

    def model(data):
        tables = {name: pyro.sample(name, dist.Dirichlet(a).to_event(a.ndim - 1)) for name, a in prior.items()}
        with pyro.plate("rows", rows):
            return pyro.sample("x", hgm.TreeDistribution(tree, tables), obs=data)

    return model, {name: a / a.sum(-1, keepdim=True) for name, a in prior.items()}


def by_guide(family, model, data, start):
    pyro.clear_param_store()
    options = {} if family is AutoLaplaceApproximation else {"init_scale": 0.1}
    guide = family(model, init_loc_fn=init_to_value(values=start), **options)
    svi = SVI(
        model, guide, ClippedAdam({"lr": 0.04, "lrd": 0.994}), Trace_ELBO(num_particles=4, vectorize_particles=True)
    )
    for _ in range(300):
        svi.step(data)
    guide = guide.laplace_approximation(data) if family is AutoLaplaceApproximation else guide
    with torch.no_grad():
        draws = [guide(data) for _ in range(400)]
    return {name: torch.stack([draw[name] for draw in draws]) for name in start}


def test_intervals_cover_and_those_of_mean_field_are_too_narrow():
    """Tables drawn from the prior, data from them: 95% intervals hold 85% to 100% of the tables."""
    model, start = latent_class(150)
    inside: dict[str, list[torch.Tensor]] = {}
    width: dict[str, list[torch.Tensor]] = {}
    for seed in range(6):
        pyro.set_rng_seed(seed)
        trace = pyro.poutine.trace(model).get_trace(None)
        truth = torch.cat([trace.nodes[name]["value"][..., 0].flatten() for name in start])
        data = trace.nodes["x"]["value"]
        ways = {"nuts": lambda data=data: nuts(model, data, start, 200, 100)}
        for family in (AutoMultivariateNormal, AutoLaplaceApproximation, AutoDiagonalNormal):
            ways[family.__name__] = lambda data=data, family=family: by_guide(family, model, data, start)
        for way, draw in ways.items():
            drawn = torch.cat(
                [value[..., 0].reshape(len(value), -1) for name, value in draw().items() if name in start], 1
            )
            low, high = drawn.quantile(torch.tensor([0.025, 0.975]), 0)
            inside.setdefault(way, []).append((low <= truth) & (truth <= high))
            width.setdefault(way, []).append(high - low)
    covered = {way: float(torch.cat(found).double().mean()) for way, found in inside.items()}
    for way in ("nuts", "AutoMultivariateNormal", "AutoLaplaceApproximation"):
        assert 0.85 <= covered[way] <= 1, covered
    narrow, right = (float(torch.cat(width[way]).mean()) for way in ("AutoDiagonalNormal", "nuts"))
    assert narrow < 0.95 * right, covered


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


def test_a_decoder_whose_prior_is_a_tree():
    """z of a tree of 4 leaves, x = mean of each leaf's state + noise; the ELBO nears the exact log p(x)."""
    step = hgm.Edge([[0.9, 0.1], [0.1, 0.9]], name="step")
    tree = hgm.Tree.from_edges([("r", f"z{i}", step) for i in range(4)], {"r": [0.5, 0.5]})
    z = hgm.TreeDistribution(tree).sample((300,))
    means = torch.tensor([-1.0, 1.0])
    x = means[z] + 0.7 * torch.randn(300, 4)

    def model(x):
        keep = pyro.param("keep", torch.tensor(0.6), constraint=dist.constraints.unit_interval)
        table = torch.stack([torch.stack([keep, 1 - keep]), torch.stack([1 - keep, keep])])
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", hgm.TreeDistribution(tree, {"step": table}), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(means[z], 0.7).to_event(1), obs=x)

    elbo = pyro.infer.TraceEnum_ELBO(max_plate_nesting=1)
    svi = SVI(model, lambda x: None, ClippedAdam({"lr": 0.05}), elbo)
    for _ in range(150):
        loss = svi.step(x)
    keep = float(pyro.param("keep").detach())
    assert abs(keep - 0.9) < 0.05
    channel = dist.Normal(means[:, None], 0.7).log_prob(x[:, None])  # (B, S, n)
    table = torch.tensor([[keep, 1 - keep], [1 - keep, keep]]).log()
    exact = hgm.log_partition(tree, channel, log_potentials={"step": table}).sum()
    assert abs(-loss - float(exact)) < 1.0
