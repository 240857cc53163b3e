"""What the demonstration finds, and what its report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hgm.demo.digits import Settings
from hgm.learn.em import Fit

__all__ = ["Images", "Results"]


@dataclass(frozen=True, eq=False)
class Results:
    """What `hgm.demo.run` found, all on the test images.

    Attributes:
        fit: the learned model.
        differences: largest difference in probability between each compiled network and the reference.
        accuracy: by method, and by what it saw: ``"clean"`` or a noise level such as ``"4"``.
        psnr: in decibels (peak 16), by method and noise level.
        diffusion: of images drawn by diffusion: `Diffusion.figures`.
        relu: of the U-Net of ReLUs its ``units``, its ``parameters``, how far its means were ``proved`` to be from
            the exact ones at most, and the largest difference ``measured`` on all noisy images.
        settings: of the model and its learning.
        images: numbers of training and of test images.
        seconds: of each step.
        files: what was written, by kind: ``"report"``, ``"picture"``, ``"model"``, ``"figures"``.
    """

    fit: Fit
    differences: dict[str, float]
    accuracy: dict[str, dict[str, float]]
    psnr: dict[str, dict[str, float]]
    diffusion: dict[str, Any]
    relu: dict[str, float]
    settings: Settings
    images: tuple[int, int]
    seconds: dict[str, float] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """All numbers, as plain data."""
        return {
            "images": {"train": self.images[0], "test": self.images[1]},
            "settings": dict(vars(self.settings)),
            "log_likelihood_per_image": self.fit.log_likelihood[-1] / self.fit.rows,
            "difference_to_reference": self.differences,
            "accuracy": self.accuracy,
            "psnr": self.psnr,
            "diffusion": self.diffusion,
            "relu": self.relu,
            "seconds": {name: round(seconds, 2) for name, seconds in self.seconds.items()},
        }


@dataclass(frozen=True, eq=False)
class Images:
    """What the report shows.

    Attributes:
        shown: ``(10, 8, 8)`` of one test image for each digit, by what was done to them.
        samples: ``(n, 10, 8, 8)`` new images.
        diffused: those by diffusion: ``"free"`` ``(n, 8, 8)``, ``"by digit"`` ``(n, 10, 8, 8)``, and of the test images
            that are shown ``"completed"`` ``(n, 10, 8, 8)``.
        test: ``(N, 8, 8)`` the test images.
        labels: ``(N,)`` their digits.
        posterior: ``(N, 10)`` what the ConvNet says of them.
    """

    shown: Mapping[str, np.ndarray]
    samples: np.ndarray
    diffused: Mapping[str, np.ndarray]
    test: np.ndarray
    labels: np.ndarray
    posterior: np.ndarray
