"""`TreeDistribution`: a tree as a distribution of pyro, over some of its variables, the others summed out exactly.

    log p(x) = log Z(x) - log Z()             log Z(x): of the tree, with x as evidence; log Z(): without

Both are one batch: the assignment that says nothing is its last row. They run through the network of the tree where
its kernels allow the given potentials, else through the reference; that is decided from the range of the potentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from hgm.bp.given import infer_given
from hgm.bp.posterior import Posterior
from hgm.bridges.pyro_engine import evidence_of, for_rows, log_partition
from hgm.bridges.pyro_potentials import checked_potentials
from hgm.errors import BadEvidence, BadPotential, BadSpec, brief, listing
from hgm.evidence.ambient import concrete
from hgm.evidence.potentials import GivenPotentials
from hgm.evidence.symbols import MISSING, as_tensor, signed
from hgm.tree.arguments import choice, flag, is_series, listed, whole
from hgm.tree.labels import Label
from hgm.tree.tree import Tree, checked_tree

__all__ = ["TreeDistribution"]

MOST_STATES = 1 << 16  # joint states that are enumerated


class TreeDistribution(TorchDistribution):
    """A tree as a distribution of pyro over some of its variables; the rest is summed out exactly.

        step = pyro.sample("step", dist.Dirichlet(torch.ones(3, 3)).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", hgm.TreeDistribution(tree, {"transition": step}), obs=x)

    Samples and values are numbers of states, int64, ``(*sample shape, *batch_shape, *event_shape)``, never labels.
    `batch_shape` is that of the potentials; `log_prob` has gradients by them, of any order. In float32 or wider: the
    widest type of the potentials, else torch's default type. What is random comes from torch's global generator, which
    ``pyro.set_rng_seed`` seeds.

    A row that the model makes impossible, or that is outside of the support, has log probability ``-inf``, with
    gradient 0; so has every row if the potentials allow nothing at all. Where pyro's validation is on, a value outside
    of the support, and a potential that is no number, are errors; where it is off (as in `pyro.infer.MCMC`), log
    probabilities by such a potential are NaN.

    Args:
        tree: the model. It is normalised: what its potentials sum to plays no part.
        potentials: tables in the place of the tree's own, of non-negative numbers: keys and shapes as for
            `hgm.log_partition`, ``(*batch, *shape)``. At a zero the gradient is 0.
        log_potentials: the same by natural logs, ``-inf`` for zeros.
        over: which variables: default the leaves, with the event shape ``tree.leaf_shape``; ``"all"``, ``(V,)`` in tree
            order; the name of one, ``()``; or a list of names, ``(n,)`` in that order.
        missing: whether a value may have -1 where nothing is known; such a variable is summed out.
        engine: ``"network"`` runs `log_prob` through the exact network of the tree, ``"reference"`` through the
            reference; ``"auto"`` takes the network unless the potentials are outside the range of its kernels.
        validate_args: as for all of torch's distributions.

    Raises:
        BadPotential: for an unknown potential, one that is given twice, a wrong shape, or, if arguments are validated,
            a negative entry, a NaN or an infinite one; with ``engine="network"`` also for one outside of its range.
        BadEvidence: for an unknown variable in `over`.
        BadSpec: if `over` names none, or one twice, or for a bad option.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 # as torch has it

    def __init__(
        self,
        tree: Tree,
        potentials: Mapping[Any, Any] | None = None,
        *,
        log_potentials: Mapping[Any, Any] | None = None,
        over: Label | list[Label] | None = None,
        missing: bool = True,
        engine: Literal["auto", "network", "reference"] = "auto",
        validate_args: bool | None = None,
    ) -> None:
        self.tree = checked_tree(tree)
        self.missing = flag("missing", missing)
        validate_args = None if validate_args is None else flag("validate_args", validate_args)
        self.engine = choice("engine", engine, ("auto", "network", "reference"))
        self._variables, event_shape = _over(tree, over)
        validate = self._validate_args if validate_args is None else validate_args
        self._potentials, self._broken = checked_potentials(tree, potentials, log_potentials, bool(validate))
        dtype = self._potentials.dtype if self._potentials.tensors else torch.get_default_dtype()
        self.dtype = torch.promote_types(dtype, torch.float32)
        super().__init__(torch.Size(self._potentials.batch), torch.Size(event_shape), validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TreeDistribution:
        """The same distribution for a larger batch; nothing is copied or computed again.

        Raises:
            BadSpec: for what is no shape, or a batch that the distribution's own does not expand to.
        """
        own, wanted = tuple(self.batch_shape), _sizes("batch_shape", batch_shape)
        tail = wanted[len(wanted) - len(own) :]
        if len(wanted) < len(own) or any(n not in (1, m) for n, m in zip(own, tail, strict=True)):
            raise BadSpec(f"a batch {own} cannot be expanded to {wanted}")
        new = self._get_checked_instance(TreeDistribution, _instance)
        new.__dict__.update(self.__dict__)
        new._batch_shape = torch.Size(wanted)
        return new

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_unseen", "support")}

    def __repr__(self) -> str:
        shapes = f"batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)}"
        return f"TreeDistribution({self.tree!r}, {shapes})"

    # ------------------------------------------------------------------ support

    @property
    def names(self) -> tuple[Label, ...]:
        """The variables that it is over, in the order of the event."""
        return tuple(self.tree.names[v] for v in self._variables.tolist())

    @property
    def support(self) -> Any:
        """Whole numbers from 0, or -1 if values may be missing, to the number of states of each variable less one."""
        least = MISSING if self.missing else 0
        most = torch.from_numpy(self.tree.cardinality[self._variables] - 1).reshape(self.event_shape)
        return constraints.independent(constraints.integer_interval(least, most), self.event_dim)

    @property
    def _states(self) -> int:
        """The number of joint states of the event."""
        return prod(self.tree.cardinality[self._variables].tolist())

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        """Whether there are at most 2^16 joint states."""
        return self._states <= MOST_STATES

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All joint states, ``(K, *batch_shape, *event_shape)``; with 1 for each batch dimension unless `expand`.

        Raises:
            BadSpec: if there are more than 2^16.
        """
        flag("expand", expand)
        if not self.has_enumerate_support:
            raise BadSpec(
                f"the variables {listing(self.names, 4)} have {self._states:,} joint states; at most {MOST_STATES:,} "
                "are enumerated"
            )
        cards = [torch.arange(card) for card in self.tree.cardinality[self._variables].tolist()]
        states = torch.cartesian_prod(*cards).reshape(self._states, *(1,) * len(self.batch_shape), *self.event_shape)
        states = states.to(self._device)
        return states.expand(-1, *self.batch_shape, *self.event_shape) if expand else states

    # ------------------------------------------------------------------ probabilities

    @property
    def _device(self) -> torch.device:
        return next((log.device for log in self._potentials.tensors.values()), torch.device("cpu"))

    def log_prob(self, value: Any) -> Tensor:
        """Log probability of the states of the event, those that are missing summed out.

        Args:
            value: ``(*sample shape, *batch_shape, *event_shape)`` numbers of states, or what broadcasts to it.

        Returns:
            ``(*sample shape, *batch_shape)``.

        Raises:
            BadEvidence: for another shape, or, if arguments are validated, a state that there is not.
        """
        x, batch = self._read(value)
        weights = self._potentials.batch
        shape, base = torch.broadcast_shapes(batch, self.batch_shape), torch.broadcast_shapes(batch, weights)
        if not prod(base):
            return torch.zeros(shape, dtype=self.dtype, device=x.device)
        per_model = [n > 1 for n in (1,) * (len(base) - len(weights)) + tuple(weights)]
        order = sorted(range(len(base)), key=lambda i: per_model[i])  # what all models share, then the models
        models = prod(base[i] for i in order if per_model[i])
        rows, outside = self._inside(x)
        rows = rows.expand(*base, -1).permute(*order, -1).reshape(-1, models, len(self._variables))
        silent = rows.new_full((1, *rows.shape[1:]), MISSING)
        states = torch.cat([rows, silent])
        log_z = log_partition(self.tree, self._variables, states, self._potentials, self.engine, self.dtype)
        nothing = log_z[-1:].detach().isneginf()
        found = torch.where(nothing, -torch.inf, log_z[:-1] - torch.where(nothing, 0.0, log_z[-1:]))
        found = found.reshape([base[i] for i in order]).permute([order.index(i) for i in range(len(base))])
        found = torch.where(outside, -torch.inf, found)
        if self._broken is not None:
            found = torch.where(self._broken, torch.nan, found)
        return found.to(self.dtype).expand(shape)

    def posterior(self, value: Any) -> Posterior:
        """What `hgm.infer` says of all variables, given a value: marginals, the mode, samples; with gradients.

        Args:
            value: as for `log_prob`.

        Returns:
            A `hgm.Posterior`, whose rows B are the batch of `log_prob`, flattened; without rows if that is ``()``.

        Raises:
            BadEvidence: for another shape, or a state that there is not.
        """
        x, batch = self._read(value)
        batch = tuple(torch.broadcast_shapes(batch, self.batch_shape))
        rows, outside = self._inside(x)
        if not concrete(outside):
            raise BadEvidence("a posterior looks at its value; got one without numbers, on the meta device or traced")
        if bool(outside.any()):
            raise BadEvidence("a posterior is given states that there are; the value is outside of the support")
        states = rows.expand(*batch, -1).reshape(prod(batch), len(self._variables))
        return self._given(states, batch, self._potentials)

    def _given(self, states: Tensor, batch: tuple[int, ...], potentials: GivenPotentials) -> Posterior:
        """The posterior given states ``(B, n)``, the rows of a batch whose last dimensions are the potentials'."""
        if self._broken is not None and bool(self._broken.any()):
            raise BadPotential(
                "a potential of this TreeDistribution is negative, NaN or infinite; nothing can be drawn"
            )
        e = evidence_of(self.tree, self._variables, states)
        return infer_given(self.tree, e, bool(batch), for_rows(potentials, batch))

    @cached_property
    def _unseen(self) -> Posterior:
        """The posterior without evidence, of each model; without gradients."""
        potentials = self._potentials
        fixed = replace(potentials, tensors={i: log.detach() for i, log in potentials.tensors.items()})
        missing = torch.full((prod(fixed.batch), len(self._variables)), MISSING, device=self._device)
        return self._given(missing, fixed.batch, fixed)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Exact samples ``(*sample_shape, *batch_shape, *event_shape)``, int64.

        Raises:
            ImpossibleEvidence: if the potentials allow nothing at all.
            BadPotential: if one is no number.
            BadSpec: for what is no shape.
        """
        sample_shape, own = _sizes("sample_shape", sample_shape), self._potentials.batch
        batch = tuple(self.batch_shape)
        own = (1,) * (len(batch) - len(own)) + own
        again = [n if m == 1 else 1 for n, m in zip(batch, own, strict=True)]  # dimensions that were expanded
        states = self._unseen.sample(prod(sample_shape) * prod(again)).states[..., self._variables]
        states = states.reshape(*sample_shape, *again, *own, len(self._variables))
        first, count = len(sample_shape), len(batch)
        pairs = [axis for i in range(count) for axis in (first + i, first + count + i)]
        states = states.permute(*range(first), *pairs, -1)
        return states.reshape(*sample_shape, *batch, *self.event_shape)

    # ------------------------------------------------------------------ reading values

    def _read(self, value: Any) -> tuple[Tensor, tuple[int, ...]]:
        """A value as ``(*batch, n)``, the event flat, and its batch. Its numbers are not looked at."""
        x = as_tensor(value, "the value of a TreeDistribution")
        x = signed(x.to(self._device) if self._potentials.tensors else x)
        batch, event = tuple(x.shape[: x.ndim - self.event_dim]), tuple(self.event_shape)
        if x.ndim < self.event_dim or tuple(x.shape[x.ndim - self.event_dim :]) != event:
            raise BadEvidence(
                f"a value of this TreeDistribution has the shape (*batch, {', '.join(map(str, event))}), the states of "
                f"{listing(self.names, 4)}; got {tuple(x.shape)}"
            )
        try:
            torch.broadcast_shapes(batch, self.batch_shape)
        except RuntimeError:
            raise BadEvidence(
                f"the batch {batch} of a value of shape {tuple(x.shape)} does not fit that of the distribution, "
                f"{tuple(self.batch_shape)}"
            ) from None
        return x.reshape(*batch, len(self._variables)), batch

    def _inside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """int64 ``(*batch, n)`` with -1 all through the rows that are outside of the support, and which those are."""
        most = torch.from_numpy(self.tree.cardinality[self._variables] - 1).to(x.device)
        wrong = ~((x >= (MISSING if self.missing else 0)) & (x <= most))  # also NaN
        if x.is_floating_point():
            wrong = wrong | (x != x.floor())
        outside = wrong.any(-1)
        if self._validate_args and concrete(wrong) and bool(outside.any()):
            at = wrong.nonzero()[0].tolist()
            raise BadEvidence(
                f"variable {self.names[at[-1]]!r} has no state {x[tuple(at)].item()} (row {tuple(at[:-1])}); its "
                f"states are 0 to {int(most[at[-1]])}{', and -1 for missing' if self.missing else ''}"
            )
        return torch.where(outside[..., None], MISSING, x).long(), outside


def _over(tree: Tree, over: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """``(n,)`` indices of the variables of an event, and its shape."""
    if over is None:
        return tree.leaves, tree.leaf_shape
    if isinstance(over, str) and over == "all":
        return np.arange(len(tree)), (len(tree),)
    if not is_series(over) or over in tree.names:
        return np.array([tree.index(over)]), ()
    variables = np.array([tree.index(name) for name in over], dtype=np.int64)
    if not len(variables) or len(np.unique(variables)) < len(variables):
        raise BadSpec(f"over must name variables, each once; got {brief(over)}")
    return variables, (len(variables),)


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    """A shape: whole numbers from 0."""
    return tuple(whole(name, n, 0) for n in listed(name, value, "whole numbers, such as (3,)"))
