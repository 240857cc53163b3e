# %% [markdown]
# # ReLU networks with a certificate
#
# After this page you can build a network of linear maps and ReLUs that does belief propagation to a tolerance that you
# name, read the proof that comes with it, and try to break it.
#
# The networks of the last two pages contain exp and log. An ordinary network has ReLUs. Song Mei
# ([arXiv 2404.18444](https://arxiv.org/abs/2404.18444)) proved that these suffice; here one is built. [ReLU
# networks](../relu.md) has the theorem and the proof.

# %%
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hgm
from hgm.relu.constructions.difference import log_ratio
from hgm.relu.pieces.piecewise import certify
from hgm.relu.pieces.targets import minimax
from hgm.viz.style import GREY, PALETTE

torch.set_default_dtype(torch.float64)
plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)

# %% [markdown]
# ## One message
#
# Take two states. Of a message $h$ only $x = h_1 - h_0$ matters, and passing a table makes of it
#
# $$g(x) = \log \frac{\psi_{10} + \psi_{11} e^x}{\psi_{00} + \psi_{01} e^x},$$
#
# an S-shaped curve. $n$ ReLUs make a line with $n$ kinks. `minimax` puts them where the largest error is smallest, and
# `certify` says what that error is: on each piece $p - g$ is extreme at the ends or where $g'$ equals the slope,
# which has a closed form. Nothing is sampled, so it is a proof.

# %% alt="The curve with 4 and 8 kinks; the errors go up and down between the certified bounds"
table = np.array([[0.9, 0.1], [0.2, 0.8]])
g = log_ratio(np.log(table))
x = np.linspace(-8, 8, 1001)
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3), layout="constrained")
left.plot(x, g(x), color=GREY, linewidth=3, label="exact")
for units, color in ((4, PALETTE[1]), (8, PALETTE[0])):
    p = minimax(g, units=units)
    bound = certify(p, g).sup
    left.plot(x, p(x), color=color, label=f"{units} ReLUs")
    right.plot(x, p(x) - g(x), color=color)
    for side in (-bound, bound):
        right.axhline(side, color=color, linestyle=":", linewidth=1)
    assert np.abs(p(x) - g(x)).max() <= bound
    print(f"{units} ReLUs: error at most {bound:.4f}")
left.set(xlabel="$h_1 - h_0$", title="the message")
right.set(xlabel="$h_1 - h_0$", title="error, and the bound")
_ = left.legend()

# %% [markdown]
# Twice the kinks, a third of the error, and a quarter when they are many: an error $\omega$ takes $c / \sqrt{\omega}$
# ReLUs.
#
# ## A network
#
# A network has a map like this for each message, up and down, and errors pass through the maps that come after. But a
# table *contracts*: two inputs that differ by $\delta$ give outputs that differ by $\tau \delta$ with $\tau < 1$. So
# errors from far away have faded when they arrive, and the sum of all that arrives is a bound for the whole network.
# `hgm.compile` shares the tolerance out over the maps such that the network is small.

# %% alt="The ReLU network as a U-Net, drawn as the exact one is"
tree = hgm.random_ghm(depth=5, states=2, arity=2, bound=4.0, seed=1)
net = hgm.compile(tree, task="posterior", activation="relu", tol=0.01)
hgm.draw(net)

# %%
print(net.certificate)

# %% [markdown]
# The first line is the claim: for all finite evidence, every leaf and every state, the log of the network's
# probability is within 0.01 of the log of the true one. The table is the bookkeeping: for each stage the error that a
# map adds, what the table leaves of errors that come in, and what has added up. *Units* are ReLUs; *D* is the kind of
# map that we have just drawn. Total variation is how far apart probabilities are, half the sum of the differences.
#
# ## Is there really no exp in it?
#
# Let torch tell what it runs.


# %%
class Watch(TorchDispatchMode):
    """Counts the operators that torch runs."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[func.overloadpacket.__name__.rstrip("_")] += 1
        return func(*args, **(kwargs or {}))


def operators(network):
    """What a forward runs, by name."""
    with torch.no_grad(), Watch() as watch:
        network(torch.zeros(3, 2, 32))
    return watch.seen


exact = hgm.compile(tree, task="posterior")
curved = ("exp", "exp2", "log", "logsumexp", "div", "reciprocal")
for name, network in (("exact", exact), ("ReLU", net)):
    seen = operators(network)
    print(
        f"{name:6}", {op: seen[op] for op in ("relu", *curved, "_softmax") if seen[op]}
    )
assert not any(operators(net)[op] for op in curved) and operators(net)["relu"] > 0

# %% [markdown]
# One softmax is left, which makes probabilities of the last layer's logits, as in every classifier.
#
# ## Try to break it
#
# The bound holds for the worst evidence there is. So look for it: random evidence first, of all strengths, and then
# uphill from there, by gradient ascent on the error.


# %%
def error(network, log_evidence):
    """The largest |log p - log p'| over leaves and states, for each row."""
    log_p, found = (
        net(log_evidence, outputs="log_posterior") for net in (exact, network)
    )
    return (log_p - found).abs().flatten(1).amax(1)


