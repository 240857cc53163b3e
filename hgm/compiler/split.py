"""The exact engine of a model with zeros: rows whose evidence allows it run linear in float64, the others in logs.

Both compute the same, so a row's answer does not depend on which it took; linear is several times faster. Which rows
may is known before they run: R <= `LIMIT` (`hgm.compiler.reach`). Where nothing can be looked at (in a traced program
or a transform), and where hooks watch the stages, all run as the plan says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Self

import torch
from torch import Tensor

from hgm.compiler.engine import hooks_of
from hgm.compiler.exact import Exact
from hgm.compiler.numerics import joined
from hgm.compiler.ops import ConvOp, EdgeOp, JointOp, RulesOp
from hgm.compiler.plan import LevelStage, Plan
from hgm.compiler.ranges import LOG
from hgm.compiler.reach import LIMIT, evidence_range, growth
from hgm.compiler.readout import Collected
from hgm.compiler.stage import Belief
from hgm.compiler.stages.general import LevelSkip
from hgm.errors import ImpossibleEvidence
from hgm.evidence.ambient import concrete
from hgm.evidence.channel import Channel

__all__ = ["Split", "exact"]

#: ops whose layers have both kernels, and need no division
BOTH = (ConvOp, EdgeOp, JointOp, RulesOp)

#: what a multiply-add costs in linear float64, against one in linear float32
WIDE = 2


def exact(plan: Plan, trainable: bool, down: bool, channel: Channel, leaves: int) -> Exact:
    """The exact engine for a plan: `Split` where that is faster.

    Args:
        plan: what to run.
        trainable: make the weights a parameter.
        down: whether it is to distribute too.
        channel: how inputs are observed.
        leaves: how many; evidence at the others may be anything.
    """
    ops = [op for stage in plan.stages for op in stage.ops]
    by_logs = sum(op.flops for op in ops if op.kernel == "log")
    able = all(type(stage) is LevelStage for stage in plan.stages) and all(type(op) in BOTH for op in ops)
    if able and (LOG - 1) * by_logs > (WIDE - 1) * plan.flops and (grows := growth(plan.tree)) <= LIMIT:
        return Split(plan, trainable, down, grows, channel.reach if leaves == len(plan.inputs) else inf)
    return Exact(plan, trainable, down)


@dataclass(slots=True)
class Parts:
    """What `Split.collect` gives: what each engine collected, and where each row is when they are laid end to end."""

    parts: list[tuple[Exact, Collected]]
    back: Tensor | None
    dtype: torch.dtype

    def together(self, found: list[Tensor]) -> Tensor:
        """One tensor ``(..., B)`` of those of all parts, in the order of the rows."""
        x = joined(found, -1)
        return x if self.back is None else x.index_select(-1, self.back)


class Split(Exact):
    """Two plans of one tree with the same weights; each row goes the way that its evidence allows.

    Args:
        plan: as for `Exact`.
        trainable: as for `Exact`.
        down: as for `Exact`.
        grows: `hgm.compiler.reach.growth` of the tree.
        reach: the largest range of finite log evidence at an input that a traced program will meet (`Channel.reach`).
    """

    _linear: tuple[Exact, ...] = ()  # in a tuple, so that its weights are not saved twice
    _hard: float = inf
    _soft: float = inf
    _dead: int = 0

    def __init__(self, plan: Plan, trainable: bool, down: bool, grows: float, reach: float) -> None:
        super().__init__(plan, trainable, down)
        self.grows, self.most = grows, len(plan.inputs) * reach
        levels = tuple(replace(level, kernel="linear", rescale=True) for level in plan.levels)
        stages = tuple(
            replace(stage, ops=tuple(replace(op, kernel="linear") for op in stage.ops), zeros=True)  # type: ignore[call-arg]
            for stage in plan.stages
        )
        linear = Exact(replace(plan, levels=levels, stages=stages), trainable, down, self.weights)
        linear.allowed = self.allowed  # each row is looked at again
        linear.deferred = self.deferred
        self._linear = (linear,)
        self._fix()

    def collect(self, e: Tensor, first_row: int = 0, full: Tensor | None = None) -> Parts:  # type: ignore[override]
        (linear,), fits = self._linear, self.fitting(e, full)
        some = fits if isinstance(fits, bool) else bool(fits.any())
        every = fits if isinstance(fits, bool) else bool(fits.all())
        if some == every:
            engine = linear if every else self
            x = e.double() if every else e
            return Parts([(engine, Exact.collect(engine, x, first_row, full))], None, e.dtype)
        assert isinstance(fits, Tensor)
        parts, impossible = [], list[int]()
        ways = [(linear, fits.nonzero().flatten()), (self, (~fits).nonzero().flatten())]
        for engine, rows in ways:
            x = e.index_select(2, rows)
            try:
                parts.append((engine, Exact.collect(engine, x.double() if engine is linear else x, 0, full)))
            except ImpossibleEvidence as error:
                impossible += (rows[list(error.rows)] + first_row).tolist()
        if impossible:
            raise ImpossibleEvidence(sorted(impossible))
        return Parts(parts, torch.argsort(torch.cat([rows for _, rows in ways])), e.dtype)

    def roots(self, collected: Parts) -> Tensor:  # type: ignore[override]
        return collected.together([Exact.roots(engine, part) for engine, part in collected.parts]).to(collected.dtype)

    def read(  # type: ignore[override]
        self, collected: Parts, levels: Sequence[int], kinds: Iterable[str]
    ) -> dict[str, list[Tensor]]:
        kinds = list(kinds)
        found = [Exact.read(engine, part, levels, kinds) for engine, part in collected.parts]
        return {
            kind: [
                collected.together([part[kind][i] for part in found]).to(collected.dtype) for i in range(len(levels))
            ]
            for kind in kinds
        }

    def partition(self, collected: Parts) -> Tensor:  # type: ignore[override]
        return collected.together([Exact.partition(engine, part) for engine, part in collected.parts])

    # ------------------------------------------------------------------ which way

    def fitting(self, e: Tensor, full: Tensor | None) -> Tensor | bool:
        """``(B,)`` which rows may run linear; all or none where they cannot be looked at."""
        own, fixed = self.weights.log_potential, full is None and not self.trainable
        if any(hooks_of(self.modules())):
            return False
        if not (concrete(e) and concrete(own if full is None else full)):
            return fixed and bool(self.most + self._hard <= LIMIT)
        if full is not None and not self.weights.keeps_zeros(full):
            return False
        if fixed and own is self._fixed_of:
            if self._fixed_at != self.weights.version():
                self.changed()
            mask, hard, soft = self._mask, self._hard, self._soft
        else:
            mask, hard, soft = self.possible, *(self.grows + self.weights.spread(full),) * 2
        if soft > LIMIT:
            return False
        ranges, alive = evidence_range(e if mask is None else e + mask.to(e.dtype), self._dead)
        reach = ranges + torch.where(alive, soft, hard)
        learns = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (e, own, full))
        fits = reach <= (LIMIT / 2 if learns else LIMIT)  # second derivatives are made of squares
        return fits if bool(reach.isfinite().all()) else False  # NaN and +inf are told for the batch as it is

    def _fix(self) -> None:
        super()._fix()
        for linear in self._linear:
            linear._fix()
            if not self.trainable and concrete(self.weights.log_potential):
                self._hard = self.grows + self.weights.spread()
                self._soft = min(self._hard, self._flat(linear)) if self._hard <= LIMIT else self._hard
                self._dead = 0 if self._mask is None else int(self._mask.isneginf().sum())

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        for linear in self._linear:
            linear._apply(fn, recurse)
        return super()._apply(fn, recurse)

    @torch.no_grad()
    def _flat(self, linear: Exact) -> float:
        """R of evidence that says nothing: for each stage, its largest products of smallest numbers."""
        own = self.weights.log_potential
        try:
            collected = Exact.collect(linear, own.new_zeros(self.states_in, len(self.plan.inputs), 1).double())
        except ImpossibleEvidence:
            return self._hard
        top = collected.messages[0].h
        belief, most = Belief(top / top.sum(0, keepdim=True), None), _reach(top)
        ups = iter(linear.decoder)
        for plan, skip in zip(linear.plan.stages, reversed(collected.skips), strict=True):
            assert isinstance(plan, LevelStage) and isinstance(skip, LevelSkip)
            factors, children = max(group.arity for group in plan.groups), max(op.children for op in plan.ops)
            reach = (
                sum(_reach(w) for w in skip.weights)
                + factors * _reach(skip.q.transpose(0, 1))
                + children * _reach(skip.child.h)
            )
            reach += sum(_reach(x) for x in (skip.own.inner, belief.r))
            belief = next(ups)(belief, skip) if self.decoder else belief
            most = max(most, reach, _reach(belief.r))
        priors = (unary.prior(self.weights.scaled()) for unary in self.unary)  # type: ignore[operator]
        return most + max((_reach(x) for x in priors), default=0.0)


def _reach(x: Tensor | None) -> float:
    """-log of the smallest positive number of messages, states first; relative to its largest if that is above 1."""
    if x is None:
        return 0.0
    low = torch.where(x > 0, x, 1.0).amin(0)
    return float((x.amax(0).clamp_min(1.0) / low).amax().log())
