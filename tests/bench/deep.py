"""Deep trees: networks by levels and by paths, on chains, hidden Markov models, caterpillars and random trees.

    python tests/bench/deep.py [--seconds 6] [--markdown [FILE]] [--figures [FOLDER]]

One thread, float32, no gradients. The lines of long chains run in a process of their own, for their memory. A peer is
hmmlearn (compiled forward-backward, one sequence after the other), where it is installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import machine, measure, peak_mib, show, write_between

import hgm
from hgm.compiler.levels import by_levels
from hgm.compiler.paths import by_paths

ROOT = Path(__file__).parent.parent.parent
RESULTS, FIGURES = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "images"
LENGTHS = (100, 1000, 10_000, 100_000)
LEVELS_MOST = 10_000  # variables of a chain by levels: more take minutes
SERIES = (("chain", "levels"), ("chain", "paths"), ("random", "levels"))


def chain(n: int, states: int = 4) -> hgm.Tree:
    """A chain whose edges all have one random matrix."""
    table = np.random.default_rng(0).random((states, states)) + 0.1
    return hgm.Tree.from_edges([(i, i + 1, table) for i in range(n - 1)], {0: np.ones(states)})


TREES: dict[str, Callable[[int], hgm.Tree]] = {
    "chain": chain,
    "caterpillar": lambda n: hgm.caterpillar(n // 2, 4),
    "random": lambda n: hgm.random_tree(n, cardinality=(4, 4), seed=0),
    "balanced": lambda n: hgm.ghm([hgm.Level(2, 4)] * round(np.log2(n + 1) - 1), 4),
}


def alone(kind: str, n: int, schedule: str) -> dict[str, Any]:
    """A tree of n in this process: seconds to declare, compile and run it, all marginals of one row; and memory."""
    start = time.process_time()
    tree = TREES[kind](n)
    declared = time.process_time()
    net = hgm.compile(tree, query="all", observed="all", schedule=schedule)
    compiled = time.process_time()
    e = torch.randn(1, 4, n, generator=torch.Generator().manual_seed(0))
    net(e)
    first = time.process_time()
    run = measure({"run": lambda: net(e)}, 1.0)["run"]
    return {
        "": f"{kind} of {n:,}, {schedule}",
        "declare s": declared - start,
        "compile s": compiled - declared,
        "first run s": first - compiled,
        "run ms": run,
        "peak MiB": peak_mib(),
        "steps": f"{net.plan.steps:,}",
    }


def models(seconds: float) -> list[dict[str, Any]]:
    """Posteriors of all leaves or hidden states, by levels, by paths and by hmmlearn."""
    rows = []
    generator = torch.Generator().manual_seed(0)
    hmm = hgm.hmm(5000, states=16, symbols=16)
    symbols = torch.randint(16, (16, 5000), generator=generator)
    cases: list[tuple[str, hgm.Tree, Any, torch.Tensor]] = [
        ("caterpillar, 1,000 + 1,000, S=8, batch 32", hgm.caterpillar(1000, 8), "leaves", torch.randn(32, 8, 1000)),
        ("hidden Markov, 5,000, S=16, batch 16", hmm, [f"z{i}" for i in range(5000)], symbols),
        ("random, 3,000, S=4, batch 32", hgm.random_tree(3000, cardinality=(4, 4), seed=0), "leaves", torch.zeros(0)),
    ]
    for name, tree, query, x in cases:
        if not len(x):
            x = torch.randn(32, 4, len(tree.leaves), generator=generator)
        nets = {schedule: hgm.compile(tree, query=query, schedule=schedule) for schedule in ("levels", "paths")}
        exact = nets["levels"](x, outputs="posterior") if not x.is_floating_point() else nets["levels"](x.double())
        runs: dict[str, Callable[[], object]] = {s: lambda net=net, x=x: net(x) for s, net in nets.items()}
        if tree is hmm and (peer := hmmlearn(hmm, symbols)):
            runs["hmmlearn"] = peer
        times = measure(runs, seconds)
        rows.append(
            {
                "": name,
                "levels ms": times["levels"],
                "paths ms": times["paths"],
                "hmmlearn ms": times.get("hmmlearn"),
                "levels / paths": times["levels"] / times["paths"],
                "steps": f"{nets['levels'].plan.steps:,} and {nets['paths'].plan.steps:,}",
                "auto": hgm.compile(tree).plan.schedule,
                "error": float((nets["paths"](x) - exact).abs().max()),
            }
        )
    return rows


def hmmlearn(tree: hgm.Tree, symbols: torch.Tensor) -> Callable[[], object] | None:
    """Posteriors of hidden states by hmmlearn, of the model of `hgm.hmm`."""
    try:
        from hmmlearn.hmm import CategoricalHMM
    except ImportError:
        return None
    tables = {p.name: np.exp(p.dense_log()) for p in tree.potentials}
    peer = CategoricalHMM(tables["transition"].shape[0])
    peer.startprob_ = tables["prior"] / tables["prior"].sum()
    peer.transmat_, peer.emissionprob_ = tables["transition"], tables["emission"]
    peer.n_features = tables["emission"].shape[1]
    x, lengths = symbols.numpy().reshape(-1, 1), [symbols.shape[1]] * len(symbols)
    ours = hgm.compile(tree, query=["z7"])(symbols.double().long()).squeeze(-1)
    theirs = peer.predict_proba(x, lengths).reshape(len(symbols), symbols.shape[1], -1)[:, 7]
    if not np.abs(ours.numpy() - theirs).max() < 1e-5:
        raise SystemExit("hmmlearn and hgm disagree")
    return lambda: peer.predict_proba(x, lengths)


def figures(folder: Path, timed: list[dict[str, Any]]) -> None:
    """Depth in steps against n, and the time of chains and random trees against n."""
    from matplotlib.figure import Figure

    from hgm.viz.style import PALETTE, dress

    figure = Figure(figsize=(7.0, 4.2), facecolor="white", layout="constrained")
    axis = figure.subplots()
    for (name, make), color in zip(TREES.items(), PALETTE, strict=False):
        sizes = [n for n in (10, 31, 127, 511, 2047, 8191, 32767) if name != "balanced" or n < 20_000]
        for plan, style, schedule in ((by_levels, "--", "levels"), (by_paths, "-", "paths")):
            shown = [n for n in sizes if plan is by_paths or n < 10_000]
            steps = [plan(make(n)).steps for n in shown]
            axis.plot(shown, steps, style, color=color, marker="o", markersize=3, label=f"{name}, {schedule}")
    axis.set(xscale="log", yscale="log", xlabel="variables n", ylabel="depth in steps")
    axis.legend(frameon=False, fontsize=8, ncols=2)
    dress(axis, 8)
    figure.savefig(folder / "depth.svg", metadata={"Date": None})

    figure = Figure(figsize=(7.0, 4.2), facecolor="white", layout="constrained")
    axis = figure.subplots()
    for (kind, schedule), color in zip(SERIES, PALETTE, strict=False):
        mine = [row for row in timed if row[""].startswith(kind) and row[""].endswith(schedule)]
        n = [int(row[""].split()[2].replace(",", "")) for row in mine]
        for key, style, factor in (("run ms", "-", 1.0), ("compile s", ":", 1e3)):
            y = [row[key] * factor for row in mine]
            axis.plot(n, y, style, color=color, marker="o", markersize=3, label=f"{kind}, {schedule}: {key.split()[0]}")
    axis.set(xscale="log", yscale="log", xlabel="variables, S = 4", ylabel="milliseconds")
    axis.legend(frameon=False, fontsize=8)
    dress(axis, 8)
    figure.savefig(folder / "chains.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="measuring time per line")
    parser.add_argument("--markdown", nargs="?", type=Path, const=RESULTS, help="write the tables into a file")
    parser.add_argument("--figures", nargs="?", type=Path, const=FIGURES, help="draw the figures into a folder")
    parser.add_argument("--alone", nargs=3, metavar=("KIND", "N", "SCHEDULE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if options.alone:
        kind, n, schedule = options.alone
        print(json.dumps(alone(kind, int(n), schedule)))
        return
    print(machine(), flush=True)
    sizes = []
    for kind, schedule in SERIES:
        for n in LENGTHS:
            if (kind, schedule) != ("chain", "levels") or n <= LEVELS_MOST:
                command = [sys.executable, __file__, "--alone", kind, str(n), schedule]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                sizes.append(json.loads(done.stdout))
    rows = models(options.seconds)
    tables = (("deep", "Deep trees", rows), ("chains", "Chains and random trees, one row, all marginals", sizes))
    for name, title, table in tables:
        print(f"\n{title}\n\n{show(table)}", flush=True)
        if options.markdown is not None:
            write_between(options.markdown, name, show(table, markdown=True))
    if options.figures is not None:
        figures(options.figures, sizes)


if __name__ == "__main__":
    main()
