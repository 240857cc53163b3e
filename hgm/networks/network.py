"""What all networks share: their face.

observation ──► channel ──► log evidence (S, n, B) ──► engine ──► head ──► answer (B, ...)
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hgm.compiler.engine import Engine
from hgm.compiler.plan import Plan
from hgm.evidence.ambient import Check, checked_dtype
from hgm.evidence.channel import Channel
from hgm.evidence.potentials import read_potentials
from hgm.networks.outputs import Output, Outputs, as_asked, asked
from hgm.networks.running import Running
from hgm.tree.showing import as_html
from hgm.tree.tree import Tree

__all__ = ["Network"]


class Network(Running):
    """Base of `ConvNet` and `UNet`: an engine, with a channel before it and a read-out behind it.

    Args:
        engine: passes messages: exact, or of ReLUs.
        channel: maps the observation of the leaves to log evidence.
        leaf_shape: shape of the leaf level.
        query: ``(n,)`` indices in the plan's tree of the variables that the network answers for, in the answer's order.

    Attributes:
        engine, query: as given; the others are those of `Intake`, `Checked` and `Running`.
        lacks: which outputs the network cannot give, and why.
    """

    #: what `forward` gives if nothing is asked for
    answer: Output

    def __init__(self, engine: Engine, channel: Channel, leaf_shape: tuple[int, ...], query: np.ndarray) -> None:
        super().__init__(engine, channel, leaf_shape)
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

    def source(self) -> str:
        """The plain torch code that the network stands for: a text that runs with torch alone.

            names = {}
            exec(net.source(), names)
            answer, log_z = names["network"](net.channel(z, sigma))

        Its function `network` takes log evidence ``(B, S, n)`` of the variables `plan.inputs` and gives what the
        network does, in float64 and in logs throughout; the leaves are in one row, ``(B, ..., n)``. The weights are in
        the text.

        Raises:
            BadSpec: for a ReLU network, for a plan by paths (compile with ``schedule="levels"``), or for stages and ops
                from outside.
        """
        from hgm.networks.source import source_of

        return source_of(self)

    def given(
        self, evidence: Any, *observation: Any, outputs: Outputs | None = None, check: Check | None = None
    ) -> Any:
        """`forward` on evidence by name, alone or with an observation of the leaves.

            net.given({"x3": "red", "x7": {"red": 0.2, "blue": 0.8}})
            net.given({"label": 3}, z, sigma)

        Args:
            evidence: what was seen of variables among `inputs`, as for `hgm.infer`: a mapping, or a data frame.
            observation: what the channel takes, as for `forward`; then `evidence` is of the `observed` variables.
            outputs: as for `forward`.
            check: as for `forward`; but names, and what is given by them, are always read at once.

        Raises:
            BadEvidence: also if it names a variable that is not one of `inputs` (compile with ``observed=[...]``).
        """
        full = self._named(evidence, also_leaves=not observation)
        if observation:
            more = full[:, : self.states_in, self.plan.inputs[-self.extra :]] if self.extra else None
            return self.forward(*observation, evidence=more, outputs=outputs, check=check)
        outputs = self.answer if outputs is None else outputs
        e = full[:, : self.states_in].permute(1, 2, 0).index_select(1, self._columns.to(full.device))
        with self._checking(check):
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
        check: Check | None = None,
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
            check: when to look whether there is an answer, which waits for the device; default that of `hgm.compile`.
                ``"now"`` raises the errors below; ``"later"`` makes a note on the device, and `throw`, or the next call
                that looks, raises them; ``False`` never looks, as a traced program and a transform of `torch.func`.
                Without an error, impossible answers are NaN, and log Z of impossible evidence is ``-inf``.

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
        with self._checking(check):
            tables = None if log_potentials is None else read_potentials(self.plan.tree, log_potentials)
            return as_asked(outputs, self._exactly(asked(outputs, self.lacks), given, evidence, tables))

    def log_partition(
        self,
        observation: Any = None,
        noise: Any = None,
        scale: Any = None,
        *more: Any,
        evidence: Any = None,
        log_potentials: Any = None,
        check: Check | None = None,
    ) -> Tensor:
        """``(B,)`` log of the sum over all states of potentials times evidence. Arguments, errors: as for `forward`.

        Raises:
            HgmError: for a ReLU network, which carries messages up to constants only.
        """
        options = {"evidence": evidence, "log_potentials": log_potentials, "check": check}
        return self.forward(observation, noise, scale, *more, outputs="log_partition", **options)

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

    def _repr_html_(self) -> str:
        words = f"{type(self).__name__} for the task {self.task!r}, from {type(self.channel).__name__} evidence"
        return as_html([f"{words}. Its plan:", *self.plan.shown()])
