# %% [markdown]
# # A first U-Net
#
# What a tree is, how noise becomes evidence, and why the network that removes it best is a U-Net. Runs in seconds.

# %%
import matplotlib.pyplot as plt
import torch

import hgm

# %% [markdown]
# ## A tree
#
# The model is a class, four quarters and sixteen pixels with three grey levels. Each step down has a table: row $s$
# holds the probabilities of the states of a child whose parent is in state $s$. All children of a level share it.

# %% alt="The tree: a class above, four quarters below it, sixteen pixels at the bottom"
quarter = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]
pixel = [[0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.1, 0.4, 0.5], [0.0, 0.1, 0.9]]
tree = hgm.ghm(
    [
        hgm.Level(arity=(2, 2), states=4, potential=quarter),
        hgm.Level(arity=(2, 2), states=3, potential=pixel),
    ],
    root=["dark", "light"],
)
print(tree)
hgm.draw(tree, style="nodes")

# %% [markdown]
# ## An image, and noise
#
# We draw an image $x$ from the model, of the class *light*, and observe $z = x + \sigma \varepsilon$ with
# $\sigma = 1$. The channel turns each noisy pixel into evidence: the likelihood $p(z_i \mid x_i)$ of each of its three
# grey levels.

# %%
generator = torch.Generator().manual_seed(4)
image = hgm.infer(tree, {"label": "light"}).sample(1, generator=generator)
image = image.states[:, torch.tensor(tree.leaves)].reshape(1, 4, 4)
channel = hgm.Gaussian([0.0, 1.0, 2.0])
noisy = channel.add_noise(image.double(), 1.0, generator=generator)
print(image[0])

# %% [markdown]
# ## The U-Net
#
# Nobody trained it: its weights are the tables. The encoder goes from the pixels to the class and pools what they say
# of it, the decoder goes back down, and at each level a skip connection brings what the encoder knew there.

# %% alt="The U-Net: an encoder from the pixels down to the class, a decoder back up to the pixels, and skips across"
unet = hgm.compile(tree, task="denoise", channel=channel)
print(unet.plan)
hgm.draw(unet)

# %% [markdown]
# What it returns is $E[x \mid z]$, the estimate with the least mean squared error there is.

# %% alt="Three images of four by four pixels side by side: the image, the noisy one, and the denoised one"
denoised = unet(noisy, 1.0)
shown = {"image": image, "noisy": noisy, "denoised": denoised}
figure, axes = plt.subplots(1, 3, figsize=(7, 2.6))
for ax, (name, x) in zip(axes, shown.items(), strict=True):
    ax.imshow(x[0], cmap="gray", vmin=-1, vmax=3)
    ax.set_title(name)
    ax.set_axis_off()
plt.show()

for name in ("noisy", "denoised"):
    error = float((shown[name] - image).square().mean())
    print(f"mean squared error of the {name} image: {error:.3f}")

# %% [markdown]
# The reference, belief propagation node by node, says the same.

# %%
log_evidence = unet.channel(noisy, 1.0)
pixels = {f"x{r}_{c}": log_evidence[:, :, r, c].exp() for r in range(4) for c in range(4)}
post = hgm.infer(tree, pixels)
greys = torch.arange(3.0).double()
by_hand = torch.stack([post[name] @ greys for name in pixels], 1)
assert torch.allclose(denoised.flatten(1), by_hand, atol=1e-12)

# %% [markdown]
# ## Its two halves
#
# The encoder alone is a ConvNet: it gives the posterior of the class.

# %%
cnn = hgm.compile(tree, task="classify", channel=channel)
for name, p in zip(tree.labels(0), cnn(noisy, 1.0)[0].tolist(), strict=True):
    print(f"{name}: {p:.3f}")

# %% [markdown]
# And the decoder is the derivative of the encoder: the gradient of $\log Z$ by the log evidence is the marginals.

# %%
evidence = log_evidence.clone().requires_grad_()
marginals = hgm.compile(tree, task="posterior")
(gradient,) = torch.autograd.grad(marginals.log_partition(evidence).sum(), evidence)
assert torch.allclose(gradient, marginals(log_evidence), atol=1e-12)

# %% [markdown]
# `make demo` is the next step, from real data to a report: see [Handwritten digits](../digits.md).
