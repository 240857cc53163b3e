"""The commands of `hgm`: each reads its options, calls the library, and prints."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from hgm.bp.posterior import Assignment, Posterior
from hgm.cli.given import channel_of, evidence_of, queried
from hgm.cli.shown import (
    as_csv,
    as_json,
    marginals_by_name,
    marginals_table,
    mode_by_name,
    states_by_name,
    states_table,
)
from hgm.errors import BadSpec
from hgm.tree.tree import Tree

__all__ = ["app"]

LARGEST = 1 << 31  # states of all variables of all samples

app = typer.Typer(
    name="hgm",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _examples(*lines: str) -> str:
    """The end of a help text; the first character keeps its lines as they are."""
    return "\b\n" + "\n".join(["Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


class Task(StrEnum):
    """What a network is compiled for."""

    classify = "classify"
    denoise = "denoise"
    posterior = "posterior"


class ChannelName(StrEnum):
    """How the leaves are observed."""

    soft = "soft"
    clamp = "clamp"
    erasure = "erasure"
    flip = "flip"
    gaussian = "gaussian"


class Precision(StrEnum):
    """Of an exported network."""

    float32 = "float32"
    float64 = "float64"


class PictureStyle(StrEnum):
    """How a tree is drawn."""

    auto = "auto"
    nodes = "nodes"
    planes = "planes"
    levels = "levels"


class Form(StrEnum):
    """Of printed samples."""

    table = "table"
    csv = "csv"
    json = "json"


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file: .yaml, .yml or .json.", show_default=False)]
Evidence = Annotated[
    list[str] | None,
    typer.Option(
        "--evidence", "-e", metavar="NAME=VALUE", show_default=False,
        help="What was seen of a variable: a state (label or number), or a likelihood for each state (0.2,0.8). "
        "May be given several times.",
    ),
]  # fmt: skip
EvidenceFile = Annotated[
    Path | None,
    typer.Option(
        "--evidence-file", metavar="FILE", show_default=False, help="More evidence, from a YAML or JSON file."
    ),
]  # fmt: skip
Query = Annotated[
    list[str] | None,
    typer.Option(
        "--query", "-q", metavar="NAME", show_default=False,
        help="A variable that is asked for. May be given several times; default: all.",
    ),
]  # fmt: skip
NetworkQuery = Annotated[
    list[str] | None,
    typer.Option(
        "--query", "-q", metavar="NAME", show_default=False,
        help="A variable that is asked for: one to classify (default: the root); for posteriors any number, or "
        "'leaves' (default) or 'all'.",
    ),
]  # fmt: skip
Observed = Annotated[
    list[str] | None,
    typer.Option(
        "--observed", metavar="NAME", show_default=False,
        help="A variable above the leaves at which evidence may be given. May be given several times.",
    ),
]  # fmt: skip
TaskOption = Annotated[
    Task, typer.Option("--task", "-t", help="The posterior of one variable, the leaves' means, or posteriors.")
]
Seed = Annotated[int, typer.Option("--seed", "-s", metavar="N", min=0, max=2**63 - 1, help="Of everything random.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"hgm {version('hgm')}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=_examples("hgm infer tree.yaml --evidence x3=red --query label"))
def hgm(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Tree-structured graphical models, exact inference, and the ConvNets and U-Nets that are it.

    Models are YAML or JSON files. Bad input ends in one line on standard error and exit code 2.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(epilog=_examples("hgm demo --out out/"))
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the pictures and the report.")] = Path("out"),
    seed: Seed = 0,
) -> None:
    """Learn handwritten digits and run their networks.

    Compiles the ConvNet and the U-Net, checks them, classifies, denoises, samples, and writes a report.
    """
    from hgm.demo.run import run

    run(out, seed=seed)


@app.command(epilog=_examples("hgm show tree.yaml --task classify --query label"))
def show(
    model: Model,
    task: TaskOption = Task.posterior,
    query: NetworkQuery = None,
    observed: Observed = None,
) -> None:
    """Print the stages of a model's network.

    The plan that the network runs: for each stage its operation, shapes, weights, costs and skips.
    """  # fmt: skip
    tree = _load(model)
    print(_compiled(tree, task, query, observed).plan)


@app.command(
    epilog=_examples("hgm draw tree.yaml -o tree.svg", "hgm draw tree.yaml -o unet.svg --network --task denoise")
)
def draw(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", show_default=False, help="The picture: .svg, .png or .pdf.")],
    network: Annotated[bool, typer.Option("--network", help="Draw the compiled network instead of the tree.")] = False,
    task: TaskOption = Task.posterior,
    query: NetworkQuery = None,
    style: Annotated[
        PictureStyle,
        typer.Option("--style", help="Of a tree: every variable, planes for 2-D grids, or one bar for each level."),
    ] = PictureStyle.auto,
) -> None:
    """Draw a model's tree, or with --network its ConvNet or U-Net."""
    from hgm.viz import draw as viz
    from hgm.viz.style import check_picture_name

    check_picture_name(out)
    tree = _load(model)
    if network:
        viz.draw_network(_compiled(tree, task, query), out)
    else:
        viz.draw(tree, out, style=style.value)
    print(f"wrote {out}")


