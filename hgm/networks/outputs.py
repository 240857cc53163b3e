"""What a network can be asked for in one forward: a name, or a tuple of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from torch import Tensor

from hgm.errors import BadSpec, brief, did_you_mean

__all__ = ["OUTPUTS", "Output", "Outputs", "as_asked", "asked"]

Output = Literal["mean", "posterior", "log_posterior", "leave_one_out", "log_partition"]

Outputs = Output | Sequence[Output]

OUTPUTS: tuple[str, ...] = get_args(Output)


def asked(outputs: Any, lacks: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the outputs that are asked for.

    Args:
        outputs: a name, or a tuple or list of names.
        lacks: why a network cannot give some of them.

    Raises:
        BadSpec: for an unknown name, no name, or an output that the network cannot give.
    """
    names = (outputs,) if isinstance(outputs, str) else outputs
    if not isinstance(names, tuple | list) or not names:
        raise BadSpec(f"outputs must be a name or a tuple of names, of {', '.join(OUTPUTS)}; got {brief(outputs)}")
    for name in names:
        if not isinstance(name, str) or name not in OUTPUTS:
            close = did_you_mean(name, OUTPUTS)
            raise BadSpec(f"a network has the outputs {', '.join(OUTPUTS)}, and no {brief(name)}{close}")
        if name in lacks:
            raise BadSpec(f"this network has no output {name!r}: {lacks[name]}")
    return tuple(names)


def as_asked(outputs: Any, found: tuple[Tensor, ...]) -> Any:
    """A tensor for a name, a tuple for a tuple."""
    return found[0] if isinstance(outputs, str) else found
