"""`hgm diffuse`: samples of a model's leaves from noise, by its exact denoiser, into a file."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

import hgm
from hgm.cli.options import INFERENCE, Evidence, EvidenceFile, Model, Seed, app, examples, option
from hgm.cli.terminal import is_terminal
from hgm.errors import BadSpec

PICTURES = (".png", ".svg", ".pdf")
AT_ONCE = 1 << 24  # states of all variables of the samples that are drawn together


@app.command(
    rich_help_panel=INFERENCE,
    epilog=examples(
        "hgm diffuse tree.yaml -o samples.csv -n 100 --quality",
        "hgm diffuse image.yaml -o samples.png -e digit=3 --scheduler heun --steps 25",
    ),
)
def diffuse(
    model: Model,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The samples: .csv or .npz, or a picture of them: .png, .svg or .pdf.")
    ],
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=1, help="How many samples.")] = 10,
    scheduler: Annotated[
        Literal["ddim", "ddpm", "heun", "euler", "dpm++", "flow"],
        typer.Option("--scheduler", help="How noise is taken away, as diffusers does it."),
    ] = "ddim",
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Of the scheduler.")] = 50,
    values: Annotated[
        str | None, option("--values", "V0,V1,...", "The value of each state.  [default: 0,1,...]")
    ] = None,
    evidence: Evidence = None,
    evidence_file: EvidenceFile = None,
    seed: Seed = 0,
    quality: Annotated[
        bool, typer.Option("--quality", help="Also hold the samples against what the model says of them, in a table.")
    ] = False,
) -> None:
    """Draw samples of the leaves by diffusion, given evidence or not.

    From Gaussian noise by the model's exact denoiser. Evidence of the root gives samples of a class, evidence of some
    leaves fills in the others. It needs the extra 'diffusion'.
    """
    import torch

    from hgm.bp.assignment import leaf_values
    from hgm.cli.given import channel_of, check_count, evidence_of
    from hgm.diffusion.denoiser import Denoiser
    from hgm.diffusion.sampler import sample
    from hgm.files.whole import checked_ending, write_whole
    from hgm.measure.quality import quality as measured
    from hgm.viz.samples import check_drawable, draw_samples
    from hgm.viz.style import require_matplotlib, save_figure

    kind = checked_ending(out, "a file of samples", (".csv", ".npz", *PICTURES)).suffix.lower()
    if quality and count < 2:
        raise BadSpec("--quality is that of at least 2 samples; give -n 2 or more")
    if kind in PICTURES:
        require_matplotlib()
        check_drawable(count)
    tree = hgm.load(model)
    check_count(tree, count)
    seen = evidence_of(tree, evidence or [], evidence_file) or None
    channel = channel_of("gaussian", values, missing=False)
    x = sample(
        Denoiser(tree, channel, seen),
        scheduler,
        count,
        steps=steps,
        generator=torch.Generator().manual_seed(seed),
        batch_size=max(1, AT_ONCE // (len(tree) * int(tree.cardinality.max()))),
        progress=is_terminal(sys.stderr),
    )
    found = measured(x, tree, channel, evidence=seen, seed=seed) if quality else None
    table = leaf_values(tree, channel).numpy()
    if kind == ".csv":
        write_whole(out, _as_csv(tree, x.numpy()).encode())
    elif kind == ".npz":
        data = io.BytesIO()
        np.savez_compressed(data, samples=x.numpy(), values=table)
        write_whole(out, data.getvalue())
    else:
        save_figure(draw_samples(x.numpy(), float(table.min()), float(table.max())), out)
    print(f"wrote {out}: {count:,} sample{'s' if count > 1 else ''} of {len(tree.leaves):,} leaves")
    if found is not None:
        print(f"\n{found}")


def _as_csv(tree: hgm.Tree, samples: np.ndarray) -> str:
    """A header with the names of the leaves, and a line of values for each sample."""
    from hgm.cli.words import distinct

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(distinct([tree.names[v] for v in tree.leaves.tolist()], "the leaves called"))
    writer.writerows([f"{x:g}" for x in row] for row in samples.reshape(len(samples), -1).tolist())
    return out.getvalue()
