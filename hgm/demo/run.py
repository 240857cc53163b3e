"""`run`: the whole demonstration, step by step."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from hgm.bp.posterior import infer
from hgm.demo.diffusion import diffuse, lines
from hgm.demo.digits import LABEL, Digits, Settings, learn, load, require_libraries
from hgm.demo.measure import (
    Networks,
    accuracy,
    add_noise,
    baseline_accuracy,
    compare,
    linear_denoiser,
    naive_bayes,
    prior_denoiser,
    psnr,
)
from hgm.demo.results import Images, Results
from hgm.errors import BadSpec
from hgm.files.model import save
from hgm.files.whole import write_whole
from hgm.networks.compile import compile
from hgm.networks.heads import UNet
from hgm.tree.tree import Tree

__all__ = ["SIGMAS", "run"]

SIGMAS = (1.0, 2.0, 4.0)
SAMPLES = 5  # new images of each digit
DRAWS = 4  # of noise, for each test image and noise level
CONVNET, UNET, RELU_UNET = "ConvNet", "U-Net", "ReLU U-Net"
TOL = 1.0  # grey levels, of the means that the ReLU U-Net gives
STEPS = 10


def run(out: str | os.PathLike[str] = "out", *, seed: int = 0, settings: Settings | None = None) -> Results:
    """Learn the digits, compile the networks, check, classify, denoise, sample, diffuse; write pictures and a report.

    Prints what it does. The same seed gives the same numbers on the same machine; the split is always the same.

    Args:
        out: directory for ``report.html``, ``digits.png``, ``digits.yaml`` (the model) and ``figures.json``; made if
            needed.
        seed: of clustering, noise and samples.
        settings: of the model; default those of `Settings`.

    Raises:
        HgmError: if scikit-learn, diffusers, matplotlib or jinja2 is not installed.
        BadSpec: if `out` cannot be written.
    """
    place = _directory(out)
    _say("handwritten digits as a generative hierarchical model")
    require_libraries()
    settings = Settings() if settings is None else settings
    clock = _Clock()

    with clock("load"):
        digits = load()
    _say(f"{len(digits.train):,} images to learn from, {len(digits.test):,} to test on: 8x8 pixels, 17 grey levels")
    with clock("learn"):
        fit = learn(digits, settings, seed)
    tree = fit.tree
    _say(f"learned   {tree!r}")
    nats = fit.log_likelihood[-1] / fit.rows
    _say(f"          {fit.iterations} iterations of EM, log likelihood {nats:.2f} per image  [{clock}]")
    with clock("compile"):
        networks = Networks.of(tree)
    _say(f"compiled  a ConvNet (classifier) and a U-Net (denoiser)  [{clock}]")
    with clock("compile to ReLUs"):
        channel = networks.denoiser.channel
        relu_unet = compile(tree, "denoise", channel=channel, activation="relu", tol=TOL, bound="mean")
        assert isinstance(relu_unet, UNet) and relu_unet.certificate is not None
    certificate = relu_unet.certificate
    _say(
        f"          and a U-Net of {certificate.units:,} ReLUs, proved: its means are within "
        f"{certificate.mean:.2f} grey levels of the exact ones  [{clock}]"
    )

    noisy = {sigma: add_noise(digits.test, sigma, seed, DRAWS) for sigma in SIGMAS}  # the same noise, scaled
    with clock("check against the reference"):
        differences = compare(tree, networks, digits.test, noisy[2.0][: len(digits.test)], 2.0)
    for name, difference in differences.items():
        _say(f"checked   {name:18s} largest difference to the reference {difference:.1e}")
    _say(f"          on all {len(digits.test)} test images, in probability  [{clock}]")

    with clock("classify"):
        rates, posterior = _classify(digits, networks, noisy, settings.slack)
    _say(f"classify  {'accuracy on':22s}{'clean':>9s}" + "".join(f"  sigma {s:g}" for s in SIGMAS))
    for method, row in rates.items():
        _say(f"          {method:22s}" + "".join(f"{100 * value:8.1f}%" for value in row.values()))
    with clock("denoise"):
        ratios, denoised, difference = _denoise(digits, networks, relu_unet, noisy)
    _say(f"denoise   {'PSNR in dB':22s}" + "".join(f"  sigma {s:g}" for s in SIGMAS))
    for method, row in ratios.items():
        _say(f"          {method:22s}" + "".join(f"{value:9.2f}" for value in row.values()))
    _say(f"          the means of the {RELU_UNET} differ by {difference:.2f} grey levels at most")
    with clock("sample"):
        samples = _sample(tree, seed)
        holes, filled = _fill(tree, digits)
    with clock("diffuse"):
        diffusion = diffuse(tree, networks, digits, holes, settings.slack, seed)
    for i, line in enumerate(lines(diffusion.figures)):
        _say(("          " if i else "diffuse   ") + line)
    _say(f"          [{clock}]")

    proved = {"units": certificate.units, "parameters": certificate.parameters, "proved": certificate.mean}
    names = {"report": "report.html", "picture": "digits.png", "model": "digits.yaml", "figures": "figures.json"}
    results = Results(
        fit=fit,
        differences=differences,
        accuracy=rates,
        psnr=ratios,
        diffusion=diffusion.figures,
        relu=proved | {"measured": difference},
        settings=settings,
        images=(len(digits.train), len(digits.test)),
        seconds=clock.seconds,
        files={kind: place / name for kind, name in names.items()},
    )
    with clock("write"):
        from hgm.demo.report import write_report  # it imports matplotlib and jinja2

        shown = [int((digits.test_labels == digit).nonzero()[0]) for digit in range(10)]
        pictures = {
            "clean": digits.test[shown],
            **{f"noisy {sigma:g}": z[shown] for sigma, z in noisy.items()},
            **{f"denoised {sigma:g}": x[shown] for sigma, x in denoised.items()},
            "holes": holes[shown],
            "filled": filled[shown],
        }
        save(tree, results.files["model"])
        write_report(
            results,
            networks,
            Images(
                {name: x.double().numpy() for name, x in pictures.items()},
                samples.numpy(),
                {
                    "free": diffusion.free.numpy(),
                    "by digit": diffusion.by_digit.numpy(),
                    "completed": diffusion.completed[:, shown].numpy(),
                },
                digits.test.numpy(),
                digits.test_labels.numpy(),
                posterior.numpy(),
            ),
            DRAWS,
        )
    write_whole(results.files["figures"], (json.dumps(results.figures(), indent=2) + "\n").encode())
    for kind, path in results.files.items():
        _say(f"written   {path}  ({kind})")
    _say(f"          {sum(clock.seconds.values()):.1f} s in all")
    return results


def _say(text: str) -> None:
    with tqdm.external_write_mode():  # above the bar
        print(text, flush=True)


class _Clock:
    """Seconds of each step, and on a terminal a bar that says which runs; as text the seconds of the last one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._bar = tqdm(total=STEPS, unit="step", leave=False, disable=None)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        self._bar.set_description(step)
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start
        self._bar.update()
        if len(self.seconds) == STEPS:
            self._bar.close()

    def __str__(self) -> str:
        return f"{list(self.seconds.values())[-1]:.1f} s"


