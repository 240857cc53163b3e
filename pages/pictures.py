"""Draws the pictures of the pages with hgm itself: what `make docs` does before it builds the site.

The same hgm draws the same bytes. `make pictures` also writes the README's picture, the only one that is kept.

    python pages/pictures.py [--out docs/pictures] [NAME ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

import hgm
from hgm.files.whole import write_whole
from hgm.viz.style import picture

Picture = Callable[[], Figure]
NOISE = hgm.Gaussian()


def small() -> hgm.Tree:
    """The tree of the concepts: a label, two hidden variables, four leaves."""
    return hgm.broadcast(2, 3, 2, eps=0.2)


def image() -> hgm.Tree:
    """A model of images of 8x8 pixels."""
    return hgm.ghm([hgm.Level(arity=(2, 2), states=states) for states in (8, 8, 4)], root=10, grid=(8, 8), seed=0)


def irregular() -> hgm.Tree:
    """A tree whose variables have whatever number of children."""
    return hgm.random_tree(14, seed=3)


def way() -> Figure:
    """The way of the data: what is made of what, and who verifies whom."""
    figure, axes = plt.subplots(figsize=(7.6, 4.6))
    axes.set(xlim=(0, 10), ylim=(0, 6))
    axes.set_axis_off()
    boxes = {
        "declare": (5, 5.5, "hgm.ghm, hgm.zoo, files, converters", "declare"),
        "tree": (5, 4.3, "frozen arrays", "Tree"),
        "infer": (1.9, 3.1, "float64, slow, clear", "reference inference"),
        "plan": (7, 3.1, "stages of batched message ops", "Plan"),
        "net": (7, 1.9, "nn.Module", "ConvNet, U-Net"),
        "use": (7, 0.7, "classify, denoise, sample, fine-tune, export", "use"),
    }
    for x, y, words, title in boxes.values():
        box = {"boxstyle": "round,pad=0.45", "facecolor": "#dbe9f6", "edgecolor": "#222222"}
        axes.text(
            x,
            y,
            f"$\\bf{{{title.replace(' ', '~').replace('-', '{-}')}}}$\n{words}",
            ha="center",
            va="center",
            bbox=box,
            size=9.5,
        )
    ways = [("declare", "tree"), ("tree", "infer"), ("tree", "plan"), ("plan", "net"), ("net", "use")]
    for start, end in ways:
        (x, y, *_), (to, bottom, *_) = boxes[start], boxes[end]
        axes.annotate("", (to, bottom + 0.42), (x, y - 0.42), arrowprops={"arrowstyle": "-|>", "color": "#222222"})
    dashed = {"arrowstyle": "-|>", "color": "#D55E00", "linestyle": "--"}
    axes.annotate("", (5.7, 1.9), (1.9, 2.68), arrowprops=dashed | {"connectionstyle": "angle,angleA=0,angleB=90"})
    axes.text(3.8, 2.0, "verifies", color="#D55E00", ha="center", size=9.5)
    return figure


#: every picture, by the name of its file
PICTURES: dict[str, Picture] = {
    "way": way,
    "tree": lambda: hgm.draw(small()),
    "unet": lambda: hgm.draw(hgm.compile(small(), "denoise", channel=NOISE)),
    "convnet": lambda: hgm.draw(hgm.compile(image())),
    "image-tree": lambda: hgm.draw(image()),
    "image-unet": lambda: hgm.draw(hgm.compile(image(), "denoise", channel=NOISE)),
    "untied": lambda: hgm.draw(irregular()),
    "gather": lambda: hgm.draw(hgm.compile(irregular(), "posterior")),
    "kernels": lambda: hgm.draw(hgm.compile(hgm.rhm(8, 4, 2, 3, seed=0), "posterior")),
    "caterpillar": lambda: hgm.draw(hgm.caterpillar(6, 3, seed=0)),
    "paths": lambda: hgm.draw(hgm.compile(hgm.caterpillar(6, 3, seed=0), "posterior", schedule="paths")),
    "relu": lambda: hgm.draw(hgm.compile(hgm.random_ghm(depth=3, states=2, seed=0), activation="relu", tol=0.01)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES], metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names or PICTURES:
        write_whole(given.out / f"{name}.svg", picture(PICTURES[name](), "svg"))


if __name__ == "__main__":
    main()
