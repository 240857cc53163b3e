"""New digits from noise by the compiled U-Net, given nothing, a digit, or half an image; and how good they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.demo.digits import GREYS, LABEL, Digits
from hgm.demo.measure import Networks, accuracy
from hgm.diffusion.denoiser import Denoiser
from hgm.diffusion.sampler import sample
from hgm.measure.quality import quality
from hgm.tree.tree import Tree

__all__ = ["DDIM", "EXACT", "SAMPLERS", "Diffusion", "diffuse", "lines"]

DDIM, EXACT = "DDIM", "exact samples"
SAMPLERS = {DDIM: ("ddim", 50), "Heun": ("heun", 25)}  # name and steps: 50 and 49 answers of the U-Net
FREE = 1000  # images given nothing
EACH = 50  # of each digit
COMPLETIONS = 3  # of each test image


@dataclass(frozen=True, eq=False)
class Diffusion:
    """What was drawn, as whole grey levels, and what it is worth.

    Attributes:
        free: ``(FREE, 8, 8)`` given nothing, by DDIM.
        by_digit: ``(EACH, 10, 8, 8)`` given each digit.
        completed: ``(COMPLETIONS, N, 8, 8)`` the test images, their right halves drawn given the left ones.
        figures: plain data: the ``quality`` of the free images by sampler, the rows of its table; how often the ConvNet
            has ``read`` those of a digit as that digit; of the ``completed`` images the share of given pixels that were
            ``kept`` and the mean log likelihood. By method, with exact samples beside.
    """

    free: Tensor
    by_digit: Tensor
    completed: Tensor
    figures: dict[str, Any]


def diffuse(tree: Tree, networks: Networks, digits: Digits, holes: Tensor, slack: float, seed: int) -> Diffusion:
    """Draw images and measure them.

    Args:
        tree: the learned model.
        networks: what it was compiled to.
        digits: the images.
        holes: ``(N, 8, 8)`` the test images, -1 where a pixel is not known.
        slack: as of `Settings`, for the ConvNet that reads what was drawn.
        seed: of the noise.
    """
    unet, generator = networks.denoiser, torch.Generator().manual_seed(seed)

    def drawn(denoiser: Any, n: int, sampler: str = DDIM) -> Tensor:
        name, steps = SAMPLERS[sampler]
        x = sample(denoiser, name, n, steps=steps, generator=generator)
        return x.round().clamp(0, GREYS - 1).long()

    def exactly(evidence: Any, n: int) -> Tensor:  # (n, B, 8, 8)
        return infer(tree, evidence).sample(n, generator=generator).leaves

    free = {sampler: drawn(unet, FREE, sampler) for sampler in SAMPLERS}
    measured = {sampler: quality(images, tree, seed=seed) for sampler, images in free.items()}

    labels = torch.arange(10).repeat(EACH)
    given = Denoiser(tree, unet.channel, {LABEL: labels})
    of_digit = {DDIM: drawn(given, len(labels)), EXACT: exactly({LABEL: list(range(10))}, EACH).flatten(0, 1)}
    read = {name: accuracy(networks.noisy_classifier(x.double(), slack), labels) for name, x in of_digit.items()}

    several = holes.repeat(COMPLETIONS, 1, 1)
    completed = {
        DDIM: drawn(Denoiser(tree, unet.channel, several), len(several)),
        EXACT: exactly(holes, COMPLETIONS).flatten(0, 1),
    }
    log_p = {name: float(networks.classifier.log_partition(x).mean()) for name, x in completed.items()}
    log_p["test images"] = float(networks.classifier.log_partition(digits.test).mean())
    known = several >= 0
    return Diffusion(
        free=free[DDIM],
        by_digit=of_digit[DDIM].unflatten(0, (EACH, 10)),
        completed=completed[DDIM].unflatten(0, (COMPLETIONS, len(holes))),
        figures={
            "quality": {name: found.rows() for name, found in measured.items()},
            "read": read,
            "completed": {
                "kept": float((completed[DDIM][known] == several[known]).double().mean()),
                "log_likelihood": log_p,
            },
        },
    )


def lines(figures: dict[str, Any]) -> list[str]:
    """What the demonstration says of it."""
    rows = figures["quality"]
    said = [
        f"{FREE:,} images by diffusion on the U-Net, held against the model:",
        f"{'':22s}{'exact':>9s}" + "".join(f"{name:>9s}{'p':>9s}" for name in rows),
    ]
    for row in zip(*rows.values(), strict=True):
        digits = 2 if row[0]["name"] == "log likelihood" else 4
        cells = [f"{row[0]['name']:22s}{row[0]['expected']:9.{digits}f}"]
        cells += [f"{x['estimate']:9.{digits}f}" + (" " * 9 if x["p"] is None else f"{x['p']:9.2g}") for x in row]
        said.append("".join(cells).rstrip())
    read, done = figures["read"], figures["completed"]
    logs = done["log_likelihood"]
    said.append(f"given a digit, {100 * read[DDIM]:.1f}% are read as it (of {EXACT} {100 * read[EXACT]:.1f}%)")
    said.append(
        f"given half an image, {100 * done['kept']:.0f}% of its pixels are kept; "
        f"log likelihood {logs[DDIM]:.2f} (of {EXACT} {logs[EXACT]:.2f})"
    )
    return said
