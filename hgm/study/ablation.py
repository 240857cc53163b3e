"""The study of exact ablations: what an architecture costs, without training anything.

A network that lacks something sees less, and the best possible function of what it sees is a posterior mean of the
same tree. So what a restriction costs is a number of the tree alone: no width, depth, optimiser or luck is in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hgm.study.ablation_cells import asked, measure, reach
from hgm.study.ablation_figures import draw_decided, draw_excess, draw_reach, draw_worth
from hgm.study.ablation_results import Results
from hgm.study.ablation_tables import tables
from hgm.study.ablation_trees import QUICK, REACH, REACH_QUICK, SUBJECTS, Subject
from hgm.study.ablation_words import paragraphs
from hgm.study.cells import finished
from hgm.study.finding import Finding
from hgm.study.registry import study

__all__ = ["run"]


@study("ablation")
def run(out: str | os.PathLike[str], *, quick: bool = False) -> None:
    """What an architecture costs: the best networks with less to see, against the optimum, by noise and in nats.

    Writes ``study.md``, ``study.json`` and figures. Goes on where it was stopped.

    Args:
        out: the folder; made if needed.
        quick: fewer trees, samples and levels of noise.
    """
    subjects, reached = (QUICK, REACH_QUICK) if quick else (SUBJECTS, REACH)
    cells = dict(pair for subject in subjects for pair in asked(subject, few=quick))
    cells |= dict(pair for subject in reached for pair in reach(subject, few=quick))
    done = finished(cells.values(), measure, out, workers=1)
    results = Results({name: result.found for name, result in zip(cells, done, strict=True)})
    finding = Finding(
        "Exact ablations",
        paragraphs(results, subjects, reached),
        tables(results, subjects, reached),
        [
            {"asked": name._asdict(), "cell": result.cell, "found": result.found}
            for name, result in zip(cells, done, strict=True)
        ],
        {
            **{name: draw_excess(results, some) for name, some in _families(subjects).items()},
            "levels": draw_worth(results, subjects),
            "decided": draw_decided(results, subjects),
            "reach": draw_reach(results, reached),
        },
    )
    finding.write(out)
    print("\n\n".join(finding.paragraphs))


def _families(subjects: Sequence[Subject]) -> dict[str, list[Subject]]:
    """Symmetric trees over images and over lines, and all others: a figure for each."""
    families: dict[str, list[Subject]] = {}
    for subject in subjects:
        name = "others" if "λ" not in subject.name else "images" if subject.plane else "lines"
        families.setdefault(name, []).append(subject)
    return families
