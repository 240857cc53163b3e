"""How many threads of the CPU are worth it for a network and a batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from hgm.errors import BadSpec, brief
from hgm.networks.network import Network
from hgm.networks.running import SLICE
from hgm.tree.arguments import whole

__all__ = ["threads"]

#: torch cuts an operation into pieces of at least so many numbers (``at::internal::GRAIN_SIZE``)
GRAIN = 1 << 15


def threads(network: Network, rows: int) -> AbstractContextManager[int]:
    """Run with no more threads than a network can use, and give torch its own number back at the end.

        with hgm.threads(net, len(z)):
            p = net(z)

    A thread is of use if it has a whole piece of a level to work on: that many numbers, states times leaves times
    ``rows``, are 32,768 for torch. Threads beyond wait for each other, which on a machine with other work costs far
    more than it gains. The number is never raised, and never that of another process; but torch has one for all of a
    process, so what other Python threads start in the meantime has it too.

    Args:
        network: what is to run.
        rows: how many rows of a batch it gets at once.

    Returns:
        A context, which gives the number of threads.

    Raises:
        BadSpec: for what is no network, or no number of rows.
    """
    if not isinstance(network, Network):
        raise BadSpec(f"network must be one that hgm.compile made; got {brief(network)}")
    numbers = min(whole("rows", rows, 0) * network.row_size, max(SLICE, network.row_size))  # as it is cut in slices
    return _at_most(max(1, numbers // GRAIN))


@contextmanager
def _at_most(number: int) -> Iterator[int]:
    before = torch.get_num_threads()
    used = min(before, number)
    torch.set_num_threads(used)
    try:
        yield used
    finally:
        torch.set_num_threads(before)
