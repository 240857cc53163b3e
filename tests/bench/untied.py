"""Memory: a model of many large matrices, none of them shared, in a process of its own.

    python tests/bench/untied.py [EDGES] [STATES]

The numbers of its tables, in float64, are the unit of memory: EDGES * STATES^2 * 8 bytes, by default 305 MiB.
"""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path

import numpy as np
import torch
from _measure import machine, peak_mib, show


def resident_mib() -> float:
    """The memory that this process has resident now, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def main(edges: int = 1000, states: int = 200) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print(machine())
    rows = []
    began = time.process_time()

    def note(what: str) -> None:
        nonlocal began
        rows.append({"": what, "s": time.process_time() - began, "now MiB": resident_mib(), "peak MiB": peak_mib()})
        began = time.process_time()

    import hgm.networks.compile

    note("imports")
    rng = np.random.default_rng(0)
    tables = [rng.random((states, states)) + 0.1 for _ in range(edges)]
    note("tables")
    tree = hgm.Tree.from_edges([((i - 1) // 2, i, tables[i - 1]) for i in range(1, edges + 1)])
    note("tree")
    del tables
    ctypes.CDLL(None).malloc_trim(0)  # else glibc keeps them, and lends them to nobody who asks for one large block
    note("tables let go")
    network = hgm.compile(tree, query="all")
    note("network")
    e = torch.randn(1, states, len(tree.leaves), generator=torch.Generator().manual_seed(0))
    network(e)
    note("first run")
    print(f"\n{edges:,} untied matrices of {states} x {states}: {edges * states**2 * 8 / 2**20:.0f} MiB of numbers\n")
    print(show(rows))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
