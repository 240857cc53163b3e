# %% [markdown]
# # From a tree to a ConvNet
#
# After this page you can write the ConvNet that a tree *is* in six lines of torch, say which part of the tree each
# part of the network comes from, and use what `hgm.compile` makes of it: a classifier that is exact, and that nobody
# trained.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import avg_pool2d, conv2d

import hgm
from hgm.viz.style import GREY, PALETTE

torch.set_default_dtype(torch.float64)
plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)

# %% [markdown]
# ## A tree of images
#
# One of three classes, sky, wall or wood, has four quarters, sixteen patches and sixty-four pixels. Each copies its
# parent's state with probability 0.6 or else draws one of four; the class says which states its quarters prefer.


# %%
def copies(keep, states=4):
    """The table of a child that keeps its parent's state, or else draws one."""
    return keep * np.eye(states) + (1 - keep) / states


prefer = [[0.1, 0.1, 0.2, 0.6], [0.1, 0.4, 0.4, 0.1], [0.5, 0.3, 0.1, 0.1]]
tables = [np.array(prefer), copies(0.6), copies(0.6)]

# %% alt="The tree as a stack of planes: class, quarters, patches, pixels, joined to their parents"
levels = [hgm.Level(arity=(2, 2), states=4, potential=table) for table in tables]
tree = hgm.ghm(levels, root=["sky", "wall", "wood"])
hgm.draw(tree)

# %% [markdown]
# We draw images with their class, and add noise: $z = x + \sigma \varepsilon$ with four grey values $x$. How leaves are
# seen is said by a *channel*, here `hgm.Gaussian`, which is given the value of each state. Called with an observation,
# it gives the *log evidence*: for each pixel the log likelihood of each state that it may have.

# %% alt="Five images of each class, with noise: skies are light, woods dark, and all are patchy"
generator = torch.Generator().manual_seed(5)
drawn = hgm.infer(tree).sample(4000, generator=generator)
channel = hgm.Gaussian([0, 1, 2, 3])
clean = drawn.values(channel)
sigma = 0.5
z = channel.add_noise(clean, sigma, generator=generator)
label = drawn.states[:, 0]  # by number

figure, axes = plt.subplots(3, 5, figsize=(6, 3.8), layout="constrained")
for k, row in enumerate(axes):
    for axis, image in zip(row, z[label == k], strict=False):
        axis.imshow(image, cmap="gray", vmin=-1, vmax=4)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(tree.labels(0)[k])

# %% [markdown]
# ## Six lines
#
# Messages go from the pixels to the class ([by hand](by_hand.md)): $q = \log \sum_a \psi(s, a)\, e^{h(a)}$, and a
# parent adds up what its four children say. Do it for all nodes of a level at once:
#
# * a message has a number for each state: **states are channels**;
# * all edges of a level have one table: the sum over $a$ is a **convolution** with the table as its kernel;
# * $\log$ and $e^{\cdot}$ are the **nonlinearities**;
# * adding up $2 \times 2$ siblings is **sum pooling**, and halves the resolution;
# * the prior and a softmax make the **head**.


# %%
def convnet(log_evidence):
    """Log evidence (B, 4, 8, 8) of the pixels in, posterior (B, 3) of the class out."""
    h = log_evidence
    for psi in map(torch.tensor, reversed(tables)):
        h = h - h.amax(1, keepdim=True)  # a normalisation: nothing overflows
        q = conv2d(h.exp(), psi[:, :, None, None]).log()
        h = 4 * avg_pool2d(q, 2)
    return h.flatten(1).softmax(1)  # the prior is uniform


log_evidence = channel(z, sigma)
by_torch = convnet(log_evidence)
by_messages = hgm.infer(tree, z[:50], sigma, channel=channel)["label"]
assert torch.allclose(by_torch[:50], by_messages, atol=1e-12)
largest = float((by_torch[:50] - by_messages).abs().max())
print(f"50 images, largest difference: {largest:.0e}")

# %% [markdown]
# This is the whole theorem: on this tree a ConvNet *is* belief propagation, to rounding, for every image, and its
# weights are the tables.
#
# ## What compile makes of it
#
# `hgm.compile` writes the same network for any tree. It chooses where messages can be kept as plain numbers in place of
# logs, takes symbols or noisy values, and runs faster.

# %% alt="The ConvNet: from 64 pixels by 16 and 4 positions down to the class"
cnn = hgm.compile(tree, task="classify", channel=channel)
assert torch.allclose(cnn(z, sigma), by_torch, atol=1e-12)
hgm.draw(cnn)

# %%
print(cnn.plan)

# %% [markdown]
# A line is a stage: between which levels, by which operation, over how many nodes and states. *Kernel* says whether
# its messages are plain numbers (linear) or logs, and *skips* what a decoder would need of it.
#
# Each stage is a module with layers, and a layer shows its weight as an ordinary convolution kernel. It has a part for
# each of the four sibling positions, zero elsewhere, so that `conv2d` with stride 2 gives all four messages.

