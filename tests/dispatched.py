"""What a computation asks of torch, operation by operation: which of it waits for the device, and how much there is."""

from collections import Counter

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: operators that bring a number to the host, or whose result has a shape that depends on numbers
WAITING = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "nonzero_numpy",
    "repeat_interleave",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "lift_fresh",  # torch.tensor([...]): from the host to the device
}

#: methods and functions that do without an operator where everything is on one CPU
MOVING = (Tensor.cpu, Tensor.cuda, Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__array__)
MAKING = (torch.tensor, torch.as_tensor, torch.from_numpy)


class Operators(TorchDispatchMode):
    """The operators that run inside: how often each (`ran`), those that wait (`waited`), their results (`dtypes`)."""

    def __init__(self):
        super().__init__()
        self.ran, self.waited, self.dtypes = Counter(), [], Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[1]
        out = func(*args, **(kwargs or {}))
        computes = not (func.is_view or name == "_unsafe_view")  # a view only looks at memory in another way
        self.ran[name] += computes
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        devices = {x.device for x in (*given, *tree_leaves(out)) if isinstance(x, Tensor)}
        by_mask = name.startswith(("index", "_index")) and any(x.dtype == torch.bool for x in given[1:])
        if name in WAITING or len(devices) > 1 or (by_mask and name != "index_fill"):
            self.waited.append(name)
        if computes:
            self.dtypes.update((name, x.dtype) for x in tree_leaves(out) if isinstance(x, Tensor))
        return out


class Calls(TorchFunctionMode):
    """Names of the calls inside that move numbers between the host and a device, which on one CPU are no operators."""

    def __init__(self):
        super().__init__()
        self.moved = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in MOVING or func in MAKING:
            self.moved.append(func.__name__)
        return func(*args, **(kwargs or {}))


def waits(run):
    """What a function does for which it waits for the device, or the device for the host."""
    with Calls() as calls, Operators() as operators:
        run()
    return operators.waited + calls.moved


def counted(net, run):
    """How many operators each stage of a network runs, views left out: of the encoder, then of the decoder."""
    counts, inside = {}, []

    def before(stage, _):
        inside.append(Operators())
        inside[-1].__enter__()

    def after(stage, *_):
        mode = inside.pop()
        mode.__exit__(None, None, None)
        counts[stage] = counts.get(stage, 0) + mode.ran.total()

    stages = [*net.encoder, *net.decoder]
    hooks = [stage.register_forward_pre_hook(before) for stage in stages]
    hooks += [stage.register_forward_hook(after) for stage in stages]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return [counts.get(stage, 0) for stage in stages]
