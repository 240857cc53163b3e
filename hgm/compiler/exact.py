"""Belief propagation itself: an engine that passes messages through stages of exact layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import islice
from typing import Any, Self

import torch
from torch import Tensor, nn

from hgm.compiler.engine import Engine
from hgm.compiler.layers import layer_for
from hgm.compiler.numerics import LOWEST, exp, exp_shifted, logsumexp, scale_linear, scale_log, to_linear
from hgm.compiler.ops import RulesOp
from hgm.compiler.path_plan import PathStage
from hgm.compiler.plan import LevelStage, Plan
from hgm.compiler.ranges import allowed, sharp
from hgm.compiler.readout import Collected, evidence_of, leave_one_out, log_posterior, unseen
from hgm.compiler.rule_table import RuleTable
from hgm.compiler.stage import Belief, Message, Scale, Skip, Stage, Up, stage_for, stage_of
from hgm.compiler.stages.choose import level_stage
from hgm.compiler.stages.path import Paths
from hgm.compiler.unary import SILENT, UnaryTerms, limits
from hgm.compiler.weights import Weights
from hgm.evidence.ambient import check_of, concrete
from hgm.evidence.potentials import GivenPotentials
from hgm.tree.tree import Tree

__all__ = ["Exact"]

stage_for.register(LevelStage, level_stage)
stage_for.register(PathStage, Paths)
layer_for.register(RulesOp, RuleTable)


class Exact(Engine):
    """Belief propagation itself.

    Args:
        plan: what to run.
        trainable: make the weights a parameter.
        down: whether it is to distribute too.
        weights: those of another engine of the same tree, to share; default its own.

    Attributes:
        weights: all distinct weights.
        unary: what the variables of each level know by themselves, root level first.
    """

    exists: Tensor | None
    possible: Tensor | None
    allowed: Tensor
    _mask: Tensor | None
    _fixed_of: Tensor
    _fixed_at: int | None
    _before: Tensor | None = None
    rescales_always = False

    def __init__(self, plan: Plan, trainable: bool, down: bool, weights: Weights | None = None) -> None:
        super().__init__(plan, trainable)
        tree = plan.tree
        self.weights = Weights(tree, trainable) if weights is None else weights
        for name, mask in zip(("exists", "possible"), limits(plan), strict=True):
            self.register_buffer(name, mask, persistent=False)
        self.states_in = int(tree.cardinality[plan.inputs].max())
        self.encoder = nn.ModuleList(
            stage_of(s, plan.levels[s.level], plan.levels[s.level + 1]) for s in reversed(plan.stages)
        )
        self.decoder = nn.ModuleList(Up(stage) for stage in reversed(self.stages) if down)
        self.unary = nn.ModuleList(UnaryTerms(level, plan) for level in plan.levels)
        kernels = [level.kernel for level in plan.levels]
        self.by_node = any(stage.layout == "nodes" for stage in self.stages)
        self.needs_linear = "linear" in kernels
        self.needs_log = "log" in kernels or sharp(tree, plan.inputs, plan.ranges)
        self.rescale_leaves = plan.levels[-1].rescale
        most = allowed(tree, plan.guarded, plan.ranges, plan.linear, plan.linear_at)
        self.register_buffer("allowed", torch.from_numpy(most), persistent=False)
        for layer in (layer for stage in self.stages for layer in stage.layers()):
            layer.bind(self.weights)
        if trainable:
            self._rescale_always()
        self.register_load_state_dict_pre_hook(_loading)
        self.register_load_state_dict_post_hook(_loaded)
        self._fix()

    @property
    def stages(self) -> list[Stage]:
        """The encoder's stages, typed."""
        return list(self.encoder)  # type: ignore[arg-type]

    def tree(self) -> Tree:
        return self.plan.tree.with_potentials(self.weights.potentials())

    def given(self, log_potentials: GivenPotentials) -> Tensor:
        full = self.weights.given(log_potentials)
        if concrete(full):
            self.weights.check(
                full, self.allowed, "give them to hgm.log_partition, or compile a tree that has such tables"
            )
            return full
        return self.weights.inside(full, self.allowed)  # the answer is NaN too: no error can be raised here

    def collect(self, e: Tensor, first_row: int = 0, full: Tensor | None = None) -> Collected:
        own = self.weights.log_potential
        check = check_of(e, own if full is None else full)
        looks = check == "now"
        possible = self.possible if full is None or (looks and self.weights.keeps_zeros(full)) else self.exists
        # fixed weights are other ones inside of torch.func.functional_call, until it ends; and if changed in place
        if full is None and (self.trainable or not (torch.compiler.is_compiling() or self._is_fixed(own, looks))):
            full = self.weights.full() if looks else self.weights.inside(self.weights.full(), self.allowed)
            if looks:
                self.weights.check(full, self.allowed)
        elif full is None and looks and self._fixed_at != self.weights.version():
            self.changed()
        scaled = None if full is None else self.weights.scaled(full)
        mask = self._mask if scaled is None else self._impossible(lambda: scaled, possible)
        if mask is not None:
            e = e + mask.to(e.dtype)
        top = e.detach().amax(0, keepdim=True).clamp_min_(LOWEST)
        logs = e.double() - top if self.needs_log else None  # float64 first: the difference itself may lose digits
        linear = None if not self.needs_linear else exp_shifted(e, top) if logs is None else exp(logs).to(e.dtype)
        if linear is not None and self.by_node:
            linear = linear.transpose(0, 1).contiguous().transpose(0, 1)
        owns = [unary.forward(logs, linear, scaled, e) if unary.speaks else SILENT for unary in self.unary]
        leaf, deepest = owns[-1].leaf, self.plan.levels[-1]
        assert leaf is not None
        leaf = leaf if leaf.shape[-1] == e.shape[-1] else leaf.expand(-1, -1, e.shape[-1])
        scales = [Scale(top, "log")]
        if self.rescale_leaves or scaled is not None:
            leaf, taken = scale_linear(leaf) if deepest.kernel == "linear" else scale_log(leaf)
            scales.append(Scale(taken, deepest.kernel))
        messages = [Message(leaf, deepest.kernel, e.dtype)]
        skips: list[Skip] = []
        for stage, own in zip(self.encoder, reversed(owns[:-1]), strict=True):
            message, taken_here, skip = stage(messages[-1], own, scaled)
            messages.append(message)
            skips.append(skip)
            scales += taken_here
        messages.reverse()
        collected = Collected(messages, skips, scales, e, mask, full, scaled)
        if check:
            self.deferred.check(self.log_mass(collected), first_row, self.check_weights)
        return collected

    def log_mass(self, collected: Collected) -> Tensor:
        """``(n, B)`` logs of what is left of each tree, as scaled: -inf for impossible evidence, NaN for none."""
        top = collected.messages[0]
        return top.h.sum(0).log() if top.kernel == "linear" else logsumexp(top.h, 0)

    def roots(self, collected: Collected) -> Tensor:
        top = collected.messages[0]
        h = top.h if top.kernel == "linear" else to_linear(top.h, torch.float64)
        return (h / h.sum(0, keepdim=True)).to(top.dtype)

    def read(self, collected: Collected, levels: Sequence[int], kinds: Iterable[str]) -> dict[str, list[Tensor]]:
        kernels, top = [message.kernel for message in collected.messages], collected.messages[0]
        kinds, linear = list(kinds), [n for n in levels if kernels[n] == "linear"]
        needed = levels if "leave_one_out" in kinds else linear if "log_posterior" in kinds else []
        h = {n: unseen(collected, n, self.unary[n], self.stages) for n in needed}  # type: ignore[arg-type] # first: distribute may overwrite messages
        b = top.h / top.h.sum(0, keepdim=True) if top.kernel == "linear" else top.h - logsumexp(top.h, 0)
        beliefs = [Belief(b, None)]
        for up, skip in zip(islice(self.decoder, max(levels)), reversed(collected.skips), strict=False):
            beliefs.append(up(beliefs[-1], skip))
        read: dict[str, list[Tensor]] = {}
        for kind in kinds:
            if kind == "posterior":
                read[kind] = [beliefs[n].b if kernels[n] == "linear" else exp(beliefs[n].b) for n in levels]
            elif kind == "leave_one_out":
                read[kind] = [leave_one_out(h[n], beliefs[n], kernels[n]) for n in levels]
            else:
                e = collected.e - collected.scales[0].taken
                own = {n: evidence_of(self.unary[n], e) for n in linear}  # type: ignore[arg-type]
                read[kind] = [log_posterior(h.get(n), own.get(n), beliefs[n], kernels[n]) for n in levels]
            read[kind] = [x if x.dtype == top.dtype else x.to(top.dtype) for x in read[kind]]
        return read

    def partition(self, collected: Collected) -> Tensor:
        total = self.log_mass(collected).sum(0, dtype=torch.float64) + self.weights.constant(collected.full)
        for taken, kernel in collected.scales:
            total = total + (taken if kernel == "log" else taken.log()).sum((0, 1), dtype=torch.float64)
        return total

    # ------------------------------------------------------------------ weights and devices

    def check_weights(self) -> None:
        self.weights.check(self.weights.full(), self.allowed)

    def changed(self) -> None:
        """Take up weights that were loaded or changed in place. Raises `BadPotential` if they are out of range."""
        before, self._before = self._before, None
        now = self.weights.log_potential.detach()
        if before is None or not concrete(now) or not torch.equal(before, now):  # the same weights change no bit
            self.check_weights()
            self._rescale_always()
        self._fix()

    @property
    def settled(self) -> bool:
        """Whether the weights do not learn, and are those that the layers keep."""
        return not self.trainable and self._is_fixed(self.weights.log_potential, False) and self.weights.version() >= 0

    def _is_fixed(self, own: Tensor, looks: bool) -> bool:
        return own is self._fixed_of and (looks or self._fixed_at == self.weights.version())

    def _rescale_always(self) -> None:
        """Rescale at every level: where it can be skipped was decided for other weights."""
        self.rescales_always = self.rescale_leaves = True
        for stage in self.stages:
            stage.rescale_always()

    def _impossible(self, scaled: Callable[[], Tensor], mask: Tensor | None) -> Tensor | None:
        """``(S, n_in, 1)``: -inf where the mask is or a unary factor is zero, else 0.

        Evidence is scaled by its largest entry. That must be one that counts: where the largest is at a state that the
        model forbids, all that remains might underflow.
        """
        for unary in self.unary:
            if unary.limits:
                mask = scaled().new_zeros(self.states_in, len(self.plan.inputs), 1) if mask is None else mask
                mask = mask.index_add(1, unary.columns, unary.forbidden(scaled(), self.states_in))  # type: ignore[operator, arg-type]
        return mask

    def _fix(self) -> None:
        if not self.trainable:
            scaled = cache(self.weights.scaled)  # not needed where all tables are whole potentials
            for part in (*(layer for stage in self.stages for layer in stage.layers()), *self.unary):
                part.fix(scaled)
            self._mask = self._impossible(scaled, self.possible)
            self._fixed_of, self._fixed_at = self.weights.log_potential, self.weights.version()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        fresh = not self.trainable and self._fixed_at == self.weights.version()
        return {**state, "_fixed_at": None} if fresh else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if not self.trainable and self._fixed_at is None:  # a copy counts changes anew
            self._fixed_at = self.weights.version()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._fix()
        return self


def _loading(engine: Exact, *_: object) -> None:
    engine._before = engine.weights.log_potential.detach().clone()


def _loaded(engine: Exact, *_: object) -> None:
    engine.changed()
