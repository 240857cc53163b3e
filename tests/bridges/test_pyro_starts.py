"""Where NUTS starts: by pyro's default some chains settle in a permuted optimum, and no diagnostic tells.

A hidden class with four symptoms. The prior says which class has them, so that with the classes exchanged the posterior
has a second, much lower mode. The chains share nothing but the step: they are positions of one plate. ``pytest -s``
prints the figures.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import init_to_uniform, init_to_value

import hgm

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("double")]

SYMPTOMS = ("fever", "cough", "rash", "pain")


def sick(rows, root):
    """The tree of the class, its symptoms alike."""
    return hgm.Tree.from_edges(
        [("class", name, hgm.Edge(rows, name=name)) for name in SYMPTOMS], {"class": hgm.Table(root, name="class")}
    )


TREE = sick([[0.85, 0.15], [0.3, 0.7]], [0.6, 0.4])
AT_THE_PRIOR = sick([[0.75, 0.25], [0.25, 0.75]], [0.5, 0.5])  # the means of `PRIOR`
PRIOR = {"class": [2.0, 2.0]} | {name: [[3.0, 1.0], [1.0, 3.0]] for name in SYMPTOMS}


def model(counts, chains):
    """`counts` ``(16,)``: how often each row was seen. ``(chains,)`` log joint probability."""
    prior = {name: torch.tensor(a, dtype=torch.float64) for name, a in PRIOR.items()}
    with pyro.plate("chains", chains):
        tables = {name: pyro.sample(name, dist.Dirichlet(a).to_event(a.ndim - 1)) for name, a in prior.items()}
        d = hgm.TreeDistribution(TREE, {name: table[:, None] for name, table in tables.items()})
        log = (counts * d.log_prob(d.enumerate_support(expand=False)[:, 0, 0])).sum(-1)
        pyro.factor("rows", log)
    return log + sum(dist.Dirichlet(a).to_event(a.ndim - 1).log_prob(tables[name]) for name, a in prior.items())


def drawn_from(start, counts, chains):
    """The draws of each chain, how often they diverged, the worst R-hat, and the mean log joint of each."""
    mcmc = MCMC(NUTS(model, init_strategy=start), num_samples=150, warmup_steps=150, disable_progbar=True)
    mcmc.run(counts, chains)
    draws, found = mcmc.get_samples(), mcmc.diagnostics()
    own = {name: draws[name].reshape(-1, chains, *torch.tensor(PRIOR[name]).shape) for name in PRIOR}
    r_hat = torch.stack([found[name]["r_hat"].reshape(chains, -1).amax(1) for name in PRIOR]).amax(0)
    diverged = sum(len(steps) for steps in found["divergences"].values())
    log = torch.stack([
        poutine.condition(model, data={name: x[i] for name, x in own.items()})(counts, chains) for i in range(0, 150, 5)
    ]).mean(0)  # fmt: skip
    return own, diverged, r_hat, log


def test_default_starts_settle_in_a_permuted_optimum_and_a_fit_does_not():
    support = hgm.TreeDistribution(TREE).enumerate_support()
    x = hgm.TreeDistribution(TREE).sample((200,))
    counts = (x[:, None] == support).all(-1).double().sum(0)

    draws, diverged, r_hat, log = drawn_from(init_to_uniform, counts, 20)
    share = draws["fever"][..., 1].mean(0)  # (20, 2): how often each class has fever
    permuted = share[:, 0] > share[:, 1]
    print(
        f"\n{int(permuted.sum())} of {len(permuted)} chains permuted, {diverged} divergences, R-hat of these "
        f"{r_hat[permuted].numpy().round(3)}, of the others {r_hat[~permuted].numpy().round(3)}; log joint "
        f"{log[permuted].numpy().round(1)} and {log[~permuted].numpy().round(1)}; fever by class "
        f"{share[permuted].mean(0).numpy().round(2)} and {share[~permuted].mean(0).numpy().round(2)}"
    )
    assert 0 < int(permuted.sum()) < 10
    assert diverged <= 2 and float(r_hat[permuted].median()) < 1.05, "the diagnostics are clean"
    assert float(log[permuted].max()) < float(log[~permuted].min()) - 10, "the log joint tells"

    fitted = hgm.fit(AT_THE_PRIOR, x, smoothing=1.0).tree  # EM from the means of the prior
    start = {p.name: torch.tensor(p.log_potential).exp().expand(4, *p.shape) for p in fitted.potentials}
    draws, _, _, own = drawn_from(init_to_value(values=start), counts, 4)
    assert bool((own > log[~permuted].min() - 3).all())
    share = draws["fever"][..., 1].mean((0, 1))
    print(f"from hgm.fit: fever by class {share.numpy().round(2)}, log joint {own.numpy().round(1)}")
    assert torch.allclose(share, torch.tensor([0.15, 0.7]), atol=0.2)
