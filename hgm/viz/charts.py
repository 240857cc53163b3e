"""Plots that are no curves: posteriors as bars, images side by side, the budget of a certificate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from hgm.bp.posterior import Posterior
from hgm.bp.tables import called_states
from hgm.errors import BadSpec, brief
from hgm.evidence.symbols import as_tensor
from hgm.relu.certificate import Certificate
from hgm.tree.arguments import listed, number
from hgm.viz.style import GREY, INK, LINE, PALETTE, SHADE, SMALL, dress, new_plot, saved
from hgm.viz.words import short

if TYPE_CHECKING:
    from hgm.viz.drawing import Drawing

__all__ = ["certificate", "images", "posterior"]

MOST = 24  # variables, and images in a row
ACROSS = 4  # variables in a row
TURNED = 4  # letters of a state's label; longer ones are turned


def posterior(
    posterior: Posterior, names: Sequence[Any] | None = None, path: str | os.PathLike[str] | None = None
) -> Drawing:
    """The marginals of some variables as bars; of several rows of evidence those of the first.

    Args:
        posterior: of `hgm.infer`.
        names: of the variables, up to 24; default all.
        path: a .svg, .png or .pdf file to write; an existing one is replaced.

    Raises:
        BadSpec: for another object, names that are no list, too many variables, another ending, or a file that cannot
            be written.
        BadEvidence: for an unknown name.
        HgmError: if matplotlib is not installed.
    """
    if not isinstance(posterior, Posterior) or not len(posterior.log_evidence):
        raise BadSpec(f"posterior is what hgm.infer gives of at least one row of evidence; got {brief(posterior)}")
    tree, asked = posterior.tree, listed("names", posterior.tree.names[: MOST + 1] if names is None else names, "names")
    if not 0 < len(asked) <= MOST:
        raise BadSpec(f"a plot has bars for 1 to {MOST} variables; give names=[...]")
    across = min(len(asked), ACROSS)
    down = -(-len(asked) // across)
    figure, axes = new_plot(path, 2.3 * across, 1.75 * down, down, across)
    for axis, name in zip(axes.flat, asked, strict=False):
        p = posterior[name].detach().cpu().numpy()
        p = p[0] if posterior.batched else p
        labels = [short(label, 9) for label in called_states(tree, tree.index(name))]
        axis.bar(range(len(p)), p, color=PALETTE[0], width=0.8)
        axis.set_ylim(0, 1)
        axis.set_title(short(name), fontsize=SMALL, color=INK, parse_math=False)
        dress(axis, SMALL - 1)
        if len(p) <= 2 * ACROSS:
            turned = max(map(len, labels)) * len(p) > 5 * TURNED
            axis.set_xticks(range(len(p)), labels, rotation=40 if turned else 0, ha="right" if turned else "center")
            for tick in axis.get_xticklabels():
                tick.set_parse_math(False)
    for axis in axes.flat[len(asked) :]:
        axis.set_axis_off()
    return saved(figure, path)


def images(
    rows: Mapping[str, Any],
    path: str | os.PathLike[str] | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Drawing:
    """Images side by side, one row under the other, with the rows' names: what was clean, noisy, denoised.

        hgm.plot.images({"clean": x, "noisy": z, "denoised": net(z, sigma)})

    Args:
        rows: names to arrays or tensors ``(n, H, W)``, or ``(n, W)`` for leaves in a line; n up to 24.
        path: as for `posterior`.
        low: the value that is white; default the least of the first row. Darker is more.
        high: the value that is black; default the largest of the first row.

    Raises:
        BadSpec: for rows of other shapes, or of several, and for values that are not finite, or a high below the low;
            else as for `posterior`.
        BadEvidence: for a row that is no array of numbers.
        HgmError: if matplotlib is not installed.
    """
    if not isinstance(rows, Mapping) or not rows:
        raise BadSpec(f"rows is a mapping from names to images (n, H, W); got {brief(rows)}")
    found = {str(name): _array(str(name), x) for name, x in rows.items()}
    shapes = {x.shape for x in found.values()}
    (first, *_) = found.values()
    if len(shapes) > 1 or first.ndim not in (2, 3) or not 0 < len(first) <= MOST or not first.size:
        are = ", ".join(f"{name} {x.shape}" for name, x in found.items())
        raise BadSpec(f"rows are images of one shape, (n, H, W) or (n, W), n from 1 to {MOST}; got {are}")
    low = number(float(first.min()) if low is None else low, "low must be a finite number", isfinite)
    top = float(first.max()) if high is None else high
    high = number(top, f"high must be a finite number of at least low, {low:g}", lambda value: low <= value < inf)
    n, tall, wide = first.shape if first.ndim == 3 else (len(first), 1, first.shape[1])
    cell = min(1.4, 8.0 / n)
    figure, axes = new_plot(path, cell * n + 1.1, max(cell * tall / wide, 0.3) * len(found) + 0.1, len(found), n)
    for row, (name, x) in zip(axes, found.items(), strict=True):
        for axis, image in zip(row, x, strict=True):
            aspect = "equal" if x.ndim == 3 else "auto"
            axis.imshow(
                np.atleast_2d(image), cmap="gray_r", vmin=low, vmax=high, aspect=aspect, interpolation="nearest"
            )
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_color(SHADE)
        row[0].set_ylabel(name, fontsize=SMALL, color=INK, rotation=0, ha="right", va="center", parse_math=False)
    return saved(figure, path)


def certificate(certificate: Certificate, path: str | os.PathLike[str] | None = None) -> Drawing:
    """The budget of a ReLU network: the error of each stage's maps, and of its messages with all that went before.

    Args:
        certificate: of a network, ``net.certificate``.
        path: as for `posterior`.

    Raises:
        BadSpec: for another object, also ``None``, which an exact network has; else as for `posterior`.
        HgmError: if matplotlib is not installed.
    """
    if not isinstance(certificate, Certificate):
        raise BadSpec(f"certificate is what a ReLU network proves, net.certificate; got {brief(certificate)}")
    figure, axis = new_plot(path, max(5.2, 0.6 * len(certificate.levels) + 1.5))
    stages = certificate.levels
    words = [
        f"{b.direction}\n{b.level + 1}→{b.level}" if b.direction == "up" else f"{b.direction}\n{b.level}→{b.level + 1}"
        for b in stages
    ]
    for shift, values, color, label in (
        (-0.2, [b.error for b in stages], PALETTE[0], "of one map"),
        (0.2, [b.total for b in stages], PALETTE[1], "of a message, in all"),
    ):
        axis.bar(np.arange(len(stages)) + shift, values, width=0.38, color=color, label=label)
    axis.axhline(
        certificate.log_posterior, color=GREY, linewidth=LINE, linestyle=(0, (4, 2)), label="of the log posterior"
    )
    axis.set_xticks(range(len(stages)), words)
    axis.set_title(
        f"tolerance {certificate.tol:g} on {certificate.bound}, proved {certificate.reached:.3g}",
        fontsize=SMALL,
        color=INK,
    )
    axis.set_ylabel("error bound, nats", fontsize=SMALL, color=INK)
    dress(axis, SMALL)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL)
    return saved(figure, path)


def _array(name: str, x: Any) -> np.ndarray:
    return as_tensor(x, f"the row {name!r}").detach().cpu().double().numpy()
