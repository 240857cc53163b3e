# %% [markdown]
# # Why U-Nets?
#
# Why do diffusion models use a U-Net and not a plain CNN? What do the skips do, why are there several resolutions,
# what is the bottleneck for, where does the time enter? The usual answers are intuitions, or trained networks, in
# which architecture, size, optimiser and luck are mixed. For images drawn from a tree there is another way: **the
# best possible network that lacks one thing** can be computed exactly, without training anything. What it costs, no
# network that lacks the same thing can save, however wide, deep or well trained it is. `hgm.ablate` makes these
# networks, and this page asks the questions one by one. After it you can ask them of a tree of your own.
# [Ablating](../ablate.md) has the formulas, [Studies](../studies.md) the long runs, with trained networks beside
# these limits.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import hgm
from hgm.measure.threshold import siblings
from hgm.viz.style import GREY, PALETTE

plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)
channel = hgm.Gaussian([-1.5, -0.5, 0.5, 1.5])  # four grey values
NOISE = [0.35, 0.7, 1.4, 2.8, 5.6]


def images(copy):
    """16x16 pixels: a node copies its parent's state, or else draws one of four."""
    return hgm.broadcast(4, 4, (2, 2), eps=0.75 * (1 - copy))


# %% [markdown]
# ## Two kinds of images
#
# A hidden state at the top is passed to four quarters, sixteen parts, sixty-four patches and 256 pixels. Each pass is a
# copy with probability $\lambda$. One number decides whether what is far away matters: with $d = 4$ children,
# $d\lambda^2$. Above 1, many distant pixels together still know about the pixel here; below 1, they do not
# (this is the threshold of Kesten and Stigum).

# %% alt="Three images of each kind; those above the threshold show large areas of one grey"
trees = {"below": images(0.4), "above": images(0.8)}
figure, axes = plt.subplots(1, 6, figsize=(9, 1.9))
for (name, tree), row in zip(trees.items(), np.split(axes, 2), strict=True):
    drawn = hgm.infer(tree).sample(3, generator=torch.Generator().manual_seed(1)).leaves
    for axis, image in zip(row, drawn, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=3)
        axis.set_axis_off()
    row[1].set_title(f"{name}: $d\\lambda^2$ = {siblings(tree)[0]:.2f}")

# %% [markdown]
# ## Why not a plain CNN?
#
# After r layers of 3x3 convolutions an output has seen a window of 2r + 1 by 2r + 1 pixels, and nothing else.
# `hgm.ablate(tree, "window", radius=r)` is the best function of that window. What it costs beyond the best function of
# the whole image is shown in per cent of the smallest possible error.


# %%
def excess(tree, kind, n=100, **given):
    """What the best without something costs, in per cent, at each level of noise."""
    gap = hgm.compare(
        hgm.ablate(tree, kind, channel=channel, **given), tree, noise=NOISE, n=n
    )
    return [100 * row["excess"] / row["optimum"] for row in gap.rows()]


def curves(axis, title, found):
    """A line for each thing that is missing."""
    for (name, line), color in zip(found.items(), PALETTE, strict=False):
        axis.loglog(
            NOISE, np.maximum(line, 0.02), "o-", markersize=3, color=color, label=name
        )
    axis.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    axis.set(title=title, xlabel="noise σ", ylim=(0.02, 500))
    axis.set_xticks(NOISE, [str(s) for s in NOISE])
    axis.set_xticks([], minor=True)


# %% alt="Cost of windows: below the threshold 3x3 is within one per cent, above it even 15x15 is not"
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
windows = {}
for axis, (name, tree) in zip(axes, trees.items(), strict=True):
    windows[name] = {
        f"{2 * r + 1}x{2 * r + 1}": excess(tree, "window", radius=r)
        for r in (0, 1, 2, 3, 5, 7)
    }
    curves(axis, f"{name} the threshold", windows[name])
axes[0].set_ylabel("excess, per cent of the optimum")
_ = axes[1].legend(title="window", loc="center left", bbox_to_anchor=(1.0, 0.5))

# %% [markdown]
# Below the threshold a CNN that sees 3x3 is within one per cent of the best (dotted line) and nothing about U-Nets can
# be learned from such images. Above it, more noise needs more context, as one would average more pixels to see at all,
# and the receptive field that a plain CNN needs grows past 15x15, which is seven layers of 3x3.

# %%
assert max(windows["below"]["3x3"]) < 1 < max(windows["above"]["15x15"])

# %% [markdown]
# ## Why several resolutions?
#
# A U-Net that halves its resolution k times sees blocks: 1, 2x2, 4x4, ... pixels. The best network of blocks is the
# same tree cut at a level. All levels of noise add up on one scale: nats, the extra length of a code for images.

# %%
tree = trees["above"]
nats = {}
for level, size in ((4, "1x1"), (3, "2x2"), (2, "4x4"), (1, "8x8")):
    gap = hgm.compare(
        hgm.ablate(tree, "block", level=level, channel=channel), tree, n=200
    )
    nats[size] = gap.nats.value
    print(
        f"blocks of {size}: {gap.nats.value:6.2f} nats too many "
        f"({gap.nats.low:.2f} to {gap.nats.high:.2f})"
    )
worth = {
    big: nats[small] - nats.get(big, 0.0)
    for small, big in zip(nats, [*list(nats)[1:], "16x16"], strict=True)
}
print(
    "each further resolution saves",
    {size: round(saved, 1) for size, saved in worth.items()},
)

# %% alt="Cost of blocks against noise: small blocks cost most at little noise, large ones at much"
figure, axis = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
blocks = {
    size: excess(tree, "block", n=300, level=level)
    for level, size in zip((4, 3, 2, 1), nats, strict=True)
}
curves(axis, "blocks, above the threshold", blocks)
axis.set_ylabel("excess, per cent of the optimum")
_ = axis.legend(title="block")

