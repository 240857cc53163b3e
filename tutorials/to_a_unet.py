# %% [markdown]
# # From a tree to a U-Net
#
# After this page you can say what each part of a U-Net is: the encoder collects, the decoder distributes, the skips
# are messages; show that the decoder is the gradient of the encoder; and get from the same network what a pixel's
# surroundings say of it, by leaving out the last skip.

# %%
import matplotlib.pyplot as plt
import torch
from torch.nn.functional import avg_pool2d, conv2d, interpolate

import hgm
from hgm.viz.style import PALETTE

plt.rcParams.update(
    {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
)
torch.set_default_dtype(torch.float64)

# %% [markdown]
# ## A tree, an image, and noise
#
# The model is a class, four quarters, sixteen patches and 64 pixels with three grey levels. We draw an image $x$ of the
# class *light*, and observe $z = x + \sigma \varepsilon$ with $\sigma = 1$. The channel turns each noisy pixel into
# evidence: the likelihood $p(z_i \mid x_i)$ of each of its grey levels.

# %% alt="The tree as a stack of planes: class, quarters, patches, pixels, joined to their parents"
quarter = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]
patch = [
    [0.7, 0.2, 0.05, 0.05],
    [0.2, 0.6, 0.15, 0.05],
    [0.05, 0.15, 0.6, 0.2],
    [0.05, 0.05, 0.2, 0.7],
]
pixel = [[0.9, 0.09, 0.01], [0.5, 0.4, 0.1], [0.1, 0.4, 0.5], [0.01, 0.09, 0.9]]
tables = [torch.tensor(table) for table in (quarter, patch, pixel)]
tree = hgm.ghm(
    [
        hgm.Level(arity=(2, 2), states=4, potential=quarter),
        hgm.Level(arity=(2, 2), states=4, potential=patch),
        hgm.Level(arity=(2, 2), states=3, potential=pixel),
    ],
    root=["dark", "light"],
)
hgm.draw(tree)

# %%
generator = torch.Generator().manual_seed(11)
channel = hgm.Gaussian([0.0, 1.0, 2.0])
sigma = 1.0
image = (
    hgm.infer(tree, {"label": "light"}).sample(1, generator=generator).values(channel)
)
z = channel.add_noise(image, sigma, generator=generator)
log_evidence = channel(z, sigma)
print("image", tuple(image.shape), " log evidence", tuple(log_evidence.shape))

# %% [markdown]
# ## The encoder collects
#
# It is the [ConvNet](to_a_convnet.md), and keeps what it computes: the messages $q$ that nodes send, and what nodes
# know, $h$, of all that is below them.


# %%
def apply(table, message):
    """log of the table times exp of a log message, everywhere: a 1x1 convolution."""
    top = message.amax(1, keepdim=True)
    return conv2d((message - top).exp(), table[:, :, None, None]).log() + top


def encoder(log_evidence):
    """What nodes know, h, and send, q: leaves first; the last h is the root's."""
    h, q = [log_evidence], []
    for table in reversed(tables):
        q.append(apply(table, h[-1]))
        h.append(4 * avg_pool2d(q[-1], 2))
    return h, q


# %% [markdown]
# ## The decoder distributes
#
# The belief of the root goes down. At each level it is **up-sampled**, to every child the belief of its parent, *but
# for what the child itself had said*, which is the first skip; it passes the table the other way, a **transposed
# convolution**; and the **second skip** brings what the child knows:
#
# $$u_v = b_{\text{parent}(v)} - q_v, \qquad r_v = \log \sum_s \psi(s, \cdot)\, e^{u_v(s)}, \qquad b_v = r_v + h_v.$$


# %%
def decoder(h, q, last_skip=True):
    """Log posteriors of the leaves."""
    b = h[-1]  # the root's prior is uniform
    for level, table in enumerate(tables):
        below = len(tables) - 1 - level
        u = interpolate(b, scale_factor=2.0) - q[below]
        b = apply(table.T, u)
        if below > 0 or last_skip:
            b = b + h[below]
    return b.log_softmax(1)


posterior = decoder(*encoder(log_evidence)).exp()

# %% [markdown]
# Nothing else is needed for a U-Net: these twenty lines are exact. The reference, belief propagation node by node,
# and `hgm.compile` say the same. Nobody trained any of them; the weights are the tables.

