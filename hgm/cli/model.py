"""`hgm infer` and `sample`: what a model says.

Each reads its options, calls the library, and prints. What loads torch is imported in the commands, so that
help is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import hgm
from hgm.cli.options import INFERENCE, Evidence, EvidenceFile, Model, Query, Seed, app, examples

if TYPE_CHECKING:
    from hgm.bp.assignment import Assignment


@app.command(
    rich_help_panel=INFERENCE,
    epilog=examples(
        "hgm infer tree.yaml -e grass=wet -e sprinkler=0.2,0.8 --query weather --mode",
        "hgm infer tree.yaml --evidence-file seen.yaml --json",
    ),
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
    from hgm.cli.given import evidence_of, queried
    from hgm.cli.shown import (
        as_json,
        marginals_by_name,
        marginals_table,
        mode_by_name,
        mode_line,
        states_by_name,
        states_table,
    )

    tree = hgm.load(model)
    variables = queried(tree, query or [])
    posterior = hgm.infer(tree, evidence_of(tree, evidence or [], evidence_file))
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
        print(f"\nmode: {mode_line(best, variables)}\nlog probability of the mode {float(best.log_prob):.6f}")
    if drawn is not None:
        print(f"\nsamples\n{states_table(drawn, variables)}")


@app.command(
    rich_help_panel=INFERENCE, epilog=examples("hgm sample tree.yaml -n 100 --evidence weather=rainy --format csv")
)
def sample(
    model: Model,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=0, help="How many samples.")] = 10,
    seed: Seed = 0,
    evidence: Evidence = None,
    evidence_file: EvidenceFile = None,
    query: Query = None,
    form: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", "-f", help="A table to read, or data.")
    ] = "table",
) -> None:
    """Draw exact samples, given evidence or not."""
    from hgm.cli.given import evidence_of, queried
    from hgm.cli.shown import as_csv, as_json, states_by_name, states_table

    tree = hgm.load(model)
    variables = queried(tree, query or [])
    drawn = _sampled(hgm.infer(tree, evidence_of(tree, evidence or [], evidence_file)), count, seed)
    if form == "json":
        print(as_json(states_by_name(drawn, variables)))
    else:
        print((as_csv if form == "csv" else states_table)(drawn, variables))


def _sampled(posterior: hgm.Posterior, count: int, seed: int) -> Assignment:
    import torch

    from hgm.cli.given import check_count

    check_count(posterior.tree, count)
    return posterior.sample(count, generator=torch.Generator().manual_seed(seed))
