"""`infer`: what a model says given evidence. The answers are computed when they are asked for, and kept.

They are those to the evidence as it was given, whatever becomes of the caller's tensor, and under whichever mode of
autograd they are first asked for: the mode at `infer` decides whether they have gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from hgm.bp.assignment import Assignment, ByName, Mode, leaf_values
from hgm.bp.choices import largest, sampler
from hgm.bp.entropy import Entropy, entropy_of
from hgm.bp.joints import factor_number, joint_of, probabilities
from hgm.bp.messages import Messages, messages_of
from hgm.bp.ops import Array, joined, logmaxexp, plain
from hgm.bp.passes import Collected, Distributed, collect, descend, in_tensors
from hgm.bp.score import log_score, states_of
from hgm.bp.tables import ROWS, marginals_table
from hgm.errors import BadEvidence, ImpossibleEvidence
from hgm.evidence.ambient import check_generator
from hgm.evidence.channel import Channel
from hgm.evidence.given import read_evidence
from hgm.evidence.sequences import are_sequences
from hgm.tree.arguments import whole
from hgm.tree.labels import Label
from hgm.tree.showing import TextTable
from hgm.tree.tree import Tree

if TYPE_CHECKING:
    from hgm.bp.sequences import Sequences

__all__ = ["Lasting", "Posterior", "check_possible", "infer", "log_likelihood"]


@dataclass(frozen=True, eq=False, repr=False)
class Posterior(ByName):
    """A model given evidence, as `infer` returns it. As a mapping, it has the marginal of each variable by name.

    Results have a leading batch dimension B if the evidence had one, else none.

    Attributes:
        tree: the model.
        log_evidence: ``(B, S, V)`` float64.
        batched: whether results have a batch dimension.
    """

    tree: Tree
    log_evidence: Tensor
    batched: bool

    @cached_property
    def _collected(self) -> Collected:
        """In arrays where that is faster."""
        with Lasting():
            return collect(self.tree, plain(self.log_evidence))

    @cached_property
    def _tensors(self) -> Collected:
        """The same, for `descend`."""
        if isinstance(self._collected.log_partition, Tensor):
            return self._collected
        with Lasting():
            return in_tensors(self.tree, self._collected)

    @cached_property
    def _best(self) -> Collected:
        with Lasting():
            return collect(self.tree, self.log_evidence.detach(), logmaxexp)

    @cached_property
    def _distributed(self) -> Distributed:
        return Distributed(self._collected)

    @cached_property
    def _marginals(self) -> Tensor:
        with Lasting():
            return probabilities(joined(self._distributed.down_to(self.tree.depth).b))

    @property
    def log_partition(self) -> Tensor:
        """``()`` or ``(B,)``: log of the sum over all assignments of the product of all potentials and likelihoods.

        For a normalised model this is the log probability of the evidence. Its gradient with respect to the log
        evidence is `marginals`.
        """
        return self._out(self._collected.log_partition)

    @property
    def marginals(self) -> Tensor:
        """``(S, V)`` or ``(B, S, V)``: probability of each state of each variable, in tree order; 0 in the padding."""
        return self._out(self._marginals)

    def __getitem__(self, name: Any) -> Tensor:
        """Marginal of one variable: ``(card,)`` or ``(B, card)``, which sums to 1."""
        tree, v = self.tree, self._variable(name)
        if "_marginals" in self.__dict__:
            return self._out(self._marginals[:, : int(tree.cardinality[v]), v])
        level = int(tree.level[v])
        with Lasting():  # no further down than to its level
            b = self._distributed.down_to(level).b[level][:, : int(tree.cardinality[v]), v - int(tree.level_ptr[level])]
            p = probabilities(b)
        return self._out(p)

    def mean(self, channel: Channel) -> Tensor:
        """Posterior means of the leaves: what a denoiser of this channel gives.

        Args:
            channel: whose `values` are meant; 0 to S - 1 if it has none yet.

        Returns:
            ``(*leaf shape)`` or ``(B, *leaf shape)``; for vectors ``(k, *leaf shape)`` or ``(B, k, *leaf shape)``.

        Raises:
            BadEvidence: if it is no channel, or has values for another number of states.
        """
        tree, values = self.tree, leaf_values(self.tree, channel).to(self.log_evidence.device)
        p = self._marginals.index_select(-1, torch.from_numpy(tree.leaves).to(self.log_evidence.device))
        table = values if values.ndim == 2 else values[:, None]
        means = (table - table[:1]).t() @ p[:, : len(table)] + table[:1].t()  # exact where all values are large
        means = means.unflatten(-1, tree.leaf_shape)
        return self._out(means if values.ndim == 2 else means.squeeze(1))

    def factor_marginals(self, factor: Label | Sequence[Label]) -> Tensor:
        """Joint probability of the variables of one factor: ``(*shape)`` or ``(B, *shape)``, axes as in its potential.

        Args:
            factor: the names of its variables in any order, or its index in the tree. A number or tuple that is a name
                is one variable.

        Raises:
            BadSpec: if there is no such factor.
        """
        f = factor_number(self.tree, factor)
        with Lasting():
            joint = joint_of(self.tree, self._collected, self._distributed, f)
        return self._out(joint)

    def entropy(self) -> Entropy:
        """How uncertain this is, in nats: of each variable and factor, level by level, and as a whole."""
        with Lasting():
            found = entropy_of(self.tree, self._collected, self._distributed, self._marginals)
        numbers = [self._out(x) for x in (found.variables, found.factors, found.levels, found.whole)]
        return Entropy(self.tree, *numbers)

    def messages(self) -> Messages:
        """Every message of belief propagation, up and then down, in the order in which they are passed."""
        return messages_of(self.tree, self.log_evidence, self._out)

    def mode(self) -> Mode:
        """The most probable assignment of all variables; among equals one of them, the same every time."""
        states = descend(self._best, largest, 1)[0]
        score = self._best.log_partition
        log_prob = score - torch.as_tensor(self._collected.log_partition).detach()
        return Mode(self.tree, self._out(states), self._out(log_prob), self._out(score))

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Assignment:
        """n exact and independent samples (per batch row): states ``(n, V)`` or ``(n, B, V)``.

        Args:
            n: how many, from 0 up.
            generator: source of randomness, on the device of the evidence; default torch's global one.

        Raises:
            BadSpec: if n is no such number, or the generator is none or of another device.
        """
        draws, choose = whole("n", n, 0), sampler(check_generator(generator, self.log_evidence.device))
        with torch.no_grad():
            states = descend(self._tensors, choose, draws)
        return Assignment(self.tree, states if self.batched else states[:, 0])

    def log_prob(self, assignment: Assignment | Tensor | Mapping[str, Any]) -> Tensor:
        """log p(x | evidence) of complete assignments; ``-inf`` where impossible.

        Args:
            assignment: names to states or labels, or states ``(..., V)`` in tree order. For batched evidence the last
                dimension of the result is the batch.
        """
        x = states_of(self.tree, assignment, self.log_evidence.device)
        log_evidence = self.log_evidence if self.batched else self.log_evidence[0]
        shape = torch.broadcast_shapes(x.shape[:-1], log_evidence.shape[:-2])
        seen = log_evidence.expand(*shape, *log_evidence.shape[-2:]).gather(-2, x.expand(*shape, -1)[..., None, :])
        return log_score(self.tree, x) + seen.sum((-1, -2)) - self.log_partition

    def _out(self, x: Array) -> Tensor:
        """A result of the caller's own, so that what is done to it in place changes no later answer."""
        x = torch.as_tensor(x).clone()
        x = x if torch.is_grad_enabled() else x.detach()
        return x if self.batched else x[0]

    def __repr__(self) -> str:
        rows = f"{len(self.log_evidence)} rows of evidence" if self.batched else "evidence"
        return f"Posterior of a {self.tree!r}, given {rows}"

    def shown(self) -> Iterable[str | TextTable]:
        yield repr(self)
        if not len(self.log_evidence):
            return
        yield f"the first of {len(self.log_evidence):,} rows\n" if self.batched else ""
        yield marginals_table(self.tree, self._marginals[0].detach(), range(len(self)))
        if len(self) > ROWS:
            yield f"... and {len(self) - ROWS:,} more variables: posterior[name] is one's marginal"
        yield f"\nlog partition {float(torch.as_tensor(self._collected.log_partition)[0]):.6f}"


