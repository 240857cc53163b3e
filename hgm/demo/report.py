"""The report: one HTML page with everything in it."""

from __future__ import annotations

import base64
import platform
from datetime import date
from importlib.metadata import version
from importlib.resources import files

import matplotlib
import numpy as np
import sklearn
import torch
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hgm.demo import pictures
from hgm.demo.diffusion import DDIM, EXACT, FREE, SAMPLERS
from hgm.demo.measure import Networks
from hgm.demo.results import Images, Results
from hgm.files.whole import write_whole
from hgm.viz import draw as viz
from hgm.viz.drawing import picture

__all__ = ["write_report"]

MOST_MISTAKES = 20
DDIM_ROWS, FREE_ROWS = 5, 2  # of new digits in the picture: given the digit, and given nothing


def write_report(results: Results, networks: Networks, images: Images, draws: int) -> None:
    """Write the picture and the page.

    Args:
        results: the numbers, and where to write.
        networks: what was compiled.
        images: what is shown.
        draws: of noise for each test image.
    """
    png = _picture(results, images)
    write_whole(results.files["picture"], png)

    labels, posterior = images.labels, images.posterior
    guess = posterior.argmax(1)
    counts = np.zeros((10, 10), dtype=np.int64)
    np.add.at(counts, (labels, guess), 1)
    wrong = np.flatnonzero(guess != labels)
    wrong = wrong[np.argsort(-posterior[wrong, guess[wrong]], kind="stable")][:MOST_MISTAKES]
    words = [f"{labels[i]}, read as {guess[i]}\n({100 * posterior[i, guess[i]]:.0f}%)" for i in wrong]

    tree = results.fit.tree
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("hgm.demo").joinpath("report.html.jinja").read_text(encoding="utf-8"))
    page = template.render(
        results=results,
        tree=repr(tree),
        mistakes_shown=len(wrong),
        mistakes=int((guess != labels).sum()),
        picture="data:image/png;base64," + base64.b64encode(png).decode(),
        svg={
            "tree": _svg(viz.draw(tree)),
            "network": _svg(viz.draw(networks.denoiser)),
            "curve": _svg(pictures.curve(results.fit.history, results.fit.rows)),
            "psnr": _svg(pictures.psnr_chart({k: v for k, v in results.psnr.items() if k != "ReLU U-Net"})),
            "confusion": _svg(pictures.confusion(counts)),
            "mistakes": _svg(pictures.mistakes(images.test[wrong], words)) if len(wrong) else Markup(),
        },
        classifier=str(networks.classifier),
        denoiser=str(networks.denoiser),
        plan=str(networks.denoiser.plan),
        draws=draws,
        free=FREE,
        samplers={name: steps for name, (_, steps) in SAMPLERS.items()},
        quality=list(zip(*results.diffusion["quality"].values(), strict=True)),
        exact_samples=EXACT,
        exact={
            name: _power(max(x for network, x in results.differences.items() if network.endswith(dtype)))
            for name, dtype in (("double", "float64"), ("single", "float32"))
        },
        made=date.today().isoformat(),
        versions={
            "Python": platform.python_version(),
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
            "diffusers": version("diffusers"),
            "matplotlib": matplotlib.__version__,
        },
        threads=torch.get_num_threads(),
    )
    write_whole(results.files["report"], page.encode("utf-8"))


def _picture(results: Results, images: Images) -> bytes:
    shown = images.shown
    denoising = [[("original", shown["clean"])]]
    for sigma in next(iter(results.psnr.values())):
        denoising.append([(f"σ = {sigma}", shown[f"noisy {sigma}"]), ("U-Net", shown[f"denoised {sigma}"])])
    denoising.append(
        [
            ("half of it", np.where(shown["holes"] < 0, 4.0, shown["holes"])),
            ("U-Net", shown["filled"]),
            *_named(DDIM, images.diffused["completed"]),
        ]
    )
    free = images.diffused["free"][: 10 * FREE_ROWS].reshape(FREE_ROWS, 10, 8, 8)
    drawn = [
        _named("exact", images.samples),
        _named(DDIM, images.diffused["by digit"][:DDIM_ROWS]),
        _named(f"{DDIM}, any", free),
    ]
    figure = pictures.grid([("Test images, denoised and completed", denoising), ("New digits", drawn)])
    return picture(figure, "png")


def _named(name: str, rows: np.ndarray) -> list[pictures.Row]:
    """Rows of images, of which the first has a name."""
    return [("" if i else name, row) for i, row in enumerate(rows)]


def _power(x: float) -> Markup:
    """A small number as a digit times a power of ten."""
    digit, power = f"{x:.0e}".split("e")
    return Markup("{}·10<sup>{}</sup>").format(digit, str(int(power)).replace("-", "−"))


def _svg(figure: matplotlib.figure.Figure) -> Markup:
    """A figure as SVG, to be put into the page."""
    text = picture(figure, "svg").decode()
    return Markup(text[text.index("<svg") :])
