"""How far a network is from the best that exists: by squared error or KL at levels of noise, and in nats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from hgm.diffusion.denoiser import Denoiser
from hgm.errors import BadSpec
from hgm.evidence.channel import Channel
from hgm.evidence.channels import Gaussian, inside
from hgm.evidence.noise import several
from hgm.measure.candidate import Candidate
from hgm.measure.excess import Blocks, divergences, squared
from hgm.measure.interval import Estimate, Tally
from hgm.measure.optimum import Answer, Optimum
from hgm.measure.report import Gap, Row
from hgm.measure.snr import Grid, grid_of, stream
from hgm.networks.compile import TASKS, Task
from hgm.networks.network import Network
from hgm.tree.arguments import choice, flag, listed, number, whole
from hgm.tree.labels import Label
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Estimate", "Gap", "compare"]

AT_ONCE = 1 << 20  # states of the leaves of the samples that a network is shown together
ROWS = 1 << 13  # and at most so many samples
#: squared errors of values with a range of 1, or nats, that rounding of an answer may cause
ALLOWANCE = {torch.float64: 1e-22, torch.float32: 1e-10, torch.float16: 1e-6, torch.bfloat16: 1e-4}


def compare(
    network: Any,
    tree: Tree,
    *,
    channel: Channel | None = None,
    noise: Any = None,
    n: int = 1000,
    seed: int = 0,
    task: Task | None = None,
    given: Sequence[Label] = (),
    per: Literal["leaf", "level"] | None = None,
    progress: bool = False,
) -> Gap:
    """Measure how far a network is from the best possible one for a tree, at levels of noise and in nats.

        print(hgm.compare(net, tree, channel=hgm.Gaussian(values)))

    What a network f costs beyond the optimum D(z) = E[x | z] is E|f - D|^2, because E|f - x|^2 = E|D - x|^2 + E|f -
    D|^2; of posteriors it is E KL(p || f). D and p are known, so this has no noise of x, and takes far fewer samples
    than a difference of two risks. Samples and their noise are the same for all networks with the same seed, tree and
    channel, and at all levels.

    Args:
        network: a callable ``f(z, sigma)``. z is ``(B, *leaf shape)`` as the channel observes, of values in R^k
            ``(B, k, *leaf shape)``; sigma ``(B,)`` is the noise that the channel takes: of `Flip` eps, of `Erasure` the
            share t that is erased (-1 in z). It gives E[x | z] in the shape of z, or leaf posteriors ``(B, S, *leaf
            shape)``, or the root's ``(B, S)``. z and sigma have the precision of its first weight, and are on its
            device. A module runs in eval mode. What `hgm.compile` made is called as it must be, with `Erasure` as
            ``f(z)``.
        tree: the model, which the samples are of.
        channel: how the leaves are observed: `Gaussian`, `Flip`, `Erasure`, or your own with one noise. Default the
            network's own, if it has one, or `Gaussian` with values 0 to S - 1.
        noise: levels, a list of numbers or one number. ``None``: a grid over which the excess adds up to nats, if it is
            finite (`hgm.ablate` has kinds of which it is not).
        n: number of samples.
        seed: of samples and noise.
        task: ``"denoise"``, ``"posterior"`` or ``"classify"`` (the first root). Default that of a compiled network;
            else to denoise with `Gaussian`, posteriors with all others.
        given: names of variables above the leaves that are known: the optimum is E[x | z, y], and the network is called
            ``f(z, sigma, y)``, y ``(B,)`` int64, if it takes so many arguments (of several names one argument each); if
            not, it pays for what it is not told.
        per: ``"leaf"`` or ``"level"``: `Gap.parts` splits the excess. Level k has the part of f - D in averages over
            the leaves below each node of level k and not in those of level k - 1; these parts add up.
        progress: show a bar.

    Returns:
        A `Gap`: `print` shows a table.

    Raises:
        BadSpec: for a bad argument, a compiled network of another tree or task, or a channel without one noise.
        BadEvidence: for given variables that are unknown or leaves, and values that do not fit the leaves.
        BadExtension: if the network fails, also on noise that it does not accept.
        HgmError: for answers of a wrong shape or type, or with a NaN; it names the level.
        ImpossibleEvidence: if the model allows nothing at all.
    """
    checked_tree(tree)
    whole("n, the number of samples that an interval is of,", n, 2)
    whole("seed", seed, 0)
    flag("progress", progress)
    compiled = isinstance(network, Network | Denoiser)
    if channel is None:
        held = getattr(network, "channel", None)
        channel = held if isinstance(held, Channel) else Gaussian()
    asked: Any = task
    if task is None:
        own = network.network.task if isinstance(network, Denoiser) else getattr(network, "task", None)
        within = inside(channel)
        asked = own if compiled else "denoise" if isinstance(within, Gaussian) else "posterior"
    choice("task", asked, TASKS)
    names = listed("given", given, "names of variables")
    candidate = Candidate(network, tree, asked, len(names))
    optimum = Optimum(tree, channel, asked, names)
    _check_split(per, asked)
    grid = grid_of(optimum, seed) if noise is None else None
    levels = _levels(noise, 1.0 if optimum.erases else None) if grid is None else grid.noise.tolist()
    run = _Run(candidate, optimum, levels, grid, per)
    run.measure(n, seed, progress)
    return run.gap()


def _check_split(per: Any, task: str) -> None:
    if per is None:
        return
    choice("per", per, ("leaf", "level"))
    if task == "classify":
        raise BadSpec(f"the answer of a classifier is about one variable; there is nothing to split per={per!r}")
    if per == "level" and task != "denoise":
        raise BadSpec("per='level' splits squared errors, of task 'denoise'; of posteriors take per='leaf'")


def _levels(noise: Any, most: float | None) -> list[float]:
    """Numbers from 0 up, shares up to 1. Which of them a channel or a network takes, these say themselves."""
    kind = "number from 0 up" if most is None else "share from 0 to 1"
    says = f"noise must be a {kind}, or a list of them"
    found = several("noise", noise)
    if not found:
        raise BadSpec(f"{says}; got an empty one")
    top = float("inf") if most is None else most
    return [number(x, says, lambda x: 0 <= x <= top and x < float("inf")) for x in found]


class _Run:
    """The measurement: samples batch by batch, each at all levels."""

    def __init__(
        self, candidate: Candidate, optimum: Optimum, levels: list[float], grid: Grid | None, per: str | None
    ) -> None:
        self.candidate, self.optimum, self.levels, self.grid, self.per = candidate, optimum, levels, grid, per
        self.tree = optimum.tree
        self.denoises = optimum.task == "denoise"
        self.leaves = 1 if optimum.task == "classify" else len(self.tree.leaves)
        self.blocks = Blocks(self.tree) if per == "level" else None
        self.excess, self.left = [Tally() for _ in levels], [Tally() for _ in levels]
        self.parts, self.parts_left = [Tally() for _ in levels], [Tally() for _ in levels]
        self.nats, self.last = Tally(), Tally()
        self.dtype = candidate.dtype
        optimum.network.to(candidate.device)

    def measure(self, n: int, seed: int, progress: bool) -> None:
        """Take n samples."""
        from tqdm import tqdm

        rows = min(ROWS, max(1, AT_ONCE // (self.optimum.states * len(self.tree.leaves))))
        starts = range(0, n, rows)
        with self.candidate.at_work(), tqdm(total=len(starts) * len(self.levels), disable=not progress) as bar:
            for batch, start in enumerate(starts):
                x, y = self.optimum.draw(min(rows, n - start), stream(seed, "samples", batch))
                nats = last = torch.zeros(len(x), dtype=torch.float64, device="cpu")
                for k in range(len(self.levels)):
                    cost = self._level(k, x, y, stream(seed, "noise", batch)).cpu()
                    if self.grid is not None:
                        nats = nats + cost * self.grid.weights[k]
                        last = last + cost * (0.0 if self.grid.last is None else self.grid.last[k])
                    bar.update()
                self.nats.add(nats)
                self.last.add(last)

    def _level(self, k: int, x: torch.Tensor, y: tuple[torch.Tensor, ...], generator: torch.Generator) -> torch.Tensor:
        """``(B,)`` the excess of a batch at a level, summed over leaves, which is counted."""
        candidate, optimum, noise = self.candidate, self.optimum, self.levels[k]
        z, level = optimum.observe(x, noise, candidate.dtype, generator)
        z, level = z.to(candidate.device), level.to(candidate.device)
        best = optimum.answer(z, level, y)
        answer = candidate.checked(candidate.answer(z, level, y, noise), best.best, noise, not self.denoises)
        self.dtype = answer.dtype
        cost = squared(answer, best, optimum.vectors) if self.denoises else divergences(answer, best)
        whole_cost = cost.sum(1)
        self.excess[k].add(whole_cost / self.leaves)
        self.left[k].add(best.left.sum(1) / self.leaves)
        if self.per == "leaf":
            self.parts[k].add(cost)
            self.parts_left[k].add(best.left)
        elif self.blocks is not None:
            self._by_level(k, x, answer, best)
        return whole_cost

    def _by_level(self, k: int, x: torch.Tensor, answer: torch.Tensor, best: Answer) -> None:
        assert self.blocks is not None
        apart = answer - best.best
        left = self.optimum.clean(x).to(best.best) - best.best
        flat = (part.flatten(2 if self.optimum.vectors else 1) for part in (apart, left))
        for tally, part in zip((self.parts[k], self.parts_left[k]), flat, strict=True):
            tally.add(self.blocks.parts(part) / self.leaves)

    # ------------------------------------------------------------------ the result

    def gap(self) -> Gap:
        """All that was found."""
        optimum, grid = self.optimum, self.grid
        unit = optimum.spread**2 if self.denoises else 1.0
        rows = tuple(
            Row(noise, float(left.mean), *excess.estimate())
            for noise, left, excess in zip(self.levels, self.left, self.excess, strict=True)
        )
        allowance = ALLOWANCE.get(self.dtype, ALLOWANCE[torch.float32]) * unit
        nats = None if grid is None or not self.candidate.finite else self.nats.estimate()
        share = None
        if grid is not None and grid.last is not None and nats is not None and 0 < nats.value < torch.inf:
            share = float(self.last.mean) / nats.value
        return Gap(
            network=self.candidate.name,
            task=optimum.task,
            channel=type(optimum.channel).__name__,
            n=self.excess[0].count,
            leaves=self.leaves,
            dtype=str(self.dtype).removeprefix("torch."),
            allowance=allowance,
            levels=rows,
            per=self.per,
            split=self._split(),
            nats=nats,
            nats_allowance=None if grid is None else allowance * self.leaves * float(grid.weights.sum()),
            last_octave=share,
            grid=None if grid is None else grid.says,
            shared_values=optimum.shared_values and self.denoises,
        )

    def _split(self) -> tuple[tuple[Any, Row], ...]:
        """Parts of the excess by level of noise, and then by leaf or level."""
        if self.per is None:
            return ()
        names = range(self.blocks.levels) if self.blocks else [self.tree.names[int(v)] for v in self.tree.leaves]
        found: list[tuple[Any, Row]] = []
        for noise, left, parts in zip(self.levels, self.parts_left, self.parts, strict=True):
            columns = zip(left.mean.tolist(), *(x.tolist() for x in parts.estimates()), strict=True)
            found += [(name, Row(noise, *numbers)) for name, numbers in zip(names, columns, strict=True)]
        return tuple(found)
