"""`hgm compare` and `ablate`: how far a network in a file, or the best with one thing missing, is from the optimum."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import hgm
from hgm.cli.options import OPTIMUM, Model, Seed, Task, app, examples, option
from hgm.cli.terminal import is_terminal
from hgm.errors import BadSpec

Noise = Annotated[
    str | None,
    option("--noise", "S0,S1,...", "Levels of noise.  [default: a grid over which the excess adds up to nats]"),
]
Count = Annotated[int, typer.Option("-n", "--count", metavar="N", min=2, help="How many samples.")]
Values = Annotated[str | None, option("--values", "V0,V1,...", "The value of each state.  [default: 0,1,...]")]
Given = Annotated[
    list[str] | None,
    option("--given", "NAME", "A variable whose state is known beside the observation. May be given several times."),
]
Per = Annotated[Literal["leaf", "level"] | None, typer.Option("--per", show_default=False, help="Split the excess.")]
Kind = Literal["window", "block", "blind", "skips", "tree", "label", "own"]
Json = Annotated[Path | None, option("--json", "FILE", "Also write all digits, as .json.")]
Plot = Annotated[Path | None, option("--plot", "FILE", "Also draw it: .svg, .png or .pdf.")]


@app.command(
    "compare",
    rich_help_panel=OPTIMUM,
    epilog=examples(
        "hgm compare tree.yaml unet.safetensors --noise 0.5,1,2",
        "hgm compare image.yaml unet.onnx --values=-1,1 -n 5000 --json gap.json --plot gap.svg",
    ),
)
def measure(
    model: Model,
    network: Annotated[
        Path, typer.Argument(metavar="NETWORK", help="Its file: .safetensors, .pt2 or .onnx.", show_default=False)
    ],
    noise: Noise = None,
    count: Count = 1000,
    task: Annotated[
        Task | None,
        typer.Option("--task", "-t", show_default=False, help="Of the network.  [default: what fits the channel]"),
    ] = None,
    channel: Annotated[
        str | None,
        option(
            "--channel", "NAME", "How the leaves are observed.  [default: that of a .safetensors network; gaussian]"
        ),
    ] = None,
    values: Values = None,
    given: Given = None,
    per: Per = None,
    seed: Seed = 0,
    json: Json = None,
    plot: Plot = None,
) -> None:
    """Measure how far a network is from the optimum.

    By the squared error of its means, or the divergence of its posteriors, at each level of noise; without --noise
    also in nats, as code length. A program (.pt2, .onnx) takes z, the noise (B,), and perhaps what is given.
    """
    from hgm.cli.given import channel_of
    from hgm.cli.words import asked
    from hgm.files.runner import load_runner

    _check_files(json, plot)
    tree = hgm.load(model)
    run = load_runner(network)
    own = isinstance(run, hgm.ConvNet | hgm.UNet) and channel is None and values is None
    found = hgm.compare(
        run,
        tree,
        channel=None if own else channel_of(channel or "gaussian", values, missing=False),
        noise=_numbers("levels of noise", noise),
        n=count,
        seed=seed,
        task=None if task is None else _task(task),
        given=asked(tree, given or []),
        per=per,
        progress=_watched(),
    )
    _show(found, json, plot)


@app.command(
    "ablate",
    rich_help_panel=OPTIMUM,
    epilog=examples(
        "hgm ablate image.yaml --kind window --radius 2",
        "hgm ablate tree.yaml --kind blind --levels 0.5,1,2,4 --noise 1",
        "hgm ablate tree.yaml --kind tree --other simple.yaml",
    ),
)
def lack(
    model: Model,
    kind: Annotated[Kind, typer.Option("--kind", "-k", show_default=False, help="What is missing.")],
    radius: Annotated[
        int | None, option("--radius", "N", "Of a window: positions that a leaf sees on each side.")
    ] = None,
    level: Annotated[
        int | None, option("--level", "N", "Of a block or of skips: 0, the root, to the depth of the tree.")
    ] = None,
    levels: Annotated[str | None, option("--levels", "S0,S1,...", "Of a blind one: noise that there may be.")] = None,
    weights: Annotated[
        str | None, option("--weights", "W0,W1,...", "And how probable each is.  [default: equally]")
    ] = None,
    other: Annotated[Path | None, option("--other", "MODEL", "Another tree, taken for the right one.")] = None,
    noise: Noise = None,
    count: Count = 1000,
    channel: Annotated[str, option("--channel", "NAME", "How the leaves are observed.")] = "gaussian",
    values: Values = None,
    per: Per = None,
    seed: Seed = 0,
    json: Json = None,
    plot: Plot = None,
) -> None:
    """Measure what the best network without one thing costs.

    A window of positions, the resolutions above a level, the level of noise, skips, the right tree, the label, or the
    leaf's own observation: exactly, and without training. Without --noise also in nats, where they are finite.
    """
    from hgm.cli.given import channel_of

    _check_files(json, plot)
    tree = hgm.load(model)
    net = hgm.ablate(
        tree,
        kind,
        channel=channel_of(channel, values, missing=False),
        radius=radius,
        level=level,
        noise=_numbers("levels", levels),
        weights=_numbers("weights", weights),
        other=None if other is None else hgm.load(other),
    )
    known = [tree.names[int(v)] for v in tree.roots] if kind == "label" else []
    found = hgm.compare(
        net,
        tree,
        noise=_numbers("levels of noise", noise),
        n=count,
        seed=seed,
        given=known,
        per=per,
        progress=_watched(),
    )
    _show(found, json, plot)


def _check_files(json: Path | None, plot: Path | None) -> None:
    """Before anything is measured."""
    from hgm.files.whole import checked_ending
    from hgm.viz.style import check_picture_name, require_matplotlib

    if json is not None:
        checked_ending(json, "a comparison", (".json",))
    if plot is not None:
        require_matplotlib()
        check_picture_name(plot)


def _show(found: hgm.Gap, json: Path | None, plot: Path | None) -> None:
    print(found)
    if json is not None:
        found.save(json)
        print(f"\nwrote {json}")
    if plot is not None:
        hgm.plot.gap(found, plot)
        print(f"\nwrote {plot}")


def _watched() -> bool:
    return is_terminal(sys.stderr)


def _task(task: Task) -> Any:
    return task.value


def _numbers(what: str, text: str | None) -> Sequence[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadSpec(f"{what} are numbers with commas between them; got {text!r}") from None
