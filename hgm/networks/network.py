"""What all networks share: the input, by channel or by name, and running a batch in slices.

observation ──► channel ──► log evidence (S, n, B) ──► engine ──► head ──► answer (B, ...)
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hgm.compiler.engine import Engine
from hgm.compiler.plan import Plan
from hgm.errors import BadEvidence, BadExtension, ImpossibleEvidence
from hgm.evidence.ambient import concrete, transformed
from hgm.evidence.channel import Channel, check_arguments
from hgm.evidence.named import log_evidence
from hgm.evidence.symbols import as_tensor, clamped
from hgm.tree.labels import Label
from hgm.tree.tree import Tree

__all__ = ["Network"]

#: inference without gradients runs batches in slices of about this many numbers per level, to stay in cache
SLICE = 1 << 21

HALF = (torch.float16, torch.bfloat16)


class Network(nn.Module):
    """Base of `ConvNet` and `UNet`: an engine, with a channel before it and a read-out behind it.

    Args:
        engine: passes messages: exact, or of ReLUs.
        channel: maps the observation of the leaves to log evidence.
        leaf_shape: shape of the leaf level.
        query: ``(n,)`` indices in the plan's tree of the variables that the network answers for, in the answer's order.

    Attributes:
        engine, channel, leaf_shape, query: as given.
        extra: number of `observed` variables that are no leaves.
        states_in, leaf_states, extra_states: largest cardinality of all inputs, of the leaves, and of `observed`.
    """

    cardinality: Tensor | None
    leaf_order: Tensor | None
    extra_order: Tensor
    columns: Tensor | None

    def __init__(self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray) -> None:
        super().__init__()
        self.channel = channel
        self.foreign = not type(channel).__module__.startswith("hgm.")  # its evidence is checked at every forward
        self.engine = engine
        self.leaf_shape = leaf_shape
        self.query = query
        inputs, leaves = self.plan.inputs, prod(leaf_shape)
        cardinality = self.plan.tree.cardinality[inputs]
        self.extra = len(inputs) - leaves
        self.states_in = int(cardinality.max())
        self.row_size = self.states_in * len(inputs)  # numbers of a batch row, for slicing
        self.leaf_states = int(cardinality[:leaves].max())
        self.extra_states = int(cardinality[leaves:].max(initial=0))
        several = len(np.unique(cardinality)) > 1  # then a symbol may be one of another variable's
        self.register_buffer("cardinality", torch.from_numpy(cardinality) if several else None, persistent=False)
        # the engine's order: that of the leaves, of the others, and where both stand when the others come first
        of_leaf = self.plan.arrangement < leaves
        columns = np.argsort(np.argsort(of_leaf, kind="stable"), kind="stable")
        for name, order in (("leaf_order", self.plan.arrangement[of_leaf]), ("columns", columns)):
            moves = not np.array_equal(order, np.arange(len(order)))
            self.register_buffer(name, torch.from_numpy(order.copy()) if moves else None, persistent=False)
        extra_order = torch.from_numpy(self.plan.arrangement[~of_leaf] - leaves)
        self.register_buffer("extra_order", extra_order, persistent=False)

    # ------------------------------------------------------------------ the face

    @property
    def plan(self) -> Plan:
        """What the engine runs."""
        return self.engine.plan

    @property
    def certificate(self) -> Any:
        """A `Certificate` of how far the network can be from exact; ``None`` for one that is exact."""
        return self.engine.certificate

    @property
    def encoder(self) -> nn.ModuleList:
        """The stages of the pass from the leaves to the roots, leaves first."""
        return self.engine.encoder

    @property
    def decoder(self) -> nn.ModuleList:
        """The stages of the pass back, root first; a ConvNet has none."""
        return self.engine.decoder

    @property
    def trainable(self) -> bool:
        """Whether the weights are parameters that learn."""
        return self.engine.trainable

    @property
    def inputs(self) -> tuple[Label, ...]:
        """Names of the variables whose evidence the network takes: the leaves, then `observed`."""
        return tuple(self.plan.tree.names[int(v)] for v in self.plan.inputs)

    def tree(self) -> Tree:
        """The tree that the network stands for, with its current weights."""
        return self.engine.tree()

    def given(self, evidence: Mapping[str, Any]) -> Tensor:
        """`forward` on evidence by name, as for `hgm.infer`: ``{"x3": "red", "x7": [0.2, 0.8]}``.

        Raises:
            BadEvidence: also if it names a variable that is not one of `inputs` (compile with ``observed=[...]``).
        """
        tree, inputs = self.plan.tree, self.plan.inputs
        known = set(inputs.tolist())
        for name in evidence:
            if tree.index(name) not in known:
                raise BadEvidence(f"this network takes no evidence at {name!r}; compile it with observed=[{name!r}]")
        full = log_evidence(tree, evidence)
        return self._answer(full[:, : self.states_in, inputs[self.plan.arrangement]].permute(1, 2, 0))

    def forward(self, *observation: Tensor | float, evidence: Tensor | None = None) -> Tensor:
        """The posterior, from an observation of the leaves.

        Args:
            observation: what the channel takes, as tensors, NumPy arrays or lists: by default log evidence
                ``(B, S, *leaf shape)``, or integer symbols ``(B, *leaf shape)`` with -1 for missing; for `Gaussian` an
                observation and sigma. Half precision is computed in float32 and comes back as it came.
            evidence: log evidence ``(B or 1, S, n)`` or integer states ``(B or 1, n)`` (-1 = missing) of the `observed`
                variables, in their order.

        Raises:
            BadEvidence: for a wrong shape, a NaN or +inf.
            ImpossibleEvidence: with the batch rows whose evidence has probability zero.
        """
        return self._exactly(self._answer, observation, evidence)

    def log_partition(self, *observation: Tensor | float, evidence: Tensor | None = None) -> Tensor:
        """``(B,)`` log of the sum over all states of potentials times evidence. Arguments, errors: as for `forward`.

        Raises:
            HgmError: for a ReLU network, which carries messages up to constants only.
        """
        return self._exactly(self._log_partition, observation, evidence)

    def extra_error(self, dtype: torch.dtype, *observation: Tensor | float, evidence: Tensor | None = None) -> float:
        """What running in another precision changes: measured, not proved.

        Args:
            dtype: such as ``torch.bfloat16``: of a copy's weights and sums.
            observation: as for `forward`.
            evidence: as for `forward`.

        Returns:
            The largest absolute difference of an output, of probabilities or of means; NaN if the precision overflows.
        """
        other = copy.deepcopy(self).to(dtype)
        with torch.no_grad():
            gap = other(*observation, evidence=evidence).double() - self(*observation, evidence=evidence).double()
        return float(gap.abs().max()) if gap.numel() else 0.0

    # ------------------------------------------------------------------ running

    @abstractmethod
    def _answer(self, e: Tensor, first_row: int = 0) -> Tensor:
        """The network's answer to log evidence ``(S, n_in, B)`` in the engine's order."""

    def _log_partition(self, e: Tensor, first_row: int = 0) -> Tensor:
        return self.engine.log_partition(e, first_row).to(e.dtype)

    def _exactly(self, run: Callable[..., Tensor], observation: Sequence[Any], evidence: Any) -> Tensor:
        """`run`, in float32 for half precision, with results in that, and whatever precision is ambient (autocast)."""
        if not observation:
            raise BadEvidence("a network takes the observation of the leaves, an array or tensor, first; got nothing")
        z, *noise = observation
        if not isinstance(z, Tensor):
            z = as_tensor(z, "the observation of the leaves")
        if z.dtype in HALF:
            return self._exactly(run, [z.float(), *noise], evidence).to(z.dtype)
        if torch.is_autocast_enabled(z.device.type):
            with torch.autocast(z.device.type, enabled=False):
                return self._sliced(run, [z, *noise], evidence)
        return self._sliced(run, [z, *noise], evidence)

    def _sliced(self, run: Callable[..., Tensor], observation: Sequence[Any], evidence: Any) -> Tensor:
        """`run` on the whole batch, or, where autograd keeps nothing, on slices of it that stay in cache."""
        given = [t for t in (*observation, evidence) if isinstance(t, Tensor)]
        if torch.compiler.is_compiling() or any(transformed(t) for t in given):
            return run(self._input(observation, evidence))
        batch = given[0].shape[0] if given[0].ndim else 0
        rows = max(1, SLICE // self.row_size)
        learns = torch.is_grad_enabled() and (self.trainable or any(t.requires_grad for t in given))
        if batch <= rows or learns:
            e = self._input(observation, evidence)
            return run(e) if e.shape[2] else run(e.new_zeros(*e.shape[:2], 1))[:0]

        def part(t: Any, first: int) -> Any:
            per_row = isinstance(t, Tensor) and t.ndim > 0 and t.shape[0] == batch
            return t[first : first + rows] if per_row else t

        parts: list[Tensor] = []
        impossible: list[int] = []
        for first in range(0, batch, rows):
            e = self._input([part(t, first) for t in observation], part(evidence, first))
            try:
                parts.append(run(e, first))
            except ImpossibleEvidence as error:
                impossible += error.rows
        if impossible:
            raise ImpossibleEvidence(impossible)
        return torch.cat(parts)

    def _input(self, observation: Sequence[Any], evidence: Any) -> Tensor:
        """``(S, n_in, B)`` log evidence of all inputs, in the engine's order."""
        e = self._leaves(*observation)
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

    def _leaves(self, z: Tensor, *noise: Any) -> Tensor:
        """``(S, n, B)`` log evidence of the leaves, in the engine's order."""
        channel, order = self.channel, self.leaf_order
        positions: Any = channel.positions(z)
        if not isinstance(positions, tuple):
            name = type(channel).__name__
            raise BadExtension(f"{name}.positions must give a tuple, the shape; got a {type(positions).__name__}")
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
        e = e.float() if e.dtype in HALF else e
        if positions != self.leaf_shape or e.shape[0] not in (self.leaf_states, self.states_in):
            want = ", ".join(map(str, (self.states_in, *self.leaf_shape)))
            raise BadEvidence(
                f"log evidence of the leaves must have shape (B, {want}); got {(e.shape[2], e.shape[0], *positions)}"
            )
        return e if order is None or moved is not None else e.index_select(1, order)

    def _check_symbols(self, z: Tensor, which: slice) -> None:
        """Raise `BadEvidence` for a symbol that is a state of other variables only; `which` of the inputs z is of."""
        if self.cardinality is None or z.is_floating_point() or not concrete(z):
            return
        card = self.cardinality[which]
        if prod(z.shape[1:]) != len(card):
            return  # told as a wrong shape
        wrong = z.flatten(1) >= card
        if bool(wrong.any()):
            row, column = (int(i) for i in wrong.nonzero()[0])
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
