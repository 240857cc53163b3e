"""`train`: any network towards the optimum, by gradient descent on data of a tree, or on a fixed sample of it.

    hgm.train(hgm.compile(tree, "classify", channel=hgm.Clamp(), trainable=True), tree, task="classify", n=1000)
    hgm.train(hgm.compile(tree, "denoise", channel=hgm.Gaussian(), trainable=True), tree, n=1000)

are empirical risk minimisation (ERM) over ConvNets with cross-entropy and over U-Nets with squared error: the two
estimators of Mei, arXiv 2404.18444. Without `n` every step has data of its own, and nothing can be learned by heart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan
from statistics import median
from typing import Any

import torch
from torch import nn

from hgm.errors import BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.files.whole import checked_ending
from hgm.learn.objective import Task, objective
from hgm.learn.source import source
from hgm.learn.steps import Row, Run, Settings
from hgm.tree.arguments import choice, flag, number, whole
from hgm.tree.showing import Shown, TextTable

__all__ = ["Row", "Training", "train"]

TASKS = ("denoise", "posterior", "classify")


@dataclass(frozen=True, eq=False)
class Training(Shown):
    """What `train` returns: `print` shows it as a table.

    Attributes:
        network: the one that was given, trained in place. Its weights are now averages over the steps (`ema`): the
            last, or with `patience` those of the best validation.
        history: a `Row` every so many steps, and the last.
        stopped: whether it ended early, because validation no longer improved.
        step_seconds: median time of a training step, its data and noise included; NaN if none was done in this call.
    """

    network: nn.Module
    history: tuple[Row, ...]
    stopped: bool
    step_seconds: float

    @property
    def steps(self) -> int:
        """How many steps were done, those before an interruption included."""
        return self.history[-1].step

    def shown(self) -> Iterable[str | TextTable]:
        rows = [
            [f"{r.step:,}", f"{r.loss:.6g}", _known(r.validation), f"{r.learning_rate:.3g}", f"{r.seconds:.1f}"]
            for r in self.history
        ]
        headers = ["step", "loss", "validation", "learning rate", "seconds"]
        return [TextTable(rows, headers, colalign=["right"] * 5)]

    def __repr__(self) -> str:
        last = self.history[-1]
        ended = "stopped early after" if self.stopped else "did"
        per = "" if isnan(self.step_seconds) else f", {1e3 * self.step_seconds:.3g} ms per step"
        losses = f"loss {last.loss:.6g}, validation {_known(last.validation)}"
        return f"Training: {ended} {last.step:,} steps, {losses}{per}"


def train(
    network: nn.Module,
    data: Any,
    *,
    channel: Channel | None = None,
    task: Task = "denoise",
    noise: Any = None,
    n: int | None = None,
    validation: Any = None,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    warmup: int | None = None,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    ema: float = 0.999,
    every: int = 100,
    patience: int | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Training:
    """Train a network to denoise, or to give posteriors, with AdamW and averaged weights.

    The network is any `torch.nn.Module`. It is called ``f(z, sigma)`` with z ``(B, *leaf shape)``, or ``(B, k, *leaf
    shape)`` of vectors, and sigma ``(B,)``: what the channel takes as noise (of `Flip` eps). Of `Erasure` the second
    argument is t, the share that is erased (-1 in z); compiled networks, whose channel takes no number, are
    called ``f(z)``, and so are all networks where the channel has no noise (`Clamp`, `Soft`). It returns

    * ``"denoise"``: means ``(B, *leaf shape)``, trained by their squared error per leaf;
    * ``"posterior"``: probabilities ``(B, S, *leaf shape)`` of each leaf, trained by cross-entropy in nats per leaf;
    * ``"classify"``: probabilities ``(B, S)`` of the root, or of the variable that a compiled ConvNet answers for.

    What belongs to step t of a seed (data, noise, dropout) depends on nothing else, so the result is the same bit for
    bit on the same machine, whether or not it was interrupted. Torch's global generator is as it was afterwards.

    Args:
        network: trained in place, where its parameters are: see `Training`. If an error or Ctrl-C ends the training, it
            keeps the weights of that step, not averaged.
        data: a `Tree`, which new rows are drawn from in every step; or N rows: symbols ``(N, *leaf shape)``, integers,
            or values, floats. For task ``"classify"`` a tuple of rows and their labels ``(N,)``. The noise is new in
            every step also where the data are not.
        channel: how leaves are observed; default the network's own, if it has one, or `Gaussian`.
        task: what the network answers.
        noise: the distribution of sigma, eps or t over rows: a number; ``(low, high)``, log-uniform, or uniform for eps
            and t; a list, whose members are equally likely; or a function of the number of rows and a generator that
            gives ``(rows,)``. Default for sigma: (s / 10, 10 s), with s half the range of the values; for t: (0, 1);
            for eps: (0, 1 - 1/S).
        n: of a tree: draw so many rows once, and train on these.
        validation: of a tree: how many rows to hold out (default 1,024); of data: how many of the last rows (default
            none); or rows of their own, in the form of `data`.
        steps: how many; the learning rate is 0 at their end.
        batch_size: rows of a step.
        learning_rate: the largest.
        warmup: steps in which it rises from 0; then it falls by half a cosine. Default a twentieth of all.
        weight_decay: of AdamW. By default none, because decay moves the optimum.
        clip: the largest norm of a gradient, of all parameters together; larger ones are shortened; ``inf`` never.
        ema: decay of the average of the weights in a step, 0 (no average) to less than 1; smaller in the first steps:
            min(ema, (1 + t) / (10 + t)).
        every: steps between rows of the history, validations, and checkpoints.
        patience: stop after so many validations without a new best, and give the weights of the best.
        seed: of data, noise and dropout. The start is the network's.
        checkpoint: file (.safetensors) to write every `every` steps and at the end. If it exists, training goes on from
            it, whatever weights the network has, to the result that it would have had without the interruption.
        progress: show a progress bar; default if standard error is a terminal.

    Raises:
        BadSpec: for a network without parameters that learn, a setting out of range, or a checkpoint that cannot be
            read, is damaged, or belongs to another run.
        BadEvidence: for data that fit neither channel nor network.
        HgmError: for answers of a wrong shape, and a loss that becomes NaN or infinite: it names the step.
        BadPotential: if the weights of a compiled network leave the range that its kernels were chosen for.
        BadExtension: for a network that fails.
    """
    plan = Settings(
        whole("steps", steps, 1),
        whole("batch_size", batch_size, 1),
        number(learning_rate, "learning_rate must be a positive number", lambda x: 0 < x < float("inf")),
        max(0, steps // 20) if warmup is None else whole("warmup", warmup, 0, steps),
        number(weight_decay, "weight_decay must be a finite number from 0 up", lambda x: 0 <= x < float("inf")),
        number(clip, "clip must be the largest norm of a gradient, above 0 (inf: any)", lambda x: x > 0),
        number(ema, "ema must be a number from 0 to less than 1", lambda x: 0 <= x < 1),
        whole("every", every, 1),
        None if patience is None else whole("patience", patience, 1),
        whole("seed", seed, 0),
    )
    choice("task", task, TASKS)
    if progress is not None:
        flag("progress", progress)
    path = None if checkpoint is None else checked_ending(checkpoint, "a checkpoint of training", (".safetensors",))
    if not isinstance(network, nn.Module):
        raise BadSpec(f"network must be a torch.nn.Module; got {brief(network)}")
    with torch.inference_mode(False), torch.enable_grad():
        read = source(network, data, channel, task, n, validation, plan.seed)
        if plan.patience is not None and read.held_out is None:
            raise BadSpec("patience counts validations, and there are none: give validation=")
        asked = objective(network, read.channel, task, noise, read.spread)
        run = Run(network, read, asked, plan, path)
        run(progress)
    seconds = median(run.times) if run.times else nan
    return Training(network, tuple(run.history), run.waited_out(), seconds)


def _known(loss: float) -> str:
    return "–" if isnan(loss) else f"{loss:.6g}"
