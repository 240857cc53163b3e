"""The certificate of a ReLU network: what is proved about its error, under which assumptions, and at what cost.

With E_b a bound on the oscillation error of a belief (`hgm.relu.propagate`), p the exact posterior of a variable and
p' the network's:

    |log p(a) - log p'(a)| <= E_b                  for every state a
    total variation        <= tanh(E_b / 4)
    |E[x] - E'[x]|         <= (largest - smallest value) tanh(E_b / 4)

The second line: of all pairs with osc(log p - log p') <= E, two states with log-odds -E/2 and E/2 are the furthest
apart, and there the total variation is ``sigmoid(E / 2) - sigmoid(-E / 2) = tanh(E / 4)``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from textwrap import fill

from hgm.errors import BadSpec
from hgm.tree.labels import Label
from hgm.tree.plain import held, label_of
from hgm.tree.showing import Shown, TextTable

__all__ = ["Certificate", "LevelBudget"]


@dataclass(frozen=True)
class LevelBudget:
    """One direction of one stage.

    Attributes:
        level: the parents' level.
        direction: ``"up"`` or ``"down"``.
        factors: messages sent.
        kinds: constructions used, with how many factors use each.
        error: largest error of one map, in oscillation.
        contraction: largest Birkhoff coefficient of one map.
        total: largest error of a message after the stage: all errors below (up) or above and beside (down).
        units: ReLUs, for one evaluation.
        parameters: weights stored.
    """

    level: int
    direction: str
    factors: int
    kinds: dict[str, int]
    error: float
    contraction: float
    total: float
    units: int
    parameters: int


@dataclass(frozen=True)
class Certificate(Shown):
    """What is proved about a ReLU network. `print` shows it as a table; `to_json` and `from_json` keep it.

    Attributes:
        tol: the tolerance that was asked for.
        bound: what it was asked for: ``"log_posterior"``, ``"tv"`` or ``"mean"``.
        log_posterior: bound on ``|log p - log p'|`` for every state of every asked-for variable.
        total_variation: bound on the total variation, for every asked-for variable.
        mean: bound on the posterior means: of the channel's values at leaves, of state numbers elsewhere.
        worst: the variable with the largest bound on the log posterior.
        rounding: what floating point adds to `log_posterior`, to first order, by precision. The bounds contain that of
            float64.
        floor: B if log evidence is floored at -B below its maximum, else ``None``.
        floor_total_variation: bound on what flooring itself does to the posterior of all variables together, in total
            variation; 1 if nothing can be said, ``None`` without a floor.
        assumptions: what must hold for the bounds to hold.
        levels: the budget, stage by stage.
        units: ReLUs in all, for one evaluation.
        parameters: weights stored in all.
    """

    tol: float
    bound: str
    log_posterior: float
    total_variation: float
    mean: float
    worst: Label
    rounding: dict[str, float]
    floor: float | None
    floor_total_variation: float | None
    assumptions: tuple[str, ...]
    levels: tuple[LevelBudget, ...]
    units: int
    parameters: int

    @property
    def reached(self) -> float:
        """The bound on what the tolerance was asked for."""
        return self._bounds[self.bound][1]

    @property
    def _bounds(self) -> dict[str, tuple[str, float]]:
        return {
            "log_posterior": ("|log p - log p'|", self.log_posterior),
            "tv": ("total variation", self.total_variation),
            "mean": ("posterior mean", self.mean),
        }

    def shown(self) -> Iterable[str | TextTable]:
        head = [
            [what, f"{value:.3g}", "<= tol" if bound == self.bound else ""]
            for bound, (what, value) in self._bounds.items()
        ]
        rows = [
            [
                f"{b.level + 1} -> {b.level}" if b.direction == "up" else f"{b.level} -> {b.level + 1}",
                f"{b.factors:,}",
                ", ".join(f"{kind} {n:,}" for kind, n in b.kinds.items()),
                f"{b.error:.2e}",
                f"{b.contraction:.3f}",
                f"{b.total:.2e}",
                f"{b.units:,}",
                f"{b.parameters:,}",
            ]
            for b in self.levels
        ]
        headers = ["stage", "messages", "constructions", "error", "contraction", "total", "units", "parameters"]
        yield f"proved, tolerance {self.tol:g} on {self.bound}, largest at {self.worst!r}:"
        yield TextTable(head, ())
        yield (
            f"floating point adds {', '.join(f'{v:.1e} in {k}' for k, v in self.rounding.items())}"
            " (float64 is contained above)"
        )
        yield f"{self.units:,} units, {self.parameters:,} parameters"
        align = ("left", "right", "left") + ("right",) * 5
        yield TextTable(rows, headers, colalign=align) if rows else "(no maps: exact)"
        yield "assuming:"
        yield from (fill(text, 100, initial_indent="  - ", subsequent_indent="    ") for text in self.assumptions)

    def to_json(self) -> str:
        """As JSON text; a tuple is a list. Raises `BadSpec` for the name of a variable that JSON cannot hold."""
        return json.dumps(asdict(self) | {"worst": held(self.worst, "the name of a variable")}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """From JSON text. Raises `BadSpec` if it is not that of a certificate."""
        from pydantic import TypeAdapter, ValidationError  # here, for a light `import hgm`

        try:
            found = TypeAdapter(cls).validate_json(text, strict=True)
            return replace(found, worst=label_of(found.worst))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the text"
            raise BadSpec(f"this is not the JSON of a certificate: {where}: {first['msg']}") from None
