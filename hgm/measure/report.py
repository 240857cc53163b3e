"""What a comparison found: as rows, as a table, and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, NamedTuple

from hgm.files.whole import checked_ending, write_whole
from hgm.measure.interval import Estimate
from hgm.tree.plain import held
from hgm.tree.showing import Shown, TextTable

__all__ = ["Gap", "Row"]

GROWS = 0.01  # of the nats in the last octave


class Row(NamedTuple):
    """The optimum and the excess at a level of noise, per leaf."""

    noise: float
    optimum: float
    excess: float
    low: float
    high: float


@dataclass(frozen=True)
class Gap(Shown):
    """How far a network is from the optimum, as `hgm.compare` found; `print` shows a table.

    Squared errors are in units of the values squared, divergences in nats. All are means over samples, per leaf.
    Intervals are of 95%, over samples: Student's with Hall's correction for skewness (`hgm.measure.interval`).

    Attributes:
        network: what it is called.
        task: of the network.
        channel: its kind.
        n: number of samples.
        leaves: by how many a sum over leaves was divided; 1 for a classifier.
        dtype: of the network's answers.
        allowance: an excess whose interval ends below it is zero to rounding. For float32 1e-10, for float64 1e-22, for
            float16 1e-6, for bfloat16 1e-4, times the range of the values squared; of divergences in nats.
        levels: a row for each level of noise.
        per: ``"leaf"`` or ``"level"`` if the excess was split.
        split: and its parts, each with the name of its leaf or the number of its level.
        nats: what the network's errors cost as code length, in nats per sample: the integral of the excess over the
            grid of noise, and its interval; ``None`` with given levels, and where it is infinite.
        nats_allowance: below that it is zero to rounding.
        last_octave: the share of it in the last octave of snr; where it is above 1% the cost grows with the grid,
            without limit if the error does not vanish with the noise.
        grid: where that ends, in words.
        shared_values: whether states share a value: then nats are of the values and not of the states.
    """

    network: str
    task: str
    channel: str
    n: int
    leaves: int
    dtype: str
    allowance: float
    levels: tuple[Row, ...]
    per: str | None
    split: tuple[tuple[Any, Row], ...]
    nats: Estimate | None
    nats_allowance: float | None
    last_octave: float | None
    grid: str | None
    shared_values: bool

    def rows(self) -> list[dict[str, Any]]:
        """One dict for each level of noise: noise, optimum, excess, low, high (the excess's interval) and n."""
        return [row._asdict() | {"n": self.n} for row in self.levels]

    def parts(self) -> list[dict[str, Any]]:
        """One dict for each level of noise and each leaf or level of the tree: its name, and what `rows` has.

        Of a leaf everything is that leaf's own. Of a level the excess, summed over levels, is that of `rows`; the
        optimum is estimated from x - D, the noise of x included.
        """
        return [{str(self.per): name} | row._asdict() | {"n": self.n} for name, row in self.split]

    @property
    def zero(self) -> bool:
        """Whether every excess is zero to rounding."""
        return all(row.high <= self.allowance for row in self.levels)

    def to_json(self) -> str:
        """As JSON text: the attributes, `rows` and `parts`; ``null`` for what is not finite.

        Raises:
            BadSpec: for the name of a leaf that JSON cannot hold.
        """
        plain = asdict(self) | {"rows": self.rows(), "parts": self.parts(), "zero": self.zero}
        for name in ("levels", "split"):
            del plain[name]
        plain["nats"] = None if self.nats is None else self.nats._asdict()
        for part in plain["parts"] if self.per == "leaf" else []:
            part["leaf"] = held(part["leaf"], "the name of a leaf")
        return json.dumps(_finite(plain), indent=1, allow_nan=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_json` to a .json file. Raises `BadSpec` for another ending, or a file that cannot be written."""
        write_whole(checked_ending(path, "a comparison", (".json",)), self.to_json().encode())

    # ------------------------------------------------------------------ in print

    def shown(self) -> Iterable[str | TextTable]:
        yield self._head()
        yield from ("", self._table())
        if any(row.high <= self.allowance for row in self.levels):
            yield from ("", f"zero to rounding: below {self.allowance:.2g}, which {self.dtype} may leave")
        if self.per is not None:
            yield from ("", self._table_of_parts())
        if self._in_nats():
            yield from ("", self._in_nats())

    def _head(self) -> str:
        unit = "squared errors" if self.task == "denoise" else "cross-entropies in nats"
        per = "of the root" if self.task == "classify" else f"per leaf, of {self.leaves:,}"
        return (
            f"{self.network} against the optimum, task {self.task}, channel {self.channel}: {unit} {per}, "
            f"{self.n:,} samples"
        )

    def _table(self) -> TextTable:
        rows = [[f"{row.noise:.4g}", f"{row.optimum:.5g}", *self._interval(row)] for row in self.levels]
        return TextTable(rows, ["noise", "optimum", "excess", "95% interval"], colalign=RIGHT)

    def _interval(self, row: Row) -> tuple[str, str]:
        if row.high <= self.allowance:
            return f"{row.excess:.2g}", "zero to rounding"
        return f"{row.excess:.4g}", f"{row.low:.4g} to {row.high:.4g}"

    def _table_of_parts(self) -> TextTable:
        """Of levels all; of leaves those with the largest excess at each level of noise."""
        by: dict[float, list[tuple[Any, Row]]] = {}
        for name, row in self.split:
            by.setdefault(row.noise, []).append((name, row))
        if self.per == "level":
            headers = ["noise", *(f"level {name}" for name, _ in next(iter(by.values())))]
            rows = [[f"{noise:.4g}", *(f"{row.excess:.4g}" for _, row in part)] for noise, part in by.items()]
            return TextTable(rows, headers, colalign=("right",) * len(headers))
        headers, rows = ["noise", "leaf of the largest excess", "excess", "95% interval"], []
        for noise, part in by.items():
            name, row = max(part, key=lambda found: found[1].excess)
            rows.append([f"{noise:.4g}", str(name), *self._interval(row)])
        return TextTable(rows, headers, colalign=("right", "left", "right", "right"))

    def _in_nats(self) -> str:
        if self.nats is None or self.nats_allowance is None:
            return "" if self.grid is None else "no finite extra code length: the error does not vanish with the noise"
        nats, low, high = self.nats
        lines = [f"extra code length {nats:.4g} nats per sample (95% interval {low:.4g} to {high:.4g})"]
        if high <= self.nats_allowance:
            lines = [f"extra code length {nats:.2g} nats per sample: zero to rounding"]
        lines[0] += f", over {self.grid}"
        if self.last_octave is not None and high > self.nats_allowance:
            lines.append(f"the last octave of snr has {self.last_octave:.1%} of it")
            if self.last_octave > GROWS:
                lines[-1] += ": the cost grows with the grid, without limit if the error does not vanish with the noise"
        if self.shared_values:
            lines.append("states share values: these nats are of the values, not of the states")
        return "\n".join(lines)


RIGHT = ("right",) * 4


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data
