"""What the trainings of the study of samples say together: curves over seeds, power laws, and where curves cross.

Everything here is plain data, which JSON can hold, for words, tables and figures alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from math import log
from typing import Any

import numpy as np

from hgm.measure.threshold import siblings
from hgm.study.cells import Finished
from hgm.study.fits import crossing, mean_of, power_law
from hgm.study.sample_complexity_cells import ONE, RATES, tree_of

__all__ = ["SHARES", "diffusion", "excess", "grammar"]

Data = dict[str, Any]

#: of the error of guessing, or of what siblings tell: where a network has learned half, and nearly all
SHARES = {"half": 0.5, "tenth": 0.1}
FEW = 0.1  # of all strings: samples that a string is no copy of by chance
FEWEST = 50  # new strings that an error is a share of


def excess(done: Sequence[Finished]) -> Data:
    """Excess risks by task: curves against n, of several kinds, and against one thing of the tree at a time."""
    mine = [each for each in done if each.cell["part"] == "erm"]
    found: Data = {}
    for task in ("classify", "denoise"):
        rows = [each for each in mine if each.cell["task"] == task and each.cell["n"] is not None]
        main = _main(rows)
        curves = {"random": _over("n", main, rows), "exact": _over("n", {**main, "start": "exact"}, rows)}
        lows = [each.cell["keep"] for each in rows if each.cell["keep"] != main["keep"]]
        if lows:
            curves["below"] = _over("n", {**main, "keep": min(lows)}, rows)
        twice = _over("n", {**main, "steps": 2 * main["steps"]}, rows)
        found[task] = {
            "tree": main,
            "curves": curves,
            "of": {
                start: {name: _over(name, {**main, "n": ONE, "start": start}, rows) for name in ("L", "S", "m")}
                for start in ("random", "exact")
            },
            "missed": _missed(rows),
            "longer": _against(twice, curves["random"]),
            "start": _against(curves["random"], curves["exact"]),
            "endless": _endless([each for each in mine if each.cell["task"] == task], main),
            "siblings": _siblings(rows),
        }
    return found


def _main(rows: Sequence[Finished]) -> Data:
    """What most of the trainings have in common."""
    rows = [each for each in rows if each.cell["start"] == "random"]
    names = ("keep", "L", "S", "m", "start", "steps")
    seen = [tuple(each.cell[name] for name in names) for each in rows]
    return dict(zip(names, Counter(seen).most_common(1)[0][0], strict=True))


def _over(name: str, fixed: Data, rows: Sequence[Finished], value: Callable[[Finished], float] | None = None) -> Data:
    """A curve over seeds: `x`, `y` ``(seeds, points)`` and the exponent, if there are points enough; n is free."""
    wanted = {key: x for key, x in fixed.items() if key != name}
    mine = [each for each in rows if all(each.cell[key] == x for key, x in wanted.items())]
    seeds = sorted({each.cell["seed"] for each in mine})
    at = {(each.cell["seed"], each.cell[name]): (value or _risk)(each) for each in mine}
    x = sorted(point for point in {point for _, point in at} if all((seed, point) in at for seed in seeds))
    y = [[at[seed, point] for point in x] for seed in seeds]
    found: Data = {"x": x, "y": y}
    if len(x) > 2 and len(seeds) > 1 and np.min(y) > 0:
        fit = power_law(x, y)
        found |= {"exponent": fit.exponents[0]._asdict(), "left": fit.left}
    return found


def _risk(each: Finished) -> float:
    return float(each.found["excess"])


def _against(one: Data, other: Data) -> list[Data]:
    """The ratio of two curves where both have points: its mean over seeds, of logs, with an interval."""
    found = []
    for i, x in enumerate(one["x"]):
        if x in other["x"] and len(one["y"]) > 1:
            logs = [log(a[i] / b[other["x"].index(x)]) for a, b in zip(one["y"], other["y"], strict=True)]
            found.append({"x": x, **{k: float(np.exp(v)) for k, v in mean_of(logs)._asdict().items()}})
    return found


def _missed(rows: Sequence[Finished]) -> Data:
    """How many random starts ended above the empirical risk of the true weights, so not at the least."""
    starts = [each for each in rows if each.cell["start"] == "random"]
    above = [each for each in starts if each.found["risk"] > each.found["truth"]]
    return {"missed": len(above), "of": len(starts), "slower": sum(each.found["rate"] < RATES[0] for each in rows)}


def _endless(rows: Sequence[Finished], main: Data) -> Data | None:
    """The excess of trainings whose samples never end: what the steps leave, and not the samples."""
    mine = [e for e in rows if e.cell["n"] is None and all(e.cell[key] == x for key, x in main.items())]
    return dict(mean_of([_risk(each) for each in mine])._asdict()) if len(mine) > 1 else None


def _siblings(rows: Sequence[Finished]) -> list[Data]:
    """Of every kind of tree the smallest and the largest d lambda^2, over levels and seeds."""
    names = ("keep", "L", "S", "m")
    trees = {tuple(each.cell[name] for name in (*names, "seed")): tree_of(each.cell) for each in rows}
    found: dict[tuple[Any, ...], list[float]] = {}
    for (*kind, _), tree in trees.items():
        found.setdefault(tuple(kind), []).extend(siblings(tree))
    return [dict(zip(names, kind, strict=True)) | {"low": min(v), "high": max(v)} for kind, v in found.items()]


def grammar(done: Sequence[Finished]) -> Data:
    """Test errors of the ConvNet by grammar, P*, and how P* grows with classes and with m^L."""
    mine = [each for each in done if each.cell["part"] == "grammar"]
    steps = min(each.cell["steps"] for each in mine)
    settings: list[Data] = []
    for kind in sorted({(e.cell["L"], e.cell["m"], e.cell["classes"]) for e in mine}):
        fixed = dict(zip(("L", "m", "classes"), kind, strict=True))
        settings.append({**fixed, "scale": fixed["classes"] * fixed["m"] ** fixed["L"]} | _errors(mine, fixed, steps))
    longer = []
    for each in mine:
        if each.cell["steps"] != steps:
            once = {**each.cell, "steps": steps}
            (before,) = (e.found["error"] for e in mine if e.cell == once)
            longer.append({"n": each.cell["n"], "once": before, "twice": each.found["error"]})
    trees = [tree_of(each.cell) for each in mine if each.cell["seed"] == mine[0].cell["seed"]]
    below = [x for tree in trees for x in siblings(tree)]
    laws = {"half": _law(settings, "half"), "tenth": _law(settings, "tenth")}
    found = {"settings": settings, **laws, "longer": longer, "siblings": {"low": min(below), "high": max(below)}}
    return {**found, "trained": max(each.found["trained"] for each in mine)}


def _errors(mine: Sequence[Finished], fixed: Data, steps: int) -> Data:
    enough = [e for e in mine if e.found["new"] >= FEWEST]
    curve = _over("n", {**fixed, "steps": steps}, enough, lambda each: float(each.found["error"]))
    guess = 1 - 1 / fixed["classes"]
    crossed = {name: [crossing(curve["x"], y, share * guess) for y in curve["y"]] for name, share in SHARES.items()}
    return {"n": curve["x"], "error": curve["y"], **crossed}


def _law(settings: Sequence[Data], name: str) -> Data | None:
    """P* at a level as a power of classes m^L, and as powers of both; and how far P* / (classes m^L) varies."""
    mine = [each for each in settings if None not in each[name] and len(each[name]) > 1]
    if len(mine) < 3:
        return None
    scale, y = [each["scale"] for each in mine], np.array([each[name] for each in mine]).T
    fit = power_law(scale, y)
    ratios = np.exp(np.log(y).mean(0)) / scale
    found = {"exponent": fit.exponents[0]._asdict(), "left": fit.left, "of": len(mine), "among": len(settings)}
    found |= {"low": float(ratios.min()), "high": float(ratios.max()), "spread": float(np.log10(ratios).std(ddof=1))}
    found["range"] = float(np.log10(scale).std(ddof=1))
    parts = [[each["classes"] for each in mine], [each["m"] ** each["L"] for each in mine]]
    if len(set(parts[0])) > 1 and len(mine) > 3:
        both = power_law(np.array(parts).T, y)
        found |= {"classes": both.exponents[0]._asdict(), "rules": both.exponents[1]._asdict()}
    return found


def diffusion(done: Sequence[Finished]) -> Data:
    """What is unused at each level, by m, against n; where it falls to half and to a tenth; rules obeyed at the end."""
    mine = [each for each in done if each.cell["part"] == "diffusion"]
    steps = min(each.cell["steps"] for each in mine)
    depth, rules = mine[0].cell["L"], sorted({each.cell["m"] for each in mine})
    curves: list[Data] = []
    for m, level in product(rules, range(depth)):

        def left(each: Finished, level: int = level) -> float:
            return float(each.found["unused"][level])

        curve = _over("n", {"m": m, "steps": steps}, mine, left)
        needed = {name: [crossing(curve["x"], y, share) for y in curve["y"]] for name, share in SHARES.items()}
        curves.append({"m": m, "level": level + 1, "n": curve["x"], "unused": curve["y"], **needed})
    laws = []
    for level, name in product(range(1, depth + 1), SHARES):
        have = [c for c in curves if c["level"] == level and None not in c[name] and len(c[name]) > 1]
        law: Data = {"level": level, "share": name, "of": len(have), "among": len(rules)}
        if len(have) > 2:
            fit = power_law([c["m"] for c in have], np.array([c[name] for c in have]).T)
            law |= {"exponent": fit.exponents[0]._asdict(), "left": fit.left}
        laws.append(law)
    few = [each for each in mine if each.cell["n"] < FEW * _strings(each.cell)]
    copied = max((each.found["copied"] for each in few), default=0.0)
    twice = [each for each in mine if each.cell["steps"] != steps]
    before = [each for late in twice for each in mine if each.cell == {**late.cell, "steps": steps}]
    longer = {"once": _unused(before), "twice": _unused(twice)} | ({k: twice[0].cell[k] for k in "mn"} if twice else {})
    most = [e for e in mine if e.cell["n"] == max(each.cell["n"] for each in mine) and e.cell["steps"] == steps]
    obeyed = [{"m": m, "n": most[0].cell["n"], "shares": _shares([e for e in most if e.cell["m"] == m])} for m in rules]
    return {
        "obeyed": obeyed,
        "curves": curves,
        "laws": laws,
        "copied": copied,
        "v": mine[0].cell["v"],
        "longer": longer,
    }


def _strings(cell: Data) -> int:
    """How many strings the grammar has: v classes, and m rules at every node."""
    return int(cell["v"] * cell["m"] ** (2 ** cell["L"] - 1))


def _unused(mine: Sequence[Finished]) -> list[float]:
    """Of every level, the mean over seeds."""
    return [float(x) for x in np.mean([each.found["unused"] for each in mine], 0)] if mine else []


def _shares(mine: Sequence[Finished]) -> list[float]:
    """Of every level, the share of nodes that obey a rule, over seeds."""
    could, do = (np.sum([each.found[name] for each in mine], 0) for name in ("could", "do"))
    return [float(x) for x in np.divide(do, np.maximum(could, 1)).ravel()] if mine else []
