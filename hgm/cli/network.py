"""`hgm show`, `draw`, `explore`, `compile` and `check`: a model's picture, its network, and whether that is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import hgm
from hgm.cli.options import (
    MODELS,
    NETWORKS,
    Model,
    NetworkQuery,
    Observed,
    Seed,
    Task,
    TaskOption,
    app,
    examples,
    option,
)
from hgm.errors import BadSpec


@app.command(rich_help_panel=NETWORKS, epilog=examples("hgm show tree.yaml --task classify --query weather"))
def show(
    model: Model,
    task: TaskOption = Task.posterior,
    query: NetworkQuery = None,
    observed: Observed = None,
) -> None:
    """Print the stages of a model's network.

    The plan that the network runs: for each stage its operation, shapes, weights, costs and skips.
    """  # fmt: skip
    tree = hgm.load(model)
    print(_compiled(tree, task, query, observed).plan)


@app.command(
    rich_help_panel=MODELS,
    epilog=examples("hgm draw tree.yaml -o tree.svg", "hgm draw tree.yaml -o unet.svg --network --task denoise"),
)
def draw(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture: .svg, .png or .pdf.")],
    network: Annotated[bool, typer.Option("--network", help="Draw the compiled network instead of the tree.")] = False,
    task: TaskOption = Task.posterior,
    query: NetworkQuery = None,
    style: Annotated[
        Literal["auto", "nodes", "planes", "levels"],
        typer.Option("--style", help="Of a tree: every variable, planes for 2-D grids, or one bar for each level."),
    ] = "auto",
) -> None:
    """Draw a model's tree, or with --network its ConvNet or U-Net."""
    from hgm.viz.style import check_picture_name

    check_picture_name(out)
    tree = hgm.load(model)
    if network:
        hgm.draw(_compiled(tree, task, query), out)
    else:
        hgm.draw(tree, out, style=style)
    print(f"wrote {out}")


@app.command(
    rich_help_panel=MODELS,
    epilog=examples(
        "hgm explore tree.yaml -o page.html", "hgm explore image.yaml -o page.html --values=-1,0,1 --no-costs"
    ),
)
def explore(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page: .html.")],
    channel: Annotated[
        Literal["gaussian", "clamp"] | None,
        typer.Option(
            "--channel",
            show_default=False,
            help="How the leaves are observed.  [default: gaussian on a grid, or clamp]",
        ),
    ] = None,
    values: Annotated[
        str | None, option("--values", "V0,V1,...", "The value of each state, for Gaussian noise.  [default: 0,1,...]")
    ] = None,
    no_costs: Annotated[
        bool, typer.Option("--no-costs", help="Leave out what deleting a part of the network costs.")
    ] = False,
) -> None:
    """Write a page to explore a model beside its network.

    One HTML file that works offline: messages step by step, evidence to change, and, on a grid with Gaussian noise,
    what each skip, each level and the time input is worth.
    """
    from hgm.cli.given import channel_of
    from hgm.viz.explorer.explore import checked_page_name

    checked_page_name(out)
    if channel == "clamp" and values is not None:
        raise BadSpec("--values are those of Gaussian noise; --channel clamp has none")
    name = channel or (None if values is None else "gaussian")
    through = None if name is None else channel_of(name, values, missing=False)
    page = hgm.explore(hgm.load(model), out, channel=through, costs=not no_costs)
    print(f"wrote {out}: {page.title}")


