"""Networks to compare with, of about 100,000 parameters: their compute, forward and training step; the training loop.

    python tests/bench/baselines.py [--seconds 2] [--markdown [FILE]]

16 x 16 leaves with 4 values; batches of 64, one thread, float32. The loop stands beside one that is written out, with
the same sampling, noise, clipping and averaging, in processor time of whole runs, less that of short ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from math import log
from pathlib import Path
from typing import Any

import torch
from _measure import machine, measure, report

import hgm

RESULTS = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"
BATCH, PARAMETERS = 64, 100_000
CHANNEL = hgm.Gaussian([-1.0, -0.3, 0.3, 1.0])


def tree() -> hgm.Tree:
    return hgm.random_ghm(4, 4, (2, 2), seed=0)


def network(name: str, seconds: float) -> dict[str, Any]:
    """Sizes and times of one network."""
    net = hgm.baselines.make(name, tree(), CHANNEL, parameters=PARAMETERS, seed=0)
    z, sigma = torch.randn(BATCH, 16, 16), torch.full((BATCH,), 0.7)
    size = hgm.baselines.describe(net)

    def forward() -> None:
        with torch.no_grad():
            net(z, sigma)

    def step() -> None:
        net.zero_grad(set_to_none=True)
        net(z, sigma).square().mean().backward()

    times = measure({"forward": forward, "step": step}, seconds)
    return {
        "": name,
        "parameters": f"{size['parameters']:,}",
        "multiply-adds": f"{size['multiply_adds']:,}",
        "forward ms": times["forward"],
        "forward and backward ms": times["step"],
    }


def perceptron() -> torch.nn.Module:
    torch.manual_seed(0)

    class Perceptron(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            linear = torch.nn.Linear
            self.body = torch.nn.Sequential(linear(256, 64), torch.nn.ReLU(), linear(64, 256))

        def forward(self, z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return self.body(z.flatten(1)).view_as(z)

    return Perceptron()


def bare(net: torch.nn.Module, steps: int) -> float:
    """Seconds of a loop that is written out."""
    draws, generator = hgm.infer(tree()), torch.Generator().manual_seed(0)
    values = CHANNEL.table().float()
    weights = list(net.parameters())
    average = [w.detach().clone() for w in weights]
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    start, per_block = time.process_time(), 4096 // BATCH
    for t in range(steps):
        if t % per_block == 0:
            block = draws.sample(per_block * BATCH, generator=generator).leaves
        clean = values[block[t % per_block * BATCH :][:BATCH]]
        sigma = (log(0.1) + log(100) * torch.rand(BATCH, generator=generator)).exp()
        z = clean + sigma[:, None, None] * torch.randn(clean.shape, generator=generator)
        loss = (net(z, sigma) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        torch._foreach_lerp_(average, [w.detach() for w in weights], 1e-3)
        loss.item()
    return time.process_time() - start


def looped(net: torch.nn.Module, steps: int) -> float:
    """Seconds of `hgm.train`."""
    start = time.process_time()
    hgm.train(net, tree(), channel=CHANNEL, batch_size=BATCH, steps=steps, every=10**6, validation=0, progress=False)
    return time.process_time() - start


def loop(name: str, make: Any, steps: int) -> dict[str, Any]:
    """The loop beside the bare one."""
    times: dict[str, list[float]] = {"bare": [], "hgm.train": []}
    for _ in range(5):
        for contender, run in (("bare", bare), ("hgm.train", looped)):
            times[contender].append((run(make(), 64 + steps) - run(make(), 64)) / steps * 1e3)
    ms = {contender: statistics.median(several) for contender, several in times.items()}
    ratio = ms["hgm.train"] / ms["bare"]
    return {"": name, "bare ms a step": ms["bare"], "hgm.train ms a step": ms["hgm.train"], "ratio": f"{ratio:.2f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per network")
    parser.add_argument("--markdown", nargs="?", type=Path, const=RESULTS, help="write the tables into a file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), flush=True)
    tables = {
        "loop": [
            loop("two linear layers", perceptron, 512),
            loop("compiled", lambda: hgm.compile(tree(), "denoise", channel=CHANNEL, trainable=True), 128),
        ],
        "baselines": [network(name, options.seconds) for name in hgm.baselines.names()],
    }
    report(tables, options.markdown)


if __name__ == "__main__":
    main()
