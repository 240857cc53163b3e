"""What the header of a network file may hold, as pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hgm.tree.labels import Label

__all__ = ["Header", "NamesEntry", "PotentialEntry", "ReluEntry", "TreeEntry"]

Size = Annotated[int, Field(ge=1)]
Shape = list[Size]
Code = Annotated[list[Any], Field(min_length=2, max_length=2)]  # an ambiguity code, and the labels it stands for


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NamesEntry(_Part):
    """Names of variables: listed, or by prefix and shape of each level, or those of `base` in the order of a tensor."""

    listed: list[Label] | None = None
    prefixes: list[str] | None = None
    shapes: list[Shape] | None = None
    base: NamesEntry | None = None


class PotentialEntry(_Part):
    """A potential: its kind, shape, number of weights, the names of its further tensors, and its own name if any."""

    kind: str
    shape: Shape
    size: Annotated[int, Field(ge=0)]
    parts: list[str]
    name: str | None = None


class TreeEntry(_Part):
    """A tree, whose arrays are in tensors."""

    names: NamesEntry
    roots: Size
    grid: list[Shape] | None
    label_sets: list[list[Label]]
    codes: list[list[Code]] | None = None  # of each label set, if any has some
    potentials: list[PotentialEntry]


class ReluEntry(_Part):
    """A ReLU network: the kinds of its distinct constructions, and its certificate as JSON."""

    kinds: list[str]
    certificate: str


class Header(_Part):
    """What a network is, but for its tensors.

    `reloaded`: its weights are others than those of its tree. `dtype`: what symbols give; older files do not say it.
    """

    format: Literal[2]
    hgm: str
    task: Literal["classify", "denoise", "posterior"]
    schedule: str
    trainable: bool
    reloaded: bool
    dtype: Literal["float32", "float64"] | None = None
    leaf_shape: Shape
    channel: dict[str, Any]
    tree: TreeEntry
    relu: ReluEntry | None
