# %% [markdown]
# # Conditioning, inpainting and guidance, exactly
#
# To draw a class, to fill in half an image, to lean to a label by a classifier's gradient: diffusion models do all of
# this, mostly by approximations that nobody can check. On a tree the right answer is known, so each can be held against
# it. After this page you can condition a sampler on whatever you know, and measure what an approximation of that does.
# [Diffusion with the exact denoiser](diffusion.md) comes before this one.

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


def inherit(keep, states=4):
    """The table of a child that keeps its parent's state, or else draws one."""
    return keep * np.eye(states) + (1 - keep) / states


levels = [
    hgm.Level(arity=(2, 2), states=4, potential=inherit(keep))
    for keep in (0.8, 0.85, 0.8)
]
tree = hgm.ghm(levels, root=["night", "dusk", "dawn", "day"])
greys = torch.linspace(-1, 1, 4, dtype=torch.float64)
channel = hgm.Gaussian(greys)


def show(rows, titles=(), width=8):
    """Rows of pictures, with the name of each row at its left."""
    columns = max(len(row) for row in rows.values())
    cmap = plt.get_cmap("gray").with_extremes(bad="#b7cfe8")  # where nothing is known
    _, axes = plt.subplots(
        len(rows), columns, figsize=(width, width / columns * len(rows))
    )
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(line, row, strict=True):
            ax.imshow(picture, cmap=cmap, vmin=-1.2, vmax=1.2)
            ax.set(xticks=[], yticks=[], frame_on=False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title, fontsize=9)
    plt.show()


# %% [markdown]
# ## Conditioning is evidence
#
# `Denoiser` takes whatever `hgm.infer` takes: a class, known pixels, a hidden node (the upper left quarter is `h1_0_0`,
# and its state 3 the brightest), a mixture of classes, or several at once. What it gives is
# $E[x \mid z, \text{evidence}]$, without approximation, so a sampler turns noise into samples given the evidence and
# needs to know nothing of it.

# %% alt="Rows of eight samples: of the class day, with a bright quarter, night or day, with a dark last row"
dark = {f"x7_{column}": 0 for column in range(8)}
evidence = {
    "day": {"label": "day"},
    "a bright quarter": {"h1_0_0": 3},
    "night or day": {"label": {"night", "day"}},
    "dark below, likely day": {**dark, "label": {"night": 0.1, "day": 0.9}},
}


def drawn(denoiser, n, steps=30):
    """n samples, from the same noise each time."""
    seeded = torch.Generator().manual_seed(1)
    return diffusion.sample(denoiser, "dpm++", n, steps=steps, generator=seeded)


show(
    {
        name: drawn(diffusion.Denoiser(tree, channel, e), 8)
        for name, e in evidence.items()
    }
)

# %% [markdown]
# They are right: how bright each pixel is on average over a thousand of them is what belief propagation says.

# %%
for name, e in evidence.items():
    samples = drawn(diffusion.Denoiser(tree, channel, e), 1000)
    exact = hgm.infer(tree, e).mean(channel)
    away = (
        ((samples.mean(0) - exact) / (samples.std(0) / 1000**0.5).clamp_min(0.01))
        .abs()
        .max()
    )
    print(f"{name:>24}: at most {float(away):.1f} standard errors away")
    assert away < 4.5

# %% [markdown]
# ## Guidance at strength 1 is conditioning
#
# By Bayes' rule $\nabla_z \log p(z \mid y) = \nabla_z \log p(z) + \nabla_z \log p(y \mid z)$. The last term is the
# gradient of a classifier of *noisy* images. The compiled ConvNet is the exact one, so the sum is the conditional
# score, to ten digits.

# %%
unet = hgm.compile(tree, "denoise", channel=channel).double()
cnn = hgm.compile(tree, "classify", channel=channel).double()
day = diffusion.Denoiser(tree, channel, {"label": "day"})

x = hgm.infer(tree).sample(100, generator=generator).values(channel)
for sigma in (0.1, 0.5, 2.0, 10.0):
    z = x + sigma * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    led = diffusion.guided(unet, cnn, "day", strength=1.0)(z, sigma)
    assert torch.allclose(led, day(z, sigma), rtol=0, atol=1e-10)

