"""The data and the model of the demonstration: scikit-learn's handwritten digits as an 8x8 quad-tree.

    digit (10) -- style -- 4 parts of 4x4 pixels -- 16 patches of 2x2 pixels -- 64 pixels (17 grey levels)

Every part and every patch has tables of its own, but all patches share one set of four tables for their pixels: the
patches are learned as one dictionary, and the last stage of the network is a convolution with stride 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hgm.errors import HgmError
from hgm.learn.em import Fit, fit
from hgm.tree.tree import Tree
from hgm.zoo.hierarchy import Level, ghm

__all__ = [
    "GREYS",
    "Digits",
    "Settings",
    "clusters",
    "declare",
    "improve",
    "learn",
    "load",
    "require_libraries",
    "start",
]

GREYS = 17  # grey levels 0 to 16
LABEL = "digit"


@dataclass(frozen=True)
class Settings:
    """The model's size and how it is learned. The defaults were chosen on training data only (`hgm.demo.choose`).

    Attributes:
        styles: states of the variable below the digit: ways to write one, over all ten digits.
        parts: states of each 4x4 part.
        patches: states of each 2x2 patch.
        smoothing: pseudo-count of every table entry.
        iterations: of EM.
        slack: standard deviation, in grey levels, that the classifier allows for even in clean images, because the
            tables are too sure of exact grey levels.
    """

    styles: int = 60
    parts: int = 48
    patches: int = 64
    smoothing: float = 0.001
    iterations: int = 4
    slack: float = 2.0


@dataclass(frozen=True, eq=False)
class Digits:
    """A split of the images. `train` and `test` are ``(N, 8, 8)`` integers 0 to 16, the labels ``(N,)`` 0 to 9."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def require_libraries() -> None:
    """Raises `HgmError` if what the demonstration needs is not installed."""
    try:
        import diffusers  # noqa: F401
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        raise HgmError(
            f"the demonstration needs more libraries ({error}); install them: pip install 'hgm[demo]'"
        ) from None


def load(seed: int = 0, *, validation: int | None = None) -> Digits:
    """The 1,797 images, three quarters to learn from and one to test on, as many of each digit.

    Args:
        seed: of the split.
        validation: split the learning part once more in the same way, with this seed, and leave out the test part.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images, labels = data.images.astype(np.int64), data.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=seed, stratify=labels)
    if validation is not None:
        train, test = train_test_split(train, test_size=0.25, random_state=validation, stratify=labels[train])
    parts = (images[train], labels[train], images[test], labels[test])
    return Digits(*(torch.from_numpy(part) for part in parts))


def declare(settings: Settings) -> Tree:
    """The tree, with random tables."""
    return ghm(
        [
            Level((1, 1), settings.styles, tie="none", name="style"),
            Level((2, 2), settings.parts, tie="none", name="part"),
            Level((2, 2), settings.patches, tie="none", name="patch"),
            Level((2, 2), GREYS, tie="position", name="pixel"),
        ],
        root=[str(digit) for digit in range(10)],
        grid=(8, 8),
        root_name=LABEL,
    )


def learn(digits: Digits, settings: Settings, seed: int = 0) -> Fit:
    """EM with the digit observed."""
    return improve(start(digits, settings, seed), digits, settings, settings.iterations)


def start(digits: Digits, settings: Settings, seed: int) -> Tree:
    """Where EM starts: counts, with clusters of images, parts and patches in place of the hidden states."""
    observed = {LABEL: digits.train_labels} | clusters(digits, settings, seed)
    return fit(declare(settings), digits.train, observed, smoothing=0.5, iterations=1).tree


def improve(tree: Tree, digits: Digits, settings: Settings, iterations: int) -> Fit:
    """So many iterations of EM."""
    labels = {LABEL: digits.train_labels}
    return fit(tree, digits.train, labels, smoothing=settings.smoothing, iterations=iterations, tolerance=0.0)


def clusters(digits: Digits, settings: Settings, seed: int) -> dict[str, np.ndarray]:
    """A state of every hidden variable for every image, ``(N,)`` by name: which cluster (k-means) its pixels are in."""
    from sklearn.cluster import KMeans

    def cluster(points: np.ndarray, states: int) -> np.ndarray:
        return KMeans(min(states, len(points)), n_init=1, random_state=seed).fit_predict(points).astype(np.int64)

    images, labels = digits.train.numpy().astype(np.float64), digits.train_labels.numpy()
    style = np.zeros(len(labels), dtype=np.int64)
    share = np.diff(np.arange(11) * settings.styles // 10)  # styles of each digit
    for digit in range(10):
        mine = labels == digit
        style[mine] = share[:digit].sum() + cluster(images[mine].reshape(mine.sum(), -1), int(share[digit]))
    parts = {
        f"part{row}_{column}": cluster(block.reshape(len(block), -1), settings.parts)
        for (row, column), block in _blocks(images, 4).items()
    }
    patches = _blocks(images, 2)
    together = cluster(np.concatenate([block.reshape(len(block), -1) for block in patches.values()]), settings.patches)
    names = [f"patch{row}_{column}" for row, column in patches]
    return {"style0_0": style} | parts | dict(zip(names, np.split(together, len(names)), strict=True))


def _blocks(images: np.ndarray, side: int) -> dict[tuple[int, int], np.ndarray]:
    """The blocks of so many pixels of all images, by row and column: ``(N, side, side)``."""
    count = images.shape[1] // side
    return {
        (row, column): images[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
        for row in range(count)
        for column in range(count)
    }
