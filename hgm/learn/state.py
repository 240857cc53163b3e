"""All that a training step changes: weights, the moments of AdamW, the average of the weights; kept, and put back.

    average <- d average + (1 - d) weights            d = min(ema, (1 + t) / (10 + t)) after step t = 0, 1, ...

The decay grows to `ema`, so that the start is soon forgotten (Polyak, Juditsky 1992; the growth as in TensorFlow).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, pi

import torch
from torch import Tensor, nn

from hgm.errors import BadSpec

__all__ = ["State", "decay", "learning_rate"]


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Of step 0, 1, ...: linearly up to the peak in `warmup` steps, then down to 0 by half a cosine.

    Loshchilov, Hutter, arXiv 1608.03983.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + cos(pi * (step - warmup) / (steps - warmup))) / 2


def decay(step: int, ema: float) -> float:
    """d of step 0, 1, ..."""
    return min(ema, (1 + step) / (10 + step))


class State:
    """The parts of a run that change.

    Args:
        network: what is trained.
        weight_decay: of AdamW.
        keeps_best: whether the average at the best validation is wanted.

    Attributes:
        weights: the parameters that learn.
        optimizer: AdamW.
        average, best: as many tensors: the average, and that of the best validation; of what is not kept none.
    """

    def __init__(self, network: nn.Module, weight_decay: float, keeps_best: bool) -> None:
        self.network = network
        self.weights: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, weight_decay=weight_decay)
        self.average, self.best = self._copies(), self._copies() if keeps_best else []

    @torch.no_grad()
    def follow(self, step: int, ema: float) -> None:
        """Move the average, after a step."""
        torch._foreach_lerp_(self.average, self.weights, 1 - decay(step, ema))

    @torch.no_grad()
    def keep_best(self) -> None:
        """The average is the best so far."""
        if self.best:
            torch._foreach_copy_(self.best, self.average)

    @torch.no_grad()
    def put(self, tensors: list[Tensor]) -> None:
        """These for weights."""
        torch._foreach_copy_(self.weights, tensors)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the network has the average for weights."""
        own = self._copies()
        self.put(self.average)
        try:
            yield
        finally:
            self.put(own)

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by name."""
        found = {f"network.{name}": t for name, t in self.network.state_dict().items() if isinstance(t, Tensor)}
        for name, several in (("average", self.average), ("best", self.best)):
            found |= {f"{name}.{i}": tensor for i, tensor in enumerate(several)}
        for i, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"adam.{i}.{name}": t for name, t in moments.items()}
        return found

    def restore(self, tensors: dict[str, Tensor], path: object) -> None:
        """What `tensors` gave, put back. Raises `BadSpec` if it is of another network."""
        try:
            self.network.load_state_dict(_part(tensors, "network."))
            for own, name in ((self.average, "average"), (self.best, "best")):
                for j, tensor in enumerate(own):
                    tensor.copy_(tensors[f"{name}.{j}"])
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _part(tensors, "adam.").items():
                i, _, moment = name.partition(".")
                state.setdefault(int(i), {})[moment] = tensor
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (RuntimeError, KeyError, ValueError):
            raise BadSpec(f"the checkpoint {path} belongs to another run: its network has other weights") from None

    @torch.no_grad()
    def _copies(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.weights]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
