"""What must be measured in a process of its own; `workloads.py` runs it and reads the JSON that it prints.

``million hgm|plain|tuned``: W7, a quad-tree on a million leaves: seconds of the clock for each step, and peak memory.
``plain W3``: plain torch without and then with `hgm.compile`'s request to the C library to keep freed memory.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

STARTED = time.perf_counter()


def million(who: str) -> dict[str, Any]:
    from _measure import measure, peak_mib
    from _models import regular
    from _plain import Batched, StatesFirst
    from workloads import complete, evidence

    import hgm

    imported, cpu_imported, base = time.perf_counter(), time.process_time(), peak_mib()
    tree = complete((2, 2), 10, 4)
    declared = time.perf_counter()
    network: Any = hgm.compile(tree) if who == "hgm" else {"plain": Batched, "tuned": StatesFirst}[who](regular(tree))
    compiled = time.perf_counter()
    if who != "hgm":
        torch.empty(31 << 20, dtype=torch.uint8)  # as hgm.compile does
    e = evidence(tree, 1)
    start = time.perf_counter()
    result = network(e)
    first = time.perf_counter() - start
    cpu = time.process_time() - cpu_imported
    del result
    again = measure({"run": lambda: network(e)}, 3.0)["run"]
    peak = peak_mib()
    result = network(e)
    exact = Batched(regular(tree), torch.float64)(e.double())
    return {
        "": who,
        "import s": imported - STARTED,
        "declare s": declared - imported,
        "compile s": compiled - declared if who == "hgm" else None,
        "first run s": first,
        "run s": again / 1e3,
        "declare + compile + run s": compiled - imported + first if who == "hgm" else None,
        "of it processor s": cpu if who == "hgm" else None,
        "peak MiB": peak,
        "of it imports": base,
        "error": float((result - exact).abs().max()),
    }


def plain(name: str) -> dict[str, Any]:
    from _measure import measure
    from workloads import WORKLOADS, evidence, peers

    workload = next(w for w in WORKLOADS if w.name == name)
    tree = workload.tree()
    e = evidence(tree, workload.batch)
    runs = {key: (lambda run=run: run(e)) for key, run in peers(tree, workload.kind).items()}
    before = measure(runs, 3.0)
    torch.empty(31 << 20, dtype=torch.uint8)  # what hgm.compile does
    after = measure(runs, 3.0)
    return {
        "": name,
        "plain ms": before["plain"],
        "plain, memory kept, ms": after["plain"],
        "tuned ms": before.get("tuned"),
        "tuned, memory kept, ms": after.get("tuned"),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print(json.dumps({"million": million, "plain": plain}[sys.argv[1]](sys.argv[2])))
