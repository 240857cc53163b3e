"""Evidence: what was observed, as one tensor of log likelihoods.

Hard, soft, missing and noisy observations are all the same thing, a log likelihood per state. Everything that infers
takes a tensor ``log_evidence`` of shape ``(B, S, V)``: batch, states (padded to the largest cardinality with ``-inf``),
variables in tree order; 0 where nothing was observed. This file makes it from what a user has at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgm.errors import BadEvidence, listing
from hgm.evidence.checked import check_states, unobserved
from hgm.evidence.symbols import MISSING, allowed, as_tensor, signed

if TYPE_CHECKING:
    from hgm.tree.tree import Tree

__all__ = ["log_evidence", "read_evidence", "variable_log_evidence"]

_FORMS = (
    "a state (number or label) or None; (B,) of states with -1 or None where missing; "
    "or, of shape (card,) or (B, card), booleans (allowed states) or floats (a likelihood, not a log)"
)


def log_evidence(
    tree: Tree,
    evidence: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Log likelihood of every state of every variable, from evidence by name.

    Args:
        tree: the model.
        evidence: variable name to what was seen of it; variables left out are unobserved. Each entry is one of

            - an ``int`` or a state label: hard evidence; ``None``: missing;
            - integers or labels of shape ``(B,)``: a batch of hard evidence, -1 or ``None`` where missing;
            - booleans of shape ``(card,)`` or ``(B, card)``: the allowed states;
            - floats of shape ``(card,)`` or ``(B, card)``: the likelihood of each state, non-negative, of any scale
              (not a log, not necessarily normalised).

            The type decides: integers are states, floats are likelihoods. All batches must have the same size B, or 1.
        dtype: of the result.
        device: of the result; default the device of the first tensor in `evidence`, else the CPU.

    Returns:
        ``(B, S, V)`` natural logs, B = 1 if nothing is batched: 0 where unobserved, ``-inf`` for excluded states and in
        the padding. Differentiable with respect to float tensors in `evidence` (with gradient 0 at a likelihood of 0).

    Raises:
        BadEvidence: for an unknown variable or state, a wrong shape or type, a negative, NaN or infinite likelihood, or
            batches that differ; it names the variable and the batch row. A likelihood of zero everywhere is not an
            error here: it is found, as `ImpossibleEvidence`, by inference.
    """
    return read_evidence(tree, evidence, dtype=dtype, device=device)[0]