# %% [markdown]
# ## Strengths above 1
#
# In practice the gradient is taken several times. The result is often called $p(x)\,p(y \mid x)^w$, which it is not:
# the noised versions of *that* distribution have other scores. So what are these samples? Here it can be measured: how
# sure the exact classifier is of them, how likely they are given the class, and how much two of them differ.

# %%
strengths = [0.0, 1.0, 2.0, 4.0, 8.0]
clean = hgm.compile(tree, "classify").double()  # the classifier of clean images
prior = hgm.infer(tree).log_partition


def measures(samples):
    """p(day | x), log p(x | day), and in which share of pixels two samples differ."""
    symbols = (samples[..., None] - greys).abs().argmin(-1)
    sure = clean(symbols)[:, 3]
    log_p = clean.log_partition(symbols) - prior + sure.log() - np.log(0.25)
    differ = (symbols[1:] != symbols[:-1]).double().mean()
    return float(sure.mean()), float(log_p.mean()), float(differ)


samples = {w: drawn(diffusion.guided(unet, cnn, "day", w), 500) for w in strengths}
exact = (
    hgm.infer(tree, {"label": "day"}).sample(500, generator=generator).values(channel)
)
table = {w: measures(each) for w, each in samples.items()}
print(f"{'strength':>14}{'p(day | x)':>12}{'log p(x | day)':>16}{'differ':>8}")
for name, row in (*table.items(), ("exact samples", measures(exact))):
    print(f"{name:>14}{row[0]:12.3f}{row[1]:16.2f}{row[2]:8.3f}")

# %% [markdown]
# At strength 1 all three are those of exact samples of the class, within their errors. Above it the classifier is
# surer, and there is a price: images come out far likelier than images of the class are, and ever more alike. Being
# likely is no merit in a sample; the mode is the likeliest image, and no typical one.

# %% alt="Rows of eight samples at guidance strengths 0, 1, 2, 4 and 8: ever brighter, and ever more alike"
show({f"w = {w:g}": each[:8] for w, each in samples.items()})
sure, log_p, differ = np.array([table[w] for w in strengths]).T
assert np.allclose(table[1.0], measures(exact), rtol=0.05)
assert (
    np.all(np.diff(sure) > 0)
    and np.all(np.diff(differ[1:]) < 0)
    and np.all(np.diff(log_p[1:]) > 0)
)

# %% [markdown]
# ## Inpainting: the mean and the samples
#
# Half of the pixels are known, those at the left and at the right. The mean of the others has the least squared error,
# and is no image. A sample is one, and has *twice* the error, exactly: given what is known, the truth and a sample are
# two independent draws from one distribution, and both are as far from its mean.
#
# The samples are those of a sampler, 39 for each of 150 images in one run: evidence with rows has one for each sample.

# %% alt="Four images, a row each: the truth, what is known of it, the posterior mean, and three samples"
truth = hgm.infer(tree).sample(150, generator=generator)
known = truth.leaves.clone()
known[:, :, 2:6] = -1  # integers are symbols, -1 where nothing was seen
post = hgm.infer(tree, known)
grey, mean = truth.values(channel), post.mean(channel)

draws = 39
repeated = known.repeat_interleave(draws, 0)
filled = drawn(diffusion.Denoiser(tree, channel, repeated), len(repeated), steps=25)
filled = filled.unflatten(0, (len(known), draws)).double()

seen = grey.masked_fill(known < 0, torch.nan)
rows = {
    name: [grey[i], seen[i], mean[i], *filled[i, :3]] for i, name in enumerate("abcd")
}
show(rows, ("truth", "known", "mean", "sample", "sample", "sample"), width=6.5)

of_mean = float((mean - grey).square().sum((1, 2)).mean())
of_samples = float((filled - grey[:, None]).square().sum((2, 3)).mean())
print(
    f"squared error: mean {of_mean:.2f}, samples {of_samples:.2f}, "
    f"{of_samples / of_mean:.2f} times it"
)
assert abs(of_samples / of_mean - 2) < 0.15