@app.command(
    rich_help_panel=NETWORKS,
    epilog=examples(
        "hgm compile tree.yaml --task denoise --channel gaussian -o unet.safetensors",
        "hgm compile tree.yaml --task classify --query weather -o convnet.onnx",
        "hgm compile tree.yaml --relu --tol 0.05 -o relu.safetensors",
    ),
)
def compile(
    model: Model,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The network: .safetensors (for hgm), .pt2 (torch.export) or .onnx.")
    ],
    task: TaskOption = Task.posterior,
    query: NetworkQuery = None,
    observed: Observed = None,
    channel: Annotated[
        str,
        typer.Option(
            "--channel", metavar="NAME", help="How the leaves are observed: soft, clamp, erasure, flip or gaussian."
        ),
    ] = "soft",
    values: Annotated[
        str | None, option("--values", "V0,V1,...", "The value of each state.  [default: 0,1,...]")
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="A NaN in the observation means: not observed.")] = False,
    trainable: Annotated[bool, typer.Option("--trainable", help="Weights that can be trained.")] = False,
    precision: Annotated[
        Literal["float32", "float64"],
        typer.Option("--precision", help="Of the input and output of an exported file; .onnx: float32."),
    ] = "float32",
    relu: Annotated[
        bool, typer.Option("--relu", help="Linear maps and ReLUs only, close to exact; prints the certificate.")
    ] = False,
    tol: Annotated[
        float | None,
        option("--tol", "TOL", "With --relu: the most that log posteriors may be off.  [default: 0.01]"),
    ] = None,
    floor: Annotated[
        float | None,
        option(
            "--floor",
            "B",
            "With --relu: log evidence is raised to -B below its largest, for channels that exclude states.",
        ),
    ] = None,
) -> None:
    """Compile a model into a network file.

    A ConvNet or a U-Net, with constructed weights: hgm.load_network reads a .safetensors file; a .pt2 or .onnx file
    needs no hgm.
    """
    import torch

    from hgm.cli.given import channel_of
    from hgm.files.whole import checked_ending

    kind = checked_ending(out, "a network file", (".safetensors", ".pt2", ".onnx")).suffix.lower()
    settings: dict[str, Any] = {"channel": channel_of(channel, values, missing), "trainable": trainable}
    if relu:
        if floor is None and channel in ("clamp", "erasure"):
            raise BadSpec(f"the channel {channel} excludes states, where no bound exists: give --floor B, such as 30")
        settings |= {"activation": "relu", "tol": 1e-2 if tol is None else tol, "floor": floor}
    elif tol is not None or floor is not None:
        raise BadSpec("--tol and --floor are for networks of ReLUs: give --relu, too")
    net = _compiled(hgm.load(model), task, query, observed, **settings)
    if kind == ".safetensors":
        hgm.save_network(net, out)
    else:
        hgm.export(net, out, dtype=getattr(torch, precision))
    stages, weights = len(net.plan.stages), net.certificate.parameters if relu else net.plan.weights
    print(f"wrote {out}: a {'ReLU ' if relu else ''}{type(net).__name__}, stages: {stages:,}, weights: {weights:,}")
    if relu:
        print(net.certificate)


@app.command(rich_help_panel=NETWORKS, epilog=examples("hgm check tree.yaml --task denoise"))
def check(
    model: Model,
    task: Annotated[
        list[Task] | None,
        typer.Option("--task", "-t", show_default=False, help="May be given several times; default: all three tasks."),
    ] = None,
    query: Annotated[str | None, option("--query -q", "NAME", "The variable to classify.")] = None,
    seed: Seed = 0,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Observations of each kind.")] = 8,
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="TOL", min=0, help="Of float32; float64 must agree to 1e-12.")
    ] = 1e-6,
) -> None:
    """Hold the networks against the reference.

    On random evidence of several kinds, in float64 and float32. The exit code is 1 if they differ.
    """
    import torch

    from hgm.cli.words import called
    from hgm.measure.exactness import TOLERANCE

    tree = hgm.load(model)
    most = {**TOLERANCE, torch.float32: tolerance}
    name = None if query is None else called(tree, query)
    result = hgm.verify(tree, [t.value for t in task or list(Task)], batch=batch, seed=seed, query=name, tolerance=most)
    print(repr(tree))
    print(result)
    if not result.ok:
        print("\nDIFFERENT: the networks and the reference differ by more than the tolerance")
        raise typer.Exit(1)
    print("\nequal within the tolerance")


def _compiled(
    tree: hgm.Tree, task: Task, query: list[str] | None, observed: list[str] | None = None, **settings: Any
) -> Any:
    from hgm.cli.words import asked

    wanted: Any = None
    if query and len(query) > 1 and task is Task.classify:
        raise BadSpec(f"the task 'classify' asks for one variable; got {len(query)} with --query")
    if query and task is Task.classify:
        (wanted,) = asked(tree, query)
    elif query:
        wanted = query[0] if query in (["leaves"], ["all"]) else asked(tree, query)
    seen = "all" if observed == ["all"] else asked(tree, observed or [])
    return hgm.compile(tree, task.value, query=wanted, observed=seen, **settings)
