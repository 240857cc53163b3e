"""What the study of U-Nets finds inside of trained networks: beliefs, gradients, and what outputs use."""

from __future__ import annotations

from typing import Any

import numpy as np

from hgm.study.finding import Table
from hgm.study.why_unet_figures import name_of
from hgm.study.why_unet_results import Results

__all__ = ["inside", "inside_tables"]


def inside(results: Results) -> str:
    """In words: which beliefs a linear probe finds where, how far outputs look, what reaches the first block."""
    said = [
        text for text in (_beliefs(results, "unet"), _looks(results), _slopes(results, ("unet", "autoencoder"))) if text
    ]
    return f"**Inside.** {' '.join(said)}" if said else ""


def inside_tables(results: Results) -> list[Table]:
    """R² of the nodes' beliefs by network and level, and the effective receptive fields."""
    rows, fields = [], []
    for name, found in _looked_into(results):
        for i, probed in enumerate(found[0]["probes"]):
            best = _best(found, i, "trained")
            start = _best(found, i, "untrained")
            linear = np.mean([one["probes"][i]["input"]["r2"] for one in found], 0)
            cells = [f"{a:.2f} / {b:.2f} / {c:.2f}" for (a, _), (b, _), c in zip(best, start, linear, strict=True)]
            rows.append([f"{name_of(name)}, sigma {probed['sigma']:g}", *cells])
        for i, used in enumerate(found[0]["effective"]):
            mean = {
                key: np.mean([one["effective"][i][key]["size"]["value"] for one in found])
                for key in ("network", "exact")
            }
            apart = np.mean([one["effective"][i]["apart"]["value"] for one in found])
            cells = [f"{mean['network']:.1f}", f"{mean['exact']:.1f}", f"{apart:.2f}"]
            fields.append([f"{name_of(name)}, sigma {used['sigma']:g}", *cells])
    if not rows:
        return []
    levels = [f"level {k}" for k in range(len(rows[0]) - 1)]
    return [
        Table(
            "R² of the nodes' beliefs, best block: trained / before training / linear in the data",
            ["network", *levels],
            rows,
        ),
        Table("Effective number of leaves an output uses", ["network", "it", "the exact posterior", "apart"], fields),
    ]


def _looked_into(results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    """Networks and what was found inside, by seed."""
    found = []
    for key, runs in results.runs.items():
        mine = [one["inside"] for one in runs.found.values() if "inside" in one]
        if mine:
            found.append((key.network, mine))
    return found


def _best(found: list[dict[str, Any]], i: int, which: str) -> list[tuple[float, str]]:
    """By level of the tree: R² of the block that has most of it, a mean over seeds, and the block's name."""
    blocks = list(found[0]["probes"][i][which])
    r2 = {block: np.mean([one["probes"][i][which][block]["r2"] for one in found], 0) for block in blocks}
    levels = len(next(iter(r2.values())))
    return [max((float(r2[block][k]), block) for block in blocks) for k in range(levels)]


def _beliefs(results: Results, name: str) -> str:
    found = dict(_looked_into(results)).get(name)
    if not found:
        return ""
    said = []
    for i, probed in enumerate(found[0]["probes"]):
        best, start = _best(found, i, "trained"), _best(found, i, "untrained")
        linear = np.mean([one["probes"][i]["input"]["r2"] for one in found], 0)
        levels = ", ".join(
            f"level {k} {r2:.2f} in {block} ({start[k][0]:.2f} before training, {linear[k]:.2f} from the data)"
            for k, (r2, block) in enumerate(best)
        )
        said.append(f"at sigma {probed['sigma']:g}: {levels}")
    return (
        f"Are the exact beliefs of the tree's nodes in the U-Net? R² of a linear probe, in the block that has most, "
        f"{'; '.join(said)}."
    )


def _looks(results: Results) -> str:
    said = []
    for name, found in _looked_into(results):
        used = found[0]["effective"][-1]
        size = np.mean([one["effective"][-1]["network"]["size"]["value"] for one in found])
        exact = np.mean([one["effective"][-1]["exact"]["size"]["value"] for one in found])
        said.append(f"{name_of(name)} {size:.1f}")
    if not said:
        return ""
    return (
        f"Over how many leaves the influence on an output is spread, at sigma {used['sigma']:g}: the exact posterior "
        f"{exact:.1f}, {', '.join(said)}."
    )


def _slopes(results: Results, names: tuple[str, ...]) -> str:
    """The norm of the gradient in the first block, before training."""
    said = []
    looked = dict(_looked_into(results))
    for name in names:
        if name not in looked:
            continue
        one = [found["gradients"]["untrained"] for found in looked[name]]
        block = next(part for part in one[0] if "encoder" in part or "blocks" in part)
        norms = [part[block]["norm"] for part in one]
        shares = [part[block]["share"] for part in one]
        said.append(f"{name_of(name)} {np.mean(norms):.2g} ({np.mean(shares):.0%} of the square of all)")
    if len(said) < 2:
        return ""
    return f"The norm of the gradient in the first block, before training: {', '.join(said)}."
