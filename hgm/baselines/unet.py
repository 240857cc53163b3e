"""A small U-Net, and the same with one thing changed: networks that lack a thing, to see what the thing is worth.

    y ──► block ──────────────── skip ────────────────► block ──► out        w / 2 channels
            └─► halve ──► block ──── skip ────► block ─► double               w
                            └─► halve ─► middle ─► double                     w

A block is residual with two 3x3 convolutions, normalised over channels only; a halving is a 2x2 convolution of stride
2, a doubling repeats and mixes channels. There are up to 4 resolutions. Another stride takes the place of 2 everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.baselines.framed import Framed, Sees
from hgm.baselines.layers import Block, Sort, Time, conv
from hgm.baselines.problem import Problem
from hgm.baselines.registry import baseline
from hgm.errors import BadSpec

__all__ = ["Form", "UNet", "unet"]

LEVELS = 4
EVERY = tuple(range(LEVELS - 1))
NARROW = {1: "one channel", 2: "two channels"}


@dataclass(frozen=True)
class Form:
    """What a U-Net has.

    Attributes:
        added: skips are added to what comes up, not concatenated.
        cut: the levels whose skips are cut, 0 the finest.
        told: where it is told the noise level: in every block, at its input only, or nowhere.
        stride: by how much a resolution is coarser than the last; 1 leaves all as they are.
        narrow: how many channels pass the middle; ``"states"`` is the size of a belief, as many as a leaf has states.
        learned: the encoder is; else it is block averages of the data (Haar's projections), as in Williams et al., A
            unified framework for U-Net design and analysis, 2305.19638.
    """

    added: bool = False
    cut: tuple[int, ...] = ()
    told: Literal["everywhere", "input", "nowhere"] = "everywhere"
    stride: int = 2
    narrow: int | Literal["states"] | None = None
    learned: bool = True


class UNet(nn.Module):
    """The U-Net of a form.

    Args:
        problem: what it is for.
        width: channels at all resolutions but the finest, which has half as many.
        form: what it has.

    Raises:
        BadSpec: for leaves that have too few resolutions to lack what the form lacks.
    """

    def __init__(self, problem: Problem, width: int, form: Form) -> None:
        super().__init__()
        axes, levels = problem.axes, _levels(problem, form)
        if (form.cut and form.cut != EVERY and max(form.cut) > levels - 2) or (form != Form() and levels == 1):
            raise BadSpec(
                f"leaves {problem.leaf_shape} have {levels} resolutions in a U-Net, and skips at all but the last; it "
                "cannot lack what it does not have"
            )
        self.form, self.levels = form, levels
        c = [-(-width // 2)] + [width] * (levels - 1)
        sort = Sort(axes, width if form.told == "everywhere" else 0)
        self.time = None if form.told == "nowhere" else Time(width)
        self.tell = nn.Linear(width, c[0] if form.learned else c[-1]) if form.told == "input" else None
        skips, side = c if form.learned else [problem.inputs] * levels, form.stride
        self.lift = conv(axes, problem.inputs, c[0] if form.learned else c[-1], 1)
        self.encoder, self.down = nn.ModuleList(), nn.ModuleList()
        if form.learned:
            self.encoder.extend(Block(sort, c[i], c[i]) for i in range(levels - 1))
            self.down.extend(conv(axes, c[i], c[i + 1], side, stride=side) for i in range(levels - 1))
        self.middle = nn.ModuleList(Block(sort, c[-1], c[-1]) for _ in range(2))
        through = problem.states if form.narrow == "states" else form.narrow
        squeeze = [conv(axes, c[-1], through, 1), conv(axes, through, c[-1], 1)] if through else []
        self.squeeze = nn.Sequential(*squeeze)
        more = [0 if form.added or i in form.cut else skips[i] for i in range(levels - 1)]
        self.up = nn.ModuleList(conv(axes, c[i + 1], c[i], 1) for i in range(levels - 1))
        self.decoder = nn.ModuleList(Block(sort, c[i] + more[i], c[i]) for i in range(levels - 1))
        self.last = conv(axes, c[0], problem.outputs, 1)

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        features = self.time(t) if self.time is not None else None
        h, skips = self._encoded(y, features)
        h = self.middle[1](self.squeeze(self.middle[0](h, features)), features)
        for i in reversed(range(self.levels - 1)):
            h = self.up[i](F.interpolate(h, scale_factor=float(self.form.stride)) if self.form.stride > 1 else h)
            if i not in self.form.cut:
                h = h + skips[i] if self.form.added else torch.cat([h, skips[i]], 1)
            h = self.decoder[i](h, features)
        return self.last(h)

    def _encoded(self, y: Tensor, features: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """What reaches the coarsest resolution, and the skips of the others, finest first."""
        if not self.form.learned:
            pool = (F.avg_pool1d, F.avg_pool2d)[y.ndim - 3]
            means = [y]
            for _ in range(self.levels - 1):
                means.append(pool(means[-1], self.form.stride))
            return self._lifted(means[-1], features), means[:-1]
        h, skips = self._lifted(y, features), []
        for block, down in zip(self.encoder, self.down, strict=True):
            skips.append(block(h, features))
            h = down(skips[-1])
        return h, skips

    def _lifted(self, y: Tensor, features: Tensor | None) -> Tensor:
        """The first features of the data; of one that is told the noise at its input only, these say how much."""
        h = self.lift(y)
        if self.tell is None or features is None:
            return h
        return h + self.tell(F.silu(features)).reshape(*features.shape[:1], -1, *(1,) * (y.ndim - 2))


def _levels(problem: Problem, form: Form) -> int:
    """Resolutions; without a change of resolution as many blocks as with halves."""
    return problem.levels(LEVELS, max(form.stride, 2))


def unet(problem: Problem, width: int, form: Form | None = None) -> Framed:
    """The U-Net of a form, in its frame: no way goes past it if its finest skip is cut, or no block is told sigma."""
    form = Form() if form is None else form
    body = UNet(problem, width + 2, form)
    levels = _levels(problem, form)
    window = None if form.stride > 1 else 1 + 4 * 2 * levels  # 2 levels blocks, of two convolutions each
    bare = 0 in form.cut or form.told == "input"
    sees: Sees = "blind" if form.told == "nowhere" else "scale" if bare else "skip"
    return Framed(problem, body, sees, form.stride ** (levels - 1), window)


FORMS = {
    "unet": ("a small U-Net: residual blocks, concatenated skips, no normalisation over positions.", Form()),
    "unet_added": ("the U-Net with added instead of concatenated skips.", Form(added=True)),
    "unet_flat": ("the U-Net without down-sampling.", Form(stride=1)),
    "unet_thirds": ("the U-Net whose resolutions are thirds of one another, not halves.", Form(stride=3)),
    "unet_blind": ("the U-Net that is not told the noise level.", Form(told="nowhere")),
    "unet_told_once": ("the U-Net that is told the noise level at its input only.", Form(told="input")),
    "unet_narrow": ("the U-Net with a bottleneck of as many channels as a leaf has states.", Form(narrow="states")),
    **{f"unet_narrow_{i}": (f"the U-Net with a bottleneck of {says}.", Form(narrow=i)) for i, says in NARROW.items()},
    "unet_haar": ("the U-Net with a fixed encoder: block averages, Haar's projections.", Form(learned=False)),
    **{f"unet_cut_{i}": (f"the U-Net with the skip at level {i} cut (0 the finest).", Form(cut=(i,))) for i in EVERY},
    "autoencoder": ("a denoising autoencoder: the U-Net without any skip.", Form(cut=EVERY)),
}

for name, (text, form) in FORMS.items():
    baseline(name, text)(partial(unet, form=form))