@overload
def infer(tree: Tree, observation: list[Any]) -> Sequences: ...


@overload
def infer(
    tree: Tree, observation: Any = None, *noise: Any, channel: Channel | None = None, evidence: Any = None
) -> Posterior: ...


def infer(
    tree: Tree, observation: Any = None, *noise: Any, channel: Channel | None = None, evidence: Any = None
) -> Posterior | Sequences:
    """Exact inference: the posterior of all variables given what was seen.

        hgm.infer(tree, {"wet": "yes", "sky": {"sun": 0.3, "rain": 0.8}})
        hgm.infer(tree, image, sigma, channel=hgm.Gaussian(), evidence={"label": 3})

    Args:
        tree: the model.
        observation: what was seen: by name, as a data frame, or as an array of all leaves, in the forms that
            `hgm.log_evidence` takes; also its result, ``(B, S, V)``. For a chain (`hgm.tree.timeline`: `hgm.chain`,
            `hgm.hmm`, ...) also a list of sequences of any lengths, each a list or array ``(steps,)`` of states in time
            order, some perhaps missing. For a chain a list is always that, an array never.
        noise: what the channel takes after the observation, such as sigma.
        channel: how the leaves were observed.
        evidence: of further variables, by name.

    Returns:
        A `Posterior`; float64. Results have a batch dimension if anything that was seen had one. For a list of
        sequences `Sequences`: item i is the `Posterior` of sequence i in the chain that ends with it.

    Raises:
        BadEvidence: for evidence that does not fit the model.
        ImpossibleEvidence: if some row has probability zero.
    """
    if are_sequences(tree, observation) and channel is None:
        from hgm.bp.sequences import Sequences  # which is made of posteriors

        if noise or evidence is not None:
            raise BadEvidence("a list of sequences says all that was seen; give further evidence by name, with columns")
        return Sequences(tree, observation)
    e, batched = read_evidence(tree, observation, noise, channel, evidence)
    with Lasting(torch.is_grad_enabled()):
        posterior = Posterior(tree, e.clone() if e.is_inference() else e, batched)
    check_possible(posterior._collected, tree)
    return posterior


