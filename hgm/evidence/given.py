"""The one reader of evidence: whatever says what was seen, in all its forms, as parts that each tell of some variables.

    by name              a mapping or data frame: states, likelihoods, allowed states     `hgm.evidence.column`
    an array             of all leaves: states, or log evidence                           `hgm.evidence.leaves`
    through a channel    either of the two, observed with noise

`infer`, `fit`, `log_evidence` and networks read by it, so that one thing means the same to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.errors import BadEvidence, brief
from hgm.evidence.ambient import checked_device, checked_dtype
from hgm.evidence.channel import Channel
from hgm.evidence.checked import padded, unobserved
from hgm.evidence.frames import by_name
from hgm.evidence.leaves import read_array, through_channel, through_channel_by_name
from hgm.evidence.named import named
from hgm.evidence.part import Part
from hgm.evidence.symbols import allowed
from hgm.tree.tree import Tree, checked_tree

__all__ = ["log_evidence", "parts", "read_evidence"]


def log_evidence(
    tree: Tree,
    observation: Any = None,
    *noise: Any,
    channel: Channel | None = None,
    evidence: Any = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Log likelihood of every state of every variable, from what was seen.

    Args:
        tree: the model.
        observation: what was seen, in one of these forms (the page "Evidence" of the manual has examples of all):

            - a mapping from variables to what was seen of each, or a data frame. Of a variable, in turn: a state (its
              label; its number where it has none); ``None``, NaN or -1 (unless that is a label) where missing; a list,
              array or Series of these, one for each row of a batch; a likelihood as a mapping from labels
              ``{"no": 0.3, "yes": 0.8}``, `hgm.Likelihood`, or an array ``(B, S)``; allowed states as a set of
              labels, a list of sets, or booleans ``(B, S)``;
            - integers ``(B, *leaf shape)``: numbers of states of all leaves, -1 where missing;
            - floats ``(B, S, *leaf shape)`` or ``(B, S, V)``: log evidence of all leaves, or of all variables;
            - with `channel`, an observation ``(B, *leaf shape)`` of the leaves, or a mapping in which leaves have
              observations, and other variables are as above.
        noise: what the channel takes after the observation, such as sigma.
        channel: how the leaves were observed.
        evidence: of further variables, by name; also as the last of the positional arguments.
        dtype: of the result.
        device: of the result; default that of the first tensor that is given, else the CPU.

    Returns:
        ``(B, S, V)`` natural logs, B = 1 if nothing is batched: 0 where unobserved, ``-inf`` for excluded states and in
        the padding. Differentiable with respect to tensors of floats (with gradient 0 at a likelihood of 0).

    Raises:
        BadEvidence: for an unknown variable or state, a wrong shape or type, a negative, NaN or infinite likelihood, a
            variable that is observed twice, or batches that differ; it names the variable and the batch row. A
            likelihood of zero everywhere is not an error here: it is found, as `ImpossibleEvidence`, by inference.
    """
    return read_evidence(tree, observation, noise, channel, evidence, dtype=dtype, device=device)[0]


def read_evidence(
    tree: Tree,
    observation: Any,
    noise: Sequence[Any] = (),
    channel: Channel | None = None,
    evidence: Any = None,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> tuple[Tensor, bool]:
    """`log_evidence`, and whether anything in it had a batch dimension."""
    checked_dtype(dtype)
    seen = parts(tree, observation, noise, channel, evidence)
    batch, of = 1, None
    for part in seen:
        if part.rows != 1 or (part.batched and of is None):
            if batch not in (1, part.rows):
                raise BadEvidence(f"{part.of} has a batch of {part.rows}, but {of} has one of {batch}")
            batch, of = part.rows, part.of
    if device is None:
        device = next((part.held.device for part in seen if part.held.device.type != "cpu"), torch.device("cpu"))
    else:
        device = checked_device(device)
    out = unobserved(tree, batch, dtype, device)
    for part in seen:
        which = torch.as_tensor(part.variables, device=device)
        if part.states is None:
            logs = part.held.to(device, dtype)
            out = out.index_copy(2, which, logs.expand(batch, *logs.shape[1:]))
        elif part.batched:
            logs = torch.where(allowed(part.states.to(device), out.shape[1], 1), out[:1, :, which], -torch.inf)
            out.index_copy_(2, which, logs.expand(batch, *logs.shape[1:]))
        else:
            out.index_fill_(2, which, -torch.inf)
            out[:, part.states[0], which] = 0.0
    return out, of is not None


def parts(tree: Tree, observation: Any, noise: Sequence[Any], channel: Channel | None, evidence: Any) -> list[Part]:
    """What was seen, part by part; no variable is in two of them that both say something of it.

    Arguments and errors as for `log_evidence`.
    """
    checked_tree(tree)
    if noise and evidence is None and (noise[-1] is None or by_name(noise[-1]) is not None):
        *noise, evidence = noise
    if channel is None and noise:
        raise BadEvidence(
            "what comes after the observation is for its channel: give channel=..., and evidence= by keyword"
        )
    mapping = by_name(observation)
    if observation is None:
        out = []
    elif channel is None:
        out = _of_array(tree, *read_array(tree, observation)) if mapping is None else named(tree, mapping)
    elif mapping is None:
        out = _of_array(tree, tree.leaves, through_channel(tree, channel, observation, noise))
    else:
        leaf = {name: not tree.inner[tree.index(name)] for name in mapping}
        out = named(tree, {name: value for name, value in mapping.items() if not leaf[name]})
        observed = {name: value for name, value in mapping.items() if leaf[name]}
        out += through_channel_by_name(tree, channel, observed, noise)
    if evidence is None:
        return out
    further = by_name(evidence)
    if further is None:
        raise BadEvidence(f"evidence= is a mapping from variables to what was seen; got {brief(evidence)}")
    named_too = np.zeros(len(tree), dtype=bool)
    named_too[[tree.index(name) for name in further]] = True
    for part in out:
        twice = part.variables[part.tells(tree) & named_too[part.variables]]
        if len(twice):
            raise BadEvidence(f"variable {tree.names[int(twice[0])]!r} is observed twice: in evidence= and before it")
    return [part.only(~named_too[part.variables]) for part in out] + named(tree, further)


def _of_array(tree: Tree, variables: np.ndarray, x: Tensor) -> list[Part]:
    if x.is_floating_point():
        return [Part("the array", variables, True, logs=padded(tree, x))]
    return [Part("the array", variables, True, x)]
