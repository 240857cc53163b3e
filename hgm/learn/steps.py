"""The steps of a training: what each draws, does and leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, nan
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import nn

from hgm.errors import BadPotential, BadSpec, HgmError
from hgm.files.training import TrainingState, read_training, write_training
from hgm.learn.accelerated import accelerated
from hgm.learn.bar import progress_bar
from hgm.learn.objective import Objective, device_of
from hgm.learn.seeds import generator_for, seed_for
from hgm.learn.source import Source
from hgm.learn.state import State, learning_rate

__all__ = ["Row", "Run", "Settings"]


class Row(NamedTuple):
    """A row of the history of a `Training`.

    Attributes:
        step: how many steps were done.
        loss: the mean over the steps since the last row: of squared errors per leaf, or nats per leaf or label.
        validation: the same of the averaged weights on held-out data; NaN if there are none.
        learning_rate: of the last step.
        seconds: since the start, those before an interruption included.
    """

    step: int
    loss: float
    validation: float
    learning_rate: float
    seconds: float


class Settings(NamedTuple):
    """The numbers that a user chose, checked; as for `train`."""

    steps: int
    batch_size: int
    peak: float
    warmup: int
    weight_decay: float
    clip: float
    ema: float
    every: int
    patience: int | None
    seed: int


class Run:
    """One call of `train`.

    Attributes:
        history: the rows so far.
        times: seconds of each step of this call.
    """

    def __init__(self, network: nn.Module, read: Source, asked: Objective, plan: Settings, path: Path | None) -> None:
        self.network, self.source, self.objective, self.plan, self.path = network, read, asked, plan, path
        self.device = device_of(network)
        self.noise = torch.Generator(self.device)
        self.history: list[Row] = []
        self.times: list[float] = []

    def __call__(self, progress: bool | None) -> None:
        """Do all that is left to do."""
        with _left_alone(self.network, self.device), accelerated(self.network, self.device) as accelerator:
            self._try_out()
            if not any(p.requires_grad for p in self.network.parameters()):
                raise BadSpec(
                    f"{type(self.network).__name__} has no parameters that learn (a network of hgm has them if it is "
                    "compiled with trainable=True)"
                )
            self.state = State(self.network, self.plan.weight_decay, self.plan.patience is not None)
            done = self._restored()
            self.network.train()
            # the optimiser stays bare: accelerate's looks for an uninstalled package on the disk in every step
            model = accelerator.prepare_model(self.network)
            with progress_bar("training", "step", self.plan.steps, done, progress) as bar:
                self._steps(accelerator, model, bar)
            self.state.put(self.state.best or self.state.average)

    def _steps(self, accelerator: Any, model: nn.Module, bar: Any) -> None:
        done = self.history[-1].step if self.history else 0
        before, begin = (self.history[-1].seconds if self.history else 0.0), perf_counter()
        losses: list[float] = []
        for step in range(done, self.plan.steps):
            if self.waited_out():
                return
            start = perf_counter()
            rate = learning_rate(step, self.plan.steps, self.plan.warmup, self.plan.peak)
            losses.append(self._step(step, rate, accelerator, model))
            self.times.append(perf_counter() - start)
            bar.update()
            if (step + 1) % self.plan.every == 0 or step + 1 == self.plan.steps:
                held = self._validation(step + 1)
                mean = sum(losses) / len(losses)
                self.history.append(Row(step + 1, mean, held, rate, before + perf_counter() - begin))
                losses = []
                bar.set_postfix_str(f"loss {mean:.4g}" + (f", validation {held:.4g}" if held == held else ""))
                if self._since_best() == 0:
                    self.state.keep_best()
                self._written()

    def _step(self, step: int, rate: float, accelerator: Any, model: nn.Module) -> float:
        """One step of AdamW at this rate, and its loss."""
        x, y = self.source.rows.at(step, self.plan.batch_size)
        self.noise.manual_seed(seed_for(self.plan.seed, "noise", step))
        shown = self.objective.shown(x, y, self.noise)
        _seed(seed_for(self.plan.seed, "network", step), self.device)
        try:
            loss = self.objective.loss(self.objective.answer(model, shown.given), shown.target)
        except BadPotential as error:
            raise BadPotential(f"training, at step {step + 1}: {error}; a smaller learning_rate stays nearer") from None
        value = loss.item()
        if not isfinite(value):
            raise HgmError(
                f"the loss is {value} at step {step + 1}, with learning rate {rate:.3g}: train with a smaller "
                "learning_rate or clip, or look for what the network divides by"
            )
        if not loss.requires_grad:
            raise BadSpec(f"what {type(self.network).__name__} answers does not depend on its parameters")
        optimizer = self.state.optimizer
        optimizer.zero_grad()
        accelerator.backward(loss)
        if isfinite(self.plan.clip):
            accelerator.clip_grad_norm_(self.state.weights, self.plan.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        self.state.follow(step, self.plan.ema)
        return value

    def _try_out(self) -> None:
        """Show the network the first batch, and look at its answer; nothing is learned."""
        x, y = self.source.rows.at(0, self.plan.batch_size)
        if self.objective.task != "denoise" and not self.source.states:
            raise BadSpec("how many states the leaves have is not known; give the channel its values")
        shown = self.objective.shown(x, y, generator_for(self.plan.seed, "noise", 0, self.device))
        self.network.eval()
        _seed(seed_for(self.plan.seed, "network"), self.device)
        self.objective.try_out(self.network, shown, self.source.states, self.source.at_least)

    @torch.no_grad()
    def _validation(self, step: int) -> float:
        """The loss of the averaged weights on held-out data, the same rows and the same noise every time."""
        if self.source.held_out is None:
            return nan
        x, y = self.source.held_out
        generator = generator_for(self.plan.seed, "held-out noise", 0, self.device)
        total = 0.0
        self.network.eval()
        with self.state.averaged():
            for first in range(0, len(x), self.plan.batch_size):
                part = slice(first, first + self.plan.batch_size)
                shown = self.objective.shown(x[part], y[part], generator)
                answer = self.objective.answer(self.network, shown.given)
                total += self.objective.loss(answer, shown.target).item() * len(x[part])
        self.network.train()
        if not isfinite(total):
            raise HgmError(
                f"the loss on held-out data is {total} after step {step}: see what the network answers there"
            )
        return total / len(x)

    # ------------------------------------------------------------------ the best so far, and the file

    def _since_best(self) -> int:
        """How many validations there were since the best, the first of equals; 0 if it was the last, or without any."""
        held = [row.validation for row in self.history]
        return len(held) - 1 - held.index(min(held)) if held and held[0] == held[0] else 0

    def waited_out(self) -> bool:
        """Whether validation has not improved for long enough."""
        return self.plan.patience is not None and self._since_best() >= self.plan.patience

    def _identity(self) -> dict[str, str]:
        """What a checkpoint belongs to: by its words, where another one differs."""
        channel, levels = self.objective.channel, self.objective.levels
        values = None if channel.values is None else channel.values.tolist()
        return {
            "the network": f"{type(self.network).__qualname__} {[tuple(p.shape) for p in self.state.weights]}",
            "the data": self.source.says,
            "the task": self.objective.task,
            "the channel": f"{channel!r} {values}",
            "the noise": "" if levels is None else levels.says,
            **{f"the {name}": repr(value) for name, value in self.plan._asdict().items()},
        }

    def _written(self) -> None:
        if self.path is None:
            return
        rows = [[None if x != x else x for x in row] for row in self.history]
        write_training(self.path, self._identity(), TrainingState(self.history[-1].step, rows, self.state.tensors()))

    def _restored(self) -> int:
        """How many steps the checkpoint has done."""
        if self.path is None or not self.path.exists():
            return 0
        found = read_training(self.path, self._identity())
        self.state.restore(found.tensors, self.path)
        self.history = [Row(int(r[0]), *(nan if x is None else float(x) for x in r[1:])) for r in found.rows]  # type: ignore[arg-type]
        return found.step


def _seed(seed: int, device: torch.device) -> None:
    """Torch's global generators, for what a network draws itself."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextmanager
def _left_alone(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Torch's global generators, and which modules are in training mode, are afterwards as before."""
    modes = [(module, module.training) for module in network.modules()]
    devices: list[Any] = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
