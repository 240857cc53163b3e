"""`hgm compare`: how far a network in a file is from the best that exists for a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import hgm
from hgm.cli.options import Model, Seed, Task, app, examples, option
from hgm.errors import BadSpec


@app.command(
    "compare",
    epilog=examples(
        "hgm compare tree.yaml unet.pt2 --values=-1,1 --noise 0.5,1,2",
        "hgm compare tree.yaml unet.onnx -n 5000 --json gap.json --plot gap.svg",
    ),
)
def measure(
    model: Model,
    network: Annotated[
        Path, typer.Argument(metavar="NETWORK", help="Its file: .safetensors, .pt2 or .onnx.", show_default=False)
    ],
    noise: Annotated[
        str | None,
        option("--noise", "S0,S1,...", "Levels of noise.  [default: a grid over which the excess adds up to nats]"),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=2, help="How many samples.")] = 1000,
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
    values: Annotated[
        str | None, option("--values", "V0,V1,...", "The value of each state.  [default: 0,1,...]")
    ] = None,
    given: Annotated[
        list[str] | None,
        option(
            "--given", "NAME", "A variable whose state is known beside the observation. May be given several times."
        ),
    ] = None,
    per: Annotated[
        Literal["leaf", "level"] | None, typer.Option("--per", show_default=False, help="Split the excess.")
    ] = None,
    seed: Seed = 0,
    json: Annotated[Path | None, option("--json", "FILE", "Also write all digits, as .json.")] = None,
    plot: Annotated[Path | None, option("--plot", "FILE", "Also draw it: .svg, .png or .pdf.")] = None,
) -> None:
    """Measure how far a network is from the optimum.

    By the squared error of its means, or the divergence of its posteriors, at each level of noise; without --noise
    also in nats, as code length. A program (.pt2, .onnx) takes z, the noise (B,), and perhaps what is given.
    """
    from hgm.cli.given import channel_of
    from hgm.cli.words import asked
    from hgm.files.runner import load_runner
    from hgm.files.whole import checked_ending
    from hgm.viz.style import check_picture_name, require_matplotlib

    if json is not None:
        checked_ending(json, "a comparison", (".json",))
    if plot is not None:
        require_matplotlib()
        check_picture_name(plot)
    tree = hgm.load(model)
    run = load_runner(network)
    own = isinstance(run, hgm.ConvNet | hgm.UNet) and channel is None and values is None
    found = hgm.compare(
        run,
        tree,
        channel=None if own else channel_of(channel or "gaussian", values, missing=False),
        noise=None if noise is None else _levels(noise),
        n=count,
        seed=seed,
        task=None if task is None else _task(task),
        given=asked(tree, given or []),
        per=per,
        progress=sys.stderr is not None and sys.stderr.isatty(),
    )
    print(found)
    if json is not None:
        found.save(json)
        print(f"\nwrote {json}")
    if plot is not None:
        hgm.plot.gap(found, plot)
        print(f"\nwrote {plot}")


def _task(task: Task) -> Any:
    return task.value


def _levels(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadSpec(f"levels of noise are numbers with commas between them; got {text!r}") from None
