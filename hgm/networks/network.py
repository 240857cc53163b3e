"""What all networks share: the input, by channel or by name, and running a batch in slices.

observation ──► channel ──► log evidence (S, n, B) ──► engine ──► head ──► answer (B, ...)
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hgm.compiler.engine import Engine
from hgm.compiler.plan import Plan
from hgm.errors import BadEvidence, BadPotential, ImpossibleEvidence, listing
from hgm.evidence.ambient import checked_dtype, concrete, transformed
from hgm.evidence.channel import Channel
from hgm.evidence.potentials import GivenPotentials, read_potentials
from hgm.networks.intake import HALF, Intake
from hgm.networks.outputs import Output, Outputs, as_asked, asked
from hgm.tree.tree import Tree

__all__ = ["Network"]

#: inference without gradients runs batches in slices of about this many numbers per level, to stay in cache
SLICE = 1 << 21


class Network(Intake):
    """Base of `ConvNet` and `UNet`: an engine, with a channel before it and a read-out behind it.

    Args:
        engine: passes messages: exact, or of ReLUs.
        channel: maps the observation of the leaves to log evidence.
        leaf_shape: shape of the leaf level.
        query: ``(n,)`` indices in the plan's tree of the variables that the network answers for, in the answer's order.

    Attributes:
        engine, query: as given; the others are those of `Intake`.
        lacks: which outputs the network cannot give, and why.
    """

    #: what `forward` gives if nothing is asked for
    answer: Output

    def __init__(self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray) -> None:
        super().__init__(engine.plan, channel, leaf_shape)
        _keep_freed_memory()
        self.engine = engine
        self.query = query
        self.lacks = engine.lacks

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

    def tree(self) -> Tree:
        """The tree that the network stands for, with its current weights."""
        return self.engine.tree()

    def given(self, evidence: Any, *observation: Any, outputs: Outputs | None = None) -> Any:
        """`forward` on evidence by name, alone or with an observation of the leaves.

            net.given({"x3": "red", "x7": {"red": 0.2, "blue": 0.8}})
            net.given({"label": 3}, z, sigma)

        Args:
            evidence: what was seen of variables among `inputs`, as for `hgm.infer`: a mapping, or a data frame.
            observation: what the channel takes, as for `forward`; then `evidence` is of the `observed` variables.
            outputs: as for `forward`.

        Raises:
            BadEvidence: also if it names a variable that is not one of `inputs` (compile with ``observed=[...]``).
        """
        full = self._named(evidence, also_leaves=not observation)
        if observation:
            more = full[:, : self.states_in, self.plan.inputs[-self.extra :]] if self.extra else None
            return self.forward(*observation, evidence=more, outputs=outputs)
        outputs = self.answer if outputs is None else outputs
        e = full[:, : self.states_in].permute(1, 2, 0).index_select(1, self._columns.to(full.device))
        return as_asked(outputs, self._answers(asked(outputs, self.lacks), e))

    def forward(
        self,
        observation: Any = None,
        noise: Any = None,
        scale: Any = None,
        *more: Any,
        evidence: Any = None,
        outputs: Outputs | None = None,
        log_potentials: Any = None,
    ) -> Any:
        """What is asked for, from an observation of the leaves: by default the posterior, or a denoiser's mean.

        Args:
            observation: what the channel takes, as tensors, NumPy arrays or lists: by default log evidence
                ``(B, S, *leaf shape)``, or integer symbols ``(B, *leaf shape)`` with -1 for missing; for `Gaussian` an
                observation and, as `noise`, sigma. Half precision is computed in float32 and comes back as it came.
                Integer symbols give results in the network's `dtype`, or in that of floats that come with them.
            noise: what the channel takes next: for `Gaussian` sigma, for `Flip` eps, for `Erasure` the mask. A number,
                ``(B,)``, one per position ``(B, *leaf shape)``, or one per state ``(B, S, *leaf shape)``
                (`Channel.spread`).
            scale: and after that: for `Gaussian` alpha.
            more: what a channel of your own takes besides.
            evidence: log evidence ``(B or 1, S, n)`` or integer states ``(B or 1, n)`` (-1 = missing) of the `observed`
                variables, in their order.
            outputs: a name, which gives a tensor, or a tuple of names, which gives a tuple in that order, all of one
                pass. *query shape* is that of the network's answer: none for a `ConvNet`, the leaf shape, or ``(n,)``:

                * ``"posterior"``: probabilities ``(B, S, *query shape)``;
                * ``"log_posterior"``: their logs, exact also where probabilities underflow; ``-inf`` for what is
                  impossible, with gradient 0;
                * ``"leave_one_out"``: ``(B, S, *query shape)`` the posterior of each variable given all evidence but
                  its own: a U-Net without its last skip;
                * ``"mean"``: ``(B, *leaf shape)``, or ``(B, k, *leaf shape)`` for vectors: posterior means of the
                  channel's values, of a `UNet` that answers for the leaves;
                * ``"log_partition"``: ``(B,)``, as by `log_partition`.

            log_potentials: logs of tables to use instead of the network's own, as for `hgm.log_partition`: by the names
                of potentials, or the variables of a factor. ``(*shape)``, or one for each row, ``(B, *shape)``. They
                must be in the range that the network's kernels were chosen for.

        Raises:
            BadEvidence: for a wrong shape, a NaN or +inf, or ``None`` before an argument that is given.
            ImpossibleEvidence: with the batch rows whose evidence has probability zero.
            BadSpec: for an output that is unknown, or that this network cannot give.
            BadPotential: for given potentials that do not fit, or are out of range.
            HgmError: for given potentials of a ReLU network.
        """
        given = [observation, noise, scale, *more]
        while given and given[-1] is None:  # not given; before one that is, a None is wrong
            given.pop()
        outputs = self.answer if outputs is None else outputs
        tables = read_potentials(self.plan.tree, log_potentials) if log_potentials is not None else None
        return as_asked(outputs, self._exactly(asked(outputs, self.lacks), given, evidence, tables))

    def log_partition(
        self,
        observation: Any = None,
        noise: Any = None,
        scale: Any = None,
        *more: Any,
        evidence: Any = None,
        log_potentials: Any = None,
    ) -> Tensor:
        """``(B,)`` log of the sum over all states of potentials times evidence. Arguments, errors: as for `forward`.

        Raises:
            HgmError: for a ReLU network, which carries messages up to constants only.
        """
        given = (observation, noise, scale, *more)
        return self.forward(*given, evidence=evidence, outputs="log_partition", log_potentials=log_potentials)

    def extra_error(self, dtype: torch.dtype, *observation: Any, evidence: Any = None) -> float:
        """What running in another precision changes: measured, not proved.

        Args:
            dtype: such as ``torch.bfloat16``: of a copy's weights and sums.
            observation: as for `forward`.
            evidence: as for `forward`.

        Returns:
            The largest absolute difference of an output, of probabilities or of means; NaN if the precision overflows.
        """
        other = copy.deepcopy(self).to(checked_dtype(dtype))
        with torch.no_grad():
            gap = other(*observation, evidence=evidence).double() - self(*observation, evidence=evidence).double()
        return float(gap.abs().max()) if gap.numel() else 0.0

    # ------------------------------------------------------------------ running

    @abstractmethod
    def _read(self, collected: Any, names: Sequence[str]) -> dict[str, Tensor]:
        """The outputs but the log partition, from what the engine has collected."""

    def _answers(
        self, names: Sequence[str], e: Tensor, first_row: int = 0, full: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Outputs for log evidence ``(S, n_in, B)`` in the engine's order.

        With the engine's own weights, or with others: ``(P,)``, or ``(B, P)`` for each row.
        """
        if full is not None and full.ndim > 1:
            return self._answers_by_row(names, e, first_row, full)
        collected = self.engine.collect(e.to(self.working(e.dtype)), first_row, full)
        found = {"log_partition": self.engine.partition(collected)} if "log_partition" in names else {}
        others = [name for name in names if name != "log_partition"]
        if others:
            found |= self._read(collected, others)
        return tuple(found[name].to(e.dtype) for name in names)

    def _answers_by_row(self, names: Sequence[str], e: Tensor, first_row: int, full: Tensor) -> tuple[Tensor, ...]:
        """`_answers` where each row has weights of its own, ``(B, P)``."""
        if not len(full):
            return tuple(x[:0] for x in self._answers(names, e.new_zeros(*e.shape[:2], 1)))
        looks = concrete(e) and concrete(full)
        wanted = (*names, "log_partition") if looks and "log_partition" not in names else names

        def one(row: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
            return tuple(x[0] for x in self._answers(wanted, row.unsqueeze(2), 0, weights))

        rows = max(1, SLICE // self.row_size)
        found = torch.func.vmap(one, (2, 0), chunk_size=rows)(e.expand(-1, -1, len(full)), full)
        if looks:  # inside, nothing could be
            log_z = found[list(wanted).index("log_partition")].detach()
            bad = (torch.nonzero(~(log_z > -torch.inf)).flatten() + first_row).tolist()
            if bool(log_z.isnan().any()):
                raise BadEvidence(f"the evidence holds NaN or +inf in one of the batch rows {listing(bad)}")
            if bad:
                raise ImpossibleEvidence(bad)
        return tuple(found[: len(names)])

    def _exactly(
        self, names: Sequence[str], observation: Sequence[Any], evidence: Any, tables: GivenPotentials | None
    ) -> tuple[Tensor, ...]:
        """`_answers` in a precision that serves, whatever is ambient, with results in that of what is given."""
        z, *noise = self._taken(observation)
        half = z.dtype if z.is_floating_point() else self.dtype
        given, z = z.dtype, z.to(self.working(z.dtype))
        full, dtype = None, None
        if tables is not None and tables.tensors:
            full = self._weights(tables, z)
            if not any(x.is_floating_point() for x in (z, *noise)):
                dtype = half = tables.dtype
                dtype = torch.float32 if dtype in HALF else dtype
        device = z.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                found = self._sliced(names, [z, *noise], evidence, full, dtype)
        else:
            found = self._sliced(names, [z, *noise], evidence, full, dtype)
        return tuple(x.to(half) for x in found) if half in HALF or z.dtype != given else found

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

    def _sliced(
        self,
        names: Sequence[str],
        observation: Sequence[Tensor],
        evidence: Any,
        full: Tensor | None,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, ...]:
        """Outputs of the whole batch, or, where autograd keeps nothing, of slices of it that stay in cache.

        With given weights `full`, and in `dtype` unless the observation has one.
        """
        given = [t for t in (*observation, evidence, full) if isinstance(t, Tensor)]
        if torch.compiler.is_compiling() or any(transformed(t) for t in given):
            return self._answers(names, self._input(observation, evidence, dtype), 0, full)
        batch = given[0].shape[0] if given[0].ndim else 0
        rows = max(1, SLICE // self.row_size)
        learns = torch.is_grad_enabled() and (self.trainable or any(t.requires_grad for t in given))
        if batch <= rows or learns:
            e = self._input(observation, evidence, dtype)
            if e.shape[2]:
                return self._answers(names, e, 0, full)
            return tuple(x[:0] for x in self._answers(names, e.new_zeros(*e.shape[:2], 1), 0, full))

        def part(t: Any, first: int) -> Any:
            per_row = isinstance(t, Tensor) and t.ndim > (t is full) and t.shape[0] == batch
            return t[first : first + rows] if per_row else t

        parts: list[tuple[Tensor, ...]] = []
        impossible: list[int] = []
        for first in range(0, batch, rows):
            e = self._input([part(t, first) for t in observation], part(evidence, first), dtype)
            try:
                parts.append(self._answers(names, e, first, None if full is None else part(full, first)))
            except ImpossibleEvidence as error:
                impossible += error.rows
        if impossible:
            raise ImpossibleEvidence(impossible)
        return tuple(torch.cat(of) for of in zip(*parts, strict=True))


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next forward instead of handing it back to the system.

    glibc raises its threshold for that when a large block is freed. Without this, a forward of some megabytes spends
    most of its time on page faults. The block is never touched, so this costs microseconds and no memory.
    """
    torch.empty(31 << 20, dtype=torch.uint8)