def log_likelihood(tree: Tree, assignments: Any) -> Tensor:
    """log p(x) of complete assignments, normalised; ``-inf`` where a potential is zero.

    Args:
        tree: the model.
        assignments: a mapping from all variables to states, single or columns of shape ``(B,)``, a data frame of such
            columns, an `Assignment`, or numbers of states ``(..., V)`` in tree order.

    Returns:
        ``()``, ``(B,)`` or ``(...)`` float64.

    Raises:
        BadEvidence: if a variable or state is missing or unknown.
        ImpossibleEvidence: if the model allows nothing at all.
    """
    return infer(tree).log_prob(assignments)


class Lasting:
    """What is computed inside is kept, so it must serve under any mode of autograd: the mode outside plays no part."""

    def __init__(self, gradients: bool = True) -> None:
        self.gradients = gradients

    def __enter__(self) -> None:
        self.outside = torch.inference_mode(False) if torch.is_inference_mode_enabled() else None
        if self.outside is not None:
            self.outside.__enter__()
        self.before = torch.is_grad_enabled()
        torch.set_grad_enabled(self.gradients)

    def __exit__(self, *error: object) -> None:
        torch.set_grad_enabled(self.before)
        if self.outside is not None:
            self.outside.__exit__(*error)


def check_possible(collected: Collected, tree: Tree) -> None:
    """Raises `ImpossibleEvidence`, naming the deepest variable below which the first bad row is contradictory."""
    impossible = collected.log_partition == -torch.inf
    if not impossible.any():
        return
    bad = torch.as_tensor(impossible).nonzero()[:, 0].tolist()
    for level in reversed(range(len(collected.h))):
        dead = (torch.as_tensor(collected.h[level][bad[0]]) == -torch.inf).all(0).nonzero()
        if len(dead):
            name = tree.names[int(tree.level_ptr[level]) + int(dead[0])]
            where = f"(row {bad[0]}: what is known of variable {name!r} and below it leaves it no state)"
            raise ImpossibleEvidence(bad, where)
    raise ImpossibleEvidence(bad)
