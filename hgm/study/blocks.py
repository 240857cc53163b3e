"""The blocks of a network, what passes them, and the same network before it learned.

A block is an innermost item of a list of modules that has parts of its own: the residual blocks of `hgm.baselines`' own
U-Nets and CNNs and of diffusers' U-Nets. What owns parameters outside of blocks (the first and the last convolution,
what halves and doubles, the time) is a part by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hgm.baselines.layers import Norm
from hgm.baselines.transformer import Transformer
from hgm.errors import BadSpec, brief
from hgm.evidence.ambient import seeded

__all__ = ["activations", "blocks", "fresh", "in_order", "parts"]


def blocks(net: nn.Module) -> dict[str, nn.Module]:
    """The blocks by name, as they are declared; none of a network that has none."""
    items: dict[str, nn.Module] = {}
    for name, several in net.named_modules():
        if isinstance(several, nn.ModuleList | nn.Sequential):
            items |= {
                f"{name}.{i}".lstrip("."): m for i, m in several.named_children() if any(True for _ in m.children())
            }
    return {name: m for name, m in items.items() if not any(other.startswith(f"{name}.") for other in items)}


def parts(net: nn.Module) -> dict[str, list[nn.Parameter]]:
    """All parameters: those of each block, and of each module outside of blocks that has some."""
    found: dict[str, list[nn.Parameter]] = {}
    inside = blocks(net)
    for name, weight in net.named_parameters():
        within = [block for block in inside if name.startswith(f"{block}.")]
        found.setdefault(within[0] if within else name.rpartition(".")[0], []).append(weight)
    return found


def activations(net: nn.Module, *given: Tensor) -> dict[str, Tensor]:
    """What the blocks give, ``(B, C, *positions)``, in the order in which they run, and ``"output"``.

    Args:
        net: the network; it is run as in evaluation, on a copy.
        given: what it is called with: z ``(B, *leaf shape)``, and perhaps its noise.

    Raises:
        BadSpec: for a network without blocks that give features at positions.
    """
    net = copy.deepcopy(net).eval()
    seen: dict[str, Tensor] = {}
    axes = given[0].ndim - 1

    def watch(name: str) -> Any:
        def keep(_module: nn.Module, _args: Any, out: Any) -> None:
            if isinstance(out, Tensor) and out.ndim == axes + 2 and len(out) == len(given[0]):
                seen[name] = out.detach()

        return keep

    tokens = isinstance(getattr(net, "body", None), Transformer)
    for name, block in {} if tokens else blocks(net).items():
        block.register_forward_hook(watch(name))
    with torch.no_grad():
        output = net(*given)
    if not seen:
        raise BadSpec(
            f"the network must have blocks that give (B, C, *positions), as U-Nets and CNNs have; got {brief(net)}"
        )
    return seen | {"output": output.unsqueeze(1) if output.ndim == axes + 1 else output}


def in_order(net: nn.Module, names: Iterable[str], *given: Tensor) -> list[str]:
    """The names of modules of a network in the order in which it uses them; the others last."""
    net = copy.deepcopy(net).eval()
    used: dict[str, None] = {}
    for name in (names := list(names)):
        net.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: used.setdefault(name))
    with torch.no_grad():
        net(*given)
    return list(used | dict.fromkeys(names))


def fresh(net: nn.Module, seed: int) -> nn.Module:
    """A copy whose weights are drawn anew: each layer as it does itself (``reset_parameters``), gains are 1.

    Raises:
        BadSpec: for a network with parameters whose start is not known so, such as a compiled one.
    """
    other = copy.deepcopy(net)
    with seeded(seed), torch.no_grad():
        for name, module in other.named_modules():
            if isinstance(module, Norm):
                module.gain.fill_(1.0)
            elif callable(again := getattr(module, "reset_parameters", None)):
                again()
            elif any(True for _ in module.parameters(recurse=False)):
                raise BadSpec(f"how {name}, a {type(module).__name__}, starts is not known: it has no reset_parameters")
    return other
