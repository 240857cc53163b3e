"""The study of samples in words and tables. Every number comes from the data; what theory says has its source.

What could be verified of the theory, and what not, is said in the text itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp
from typing import Any

import numpy as np

from hgm.study.finding import Table
from hgm.study.sample_complexity_cells import ONE

__all__ = ["paragraphs", "tables"]

Data = dict[str, Any]

NAMES = {"classify": "ConvNet, to classify", "denoise": "U-Net, to denoise"}
KINDS = {"random": "random start", "exact": "start at the exact weights", "below": "below the threshold, random start"}


def paragraphs(found: Data) -> Iterator[str]:
    """What was found, with its uncertainty, and what it does not show."""
    yield (
        "Intervals are of 95%, Student's over seeds; a seed draws the model, its data and the start of the network. "
        "An exponent is fitted for each seed by itself, by least squares on logarithms; ± of a law is what its fit "
        "leaves, as a factor."
    )
    yield from _excess(found["excess"])
    yield from _grammar(found["grammar"])
    yield from _diffusion(found["diffusion"])


def _excess(found: Data) -> Iterator[str]:
    for task, data in found.items():
        tree, curves = data["tree"], data["curves"]
        said = [f"{KINDS[kind]}: {_law('n', curve)}" for kind, curve in curves.items() if "exponent" in curve]
        of = [
            f"{KINDS[start]}: {', '.join(_law(name, curve) for name, curve in curves.items())}"
            for start, curves in data["of"].items()
            if all("exponent" in curve for curve in curves.values())
        ]
        unit = "nats" if task == "classify" else "squared error per leaf"
        text = (
            f"**{NAMES[task]}.** Excess risk ({unit}) of the compiled network with free weights after empirical risk "
            f"minimisation on n samples, L = {tree['L']}, S = {tree['S']}, m = {tree['m']}, d lambda² "
            f"{_siblings(data, tree['keep'])}: {_over_n(curves['random'])}. "
        )
        text += f"Exponents of n: {'; '.join(said)}. " if said else "Too few points for exponents. "
        text += f"At {ONE:,} samples it goes, one changed at a time, as {'; '.join(of)}. " if of else ""
        yield text + _separated(data)
    yield (
        "**What the paper's bound says of this.** Mei (2404.18444) bounds the excess risk of these two estimators; of "
        "the paper only the abstract could be read for this, which calls the bound efficient. Its form as we note it, "
        "unverified, is a polynomial in S, K, m and L times sqrt(d / n), up to logarithms (K bounds the potentials, d "
        "is the number of leaves). That n enters as n^-1/2 can be held against the exponents above: risks that fall "
        "faster obey it. The polynomial's powers and constant are not known to us, so the exponents of S, L and m "
        "stand alone. A classical fact predicts n^-1: a smooth model that contains the truth costs its "
        "number of identifiable weights over 2n nats, once n is large. A bound from above need not be tight, and "
        "exponents within a factor of a few of S, L and m do not show what holds for large ones. The noise of "
        "denoisers is drawn anew in every step."
    )


def _separated(data: Data) -> str:
    """What other things than samples leave an excess."""
    missed = data["missed"]
    said = [
        f"{missed['missed']} of {missed['of']} random starts end above the empirical risk of the true weights, so not "
        "at the least",
        f"in {missed['slower']} trainings weights ran away, and were trained again at a smaller learning rate",
    ]
    if data["longer"]:
        ratios = ", ".join(f"{_times(row)} at n = {row['x']:,}" for row in data["longer"])
        said.append(f"training twice as long multiplies it by {ratios}")
    if data["start"]:
        ratios = ", ".join(f"{_times(row)} at n = {row['x']:,}" for row in data["start"])
        said.append(f"the random start costs {ratios} as much as a start at the exact weights")
    if data["endless"]:
        said.append(
            f"with new samples in every step {_interval(data['endless'])} is left, which is no matter of samples"
        )
    return f"Optimisation or samples? {'; '.join(said)}."


def _grammar(found: Data) -> Iterator[str]:
    text = (
        "**A ConvNet on the Random Hierarchy Model.** Layers as the levels of the tree, 128 channels, from random "
        f"weights; {len(found['settings'])} grammars (v = 8, s = 2), d lambda² {found['siblings']['low']:.2f} to "
        f"{found['siblings']['high']:.2f}, and a new grammar for each seed. The error is of strings that were not "
        f"trained on; at most {100 * found['trained']:.1f}% of the samples themselves stay wrong. P* is where it "
        "falls to a share of the error of guessing. "
    )
    for name, share in (("half", "half"), ("tenth", "a tenth")):
        law = found[name]
        if law is None:
            text += f"It falls to {share} in too few of these runs for a law. "
            continue
        text += (
            f"P* for {share} ({law['of']} of {law['among']} grammars, where all seeds cross it): exponent "
            f"{_interval(law['exponent'])} of n_c m^L"
        )
        if "classes" in law:
            text += f", or {_interval(law['classes'])} of n_c and {_interval(law['rules'])} of m^L by themselves"
        text += (
            f"; P* / (n_c m^L) is {law['low']:.2f} to {law['high']:.2f}: its log10 has a standard deviation of "
            f"{law['spread']:.2f} over grammars, where n_c m^L itself has {law['range']:.2f}. "
        )
    yield text + (
        "Published is P* ~ n_c m^L, as the asymptotic law (Cagnetta et al., Phys. Rev. X 14, 031001, 2024): "
        "exponents of 1, and one curve against n / (n_c m^L). " + _longer(found["longer"])
    )
    yield (
        "What this does not show: the law is asymptotic, and the grammars here are small (strings of 4 and 8 "
        "symbols, so that large samples hold a good part of all strings); all trainings have the same number of "
        "steps and the same width. Linear interpolation in log n between sizes a factor of 2 apart locates P* no finer "
        "than some 10%."
    )


def _longer(rows: Sequence[Data]) -> str:
    if not rows:
        return ""
    by_n = sorted({row["n"] for row in rows})
    said = []
    for n in by_n:
        once, twice = (np.mean([row[key] for row in rows if row["n"] == n]) for key in ("once", "twice"))
        said.append(f"{once:.3f} and {twice:.3f} at n = {n:,}")
    return f"Training time: for one grammar, errors after these steps and after twice as many are {', '.join(said)}."


def _diffusion(found: Data) -> Iterator[str]:
    depth = max(curve["level"] for curve in found["curves"])
    rules = sorted({curve["m"] for curve in found["curves"]})
    text = (
        f"**A diffusion model of it.** A U-Net learns to fill in erased symbols of strings (v = {found['v']}, s = 2, "
        f"L = {depth}, m = {', '.join(map(str, rules))}). What it knows of level l (1 is just above the leaves): under "
        "a node of that level the leaves of the second child are hidden, those of the first are shown, and all else is "
        "erased. What is shown tells something of what is hidden, through rules of levels up to l alone: I nats, "
        "exactly known, of which the network leaves a share unused, its excess in nats over I: 0 for the posterior, 1 "
        "for a network that knows what lower levels make and not what goes together. Of each level, the samples "
        "at which that share falls to half, and to a tenth. "
    )
    for law in found["laws"]:
        needed = [
            f"{exp(np.mean(np.log(c[law['share']]))):,.0f} (m = {c['m']})"
            for c in found["curves"]
            if c["level"] == law["level"] and None not in c[law["share"]]
        ]
        share = "half" if law["share"] == "half" else "a tenth"
        crossed = f"{', '.join(needed)} samples" if needed else "crossed between these sizes in no grammar by all seeds"
        text += f"Level {law['level']}, {share}: {crossed}"
        text += f": exponent {_interval(law['exponent'])} of m. " if "exponent" in law else ". "
    yield text + (
        "A growth as m^(l+1) is attributed to Favero et al. (2502.12089); we could verify in the source only that the "
        "number is polynomial in the size of the context and larger for higher levels, so the exponents stand alone. "
        + _longer_diffusion(found["longer"])
    )
    said = [f"m = {row['m']}: {', '.join(f'{share:.3f}' for share in row['shares'])}" for row in found["obeyed"]]
    yield (
        "**What it draws.** 1,000 strings are drawn, one symbol after the other, and parsed. At n = "
        f"{found['obeyed'][0]['n']:,} the share of nodes of levels 1 up that obey a rule, among those whose children "
        f"do, is {'; '.join(said)}. These shares are no measure of knowledge: after a handful of strings a network "
        "puts their pieces together, and most of these obey. Of trainings on fewer than a tenth of all strings, at "
        f"most {100 * found['copied']:.0f}% of what is drawn are copies of a sample, which are right at all levels; "
        "training stops where the loss of other strings no longer falls."
    )


def _longer_diffusion(longer: Data) -> str:
    """Whether steps are what is missing where samples are many."""
    if not longer["twice"]:
        return ""
    once, twice = (", ".join(f"{share:.2f}" for share in longer[key]) for key in ("once", "twice"))
    return (
        f"Steps or samples? At m = {longer['m']} and n = {longer['n']:,} the shares of levels 1 up are {once}, and "
        f"after twice as many steps {twice}: what falls so is no matter of samples."
    )


def _law(name: str, curve: Data) -> str:
    return f"{name}^{_interval(curve['exponent'])} (± a factor of {exp(curve['left']):.2f})"


def _interval(x: Data, digits: int = 2) -> str:
    figures = [x[key] for key in ("value", "low", "high")]
    if max(map(abs, figures)) < 0.1:
        value, low, high = (f"{figure:.2g}" for figure in figures)
    else:
        value, low, high = (f"{figure:.{digits}f}" for figure in figures)
    return f"{value} [{low}, {high}]"


def _times(x: Data) -> str:
    return f"{x['value']:.2f} [{x['low']:.2f}, {x['high']:.2f}]"


def _siblings(data: Data, keep: float) -> str:
    """The range of d lambda^2 of the main trees."""
    same = {key: data["tree"][key] for key in ("L", "S", "m")}
    ranges = [row for row in data["siblings"] if row["keep"] == keep and all(row[k] == x for k, x in same.items())]
    return f"{ranges[0]['low']:.2f} to {ranges[0]['high']:.2f}"


def _over_n(curve: Data) -> str:
    means = np.exp(np.log(curve["y"]).mean(0))
    return ", ".join(f"{mean:.2g} at n = {n:,}" for n, mean in zip(curve["x"], means, strict=True))


def tables(found: Data) -> list[Table]:
    """Excess risks, P*, and what levels need."""
    risks = [
        [f"{NAMES[task]}: {KINDS[kind]}", f"{n:,}", f"{mean:.2g}"]
        for task, data in found["excess"].items()
        for kind, curve in data["curves"].items()
        for n, mean in zip(curve["x"], np.exp(np.log(curve["y"]).mean(0)), strict=True)
    ]
    exact = [
        [f"keep {row['keep']:g}, L {row['L']}, S {row['S']}, m {row['m']}", f"{row['low']:.2f}", f"{row['high']:.2f}"]
        for row in found["excess"]["classify"]["siblings"]
    ]
    stars = [
        [
            f"m {s['m']}, L {s['L']}, classes {s['classes']}",
            f"{s['scale']:,}",
            *(_needed(s[k]) for k in ("half", "tenth")),
        ]
        for s in found["grammar"]["settings"]
    ]
    levels = [
        [f"m {c['m']}, level {c['level']}", *(_needed(c[k]) for k in ("half", "tenth"))]
        for c in found["diffusion"]["curves"]
    ]
    return [
        Table("Excess risk, geometric mean over seeds", ["network", "n", "excess"], risks),
        Table("d lambda², smallest and largest of a level", ["tree", "smallest", "largest"], exact),
        Table("P* of the ConvNet, of each seed", ["grammar", "n_c m^L", "half", "a tenth"], stars),
        Table("Samples until half and a tenth of what siblings tell are unused", ["level", "half", "a tenth"], levels),
    ]


def _needed(found: Sequence[float | None]) -> str:
    return ", ".join("–" if x is None else f"{x:,.0f}" for x in found)