def _directory(out: str | os.PathLike[str]) -> Path:
    place = Path(out)
    try:
        place.mkdir(parents=True, exist_ok=True)
        trial = place / ".hgm-demo"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        raise BadSpec(
            f"the directory {place} for the report cannot be written: {error.strerror}; give another one"
        ) from None
    return place


def _classify(
    digits: Digits, networks: Networks, noisy: dict[float, Tensor], slack: float
) -> tuple[dict[str, dict[str, float]], Tensor]:
    """Accuracy of all methods, and the ConvNet's posterior ``(N, 10)`` of the clean images."""
    tests = {"clean": digits.test.double(), **{f"{sigma:g}": z for sigma, z in noisy.items()}}
    told = {"clean": slack, **{f"{sigma:g}": math.hypot(sigma, slack) for sigma in noisy}}
    flat = compile(naive_bayes(digits), "classify", channel=networks.noisy_classifier.channel)
    posterior = {test: networks.noisy_classifier(z, told[test]) for test, z in tests.items()}
    strict = {"clean": networks.classifier(digits.test)}
    strict |= {f"{sigma:g}": networks.noisy_classifier(z, sigma) for sigma, z in noisy.items()}
    ours = {
        CONVNET: posterior,
        f"{CONVNET}, no slack": strict,
        "naive Bayes": {test: flat(z, told[test]) for test, z in tests.items()},
    }
    rows = {name: {test: accuracy(p, digits.test_labels) for test, p in row.items()} for name, row in ours.items()}
    return rows | baseline_accuracy(digits, tests), posterior["clean"]


def _denoise(
    digits: Digits, networks: Networks, relu_unet: UNet, noisy: dict[float, Tensor]
) -> tuple[dict[str, dict[str, float]], dict[float, Tensor], float]:
    """PSNR of all methods, the U-Net's images, and the largest difference of those of the ReLU U-Net."""
    denoised = {sigma: networks.denoiser(z, sigma) for sigma, z in noisy.items()}
    methods = {
        "noisy": noisy,
        "per-pixel prior": {sigma: prior_denoiser(digits, z, sigma) for sigma, z in noisy.items()},
        "linear (Wiener)": {sigma: linear_denoiser(digits, z, sigma) for sigma, z in noisy.items()},
        UNET: denoised,
        RELU_UNET: {sigma: relu_unet(z, sigma) for sigma, z in noisy.items()},
    }
    difference = max(float((x - denoised[sigma]).abs().max()) for sigma, x in methods[RELU_UNET].items())
    rows = {
        name: {f"{sigma:g}": psnr(x, digits.test) for sigma, x in images.items()} for name, images in methods.items()
    }
    return rows, denoised, difference


def _sample(tree: Tree, seed: int) -> Tensor:
    """New images ``(SAMPLES, 10, 8, 8)``: given each digit, everything else is drawn."""
    generator = torch.Generator().manual_seed(seed)
    drawn = infer(tree, {LABEL: list(range(10))}).sample(SAMPLES, generator=generator).states
    return drawn[..., torch.from_numpy(tree.leaves)].reshape(SAMPLES, 10, 8, 8)


def _fill(tree: Tree, digits: Digits) -> tuple[Tensor, Tensor]:
    """The test images without their right halves (-1), and with what the U-Net expects there."""
    holes = digits.test.clone()
    holes[:, :, 4:] = -1
    mean = compile(tree, "denoise")  # of symbols, some of them missing
    return holes, mean(holes)
