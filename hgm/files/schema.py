"""What a model file may hold, as pydantic models; checking data against them with one clear message."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import ErrorDetails

from hgm.errors import did_you_mean
from hgm.files.text import Document, Key, Way, shown
from hgm.files.values import Arity, LogWeights, Name, Shape, States, Variable, Variables, Weights, Words, problem

__all__ = ["Explicit", "FactorEntry", "Inline", "Layered", "LevelEntry", "PotentialEntry", "RootEntry", "check"]

M = TypeVar("M", bound=BaseModel)


# ---------------------------------------------------------------------- parts of a file


class _Part(BaseModel):
    """A mapping with known keys only. What may be left out is None then; a file cannot say null."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise problem(f"expected a mapping with the keys {', '.join(cls.model_fields)}; got {shown(data)}")
        for key, value in data.items():
            if key not in cls.model_fields:
                close = did_you_mean(key, cls.model_fields) or ";"
                raise problem(f"unknown key{close} known here are {', '.join(cls.model_fields)}", key)
            if value is None:
                raise problem("expected a value; got null (leave the key out for its default)", key)
        return data


class RulesEntry(_Part):
    """The entries of a sparse joint table."""

    shape: Shape = Field(description="cardinality of each axis, parent first")
    states: Words = Field(description="one list of states, one for each axis, for every rule")
    weights: Weights | None = Field(None, description="one for each rule; default all 1")
    log_weights: LogWeights | None = Field(None, description="natural logs of the weights, instead of the weights")

    @model_validator(mode="after")
    def _one_kind_of_weights(self) -> Self:
        if self.weights is not None and self.log_weights is not None:
            raise problem("expected weights or log_weights; got both")
        return self


class PotentialEntry(_Part):
    """One potential: exactly one of table, log_table and rules."""

    table: Weights | None = Field(None, description="nested lists of non-negative numbers, one level for each variable")
    log_table: LogWeights | None = Field(None, description="the same as natural logs; a zero is -inf")
    rules: RulesEntry | None = Field(None, description="a sparse joint table")
    kind: Literal["edge", "table"] | None = Field(
        None, description="for two axes only: 'table' marks a joint table where an edge's matrix is the default"
    )
    name: Name | None = Field(
        None, min_length=1, description="what it is called in the tree; in the section 'potentials' by default its key"
    )

    @model_validator(mode="after")
    def _one_kind_of_table(self) -> Self:
        kinds = [key for key in ("table", "log_table", "rules", "potential") if key in type(self).model_fields]
        given = [key for key in kinds if getattr(self, key) is not None]
        if len(given) != 1:
            raise problem(f"expected exactly one of the keys {', '.join(kinds)}; got {' and '.join(given) or 'none'}")
        if self.kind is not None and given[0] not in ("table", "log_table"):
            raise problem(f"'kind' is about a table or log_table; here is {given[0]}", "kind")
        if self.name is not None and given[0] == "potential":
            raise problem("'name' is given where the table is: in the section 'potentials'", "name")
        return self


class FactorEntry(PotentialEntry):
    """One factor: its variables, in the order of the table's axes, and its potential or that one's name."""

    scope: list[Variable] = Field(min_length=1)
    potential: Name | None = Field(
        None, description="a name of the section 'potentials'; factors that share it are tied"
    )


def _form(value: object) -> str:
    return "<list>" if isinstance(value, list) else "<name>" if isinstance(value, str) else "<inline>"


Inline = Annotated[
    Annotated[Name, Tag("<name>")] | Annotated[PotentialEntry, Tag("<inline>")],
    Discriminator(lambda value: "<inline>" if isinstance(value, list) else _form(value)),
]
Prior = Annotated[
    Annotated[Name, Tag("<name>")] | Annotated[PotentialEntry, Tag("<inline>")] | Annotated[Weights, Tag("<list>")],
    Discriminator(_form),
]
Joining = Annotated[
    Annotated[Name, Tag("<name>")]
    | Annotated[PotentialEntry, Tag("<inline>")]
    | Annotated[list[Inline], Tag("<list>"), Field(min_length=1)],
    Discriminator(_form),
]


class RootEntry(_Part):
    """The root of a layered model."""

    states: States = Field(description="number of states, or their labels")
    name: Name = Field("label", description="name of the variable")
    prior: Prior | None = Field(
        None, description="a list of numbers, the name of a potential, or a potential; default uniform"
    )


class LevelEntry(_Part):
    """One level of a layered model, below the root."""

    arity: Arity = Field(description="children for each node of the level above: m, or [rows, columns] on a 2-D grid")
    states: States = Field(description="number of states, or their labels")
    name: Name | None = Field(
        None, description="prefix of the variables' names; default h1_, h2_, ... and x for the leaves"
    )
    potential: Joining | None = Field(
        None, description="a potential or its name, or a list of them; default random conditional tables"
    )
    tie: Literal["position", "level", "none"] | None = Field(
        None, description="what shares a random table; default position"
    )

    @model_validator(mode="after")
    def _tie_of_random_tables(self) -> Self:
        if self.tie is not None and self.potential is not None:
            raise problem("'tie' is for random tables, but a potential is given: leave one of the two out", "tie")
        return self


class _Model(_Part):
    hgm: Literal[1] = Field(1, description="version of this format")


class Layered(_Model):
    """A layered model: every node of a level has the same number of children."""

    root: RootEntry
    levels: list[LevelEntry] = Field(description="from the top down")
    grid: Shape | None = Field(None, description="shape of the leaf level, as a check")
    seed: int = Field(0, ge=0, description="for random tables")
    potentials: dict[str, PotentialEntry] = Field(default={}, description="potentials by name; what shares one is tied")


class Explicit(_Model):
    """Any forest: its variables and factors."""

    variables: Variables = Field(description="number of states, or their labels, by name")
    factors: list[FactorEntry] = []
    roots: list[Variable] = Field([], description="the wanted root of each tree; default its first variable")
    potentials: dict[str, PotentialEntry] = Field(default={}, description="potentials by name; what shares one is tied")


# ---------------------------------------------------------------------- check


def check(model: type[M], document: Document) -> M:
    """The file's data as a model. Raises `BadSpec` for the first thing that does not fit."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise document.error(_way(errors[0], document.data), _text(errors[0]) + more) from None


_EXPECTED = {
    "int_type": "a whole number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "too_short": "at least one entry",
    "greater_than_equal": "a number of at least 0",
    "string_type": "a string",
}


def _text(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "hgm":
        return str(context["message"])
    if kind == "missing":
        return f"the key {error['loc'][-1]!r} is missing; got {shown(error['input'])}"
    expected = context.get("expected") if kind == "literal_error" else _EXPECTED.get(kind)
    return f"{f'expected {expected}' if expected else error['msg']}; got {shown(error['input'])}"


def _way(error: ErrorDetails, data: Any) -> Way:
    """The way to an error through the file: pydantic's, without the tags of unions and the key that is missing."""
    way: list[Key] = []
    for step in (*error["loc"], *error.get("ctx", {}).get("at", ())):
        if (isinstance(data, dict) and step in data) or (isinstance(data, list) and isinstance(step, int)):
            way.append(step)
            data = data[step]
    return tuple(way)
