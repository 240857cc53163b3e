# %% [markdown]
# # Diffusion with the exact denoiser
#
# A diffusion model learns one thing, the denoiser $E[x \mid z]$, and everything else follows from it. For data from a
# tree nothing needs to be learned: the compiled U-Net is that denoiser, and so $\log p_t(z)$, the log density of noisy
# images at time $t$, its gradient $\nabla_z \log p_t(z)$, which is called the *score*, the moments and entropies of the
# posterior, and the errors of samplers are numbers to look at. After this page you can get each of
# these for a tree of your own, and tell a sampler's error from a network's. [Diffusion](../diffusion.md) has the
# formulas.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import hgm
from hgm import diffusion
from hgm.viz.style import GREY, PALETTE

plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## Images from a tree
#
# A time of day decides how bright an image is; four quarters, sixteen patches and sixty-four pixels inherit it. Each
# keeps the state of its parent with a probability that falls from level to level, and else draws any of four.


# %%
def inherit(keep, states=4):
    """The table of a child that keeps its parent's state, or else draws one."""
    return keep * np.eye(states) + (1 - keep) / states


levels = [
    hgm.Level(arity=(2, 2), states=4, potential=inherit(keep))
    for keep in (0.9, 0.85, 0.7)
]
tree = hgm.ghm(levels, root=["night", "dusk", "dawn", "day"])
# grey values, as diffusion models have them
channel = hgm.Gaussian(np.linspace(-1, 1, 4))
images = hgm.infer(tree).sample(200, generator=generator)
x = images.leaves  # (200, 8, 8)

# %% [markdown]
# ## Noise, and what is left of the image
#
# The process $z = \alpha(t)\,x + \sigma(t)\,g$ preserves variance: $\alpha^2 + \sigma^2 = 1$. `Exact` sees the tree
# through it. Below each noisy image are $E[x \mid z]$, the best guess there is, and one sample of $p(x \mid z)$, an
# image that could have been. The guess fades to grey as the noise grows. The sample stays an image, and becomes another
# one.

# %% alt="An image at five times: above with noise, in the middle the posterior mean, below a posterior sample"
process = diffusion.VariancePreserving()
exact = diffusion.Exact(tree, process, channel)
times = [0.05, 0.15, 0.3, 0.5, 0.8]

figure, axes = plt.subplots(3, 5, figsize=(8, 5))
for column, t in zip(axes.T, times, strict=True):
    z = process.observe(x[:1], t, channel, generator=generator)
    guess = exact.sample(z, t, generator=generator).values(channel)[0]
    for ax, picture in zip(column, (z, exact.mean(z, t), guess), strict=True):
        ax.imshow(picture[0], cmap="gray", vmin=-1.2, vmax=1.2)
        ax.set(xticks=[], yticks=[], frame_on=False)
    column[0].set_title(f"t = {t}", fontsize=10)
for ax, name in zip(axes[:, 0], ("z", "E[x | z]", "a sample"), strict=True):
    ax.set_ylabel(name)
plt.show()

# %% [markdown]
# ## The score is exact
#
# By Tweedie's formula the score is $(\alpha\,E[x \mid z] - z) / \sigma^2$. And $\log p_t(z)$ is the network's log
# partition, with all constants, which autograd can differentiate. Those are two computations of one thing: a forward
# pass of the U-Net, and a backward pass through its encoder.

# %%
t = 0.3
z = process.observe(x[:5], t, channel, generator=generator).requires_grad_()
(gradient,) = torch.autograd.grad(exact.log_prob(z, t).sum(), z)
assert torch.allclose(gradient, exact.score(z, t), atol=1e-10)
print("log p_t(z):", np.round(exact.log_prob(z, t).tolist(), 3))

# %% [markdown]
# ## The smallest error, three ways
#
# No denoiser has a smaller squared error than $E[x \mid z]$, and that error is known without one look at $x$: it is the
# trace of the posterior covariance, from the marginals of the pixels, or $\sigma^2/\alpha$ times the trace of the
# denoiser's own derivative. The squared error on samples agrees, with a far larger error bar.

