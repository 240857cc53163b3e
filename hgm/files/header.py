"""What the header of a network file may hold, as pydantic models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ChannelEntry", "Header", "NamesEntry", "PotentialEntry", "ReluEntry", "TreeEntry"]

Size = Annotated[int, Field(ge=1)]
Shape = list[Size]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ChannelEntry(_Part):
    """A channel, and the one that it is around."""

    kind: Literal["Soft", "Clamp", "Erasure", "Flip", "Gaussian", "Missing"]
    of: ChannelEntry | None = None


class NamesEntry(_Part):
    """Names of variables: listed, or by prefix and shape of each level, or those of `base` in the order of a tensor."""

    listed: list[str] | None = None
    prefixes: list[str] | None = None
    shapes: list[Shape] | None = None
    base: NamesEntry | None = None


class PotentialEntry(_Part):
    """A potential, whose entries are in tensors."""

    kind: Literal["Edge", "Table", "Rules"]
    shape: Shape


class TreeEntry(_Part):
    """A tree, whose arrays are in tensors."""

    names: NamesEntry
    roots: Size
    grid: list[Shape] | None
    label_sets: list[list[str]]
    potentials: list[PotentialEntry]


class ReluEntry(_Part):
    """A ReLU network: the kinds of its distinct constructions, and its certificate as JSON."""

    kinds: list[str]
    certificate: str


class Header(_Part):
    """What a network is, but for its tensors."""

    format: Literal[1]
    hgm: str
    network: Literal["ConvNet", "UNet", "ReluConvNet", "ReluUNet"]
    mean: bool
    trainable: bool
    reloaded: bool
    leaf_shape: Shape
    channel: ChannelEntry
    tree: TreeEntry
    relu: ReluEntry | None = None
