"""What it costs to delete a part of the network: exactly, in squared error at levels of noise, and in nats.

    a level      and all coarser ones: `hgm.ablate(tree, "block")`
    a skip       and all finer ones: `hgm.ablate(tree, "skips")`; of the leaves alone: ``"own"``
    the noise    as an input: ``"blind"``, with equal probabilities for the levels of noise

All are measured on the same samples, at the levels of noise over which an excess adds up to nats (`hgm.compare`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hgm.ablation.kinds import ablate
from hgm.evidence.channels import Gaussian
from hgm.measure.gap import compare
from hgm.measure.report import Gap
from hgm.tree.tree import Tree

__all__ = ["cost_facts"]

LEAVES = 20_000  # of all samples together
SAMPLES = 50, 1000  # and at least, at most so many
LEVELS = 8  # that are deleted at most, and as many skips, evenly over the depth of the tree;
STAGES = 64  # fewer in deep trees, so that all their networks together have about so many
PRIOR = 4  # a network without the noise as an input knows every so many of the levels of noise as possible


def cost_facts(tree: Tree, channel: Gaussian) -> dict[str, Any]:
    """What each deletion costs: the levels of noise, the optimum there, and for each part excess and interval."""
    samples = int(np.clip(LEAVES // len(tree.leaves), *SAMPLES))

    def measured(kind: Any, **told: Any) -> Gap:
        return compare(ablate(tree, kind, channel=channel, **told), tree, n=samples)

    deleted = min(tree.depth, LEVELS, max(1, STAGES // tree.depth))
    levels = np.linspace(1, tree.depth, deleted).round().astype(int).tolist()
    found = [(f"level {k - 1}", measured("block", level=k)) for k in levels]
    found += [(f"skip {k}", measured("skips", level=k - 1)) for k in reversed(levels)]
    found.append(("own", measured("own")))
    noise = [row["noise"] for row in found[0][1].rows()]
    found.append(("noise", measured("blind", noise=noise[::PRIOR])))
    return {
        "noise": noise,
        "optimum": [_short(row["optimum"]) for row in found[0][1].rows()],
        "samples": samples,
        "parts": {part: _cost(gap) for part, gap in found},
    }


def _cost(gap: Gap) -> dict[str, Any]:
    columns = {key: [_short(row[key]) for row in gap.rows()] for key in ("excess", "low", "high")}
    nats = None if gap.nats is None else [_short(x) for x in (gap.nats.value, gap.nats.low, gap.nats.high)]
    return {**columns, "nats": nats}


def _short(number: float) -> float:
    return float(f"{number:.4g}")