def worst(network, rows=64, steps=60):
    """The largest error of random evidence, and the largest after gradient ascent."""
    generator = torch.Generator().manual_seed(0)
    e = (
        torch.randn(rows, 2, 32, generator=generator)
        * torch.logspace(-1, 1, rows)[:, None, None]
    )
    e.requires_grad_()
    start = float(error(network, e.detach()).max())
    climb = torch.optim.Adam([e], lr=0.1, maximize=True)
    highest = start
    for _ in range(steps):
        climb.zero_grad()
        found = error(network, e)
        highest = max(highest, float(found.detach().max()))
        found.sum().backward()
        climb.step()
    return start, highest


start, highest = worst(net)
proved = net.certificate.log_posterior
print(f"random evidence {start:.4f}, after ascent {highest:.4f}, proved {proved:.4f}")
assert start < highest < proved

# %% [markdown]
# The search comes within a factor of two of the bound and does not pass it. How close is a measure of the proof: a
# bound that is a thousand times too large would be as true.
#
# ## What does accuracy cost?

# %% alt="Units against tolerance on logarithmic axes: a straight line. The errors found lie just below the bound"
tolerances = [1, 0.3, 0.1, 0.03, 0.01, 0.003]
nets = [
    hgm.compile(tree, task="posterior", activation="relu", tol=tol)
    for tol in tolerances
]
units = [one.certificate.units for one in nets]
bounds = [one.certificate.log_posterior for one in nets]
found = [worst(one, rows=32, steps=20)[1] for one in nets]
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3), layout="constrained")
left.loglog(tolerances, units, "o-", color=PALETTE[0])
left.loglog(
    tolerances,
    [units[-1] * (tolerances[-1] / t) ** 0.5 for t in tolerances],
    ":",
    color=GREY,
)
left.set(xlabel="tolerance", ylabel="ReLUs")
right.loglog(tolerances, bounds, "o-", color=PALETTE[0], label="proved")
right.loglog(tolerances, found, "o-", color=PALETTE[1], label="found")
right.set(xlabel="tolerance", ylabel="|log p - log p'|")
_ = right.legend()
assert all(f < b <= t for f, b, t in zip(found, bounds, tolerances, strict=True))

# %% [markdown]
# A hundred times the accuracy for some ten times the ReLUs (dotted: $1 / \sqrt{\text{tol}}$).
#
# ## The proof stays with the network
#
# A file keeps both, and loading gives both back.

# %%
hgm.save_network(net, "relu.safetensors")
again = hgm.load_network("relu.safetensors")
assert again.certificate == net.certificate
print(
    f"{again.certificate.units:,} ReLUs, "
    f"proved to {again.certificate.log_posterior:.4f}"
)

# %% [markdown]
# What a ReLU network is *not* is fast: where the exact one does a multiplication, this one needs dozens of ReLUs. It
# shows that an ordinary network can hold belief propagation, and how large it must be at most.
#
# ## Exercises
#
# 1. Let the library use the paper's own construction, exp and log on uniform grids (`construction="A"`). How many
#    units does it take for a tolerance of 0.1?
# 2. Observe symbols, that is, log evidence of $-\infty$. What does the network say, and what can be proved then?
# 3. Make all tables nearly say nothing (`bound=1.05`). What happens to the network?
#
# ## Answers
#
# **1.** A hundred times as many. A curve of one number needs a few kinks; exp and log apart need fine grids, because
# what one rounds off the other blows up.

# %%
paper = hgm.compile(
    tree, task="posterior", activation="relu", tol=0.1, construction="A"
)
print(f"A: {paper.certificate.units:,} units, chosen: {units[2]:,}")
assert paper.certificate.units > 20 * units[2]

# %% [markdown]
# **2.** It refuses: a piecewise-linear function has no $-\infty$. With `floor=30` such evidence is raised to $-30$;
# what this changes is bounded too, by `floor_total_variation`, because no table here has zeros.

# %%
symbols = torch.tensor([[0, -1] * 16])  # every other leaf; -1 is missing
try:
    net(symbols)
except hgm.Uncertifiable as refusal:
    print(refusal)
floored = hgm.compile(tree, task="posterior", activation="relu", tol=0.01, floor=30)
apart = (floored(symbols) - exact(symbols)).abs().sum(1).max() / 2
proof = floored.certificate.total_variation + floored.certificate.floor_total_variation
print(f"total variation {float(apart):.1e}, proved {proof:.1e}")
assert float(apart) <= proof

# %% [markdown]
# **3.** It vanishes: what comes from a leaf has faded below the tolerance one edge further, so all messages are of
# the kind *constant*, and each leaf's own evidence is all that is looked at.

# %%
flat = hgm.random_ghm(depth=5, states=2, arity=2, bound=1.05, seed=1)
faint = hgm.compile(flat, task="posterior", activation="relu", tol=0.1)
print(
    f"{faint.certificate.units} units, "
    f"error at most {faint.certificate.log_posterior:.3f}"
)
assert faint.certificate.units < units[2] / 4
