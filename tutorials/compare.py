# %% [markdown]
# # How far is my network from the optimum?
#
# You have a network that removes noise, and its loss is 0.3. Is that good? For data from a tree the best denoiser is
# known, so the question has an answer in numbers: `hgm.compare` holds any network against it. Here a small U-Net is
# written in plain torch, trained for a few seconds, measured, and repaired where the measurement says that it fails.
# After this page you can do the same with a network of your own.
# [Comparing](../compare.md) has the formulas.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

import hgm
from hgm.viz.style import GREY, PALETTE

plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)

# %% [markdown]
# ## Data whose best denoiser is known
#
# A time of day decides how bright an image is; four quarters, sixteen patches and sixty-four pixels inherit it, each
# level less faithfully. `hgm.compare` and `hgm.train` draw as many images as they want.


# %%
def inherit(keep, states=4):
    """The table of a child that keeps its parent's state, or else draws one."""
    return keep * np.eye(states) + (1 - keep) / states


levels = [
    hgm.Level(arity=(2, 2), states=4, potential=inherit(keep))
    for keep in (0.9, 0.85, 0.7)
]
tree = hgm.ghm(levels, root=["night", "dusk", "dawn", "day"])
channel = hgm.Gaussian(np.linspace(-1, 1, 4))  # grey values

# %% [markdown]
# ## My network
#
# Any callable `f(z, sigma)` will do: z is `(B, 8, 8)`, sigma `(B,)`, and the answer is a denoised image. This one is
# a U-Net with two halvings, which sees the noise level as a second channel.


# %%
def block(inputs, outputs):
    """Two convolutions."""
    first, second = (nn.Conv2d(n, outputs, 3, padding=1) for n in (inputs, outputs))
    return nn.Sequential(first, nn.SiLU(), second, nn.SiLU())


class UNet(nn.Module):
    """Two halvings, two concatenated skips."""

    def __init__(self, width=16, outputs=1):
        super().__init__()
        self.fine, self.middle = block(2, width), block(width, 2 * width)
        self.coarse = block(2 * width, 2 * width)
        self.up, self.out = block(4 * width, width), block(2 * width, width)
        self.last = nn.Conv2d(width, outputs, 1)

    def forward(self, z, sigma):
        s = sigma[:, None, None]
        scaled = z / (1 + s**2).sqrt()
        fine = self.fine(torch.stack([scaled, s.log().expand_as(z) / 2], 1))
        middle = self.middle(avg_pool2d(fine, 2))
        coarse = self.coarse(avg_pool2d(middle, 2))
        up = self.up(torch.cat([middle, interpolate(coarse, scale_factor=2.0)], 1))
        out = self.out(torch.cat([fine, interpolate(up, scale_factor=2.0)], 1))
        return self.last(out).squeeze(1)


def trained(network):
    """The network, after 400 steps on fresh images with all kinds of noise."""
    training = hgm.train(
        network, tree, channel=channel, noise=(0.1, 25), steps=400, learning_rate=6e-3
    )
    print(f"squared error of a pixel: {training.history[-1].validation:.3f}")
    return network


torch.manual_seed(0)
mine = trained(UNet())

# %% [markdown]
# ## Is that good?
#
# No denoiser reaches zero: noise destroys what it destroys. `optimum` is the smallest error there is, and `excess`
# what the network adds to it, with a 95% interval. It is the distance of two denoisers, $E|f(z) - E[x \mid z]|^2$, in
# which the clean image does not appear: hence the small intervals from a thousand images.

# %%
print(hgm.compare(mine, tree, channel=channel, noise=[0.1, 0.3, 1, 3, 10]))

# %% [markdown]
# Where there is much noise, 3 or 10, the network is within a few per cent of the best. Where there is little, its
# error is many times the smallest one. The loss does not show it: it is made of the large errors at high noise, which
# nobody can help.
#
# What does each level of noise count? There is one scale on which they add up: half the area under the excess, over
# the signal to noise ratio $1/\sigma^2$, is what the network costs as a code for images, in nats. Without `noise` the
# levels are a grid for it, and `per="level"` splits the excess by scale: level 0 is the mean of an image, level 3
# what tells a pixel from its patch.