def read_evidence(
    tree: Tree,
    evidence: Mapping[str, Any] | None,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> tuple[Tensor, bool]:
    """`log_evidence`, and whether any entry had a batch dimension."""
    evidence = {} if evidence is None else evidence
    if not isinstance(evidence, Mapping):
        raise BadEvidence(f"evidence is a mapping from variable names to {_FORMS}; got {type(evidence).__name__}")
    if device is None:
        device = next((x.device for x in evidence.values() if isinstance(x, Tensor)), torch.device("cpu"))

    single: dict[int, int] = {}  # hard evidence without a batch, the most common kind, is written in one go
    likelihoods: dict[int, Tensor] = {}  # (B or 1, card)
    batch, batch_of = None, ""
    for name, given in evidence.items():
        if not isinstance(name, str):
            raise BadEvidence(f"evidence is given by the names of variables, which are strings; got {name!r}")
        v = tree.index(name)
        if given is None:
            continue
        if _is_state(given):
            single[v] = tree.state(v, given)
            continue
        likelihood, batched = _likelihood(tree, v, given)
        likelihoods[v], size = likelihood.to(device), len(likelihood)
        if batched and size != 1 and batch not in (None, 1, size):
            raise BadEvidence(f"variable {name!r} has a batch of {size}, but {batch_of!r} has one of {batch}")
        if batched and (batch is None or batch == 1):
            batch, batch_of = size, name

    out = unobserved(tree, 1 if batch is None else batch, dtype, device)
    if single:
        which = torch.tensor(list(single), device=device)
        out[:, :, which] = -torch.inf
        out[:, torch.tensor(list(single.values()), device=device), which] = 0.0
    alike: dict[tuple[int, ...], list[int]] = {}  # thousands of variables are done together
    for v, likelihood in likelihoods.items():
        alike.setdefault(tuple(likelihood.shape), []).append(v)
    for (rows, card), members in alike.items():
        logs = _logs(tree, members, torch.stack([likelihoods[v].double() for v in members], dim=-1)).to(dtype)
        logs = functional.pad(logs, (0, 0, 0, out.shape[1] - card), value=-torch.inf)
        logs = logs.expand(len(out), -1, -1) if rows == 1 else logs
        out = out.index_copy(2, torch.tensor(members, device=device), logs)
    return out, batch is not None


def variable_log_evidence(tree: Tree, v: int, given: Any) -> tuple[Tensor, bool]:
    """Evidence of one variable, in the forms that `log_evidence` takes, where that of all would be too much to hold.

    Returns:
        ``(B or 1, card)`` float64 log likelihoods, and whether `given` had a batch dimension.

    Raises:
        BadEvidence: as `log_evidence`.
    """
    if given is None:
        return torch.zeros((1, int(tree.cardinality[v])), dtype=torch.float64), False
    likelihood, batched = _likelihood(tree, v, given)
    return _logs(tree, [v], likelihood.double()[..., None])[..., 0], batched


def _is_state(given: Any) -> bool:
    """Whether this is one state, by number or label."""
    return isinstance(given, str | int | np.integer) and not isinstance(given, bool)


def _likelihood(tree: Tree, v: int, given: Any) -> tuple[Tensor, bool]:
    """``(B or 1, card)`` likelihood of each state of variable v, and whether `given` had a batch dimension."""
    name, card = tree.names[v], int(tree.cardinality[v])
    x = _tensor(tree, v, given)
    if x.dtype == torch.bool or x.is_floating_point():
        if x.ndim not in (1, 2) or x.shape[-1] != card:
            kind = "allowed states" if x.dtype == torch.bool else "a likelihood"
            raise BadEvidence(
                f"variable {name!r} has {card} states, so {kind} must have shape ({card},) or (B, {card}); "
                f"got {tuple(x.shape)}"
            )
        return (x, True) if x.ndim == 2 else (x[None], False)
    if x.ndim > 1:
        raise BadEvidence(
            f"variable {name!r} got integers of shape {tuple(x.shape)}; states come in shape (B,), "
            f"and a likelihood of shape (B, {card}) must be floats"
        )
    x = signed(x)
    if not x.ndim:
        return allowed(x.new_full((1,), tree.state(v, int(x))), card, 1), False
    check_states(tree, np.array([v]), x[:, None])
    return allowed(x, card, 1), True


def _logs(tree: Tree, members: list[int], likelihoods: Tensor) -> Tensor:
    """Logs of likelihoods ``(B, card, n)`` of n variables, once checked."""
    wrong = ~torch.isfinite(likelihoods) | (likelihoods < 0)
    if wrong.any():
        row, state, i = (int(x) for x in wrong.nonzero()[0])
        raise BadEvidence(
            f"the likelihood of variable {tree.names[members[i]]!r}, state {state}, is "
            f"{likelihoods[row, state, i].item()} in batch row {row}; "
            "expected a finite number from 0 up (a likelihood, not its log)"
        )
    positive = likelihoods > 0  # log only where positive, so that no gradient is 0 * inf
    return torch.where(positive, torch.where(positive, likelihoods, 1.0).log(), -torch.inf)


def _tensor(tree: Tree, v: int, given: Any) -> Tensor:
    """`given` as a tensor of booleans, floats or integer states."""
    if isinstance(given, Tensor):
        x = given
    elif _is_state(given):
        x = torch.tensor(tree.state(v, given))
    elif isinstance(given, list | tuple) and len(given) > 0 and all(isinstance(row, Tensor) for row in given):
        x = torch.stack(list(given))
    else:
        try:
            array = np.asarray(given)
            if array.dtype.kind in "US":  # numpy writes all of a list that holds a string as strings, numbers too
                array = np.asarray(given, dtype=object)
        except ValueError as error:
            raise BadEvidence(f"variable {tree.names[v]!r} takes {_FORMS}; got {given!r}: {error}") from None
        if array.dtype.kind == "O" and array.ndim == 1:
            array = np.array([_state(tree, v, row, state) for row, state in enumerate(array.tolist())], dtype=np.int64)
        if array.dtype.kind not in "biuf":
            raise BadEvidence(f"variable {tree.names[v]!r} takes {_FORMS}; got {given!r}")
        x = as_tensor(array, f"the evidence of variable {tree.names[v]!r}")
    if x.is_complex() or (x.ndim == 0 and (x.dtype == torch.bool or x.is_floating_point())):
        raise BadEvidence(f"variable {tree.names[v]!r} takes {_FORMS}; got {given!r}")
    return x


def _state(tree: Tree, v: int, row: int, state: Any) -> int:
    """A state given by number or label in a batch; -1 if missing."""
    if state is None or (not isinstance(state, str) and state == MISSING):
        return MISSING
    try:
        if not isinstance(state, str) and (isinstance(state, bool) or int(state) != state):
            raise TypeError
        return tree.state(v, state)
    except BadEvidence as error:
        raise BadEvidence(f"{error} (batch row {row})") from None
    except (TypeError, ValueError):
        labels = tree.labels(v)
        states = listing(labels) if labels else f"0 to {int(tree.cardinality[v]) - 1}"
        raise BadEvidence(
            f"variable {tree.names[v]!r} got {state!r} in batch row {row} among states; its states are {states}, "
            "and None or -1 for missing"
        ) from None