# %% alt="The U-Net: an encoder from the pixels down to the class, a decoder back up to the pixels, and skips across"
unet = hgm.compile(tree, task="denoise", channel=channel)
post = hgm.infer(tree, z, sigma, channel=channel)
reference = torch.stack([post[f"x{r}_{c}"] for r in range(8) for c in range(8)], -1)
compiled = unet(z, sigma, outputs="posterior")
assert torch.allclose(posterior, compiled, atol=1e-12)
assert torch.allclose(posterior[0].flatten(1), reference, atol=1e-12)
hgm.draw(unet)

# %% [markdown]
# ## It removes noise
#
# The mean of each pixel's posterior is $E[x \mid z]$, the estimate with the least mean squared error there is.

# %% alt="Four images of eight by eight pixels: the image, the noisy one, the denoised one, and the surroundings' guess"
greys = torch.arange(3.0)[:, None, None]
denoised = unet(z, sigma)
assert torch.allclose(denoised, (posterior * greys).sum(1), atol=1e-12)
surroundings = (decoder(*encoder(log_evidence), last_skip=False).exp() * greys).sum(1)
shown = {
    "image": image,
    "noisy": z,
    "denoised": denoised,
    "without the last skip": surroundings,
}
figure, axes = plt.subplots(1, 4, figsize=(8.4, 2.4), layout="constrained")
for axis, (name, picture) in zip(axes, shown.items(), strict=True):
    axis.imshow(picture[0], cmap="gray", vmin=-0.5, vmax=2.5)
    axis.set_title(name)
    axis.set_axis_off()

for name in ("noisy", "denoised", "without the last skip"):
    error = float((shown[name] - image).square().mean())
    print(f"mean squared error, {name}: {error:.3f}")

# %% [markdown]
# ## Skips are messages
#
# In the compiled network they can be watched. A hook on each stage of the encoder shows that what it hands across is,
# for each node, the message of our encoder, up to a factor (messages may be rescaled, and positions are in the
# network's own order).

# %%
seen = []


def note(stage, args, output):
    """Keeps the messages that a stage of the encoder makes."""
    seen.append(output[0].h)


hooks = [stage.register_forward_hook(note) for stage in unet.encoder]
unet(z, sigma)
for hook in hooks:
    hook.remove()

h, q = encoder(log_evidence)
for ours, theirs in zip(h[1:], seen, strict=True):
    ours, theirs = ours[0].flatten(1).exp().T, theirs[:, :, 0].T  # (nodes, states)
    ours, theirs = (x / x.sum(1, keepdim=True) for x in (ours, theirs))
    apart = float(torch.cdist(ours, theirs).min(1).values.max())
    print(
        f"{len(ours):2} nodes of {ours.shape[1]} states: "
        f"messages differ by {apart:.0e} at most"
    )
    assert apart < 1e-12

# %% [markdown]
# ## The decoder is the gradient of the encoder
#
# The encoder alone knows $\log Z$, the log probability of all evidence: $\log \sum_s$ of the root's belief. Its
# derivative by the log evidence of pixel $v$ for state $a$ is the posterior,
#
# $$\frac{\partial \log Z}{\partial e_v(a)} = p(x_v = a \mid z),$$
#
# and back-propagation through the encoder is the decoder, step by step: pooling becomes up-sampling, a convolution the
# transposed one, and the skips are the activations that back-propagation keeps.

# %%
e = log_evidence.clone().requires_grad_()
root = encoder(e)[0][-1]
(gradient,) = torch.autograd.grad(root.logsumexp(1).sum(), e)
apart = float((gradient - posterior).abs().max())
print(f"gradient and decoder differ by {apart:.0e} at most")
assert torch.allclose(gradient, posterior, atol=1e-12)

# %% [markdown]
# So there were two ways to find the U-Net: distribute messages, or ask for a derivative. The second works for any
# network that computes a log partition. The library's encoder is one:

# %%
e = log_evidence.clone().requires_grad_()
marginals = hgm.compile(tree, task="posterior")  # without a channel: log evidence in
(gradient,) = torch.autograd.grad(marginals.log_partition(e).sum(), e)
assert torch.allclose(gradient, marginals(log_evidence), atol=1e-12)

# %% [markdown]
# ## Without its last skip
#
# The last line of the decoder is $b_v = r_v + e_v$: what all others say of a pixel, and what the pixel says of itself.
# Leave the last skip out, and $r_v$ remains, the *leave-one-out* posterior $p(x_v \mid z_{\text{all but } v})$. It is
# the fourth picture above: the best guess of each pixel by somebody who may look at all pixels but that one.
#
# One can check that literally: cover a pixel, run the whole network, look at its posterior; and that 64 times. The
# network without the last skip does it at once.