# %% alt="The U-Net's excess and the optimum against the noise: below a noise of 0.2 the excess is above the optimum"
gap = hgm.compare(mine, tree, channel=channel, n=500, per="level")
hgm.plot.gap(gap)

# %%
cnn = hgm.compile(tree, "classify")
x = hgm.infer(tree).sample(4000, generator=torch.Generator().manual_seed(0)).leaves
entropy = float((hgm.infer(tree).log_partition - cnn.log_partition(x)).mean())
print(
    f"an image has {entropy:.0f} nats; "
    f"the network's errors cost {gap.nats.value:.0f} more,"
)
print(f"{gap.last_octave:.0%} of that in the last octave of the grid")
assert gap.nats.low > 0.5 * entropy and gap.last_octave > 0.3

# %% [markdown]
# The last octave, the halving of the noise at the low end of the grid, is the warning. To denoise what has next to no
# noise, the network must copy its input to many digits, and it does not: its error stays while the noise vanishes,
# and each further octave would cost nearly twice as much as the one before. The error is in the single pixels: at
# little noise level 3 has most of it.

# %%
least = gap.levels[-1].noise
share = {
    part["level"]: part["excess"] / gap.levels[-1].excess for part in gap.parts()[-4:]
}
print(
    f"noise {least:.2f}:",
    ", ".join(f"level {k} {part:.0%}" for k, part in share.items()),
)
assert share[3] > 0.5

# %% [markdown]
# ## One more skip
#
# What does the optimum do that this network does not? At its very end it multiplies what the neighbourhood says of a
# pixel by the pixel's own likelihood, $p(x_v \mid z) \propto p(x_v \mid \text{other pixels}) \cdot e^{-(z_v - x_v)^2
# / 2\sigma^2}$: a last skip from the input, in logs. So let the same body give four logits for a pixel, add the
# pixel's own, and take the mean.


# %%
class WithLikelihood(UNet):
    """The same, and each pixel's own likelihood at the end."""

    def __init__(self):
        super().__init__(outputs=4)
        self.register_buffer("values", torch.linspace(-1, 1, 4)[:, None, None])

    def forward(self, z, sigma):
        own = -((z[:, None] - self.values) ** 2) / (2 * sigma[:, None, None, None] ** 2)
        return ((super().forward(z, sigma) + own).softmax(1) * self.values).sum(1)


torch.manual_seed(0)
repaired = trained(WithLikelihood())

# %% [markdown]
# The loss has hardly moved. The nats will have.
#
# Beside it are a CNN of the library's [networks to compare with](../compare.md#networks-to-compare-with), which sees
# 5x5 pixels, and the compiled U-Net, whose weights are constructed.

# %%
small = trained(hgm.baselines.make("cnn_5", tree, channel, parameters=20_000))

# %%
networks = {
    "my U-Net": mine,
    "with the last skip": repaired,
    "a CNN, 5x5": small,
    "compiled": hgm.compile(tree, "denoise", channel=channel),
}
gaps = {
    name: hgm.compare(net, tree, channel=channel, n=500)
    for name, net in networks.items()
}
print(f"{'':20}{'extra nats':>10}{'95% interval':>18}{'last octave':>14}")
for name, found in gaps.items():
    nats, low, high = found.nats
    if found.zero:
        print(f"{name:20}{'zero to rounding':>28}")
    else:
        print(
            f"{name:20}{nats:10.1f}{low:10.1f} to{high:5.1f}{found.last_octave:14.1%}"
        )
assert gaps["compiled"].zero
assert gaps["with the last skip"].nats.high < gaps["my U-Net"].nats.low / 3
assert gaps["with the last skip"].last_octave < 0.05
assert (
    hgm.compare(repaired, tree, channel=channel, noise=0.05, n=500).levels[0].excess
    < 1e-9
)
assert gaps["a CNN, 5x5"].nats.high < gaps["my U-Net"].nats.low

# %% [markdown]
# One line of mathematics took away most of the cost. And by nats the CNN is better than the first U-Net, though its
# loss is worse: the library puts a scaled skip around its networks, with which the error of values falls as the noise
# does. What the repaired network has left falls with the optimum, and at a noise of 0.05 there is nothing to speak of.