# %% [markdown]
# ## Are the samples as uncertain as they should be?
#
# For each image, samples give an interval for how bright its hidden part is. If they are right, intervals of 90% hold
# the truth nine times out of ten. To compare: samples made pixel by pixel, each from its own exact marginal. They have
# the same mean and the same pixels, and they fail, because they know nothing of what hidden pixels share.

# %% alt="Share of intervals that hold the truth: on the diagonal by diffusion, far below it pixel by pixel"
marginals = hgm.compile(tree, "posterior", channel=hgm.Erasure()).double()
p = marginals(known).movedim(1, -1)  # (150, 8, 8, 4)
alone = torch.multinomial(p.flatten(0, 2), draws, replacement=True, generator=generator)
alone = greys[alone].unflatten(0, p.shape[:3]).movedim(-1, 1)


def rank(samples):
    """The share of samples that are darker than the truth where it is hidden."""
    bright = torch.cat([grey[:, None], samples], 1)[..., 2:6].mean((2, 3))
    bright += 1e-3 * torch.rand(bright.shape, generator=generator, dtype=torch.float64)
    return (bright[:, 1:] < bright[:, :1]).double().mean(1)


intervals = np.linspace(0.1, 0.9, 9)
ranks = {"diffusion": rank(filled), "pixel by pixel": rank(alone)}
holds = {
    name: [
        float(((each - 0.5).abs() <= size / 2).double().mean()) for size in intervals
    ]
    for name, each in ranks.items()
}
figure, ax = plt.subplots(figsize=(4.6, 3.8))
ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
for (name, share), color in zip(holds.items(), PALETTE, strict=False):
    ax.plot(intervals, share, "o-", color=color, label=name)
ax.set(xlabel="interval", ylabel="share that holds the truth", xlim=(0, 1), ylim=(0, 1))
ax.legend()
plt.show()

error = (0.9 * 0.1 / len(known)) ** 0.5
for name, share in holds.items():
    print(
        f"{name:>14}: intervals of 90% hold the truth in {share[-1]:.0%} ± {error:.0%}"
    )
assert abs(holds["diffusion"][-1] - 0.9) < 3 * error
assert holds["pixel by pixel"][-1] < 0.9 - 5 * error

# %% [markdown]
# `make demo` does the same to digits that it has learned: see [Handwritten digits](../digits.md).
#
# ## Exercises
#
# 1. What is guidance at strength 0? And at strength -1?
# 2. It is *not night*. Say so as evidence. Which mixture of classes is the mean image now?
# 3. How far are two samples of the hidden half from each other, in squared distance, compared with the mean's error?
#
# ## Answers
#
# **1.** No guidance: the unconditional score. At -1 the samples avoid the class; this is what a *negative prompt* does.

# %%
z = x[:5] + torch.randn(5, 8, 8, generator=generator, dtype=torch.float64)
assert torch.allclose(diffusion.guided(unet, cnn, "day", 0.0)(z, 1.0), unet(z, 1.0))
avoiding = drawn(diffusion.guided(unet, cnn, "day", -1.0), 200)
print(
    f"p(day | x) at strength -1: {measures(avoiding)[0]:.3f}, at 0: {table[0.0][0]:.3f}"
)
assert measures(avoiding)[0] < table[0.0][0]

# %% [markdown]
# **2.** A set of labels is a likelihood of 1 for each of them. Here the prior is uniform, so the three others count the
# same.

# %%
allowed = ("dusk", "dawn", "day")
of_classes = [hgm.infer(tree, {"label": name}).mean(channel) for name in allowed]
not_night = hgm.infer(tree, {"label": set(allowed)}).mean(channel)
assert torch.allclose(not_night, sum(of_classes) / 3)
print(f"mean grey: {float(not_night.mean()):+.3f}")

# %% [markdown]
# **3.** Twice the mean's error, as far as each is from the truth: truth and samples are all draws from one
# distribution.

# %%
between = float((filled[:, 1:] - filled[:, :-1]).square().sum((2, 3)).mean())
print(f"{between / of_mean:.2f} times the error of the mean")
assert abs(between / of_mean - 2) < 0.15
