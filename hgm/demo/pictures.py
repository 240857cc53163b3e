"""The pictures of the demonstration: plain matplotlib figures, no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hgm.viz.style import GREY, INK, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion", "curve", "grid", "mistakes", "psnr_chart"]

PEAK = 16.0
GAP = 4  # pixels of the canvas around an image, whose own pixels are ZOOM x ZOOM of them
ZOOM = 6

Row = tuple[str, np.ndarray]  # label, (10, 8, 8) images
Block = tuple[str, Sequence[Sequence[Row]]]  # title, groups of rows


def grid(blocks: Sequence[Block]) -> Figure:
    """Blocks of images side by side, one column for each digit; rows have labels, and groups of rows some space."""
    cell, top, space, margin = 0.42, 0.62, 0.14, 0.2
    labels = [1.0 if any(name for group in groups for name, _ in group) else 0.1 for _, groups in blocks]
    rows = [sum(len(group) for group in groups) for _, groups in blocks]
    room = max(n * cell + (len(groups) - 1) * space for n, (_, groups) in zip(rows, blocks, strict=True))
    width = sum(labels) + len(blocks) * (10 * cell + margin)
    height = top + room + 0.12
    figure = Figure(figsize=(width, height), facecolor="white")

    def write(x: float, y: float, text: str, align: str, size: float, color: str) -> None:
        figure.text(x / width, y / height, text, ha=align, va="center", size=size, color=color)

    left = 0.0
    for (title, groups), label, count in zip(blocks, labels, rows, strict=True):
        left += label
        write(left + 5 * cell, height - 0.2, title, "center", 11, INK)
        for digit in range(10):
            write(left + (digit + 0.5) * cell, height - top + 0.12, str(digit), "center", 8.5, GREY)
        step = (room - (len(groups) - 1) * space) / count  # shorter blocks are spread over the height
        y = height - top
        for group in groups:
            for name, images in group:
                axes = figure.add_axes((left / width, (y - cell) / height, 10 * cell / width, cell / height))
                _show(axes, images)
                write(left - 0.08, y - cell / 2, name, "right", 8.5, INK)
                y -= step
            y -= space
        left += 10 * cell + margin
    return figure


def _show(axes: Axes, images: np.ndarray) -> None:
    """Images in one row, ink dark on white, each in a thin frame of grey."""
    side = images.shape[1] * ZOOM
    canvas = np.full((side + 2 * GAP, len(images) * (side + 2 * GAP)), -1.0)
    for i, image in enumerate(images):
        x = i * (side + 2 * GAP) + GAP
        canvas[GAP - 1 : GAP + side + 1, x - 1 : x + side + 1] = PEAK * 0.3
        canvas[GAP : GAP + side, x : x + side] = np.kron(np.clip(image, 0, PEAK), np.ones((ZOOM, ZOOM)))
    axes.imshow(np.clip(canvas, 0, PEAK), cmap="gray_r", vmin=0, vmax=PEAK, interpolation="nearest", aspect="auto")
    axes.set_axis_off()


def curve(history: Sequence[float], rows: int) -> Figure:
    """The objective of EM per image, by iteration."""
    figure, axes = _chart(4.2, 2.6)
    axes.plot(
        range(len(history)), np.array(history) / rows, marker="o", markersize=3.5, color=PALETTE[0], linewidth=1.6
    )
    axes.set_xlabel("iteration")
    axes.set_ylabel("objective per image (nats)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def psnr_chart(psnr: Mapping[str, Mapping[str, float]]) -> Figure:
    """PSNR of each method by noise level, as bars."""
    figure, axes = _chart(4.6, 2.6)
    sigmas = list(next(iter(psnr.values())))
    width = 0.8 / len(psnr)
    colors = ("#c9c9c9", PALETTE[5], PALETTE[2], PALETTE[0])
    for i, (name, values) in enumerate(psnr.items()):
        x = np.arange(len(sigmas)) + (i - (len(psnr) - 1) / 2) * width
        bars = axes.bar(x, list(values.values()), width * 0.94, label=name, color=colors[i % len(colors)])
        axes.bar_label(bars, fmt="%.1f", size=6.5, padding=1, color=INK)
    axes.set_xticks(range(len(sigmas)), [f"σ = {sigma}" for sigma in sigmas])
    axes.set_ylabel("PSNR (dB)")
    axes.set_ylim(0, 34)
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper right")
    return figure


def confusion(counts: np.ndarray) -> Figure:
    """A confusion matrix ``(10, 10)``: rows are the true digits."""
    figure, axes = _chart(3.4, 3.2)
    shown = counts / counts.sum(1, keepdims=True)
    axes.imshow(np.sqrt(shown), cmap="Blues", vmin=0, vmax=1.25)
    for true, guess in np.argwhere(counts > 0):
        dark = shown[true, guess] > 0.5
        axes.text(
            guess, true, str(counts[true, guess]), ha="center", va="center", size=7.5, color="white" if dark else INK
        )
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.tick_params(length=0)
    axes.set_xlabel("classified as")
    axes.set_ylabel("digit")
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def mistakes(images: np.ndarray, words: Sequence[str], columns: int = 10) -> Figure:
    """Images with a line of words below each."""
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(columns * 0.85, rows * 1.12), facecolor="white")
    for i, (image, text) in enumerate(zip(images, words, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=PEAK, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#c0c0c0")
        axes.set_xlabel(text, size=6.5, color=INK, labelpad=2)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.16 / rows, wspace=0.15, hspace=0.35)
    return figure


def _chart(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(labelsize=7.5, colors=INK)
    axes.xaxis.label.set_fontsize(8.5)
    axes.yaxis.label.set_fontsize(8.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