# %%
clean = images.values(channel)
for t in (0.1, 0.3):
    z = process.observe(x, t, channel, generator=generator)
    squared = (exact.mean(z, t) - clean).square().flatten(1).sum(1)
    variance = exact.variance(z, t).flatten(1).sum(1)
    trace = exact.covariance(z[:50], t).diagonal(dim1=1, dim2=2).sum(1)
    assert torch.allclose(trace, variance[:50], atol=1e-10)
    apart = squared - variance
    assert abs(float(apart.mean())) < 4 * float(apart.std()) / len(x) ** 0.5
    for name, each in (("variance", variance), ("squared error", squared)):
        mean, error = float(each.mean()), float(each.std()) / len(x) ** 0.5
        print(f"t = {t}  {name:>13}: {mean:.2f} ± {error:.2f}")

# %% [markdown]
# ## The class is decided first
#
# A sampler runs back in time, from 1 to 0. What does $z$ know on the way? The entropy of each level given $z$ is exact;
# here is its mean over images, as a share of the largest it could be. Read it from the right. Where half of the class
# is known, most of a pixel is not; then come the quarters, the patches, and at the very end the pixels. The tree is
# drawn from its root, though nobody told the sampler that there is one.

# %% alt="Entropy of class, quarters, patches and pixels against time: the coarser the level, the later it rises"
grid = np.linspace(0.02, 1, 36)
entropy = []
for t in grid:
    # the same noise at all times: smooth curves
    same = torch.Generator().manual_seed(1)
    z = process.observe(x, t, channel, generator=same)
    entropy.append(exact.entropy(z, t).mean(0).numpy())
share = np.array(entropy) / (np.array([1, 4, 16, 64]) * np.log(4))

figure, ax = plt.subplots(figsize=(7.5, 3.6))
half = []
for name, level, color in zip(
    ("class", "quarters", "patches", "pixels"), share.T, PALETTE, strict=False
):
    half.append(np.interp(0.5, level, grid))
    ax.plot(grid, level, color=color, label=name)
    ax.plot(half[-1], 0.5, "o", color=color, markersize=5)
ax.axhline(0.5, color=GREY, linewidth=0.6, linestyle=":")
ax.set(
    xlabel="t: data at 0, noise at 1", ylabel="entropy given z, share of the largest"
)
ax.set(xlim=(0, 1), ylim=(0, 1.02))
ax.legend()
plt.show()
of_pixels = np.interp(half[0], grid, share[:, 3])
print(
    "half is known at t =",
    np.round(half, 2),
    f"; pixels still have {of_pixels:.0%} at the first",
)
# each level later, on the way back, than the one above it
assert np.all(np.diff(half) < 0)
assert of_pixels > 0.7

# %% [markdown]
# ## The same in nats
#
# With $z = x + \sigma g$ and $\text{snr} = 1/\sigma^2$, the entropy of the images is half the area under the smallest
# error: $H(x) = \tfrac12 \int_0^\infty \text{mmse}(\text{snr})\, d\,\text{snr}$ (Guo, Shamai, Verdú). It is also the
# mean of $-\log p(x)$, which the tree knows. The process that has $\alpha = 1$ is variance exploding.

# %%
noise = diffusion.VarianceExploding(0.05, 30.0)
seen = diffusion.Exact(tree, noise, channel)
rows = []
for t in np.linspace(1, 0, 50):
    z = noise.observe(x, t, channel, generator=generator)
    rows.append(seen.variance(z, t).flatten(1).sum(1))
snr = noise.at(np.linspace(1, 0, 50))[1] ** -2  # from 1/900 to 400
mmse = torch.stack(rows, 1)
# below 1/900 it is flat
area = torch.trapezoid(mmse * snr, snr.log(), dim=1) + mmse[:, 0] * snr[0]

cnn = hgm.compile(tree, "classify").double()
many = hgm.infer(tree).sample(4000, generator=generator).leaves
log_p = cnn.log_partition(many) - hgm.infer(tree).log_partition

found = {"half the area": area / 2, "mean of -log p": -log_p}
mean = {name: float(each.mean()) for name, each in found.items()}
error = {name: float(each.std()) / len(each) ** 0.5 for name, each in found.items()}
for name in found:
    print(f"{name:>14}: {mean[name]:.2f} ± {error[name]:.2f} nats")
