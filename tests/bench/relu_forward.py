"""ReLU networks with a certificate (tolerance 0.01) against exact ones: building them, and their forward pass.

    python tests/bench/relu_forward.py [--seconds 8] [--markdown [FILE]]

The regular workloads W1 to W4 of workloads.py, and the binary tree of the study (depth 8, S=2, K=10); one thread, no
gradients, both networks in float32 and both in float64.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from _measure import machine, measure, show, write_between
from workloads import WORKLOADS, Workload, evidence

import hgm

RESULTS = Path(__file__).parent.parent.parent / "docs" / "relu.md"
BINARY = Workload(
    "", "binary, depth 8, S=2, K=10, batch 256", lambda: hgm.random_ghm(8, 2, 2, bound=10.0), 256, "complete"
)


def row(workload: Workload, seconds: float) -> dict[str, Any]:
    tree = workload.tree()
    start = time.process_time()
    relu = hgm.compile(tree, activation="relu", tol=1e-2)
    build = time.process_time() - start
    exact, e = hgm.compile(tree), evidence(tree, workload.batch)
    units = relu.certificate.units
    times = {}
    for dtype in (torch.float64, torch.float32):
        net, x = relu.to(dtype), e.to(dtype)
        times[dtype] = measure({"relu": lambda net=net, x=x: net(x), "exact": lambda x=x: exact(x)}, seconds)
    single, double = times[torch.float32], times[torch.float64]
    return {
        "": f"{workload.name} {workload.what}".strip(),
        "ReLUs": f"{units:,}",
        "build s": build,
        "exact ms": single["exact"],
        "ReLU ms": single["relu"],
        "ReLU / exact": single["relu"] / single["exact"],
        "in float64": double["relu"] / double["exact"],
        "ns per ReLU": single["relu"] * 1e6 / units / workload.batch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="measuring time per workload and precision")
    parser.add_argument("--markdown", nargs="?", type=Path, const=RESULTS, help="write the table into a file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print(machine(), flush=True)
    rows = [row(w, options.seconds) for w in (BINARY, *WORKLOADS) if w.kind == "complete"]
    print(f"\nReLU networks, tolerance 0.01, float32; medians\n\n{show(rows)}", flush=True)
    if options.markdown is not None:
        write_between(options.markdown, "forward", show(rows, markdown=True))
        write_between(options.markdown, "machine", machine())


if __name__ == "__main__":
    main()
