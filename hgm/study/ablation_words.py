"""What the study of ablations found, in words. Every number, and every comparison, is made from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, isnan

import numpy as np

from hgm.measure.interval import Estimate
from hgm.study.ablation_cells import Asked
from hgm.study.ablation_figures import SHARES, threshold
from hgm.study.ablation_results import SEEN, Results
from hgm.study.ablation_tables import amount, layers, saved, span
from hgm.study.ablation_trees import Subject

__all__ = ["paragraphs"]


def paragraphs(results: Results, subjects: Sequence[Subject], reached: Sequence[Subject]) -> list[str]:
    """All of them."""
    return [
        _how(subjects),
        _windows(results, subjects),
        _worth(results, subjects),
        _closed_forms(results, subjects),
        _reach(results, reached),
        _decided(results, subjects),
        _skips(results, subjects),
        _others(results, subjects),
        _symbols(results, [subject for subject in subjects if subject.erased]),
        _not_shown(),
    ]


def _how(subjects: Sequence[Subject]) -> str:
    counts = [str(n) for n in sorted({subject.n for subject in subjects})]
    return (
        "**How.** Nothing is trained. A network that lacks something can at best be the posterior mean given what is "
        "left, which is computed exactly; its excess over the optimum is estimated from samples of the tree and their "
        f"noise ({_listed(counts)} samples for windows, five times as many for all else). Intervals are of 95%, over "
        "these samples, each by itself. Excesses are shares of the optimum, at noise where the optimum is at least "
        f"{SEEN:.0%} of its largest value; nats are per sample, all leaves together. Windows, blocks, blindness, the "
        "label and the own observation are bounds for every network that lacks the same; silent skips and wrong trees "
        "are not. The states of a leaf have values that are one apart, so noise of σ = ½ is half of that."
    )


def _windows(results: Results, subjects: Sequence[Subject]) -> str:
    """What 3x3 costs at most, on every tree."""
    found = []
    for subject in subjects:
        worst, noise = results.curve(Asked(subject.name, "window", 1)).worst
        found.append((worst, noise, subject, results.siblings(subject)))
    found.sort(key=lambda row: row[0].value)
    each = [
        f"{subject.name} ({threshold(siblings)}): {_percent(worst)}, at σ = {noise:.2g}"
        for worst, noise, subject, siblings in found
    ]
    alike = [row for row in found if "λ" in row[2].name]
    below = [worst.high for worst, _, _, siblings in alike if max(siblings) < 1]
    above = [worst.low for worst, _, _, siblings in alike if min(siblings) > 1]
    says = ""
    if below and above and max(below) < min(above):
        says = (
            f"\n\nOn the symmetric trees below the threshold that is at most {_share(max(below))}, on those above it "
            f"at least {_share(min(above))}. Below it the best U-Net that there can be is better than a CNN of one "
            "layer by no more than that."
        )
        odd = [
            f"{subject.name} costs {_share(worst.value)} with dλ² {'below' if max(siblings) < 1 else 'above'} 1"
            for worst, _, subject, siblings in found
            if (max(siblings) < 1 and worst.low > max(below)) or (min(siblings) > 1 and worst.high < min(above))
        ]
        if odd:
            says += f" On others dλ² alone does not decide: {_listed(odd)}."
    return (
        "**A plain CNN of one layer.** The best network that sees one neighbour on each side (3×3 pixels, or 3 "
        f"positions) is above the optimum by, at the noise where that is most:{_bullets(each)}{says}"
    )


def _worth(results: Results, subjects: Sequence[Subject]) -> str:
    """Nats and noise of the finest and of the coarsest level."""
    texts, rising = [], []
    for subject in subjects:
        worths = results.worths(subject)
        coarse, fine = worths[0], worths[-1]
        clear = [w for w in worths if w.nats > w.half and not isnan(w.middle)]
        if all(above.middle > below.middle for above, below in pairwise(clear)):
            rising.append(subject.name)
        parts = [
            f"{subject.block(w.level)} for {subject.block(w.level + 1)} {saved(w)}"
            + ("" if isnan(w.middle) else f" nats (middle 80% at σ {span(w.ends)})")
            for w in (fine, coarse)
        ]
        total = sum(w.nats for w in worths)
        texts.append(f"{subject.name}: {parts[0]}, ..., {parts[1]}; {amount(total)} nats in all")
    others = [subject.name for subject in subjects if subject.name not in rising]
    order = f"The coarser a level, the more noise it matters at (by the median of its nats) on {_listed(rising)}" + (
        f"; not on {_listed(others)}" if others else ""
    )
    return (
        "**What each resolution level is worth.** Nats that are saved when blocks of a size are seen in the place of "
        f"their parts, and the noise at which they are:{_bullets(texts)}\n\n{order if rising else 'No order is seen'}."
    )


def _closed_forms(results: Results, subjects: Sequence[Subject]) -> str:
    """The integral over noise against entropies: different samples, and no denoiser in the second."""
    off = []
    for subject in subjects:
        for channel in ("gaussian", "erasure") if subject.erased else ("gaussian",):
            for level in range(1, subject.depth + 1):
                nats = results.curve(Asked(subject.name, "block", level, channel)).nats
                mean, error = results.cost(subject, level)
                if nats is None or not nats.value:
                    continue
                half = np.hypot(1.96 * error, (nats.high - nats.low) / 2)
                off.append(abs(nats.value - mean) / max(half, 1e-12))
    inside = sum(x <= 1 for x in off)
    return (
        "**Check.** What a block costs is known without any denoiser: the sum of the blocks' entropies minus H(x). The "
        f"integral over noise agrees with it within the 95% interval of their difference in {inside} of {len(off)} "
        "cases (every level of every tree, noisy values and masked symbols; those that are zero to rounding do not "
        f"count); the largest difference is {max(off):.2g} times that interval."
    )


def _reach(results: Results, reached: Sequence[Subject]) -> str:
    levels = results.curve(Asked(reached[0].name, "window", reached[0].radii[0], nats=False)).noise
    most = max(max(subject.radii) for subject in reached)
    texts = []
    for subject in reached:
        parts = []
        for share in SHARES:
            needs = [results.need(subject, float(sigma), share) for sigma in levels]
            k = max(range(len(needs)), key=lambda i: needs[i].radius)
            at = f" at σ = {levels[k]:g}" if needs[k].radius > 0 else ""
            parts.append(f"{layers(needs[k], most)}{at} (within {share:.0%})")
        texts.append(f"dλ² = {max(results.siblings(subject)):.2f}: {_listed(parts)}")
    side = round(results.curve(Asked(reached[0].name, "window", reached[0].radii[0], nats=False)).leaves ** 0.5)
    return (
        f"**How deep a plain CNN must be.** Layers of 3×3 on {side}×{side} pixels, at the noise that needs most, with "
        f"the numbers that the intervals allow:{_bullets(texts)}\n\nThis is what the best function of the window "
        "needs; a CNN that is trained needs at least as many."
    )


def _decided(results: Results, subjects: Sequence[Subject]) -> str:
    texts, first = [], []
    for subject in subjects:
        root, *_, leaf = results.halves(subject)
        when = (
            f"the root never loses half of its entropy ({root.least:.0%} is left with the least noise)"
            if isnan(root.noise)
            else f"half of the root's entropy is gone at σ = {root.noise:.2g}"
        )
        texts.append(f"{subject.name}: {when}; of a {subject.where}'s at σ = {leaf.noise:.2g}")
        if root.noise > leaf.noise:
            first.append(subject.name)
    says = f"\n\nThe root is decided before the leaves, at more noise, on {_listed(first)} only." if first else ""
    return (
        f"**Which level is decided at which noise.** As noise falls, entropy given all that is observed goes:"
        f"{_bullets(texts)}{says}"
    )


def _skips(results: Results, subjects: Sequence[Subject]) -> str:
    texts = []
    for subject in subjects:
        found = []
        for what in (
            Asked(subject.name, "own", nats=False),
            Asked(subject.name, "skips", subject.depth - 1, nats=False),
            Asked(subject.name, "skips", 0, nats=False),
        ):
            found.append(
                " and ".join(_share(x.value) if x else "–" for x in (results.share(what, s) for s in (1.0, 4.0)))
            )
        texts.append(
            f"{subject.name}: {found[0]} without the own {subject.where}, {found[1]} with beliefs about blocks of "
            f"{subject.block(subject.depth - 1)}, {found[2]} with beliefs about the root"
        )
    return (
        "**Skips.** Excess as a share of the optimum at σ = 1 and 4, when the finest skip is cut, when all skips below "
        f"the parents of leaves are silent, and when all are:{_bullets(texts)}\n\nAs shares they grow "
        "without limit as noise vanishes, because nothing else carries a leaf's own value; so they have no finite nats."
    )


def _others(results: Results, subjects: Sequence[Subject]) -> str:
    texts = []
    for subject in subjects:
        parts = [f"the label {_nats(results, Asked(subject.name, 'label'))}"]
        parts += [f"the level of noise {_nats(results, Asked(subject.name, 'blind'))}"]
        parts += [f"{wrong} {_nats(results, Asked(subject.name, 'tree', wrong))}" for wrong in subject.others]
        texts.append(f"{subject.name}: {_listed(parts)}")
    return (
        "**Label, noise level, wrong trees.** Nats that it costs not to be given the label, not to be told the noise, "
        f"and to believe in another tree:{_bullets(texts)}"
    )


def _symbols(results: Results, subjects: Sequence[Subject]) -> str:
    """Windows through both channels."""
    texts = []
    for subject in subjects:
        parts = []
        for radius in subject.radii:
            pair = [
                _nats(results, Asked(subject.name, "window", radius, channel)) for channel in ("gaussian", "erasure")
            ]
            parts.append(f"{subject.extent(2 * radius + 1)} {pair[0]} and {pair[1]}")
        texts.append(f"{subject.name}: {_listed(parts)}")
    return (
        "**Masked symbols.** With erased symbols in the place of noisy values a block costs the same nats, by the "
        "closed form; a window is no product of independent parts, and need not. Nats of windows with noisy values, "
        f"and with masked symbols:{_bullets(texts)}"
    )


def _not_shown() -> str:
    return (
        "**What this does not show.** Bounds say what no network of a kind can do, not what training finds: one that "
        "sees everything may still learn less than a local one. Blocks are those of the tree; a U-Net with 3×3 "
        "convolutions at low resolution sees more than its blocks, and one whose strides do not fit the tree sees "
        "other blocks. Silent skips are what a decoder does with beliefs node by node; one that is trained on all of "
        "them together may do better. The threshold dλ² = 1 is about symmetric channels and infinitely many levels: in "
        "trees of few levels nothing jumps at it, and with joint rules, as those of the Random Hierarchy Model, pairs "
        "of a parent and a child, which dλ² is made of, say little about what all siblings together tell. All data are "
        "of trees; natural images are none."
    )


# ---------------------------------------------------------------------- numbers in print


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1] if texts else ""


def _bullets(texts: Sequence[str]) -> str:
    return "\n\n" + "\n".join(f"* {text}" for text in texts)


def _share(x: float) -> str:
    """A share in percent, or how many times as much."""
    if x >= 10:
        return f"{amount(x)} times"
    return f"{100 * x:.2g}%" if x < 0.1 else f"{100 * x:.0f}%"


def _percent(x: Estimate) -> str:
    return f"{_share(x.value)} ({_share(x.low)} to {_share(x.high)})"


def _nats(results: Results, asked: Asked) -> str:
    nats = results.curve(asked).nats
    if nats is None or not isfinite(nats.value):
        return "without limit"
    return f"{amount(nats.value)} ± {(nats.high - nats.low) / 2:.1g}"
