"""The network that is measured: how it is called, in which precision, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from hgm.diffusion.denoiser import Denoiser
from hgm.diffusion.step import callable_as
from hgm.errors import BadSpec, HgmError, brief, extension, listing
from hgm.networks.network import Network
from hgm.tree.tree import Tree

__all__ = ["Candidate"]

#: how far a posterior may be from summing to 1, by type
UNIT = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class Candidate:
    """A network f(z, noise), as it is called: with what is given if it takes that, without noise if it takes none.

    Args:
        network: any callable; one that hgm compiled is called as it must be.
        tree: whose leaves it is shown.
        task: what it is to answer.
        given: how many variables are given: one argument each.

    Attributes:
        compiled: what hgm compiled, inside of it; ``None`` for any other network.
        name: for messages.
        finite: whether its excess may be a number of nats, as far as it says.
        takes_given: whether it is told what is given.
        dtype: of z and noise: that of its first weight.
        device: where that is.

    Raises:
        BadSpec: for what cannot be called, or a compiled network of other leaves or another task.
    """

    def __init__(self, network: Any, tree: Tree, task: str, given: int) -> None:
        if isinstance(network, Tree):
            raise BadSpec("the network to compare is called as f(z, sigma); got a tree; compile it first")
        self.network: Callable[..., Any] = callable_as("the network to compare", network)
        lacks = getattr(network, "ablation", None)
        self.name = f"the best without {lacks}" if lacks else getattr(network, "__name__", type(network).__name__)
        self.finite = getattr(lacks, "finite", True)
        self.compiled = network.network if isinstance(network, Denoiser) else network
        if not isinstance(self.compiled, Network):
            self.compiled = None
        self.quiet = self.compiled is not None and not self.compiled.channel.noise_names
        self.takes_given = given > 0 and self.compiled is None and _takes(network, 2 + given)
        self.dtype, self.device = _ground(network, self.compiled)
        if self.compiled is not None:
            _check(self.compiled, tree, task)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A module is measured as it is used: in eval mode, and without gradients."""
        module = self.network if isinstance(self.network, nn.Module) else None
        was = module is not None and module.training
        try:
            if module is not None and was:
                module.eval()
            with torch.no_grad():
                yield
        finally:
            if module is not None and was:
                module.train()

    def answer(self, z: Tensor, level: Tensor, y: Sequence[Tensor], noise: float) -> Tensor:
        """What it says of z, unchecked but for its errors, which name the level."""
        more = [part.to(z.device, copy=True) for part in y] if self.takes_given else []
        with extension(f"the network {self.name}, at noise {noise:.4g},"):
            found: Tensor = self.network(z) if self.quiet else self.network(z, level, *more)
        return found

    def checked(self, answer: Any, like: Tensor, noise: float, posterior: bool) -> Tensor:
        """An answer in the shape of the best one.

        Raises:
            HgmError: for what is no tensor of floats, another shape, NaN or infinities, and what is no posterior.
        """
        what = "posteriors" if posterior else "E[x | z]"
        at = f"at noise {noise:.4g}"
        if not isinstance(answer, Tensor) or not answer.is_floating_point() or answer.shape != like.shape:
            got = f"{answer.dtype} of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else brief(answer)
            raise HgmError(
                f"the network {self.name} must give {what}, a tensor of floats of shape {tuple(like.shape)}; "
                f"it gave {got} {at}"
            )
        if not bool(answer.isfinite().all()):
            rows = (~answer.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
            raise HgmError(f"the network {self.name} gave NaN or infinity {at}, in batch rows {listing(rows)}")
        if posterior:
            off = float((answer.double().sum(1) - 1).abs().max())
            if bool((answer < 0).any()) or off > UNIT.get(answer.dtype, 1e-3):
                raise HgmError(
                    f"the network {self.name} must give posteriors, which are not negative and sum to 1 over states, "
                    f"axis 1; it gave {float(answer.min()):.4g} at least, and sums that are off by {off:.2g}, {at}; of "
                    "logits take the softmax"
                )
        return answer


def _takes(network: Any, count: int) -> bool:
    """Whether it can be called with so many arguments, by position."""
    try:
        parameters = signature(network.forward if isinstance(network, nn.Module) else network).parameters.values()
    except (TypeError, ValueError):  # of a built-in function nobody knows
        return False
    own = sum(p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for p in parameters)
    return own >= count or any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)


def _ground(network: Any, compiled: Network | None) -> tuple[torch.dtype, torch.device]:
    """The precision that a network takes, and the device it is on."""
    weights = list(network.parameters()) + list(network.buffers()) if isinstance(network, nn.Module) else []
    device = weights[0].device if weights else torch.device("cpu")
    if compiled is not None:
        return compiled.dtype, device
    floats = (x.dtype for x in weights if x.is_floating_point())
    return next(floats, torch.get_default_dtype()), device


def _check(compiled: Network, tree: Tree, task: str) -> None:
    """Raises `BadSpec` for a compiled network of another leaf shape or task, which could not be what is meant."""
    if tuple(compiled.leaf_shape) != tuple(tree.leaf_shape):
        raise BadSpec(
            f"the network is of leaves {tuple(compiled.leaf_shape)}, but those of the tree are {tuple(tree.leaf_shape)}"
        )
    if compiled.task != task:
        raise BadSpec(f"the network was compiled for task {compiled.task!r}, and is compared for {task!r}")
    if hasattr(compiled, "ablation"):
        return  # it may be of another tree, whose leaves stand for those of this one
    own = compiled.plan.tree
    names = [own.names[int(v)] for v in compiled.query]
    wanted = [tree.names[int(v)] for v in (tree.roots[:1] if task == "classify" else tree.leaves)]
    if names != wanted:
        raise BadSpec(f"the network answers for {brief(names[0])}, ..., and is compared for {brief(wanted[0])}, ...")
