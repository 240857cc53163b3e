"""One stage of a network: the factors between two levels, run up (collect) or down (distribute). The interface.

Collect, for every parent v with evidence and priors o_v (`hgm.compiler.unary`):

    h_v = normalize( o_v * prod_{u in slots(v)} q_u ),      q_u = layer.up(h_children)       normalize: max_s h = 1

Distribute, with b the normalised beliefs:

    u_u = o_v * r_v * prod_{w in slots(v), w != u} q_w      the cavity: everything but what u itself said (skip of q)
    b_c = h_c * r_c,   r_c = layer.down(u)                  (skip of h)

Beliefs need no normalisation on the way down: sum_a h_c(a) r_c(a) = sum_s u_u(s) q_u(s) = sum_s b_v(s), which is 1 at
the root; rounding is swept up every `SWEEP` levels.

A new kind of stage is a `StagePlan`, a `Stage`, and one line:

    stage_for.register(MyStagePlan, MyStage)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hgm.compiler.layers import FactorLayer
from hgm.compiler.plan import LevelPlan, StagePlan
from hgm.compiler.ranges import Kernel
from hgm.compiler.unary import Unary
from hgm.errors import BadExtension, NoLoweringRule, extension

__all__ = ["SWEEP", "Belief", "Message", "Moving", "Scale", "Skip", "Stage", "Up", "stage_for", "stage_of"]

#: distribute renormalises the beliefs of every so many levels
SWEEP = 4


@dataclass(slots=True)
class Message:
    """Messages of a level to its parents.

    Attributes:
        h: ``(S, n, B)``, maximum 1 (linear, where rescaled) or 0 (log).
        kernel: which of the two; logs are float64.
        dtype: of linear messages, here and further up.
    """

    h: Tensor
    kernel: Kernel
    dtype: torch.dtype


@dataclass(slots=True)
class Belief:
    """Beliefs of a level on the way down, in its kernel.

    Attributes:
        b: ``(S, n, B)``: what evidence everywhere says.
        r: ``(S, n, B)``: what the part of the tree above says; ``None`` at the roots.
    """

    b: Tensor
    r: Tensor | None


class Scale(NamedTuple):
    """What was divided out of the messages ``(1, n, B)``, for log Z only."""

    taken: Tensor
    kernel: Kernel


class Skip:
    """What collect keeps for distribute. Opaque to the engine; each kind of stage has its own."""


class Stage(nn.Module):
    """The layers between level l (parents) and level l + 1 (children), and how their messages combine.

    An encoder's module: calling it is `collect`. The decoder's is `Up`.

    Args:
        plan: the stage's plan.
        above: the parents' level.
        below: the children's level.

    Attributes:
        layout: how the stage wants messages in memory: states first, or node by node.
        rescale: whether it scales its messages to maximum 1.
    """

    layout: ClassVar[Literal["states", "nodes"]] = "states"

    def __init__(self, plan: StagePlan, above: LevelPlan, below: LevelPlan) -> None:
        super().__init__()
        self.level = plan.level
        self.nodes = above.nodes
        self.rescale = above.rescale

    @abstractmethod
    def collect(self, below: Message, own: Unary, scaled: Tensor | None = None) -> tuple[Message, list[Scale], Skip]:
        """Messages of the parents, the scales taken from them, and what `distribute` needs.

        Args:
            below: the children's messages.
            own: what the parents know by themselves.
            scaled: `Weights.scaled`, for weights that are trained or given; by default the layers use their current
                weights. With these a stage scales its messages also where it need not by its plan.
        """

    @abstractmethod
    def distribute(self, above: Belief, skip: Skip) -> Belief:
        """Beliefs of the children from those of the parents."""

    @abstractmethod
    def layers(self) -> Iterator[FactorLayer]:
        """The stage's layers."""

    def forward(self, below: Message, own: Unary, scaled: Tensor | None = None) -> tuple[Message, list[Scale], Skip]:
        """`collect`."""
        return self.collect(below, own, scaled)

    def rescale_always(self) -> None:
        """Scale the messages also where it could be skipped: that was decided for weights that have changed."""
        self.rescale = True


class Moving(nn.Module):
    """A stage that takes its children in the order of its ops (`arrival`) and puts its messages in slots (`take`).

    Each has its way back (`unarrival`, `untake`), and is ``None`` where nothing moves.
    """

    take: Tensor | None
    untake: Tensor | None
    arrival: Tensor | None
    unarrival: Tensor | None
    slot_parent: Tensor

    def set_moves(self, take: np.ndarray | None, arrival: np.ndarray | None, slot_parent: np.ndarray) -> None:
        """Keep the orders as buffers that no file holds."""
        for name, order in (("take", take), ("arrival", arrival)):
            stays = order is None or np.array_equal(order, np.arange(len(order)))
            there = None if stays else torch.from_numpy(order)
            self.register_buffer(name, there, persistent=False)
            self.register_buffer("un" + name, None if there is None else torch.argsort(there), persistent=False)
        self.register_buffer("slot_parent", torch.from_numpy(slot_parent), persistent=False)


class Up(nn.Module):
    """One decoder stage: an encoder stage the other way, with its skips. No weights of its own."""

    def __init__(self, stage: Any) -> None:
        super().__init__()
        self._stage = (stage,)  # in a tuple: a module of the encoder, not of this one

    def forward(self, *given: Any) -> Any:
        """`distribute` of the encoder's stage: beliefs of the children, from those of the parents and what it kept."""
        return self._stage[0].distribute(*given)

    def extra_repr(self) -> str:
        (stage,) = self._stage
        layers = "; ".join(f"{x._get_name()} transposed, {x.states_out} -> {x.states_in}" for x in stage.layers())
        return f"level {stage.level} -> {stage.level + 1}: {layers}, skips q and h"


@singledispatch
def stage_for(plan: StagePlan, above: LevelPlan, below: LevelPlan) -> Stage:
    """The module that runs a stage of a plan. Raises `NoLoweringRule` if its kind is not registered."""
    raise NoLoweringRule(
        f"no stage is registered for {type(plan).__name__} in the plan; register one with "
        "stage_for.register(kind, stage) (from hgm.compiler.stage import stage_for)"
    )


def stage_of(plan: StagePlan, above: LevelPlan, below: LevelPlan) -> Stage:
    """`stage_for`. Raises `BadExtension` if what is registered fails, or gives no whole stage."""
    name = type(plan).__name__
    with extension(f"the stage registered for {name}"):
        stage = stage_for(plan, above, below)
    if not isinstance(stage, Stage):
        raise BadExtension(f"what is registered for {name} must give a Stage (hgm.compiler.stage); got {stage!r:.100}")
    kind = type(stage).__name__
    for method in ("collect", "distribute", "layers"):
        if getattr(type(stage), method) is getattr(Stage, method):
            raise BadExtension(f"the stage {kind} has no {method}; hgm.compiler.stage says what it must do")
    with extension(f"{kind}.layers()"):
        layers = list(stage.layers())
    for layer in layers:
        if not isinstance(layer, FactorLayer):
            raise BadExtension(f"{kind}.layers() must give FactorLayers (hgm.compiler.layers); got {layer!r:.100}")
    return stage
