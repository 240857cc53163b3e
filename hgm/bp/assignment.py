"""States of all variables, by name: modes and samples. And what makes results mappings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence, brief
from hgm.evidence.channel import Channel
from hgm.tree.showing import Shown, TextTable
from hgm.tree.tree import Tree

__all__ = ["Assignment", "ByName", "Mode", "leaf_values"]

SEVERAL = (list, set, dict, slice, np.ndarray, Tensor)  # what is taken for several names


class ByName(Shown, Mapping[Any, Any]):
    """Something that is known of every variable of a tree: a mapping, with the names in tree order for keys.

    `print` and a notebook show it as a table with labels. ``len`` is the number of variables, also of samples, of which
    there are ``len(samples.states)``. Two results are equal only if they are the same object.
    """

    tree: Tree

    def _variable(self, name: Any) -> int:
        """Index of a variable. Raises `BadEvidence` if there is no such variable."""
        if isinstance(name, SEVERAL):
            raise BadEvidence(
                f"a result is asked for one variable by its name; got {brief(name)}. For several, "
                "{name: result[name] for name in names}; together, `factor_marginals` of a posterior"
            )
        return self.tree.index(name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tree.names)

    def __len__(self) -> int:
        return len(self.tree)

    def __contains__(self, name: object) -> bool:
        return name in self.tree.names

    def get(self, name: Any, default: Any = None) -> Any:
        """What is known of a variable, or `default` if there is no such variable."""
        return self[name] if name in self else default  # noqa: SIM401

    def check_evidence(self) -> None:
        """Raises `BadEvidence` unless this says what was seen, as `hgm.infer` and `hgm.fit` take it."""
        raise BadEvidence(f"a {type(self).__name__} is what was inferred, and no evidence; its mode and samples are")

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def leaf_values(tree: Tree, channel: Channel) -> Tensor:
    """``(S,)`` or ``(S, k)`` float64 values that a channel gives the states of a tree's leaves.

    Raises:
        BadEvidence: if it is no channel, or has values for another number of states.
    """
    if not isinstance(channel, Channel):
        raise BadEvidence(f"values are those of a Channel, such as hgm.Gaussian(values); got {brief(channel)}")
    return channel.bound(int(tree.cardinality[tree.leaves].max())).table().double()


@dataclass(frozen=True, eq=False)
class Assignment(ByName):
    """States of all variables. By name, and as a mapping, they are labels where the variable has labels.

    Attributes:
        tree: the model.
        states: ``(..., V)`` integers in tree order: ``(V,)`` or ``(B, V)`` for a mode, ``(n, V)`` or ``(n, B, V)`` for
            samples.
    """

    tree: Tree
    states: Tensor

    def __getitem__(self, name: Any) -> Any:
        """States of one variable: labels, nested lists in the shape ``(...)``, or else integers ``(...)``, a tensor."""
        v = self._variable(name)
        return self.states[..., v] if self.tree.labels(v) is None else self.labels(name)

    def labels(self, name: Any) -> Any:
        """The state labels of one variable, nested lists in the shape of its states; numbers if it has no labels."""
        v = self._variable(name)
        labels, states = self.tree.labels(v), self.states[..., v].cpu().numpy()
        if labels is None:
            return states.tolist()
        held = np.fromiter(labels, dtype=object, count=len(labels))[states]  # as objects, labels keep their type
        return held.tolist() if states.ndim else held

    def shown(self) -> Iterable[str | TextTable]:
        from hgm.bp.tables import COLUMNS, ROWS, states_table  # which is made of assignments

        rows = self.states.reshape(-1, len(self.tree))[:ROWS]
        shown = Assignment(self.tree, rows)
        yield states_table(shown, range(len(self.tree)))
        if self.states.numel() > rows.numel() or len(self.tree) > COLUMNS:
            yield f"in all states {tuple(self.states.shape)}, the last axis that of the variables"

    def check_evidence(self) -> None:
        if self.states.ndim > 2:
            raise BadEvidence(
                f"samples given a batch of evidence are (n, B, V), here {tuple(self.states.shape)}, and evidence has "
                "rows; give the samples of one row of evidence, or flatten them by name"
            )

    @property
    def leaves(self) -> Tensor:
        """``(..., *leaf shape)`` states of the leaves: of samples ``(n, *leaf shape)`` or ``(n, B, *leaf shape)``."""
        states = self.states[..., torch.from_numpy(self.tree.leaves).to(self.states.device)]
        return states.unflatten(-1, self.tree.leaf_shape)

    @overload
    def values(self) -> ValuesView[Any]: ...

    @overload
    def values(self, channel: Channel) -> Tensor: ...

    def values(self, channel: Channel | None = None) -> ValuesView[Any] | Tensor:
        """The clean values of the leaves: what a channel adds its noise to. Without a channel, the values of a mapping.

        Args:
            channel: whose `values` are meant; 0 to S - 1 if it has none yet.

        Returns:
            ``(..., *leaf shape)`` float64, ``(..., k, *leaf shape)`` for vectors; so of n samples ``(n, *leaf shape)``.

        Raises:
            BadEvidence: if it is no channel, or has values for another number of states.
        """
        if channel is None:
            return super().values()
        table = leaf_values(self.tree, channel).to(self.states.device)
        values = table[self.leaves]
        return values.movedim(-1, self.states.ndim - 1) if table.ndim == 2 else values


@dataclass(frozen=True, eq=False)
class Mode(Assignment):
    """The most probable assignment.

    Attributes:
        log_prob: ``()`` or ``(B,)`` its log probability given the evidence.
        log_score: ``()`` or ``(B,)`` log of the product of all potentials and likelihoods, unnormalised.
    """

    log_prob: Tensor
    log_score: Tensor

    def shown(self) -> Iterable[str | TextTable]:
        yield from super().shown()
        if self.log_prob.ndim == 0:
            yield f"\nlog probability {float(self.log_prob):.6f}"