assert abs(np.subtract(*mean.values())) < 3 * np.hypot(*error.values())

# %% [markdown]
# ## Sampling: the error is the sampler's own
#
# `sample` runs any denoiser on a scheduler of diffusers. With this one, whatever is wrong with the images is the
# scheduler's doing, and `quality` finds it. Here are 1,000 images of DDIM in 20 steps.

# %%
unet = hgm.compile(tree, "denoise", channel=channel).double()


def drawn(scheduler, steps, n=1000):
    """n images, from the same noise each time."""
    seeded = torch.Generator().manual_seed(1)
    return diffusion.sample(unet, scheduler, n, steps=steps, generator=seeded)


quality = {
    (name, steps): diffusion.quality(drawn(name, steps), tree, channel, reference=1000)
    for name, steps in (("ddim", 20), ("ddpm", 20), ("dpm++", 50))
}
print(quality["ddim", 20])

# %% [markdown]
# The log likelihood is as it should be, and the images are wrong all the same: from `symbols` down, every measure tells
# them from exact ones (`p` is the p-value of the hypothesis that they are exact). Each estimate there is a total
# variation distance, and the column *exact samples* says how large it is for exact ones, since there are only so many.
#
# DDPM in 20 steps shows in the likelihood too: its images are *likelier* than images are. DPM-Solver++, of second
# order, in 50 steps cannot be told from the tree by a thousand images.

# %%
print(
    f"{'':10}{'steps':>6}{'log p':>10}{'exact':>10}{'p of log p':>12}{'p of pairs':>12}"
)
for (name, steps), q in quality.items():
    of, pairs = q["log likelihood"], q["pairs"]
    print(
        f"{name:10}{steps:6d}{of.estimate:10.2f}{of.expected:10.2f}"
        f"{of.p:12.1g}{pairs.p:12.1g}"
    )
ddim, ddpm, solver = quality.values()
assert (
    ddim["log likelihood"].p > 0.1 and ddim["pairs"].p < 1e-6 and ddim["root"].p < 1e-3
)
assert ddpm["log likelihood"].low > ddpm["log likelihood"].expected
assert all(measure.p is None or measure.p > 0.01 for measure in solver.measures)

# %% alt="Sixteen images drawn by DPM-Solver++ in 50 steps"
figure, axes = plt.subplots(2, 8, figsize=(8, 2.2))
for ax, image in zip(axes.flat, drawn("dpm++", 50, 16), strict=True):
    ax.imshow(image, cmap="gray", vmin=-1.2, vmax=1.2)
    ax.set_axis_off()
plt.show()

# %% [markdown]
# ## Steps against error
#
# From one noise a fine enough solver of the probability flow reaches one image. How far from it do fewer steps end?
# Twice as many steps of Euler's method halve the distance. Heun's asks twice in a step, and nears a quarter.

# %% alt="Mean distance to the fine solution against the number of questions: Heun falls faster than Euler"
fine = drawn("heun", 400, 200)
steps = [16, 32, 64, 128]
slopes = {}
figure, ax = plt.subplots(figsize=(6, 3.4))
for name, ask, color in (("euler", 1, PALETTE[0]), ("heun", 2, PALETTE[1])):
    away = [float((drawn(name, k, 200) - fine).abs().mean()) for k in steps]
    slopes[name] = np.polyfit(np.log(steps[1:]), np.log(away[1:]), 1)[0]
    label = f"{name}, slope {slopes[name]:.1f}"
    ax.loglog([ask * k for k in steps], away, "o-", color=color, label=label)
ax.set(xlabel="questions to the denoiser", ylabel="mean distance of a pixel")
ax.set_xticks([16, 32, 64, 128, 256], [16, 32, 64, 128, 256])
ax.minorticks_off()
ax.legend()
plt.show()
assert -1.25 < slopes["euler"] < -0.75 and slopes["heun"] < -1.5

# %% [markdown]
# ## Tokens: masked diffusion
#
# The other kind of noise hides symbols. A sequence of 32 tokens from a binary tree begins all hidden. A step reveals
# some, each drawn from its exact posterior given those that are known. Tokens of one step are drawn as if
# independent, which they are not: that is the only error. It is known, as the divergence KL(p || q) of what is drawn,
# $q$, from the truth, $p$, in nats (1.44 bits). `schedule` finds the step sizes that cost least.

