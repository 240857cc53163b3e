"""The finished cells of the study of samples from restricted denoisers, by what they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hgm.study.accumulation import accumulated
from hgm.study.cells import Finished
from hgm.study.scales import Symmetric

__all__ = ["Found", "named"]

STEPS = (5, 10, 25, 50, 125, 250)


class Found:
    """The cells that are finished, by what they are of.

    Args:
        trees: by name.
        done: finished cells.
    """

    def __init__(self, trees: Mapping[str, Symmetric], done: Sequence[Finished]) -> None:
        names = list(dict.fromkeys(one.cell["tree"] for one in done))
        self.trees = {name: trees[name] for name in names}
        self.exact = {one.cell["tree"]: one.found for one in done if one.cell["what"] == "exact samples"}
        self.runs, self.costs, self.flows = (
            {_key(one): one.found for one in done if one.cell["what"] == what} for what in ("run", "cost", "flow")
        )

    def denoisers(self, tree: str) -> list[str]:
        """Those of a tree, in order."""
        return [f for name, f in self.costs if name == tree]

    def last(self, tree: str, f: str, solver: str = "ddpm") -> dict[str, Any] | None:
        """The run with the most steps."""
        steps = [key[3] for key in self.runs if key[:3] == (tree, f, solver)]
        return self.runs[tree, f, solver, max(steps)] if steps else None

    def along(self, tree: str, f: str, steps: int) -> dict[str, list[float]]:
        """What a run costs, added up along it."""
        return accumulated(self.costs[tree, f], steps)

    def steps(self, tree: str) -> list[int]:
        """Numbers of steps whose cost is known."""
        finest = len(next(cost for (name, _), cost in self.costs.items() if name == tree)["noise"])
        return [steps for steps in STEPS if finest % steps == 0]


def _key(one: Finished) -> tuple[Any, ...]:
    return tuple(one.cell[name] for name in ("tree", "denoiser", "solver", "steps") if name in one.cell)[
        : 4 if one.cell["what"] == "run" else 2
    ]


def named(f: str, model: Symmetric) -> str:
    """A denoiser as people call it."""
    kind, _, number = f.partition(" ")
    if kind not in ("window", "block"):
        return f
    if kind == "block" and int(number) == model.depth:
        return "single leaves"
    side = 2 * int(number) + 1 if kind == "window" else model.arity[0] ** (model.depth - int(number))
    size = "x".join([str(side)] * len(model.arity))
    return f"{kind}s of {size}"
