"""Compiled networks against pgmpy: time per observation for the marginals of all unobserved leaves.

    python tests/bench/against_pgmpy.py [--markdown [FILE]]

pgmpy's exact algorithms get hard evidence at every second leaf, one observation at a time, and are asked for the
marginals of the other leaves; hgm gets the same evidence, alone and in a batch. All answers are compared.
W3 takes pgmpy many minutes: its time is extrapolated from shallower trees, see `extrapolated`.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import machine, measure, show, write_between
from workloads import RESULTS, complete

import hgm
from hgm import Tree

#: bytes of address space that pgmpy gets: its junction tree of W1 asks for hundreds of GiB, or takes what there is
MEMORY = 8 << 30

#: observations that hgm gets at once
BATCH = 256


def models() -> dict[str, Callable[[], Tree]]:
    """The models, smallest first."""
    return {
        "chain of 10 (HMM), S=3": lambda: hgm.hmm(10, 3, 3),
        "binary, depth 3, S=4": lambda: complete(2, 3, 4),
        "irregular, 40 nodes, S=2..5": lambda: hgm.random_tree(40, cardinality=(2, 5), unary=1.0, seed=0),
        "W1 binary, depth 6, S=4": lambda: complete(2, 6, 4),
    }


def observation(tree: Tree, batch: int, seed: int = 0) -> torch.Tensor:
    """``(batch, leaves)`` states of every second leaf, -1 at the others."""
    rng = np.random.default_rng(seed)
    x = rng.integers(tree.cardinality[tree.leaves], size=(batch, len(tree.leaves)))
    x[:, 1::2] = -1
    return torch.from_numpy(x)


def pgmpy_runs(tree: Tree, x: torch.Tensor) -> dict[str, Callable[[], dict[str, np.ndarray]]]:
    """For each algorithm of pgmpy, what computes the marginals of the unobserved leaves of one observation."""
    from pgmpy.inference import BeliefPropagation, BeliefPropagationWithMessagePassing, VariableElimination

    names = [tree.names[int(v)] for v in tree.leaves]
    evidence = {name: int(state) for name, state in zip(names, x.tolist(), strict=True) if state >= 0}
    wanted = [name for name in names if name not in evidence]
    markov, graph = hgm.to_pgmpy(tree, "markov"), hgm.to_pgmpy(tree, "factor_graph")

    def values(found: dict[str, Any]) -> dict[str, np.ndarray]:
        # variable elimination does not normalise what it gets from a Markov network
        return {name: found[name].values / found[name].values.sum() for name in wanted}

    def elimination() -> dict[str, np.ndarray]:
        engine = VariableElimination(markov)
        return values({v: engine.query([v], evidence, show_progress=False) for v in wanted})

    def junction_tree() -> dict[str, np.ndarray]:
        return values(BeliefPropagation(markov).query(wanted, evidence, joint=False, show_progress=False))

    def message_passing() -> dict[str, np.ndarray]:
        return values(BeliefPropagationWithMessagePassing(graph).query(wanted, evidence))

    return {"elimination": elimination, "junction tree": junction_tree, "message passing": message_passing}


def row(name: str, tree: Tree) -> dict[str, Any]:
    """One line of the table; an algorithm that runs out of memory gets no number."""
    x = observation(tree, BATCH)
    network = hgm.compile(tree)
    got = network(x[:1])[0].flatten(1)
    column = {tree.names[int(v)]: i for i, v in enumerate(tree.leaves)}
    times: dict[str, float | None] = {}
    worst = 0.0
    for algorithm, run in pgmpy_runs(tree, x[0]).items():
        times[f"{algorithm} ms"], found = timed(run)
        for v, marginal in found.items():
            worst = max(worst, float(np.abs(marginal - got[: len(marginal), column[v]].numpy()).max()))
    return {"": name, **times, **hgm_columns(network, x, min(t for t in times.values() if t)), "difference": worst}


def hgm_columns(network: Callable[..., object], x: torch.Tensor, pgmpy: float) -> dict[str, float]:
    """hgm's times and the ratios to pgmpy's fastest algorithm."""
    times = measure({"one": lambda: network(x[:1]), "many": lambda: network(x)}, 2.0)
    return {
        "hgm, one, ms": times["one"],
        f"hgm, of {len(x)}, ms": times["many"] / len(x),
        "best pgmpy / hgm, one": pgmpy / times["one"],
        f"best pgmpy / hgm, of {len(x)}": pgmpy * len(x) / times["many"],
    }


def timed(run: Callable[[], dict[str, np.ndarray]]) -> tuple[float | None, dict[str, np.ndarray]]:
    """Milliseconds of the processor for one call, the median of three if it is short, and its result."""
    times = []
    found: dict[str, np.ndarray] = {}
    while len(times) < 3 and sum(times) < 1e3:
        start = time.process_time()
        try:
            found = run()
        except MemoryError:
            return None, {}
        times.append((time.process_time() - start) * 1e3)
    return float(np.median(times)), found


def extrapolated() -> dict[str, Any]:
    """W3. Message passing is pgmpy's only algorithm that can do it; its time grows more than quadratically.

    From depth 7 to 8 the number of nodes doubles; the factor in time, or 4 if that is smaller, is taken for each of the
    two further levels.
    """
    tree = complete(2, 10, 8)
    x = observation(tree, BATCH)
    times = []
    for depth in (7, 8):
        small = complete(2, depth, 8)
        took, _ = timed(pgmpy_runs(small, observation(small, 1)[0])["message passing"])
        assert took is not None
        times.append(took)
    took = times[1] * max(4.0, times[1] / times[0]) ** 2
    name = "W3 binary, depth 10, S=8 (pgmpy extrapolated from depth 8)"
    return {"": name, "message passing ms": took, **hgm_columns(hgm.compile(tree), x, took)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", nargs="?", type=Path, const=RESULTS, help="write the table into a file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    rows = [row(name, make()) for name, make in models().items()]
    rows.append({key: None for key in rows[0]} | extrapolated())
    print(f"{machine()}\n\npgmpy's three algorithms and hgm, per observation\n\n{show(rows)}")
    if options.markdown is not None:
        write_between(options.markdown, "pgmpy", show(rows, markdown=True))


if __name__ == "__main__":
    main()
