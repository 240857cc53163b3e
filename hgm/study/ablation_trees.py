"""The trees of the study of ablations. Each is made by a call of `hgm.zoo`, as text, by which a cell names it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hgm import zoo
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Erasure, Gaussian
from hgm.tree.tree import Tree

__all__ = ["QUICK", "REACH", "REACH_QUICK", "SUBJECTS", "Subject", "built", "channel_of", "symmetric"]


@dataclass(frozen=True)
class Subject:
    """A tree of the study. All of its levels have the same arity.

    Attributes:
        name: for pages and figures.
        made: the call of `hgm.zoo` that makes it, as text.
        radii: of windows.
        n: samples of every measurement.
        others: wrong trees to put in its place, by what is wrong with them.
        erased: whether it is also observed through `Erasure`.
    """

    name: str
    made: str
    radii: Sequence[int] = ()
    n: int = 200
    others: Mapping[str, str] = field(default_factory=dict)
    erased: bool = False

    @property
    def depth(self) -> int:
        """Levels below the root."""
        return built(self.made).depth

    @property
    def plane(self) -> bool:
        """Whether its leaves are an image."""
        return len(built(self.made).leaf_shape) == 2

    @property
    def where(self) -> str:
        """What a leaf is."""
        return "pixel" if self.plane else "position"

    def side(self, level: int) -> int:
        """Leaves along an axis below a node of a level."""
        return round(built(self.made).leaf_shape[0] ** (1 - level / self.depth))

    def extent(self, side: int) -> str:
        """A block or a window of so many leaves along each axis, in words."""
        return f"{side}×{side}" if self.plane else str(side)

    def block(self, level: int) -> str:
        """The leaves below a node of a level, in words."""
        return self.extent(self.side(level))


@lru_cache(maxsize=64)
def built(made: str) -> Tree:
    """The tree that a call of `hgm.zoo` makes, such as ``"broadcast(4, 4, (2, 2), eps=0.15)"``."""
    call = ast.parse(made, mode="eval").body
    assert isinstance(call, ast.Call)
    options = {str(given.arg): ast.literal_eval(given.value) for given in call.keywords}
    tree: Tree = getattr(zoo, ast.unparse(call.func))(*map(ast.literal_eval, call.args), **options)
    return tree


def channel_of(name: str, tree: Tree) -> Channel:
    """``"gaussian"``: values one apart, and 0 in their middle; ``"erasure"``."""
    states = int(tree.cardinality[tree.leaves].max())
    return Erasure() if name == "erasure" else Gaussian([s - (states - 1) / 2 for s in range(states)])


def symmetric(lam: float, depth: int, arity: object, states: int = 4) -> str:
    """The same symmetric channel on all edges, of second eigenvalue lambda = 1 - eps S / (S - 1)."""
    eps = round((1 - lam) * (states - 1) / states, 12)
    return f"broadcast({depth}, {states}, {arity}, eps={eps})"


def _image(lam: float, depth: int = 4, **more: Any) -> Subject:
    """A quad-tree. In its place: too weak and too strong edges, and one that lacks every other level."""
    others = {f"λ = {x:.1f}": symmetric(x, depth, (2, 2)) for x in (lam - 0.1, lam + 0.1)}
    if depth % 2 == 0:
        others["every other level missing"] = symmetric(lam**2, depth // 2, (4, 4))
    return Subject(f"2-D, λ = {lam}", symmetric(lam, depth, (2, 2)), others=others, **more)


def _line(lam: float, depth: int = 7, **more: Any) -> Subject:
    """A binary tree. In its place: too weak and too strong edges."""
    others = {f"λ = {x:.2f}": symmetric(x, depth, 2) for x in (lam - 0.05, lam + 0.05)}
    return Subject(f"1-D, λ = {lam}", symmetric(lam, depth, 2), others=others, **more)


SUBJECTS = (
    _image(0.4, radii=(1, 2, 3)),
    _image(0.6, radii=(1, 2, 3, 5, 7)),
    _image(0.8, radii=(1, 2, 3, 5, 7), erased=True),
    Subject("random GHM, K = 2", "random_ghm(4, 4, (2, 2), bound=2, seed=0)", radii=(1, 2, 3)),
    Subject("random GHM, K = 20", "random_ghm(4, 4, (2, 2), bound=20, seed=0)", radii=(1, 2, 3, 5, 7)),
    _line(0.5, radii=(1, 2, 3, 7)),
    _line(0.9, radii=(1, 2, 3, 7, 15, 31)),
    Subject("RHM, 1-D, m = 6", "rhm(8, 6, 2, 6, seed=0)", radii=(1, 2, 3, 7), n=100),
    Subject("RHM, 1-D, m = 4", "rhm(8, 4, 2, 6, seed=0)", radii=(1, 2, 3, 7, 15), n=100, erased=True),
    Subject("RHM, 2-D, m = 4", "rhm(4, 4, (2, 2), 3, seed=0)", radii=(1, 2, 3), n=150, erased=True),
)

#: trees on both sides of the threshold, for the receptive field that a plain CNN needs
REACH = tuple(_image(lam, n=150, radii=range(16)) for lam in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9))

QUICK = (
    _image(0.4, 3, radii=(1, 2), n=20),
    _image(0.8, 3, radii=(1, 2), n=20),
    Subject("RHM, 1-D, m = 2", "rhm(4, 2, 2, 3, seed=0)", radii=(1, 2), n=20, erased=True),
)
REACH_QUICK = tuple(_image(lam, 3, n=20, radii=(0, 1, 3, 7)) for lam in (0.4, 0.8))
