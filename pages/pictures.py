"""Draws the pictures of the pages with hgm itself: what `make docs` does before it builds the site.

The same hgm draws the same bytes. The README's picture is the only one that is kept; when hgm draws another one, write
it by

    python -m pages.pictures readme --out docs/images
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import hgm
from hgm.files.whole import write_whole
from hgm.viz.boxes import BACK, DOWN, arrow
from hgm.viz.drawing import dark, picture
from hgm.viz.style import INK, new_figure

Picture = Callable[[], Figure]
NOISE = hgm.Gaussian()
SVG = "http://www.w3.org/2000/svg"


def small() -> hgm.Tree:
    """The tree of the concepts: a label, two hidden variables, four leaves."""
    return hgm.broadcast(2, 3, 2, eps=0.2)


def deep() -> hgm.Tree:
    """The tree of the README: one level more."""
    return hgm.broadcast(3, 3, 2, eps=0.1)


def image() -> hgm.Tree:
    """A model of images of 8x8 pixels."""
    return hgm.ghm([hgm.Level(arity=(2, 2), states=states) for states in (8, 8, 4)], root=10, grid=(8, 8), seed=0)


def irregular() -> hgm.Tree:
    """A tree whose variables have whatever number of children."""
    return hgm.random_tree(10, seed=4)


def way() -> Figure:
    """The way of the data: what is made of what, and what verifies what."""
    figure, axes = new_figure(6.6, 4.5)
    boxes = {  # the middle in inches, from the lower left corner
        "declare": (3.3, 4.1, "hgm.ghm, hgm.zoo, files, converters"),
        "Tree": (3.3, 3.2, "frozen arrays"),
        "reference inference": (1.3, 2.3, "float64, slow, clear"),
        "Plan": (4.6, 2.3, "stages of batched message ops"),
        "ConvNet, U-Net": (4.6, 1.4, "nn.Module"),
        "use": (4.6, 0.5, "classify, denoise, sample, fine-tune, export"),
    }
    high = 0.28  # of half a box
    for title, (x, y, words) in boxes.items():
        wide = max(0.047 * len(title), 0.035 * len(words)) + 0.12
        axes.add_patch(Rectangle((x - wide, y - high), 2 * wide, 2 * high, facecolor=DOWN, edgecolor=INK))
        axes.text(x, y + 0.1, title, ha="center", va="center", weight="bold", fontsize=10, color=INK)
        axes.text(x, y - 0.12, words, ha="center", va="center", fontsize=8.5, color=INK)
    ways = ["declare", "Tree"], ["Tree", "reference inference"], ["Tree", "Plan"], ["Plan", "ConvNet, U-Net"]
    for start, end in (*ways, ["ConvNet, U-Net", "use"]):
        arrow(axes, (boxes[start][0], boxes[start][1] - high), (boxes[end][0], boxes[end][1] + high), INK)
    x, y, *_ = boxes["reference inference"]
    axes.plot([x, x], [y - high, 1.4], color=BACK, linestyle=(0, (4, 2)), linewidth=1.2)
    arrow(axes, (x, 1.4), (3.95, 1.4), BACK, dashed=True)
    axes.text(2.5, 1.47, "verifies", color=BACK, ha="center", fontsize=9)
    return figure


def readme() -> bytes:
    """A tree over its U-Net: one drawing above the other."""
    drawings = [ElementTree.fromstring(picture(PICTURES[name](), "svg")) for name in ("deep-tree", "deep-unet")]
    sizes = [[float(number) for number in drawing.get("viewBox", "").split()[2:]] for drawing in drawings]
    wide = max(w for w, _ in sizes)
    y, whole = (
        0.0,
        ElementTree.Element(f"{{{SVG}}}svg", {"style": f"background: light-dark(#ffffff, {dark('#ffffff')})"}),
    )
    for drawing, (w, h) in zip(drawings, sizes, strict=True):
        drawing.attrib |= {"x": str((wide - w) / 2), "y": str(y), "width": str(w), "height": str(h)}
        whole.append(drawing)
        y += h
    whole.attrib |= {"width": f"{wide}pt", "height": f"{y}pt", "viewBox": f"0 0 {wide} {y}"}
    ElementTree.register_namespace("", SVG)
    return ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)


#: every picture, by the name of its file
PICTURES: dict[str, Picture] = {
    "way": way,
    "tree": lambda: hgm.draw(small()),
    "unet": lambda: hgm.draw(hgm.compile(small(), "denoise", channel=NOISE)),
    "deep-tree": lambda: hgm.draw(deep()),
    "deep-unet": lambda: hgm.draw(hgm.compile(deep(), "denoise", channel=NOISE)),
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


def drawn(name: str) -> bytes:
    """A picture as SVG."""
    return readme() if name == "readme" else picture(PICTURES[name](), "svg")


def main() -> None:
    """Writes the pictures that are asked for."""
    parser = argparse.ArgumentParser(description="Draws the pictures of the pages.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}, readme; by default all")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names or PICTURES:
        write_whole(given.out / f"{name}.svg", drawn(name))


if __name__ == "__main__":
    main()
