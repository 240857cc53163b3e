"""accelerate, without a trace: what it keeps for a whole process is put back as it was, also that of a caller's own.

An `Accelerator` writes its settings into three dictionaries of its classes, which every other in the process then
shares, takes settings from the environment, and marks the modules it was shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hgm.errors import BadSpec, HgmError

__all__ = ["accelerated"]

MARK = "_is_accelerate_prepared"


@contextmanager
def accelerated(network: torch.nn.Module, device: torch.device) -> Iterator[Any]:
    """An `accelerate.Accelerator` for one process on the device where the network is, in full precision.

    Raises:
        HgmError: if accelerate is not installed.
        BadSpec: if several processes were launched.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState, PartialState
        from accelerate.utils import GradientAccumulationPlugin
    except ImportError:
        raise HgmError("hgm.train needs accelerate; install it: pip install 'hgm[train]'") from None
    if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        raise BadSpec(
            f"hgm.train runs in one process; WORLD_SIZE={os.environ['WORLD_SIZE']} says that others were launched"
        )
    kinds: tuple[Any, ...] = (PartialState, AcceleratorState, GradientState)
    before, marked = [dict(kind._shared_state) for kind in kinds], MARK in vars(network)
    try:
        for kind in kinds:
            kind._shared_state.clear()
        yield Accelerator(
            cpu=device.type == "cpu",
            device_placement=False,
            mixed_precision="no",
            dynamo_backend="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )
    finally:
        for kind, state in zip(kinds, before, strict=True):
            kind._shared_state.clear()
            kind._shared_state.update(state)
        if not marked:
            vars(network).pop(MARK, None)
