"""Kinds of stage, op and layer from outside are tried once, when an engine is made of them.

What is wrong with one is then said in one sentence, instead of deep inside a forward or, worse, not at all. The kinds
of hgm are not tried: their tests are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hgm.compiler.exact import Exact
from hgm.compiler.layers import FactorLayer
from hgm.compiler.plan import LevelPlan
from hgm.compiler.stage import Belief, Message, Scale, Skip, Stage
from hgm.compiler.stages.general import General
from hgm.errors import BadExtension, ImpossibleEvidence, extension

__all__ = ["try_out"]

#: batch rows of the trial: more than one, so that a lost batch axis shows
ROWS = 2


@torch.no_grad()
def try_out(engine: Exact) -> None:
    """Run an engine that has parts from outside once, on flat evidence. Raises `BadExtension` if they do not fit."""
    levels, stages = engine.plan.levels, engine.stages
    parts = [*engine.plan.tree.potentials, *stages, *(layer for stage in stages for layer in stage.layers())]
    foreign = dict.fromkeys(type(part).__name__ for part in parts if not type(part).__module__.startswith("hgm."))
    if not foreign:
        return
    for stage in stages:
        if isinstance(stage, General):
            for layer in stage.layers():
                _try_layer(layer, levels[stage.level + 1].states)
    hooks = [s.register_forward_hook(lambda s, _, out: _check_up(s, out, levels[s.level])) for s in stages]
    for up, stage in zip(engine.decoder, reversed(stages), strict=False):
        below, name = levels[stage.level + 1], type(stage).__name__
        hooks.append(up.register_forward_hook(lambda _, __, out, n=name, b=below: _check_down(n, out, b)))
    states = int(engine.plan.tree.cardinality[engine.plan.inputs].max())
    e = engine.weights.log_potential.new_zeros(states, len(engine.plan.inputs), ROWS)
    try:
        with extension(f"a network with {', '.join(foreign)}"):
            collected = engine.collect(e)
            if len(engine.decoder):
                engine.distribute(collected, range(len(levels)))
            engine.log_partition(e)
    except ImpossibleEvidence:
        pass  # the potentials leave no state; every forward says so
    finally:
        for hook in hooks:
            hook.remove()


def _try_layer(layer: FactorLayer, states: int) -> None:
    """Both directions of a layer, on flat messages ``(S', children, B)`` and cavities ``(k, S, n, B)``."""
    name, linear = type(layer).__name__, layer.kernel == "linear"
    dtype = torch.float32 if linear else torch.float64
    shape = (layer.slots, layer.states_out, layer.factors // layer.slots, ROWS)
    children = layer.factors * layer.child_count
    flat = torch.full((), float(linear), dtype=dtype)
    x, u = flat.repeat(states, children, ROWS), flat.repeat(shape)
    with extension(f"the layer {name}"):
        w = layer.weight(x)
        q = layer.up(x, w)
        _check_tensor(f"{name}.up", q, shape, dtype)
        r = layer.down(u, x, w)
    if isinstance(r, Tensor) and r.ndim > 2 and r.shape[0] == states:
        r = r.flatten(1, -2)
    _check_tensor(f"{name}.down", r, (states, children, ROWS), dtype)


def _check_up(stage: Stage, out: Any, above: LevelPlan) -> None:
    name = f"{type(stage).__name__}.collect"
    parts = out if isinstance(out, tuple) else (out,)
    message, scales, skip = parts if len(parts) == 3 else (None,) * 3
    if not (isinstance(message, Message) and isinstance(scales, list) and isinstance(skip, Skip)):
        got = ", ".join(type(part).__name__ for part in parts)
        raise BadExtension(f"{name} must return a Message, a list of Scales and a Skip; got {got}")
    _check_tensor(f"{name}: h of the message", message.h, (above.states, above.nodes, ROWS))
    if message.kernel != above.kernel or not isinstance(message.dtype, torch.dtype):
        raise BadExtension(
            f"{name}: the message must have kernel={above.kernel!r} and the dtype of that from below; got "
            f"{message.kernel!r} and {message.dtype!r}"
        )
    for scale in scales:
        if not isinstance(scale, Scale) or scale.kernel not in ("linear", "log"):
            raise BadExtension(f"{name} must return a list of Scales; got a {type(scale).__name__} in it")
        nodes = scale.taken.shape[1] if isinstance(scale.taken, Tensor) and scale.taken.ndim > 1 else above.nodes
        _check_tensor(f"{name}: taken of a scale", scale.taken, (1, nodes, ROWS))


def _check_down(stage: str, out: Any, below: LevelPlan) -> None:
    if not isinstance(out, Belief):
        raise BadExtension(f"{stage}.distribute must return a Belief; got a {type(out).__name__}")
    _check_tensor(f"{stage}.distribute: b of the belief", out.b, (below.states, below.nodes, ROWS))


def _check_tensor(what: str, x: Any, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    if not isinstance(x, Tensor):
        raise BadExtension(f"{what} must be a tensor of shape {shape}; got a {type(x).__name__}")
    if tuple(x.shape) != shape or not x.is_floating_point() or (dtype is not None and x.dtype != dtype):
        want = f" and {dtype}" if dtype is not None else " of floats"
        raise BadExtension(f"{what} must have shape {shape}{want}; got {tuple(x.shape)} and {x.dtype}")
    if bool(x.isnan().any()):
        raise BadExtension(f"{what} holds NaN where all evidence is flat")