# %%
leave_one_out = decoder(*encoder(log_evidence), last_skip=False).exp()
covered = log_evidence.repeat(64, 1, 1, 1)
for v in range(64):
    covered[v, :, v // 8, v % 8] = 0  # nothing is known of this pixel
one_by_one = marginals(covered)
literally = torch.stack(
    [one_by_one[v, :, v // 8, v % 8] for v in range(64)], 1
).reshape(1, 3, 8, 8)
assert torch.allclose(leave_one_out, literally, atol=1e-12)
assert torch.allclose(
    leave_one_out, unet(z, sigma, outputs="leave_one_out"), atol=1e-12
)
print("64 runs with a covered pixel and one run without the last skip are the same")

# %% [markdown]
# The last skip matters the more, the less noise there is: a clean pixel says nearly all of itself, a noisy one next to
# nothing. Both errors, on average over a thousand images:

# %% alt="Squared error against noise, with and without the last skip: far apart at little noise, together at much"
noises = [0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0]
many = hgm.infer(tree).sample(1000, generator=generator).values(channel)
errors = []
for s in noises:
    noisy = channel.add_noise(many, s, generator=generator)
    whole, without = unet(noisy, s, outputs=("mean", "leave_one_out"))
    guess = (without * greys).sum(1)
    errors.append([float((x - many).square().mean()) for x in (whole, guess)])
whole, without = zip(*errors, strict=True)
figure, axis = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
axis.loglog(noises, whole, "o-", color=PALETTE[0], label="the U-Net")
axis.loglog(noises, without, "o-", color=PALETTE[1], label="without its last skip")
axis.set(xlabel="noise σ", ylabel="squared error of a pixel")
axis.set_xticks(noises, [f"{s:g}" for s in noises])
axis.minorticks_off()
_ = axis.legend()
assert without[0] > 10 * whole[0] and without[-1] < 1.1 * whole[-1]

# %% [markdown]
# [Why U-Nets?](why_unets.md) removes the other parts, one by one, and says what each costs. That the same network can
# be built of ReLUs is the next page: [ReLU networks with a certificate](relu.md). And `make demo` is the way from
# real data to a report: [Handwritten digits](../digits.md).
#
# ## Exercises
#
# 1. Somebody tells you that the image is *dark*. Where in the U-Net does that enter?
# 2. Half of the image is missing. What does `decoder` return there, and is its picture sharp?
# 3. Leave out the *first* kind of skip: do not subtract $q_v$. What goes wrong, and in which direction?
#
# ## Answers
#
# **1.** At the bottleneck: the root has evidence of its own, which is added to its $h$ (here $-\infty$ for *light*).

# %%
h, q = encoder(log_evidence)
h[-1] = h[-1] + torch.tensor([0.0, -torch.inf])[:, None, None]
told = decoder(h, q).exp()
by_name = hgm.infer(tree, z, sigma, channel=channel, evidence={"label": "dark"})
assert torch.allclose(told[0, :, 0, 0], by_name["x0_0"], atol=1e-12)

# %% [markdown]
# **2.** Where nothing was seen, log evidence is 0, and the posterior is what the rest of the image says. Its mean is
# blurred, as the best guess of something uncertain must be; a *sample* is sharp.

# %% alt="The noisy image with its right half missing, the mean of the posterior, and a sample from it"
half = log_evidence.clone()
half[..., 4:] = 0
mean = (decoder(*encoder(half)).exp() * greys).sum(1)
hidden = z.clone()
hidden[..., 4:] = torch.nan
blind = hgm.Missing(channel)
sample = (
    hgm.infer(tree, hidden, sigma, channel=blind)
    .sample(1, generator=generator)
    .values(channel)
)
shown = {"seen": hidden, "mean": mean, "a sample": sample.reshape(1, 8, 8)}
figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.4), layout="constrained")
for axis, (name, picture) in zip(axes, shown.items(), strict=True):
    axis.imshow(picture[0], cmap="gray", vmin=-0.5, vmax=2.5)
    axis.set_title(name)
    axis.set_axis_off()

# %% [markdown]
# **3.** The parent's belief contains what $v$ said, so $v$ hears an echo of itself and counts its own evidence twice:
# the posteriors are too sure. (A [trained](compare.md) U-Net has to learn not to.)

# %%
h, q = encoder(log_evidence)
echo = decoder(h, [torch.zeros_like(x) for x in q]).exp()


def entropy(p):
    """In nats, of a pixel."""
    return float(-torch.xlogy(p, p).sum(1).mean())


print(
    f"entropy of a pixel: {entropy(posterior):.3f} in truth, "
    f"{entropy(echo):.3f} with the echo"
)
assert entropy(echo) < entropy(posterior)
