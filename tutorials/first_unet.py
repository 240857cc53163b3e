"""Why a U-Net denoises: a tree, its exact posterior, and the U-Net that computes it. Runs in seconds."""

import torch

import hgm

# %% A tree: a class, four quarters, sixteen pixels with three grey levels; a table for each step down.
tree = hgm.ghm(
    [
        hgm.Level(arity=(2, 2), states=4, potential=[[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]),
        hgm.Level(arity=(2, 2), states=3, potential=[[0.9, 0.1, 0], [0.5, 0.4, 0.1], [0.1, 0.4, 0.5], [0, 0.1, 0.9]]),
    ],
    root=["dark", "light"],
)
print(tree)

# %% An image from the model, and a noisy observation of it.
generator = torch.Generator().manual_seed(0)
image = hgm.infer(tree, {"label": "light"}).sample(1, generator=generator)
image = image.states[:, torch.tensor(tree.leaves)].reshape(1, 4, 4)
channel = hgm.Gaussian([0.0, 1.0, 2.0])
noisy = channel.add_noise(image.double(), 1.0, generator=generator)

# %% The U-Net. Nobody trained it: its weights are the tables. The encoder goes from the pixels to the class ...
unet = hgm.compile(tree, task="denoise", channel=channel)
print(unet.plan)
denoised = unet(noisy, 1.0)

# %% ... and what it returns is E[image | noisy], the best estimate there is. The reference says the same, node by node.
log_evidence = unet.channel(noisy, 1.0)
post = hgm.infer(tree, {f"x{r}_{c}": log_evidence[:, :, r, c].exp() for r in range(4) for c in range(4)})
by_hand = torch.stack([post[f"x{r}_{c}"] @ torch.arange(3.0).double() for r in range(4) for c in range(4)], 1)
assert torch.allclose(denoised.flatten(1), by_hand, atol=1e-12)
for name, x in {"noisy": noisy, "denoised": denoised}.items():
    print(f"mean squared error of the {name} image: {float((x - image).square().mean()):.3f}")

# %% The encoder alone is a ConvNet: the posterior of the class.
cnn = hgm.compile(tree, task="classify", channel=channel)
print("class:", dict(zip(tree.labels(0), cnn(noisy, 1.0)[0].tolist(), strict=True)))

# %% And the decoder is the derivative of the encoder: the gradient of log Z by the log evidence is the marginals.
evidence = log_evidence.clone().requires_grad_()
marginals = hgm.compile(tree, task="posterior")
(gradient,) = torch.autograd.grad(marginals.log_partition(evidence).sum(), evidence)
assert torch.allclose(gradient, marginals(log_evidence), atol=1e-12)
