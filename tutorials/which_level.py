# %% [markdown]
# # Which level matters at which noise?
#
# A diffusion model makes an image from coarse to fine: first the composition, then the parts, at last the texture. At
# which noise is what decided? For images of a tree this can be computed: the hidden nodes of a level *are* what the
# image shows at that scale, and their exact posterior says how much of them is still undecided. After this page you can
# draw up, for any tree, the table that courses give in words: resolution level, what it captures, noise scale.

# %%
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgba

import hgm
from hgm.measure.threshold import siblings
from hgm.viz.style import GREY, PALETTE

plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)

# 16x16 pixels, each node copies its parent with probability 0.8
tree = hgm.broadcast(4, 4, (2, 2), eps=0.15)
channel = hgm.Gaussian([-1.5, -0.5, 0.5, 1.5])
# Above 1, what is far away matters: the threshold of "Why U-Nets?"
print("d lambda^2 of each level:", np.round(siblings(tree), 2))

# %% [markdown]
# ## One image, more and more noise
#
# Below each noisy image is what can be said of it: the most probable state of every node, level by level, and blue
# where no state has a probability above a half.

# %%
posterior = hgm.compile(tree, "posterior", channel=channel, query="all")
names = ["the image", "2x2 patches", "4x4 parts", "8x8 quarters", "the whole"]
levels = [tree.at_level(k) for k in (4, 3, 2, 1, 0)]
x = hgm.infer(tree).sample(1, generator=torch.Generator().manual_seed(29)).leaves


def noisy(x, sigma, seed=0):
    """The same noise at every level, more or less of it."""
    return channel.bound(4).observe(
        x, sigma, generator=torch.Generator().manual_seed(seed)
    )


# %% alt="Noisy images and what is known of every level: with more noise fine levels turn grey first, and the top last"
sigmas = [0.3, 0.8, 2, 5, 12]
figure, axes = plt.subplots(6, 5, figsize=(6.4, 7.6))
for column, sigma in zip(axes.T, sigmas, strict=True):
    z = noisy(x, sigma)
    column[0].imshow(z[0], cmap="gray", vmin=-1.5 - sigma, vmax=1.5 + sigma)
    column[0].set_title(f"σ = {sigma}")
    p = posterior(z, sigma)[0].numpy()
    for axis, nodes in zip(column[1:], levels, strict=True):
        side = int(len(nodes) ** 0.5)
        best, state = (
            found(p[:, nodes], 0).reshape(side, side) for found in (np.max, np.argmax)
        )
        color = plt.get_cmap("gray")(state / 3)
        color[best < 0.5] = to_rgba(PALETTE[0], 0.25)
        axis.imshow(color, extent=(0, 16, 16, 0))
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
for axis, name in zip(axes[:, 0], ["noisy", *names], strict=True):
    axis.set_ylabel(name)

# %% [markdown]
# ## How much of each level is undecided
#
# The entropy of a node's posterior, on average over many images, says how much of it noise has taken away: 0 is
# decided, 1 is all that there was.

# %%
grid = np.geomspace(0.15, 40, 17)
images = hgm.infer(tree).sample(150, generator=torch.Generator().manual_seed(0)).leaves
left = []
for sigma in grid:
    p = posterior(noisy(images, float(sigma), seed=1), float(sigma))
    entropy = -torch.xlogy(p, p).sum(1).mean(0)  # of every node
    left.append([float(entropy[nodes].mean()) / np.log(4) for nodes in levels])
left = np.array(left)


def half(share):
    """The noise at which half of a level is undecided."""
    return float(np.exp(np.interp(0.5, share, np.log(grid))))


# %% alt="Share of each level that is undecided against noise: pixels first, the top last"
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, share, color in zip(names, left.T, PALETTE, strict=False):
    axis.semilogx(grid, share, color=color, label=name)
    axis.plot(half(share), 0.5, "o", color=color)
axis.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
axis.set(xlabel="noise σ", ylabel="share of the entropy that is left", ylim=(0, 1))
_ = axis.legend()

# %% [markdown]
# Read from right to left this is how an image comes into being when noise is taken away: first the whole is decided,
# then its quarters, its parts, its patches, and last the pixels. Each level has its own range of noise.
#
# ## What each level is worth
#
# To decide is one thing, to need it another: what would a network lose that knows nothing above a level? That is a
# U-Net with fewer resolutions, `hgm.ablate(tree, "block", level=k)`. The *difference* of two such networks is what one
# level adds.

