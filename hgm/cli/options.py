"""The program `hgm`, to which every command is added, and the options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup
from typer.main import get_command_name
from typer.models import CommandInfo

import hgm
from hgm.cli.terminal import bold
from hgm.errors import BadExtension, check_free

__all__ = [
    "INFERENCE",
    "JOBS",
    "MODELS",
    "NETWORKS",
    "OPTIMUM",
    "SHOWS",
    "Evidence",
    "EvidenceFile",
    "Model",
    "NetworkQuery",
    "Observed",
    "Query",
    "Seed",
    "Task",
    "TaskOption",
    "app",
    "examples",
    "option",
]

F = TypeVar("F", bound=Callable[..., Any])

#: what one does with the commands: how `hgm --help` groups them
MODELS, INFERENCE, NETWORKS, OPTIMUM = "Models", "Inference and samples", "Networks", "Against the optimum"
SHOWS = "The demonstration and the studies"
JOBS = (MODELS, INFERENCE, NETWORKS, OPTIMUM, SHOWS)


class ByJob(TyperGroup):
    """The commands, grouped in the help by their ``rich_help_panel``; those of extensions come last."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the groups."""
        jobs: dict[str, list[tuple[str, Any]]] = {job: [] for job in JOBS}
        for name, command in self.commands.items():
            job = getattr(command, "rich_help_panel", None)
            jobs.setdefault(job if isinstance(job, str) else "More", []).append((name, command))
        width = formatter.width - 6 - max(map(len, self.commands))
        for job, commands in jobs.items():
            if commands:
                with formatter.section(bold(job, sys.stdout)):
                    formatter.write_dl([(name, command.get_short_help_str(width)) for name, command in commands])


class Program(typer.Typer):
    """A program in which no command takes the place of another."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        """As of typer. Raises `BadExtension` for what is no function, or a name that is taken."""
        if not (name is None or isinstance(name, str)):
            raise BadExtension(f'write @app.command() or @app.command("name") over a function; got {name!r:.100}')
        add = super().command(name, **options)

        def register(function: F) -> F:
            if not hasattr(function, "__qualname__"):
                raise BadExtension(f"a command must be a function, under @app.command(); got {function!r:.100}")
            taken = {_name(command): command.callback for command in self.registered_commands}
            word = name or get_command_name(function.__name__)
            check_free(function, taken.get(word) or function, f"the command {word!r}", BadExtension)
            return add(function)

        return register


def _name(command: CommandInfo) -> str:
    return command.name or get_command_name(command.callback.__name__)  # type: ignore[union-attr]


app = Program(
    name="hgm",
    cls=ByJob,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def examples(*lines: str) -> str:
    """The end of a help text; the first character keeps its lines as they are. tree.yaml is what `hgm init` writes."""
    return "\b\n" + "\n".join(["Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hgm {hgm.__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True, epilog=examples("hgm init tree.yaml", "hgm infer tree.yaml --evidence grass=wet")
)
def program(
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


def option(flags: str, metavar: str, text: str) -> Any:
    """An option without a default to show; `flags` stand with spaces between them."""
    return typer.Option(*flags.split(), metavar=metavar, show_default=False, help=text)


class Task(StrEnum):
    """What a network is compiled for."""

    classify = "classify"
    denoise = "denoise"
    posterior = "posterior"


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file: .yaml, .yml or .json.", show_default=False)]
Evidence = Annotated[
    list[str] | None,
    option(
        "--evidence -e",
        "NAME=VALUE",
        "What was seen of a variable: a state (label or number), or a likelihood for each state (0.2,0.8). "
        "May be given several times.",
    ),
]
EvidenceFile = Annotated[Path | None, option("--evidence-file", "FILE", "More evidence, from a YAML or JSON file.")]
Query = Annotated[
    list[str] | None,
    option("--query -q", "NAME", "A variable that is asked for. May be given several times; default: all."),
]
NetworkQuery = Annotated[
    list[str] | None,
    option(
        "--query -q",
        "NAME",
        "A variable that is asked for: one to classify (default: the root); for posteriors any number, or "
        "'leaves' (default) or 'all'.",
    ),
]
Observed = Annotated[
    list[str] | None,
    option(
        "--observed",
        "NAME",
        "A variable above the leaves at which evidence may be given. May be given several times. 'all': the "
        "observation is of all variables, in tree order.",
    ),
]
TaskOption = Annotated[
    Task, typer.Option("--task", "-t", help="The posterior of one variable, the leaves' means, or posteriors.")
]
Seed = Annotated[int, typer.Option("--seed", "-s", metavar="N", min=0, max=2**63 - 1, help="Of everything random.")]
