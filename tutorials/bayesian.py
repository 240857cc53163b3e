# %% [markdown]
# # Bayesian potentials with pyro
#
# `hgm.fit` finds the best potentials. How sure are they? A posterior over potentials answers that, and pyro finds it:
# each table is a site (a named `pyro.sample`) with a prior, and the tree is one more site, with all hidden variables
# summed out exactly. After this page you can put an interval on every probability that a tree gives you, and know
# which intervals to believe. [With pyro](../pyro.md) comes before this.

# %%
import logging

import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoMultivariateNormal,
    init_to_value,
)
from pyro.optim import ClippedAdam

import hgm

torch.set_default_dtype(torch.float64)
pyro.set_rng_seed(0)
plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)
logging.getLogger("pyro").setLevel(logging.WARNING)

# %% [markdown]
# ## Where the answer is known
#
# A chain of two steps, all of it observed. With a Dirichlet prior on the rows of the transition, the posterior is a
# Dirichlet too: of the prior's counts and those of the data. NUTS, pyro's sampler of
# posteriors, should find its means and its standard deviations.

# %%
step = hgm.Edge([[0.9, 0.1], [0.3, 0.7]], name="step")
chain = hgm.Tree.from_edges([("a", "b", step), ("b", "c", step)], {"a": [0.5, 0.5]})
x = hgm.TreeDistribution(chain, over="all").sample((100,))


def observed(x):
    """All is observed but the table."""
    step = pyro.sample("step", dist.Dirichlet(torch.ones(2, 2)).to_event(1))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", hgm.TreeDistribution(chain, {"step": step}, over="all"), obs=x)


def nuts(model, x, start, draws):
    """Draws from the posterior, by name."""
    kernel = NUTS(model, init_strategy=init_to_value(values=start))
    mcmc = MCMC(kernel, num_samples=draws, warmup_steps=60, disable_progbar=True)
    mcmc.run(x)
    return mcmc.get_samples()


drawn = nuts(observed, x, {"step": torch.full((2, 2), 0.5)}, 200)["step"]
counts = torch.ones(2, 2)
for before, after in ((0, 1), (1, 2)):
    counts.index_put_((x[:, before], x[:, after]), torch.ones(()), accumulate=True)
exact = dist.Dirichlet(counts)
print(
    "means",
    drawn.mean(0)[:, 0].numpy().round(3),
    "exactly",
    exact.mean[:, 0].numpy().round(3),
)
print(
    "sds  ",
    drawn.std(0)[:, 0].numpy().round(3),
    "exactly",
    exact.stddev[:, 0].numpy().round(3),
)
assert ((drawn.mean(0) - exact.mean).abs() < 0.3 * exact.stddev).all()
assert ((drawn.std(0) / exact.stddev - 1).abs() < 0.3).all()

# %% [markdown]
# ## Where nobody knows
#
# Now a class that is never seen, and four symptoms of it. The class is summed out inside of the distribution, so NUTS
# moves in the tables alone. It starts at what the prior expects. That matters: the two classes have no names, and the
# posterior has a second mode where they are exchanged.

# %%
names = ["class", "fever", "cough", "rash", "pain"]
truth = {"class": torch.tensor([0.6, 0.4])}
truth |= {name: torch.tensor([[0.85, 0.15], [0.3, 0.7]]) for name in names[1:]}
sick = hgm.Tree.from_edges(
    [("class", name, hgm.Edge(truth[name], name=name)) for name in names[1:]],
    {"class": hgm.Table(truth["class"], name="class")},
)
y = hgm.TreeDistribution(sick).sample((200,))
prior = {"class": torch.tensor([2.0, 2.0])}
prior |= {name: torch.tensor([[3.0, 1.0], [1.0, 3.0]]) for name in names[1:]}


def hidden(y):
    """The class is summed out."""
    tables = {
        name: pyro.sample(name, dist.Dirichlet(a).to_event(a.ndim - 1))
        for name, a in prior.items()
    }
    with pyro.plate("people", len(y)):
        pyro.sample("y", hgm.TreeDistribution(sick, tables), obs=y)


start = {name: a / a.sum(-1, keepdim=True) for name, a in prior.items()}
by_nuts = nuts(hidden, y, start, draws=120)

# %% [markdown]
# Variational inference fits a Gaussian instead. A full covariance comes close. A diagonal one (*mean field*) takes the
# tables for independent, which they are not: if the class is rarer, its symptoms are more frequent. So its intervals
# are too narrow. Do not use it for intervals.