@app.command(
    epilog=_examples(
        "hgm infer tree.yaml -e x3=red -e x7=0.2,0.8 --query label --mode",
        "hgm infer tree.yaml --evidence-file seen.yaml --json",
    )
)
def infer(
    model: Model,
    evidence: Evidence = None,
    evidence_file: EvidenceFile = None,
    query: Query = None,
    mode: Annotated[bool, typer.Option("--mode", help="Also the most probable assignment of all variables.")] = False,
    samples: Annotated[int, typer.Option("--sample", metavar="N", min=0, help="Also N samples of the posterior.")] = 0,
    seed: Seed = 0,
    as_data: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Exact posterior marginals, given evidence or not.

    Also the log partition: for a normalised model, the log probability of the evidence.
    """
    from hgm.bp import posterior as bp

    tree = _load(model)
    variables = queried(tree, query or [])
    posterior = bp.infer(tree, evidence_of(tree, evidence or [], evidence_file))
    best = posterior.mode() if mode else None
    drawn = _sampled(posterior, samples, seed) if samples else None
    if as_data:
        data: dict[str, Any] = {
            "log_partition": float(posterior.log_partition),
            "marginals": marginals_by_name(tree, posterior.marginals, variables),
        }
        data |= {"mode": mode_by_name(best, variables)} if best is not None else {}
        data |= {"samples": states_by_name(drawn, variables)} if drawn is not None else {}
        print(as_json(data))
        return
    print(marginals_table(tree, posterior.marginals, variables))
    print(f"\nlog partition {float(posterior.log_partition):.6f}")
    if best is not None:
        shown = ", ".join(f"{name}={state}" for name, state in states_by_name(best, variables).items())
        print(f"\nmode: {shown}\nlog probability of the mode {float(best.log_prob):.6f}")
    if drawn is not None:
        print(f"\nsamples\n{states_table(drawn, variables)}")


@app.command(
    epilog=_examples(
        "hgm compile tree.yaml --task denoise --channel gaussian -o unet.safetensors",
        "hgm compile tree.yaml --task classify --query label -o convnet.onnx",
        "hgm compile tree.yaml --relu --tol 0.05 -o relu.safetensors",
    )
)
def compile(
    model: Model,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            show_default=False,
            help="The network: .safetensors (for hgm), .pt2 (torch.export) or .onnx.",
        ),
    ],
    task: TaskOption = Task.posterior,
    query: NetworkQuery = None,
    observed: Observed = None,
    channel: Annotated[ChannelName, typer.Option("--channel", help="How the leaves are observed.")] = ChannelName.soft,
    values: Annotated[
        str | None,
        typer.Option(
            "--values", metavar="V0,V1,...", help="The value of each state.  [default: 0,1,...]", show_default=False
        ),
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="A NaN in the observation means: not observed.")] = False,
    trainable: Annotated[bool, typer.Option("--trainable", help="Weights that can be trained.")] = False,
    precision: Annotated[
        Precision, typer.Option("--precision", help="Of the input and output of an exported file; .onnx: float32.")
    ] = Precision.float32,
    relu: Annotated[
        bool, typer.Option("--relu", help="Linear maps and ReLUs only, close to exact; prints the certificate.")
    ] = False,
    tol: Annotated[
        float | None,
        typer.Option(
            "--tol",
            metavar="TOL",
            help="With --relu: the most that log posteriors may be off.  [default: 0.01]",
            show_default=False,
        ),
    ] = None,
    floor: Annotated[
        float | None,
        typer.Option(
            "--floor",
            metavar="B",
            show_default=False,
            help="With --relu: log evidence is raised to -B below its largest, for channels that exclude states.",
        ),
    ] = None,
) -> None:
    """Compile a model into a network file.

    A ConvNet or a U-Net, with constructed weights: hgm.load_network reads a .safetensors file; a .pt2 or .onnx file
    needs no hgm.
    """
    from hgm.files.network import save_network
    from hgm.files.program import export

    kind = out.suffix.lower()
    if kind not in (".safetensors", ".pt2", ".onnx"):
        raise BadSpec(f"{out}: the name of a network file must end in .safetensors, .pt2 or .onnx")
    settings: dict[str, Any] = {"channel": channel_of(channel.value, values, missing), "trainable": trainable}
    if relu:
        if floor is None and channel in (ChannelName.clamp, ChannelName.erasure):
            raise BadSpec(
                f"the channel {channel.value} excludes states, where no bound exists: give --floor B, such as 30"
            )
        settings |= {"activation": "relu", "tol": 1e-2 if tol is None else tol, "floor": floor}
    elif tol is not None or floor is not None:
        raise BadSpec("--tol and --floor are for networks of ReLUs: give --relu, too")
    net = _compiled(_load(model), task, query, observed, **settings)
    if kind == ".safetensors":
        save_network(net, out)
    else:
        export(net, out, dtype=getattr(torch, precision.value))
    stages, weights = len(net.plan.stages), net.certificate.parameters if relu else net.plan.weights
    print(f"wrote {out}: a {type(net).__name__}, stages: {stages:,}, weights: {weights:,}")
    if relu:
        print(net.certificate)


@app.command(epilog=_examples("hgm check tree.yaml --task denoise"))
def check(
    model: Model,
    task: Annotated[
        list[Task] | None,
        typer.Option("--task", "-t", show_default=False, help="May be given several times; default: all three tasks."),
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", metavar="NAME", show_default=False, help="The variable to classify.")
    ] = None,
    seed: Seed = 0,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Observations of each kind.")] = 8,
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="TOL", min=0, help="Of float32; float64 must agree to 1e-12.")
    ] = 1e-6,
) -> None:
    """Hold the networks against the reference.

    On random evidence of several kinds, in float64 and float32. The exit code is 1 if they differ.
    """
    from hgm.measure.exactness import TOLERANCE, verify

    tree = _load(model)
    most = {**TOLERANCE, torch.float32: tolerance}
    result = verify(tree, [t.value for t in task or list(Task)], batch=batch, seed=seed, query=query, tolerance=most)
    print(tree)
    print(result)
    if not result.ok:
        print("\nDIFFERENT: the networks and the reference differ by more than the tolerance")
        raise typer.Exit(1)
    print("\nequal within the tolerance")


@app.command(epilog=_examples("hgm sample tree.yaml -n 100 --evidence label=3 --format csv"))
def sample(
    model: Model,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=0, help="How many samples.")] = 10,
    seed: Seed = 0,
    evidence: Evidence = None,
    evidence_file: EvidenceFile = None,
    query: Query = None,
    form: Annotated[Form, typer.Option("--format", "-f", help="A table to read, or data.")] = Form.table,
) -> None:
    """Draw exact samples, given evidence or not."""
    from hgm.bp import posterior as bp

    tree = _load(model)
    variables = queried(tree, query or [])
    drawn = _sampled(bp.infer(tree, evidence_of(tree, evidence or [], evidence_file)), count, seed)
    if form is Form.json:
        print(as_json(states_by_name(drawn, variables)))
    else:
        print((as_csv if form is Form.csv else states_table)(drawn, variables))


studies = typer.Typer()
app.add_typer(studies, name="study")


@studies.callback(invoke_without_command=True)
def study(context: typer.Context) -> None:
    """Run a study and write its tables and plots."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@studies.command("relu", epilog=_examples("hgm study relu --quick -o /tmp/relu"))
def study_relu(
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where to write.")] = Path("docs/relu"),
    quick: Annotated[bool, typer.Option("--quick", help="Two small models instead of all 216 (half an hour).")] = False,
) -> None:
    """ReLU networks: units against tolerance, and measured against certified error."""
    from hgm.study import relu as study

    study.run(out, quick=quick)


# ---------------------------------------------------------------------- shared


def _load(path: Path) -> Tree:
    from hgm.files import model as spec

    return spec.load(path)


def _compiled(
    tree: Tree, task: Task, query: list[str] | None, observed: list[str] | None = None, **settings: Any
) -> Any:
    from hgm.networks.network import compile as compile_tree

    asked: str | list[str] | None = query or None
    if query and len(query) == 1 and (task is Task.classify or query[0] in ("leaves", "all")):
        asked = query[0]
    elif query and task is Task.classify:
        raise BadSpec(f"the task 'classify' asks for one variable; got {len(query)} with --query")
    return compile_tree(tree, task.value, query=asked, observed=observed or (), **settings)


def _sampled(posterior: Posterior, count: int, seed: int) -> Assignment:
    if count * len(posterior.tree) > LARGEST:
        raise BadSpec(f"{count:,} samples of {len(posterior.tree):,} variables are too many for one run")
    if count == 0:
        return Assignment(posterior.tree, torch.empty(0, len(posterior.tree), dtype=torch.int64))
    return posterior.sample(count, generator=torch.Generator().manual_seed(seed))
