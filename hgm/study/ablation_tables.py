"""Tables of the study of ablations: trees, levels, windows, what else may be missing, and how far one must see."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, isnan

from hgm.measure.interval import Estimate
from hgm.study.ablation_cells import Asked
from hgm.study.ablation_figures import SHARES
from hgm.study.ablation_results import Half, Need, Results, Worth
from hgm.study.ablation_trees import Subject
from hgm.study.finding import Table

__all__ = ["amount", "both", "half_gone", "layers", "saved", "span", "tables", "within"]


def tables(results: Results, subjects: Sequence[Subject], reached: Sequence[Subject]) -> list[Table]:
    """All of them."""
    return [
        _trees(results, subjects),
        *(_levels(results, subject) for subject in subjects),
        *(_missing(results, subject) for subject in subjects),
        *(_reach(results, reached, share) for share in SHARES),
    ]


def _trees(results: Results, subjects: Sequence[Subject]) -> Table:
    rows = []
    for subject in subjects:
        entropy, error = results.entropy(subject)
        cost = results.cost(subject, subject.depth)
        levels = [f"{f(results.siblings(subject)):.2f}" for f in (min, max)]
        rows.append([subject.name, f"`{subject.made}`", *levels, both(entropy, error), both(*cost)])
    head = ["tree", "made by", "dλ², smallest level", "largest level", "H(x), nats", "cost of independent leaves, nats"]
    return Table("The trees", head, rows)


def _levels(results: Results, subject: Subject) -> Table:
    """Resolution level, what it captures, at which noise: with numbers in the place of words."""
    worths = {worth.level: worth for worth in results.worths(subject)}
    erased = {worth.level: worth for worth in results.worths(subject, "erasure")} if subject.erased else {}
    rows = []
    for half in results.halves(subject):
        cells = ["", "", "", ""]
        if half.level in worths:
            worth = worths[half.level]
            cells = [
                saved(worth),
                both(*worth.entropies),
                *(["–", "–"] if isnan(worth.middle) else [f"{worth.middle:.2g}", span(worth.ends)]),
            ]
        more = [saved(erased[half.level])] if half.level in erased else [""]
        rows.append([str(half.level), subject.block(half.level), *cells, *(more if erased else []), half_gone(half)])
    head = [
        "level",
        "sees blocks of",
        "adds, nats",
        "by entropies",
        "half of that below σ =",
        "80% of it at σ",
        *(["by masked symbols, nats"] if erased else []),
        "half of a node's entropy is gone at σ =",
    ]
    return Table(f"What each level adds, and when it is decided: {subject.name}", head, rows)


def _missing(results: Results, subject: Subject) -> Table:
    """Excess by noise, relative to the optimum, and nats, of all that may be missing."""
    name = subject.name
    asked: list[tuple[str, Asked]] = [(f"sees {subject.extent(1)}", Asked(name, "block", subject.depth))]
    asked += [(f"sees {subject.extent(2 * r + 1)}", Asked(name, "window", r)) for r in subject.radii]
    asked += [(f"block of {subject.block(k)}", Asked(name, "block", k)) for k in range(subject.depth - 1, 0, -1)]
    asked += [
        (f"silent skips below {subject.block(k)}", Asked(name, "skips", k, nats=False))
        for k in range(subject.depth - 1, -1, -1)
    ]
    asked += [
        (f"own {subject.where}", Asked(name, "own", nats=False)),
        ("the label", Asked(name, "label")),
        ("the level of noise", Asked(name, "blind")),
        *((f"another tree: {wrong}", Asked(name, "tree", wrong)) for wrong in subject.others),
    ]
    levels = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
    rows = []
    for text, what in asked:
        curve = results.curve(what)
        shares = [results.share(what, sigma) for sigma in levels]
        masked = Asked(name, what.what, what.size, "erasure")
        nats = [_nats(curve.nats)]
        if subject.erased:
            nats.append(_nats(results.curve(masked).nats) if masked in results.found else "")
        rows.append([text + ("" if curve.bound else " (no bound)"), *(within(share) for share in shares), *nats])
    head = ["what is missing, or all that is seen", *(f"σ = {sigma:g}" for sigma in levels), "nats"]
    title = f"Excess, as a share of the optimum, and in nats: {name}"
    return Table(title, [*head, *(["nats, masked symbols"] if subject.erased else [])], rows)


def _reach(results: Results, reached: Sequence[Subject], share: float) -> Table:
    levels = results.curve(Asked(reached[0].name, "window", reached[0].radii[0], nats=False)).noise
    rows = []
    for subject in reached:
        needs = [results.need(subject, float(sigma), share) for sigma in levels]
        most = max(subject.radii)
        rows.append([f"{max(results.siblings(subject)):.2f}", *(layers(need, most) for need in needs)])
    head = ["dλ²", *(f"σ = {sigma:g}" for sigma in levels)]
    return Table(f"Layers of 3×3 that a plain CNN needs to come within {share:.0%} of the optimum", head, rows)


# ---------------------------------------------------------------------- numbers in print


def both(mean: float, error: float) -> str:
    """A mean with its 95% interval, if it has one."""
    return f"{amount(mean)} ± {1.96 * error:.1g}" if error > 1e-9 * abs(mean) else amount(mean)


def amount(x: float) -> str:
    """Three digits, and none behind the point of what is above 100."""
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def saved(worth: Worth) -> str:
    """The nats of a level, with their interval."""
    return f"{amount(worth.nats)} ± {worth.half:.1g}" if worth.nats else "zero to rounding"


def span(ends: tuple[float, float]) -> str:
    """From one level of noise to another."""
    return f"{ends[0]:.2g} to {ends[1]:.2g}"


def within(share: Estimate | None) -> str:
    """A share in percent with half its interval; a dash where the optimum leaves nothing to be a share of."""
    if share is None:
        return "–"
    return f"{100 * share.value:.2g}% ± {100 * (share.high - share.low) / 2:.1g}"


def layers(need: Need, most: int) -> str:
    """A number of layers, and which others the interval allows."""
    texts = [f"{x:.0f}" if isfinite(x) else f"more than {most}" for x in need]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]} to {texts[2]})"


def half_gone(half: Half) -> str:
    """The noise at which half of a level's entropy is gone, with its interval."""
    if isnan(half.noise):
        return f"never: {half.least:.0%} is left"
    low, high = half.ends
    low = 0.0 if isnan(low) else low
    return f"{half.noise:.2g} ({low:.2g} to {high:.2g})" if high < inf else f"{half.noise:.2g} or more"


def _nats(nats: Estimate | None) -> str:
    if nats is None:
        return "not finite"
    return f"{amount(nats.value)} ({amount(nats.low)} to {amount(nats.high)})"