# %% alt="The optimum and the excess of three networks against noise; one falls with the optimum"
figure, ax = plt.subplots(figsize=(7, 3.8))
noise = [row.noise for row in gap.levels]
ax.loglog(noise, [row.optimum for row in gap.levels], color=GREY, label="optimum")
for (name, found), color in zip(gaps.items(), PALETTE, strict=False):
    if not found.zero:
        ax.loglog(noise, [row.excess for row in found.levels], color=color, label=name)
ax.set(xlabel="noise, σ", ylabel="squared error of a pixel", ylim=(1e-6, 1))
ax.legend()
plt.show()

# %% [markdown]
# ## What it cannot see
#
# The CNN lacks the likelihood, and something else: an output that sees 25 pixels does not know the time of day. Where
# there is much noise, this is what counts, and the split by level says so: its error is in the mean of the image.

# %% alt="Bars of the excess by level at a noise of 4: the CNN's is largest at level 0, the mean of the image"
print("mine:", hgm.receptive_field(repaired, (8, 8)))
print("CNN: ", hgm.receptive_field(small))
figure, ax = plt.subplots(figsize=(6, 3))
at_four = {}
for i, (name, net) in enumerate(
    [("with the last skip", repaired), ("a CNN, 5x5", small)]
):
    found = hgm.compare(net, tree, channel=channel, noise=4, n=1000, per="level")
    at_four[name] = [part["excess"] for part in found.parts()]
    ax.bar(
        np.arange(4) + 0.4 * i - 0.2,
        at_four[name],
        0.38,
        color=PALETTE[1 + i],
        label=name,
    )
ax.set_xticks(range(4), ["0: image", "1: quarters", "2: patches", "3: pixels"])
ax.set(xlabel="level", ylabel="excess of a pixel")
ax.legend()
plt.show()
ours, theirs = at_four.values()
assert theirs[0] == max(theirs) and theirs[0] > 3 * ours[0]

# %% [markdown]
# A network trained elsewhere is measured from its file: `hgm compare tree.yaml mine.onnx`. [Comparing](../compare.md)
# has that, symbols instead of values, classifiers, and the other networks.
#
# ## Exercises
#
# 1. The network that does nothing, `lambda z, sigma: z`: what are its error and its excess at noise 0.5? First by hand.
# 2. Take the best denoiser and shrink its answers by a tenth. What is the excess now, in a formula?
# 3. Tell the best denoiser a noise level that is too large by half. Where does that cost most?
#
# ## Answers
#
# **1.** Its error is the noise, $\sigma^2 = 0.25$, and its excess what is left of that above the optimum.

# %%
(row,) = hgm.compare(lambda z, sigma: z, tree, channel=channel, noise=0.5, n=500).levels
print(
    f"optimum {row.optimum:.4f} + excess {row.excess:.4f} "
    f"= {row.optimum + row.excess:.4f}"
)
assert abs(row.optimum + row.excess - 0.25) < 0.01

# %% [markdown]
# **2.** The excess is the distance of two denoisers, $E|0.9\,m - m|^2 = 0.01\, E|m|^2$ with $m = E[x \mid z]$.

# %%
best = networks["compiled"]
(row,) = hgm.compare(
    lambda z, sigma: 0.9 * best(z, sigma), tree, channel=channel, noise=1, n=500
).levels
clean = (
    hgm.infer(tree)
    .sample(2000, generator=torch.Generator().manual_seed(1))
    .values(channel)
)
noisy = clean + torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
formula = 0.01 * float(best(noisy, 1.0).square().mean())
print(f"excess {row.excess:.5f}, formula {formula:.5f}")
assert abs(row.excess / formula - 1) < 0.1

# %% [markdown]
# **3.** In the middle. With little noise every pixel speaks for itself whatever it is told, and with much noise nothing
# speaks for itself; between, it trusts neighbours too much.

# %%
mistold = hgm.compare(
    lambda z, sigma: best(z, 1.5 * sigma),
    tree,
    channel=channel,
    noise=[0.1, 0.3, 1, 3, 10],
    n=500,
)
for row in mistold.levels:
    print(f"noise {row.noise:4}: excess {row.excess:.5f}")
most = max(mistold.levels, key=lambda row: row.excess)
assert 0.1 < most.noise < 10
