"""The study of samples: how many a network needs until it is near the best possible one, and how that grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hgm.study.cells import finished
from hgm.study.finding import Finding
from hgm.study.registry import study
from hgm.study.sample_complexity_cells import cells, measure, quick_cells
from hgm.study.sample_complexity_figures import draw_diffusion, draw_excess, draw_grammar
from hgm.study.sample_complexity_laws import diffusion, excess, grammar
from hgm.study.sample_complexity_words import paragraphs, tables

__all__ = ["run"]


@study("sample-complexity")
def run(out: Path, *, quick: bool = False) -> None:
    """How many samples does a network need? Exponents, beside what theory says.

    Excess risks of the compiled networks, trained from random weights; a ConvNet and a diffusion model of a Random
    Hierarchy Model. `quick` trains for too few steps to show anything but that all of it runs.
    """
    done = finished(quick_cells() if quick else cells(), measure, out, workers=1 if quick else 2)
    found: dict[str, Any] = {"excess": excess(done), "grammar": grammar(done), "diffusion": diffusion(done)}
    seconds = sum(cell.seconds for cell in done)
    finding = Finding(
        "How many samples?",
        [*paragraphs(found), f"All {len(done)} trainings took {seconds / 60:.0f} minutes of one processor."],
        tables(found),
        {**found, "seconds": seconds},
        {
            "excess": draw_excess(found["excess"]),
            "grammar": draw_grammar(found["grammar"]),
            "diffusion": draw_diffusion(found["diffusion"]),
        },
    )
    finding.write(out)
    print("\n\n".join(finding.paragraphs))
