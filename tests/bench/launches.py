"""What a forward launches, counted by torch's dispatcher, and what half precision costs, on the workloads W1 to W8.

    python tests/bench/launches.py [--markdown]

Counts are the same on every device and every day. Views, which launch nothing, are left out.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import torch
from _measure import report
from _models import yule
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from workloads import RESULTS, WORKLOADS, Workload, complete, evidence

import hgm

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Launches(TorchDispatchMode):
    """Counts the operators that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[1]
        self.ran[name] += not (func.is_view or name == "_unsafe_view")
        return func(*args, **(kwargs or {}))


def launched(net: Any, e: Tensor, **options: Any) -> int:
    with Launches() as launches:
        net(e, **options)
    return launches.ran.total()


def count(workload: Workload) -> dict[str, Any]:
    """How many operators a forward runs, of one row and of the batch, and how many stages it has."""
    score = workload.kind == "phylogeny"
    net = hgm.compile(workload.tree(), "classify" if score else "posterior")
    e = evidence(net.plan.tree, workload.batch)
    options = {"outputs": "log_partition"} if score else {}
    stages = len(net.encoder) + len(net.decoder)
    never, now, later = (launched(net, e, check=check, **options) for check in (False, "now", "later"))
    return {
        "": f"{workload.name} {workload.what}",
        "stages": stages,
        "one row": launched(net, e[:1], check=False, **options),
        "the batch": never,
        "a stage": never / stages,
        "more with check='now'": now - never,
        "with 'later'": later - never,
    }


def halves(workload: Workload) -> dict[str, Any]:
    """The largest error of a marginal, of evidence in half precision."""
    net = hgm.compile(workload.tree())
    e = evidence(net.plan.tree, workload.batch)
    exact, row = net(e.double()), {"": f"{workload.name} {workload.what}"}
    for name, dtype in HALVES.items():
        half = net(e.to(dtype)).double()
        row[f"{name}, of the rounded evidence"] = float((half - net(e.to(dtype).double())).abs().max())
        row[f"{name}, of the evidence"] = float((half - exact).abs().max())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="write the tables into docs/benchmarks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    million = Workload("W7", "quad-tree, depth 10, S=4, batch 1", lambda: complete((2, 2), 10, 4), 1, "complete")
    sites = Workload("W8", "log Z, 500 leaves, S=4, 10,000 sites", lambda: yule(500, 4), 10_000, "phylogeny")
    report(
        {
            "launches": [count(w) for w in (*WORKLOADS, million, sites)],
            "half": [halves(w) for w in WORKLOADS],
        },
        RESULTS if options.markdown else None,
    )


if __name__ == "__main__":
    main()
