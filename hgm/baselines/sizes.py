"""How large a network is: free weights, and what one row costs.

Counted are multiply-adds of matrix products, convolutions and attention (half the flops of `torch.utils.flop_counter`),
and one for every ReLU of a compiled ReLU network. What is done to single numbers (activations, normalisations, exp and
log) is not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hgm.baselines.framed import Framed
from hgm.errors import BadSpec, brief
from hgm.networks.network import Network
from hgm.relu.constructions.logmatrix import LogMatrix

__all__ = ["describe", "multiply_adds", "trainable"]


def describe(net: nn.Module) -> dict[str, int]:
    """How large a network of `make` or of `hgm.compile` is.

    Returns:
        ``"parameters"``: numbers that learn; ``"multiply_adds"``: of a forward of one row.

    Raises:
        BadSpec: for anything else.
    """
    if not isinstance(net, Framed | Network):
        raise BadSpec(f"describe is for networks of hgm.baselines.make or hgm.compile; got {brief(net)}")
    return {"parameters": trainable(net), "multiply_adds": multiply_adds(net)}


def trainable(net: nn.Module) -> int:
    """How many numbers of a network learn."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def multiply_adds(net: Framed | Network) -> int:
    """Of a forward of one row."""
    relus = 0

    def passed(layer: Any, given: tuple[Tensor, ...], _: Tensor) -> None:
        nonlocal relus
        relus += layer.units * given[0].shape[1]

    hooks = [layer.register_forward_hook(passed) for layer in net.modules() if isinstance(layer, LogMatrix)]
    was = net.training
    try:
        # attention as two products of matrices, as which it is counted whatever kernel would run it
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.enable_grad():
            net.eval()(*_row(net))
    finally:
        net.train(was)
        for hook in hooks:
            hook.remove()
    return counter.get_total_flops() // 2 + relus


def _row(net: Framed | Network) -> tuple[Tensor, ...]:
    """One row that says nothing, and noise, on the device of the weights."""
    like = next(net.parameters(), torch.zeros(()))
    channel = net.channel
    table = channel.table()
    vectors = (table.shape[1],) if table.ndim == 2 and not channel.reads_symbols else ()
    z = torch.zeros(1, *vectors, *net.leaf_shape, device=like.device)
    z = z.long() if channel.reads_symbols else z
    noise = torch.full((1,), 0.5, device=like.device)
    return (z, noise) if isinstance(net, Framed) or channel.noise_names else (z,)
