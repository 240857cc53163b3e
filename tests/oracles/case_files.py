"""Reader of the oracle cases in tests/data/cases (schema in the README there): their numbers, and no model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from places import CASES

FILES = {path.stem: path for path in sorted(CASES.glob("*.json"))}


@dataclass(frozen=True)
class CaseFile:
    """One model with its queries and batch."""

    raw: dict[str, Any]

    @classmethod
    def load(cls, name: str) -> CaseFile:
        raw = json.loads(FILES[name].read_text())
        assert raw["schema"] == "oracle-case/1"
        return cls(raw)

    @cached_property
    def cards(self) -> dict[str, int]:
        return {v["name"]: v["card"] for v in self.raw["model"]["variables"]}

    @cached_property
    def factors(self) -> list[tuple[list[str], np.ndarray]]:
        """Scopes and tables; factors that refer to one table share the array."""
        model = self.raw["model"]
        shared = {key: np.reshape(t["values"], t["shape"]) for key, t in model.get("tables", {}).items()}

        def table(factor: dict[str, Any]) -> np.ndarray:
            if "table_ref" in factor:
                return shared[factor["table_ref"]]
            return np.reshape(factor["table"], [self.cards[name] for name in factor["scope"]])

        return [(factor["scope"], table(factor)) for factor in model["factors"]]

    @property
    def variables(self) -> dict[str, Any]:
        """Labels of the states, or how many there are, by name."""
        return {v["name"]: v.get("states", v["card"]) for v in self.raw["model"]["variables"]}

    def cut(self, query: dict[str, Any]) -> dict[str, int]:
        """What a query sees of the variables without which the model is a tree."""
        return {name: query["evidence"][name] for name in self.raw.get("cutset") or ()}

    def evidence(self, query: dict[str, Any]) -> dict[str, Any]:
        """A query's evidence; where a variable has hard and soft evidence, both count."""
        given: dict[str, Any] = dict(query["evidence"])
        for name, likelihood in query.get("soft_evidence", {}).items():
            vector = np.array(likelihood, dtype=float)
            given[name] = vector * (np.arange(len(vector)) == given[name]) if name in given else vector
        return given

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        batch = self.raw["batch"]
        return len(batch["evidence"] if "evidence" in batch else batch["allowed_states_bitmask"])

    def batch_evidence(self, rows: list[int]) -> dict[str, np.ndarray]:
        """The evidence of some rows of the batch."""
        batch, given = self.raw["batch"], {}
        for i, name in enumerate(batch["variables"]):
            if "evidence" in batch:
                states = [batch["evidence"][row][i] for row in rows]
                given[name] = np.array([-1 if state is None else state for state in states])
            else:
                masks = np.array([batch["allowed_states_bitmask"][row][i] for row in rows])
                given[name] = (masks[:, None] >> np.arange(self.cards[name])) & 1 > 0
        return given

    def close(self, got: Any, expected: Any, kind: str) -> bool:
        """Whether numbers agree within the file's tolerance: kind is ``log_evidence``, ``marginal`` or ``total``."""
        tolerance = self.raw["tolerance"]
        atol, rtol = tolerance.get(f"{kind}_abs", tolerance["log_evidence_abs"]), tolerance.get(f"{kind}_rel", 0.0)
        return bool(np.allclose(np.asarray(got, dtype=float), np.asarray(expected, dtype=float), rtol=rtol, atol=atol))


def queries() -> Iterator[tuple[str, int, str]]:
    """Every query: its file, number and name."""
    for name, path in FILES.items():
        for i, query in enumerate(json.loads(path.read_text())["queries"]):
            yield name, i, query["name"]
