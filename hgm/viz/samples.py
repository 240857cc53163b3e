"""Samples of the leaves as grey images: a grid of them, or for leaves in a line a strip for each sample."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from hgm.errors import BadSpec
from hgm.viz.style import PALE, new_figure

if TYPE_CHECKING:
    from hgm.viz.drawing import Drawing

__all__ = ["check_drawable", "draw_samples"]

WIDTH = 6.4  # inches
MARGIN = 0.15
GAP = 0.12  # between two images, as a share of an image
MOST = 400  # samples in a picture


def check_drawable(count: int) -> None:
    """Raises `BadSpec` for more samples than one picture shows."""
    if count > MOST:
        raise BadSpec(f"a picture shows at most {MOST} samples; got {count:,}")


def draw_samples(samples: np.ndarray, low: float, high: float) -> Drawing:
    """A picture of samples, dark where values are high.

    Args:
        samples: ``(n, height, width)`` in a grid, or ``(n, width)`` one below the other; n at least 1.
        low: the value that is white.
        high: the value that is black.

    Raises:
        BadSpec: for more samples than one picture shows.
        HgmError: if matplotlib is not installed.
    """
    check_drawable(len(samples))
    images = samples if samples.ndim == 3 else samples[:, None]
    count, tall, wide = images.shape
    columns = 1 if samples.ndim == 2 else min(count, max(1, ceil(sqrt(count * tall / wide))))
    rows = ceil(count / columns)
    cell = (WIDTH - 2 * MARGIN) / (columns + (columns - 1) * GAP)  # inches
    cell = min(cell, 1.2) if samples.ndim == 3 else cell
    side = cell * tall / wide if samples.ndim == 3 else min(0.22, cell / wide)
    gap = GAP * min(cell, side)
    width = 2 * MARGIN + columns * cell + (columns - 1) * gap
    height = 2 * MARGIN + rows * side + (rows - 1) * gap
    figure, axes = new_figure(width, height)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        x, y = MARGIN + column * (cell + gap), height - MARGIN - row * (side + gap)
        axes.imshow(
            image, cmap="gray_r", vmin=low, vmax=high, extent=(x, x + cell, y - side, y), interpolation="nearest"
        )
        axes.plot([x, x + cell, x + cell, x, x], [y, y, y - side, y - side, y], color=PALE, linewidth=0.5)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    return figure
