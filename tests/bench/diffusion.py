"""Diffusion: the compiled U-Net beside diffusers' UNet2DModel, whole sampling runs, the wrapper, and step schedules.

    python tests/bench/diffusion.py [--seconds 8] [--markdown [FILE]]

Images of 32 x 32; one thread, no gradients, float32. A UNet2DModel of about as many parameters is found
by trying numbers of channels: three resolutions, one block each, no attention.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _measure import machine, measure, report

import hgm

RESULTS = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"
BATCH = 32


def tied(states: int = 16) -> hgm.Tree:
    """One table for each level and position."""
    return hgm.random_ghm(5, states, (2, 2), seed=0)


def untied() -> hgm.Tree:
    """One table for each edge."""
    return hgm.ghm([hgm.Level((2, 2), 16, tie="none") for _ in range(5)], 16, seed=0)


def unet(tree: hgm.Tree) -> hgm.UNet:
    states = int(tree.cardinality[tree.leaves[0]])
    net = hgm.compile(tree, "denoise", channel=hgm.Gaussian(torch.linspace(-1, 1, states)))
    assert isinstance(net, hgm.UNet)
    return net


def rival(parameters: int) -> Any:
    """A UNet2DModel of the nearest number of parameters."""
    from diffusers import UNet2DModel

    def make(width: int) -> Any:
        return UNet2DModel(
            sample_size=32,
            in_channels=1,
            out_channels=1,
            layers_per_block=1,
            norm_num_groups=2,
            add_attention=False,
            block_out_channels=(width, width, width),
            down_block_types=("DownBlock2D",) * 3,
            up_block_types=("UpBlock2D",) * 3,
        ).eval()

    models = (make(width) for width in range(2, 60, 2))
    return min(models, key=lambda model: abs(sum(p.numel() for p in model.parameters()) - parameters))


def step(name: str, tree: hgm.Tree, seconds: float) -> dict[str, Any]:
    """One denoising step."""
    net = unet(tree)
    other = rival(net.plan.weights)
    z, sigma, t = torch.randn(BATCH, 32, 32), torch.full((BATCH,), 0.5), torch.full((BATCH,), 300)
    shown = z[:, None]
    times = measure({"hgm": lambda: net(z, sigma), "diffusers": lambda: other(shown, t).sample}, seconds)
    return {
        "": f"{name}, batch {BATCH}",
        "weights": f"{net.plan.weights:,}",
        "UNet2DModel's": f"{sum(p.numel() for p in other.parameters()):,}",
        "hgm ms": times["hgm"],
        "UNet2DModel ms": times["diffusers"],
        "UNet2DModel / hgm": times["diffusers"] / times["hgm"],
    }


def wrapper(batch: int, seconds: float) -> dict[str, Any]:
    """What the wrapper for diffusers adds to the network, which is given z = u / alpha, as it must be."""
    from diffusers import DDIMScheduler

    net, scheduler = unet(tied()), DDIMScheduler(clip_sample=False, prediction_type="sample")
    model = hgm.diffusion.as_diffusers(net, scheduler)
    shown, t = torch.randn(batch, 1, 32, 32), torch.tensor(300)
    square = float(scheduler.alphas_cumprod[300])
    alpha, sigma = square**0.5, torch.full((batch,), (1 / square - 1) ** 0.5)
    times = measure(
        {"net": lambda: net(shown[:, 0] / alpha, sigma), "wrapped": lambda: model(shown, t).sample}, seconds
    )
    return {
        "": f"S=16, tied, batch {batch}",
        "network ms": times["net"],
        "as_diffusers ms": times["wrapped"],
        "overhead": f"{100 * (times['wrapped'] / times['net'] - 1):.1f}%",
    }


def run(steps: int, n: int = 256) -> dict[str, Any]:
    """A whole DDIM run, in a process of its own for its peak of memory."""
    code = f"import diffusion; diffusion.alone({steps}, {n})"
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    seconds, mib = (float(x) for x in done.stdout.split())
    return {"": f"DDIM, {steps} steps, {n} images of 32 x 32", "seconds": seconds, "peak MiB": mib}


def alone(steps: int, n: int) -> None:
    torch.set_num_threads(1)
    net = unet(tied())
    hgm.diffusion.sample(net, "ddim", 2, steps=2)
    start = time.process_time()
    hgm.diffusion.sample(net, "ddim", n, steps=steps, generator=torch.Generator().manual_seed(0))
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def schedules() -> list[dict[str, Any]]:
    """Step schedules, with everything: samples, posteriors, the dynamic programme."""
    rows = []
    for leaves, tree in (
        (64, hgm.random_ghm(6, 4, 2, bound=10, seed=0)),
        (256, hgm.random_ghm(4, 4, (2, 2), bound=10, seed=0)),
    ):
        start = time.process_time()
        found = hgm.diffusion.schedule(tree, 8)
        seconds = time.process_time() - start
        rows.append({"": f"{leaves} leaves, S=4, 8 steps", "seconds": seconds, "KL": f"{found.kl:.3f} nats"})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="measuring time per line")
    parser.add_argument("--markdown", nargs="?", type=Path, const=RESULTS, help="write the tables into a file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    print(machine(), flush=True)
    trees = {"S=4, tied": tied(4), "S=16, tied": tied(), "S=16, untied": untied()}
    tables = {
        "denoising": [step(name, tree, options.seconds) for name, tree in trees.items()],
        "wrapper": [wrapper(batch, options.seconds) for batch in (1, 32, 256)],
        "runs": [run(5), run(50), run(200)],
        "schedules": schedules(),
    }
    report(tables, options.markdown)


if __name__ == "__main__":
    main()