# %%
noise = np.geomspace(0.2, 20, 15).tolist()
cut = {
    k: hgm.compare(
        hgm.ablate(tree, "block", level=k, channel=channel), tree, noise=noise, n=200
    )
    for k in (4, 3, 2, 1)
}
costs = {
    k: np.array([row["excess"] for row in gap.rows()]) for k, gap in cut.items()
} | {0: np.zeros(len(noise))}
sizes = {3: "2x2", 2: "4x4", 1: "8x8", 0: "16x16"}

# %% alt="What each resolution adds, against noise: each has a peak, the coarser the further to the right"
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
peaks = {}
for (k, size), color in zip(sizes.items(), PALETTE, strict=False):
    gain = costs[k + 1] - costs[k]
    peaks[k] = noise[int(np.argmax(gain))]
    axis.loglog(noise, np.maximum(gain, 1e-5), color=color, label=size)
axis.set(xlabel="noise σ", ylabel="squared error saved, per pixel", ylim=(1e-4, 1))
_ = axis.legend(title="to see blocks of")

# %% [markdown]
# ## The table
#
# Resolution level, what it captures, at which noise: with numbers in place of words.

# %%
print(
    f"{'level':14} {'half undecided at σ':>20} "
    f"{'worth most at σ':>17} {'error saved there':>18}"
)
for k, (name, share) in enumerate(zip(names, left.T, strict=True)):
    level = 4 - k
    gain = costs[level + 1] - costs[level] if level < 4 else None
    most = f"{peaks[level]:17.2g} {gain.max():18.3f}" if gain is not None else ""
    print(f"{name:14} {half(share):20.2g} {most}")

halves = [half(share) for share in left.T]
in_order = [peaks[k] for k in (3, 2, 1, 0)]
assert halves == sorted(halves) and in_order == sorted(in_order)

# %% [markdown]
# The levels come in order in both columns: what is finer is decided later, and is worth most at less noise. A U-Net
# with fewer resolutions loses exactly the last rows, and a diffusion model need not run its coarse resolutions where
# their row says that nothing is left to gain. Below the threshold ($d\lambda^2 < 1$; try `eps=0.45`) the coarse rows
# all but vanish: there the levels are hidden for good, at any noise, and no network needs them.
#
# ## Exercises
#
# 1. Below the threshold (`eps=0.45`), how much of the top is left undecided when there is no noise to speak of?
# 2. By which factor does the noise at which half is undecided grow from level to level? Explain it by two numbers: four
#    children, and a copy with probability $\lambda = 0.8$.
# 3. You are told the top. Of which levels do you know more now, at $\sigma = 12$?
#
# ## Answers
#
# **1.** Nearly all: 256 clean pixels hardly know the state they come from.

# %%
below = hgm.broadcast(4, 4, (2, 2), eps=0.45)
clean = hgm.infer(below).sample(150, generator=torch.Generator().manual_seed(0)).leaves
p = hgm.compile(below, "classify", channel=channel)(noisy(clean, 0.15), 0.15)
undecided = float(-torch.xlogy(p, p).sum(1).mean()) / np.log(4)
print(f"d lambda^2 = {siblings(below)[0]:.2f}: {undecided:.0%} of the top is undecided")
assert undecided > 0.8

# %% [markdown]
# **2.** By 1.6 at most. The mean of four children has half the noise, and a signal that is weaker by $\lambda$: a node
# bears $2 \lambda = \sqrt{d \lambda^2}$ times the noise of what is below it. In truth it is less, the less the
# higher, for lower nodes are helped from above and from beside, too, and the top has nobody above it.

# %%
factors = [above / under for under, above in pairwise(halves)]
print("factors", np.round(factors, 2))
assert all(1 < factor < 1.6 for factor in factors)

# %% [markdown]
# **3.** Of every level, and the more the nearer it is to the top: each step down forgets.

# %%
z = noisy(images[:50], 12.0, seed=1)
drawn = hgm.infer(tree).sample(150, generator=torch.Generator().manual_seed(0))
label = drawn.states[:50, 0]
told = hgm.infer(tree, z, 12.0, channel=channel, evidence={"label": label}).marginals
untold = hgm.infer(tree, z, 12.0, channel=channel).marginals
gained = []
for name, nodes in zip(names, levels, strict=True):
    ent = [
        float(-torch.xlogy(p, p).sum(1)[:, nodes].mean()) / np.log(4)
        for p in (untold, told)
    ]
    print(f"{name:14} undecided {ent[0]:.3f}, when told the top {abs(ent[1]):.3f}")
    gained.append(ent[0] - ent[1])
assert gained == sorted(gained)
