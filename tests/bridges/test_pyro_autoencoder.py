"""A variational autoencoder whose prior is a tree: encoder, decoder and tree are learned; the best ELBO is known.

    p(x) = sum_z p_tree(z) prod_i p(x_i | z_i)          z: the leaves of a tree, x_i: what a network decodes z_i to
    q(z | x) ~ q_tree(z) prod_i exp g_i(x)[z_i]         g: the encoder's network

The decoder treats each leaf by itself, so log p(x) is `hgm.log_partition` with log p(x_i | .) as evidence. The
posterior is of q's form, so the ELBO can come as near as one likes; where q takes the leaves for independent it cannot.
"""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceEnum_ELBO
from pyro.optim import ClippedAdam
from torch import nn

import hgm

pytestmark = pytest.mark.usefixtures("double")

NOISE, KEEP = 1.2, 0.9
EDGES = [("r", "a"), ("r", "b"), ("a", "z0"), ("a", "z1"), ("b", "z2"), ("b", "z3")]
STEP = hgm.Edge([[KEEP, 1 - KEEP], [1 - KEEP, KEEP]], name="step")
PRIOR = hgm.Tree.from_edges([(*edge, STEP) for edge in EDGES], {"r": [0.5, 0.5]})
SEEN = {f"z{i}": hgm.Table([1.0, 1.0], name=f"seen{i}") for i in range(4)}
TREE = hgm.Tree.from_edges([(*edge, STEP) for edge in EDGES], {"r": [0.5, 0.5]} | SEEN)
INDEPENDENT = hgm.Tree.from_factors([((leaf,), table) for leaf, table in SEEN.items()])
CENTRES = torch.tensor([[-1.0, 0.5], [1.0, -0.5]], dtype=torch.float64)
ELBO = TraceEnum_ELBO(max_plate_nesting=1)


def network(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, outputs))


def kept(name):
    """The table of a step that is kept with the probability that the parameter is."""
    keep = pyro.param(name, torch.tensor(0.6), constraint=dist.constraints.unit_interval)
    return torch.stack([torch.stack([keep, 1 - keep]), torch.stack([1 - keep, keep])])


class Autoencoder:
    """The model and the guide of a batch ``(B, 4, 2)``."""

    def __init__(self, shape):
        self.encoder, self.decoder, self.shape = network(8, 8), network(2, 2), shape

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", hgm.TreeDistribution(PRIOR, {"step": kept("keep")}))
            mean = self.decoder(nn.functional.one_hot(z, 2).to(x))
            pyro.sample("x", dist.Normal(mean, NOISE).to_event(2), obs=x)

    def posterior(self, x):
        """q(z | x), a tree for each row."""
        pyro.module("encoder", self.encoder)
        logs = dict(zip(SEEN, self.encoder(x.flatten(1)).reshape(-1, 4, 2).unbind(1), strict=True))
        own = {} if self.shape is INDEPENDENT else {"step": kept("keep of q").log()}
        return hgm.TreeDistribution(
            self.shape, log_potentials=own | {SEEN[leaf].name: log for leaf, log in logs.items()}
        )

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", self.posterior(x), infer={"enumerate": "parallel"})

    @torch.no_grad()
    def evidence(self, x):
        """``(B, S, 4)`` log p(x_i | z_i)."""
        return dist.Normal(self.decoder(torch.eye(2))[:, None], NOISE).log_prob(x[:, None]).sum(-1)

    @torch.no_grad()
    def elbo_and_best(self, x):
        """The ELBO, and log p(x) itself, in nats per row."""
        exact = hgm.log_partition(PRIOR, self.evidence(x), log_potentials={"step": kept("keep").log()}).mean()
        return -ELBO.loss(self.model, self.guide, x) / len(x), float(exact)

    def train(self, x):
        svi = SVI(self.model, self.guide, ClippedAdam({"lr": 0.03}), ELBO)
        for _ in range(120):
            svi.step(x)


def data(rows):
    z = hgm.TreeDistribution(PRIOR).sample((rows,))
    return CENTRES[z] + NOISE * torch.randn(rows, 4, 2)


def test_the_elbo_reaches_the_exact_evidence():
    x, new = data(200), data(500)
    by_truth = dist.Normal(CENTRES[:, None], NOISE).log_prob(new[:, None]).sum(-1)
    best = float(hgm.log_partition(PRIOR, by_truth).mean())
    vae = Autoencoder(TREE)
    first, _ = vae.elbo_and_best(x)
    vae.train(x)
    last, exact = vae.elbo_and_best(x)
    elsewhere, there = vae.elbo_and_best(new)
    assert first + 0.5 < last < exact + 1e-9 and exact - last < 0.01, (first, last, exact)
    assert there - 0.01 < elsewhere < there + 1e-9, "rows that it was not trained on"
    assert abs(there - best) < 0.05, "the model is as good as the truth"
    assert abs(float(pyro.param("keep").detach()) - KEEP) < 0.06

    step = kept("keep").detach().log().numpy()
    learned = PRIOR.with_potentials([p.with_log(step) if p.name == "step" else p for p in PRIOR.potentials])
    want = hgm.infer(learned, vae.evidence(new))["a"]
    with torch.no_grad():
        q = vae.posterior(new).posterior(torch.full((len(new), 4), -1))["a"]
    assert float((q - want).abs().mean()) < 0.05, "of a variable that the guide does not name"


def test_a_gap_stays_where_the_guide_takes_the_leaves_for_independent():
    x = data(200)
    vae = Autoencoder(INDEPENDENT)
    vae.train(x)
    last, exact = vae.elbo_and_best(x)
    assert exact - last > 0.03
