"""Hold a compiled network against the reference: the largest differences on random evidence of several kinds.

The two share no code: the reference (`hgm.infer`) is belief propagation in the log domain in float64, node by node. The
reference gets the very numbers that the network gets, so rounding of the evidence to float32 is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import Posterior, infer
from hgm.errors import BadSpec, brief
from hgm.measure.feed import feed
from hgm.measure.samples import evidence_by_kind
from hgm.networks.compile import TASKS, Task, compile
from hgm.networks.heads import ConvNet, UNet
from hgm.tree.arguments import choice, listed, mapping, number, whole
from hgm.tree.labels import Label
from hgm.tree.showing import Shown, TextTable
from hgm.tree.tree import Tree, checked_tree

__all__ = ["TOLERANCE", "Difference", "Verification", "verify"]

#: what rounding may do, by type of the network's input
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


@dataclass(frozen=True)
class Difference:
    """The largest differences between a network and the reference on one kind of evidence.

    Attributes:
        task: what the network was compiled for.
        evidence: the kind.
        dtype: of the network's input and output.
        output: of the probabilities (absolute), or of the means (relative to the range of the values).
        log_partition: relative to its size or, if that is larger, the number of variables: it is a sum over them.
        tolerance: what both must keep below.
    """

    task: str
    evidence: str
    dtype: torch.dtype
    output: float
    log_partition: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether both differences are within the tolerance; a NaN is not."""
        return self.output <= self.tolerance and self.log_partition <= self.tolerance


@dataclass(frozen=True)
class Verification(Shown):
    """The result of `verify`: `print` shows it as a table.

    Attributes:
        differences: one for each task, kind of evidence and precision.
    """

    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether all differences are within their tolerance."""
        return all(difference.ok for difference in self.differences)

    def shown(self) -> Iterable[str | TextTable]:
        tolerance = {d.dtype: d.tolerance for d in self.differences}
        rows: dict[tuple[str, str], list[str]] = {}
        for d in self.differences:
            row = rows.setdefault((d.task, d.evidence), [d.task, d.evidence])
            row += [f"{d.output:.1e}", f"{d.log_partition:.1e}", "yes" if d.ok else "NO"]
        headers = ["task", "evidence"]
        for dtype, most in tolerance.items():
            name = str(dtype).removeprefix("torch.")
            headers += [f"{name}\noutput", "\nlog partition", f"below\n{most:.0e}"]
        align = ("left", "left") + ("right", "right", "left") * len(tolerance)
        return [TextTable(rows.values(), headers, colalign=align)]


def verify(
    tree: Tree,
    tasks: Task | Sequence[Task] = ("classify", "denoise", "posterior"),
    *,
    batch: int = 8,
    seed: int = 0,
    query: Label | None = None,
    tolerance: Mapping[torch.dtype, float] = TOLERANCE,
) -> Verification:
    """Compile a tree and compare the networks with the reference, in float64 and float32.

    The evidence is random, of these kinds, and always possible: states are those of a sample from the model.

    ============  ======================================================================
    ``none``      no evidence at all
    ``hard``      a state at every leaf
    ``missing``   a state at about half of the leaves
    ``soft``      a likelihood at every leaf
    ``zeros``     a likelihood at every leaf, about half of the other states excluded
    ``strong``    log likelihoods of standard deviation 30 at every leaf
    ``anywhere``  states and likelihoods at about half of all variables
    ============  ======================================================================

    Args:
        tree: the model.
        tasks: the tasks to compile for, as for `hgm.compile`.
        batch: number of rows of evidence of each kind.
        seed: of the random evidence.
        query: for the task ``"classify"`` the variable that is asked for; default the root.
        tolerance: what the differences must keep below, for each type to compare in. In float32 the networks reach 1e-6
            on most trees; with many leaves and many states per variable rounding can add up to a few times that.

    Raises:
        BadSpec: for a batch below 1 or an unknown task.
        BadEvidence: for an unknown variable.
        ImpossibleEvidence: if the model allows nothing at all.
    """
    checked_tree(tree)
    whole("batch", batch, 1)
    whole("seed", seed, 0)
    asked_for: list[Any] = [tasks] if isinstance(tasks, str) else listed("tasks", tasks, "tasks")
    for task in asked_for:
        choice("tasks", task, TASKS)
    if query is not None:
        tree.index(query)
    tolerance = mapping("tolerance", tolerance, "{torch.dtype: number}")
    for dtype, most in tolerance.items():
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise BadSpec(f"tolerance must be a mapping from torch's types of floats; got {brief(dtype)}")
        number(most, f"the tolerance of {dtype} must be a positive number", lambda x: x > 0)
    inner = [tree.names[int(v)] for v in np.setdiff1d(np.arange(len(tree)), tree.leaves)]
    networks = []
    for task in asked_for:
        asked = {"classify": query, "posterior": "all"}.get(task)
        networks.append((task, compile(tree, task, query=asked), compile(tree, task, query=asked, observed=inner)))
    found: list[Difference] = []
    for dtype, most in tolerance.items():
        for kind, e in evidence_by_kind(tree, batch, seed):
            seen = e.to(dtype)
            reference = infer(tree, seen.double())
            for task, at_leaves, anywhere in networks:
                output, log_partition = _differences(anywhere if kind == "anywhere" else at_leaves, seen, reference)
                found.append(Difference(task, kind, dtype, output, log_partition, most))
    return Verification(tuple(sorted(found, key=lambda difference: asked_for.index(difference.task))))


def _differences(net: ConvNet | UNet, e: Tensor, reference: Posterior) -> tuple[float, float]:
    """The largest differences of output and log partition, on evidence ``(B, S, V)`` for the whole tree."""
    tree = reference.tree
    args, kwargs = feed(net, tree, e)
    with torch.no_grad():
        got, got_log = net(*args, **kwargs).double(), net.log_partition(*args, **kwargs).double()
    asked = [tree.index(net.plan.tree.names[int(v)]) for v in net.query]
    want = reference.marginals[:, :, asked]
    if isinstance(net, ConvNet):
        want = want[:, : got.shape[1], 0]
    elif net.task == "denoise":
        span = max(net.leaf_states - 1, 1)
        values = torch.arange(net.leaf_states, dtype=torch.float64)
        want = torch.einsum("s,bsn->bn", values, want[:, : net.leaf_states]).unflatten(1, net.leaf_shape) / span
        got = got / span
    want_log = reference.log_partition
    return _largest(got - want), _largest((got_log - want_log) / want_log.abs().clamp_min(len(tree)))


def _largest(x: Tensor) -> float:
    return float(x.abs().max())  # NaN if there is one
