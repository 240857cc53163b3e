"""`fit`: maximum likelihood, or maximum a posteriori, potentials by expectation maximisation.

For a directed model p(x) = prod_f psi_f(produced | given), one iteration is

    E-step    N(x) = sum over rows and over tied factors of p(x_scope | row)         (`hgm.learn.expect`)
    M-step    psi(produced | given) = (N + lambda) / sum over produced of (N + lambda)       for entries that are not 0

It never lowers  sum over rows of log p(row)  +  lambda * sum of log psi:  the log likelihood plus, up to a constant,
the log density of a Dirichlet(1 + lambda) prior on every distribution. (Dempster, Laird and Rubin 1977.)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import infer
from hgm.errors import BadSpec, brief
from hgm.evidence.channel import Channel
from hgm.files.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hgm.files.whole import checked_path
from hgm.learn.bar import progress_bar
from hgm.learn.digest import structure_digest
from hgm.learn.expect import Expectations
from hgm.learn.observations import Observations, observations
from hgm.tree.arguments import flag, number, whole
from hgm.tree.direction import Direction, direct
from hgm.tree.flat import flatten, offsets, pieces, unflatten
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Fit", "fit"]


@dataclass(frozen=True, eq=False)
class Fit:
    """What `fit` returns.

    Attributes:
        tree: the model with its learned potentials, all of them conditional distributions.
        history: the objective at the start and after every iteration, in nats: log likelihood of the data plus log
            prior (up to a constant). It never falls, but for rounding.
        log_likelihood: of the data, at the start and after every iteration, in nats.
        converged: whether the last iteration gained less than the tolerance.
        rows: number of rows of the data.
    """

    tree: Tree
    history: tuple[float, ...]
    log_likelihood: tuple[float, ...]
    converged: bool
    rows: int

    @property
    def iterations(self) -> int:
        """How many iterations were done."""
        return len(self.history) - 1

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        per_row = self.log_likelihood[-1] / self.rows
        return f"Fit: {state} after {self.iterations} iterations, log likelihood {per_row:.6g} per row of {self.rows:,}"


@torch.inference_mode(False)  # counts are gradients, also where the caller has them off
def fit(
    tree: Tree,
    data: Any,
    *noise: Any,
    channel: Channel | None = None,
    evidence: Any = None,
    smoothing: float = 0.0,
    iterations: int = 100,
    tolerance: float = 1e-5,
    seed: int | None = None,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float64,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 10,
    progress: bool | None = None,
) -> Fit:
    """Learn the potentials of a tree from data by EM, with tied potentials and missing values.

    The tree must be directed: factors over one variable only at roots (their priors), every other factor a conditional
    distribution of its children given its parent; or a Bayesian network as `hgm.from_pgmpy` reads it, tables of several
    parents included. What is tied stays tied, zeros stay zeros, and a root without a prior stays uniform.

    Args:
        tree: structure, tying, zeros and start. Its tables are normalised first.
        data: N rows, as one of

            - a data frame, or a mapping from variables to what was seen of each, in the forms of `hgm.log_evidence`:
              columns ``(N,)`` of states, with ``None``, NaN or -1 where missing, likelihoods ``(N, S)``, lists of sets;
            - integers ``(N, *leaf shape)``: numbers of states of the leaves, -1 where missing;
            - floats ``(N, S, *leaf shape)`` or ``(N, S, V)``: log evidence of the leaves, or of all variables;
            - with `channel`, an observation of the leaves ``(N, *leaf shape)``, or by name;
            - for a chain (`hgm.tree.timeline`), a list of sequences of any lengths, as for `hgm.infer`: each is learned
              from in the chain that ends with it.
        noise: what the channel takes after the observation, such as sigma.
        channel: how the leaves were observed.
        evidence: by name, of further variables: the labels, say, of the images in `data`. A mapping that is the last of
            the positional arguments is taken for it.
        smoothing: lambda, the pseudo-count that is added to every entry that is not zero; the objective then has a
            Dirichlet prior. 0 is maximum likelihood.
        iterations: at most so many.
        tolerance: stop when an iteration gains less, in nats per row; 0 never stops early unless nothing is gained.
        seed: draw the start: every distribution uniformly from those with its zeros. Default: the tree's own tables.
        batch_size: rows at once. Counts are summed over all batches: it changes memory and speed, not the result.
        dtype: of the network's messages. float32 is faster; its objective can fall by rounding.
        checkpoint: file (JSON) to write every `every` iterations and at the end. If it exists, learning goes on from
            it, with the result that it would have had without the interruption. A file that is further than
            `iterations` or `tolerance` let this fit go is an error: it no longer holds the tables in between.
        every: see `checkpoint`.
        progress: show a progress bar; default if standard error is a terminal.

    Raises:
        BadSpec: for a tree that is not directed (it names the factor), a setting out of range, or a checkpoint that
            cannot be read, is damaged, is further than asked for, or belongs to another model, data or start.
        BadEvidence: for data that are empty or do not fit the tree.
        ImpossibleEvidence: if rows have probability zero under the start; it names them.
    """
    checked_tree(tree)
    if progress is not None:
        flag("progress", progress)
    _check_settings(smoothing, iterations, tolerance, seed, batch_size, dtype, checkpoint, every)
    smoothing = float(smoothing)
    observed = observations(tree, data, noise, channel, evidence)
    direction = direct(tree)
    normaliser = observed.log_normaliser()
    model = _Model(tree, direction, smoothing, observed.device)
    theta = model.start(seed)
    identity = _identity(tree, observed, theta, smoothing, dtype)
    objectives: list[float] = []
    likelihoods: list[float] = []
    if checkpoint is not None and Path(checkpoint).exists():
        saved = read_checkpoint(checkpoint, identity, len(theta))
        theta = torch.tensor(saved.entries, dtype=torch.float64, device=theta.device)
        objectives, likelihoods = list(saved.history), list(saved.log_likelihood)
        _check_length(checkpoint, objectives, iterations, tolerance * observed.rows)

    expect = Expectations(observed, dtype, batch_size)
    with progress_bar("EM", "iteration", iterations, len(objectives), progress) as bar:
        while True:
            last = len(objectives) >= iterations
            with torch.autocast(theta.device.type, enabled=False):  # of the counts too: it holds for the reverse pass
                log_z, counts = expect(model.log(theta), counts=not last)
            likelihoods.append(log_z - normaliser)
            objectives.append(likelihoods[-1] + model.log_prior(theta))
            gain = objectives[-1] - objectives[-2] if len(objectives) > 1 else np.inf
            converged = bool(gain <= tolerance * observed.rows)
            bar.set_postfix_str(f"log likelihood {likelihoods[-1] / observed.rows:.4f} per row")
            if checkpoint is not None and (converged or last or (len(objectives) - 1) % every == 0):
                # the last objective is left out: whoever goes on computes it again, with the counts that belong to it
                state = Checkpoint(identity, objectives[:-1], likelihoods[:-1], theta.tolist())
                write_checkpoint(checkpoint, state)
            if converged or counts is None:
                break
            theta = model.maximise(counts, theta)
            bar.update()
    return Fit(model.tree(theta), tuple(objectives), tuple(likelihoods), converged, observed.rows)


class _Model:
    """The conditional distributions of a directed tree, in one flat vector theta ``(P,)``.

    `row` says which distribution an entry belongs to, `used` which entries belong to any. `allowed` are the entries
    that are not zero, `pseudo` their pseudo-counts.
    """

    def __init__(self, tree: Tree, direction: Direction, smoothing: float, device: torch.device) -> None:
        self.of, self.rows = tree, direction.rows
        self.row, self.used = (torch.tensor(part, device=device) for part in (direction.row, direction.used))
        self.log_start = torch.tensor(flatten(tree.potentials), device=device)
        self.allowed = ~torch.isneginf(self.log_start)
        self.pseudo = smoothing * (self.allowed & self.used).double()
        self._check_rows(direction)

    def start(self, seed: int | None) -> Tensor:
        """The tables to start from, normalised."""
        if seed is None:
            top = torch.full((self.rows,), -torch.inf, dtype=torch.float64, device=self.row.device)
            top = top.scatter_reduce(0, self.row, self.log_start, "amax").clamp_min(-1e300)
            drawn = (self.log_start - top[self.row]).exp()
        else:
            drawn = torch.as_tensor(np.random.default_rng(seed).exponential(size=len(self.row)), device=self.row.device)
        normalised = self._normalised(drawn * self.allowed)
        own = torch.where(self.used, self.log_start, -torch.inf).exp()
        near = (self._sums(own) - 1).abs() < 1e-9  # as they are, so that a model can be taken up again unchanged
        keep = ~self.used | (near[self.row] if seed is None else torch.zeros_like(self.used))
        return torch.where(keep, own, normalised)

    def maximise(self, counts: Tensor, theta: Tensor) -> Tensor:
        """The M-step. A distribution about which nothing is known keeps its entries."""
        sums = (counts.clamp_min(0.0) + self.pseudo) * self.allowed
        return torch.where((self._sums(sums) > 0)[self.row], self._normalised(sums), theta)

    def log_prior(self, theta: Tensor) -> float:
        """lambda times the sum of log theta, over the entries that are not zero."""
        given = self.pseudo > 0
        return float((self.pseudo[given] * theta[given].log()).sum())

    def log(self, theta: Tensor) -> Tensor:
        return torch.where(self.used, theta.log(), self.log_start)

    def tree(self, theta: Tensor) -> Tree:
        """The tree with these tables, which keep their entries exactly."""
        old = self.of.potentials
        used = self.used.cpu().numpy()[offsets(old)[:-1]]
        new = zip(old, pieces(old, theta.cpu().numpy()), used, strict=True)
        return self.of.with_potentials([p.with_values(values) if learned else p for p, values, learned in new])

    def _sums(self, x: Tensor) -> Tensor:
        return torch.zeros(self.rows, dtype=torch.float64, device=x.device).index_add(0, self.row, x)

    def _normalised(self, x: Tensor) -> Tensor:
        sums = self._sums(x)
        return x / torch.where(sums > 0, sums, 1.0)[self.row]

    def _check_rows(self, direction: Direction) -> None:
        """A table may allow nothing given some state only if that state cannot occur."""
        if bool((self._sums(self.allowed.double()) > 0).all()):
            return
        theta = self.start(None)
        start = unflatten(self.of.potentials, self.log(theta).cpu().numpy())
        log_z = float(infer(self.of.with_potentials(start)).log_partition)
        if abs(log_z - direction.log_normaliser) > 1e-9 * max(1.0, len(self.of)):
            raise BadSpec(
                "the tables cannot be normalised: one of them allows nothing at all given a state that can occur; "
                "forbid that state (a zero in the table or prior that produces it), or allow something"
            )


def _check_settings(
    smoothing: float,
    iterations: int,
    tolerance: float,
    seed: int | None,
    batch_size: int | None,
    dtype: torch.dtype,
    checkpoint: Any,
    every: int,
) -> None:
    whole("iterations", iterations, 0)
    whole("every", every, 1)
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
        if value is not None:
            whole(name, value, least)
    number(smoothing, "smoothing is a pseudo-count, a finite number from 0 up", lambda x: 0 <= x < np.inf)
    number(tolerance, "tolerance is a gain in nats per row, from 0 up", lambda x: x >= 0)
    if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
        raise BadSpec(f"dtype must be torch.float64 or torch.float32; got {brief(dtype)}")
    if checkpoint is not None:
        checked_path(checkpoint, "a checkpoint")


def _check_length(checkpoint: object, objectives: Sequence[float], iterations: int, least: float) -> None:
    """A checkpoint holds its last tables only, so a fit that stops before them cannot be read off it."""
    small = np.flatnonzero(np.diff(objectives) <= least)
    stop = min(iterations, int(small[0]) + 1) if len(small) else iterations
    if len(objectives) > stop:
        raise BadSpec(
            f"the checkpoint {checkpoint} is {len(objectives)} iterations from the start, but with these iterations "
            f"and tolerance the fit ends after {stop}; ask for as many, give another file, or remove this one to start "
            "anew"
        )


def _identity(tree: Tree, data: Observations, theta: Tensor, smoothing: float, dtype: torch.dtype) -> dict[str, str]:
    """What a checkpoint belongs to: by its words, where another one differs."""
    return {
        "the model": structure_digest(tree),
        "the data": data.digest(),
        "the start": hashlib.sha256(theta.cpu().numpy().astype("<f8").tobytes()).hexdigest(),
        "the smoothing": repr(float(smoothing)),
        "the dtype": str(dtype).removeprefix("torch."),
    }