# %%
(layer,) = cnn.encoder[0].layers()
kernel = layer.kernel_weight()
print(type(layer).__name__, tuple(kernel.shape))
h = log_evidence[:1].exp()
# (B, position, s, rows, columns)
messages = conv2d(h, kernel, stride=2).reshape(1, 4, 4, 4, 4)
# the layer's own unit, which normalisation removes
scale = float(kernel.max()) / tables[2].max()
of_first = conv2d(h, torch.tensor(tables[2])[:, :, None, None])[..., ::2, ::2]
assert torch.allclose(messages[:, 0] / scale, of_first)

# %% [markdown]
# ## Is it any good?
#
# It is the best there is: no classifier of these images is right more often. And its probabilities are honest, since
# they are the true ones: among the images for which it says 0.7, seven of ten are of that class.

# %% alt="Left: accuracy falls with noise to chance. Right: stated probabilities are the frequencies"
noises = np.geomspace(0.2, 20, 12)
right, stated, true = [], [], []
for s in noises:
    p = cnn(channel.add_noise(clean, float(s), generator=generator), float(s))
    right.append(float((p.argmax(1) == label).double().mean()))
    stated.append(p.flatten())
    true.append(torch.eye(3)[label].flatten())
stated, true = torch.cat(stated), torch.cat(true)
figure, (left, axis) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.semilogx(noises, right, "o-", color=PALETTE[0])
left.axhline(1 / 3, color=GREY, linestyle=":")
left.set(xlabel="noise σ", ylabel="share that is right", ylim=(0.25, 1))
bins = torch.bucketize(stated, torch.linspace(0.1, 0.9, 9))
mean, frequency = (
    torch.stack([x[bins == b].mean() for b in range(10)]) for x in (stated, true)
)
axis.plot([0, 1], [0, 1], color=GREY, linestyle=":")
axis.plot(mean, frequency, "o", color=PALETTE[1])
axis.set(xlabel="probability it states", ylabel="how often it is so")
assert float((mean - frequency).abs().max()) < 0.03
assert right[0] > right[-1] + 0.2

# %% [markdown]
# ## A tree says which ConvNet
#
# The network's architecture is not chosen, it follows. Change the tree, and read off what changes:
#
# | of the tree | of the network |
# |---|---|
# | states of a level | channels |
# | children of a node | kernel and stride |
# | levels | layers |
# | tied tables | a convolution; without tying, locally connected |
# | a table for each position among siblings | a kernel with $2 \times 2$ different parts |
# | one table for a parent and all its children | products of channels |
# | a tree that is no grid | gathers in place of slices |


# %%
def layers(**how):
    """The ops of the network, leaves first, and how many weights it has."""
    net = hgm.compile(
        hgm.ghm([hgm.Level((2, 2), 4, **how)] * 3, root=3), "classify", trainable=True
    )
    ops = [type(op).__name__ for stage in net.encoder for op in stage.layers()]
    return ops, sum(p.numel() for p in net.parameters())


for how in ("level", "position", "none"):
    ops, weights = layers(tie=how)
    print(f"tie={how!r:11}: {', '.join(ops):38} {weights:5} weights")

# %% [markdown]
# The pixels' own posteriors take the way back down: [From a tree to a U-Net](to_a_unet.md).
#
# ## Exercises
#
# 1. A sky is ten times as common as the others. What changes in `convnet`?
# 2. Some pixels are dead. What should their log evidence be, and what does the ConvNet do with it?
# 3. How far does the class's posterior reach: which pixels does it depend on, and why is that no matter of depth or
#    kernel size here?
#
# ## Answers
#
# **1.** The head: the log prior is added before the softmax. It is the network's bias.

# %%
prior = [10, 1, 1]
weighted = hgm.ghm(levels, root=["sky", "wall", "wood"], prior=prior)
common = hgm.compile(weighted, "classify", channel=channel)
with_bias = (by_torch.log() + torch.tensor(prior).log()).softmax(1)
assert torch.allclose(common(z, sigma), with_bias, atol=1e-12)

# %% [markdown]
# **2.** Zero for every state: the likelihood is 1 whatever the pixel is. Its message is the sum of a row of the table,
# which is 1, and its log adds nothing. No network has to learn what "missing" means.

# %%
dead = torch.rand(8, 8, generator=generator) < 0.3
masked = log_evidence.masked_fill(dead, 0.0)
gaps = hgm.compile(tree, "classify", channel=hgm.Missing(channel))
assert torch.allclose(
    convnet(masked), gaps(z.masked_fill(dead, torch.nan), sigma), atol=1e-12
)
accuracy = [
    float((p.argmax(1) == label).double().mean()) for p in (by_torch, convnet(masked))
]
print(
    f"right: {accuracy[0]:.3f}, "
    f"without {int(dead.sum())} of 64 pixels {accuracy[1]:.3f}"
)

# %% [markdown]
# **3.** All of them: strides halve the resolution until one position is left, so three layers see 64 pixels. A tree's
# network always sees all its leaves.

# %%
seen = hgm.receptive_field(cnn, sigma=sigma)
assert seen.whole
print(seen)