# %%
def gaussian(family):
    """Draws from the Gaussian of a family that is closest to the posterior."""
    pyro.clear_param_store()
    pyro.set_rng_seed(1)
    guide = family(hidden, init_loc_fn=init_to_value(values=start), init_scale=0.1)
    svi = SVI(
        hidden,
        guide,
        ClippedAdam({"lr": 0.04, "lrd": 0.996}),
        Trace_ELBO(num_particles=4, vectorize_particles=True),
    )
    for _ in range(400):
        svi.step(y)
    with torch.no_grad(), pyro.plate("draws", 2000, dim=-2):
        return {
            name: value.squeeze(1) for name, value in guide(y).items() if name in prior
        }


full, diagonal = gaussian(AutoMultivariateNormal), gaussian(AutoDiagonalNormal)
widths = {
    label: torch.stack(
        [draws["class"].std(0)[0], *(draws[name].std(0)[1, 1] for name in names[1:])]
    )
    for label, draws in (
        ("NUTS", by_nuts),
        ("full Gaussian", full),
        ("mean field", diagonal),
    )
}
for label, width in widths.items():
    print(f"{label:14} sds {width.numpy().round(3)}")
assert widths["mean field"][0] < 0.85 * min(
    widths["NUTS"][0], widths["full Gaussian"][0]
)
assert 0.7 < (widths["full Gaussian"] / widths["NUTS"]).mean() < 1.4

# %% alt="Intervals of 95% of five probabilities by three methods; those of mean field are the shortest"
_, ax = plt.subplots(figsize=(7, 3))
for shift, (label, draws) in enumerate(
    (("NUTS", by_nuts), ("full Gaussian", full), ("mean field", diagonal))
):
    columns = [draws["class"][:, 0], *(draws[name][:, 1, 1] for name in names[1:])]
    low, high = torch.stack(columns, 1).quantile(torch.tensor([0.025, 0.975]), 0)
    ax.vlines(
        torch.arange(5) + 0.2 * (shift - 1),
        low,
        high,
        lw=4,
        color=f"C{shift}",
        label=label,
    )
ax.plot(range(5), [0.6] + [0.7] * 4, "k_", ms=25, label="truth")
ax.set_xticks(
    range(5),
    ["p(class 0)"] + [f"p({name} | class 1)" for name in names[1:]],
    fontsize=8,
)
ax.legend(fontsize=8, loc="upper left")
plt.show()

# %% [markdown]
# ## What it is for
#
# A patient with fever and rash: how probable is class 1? Each draw of the tables is a model, and a batch of models is
# one distribution. Its `posterior` is that of `hgm.infer`, so the answer has its own uncertainty.

# %%
models = hgm.TreeDistribution(sick, by_nuts)
patient = torch.tensor([1, -1, 1, -1])  # cough and pain were not asked about
p = models.posterior(patient)["class"][:, 1]
best = hgm.infer(sick, {"fever": 1, "rash": 1})["class"][1]
print(
    f"class 1: {p.mean():.2f}, between {p.quantile(0.025):.2f} and "
    f"{p.quantile(0.975):.2f}; by the truth {best:.2f}"
)
assert abs(p.mean() - best) < 0.25

# %% [markdown]
# ## Exercises
#
# 1. Twice the data: how much narrower are the intervals of the first part?
# 2. Exchange the two classes in all tables. What becomes of the likelihood of the data, and why does the posterior
#    still prefer one order?
# 3. Nothing was asked of a patient. What is the posterior of the class, and how sure is it?
#
# ## Answers
#
# **1.** By $1/\sqrt 2$, as everything that is counted.

# %%
twice = dist.Dirichlet(2 * (counts - 1) + 1)
print("ratio of sds", (twice.stddev / exact.stddev)[:, 0].numpy().round(3))
assert (twice.stddev / exact.stddev - 0.5**0.5).abs().max() < 0.03

# %% [markdown]
# **2.** The likelihood is the same, because nobody saw a class. Only the prior, which expects symptoms of class 1,
# tells the two orders apart. With a flat prior nothing would, and a mean over both modes means nothing.

# %%
exchanged = {name: table.flip(0) for name, table in truth.items()}
likelihoods = [
    float(hgm.TreeDistribution(sick, t).log_prob(y).sum()) for t in (truth, exchanged)
]
priors = [
    sum(float(dist.Dirichlet(a).log_prob(t[name]).sum()) for name, a in prior.items())
    for t in (truth, exchanged)
]
print("log likelihoods", np.round(likelihoods, 3), "log priors", np.round(priors, 2))
assert np.isclose(*likelihoods) and priors[0] > priors[1]

# %% [markdown]
# **3.** The table of the class itself, draw by draw: as sure as that is.

# %%
nothing = models.posterior(torch.full((4,), -1))["class"]
assert torch.allclose(nothing, by_nuts["class"])
print(f"class 1: {nothing[:, 1].mean():.2f} ± {nothing[:, 1].std():.2f}")
