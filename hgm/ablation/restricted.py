"""The best function of what a restricted network sees: a posterior of the same tree, by the same compiled network.

For every f of a part w of the observation z:   E|f(w) - x|² = E|E[x | w] - x|² + E|f(w) - E[x | w]|²

So what E[x | w] costs beyond D(z) = E[x | z] is what the restriction costs, and a lower bound for every network that
sees no more, of any width, depth and training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hgm.compiler.exact import Exact
from hgm.compiler.numerics import nodes
from hgm.compiler.schedule import planned
from hgm.errors import BadSpec
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Gaussian, inside
from hgm.evidence.potentials import GivenPotentials
from hgm.networks.heads import UNet
from hgm.tree.tree import Tree

__all__ = ["Ablation", "Alone", "Restricted"]


@dataclass(frozen=True)
class Ablation:
    """What a restricted optimum lacks.

    Attributes:
        kind: as `hgm.ablate` takes it.
        text: in words.
        bound: whether its excess is a lower bound for every network that lacks the same; of a blind one on average over
            its levels of noise.
        finite: whether its excess vanishes fast enough with the noise to be a number of nats.
    """

    kind: str
    text: str
    bound: bool = True
    finite: bool = True

    def __str__(self) -> str:
        return self.text


class Restricted(UNet):
    """A U-Net that gives the best answer that is possible with something missing; `hgm.ablate` makes them.

    It has the face of what `hgm.compile` makes: it is called ``f(z, sigma)``, exported and sampled with. The base
    restricts nothing: it is exact for the tree that it is made of, which may be another one than the data are of.

    Args:
        tree: whose messages it passes.
        channel: how leaves are observed, bound to them.
        ablation: what it lacks.
        leaf_shape: of the observation.
    """

    leaf_places: Tensor | None

    def __init__(self, tree: Tree, channel: Channel, ablation: Ablation, leaf_shape: tuple[int, ...]) -> None:
        engine = Exact(planned("levels", tree, tree.leaves), trainable=False, down=True)
        mean = isinstance(inside(channel), Gaussian)
        super().__init__(engine, channel, leaf_shape, tree.leaves, mean=mean)
        self.ablation = ablation
        self.lacks = dict.fromkeys(("log_posterior", "leave_one_out", "log_partition"), f"it lacks {ablation}")
        self.register_buffer("leaf_places", self.places, persistent=False)
        self.places = None  # posteriors are put in the order of the leaves as soon as they are read

    def _posterior(self, e: Tensor, first_row: int) -> Tensor:
        """``(S, n, B)`` restricted posteriors of the leaves, in their order, of evidence in the engine's."""
        return self._of_leaves(self.engine.collect(e, first_row))

    def _of_leaves(self, collected: Any, kind: str = "posterior") -> Tensor:
        """``(S, n, B)`` what the engine reads out, of the leaves in their order."""
        p = self._joined(self.engine.read(collected, self.read, [kind])[kind], kind)
        return p if self.leaf_places is None else nodes(p, self.leaf_places)

    def _answers(
        self, names: Sequence[str], e: Tensor, first_row: int = 0, full: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        p = self._posterior(e, first_row)
        return tuple((self._mean(p) if name == "mean" else self._outside(p)).to(e.dtype) for name in names)

    def _weights(self, tables: GivenPotentials, z: Tensor) -> Tensor:
        raise BadSpec(
            "the best that is possible with something missing is that for given tables: ablate a tree of them"
        )

    def extra_repr(self) -> str:
        return f"without {self.ablation}"


class Alone(Restricted):
    """Each leaf without its own observation: what the decoder has before its last skip, times the leaf's prior."""

    def _posterior(self, e: Tensor, first_row: int) -> Tensor:
        return self._of_leaves(self.engine.collect(e, first_row), "leave_one_out")
