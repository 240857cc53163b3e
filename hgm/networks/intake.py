"""What goes into a network: an observation of the leaves, and of other variables, as log evidence for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.engine import Engine
from hgm.compiler.plan import Plan
from hgm.compiler.ranges import crowded
from hgm.errors import BadEvidence, BadExtension, BadPotential, brief
from hgm.evidence.ambient import concrete
from hgm.evidence.channel import Channel, check_arguments
from hgm.evidence.coded import Coded, coded
from hgm.evidence.frames import by_name
from hgm.evidence.given import log_evidence
from hgm.evidence.noise import as_noise, with_numbers
from hgm.evidence.potentials import GivenPotentials
from hgm.evidence.symbols import as_tensor, clamped
from hgm.tree.labels import Label

__all__ = ["HALF", "Intake"]

HALF = (torch.float16, torch.bfloat16)


class Intake(nn.Module):
    """The half of a network before its engine.

    Args:
        plan: what the engine runs.
        channel: maps the observation of the leaves to log evidence.
        leaf_shape: shape of the leaf level.

    Attributes:
        channel, leaf_shape: as given.
        extra: number of `observed` variables that are no leaves.
        states_in, leaf_states, extra_states: largest cardinality of all inputs, of the leaves, and of `observed`.
    """

    cardinality: Tensor | None
    leaf_order: Tensor | None
    extra_order: Tensor
    columns: Tensor | None
    engine: Engine
    precision: Tensor

    def __init__(self, plan: Plan, channel: Channel, leaf_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.channel = channel
        self.foreign = not type(channel).__module__.startswith("hgm.")  # its evidence is checked at every forward
        self.leaf_shape = leaf_shape
        inputs, leaves = plan.inputs, prod(leaf_shape)
        cardinality = plan.tree.cardinality[inputs]
        self.crowded = crowded(plan.tree)
        self.extra = len(inputs) - leaves
        self.states_in = int(cardinality.max())
        self.row_size = self.states_in * len(inputs)  # numbers of a batch row, for slicing
        self.leaf_states = int(cardinality[:leaves].max())
        self.extra_states = int(cardinality[leaves:].max(initial=0))
        several = len(np.unique(cardinality)) > 1  # then a symbol may be one of another variable's
        self.register_buffer("cardinality", torch.from_numpy(cardinality) if several else None, persistent=False)
        # the engine's order: that of the leaves, of the others, and where both stand when the others come first
        of_leaf = plan.arrangement < leaves
        columns = np.argsort(np.argsort(of_leaf, kind="stable"), kind="stable")
        for name, order in (("leaf_order", plan.arrangement[of_leaf]), ("columns", columns)):
            moves = not np.array_equal(order, np.arange(len(order)))
            self.register_buffer(name, torch.from_numpy(order.copy()) if moves else None, persistent=False)
        extra_order = torch.from_numpy(plan.arrangement[~of_leaf] - leaves)
        self.register_buffer("extra_order", extra_order, persistent=False)
        self.register_buffer("precision", torch.empty(0), persistent=False)  # so that .double() and its like are seen

    @property
    def plan(self) -> Plan:
        """What the engine runs."""
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[Label, ...]:
        """Names of the variables whose evidence the network takes: the leaves, then `observed`."""
        return tuple(self.plan.tree.names[int(v)] for v in self.plan.inputs)

    @property
    def dtype(self) -> torch.dtype:
        """What integer symbols give: torch's default when the network was made, until ``.double()`` or its like."""
        return self.precision.dtype

    def _working(self, dtype: torch.dtype) -> torch.dtype:
        """In what is computed what is given in a precision: no half, and float64 for products of very many messages."""
        if not dtype.is_floating_point:
            return dtype
        return torch.float64 if self.crowded else torch.float32 if dtype in HALF else dtype

    def _taken(self, observation: Sequence[Any]) -> list[Tensor]:
        """An observation and its noise as tensors, so that a compiled network is none for every number.

        Numbers come in the precision of the observation, or, with symbols, of the network; none is half.
        """
        if not observation:
            raise BadEvidence("a network takes the observation of the leaves, an array or tensor, first; got nothing")
        z = as_tensor(observation[0], "the observation of the leaves")
        if len(observation) == 1:
            return [z]
        dtype = z.dtype if z.is_floating_point() else self.dtype
        like = torch.empty(0, dtype=torch.float32 if dtype in HALF else dtype, device=z.device)
        what = "what is given with the observation"
        noise = (as_noise(x, like, what) if isinstance(x, int | float) else as_tensor(x, what) for x in observation[1:])
        return [z, *(with_numbers(x, z, what).to(z.device) for x in noise)]

    @cached_property
    def _place(self) -> dict[int, int]:
        """Where each variable stands among the inputs."""
        return {v: i for i, v in enumerate(self.plan.inputs.tolist())}

    @cached_property
    def _columns(self) -> Tensor:
        """``(n_in,)`` which variable stands in each column of the engine's evidence."""
        with torch.inference_mode(False):  # it is kept
            return torch.from_numpy(self.plan.inputs[self.plan.arrangement])

    def _named(self, evidence: Any, also_leaves: bool) -> Tensor:
        """``(B, S, V)`` log evidence by name, of inputs, or of the `observed` among them."""
        tree, seen = self.plan.tree, by_name(evidence)
        if seen is None:
            raise BadEvidence(f"evidence is a mapping from variables to what was seen; got {brief(evidence)}")
        leaves = 0 if also_leaves else prod(self.leaf_shape)
        for name in seen:
            place = self._place.get(tree.index(name))
            if place is None:
                raise BadEvidence(f"this network takes no evidence at {name!r}; compile it with observed=[{name!r}]")
            if place < leaves:
                raise BadEvidence(
                    f"{name!r} is one of the leaves, which are observed together; give it in one of the two"
                )
        return log_evidence(tree, seen)

    def _input(self, observation: Sequence[Any], evidence: Any, dtype: torch.dtype | None = None) -> Tensor:
        """``(S, n_in, B)`` log evidence of all inputs, in the engine's order; in `dtype` if that is given."""
        e = self._leaves(*observation)
        e = e if dtype is None else e.to(dtype)
        if not self.extra:
            if evidence is not None:
                raise BadEvidence(
                    "this network takes evidence at the leaves only; compile it with observed=[...] for more"
                )
            return e
        e = F.pad(e, (0, 0, 0, 0, 0, self.states_in - e.shape[0]), value=-torch.inf)
        more = e.new_zeros(self.states_in, self.extra, 1) if evidence is None else self._observed(evidence, e)
        e = torch.cat([more.expand(-1, -1, e.shape[2]), e], 1)
        return e if self.columns is None else e.index_select(1, self.columns)

    def _leaves(self, z: Tensor, *noise: Tensor) -> Tensor:
        """``(S, n, B)`` log evidence of the leaves, in the engine's order."""
        channel, order = self.channel, self.leaf_order
        positions: Any = channel.positions(z)
        if not isinstance(positions, tuple):
            name = type(channel).__name__
            raise BadExtension(f"{name}.positions must give a tuple, the shape; got a {type(positions).__name__}")
        if channel.reads_symbols:
            self._check_symbols(z, slice(None, prod(self.leaf_shape)))
        moved = None
        if order is not None and positions == self.leaf_shape:
            moved = channel.rearranged(order, z, *noise)
        given = (z, *noise) if moved is None else moved
        checks = self.foreign and concrete(z)
        if checks:
            check_arguments(channel, given)
        e = channel.states_first(*given)
        if checks:
            self._check_channel(e, z, positions)
        if e.dtype in HALF:
            e = e.float()
        elif not any(x.is_floating_point() for x in (z, *noise)) and self.dtype not in HALF:
            e = e.to(self.dtype)
        if positions != self.leaf_shape or e.shape[0] not in (self.leaf_states, self.states_in):
            want = ", ".join(map(str, (self.states_in, *self.leaf_shape)))
            raise BadEvidence(
                f"log evidence of the leaves must have shape (B, {want}); got {(e.shape[2], e.shape[0], *positions)}"
            )
        return e if order is None or moved is not None else e.index_select(1, order)

    def _coded(self, z: Tensor, *noise: Tensor) -> Coded | None:
        """`_input` of symbols alone, as they are; ``None`` if it is none. It raises the same errors."""
        if self.foreign or self.extra or self.channel.positions(z) != self.leaf_shape:
            return None
        self._check_symbols(z, slice(None, prod(self.leaf_shape)))
        found = coded(self.channel, self.leaf_order, z, *noise)
        if found is None:
            return None
        floats = any(x.is_floating_point() for x in noise)
        dtype = torch.float32 if found.dtype in HALF else found.dtype if floats or self.dtype in HALF else self.dtype
        return replace(found, table=found.table.to(dtype))

    def _check_symbols(self, z: Tensor, which: slice) -> None:
        """Raise `BadEvidence` for a symbol that is a state of other variables only; `which` of the inputs z is of."""
        if self.cardinality is None or z.is_floating_point() or not concrete(z):
            return
        card = self.cardinality[which]
        if prod(z.shape[1:]) != len(card):
            return  # told as a wrong shape
        if z.numel() and bool((z.flatten(1).amax(0) >= card).any()):
            row, column = (int(i) for i in (z.flatten(1) >= card).nonzero()[0])
            name = self.inputs[which][column]
            raise BadEvidence(
                f"variable {name!r} has no state {int(z.flatten(1)[row, column])} (batch row {row}); its states are "
                f"0 to {int(card[column]) - 1}, and -1 for missing"
            )

    def _check_channel(self, e: Any, z: Tensor, positions: tuple[int, ...]) -> None:
        """Raise `BadExtension` unless a channel made floats ``(S, n, B)`` of an observation."""
        want = (prod(positions), z.shape[0] if z.ndim else 1)
        if not isinstance(e, Tensor) or e.ndim != 3 or e.shape[1:] != want or not e.is_floating_point():
            got = f"{e.dtype} of shape {tuple(e.shape)}" if isinstance(e, Tensor) else type(e).__name__
            name = type(self.channel).__name__
            raise BadExtension(f"{name}.states_first must give floats of shape (S, {want[0]}, {want[1]}); got {got}")

    def _observed(self, evidence: Any, e: Tensor) -> Tensor:
        """``(S, n, B or 1)`` log evidence of the observed variables, in the engine's order."""
        evidence = as_tensor(evidence, "evidence of the observed variables")
        more = evidence.permute(1, 2, 0) if evidence.is_floating_point() and evidence.ndim == 3 else evidence
        if not evidence.is_floating_point():
            if evidence.ndim != 2:
                raise BadEvidence(
                    f"states of the observed variables must have shape (B, {self.extra}); got {tuple(evidence.shape)}"
                )
            self._check_symbols(evidence, slice(prod(self.leaf_shape), None))
            more = clamped(evidence, self.states_in).movedim(1, -1)
        if (
            more.ndim != 3
            or more.shape[1] != self.extra
            or not self.extra_states <= more.shape[0] <= self.states_in
            or (more.shape[2] != 1 and more.shape[2] != e.shape[2])  # not "in": torch.compile misreads that
        ):
            got = tuple(evidence.shape)
            raise BadEvidence(
                f"evidence of the observed variables must have shape (B, {self.states_in}, {self.extra}); got {got}"
            )
        more = more.index_select(1, self.extra_order).to(e.dtype)
        return F.pad(more, (0, 0, 0, 0, 0, self.states_in - more.shape[0]), value=-torch.inf)

    def _weights(self, tables: GivenPotentials, z: Tensor) -> Tensor:
        """``(P,)`` or ``(B, P)`` weights with given ones in the places of some, for an observation of B rows."""
        full, batch = self.engine.given(tables), tables.batch
        if len(batch) > 1 or (batch and z.ndim and 1 not in (batch[0], z.shape[0]) and batch[0] != z.shape[0]):
            rows = z.shape[0] if z.ndim else 1
            raise BadPotential(
                f"a network takes potentials (*shape) or one for each of the {rows} rows of the observation, "
                f"({rows}, *shape); got a batch {batch}"
            )
        return full[0] if batch == (1,) else full
