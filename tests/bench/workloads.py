"""Compiled networks against plain torch and against the bare matrix products, on the workloads W1 to W8.

    python tests/bench/workloads.py [W3 W6 ...] [--seconds 8] [--compile] [--markdown [FILE]]

Posteriors of all leaves (W8: log Z of each site), float32, one thread, no gradients, evidence as logs ``(B, S, n)``.
The matrices of complete trees are tied per sibling position (as `hgm.ghm` does it), those of other trees untied.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _beagle import Beagle, found
from _floor import edges_floor, regular_floor
from _likelihood import NodeByNode
from _measure import machine, measure, show, write_between
from _models import edges, regular, yule
from _plain import Batched, Caterpillar, Levels, StatesFirst
from torch import Tensor

import hgm
from hgm import Level, Tree

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "docs" / "benchmarks.md"

Function = Callable[[Tensor], Tensor]


def complete(arity: int | tuple[int, int], depth: int, states: int) -> Tree:
    """A complete tree with random tables, tied per sibling position."""
    return hgm.ghm([Level(arity, states)] * depth, root=states, seed=0)


@dataclass(frozen=True)
class Workload:
    """A model, a batch, and the peers: plain torch, and a version of it that is tuned to the kind of tree."""

    name: str
    what: str
    tree: Callable[[], Tree]
    batch: int
    kind: str


WORKLOADS = [
    Workload("W1", "binary, depth 6, S=4, batch 1", lambda: complete(2, 6, 4), 1, "complete"),
    Workload("W2", "binary, depth 6, S=4, batch 256", lambda: complete(2, 6, 4), 256, "complete"),
    Workload("W3", "binary, depth 10, S=8, batch 32", lambda: complete(2, 10, 8), 32, "complete"),
    Workload("W4", "quad-tree, depth 5, S=16, batch 32", lambda: complete((2, 2), 5, 16), 32, "complete"),
    Workload("W5", "caterpillar, 1,000 + 1,000, S=8, batch 32", lambda: hgm.caterpillar(1000, 8), 32, "caterpillar"),
    Workload(
        "W6",
        "irregular, 1,000 nodes, S=2..10, batch 32",
        lambda: hgm.random_tree(1000, cardinality=(2, 10), seed=0),
        32,
        "irregular",
    ),
]


def evidence(tree: Tree, batch: int, seed: int = 0) -> Tensor:
    """Random log evidence of all leaves, ``(B, S, *leaf shape)``, 0 in states that a leaf does not have."""
    generator = torch.Generator().manual_seed(seed)
    cardinality = torch.from_numpy(tree.cardinality[tree.leaves])
    e = torch.randn(batch, int(cardinality.max()), len(tree.leaves), generator=generator)
    e = e.masked_fill(torch.arange(e.shape[1])[:, None] >= cardinality, 0.0)
    return e.view(*e.shape[:2], *tree.leaf_shape)


def peers(tree: Tree, kind: str, dtype: torch.dtype = torch.float32) -> dict[str, Function]:
    """Plain torch for a kind of tree, and a tuned version if there is one."""
    if kind == "complete":
        return {"plain": Batched(regular(tree), dtype), "tuned": StatesFirst(regular(tree), dtype)}
    found: dict[str, Function] = {"plain": Levels(edges(tree), dtype)}
    if kind == "caterpillar":
        found["tuned"] = Caterpillar(edges(tree), dtype)
    return found


def check() -> None:
    """Every peer equals `hgm.infer` on small trees, in float64."""
    small = [
        (complete(3, 3, 4), "complete"),
        (complete((2, 3), 2, 3), "complete"),
        (hgm.caterpillar(20, 3, 4), "caterpillar"),
        (hgm.random_tree(60, cardinality=(2, 6), seed=1), "irregular"),
    ]
    for tree, kind in small:
        e = evidence(tree, 3).double()
        full = e.new_zeros(3, int(tree.cardinality.max()), len(tree))
        full[:, : e.shape[1], torch.tensor(tree.leaves)] = e.flatten(2)
        missing = torch.arange(full.shape[1])[:, None] >= torch.tensor(tree.cardinality)
        posterior = hgm.infer(tree, full.masked_fill(missing, -torch.inf))
        want = posterior.marginals[:, : e.shape[1], torch.tensor(tree.leaves)]
        for name, run in peers(tree, kind, torch.float64).items():
            worst = float((run(e).flatten(2) - want).abs().max())
            if not worst < 1e-12:
                raise SystemExit(f"{name} is wrong by {worst:.1e} on a {tree!r}")
    tree = yule(30, 4)
    e = evidence(tree, 5)
    got, want = NodeByNode(edges(tree), 5, 2)(e.exp().permute(2, 1, 0)), Levels(edges(tree)).log_partition(e)
    exact = hgm.compile(tree).log_partition(e.double())
    if not max(float((got - exact).abs().max()), float((want - exact).abs().max())) < 1e-4:
        raise SystemExit("the peers of W8 are wrong")


def posterior_row(workload: Workload, seconds: float, compiled: bool) -> dict[str, Any]:
    """One line of the table: W1 to W6."""
    tree = workload.tree()
    e = evidence(tree, workload.batch)
    network = hgm.compile(tree, task="posterior", query="leaves")
    runs = {"hgm": network, **peers(tree, workload.kind)}
    if workload.kind == "complete":
        floor = regular_floor(regular(tree), workload.batch)
        exact = Batched(regular(tree), torch.float64)(e.double())
    else:
        floor = edges_floor(edges(tree), workload.batch)
        exact = Levels(edges(tree), torch.float64)(e.double())
    if compiled:
        runs["compiled"] = torch.compile(network)
    error = {name: float((run(e) - exact).abs().max()) for name, run in runs.items()}
    contenders: dict[str, Callable[[], object]] = {name: lambda run=run: run(e) for name, run in runs.items()}
    times = measure({**contenders, "floor": floor}, seconds)
    row = {
        "": f"{workload.name} {workload.what}",
        "plain ms": times["plain"],
        "tuned ms": times.get("tuned"),
        "hgm ms": times["hgm"],
        "floor ms": times["floor"],
        "plain / hgm": times["plain"] / times["hgm"],
        "tuned / hgm": times["tuned"] / times["hgm"] if "tuned" in times else None,
        "hgm / floor": times["hgm"] / times["floor"],
        "error hgm": error["hgm"],
        "error plain": error["plain"],
    }
    return row | ({"torch.compile ms": times["compiled"]} if compiled else {})


def phylogeny_row(seconds: float, leaves: int = 500, sites: int = 10_000, states: int = 4) -> list[dict[str, Any]]:
    """W8: log Z of every site of simulated sequences; the tuned peer is node by node on ``(S, sites)``.

    hgm is given symbols, and, in a second line, log evidence. A third line is against native code, if it is there.
    """
    tree = yule(leaves, states)
    model = edges(tree)
    symbols = simulate(tree, sites)
    e = torch.where(torch.nn.functional.one_hot(symbols, states).transpose(1, 2) > 0, 0.0, -torch.inf)
    tips = e.exp().permute(2, 1, 0).contiguous()
    network, plain, tuned = hgm.compile(tree, task="classify"), Levels(model), NodeByNode(model, sites)
    some = slice(0, 200)
    exact = Levels(model, torch.float64).log_partition(e[some].double())
    got = {
        "hgm": network.log_partition(symbols),
        "logs": network.log_partition(e),
        "plain": plain.log_partition(e),
        "tuned": tuned(tips),
    }
    error = {name: float(((z[some] - exact) / exact).abs().max()) for name, z in got.items()}
    del got
    contenders: dict[str, Callable[[], object]] = {
        "hgm": lambda: network.log_partition(symbols),
        "logs": lambda: network.log_partition(e),
        "plain": lambda: plain.log_partition(e),
        "tuned": lambda: tuned(tips),
    }
    if found():
        native = Beagle(model, symbols.numpy())
        if not np.abs(native()[some] - exact.numpy()).max() < 1e-3:
            raise SystemExit("BEAGLE and plain torch disagree")
        contenders["native"] = native
    times = measure({**contenders, "floor": edges_floor(model, sites, both=False)}, seconds)
    rows = [
        {
            "": f"W8 log Z, {leaves} leaves × {sites:,} sites, S={states}{form}",
            "plain ms": times["plain"],
            "tuned ms": times["tuned"],
            "hgm ms": times[name],
            "floor ms": times["floor"],
            "plain / hgm": times["plain"] / times[name],
            "tuned / hgm": times["tuned"] / times[name],
            "hgm / floor": times[name] / times["floor"],
            "error hgm": error[name],
            "error plain": error["plain"],
        }
        for name, form in (("hgm", ""), ("logs", ", as log evidence"))
    ]
    if found():
        line = {"BEAGLE ms": times["native"], "hgm ms": times["hgm"], "BEAGLE / hgm": times["native"] / times["hgm"]}
        rows.append({"": f"{rows[0]['']}, BEAGLE ({native.name})"} | line)
    return rows


def simulate(tree: Tree, sites: int, seed: int = 0) -> Tensor:
    """``(sites, leaves)`` symbols drawn from the model of `yule`, by inversion from the root down."""
    model, rng = edges(tree), np.random.default_rng(seed)
    states = np.zeros((len(tree), sites), dtype=np.int64)
    for v in range(len(tree)):
        matrix = model.matrices[v]
        rows = np.broadcast_to(model.prior[v], (sites, 4)) if matrix is None else matrix[states[model.parent[v]]]
        steps = rows.cumsum(1)
        states[v] = (rng.random((sites, 1)) * steps[:, -1:] > steps[:, :-1]).sum(1)
    return torch.from_numpy(states[model.leaves].T.copy())


def alone(*arguments: str) -> dict[str, Any]:
    """What `_alone.py` prints, run in a fresh process."""
    done = subprocess.run(
        [sys.executable, str(HERE / "_alone.py"), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [w.name for w in WORKLOADS] + ["W7", "W8", "fresh"]
    parser.add_argument("which", nargs="*", metavar="W1 .. W8, fresh", help="default all")
    parser.add_argument("--seconds", type=float, default=8.0, help="measuring time per workload")
    parser.add_argument("--compile", action="store_true", help="also the network under torch.compile")
    parser.add_argument(
        "--markdown", nargs="?", type=Path, const=RESULTS, help="write the tables that were run in full into a file"
    )
    options = parser.parse_args()
    which = options.which or names
    if set(which) - set(names):
        parser.error(f"unknown workload {sorted(set(which) - set(names))}; there are {', '.join(names)}")

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    check()
    print(machine(), flush=True)

    def out(name: str, title: str, rows: list[dict[str, Any]], whole: bool = True) -> None:
        if rows:
            print(f"\n{title}\n\n{show(rows)}", flush=True)
            if options.markdown is not None and whole:
                write_between(options.markdown, name, show(rows, markdown=True))

    rows = [posterior_row(w, options.seconds, options.compile) for w in WORKLOADS if w.name in which]
    native: list[dict[str, Any]] = []
    if "W8" in which:
        symbols, logs, *native = phylogeny_row(options.seconds)
        rows += [symbols, logs]
    title = "Medians; error: largest difference of a marginal from float64 (W8: relative, of log Z)"
    out("workloads", title, rows, whole=len(rows) == len(WORKLOADS) + 2)
    out("native", "W8 against native code", native)
    if "W7" in which:
        title = "W7 quad-tree on 1024 x 1024, S=4, batch 1, tied; each in a process of its own, seconds of the clock"
        out("million", title, [alone("million", who) for who in ("hgm", "plain", "tuned")])
    if "fresh" in which:
        some = [w.name for w in WORKLOADS if w.kind != "caterpillar" and w.batch > 1]
        title = "Plain torch in a process of its own: as it comes, and with freed memory kept"
        out("fresh", title, [alone("plain", name) for name in some])
    if options.markdown is not None:
        write_between(options.markdown, "machine", f"{machine()}.")


if __name__ == "__main__":
    main()
