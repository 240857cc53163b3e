"""What the learned model is worth: accuracy and denoising beside simple baselines, networks beside the reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.demo.digits import GREYS, Digits
from hgm.evidence.channels import Gaussian
from hgm.learn.em import fit
from hgm.networks.compile import compile
from hgm.networks.heads import ConvNet, UNet
from hgm.tree.tree import Tree
from hgm.zoo.hierarchy import Level, ghm

__all__ = [
    "Networks",
    "accuracy",
    "add_noise",
    "baseline_accuracy",
    "compare",
    "linear_denoiser",
    "naive_bayes",
    "prior_denoiser",
    "psnr",
]

PEAK = 16.0
SLICE = 50  # images at once in the reference


@dataclass(frozen=True)
class Networks:
    """The compiled networks.

    Attributes:
        classifier: clean images to the digit.
        noisy_classifier: noisy images and sigma to the digit.
        denoiser: noisy images and sigma to the posterior mean.
        posterior: log evidence to the posterior of every pixel.
    """

    classifier: ConvNet
    noisy_classifier: ConvNet
    denoiser: UNet
    posterior: UNet

    @classmethod
    def of(cls, tree: Tree) -> Networks:
        """Compile a tree."""
        noise = Gaussian(torch.arange(float(GREYS)))
        classifier, noisy = compile(tree, "classify"), compile(tree, "classify", channel=noise)
        denoiser, posterior = compile(tree, "denoise", channel=noise), compile(tree, "posterior")
        assert isinstance(classifier, ConvNet) and isinstance(noisy, ConvNet)
        assert isinstance(denoiser, UNet) and isinstance(posterior, UNet)
        return cls(classifier, noisy, denoiser, posterior)


def add_noise(images: Tensor, sigma: float, seed: int, draws: int = 1) -> Tensor:
    """``(draws N, 8, 8)`` float64: the images with Gaussian noise, not clipped; draw after draw."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((draws, *images.shape), generator=generator, dtype=torch.float64)
    return (images + sigma * noise).flatten(0, 1)


def accuracy(posterior: Tensor, labels: Tensor) -> float:
    """How often the largest of ``(N, 10)`` is at the label; N may be a multiple of the number of labels."""
    return float((posterior.argmax(1).reshape(-1, len(labels)) == labels).double().mean())


def psnr(estimate: Tensor, clean: Tensor) -> float:
    """Peak signal to noise ratio in decibels, peak 16; of all estimates if there are several for each clean image."""
    error = estimate.reshape(-1, *clean.shape) - clean
    return float(10 * torch.log10(PEAK**2 / error.square().mean()))


def compare(tree: Tree, networks: Networks, images: Tensor, noisy: Tensor, sigma: float) -> dict[str, float]:
    """Largest difference between networks and reference (`hgm.infer`, float64) over images, in probabilities.

    The ConvNet on the clean images, the U-Net on the noisy ones, each in float64 and float32.
    """
    clean = networks.classifier.channel(images).double()
    soft = Gaussian(torch.arange(float(GREYS)))(noisy, sigma)

    def reference(e: Tensor) -> Tensor:  # (N, S, V); in slices, which stay in cache
        return torch.cat([infer(tree, part).marginals for part in e.split(SLICE)])

    root = reference(clean)[:, : int(tree.cardinality[0]), 0]
    leaves = reference(soft)[:, :GREYS, torch.from_numpy(tree.leaves)].reshape(soft.shape)
    return {
        f"{name}, {str(dtype).removeprefix('torch.')}": float((network(e.to(dtype)).double() - expected).abs().max())
        for name, network, e, expected in (
            ("ConvNet", networks.classifier, clean, root),
            ("U-Net", networks.posterior, soft, leaves),
        )
        for dtype in (torch.float64, torch.float32)
    }


def naive_bayes(digits: Digits) -> Tree:
    """The same without a hierarchy: every pixel depends on the digit alone. Learned by counting."""
    tree = ghm([Level((8, 8), GREYS, tie="none")], 10, grid=(8, 8), root_name="digit")
    return fit(tree, digits.train, {"digit": digits.train_labels}, smoothing=0.1, iterations=1).tree


def baseline_accuracy(digits: Digits, tests: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """Accuracy of simple classifiers, learned from the clean images, on several versions of the test images."""
    from sklearn.linear_model import LogisticRegression

    train, labels = digits.train.flatten(1).double() / PEAK, digits.train_labels
    means = torch.stack([train[labels == digit].mean(0) for digit in range(10)])
    logistic = LogisticRegression(max_iter=1000).fit(train.numpy(), labels.numpy())

    def near(x: Tensor) -> Tensor:
        return -torch.cdist(x, means)

    def linear(x: Tensor) -> Tensor:
        return torch.from_numpy(logistic.predict_proba(x.numpy()))

    return {
        name: {test: accuracy(score(z.flatten(1) / PEAK), digits.test_labels) for test, z in tests.items()}
        for name, score in (("nearest mean", near), ("logistic regression", linear))
    }


def prior_denoiser(digits: Digits, noisy: Tensor, sigma: float) -> Tensor:
    """E[pixel | its noisy value]: every pixel by itself, with its histogram over the training images as the prior."""
    states = torch.arange(GREYS)
    histogram = (digits.train[:, None] == states[:, None, None]).double().mean(0)  # (17, 8, 8)
    weight = histogram * torch.softmax(-((noisy[:, None] - states[:, None, None]) ** 2) / (2 * sigma**2), 1)
    return (weight * states[:, None, None]).sum(1) / weight.sum(1)


def linear_denoiser(digits: Digits, noisy: Tensor, sigma: float) -> Tensor:
    """The best linear estimate (Wiener filter), with mean and covariance of the training images."""
    train = digits.train.flatten(1).double()
    mean, covariance = train.mean(0), torch.cov(train.T)
    noise = sigma**2 * torch.eye(len(mean), dtype=torch.float64)
    return mean.reshape(8, 8) + (
        (noisy.flatten(1) - mean) @ torch.linalg.solve(covariance + noise, covariance)
    ).reshape(noisy.shape)
