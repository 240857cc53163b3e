"""Engines: what runs a plan. `hgm.compiler.exact` passes messages through stages of exact layers.

    evidence ──► [stage L-1 collect] ──► ... ──► [stage 0 collect] ──► root posterior
                      │ skips: h, q                  │                    │
    posteriors  ◄── [stage L-1 distribute] ◄── ... ◄── [stage 0 distribute] ◄──

Activations are ``(S, n, B)``: states first, batch last; the columns n of the evidence are in the engine's own order
(`Plan.arrangement`). Heads (`hgm.networks.heads`) read out what an engine computes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from hgm.compiler.deferred import Deferred
from hgm.compiler.plan import Plan
from hgm.errors import HgmError
from hgm.evidence.potentials import GivenPotentials
from hgm.tree.tree import Tree

__all__ = ["Engine", "as_made", "hooks_of"]


class Engine(nn.Module):
    """Base of the engines.

    Args:
        plan: what to run.
        trainable: whether its weights are parameters that learn.

    Attributes:
        plan, trainable: as given.
        deferred: what calls have left to be checked later.
        certificate: a proof of how far the engine is from exact, or ``None`` for one that is exact.
        encoder: the stages of collect, leaves first.
        decoder: those of distribute, root first; empty if it does not.
        lacks: which outputs of a network it cannot give, and why.
    """

    certificate: Any = None
    lacks: ClassVar[dict[str, str]] = {}
    encoder: nn.ModuleList
    decoder: nn.ModuleList

    def __init__(self, plan: Plan, trainable: bool) -> None:
        super().__init__()
        self.plan = plan
        self.trainable = trainable
        self.deferred = Deferred()

    def given(self, log_potentials: GivenPotentials) -> Tensor:
        """``(*batch, P)`` all weights, given potentials in the places of some: what `collect` takes.

        Raises:
            BadPotential: for one that is zero everywhere, or out of the range that the kernels were chosen for. (In a
                transform or a traced program it becomes NaN.)
            HgmError: if the engine is made for one model only.
        """
        raise HgmError("a ReLU network is made for its potentials; compile with activation='exact' to give others")

    @abstractmethod
    def collect(self, e: Tensor, first_row: int = 0, full: Tensor | None = None) -> Any:
        """Messages from the leaves to the roots.

        Args:
            e: log evidence ``(S, n_in, B)`` in the engine's order, float32 or float64.
            first_row: number of the first batch row, for errors.
            full: weights ``(P,)`` as `given` makes them, instead of the engine's own.

        Raises:
            BadEvidence: for NaN or +inf.
            ImpossibleEvidence: with the batch rows whose evidence has probability zero.
        """

    @abstractmethod
    def roots(self, collected: Any) -> Tensor:
        """Probabilities ``(S, n, B)`` of the roots, from what `collect` gave."""

    @abstractmethod
    def read(self, collected: Any, levels: Sequence[int], kinds: Iterable[str]) -> dict[str, list[Tensor]]:
        """``"posterior"``, ``"log_posterior"`` or ``"leave_one_out"`` of the variables of some levels, ``(S, n, B)``.

        From what `collect` gave, which may be overwritten: `partition` comes before.
        """

    def distribute(self, collected: Any, levels: Sequence[int]) -> list[Tensor]:
        """Probabilities ``(S, n, B)`` of the variables of some levels, from what `collect` gave."""
        return self.read(collected, levels, ["posterior"])["posterior"]

    @abstractmethod
    def partition(self, collected: Any) -> Tensor:
        """``(B,)`` float64 log of the sum over all states, from what `collect` gave."""

    def log_partition(self, e: Tensor, first_row: int = 0) -> Tensor:
        """`partition` of log evidence. Arguments and errors as for `collect`."""
        return self.partition(self.collect(e, first_row))

    @abstractmethod
    def tree(self) -> Tree:
        """The tree with the engine's current weights."""

    def check_weights(self) -> None:
        """Raise `BadPotential` if the current weights are no numbers, or out of their range."""


def as_made(module: nn.Module) -> bool:
    """Whether a module is hgm's or torch's, with the methods of its class: what others do can only be called."""
    kind = type(module)
    return kind.__module__.startswith(("hgm.", "torch.")) and not any(
        name == "_compiled_call_impl" or callable(getattr(kind, name, None)) for name in vars(module)
    )


def hooks_of(modules: Iterable[nn.Module]) -> list[dict[int, Any]]:
    """What holds the forward hooks of each module, and those of all: while any holds one, somebody looks on."""
    own = [held for module in modules for held in (module._forward_hooks, module._forward_pre_hooks)]
    return [*own, hooks._global_forward_hooks, hooks._global_forward_pre_hooks]