# %%
tokens = hgm.ghm([hgm.Level(2, 4, inherit(0.93)) for _ in range(5)], root=4)
plan = diffusion.schedule(tokens, 6)
print(plan)

# %% [markdown]
# The first tokens are the dear ones: while nothing is known, what two of them share is drawn twice. So the best sizes
# start small and grow. They cost half as much as equal ones.

# %% alt="KL against the number of steps: the best step sizes lie well below equal ones"
counts = [1, 2, 4, 8, 16]
plans = [diffusion.schedule(tokens, k) for k in counts]
figure, ax = plt.subplots(figsize=(6, 3.4))
for name, color in zip(("equal", "best"), PALETTE, strict=False):
    cost = [getattr(plan, name) for plan in plans]
    kl, bars = [c.kl for c in cost], [2 * c.stderr for c in cost]
    ax.errorbar(counts, kl, bars, fmt="o-", color=color, label=f"{name} steps")
ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="KL, nats")
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.legend()
plt.show()
for each in plans:
    sizes = " ".join(map(str, each.sizes))
    print(
        f"best {each.best.kl:6.2f} nats, equal {each.equal.kl:6.2f}, "
        f"best sizes: {sizes}"
    )
assert all(each.best.kl < 0.7 * each.equal.kl for each in plans[1:])

# %% [markdown]
# The sampler takes a plan as its scheduler. Two steps lose nats that `quality` sees; thirty-two steps of one token are
# exact.

# %%
posterior = hgm.compile(tokens, "posterior", channel=hgm.Erasure(), query="leaves")
for k in (2, 32):
    plan = diffusion.schedule(tokens, k)
    sequences = diffusion.sample(posterior, plan, 1000, generator=generator)
    pairs = diffusion.quality(sequences, tokens, reference=1000)["pairs"]
    print(
        f"{k:2d} steps: pairs {pairs.estimate:.3f} from the tree, "
        f"exact samples {pairs.expected:.3f}"
    )
    assert (pairs.p < 1e-6) if k == 2 else (pairs.p > 0.01)

# %% [markdown]
# Next: [Conditioning, inpainting and guidance, exactly](conditioning.md).
#
# ## Exercises
#
# 1. Most networks are trained to predict the noise $g$. What is the best prediction of it, and how is it the score?
# 2. What is the smallest error at $t = 1$? You need no sampler and no network for it.
# 3. All 32 tokens in a single step: how many nats does that cost, in terms of entropies?
#
# ## Answers
#
# **1.** $z = \alpha x + \sigma g$ is solved for $g$: $\hat g = (z - \alpha E[x \mid z]) / \sigma$. The score is
# $-\hat g / \sigma$.

# %%
t = 0.3
z = process.observe(x[:5], t, channel, generator=generator)
alpha, sigma = (float(each) for each in process.at(t))
predicted = (z - alpha * exact.mean(z, t)) / sigma
assert torch.allclose(exact.score(z, t), -predicted / sigma, atol=1e-10)

# %% [markdown]
# **2.** Nothing is known of the image any more, so it is the variance of the pixels under the model.

# %%
z = process.observe(x, 1.0, channel, generator=generator)
smallest = float(exact.variance(z, 1.0).flatten(1).sum(1).mean())
greys = torch.linspace(-1, 1, 4)
prior = float(64 * greys.var(correction=0))  # by symmetry a pixel is any grey as often
print(f"smallest error {smallest:.2f}, variance of an image {prior:.2f}")
assert abs(smallest / prior - 1) < 0.01

# %% [markdown]
# **3.** The entropies of the tokens one by one, minus that of all together: their *total correlation*.

# %%
scorer = hgm.compile(tokens, "classify").double()
sequences = hgm.infer(tokens).sample(4000, generator=generator).leaves
entropy = float(
    (hgm.infer(tokens).log_partition - scorer.log_partition(sequences)).mean()
)
cost = diffusion.schedule(tokens, 1).best
print(
    f"32 log 4 - H = {32 * np.log(4) - entropy:.2f} nats, one step costs {cost.kl:.2f}"
)
assert abs(32 * np.log(4) - entropy - cost.kl) < 1.5
