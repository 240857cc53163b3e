"""How the settings of the demonstration were chosen: `python -m hgm.demo.choose` prints the table (some minutes).

Only the training images are used. They are split again, five times, three to one; each setting is learned on the larger
part and measured on the smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from hgm.demo.digits import Digits, Settings, improve, load, start
from hgm.demo.measure import Networks, accuracy, add_noise, psnr
from hgm.tree.tree import Tree

__all__ = ["main", "validate"]

GRID = [
    Settings(styles, parts, patches, smoothing)
    for styles, parts, patches, smoothing in product((20, 30, 60, 100), (32, 48), (64, 96), (0.001, 0.003, 0.01))
]
ITERATIONS = (2, 4, 8)
SLACKS = (1.0, 2.0, 3.0)
MEASURES = ("log likelihood", "accuracy", *(f"with slack {slack:g}" for slack in SLACKS), "PSNR at 2", "PSNR at 4")


def validate(settings: Settings, iterations: Sequence[int] = ITERATIONS, splits: int = 5) -> dict[int, list[float]]:
    """Means of the measures over the splits, after each of some numbers of iterations.

    The log likelihood is that of image and digit, per image; the others are as in the report.
    """
    rows: dict[int, list[list[float]]] = {n: [] for n in iterations}
    for split in range(splits):
        digits = load(validation=split)
        tree, done = start(digits, settings, seed=split), 0
        for n in iterations:
            tree, done = improve(tree, digits, settings, n - done).tree, n
            rows[n].append(_measure(tree, digits, seed=split))
    return {n: np.mean(row, axis=0).tolist() for n, row in rows.items()}


def _measure(tree: Tree, digits: Digits, seed: int) -> list[float]:
    networks = Networks.of(tree)
    images, labels = digits.test.double(), digits.test_labels
    root = networks.classifier(digits.test)
    log_p = networks.classifier.log_partition(digits.test) + root.gather(1, labels[:, None])[:, 0].log()
    slack = [accuracy(networks.noisy_classifier(images, slack), labels) for slack in SLACKS]
    noisy = {sigma: add_noise(images, sigma, seed) for sigma in (2.0, 4.0)}
    ratios = [psnr(networks.denoiser(z, sigma), images) for sigma, z in noisy.items()]
    return [float(log_p.mean()), accuracy(root, labels), *slack, *ratios]


def main(grid: Sequence[Settings] = GRID) -> None:
    """Print the table, line by line."""
    print("styles parts patches smoothing iterations", *MEASURES, sep="  ")
    for settings in grid:
        for n, row in validate(settings).items():
            print(settings.styles, settings.parts, settings.patches, settings.smoothing, n, end="  ")
            print(*(f"{x:.4f}" for x in row), sep="  ", flush=True)


if __name__ == "__main__":
    main()