# %% [markdown]
# Every resolution is worth something *at its own noise*: the fine ones matter at little noise, the coarse ones at much,
# where nothing else can be seen any more. In nats the fine ones count most, because there are more of them.

# %%
assert list(worth.values()) == sorted(worth.values(), reverse=True)
assert np.argmax(blocks["8x8"]) > np.argmax(blocks["1x1"])

# %% [markdown]
# ## What do the skips do?
#
# Cut all skips below a level: the decoder has the *beliefs* of that level, what the encoder made of everything below,
# and must fill in the details from what such a belief usually looks like.

# %% alt="Cost of cut skips: large at little noise, where a pixel's own value says nearly everything"
figure, axis = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
skips = {
    f"below {size}": excess(tree, "skips", n=300, level=k)
    for k, size in ((3, "2x2"), (2, "4x4"), (1, "8x8"))
}
skips["a pixel's own value"] = excess(tree, "own", n=300)
curves(axis, "skips cut", skips)
axis.set_ylim(0.02, 5000)
axis.set_ylabel("excess, per cent of the optimum")
_ = axis.legend(title="what is cut")

# %% [markdown]
# This is the other way round: **skips matter where there is little noise**. The details are in the data, and only the
# skips can bring them to the output; the bottleneck knows in which kind of region a pixel lies. With much noise the
# pixel says little, the region says all, and cut skips cost hardly anything. The last line is the finest skip alone,
# a pixel's own value: it is also the best that a "blind-spot" network can do, which is trained without clean images.
#
# (One caution: these curves are what *silent* skips leave. A decoder that is trained without skips may pack details
# into the bottleneck, so unlike the windows and blocks this is no bound.)

# %%
assert all(line[0] > 10 * line[-1] for line in skips.values())

# %% [markdown]
# ## What is the bottleneck for?
#
# It carries the belief about the top: four probabilities. What is it worth to know what is *in* it, the label? The
# network that is told the label is compared with the one that has to find it out.

# %%
label = hgm.compare(
    hgm.ablate(tree, "label", channel=channel),
    tree,
    noise=NOISE,
    n=300,
    given=["label"],
)
for row, cut in zip(label.rows(), blocks["8x8"], strict=True):
    share = 100 * row["excess"] / row["optimum"]
    print(
        f"noise {row['noise']:4}: no bottleneck costs {cut:5.2f}%, "
        f"to be told the label would save {share:5.2f}%"
    )

# %% [markdown]
# Both are nothing until the noise is so large that the quarters do not know their own state any more: then what the
# quarters tell each other, through the bottleneck, is what is left to say.
#
# ## Where does the time enter?
#
# The exact network needs the noise level once, in its input layer, to weigh what a pixel says against what its
# neighbours say. And if it is not told at all? `"blind"` is the best network that must guess the noise.

# %%
tiny = hgm.broadcast(1, 4, (2, 2), eps=0.15)
for name, some in (("16x16", tree), ("2x2", tiny)):
    hidden = hgm.ablate(some, "blind", noise=NOISE, channel=channel)
    gap = hgm.compare(hidden, some, noise=NOISE, n=300)
    print(
        f"blind, images of {name}:",
        " ".join(f"{100 * r['excess'] / r['optimum']:.2f}%" for r in gap.rows()),
    )
    if name == "16x16":
        assert max(row["excess"] / row["optimum"] for row in gap.rows()) < 0.01

# %% [markdown]
# In an image of 256 pixels the noise level can be *seen*, so a network that is not told loses next to nothing: the time
# input is a convenience. Only where there are few pixels, as in images of 2x2, does it carry information.
#
# ## What this does not show
#
# These are limits: what must be lost. Whether training finds what is possible is another question, which no limit
# answers; [Studies](../studies.md) holds trained networks beside these very numbers. And images of a tree are not
# photographs: the tree says exactly which context matters, and here it is known.
#
# ## Exercises
#
# 1. A window of 1x1 and blocks of 1x1: which costs more?
# 2. Read off the figures: which window does a CNN need for images above the threshold, to be within 1% at noise 0.35?
# 3. Give the U-Net a *wrong* tree, whose nodes copy with probability 0.6 in place of 0.8. Is that worse than to have no
#    resolution above 8x8?
#
# ## Answers
#
# **1.** Neither: both see a pixel and nothing else, and the best function of that is one function.

# %%
window, block = (
    excess(tree, *how, n=300, **given)
    for how, given in ((["window"], {"radius": 0}), (["block"], {"level": 4}))
)
assert np.allclose(window, block)

# %% [markdown]
# **2.** The first in the list whose first number is below 1.

# %%
enough = next(size for size, costs in windows["above"].items() if costs[0] < 1)
print(
    f"{enough}, with",
    ", ".join(f"{size} {costs[0]:.2f}%" for size, costs in windows["above"].items()),
)

# %% [markdown]
# **3.** Compare both at each noise. A wrong tree is wrong everywhere, a missing resolution only where it matters.

# %%
wrong = hgm.compare(
    hgm.compile(images(0.6), "denoise", channel=channel), tree, noise=NOISE, n=300
)
costs = [100 * row["excess"] / row["optimum"] for row in wrong.rows()]
for noise, cost, coarse in zip(NOISE, costs, blocks["8x8"], strict=True):
    print(
        f"noise {noise:4}: the wrong tree costs {cost:6.2f}%, "
        f"blocks of 8x8 {coarse:6.2f}%"
    )
assert all(cost > coarse for cost, coarse in zip(costs, blocks["8x8"], strict=True))
