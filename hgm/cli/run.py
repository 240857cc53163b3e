"""`hgm demo` and `study`: the demonstration and the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgm.cli.options import SHOWS, Seed, app, examples, option
from hgm.errors import BadSpec, did_you_mean, listing


@app.command(rich_help_panel=SHOWS, epilog=examples("hgm demo --out out/"))
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the pictures and the report.")] = Path("out"),
    seed: Seed = 0,
) -> None:
    """Learn handwritten digits and run their networks.

    Compiles the ConvNet and the U-Net, checks them, classifies, denoises, samples, and writes a report.
    """
    from hgm.demo.run import run

    run(out, seed=seed)


@app.command(rich_help_panel=SHOWS, epilog=examples("hgm study", "hgm study relu --quick -o /tmp/relu"))
def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The study; without it, all are listed.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, option("--output -o", "FOLDER", "Where to write.  [default: docs/studies/NAME]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A small version, in a minute.")] = False,
) -> None:
    """Run a study and write its tables and plots."""
    from hgm.study import STUDIES

    if name is None:
        for each in STUDIES.values():
            print(f"{each.name:12} {each.text}")
    elif name not in STUDIES:
        raise BadSpec(
            f"there is no study {name!r}; the studies are {listing(list(STUDIES))}{did_you_mean(name, STUDIES)}"
        )
    else:
        STUDIES[name].run(out or Path("docs") / "studies" / name, quick)
