"""How good samples are, exactly: every figure is held against what the tree itself says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgm.bp.posterior import Posterior, infer
from hgm.errors import BadEvidence
from hgm.evidence.ambient import making
from hgm.evidence.channel import Channel
from hgm.evidence.told import told
from hgm.measure.nearest import as_symbols
from hgm.measure.parts import answers, blocks, codes, evenly, joint_tables, pairs
from hgm.measure.pearson import NORMAL, Measure, merged, of_means, of_tables
from hgm.networks.compile import compile
from hgm.tree.arguments import choice, whole
from hgm.tree.showing import Shown, TextTable
from hgm.tree.tree import Tree, checked_tree

__all__ = ["Measure", "Quality", "quality"]

LEAVES = 1024  # at most so many leaves have their marginals compared
INNER = 32  # and so many roots, and so many other inner variables
FEWEST = 100  # exact samples


@dataclass(frozen=True)
class Quality(Shown):
    """How samples differ from exact ones, as `quality` finds: `print` shows a table; by name there is a `Measure`.

    Attributes:
        measures: in the order of the table.
        samples: N.
        reference: how many exact samples they were compared with, where the tree alone does not say.
        mean_distance, largest_distance: from the samples to the nearest values, as a share of the smallest gap between
            values; 0 for symbols.
    """

    measures: tuple[Measure, ...]
    samples: int
    reference: int
    mean_distance: float
    largest_distance: float

    def __getitem__(self, name: str) -> Measure:
        """The measure of this name. Raises `BadSpec` if there is none."""
        found = {measure.name: measure for measure in self.measures}
        return found[choice("a measure of this tree", name, list(found))]

    def rows(self) -> list[dict[str, Any]]:
        """The table as plain data for JSON: one dict for each measure, ``None`` for what is not finite."""
        plain = []
        for measure in self.measures:
            row = {key: getattr(measure, key) for key in Measure.__dataclass_fields__}
            plain.append({k: None if isinstance(x, float) and not isfinite(x) else x for k, x in row.items()})
        return plain

    def shown(self) -> Iterable[str | TextTable]:
        head = f"{self.samples:,} samples against the tree, and {self.reference:,} exact ones of it"
        if self.largest_distance:
            head += (
                f"\nread as the nearest values, {self.mean_distance:.2g} of the smallest gap away on average, "
                f"{self.largest_distance:.2g} at most"
            )
        rows = []
        for m in self.measures:
            digits = 2 if m.name == "log likelihood" else 4
            rows.append(
                [
                    m.name,
                    f"{m.estimate:.{digits}f}",
                    f"{m.low:.{digits}f} to {m.high:.{digits}f}",
                    f"{m.expected:.{digits}f}" + (f" ± {m.error:.{digits}f}" if m.error else ""),
                    "" if m.kl is None else f"{m.kl:.4f}",
                    "" if m.p is None else f"{m.p:.2g}",
                ]
            )
        headers = ["measure", "estimate", "95% interval", "exact samples", "KL, nats", "p"]
        align = ("left", *("right",) * 5)
        return [head, "", TextTable(rows, headers, colalign=align)]


@making()
@torch.no_grad()
def quality(
    samples: Any,
    tree: Tree,
    channel: Channel | None = None,
    *,
    evidence: Any = None,
    reference: int = 4096,
    seed: int = 0,
) -> Quality:
    """Hold samples of the leaves against the exact distribution of a tree.

    ==================  ==================================================================================
    ``log likelihood``  mean log p of the possible samples, nats per sample; for exact ones minus the
                        entropy of the leaves, which is estimated from `reference` exact samples (Welch)
    ``possible``        share of samples with p > 0; one that is impossible gives p-value 0. Without
                        p-value where no potential has a zero
    ``symbols``         how often each symbol is at the leaves, all positions together
    ``leaves``          distribution of each leaf
    ``pairs``           joint distribution of pairs of leaves: neighbours, and some half the leaves apart
    ``blocks``          joint distribution of up to 4 leaves that share a parent
    ``root``            class balance: the posterior of the root given a sample, averaged; for exact samples
                        that is its prior
    ``inner``           the same for the other inner variables
    ==================  ==================================================================================

    From ``symbols`` on the estimate is a total variation distance, averaged over the positions, pairs, ... Samples that
    are exact have some too, because they are finitely many: that is what `expected` says. The tests are Pearson's, with
    the dependence inside a sample accounted for (`hgm.measure.pearson`); cells that 5 exact samples would not hit are
    merged. Of many leaves, pairs and blocks some are compared, evenly chosen. A measure that a tree does not have (a
    single leaf has no pairs) is left out. Each p-value is by itself: of 7 one is below 0.01 in up to 7% of cases.

    The log likelihood is no divergence: with q the distribution of the samples, E_q log p + H(p) = H(p) - H(q) -
    KL(q || p). It falls short where samples are wrong, and exceeds where they are too typical; the two can cancel. A
    KL in the table is that of a part of a sample, or of a mean over parts, so it estimates a lower bound on KL(q || p).

    Args:
        samples: N of them, at least 2: integers ``(N, *leaf shape)`` are symbols; floats ``(N, *leaf shape)``, ``(N, k,
            *leaf shape)`` for values in R^k, are read by the nearest value; or samples of a `Posterior`.
        tree: the model.
        channel: whose `values` the states have; default 0 to S - 1.
        evidence: what was given when they were drawn, of one row as for `hgm.infer`: a class, some leaves. Then all
            this is about the posterior.
        reference: number of exact samples, at least 100.
        seed: of the exact samples.

    Raises:
        BadEvidence: for samples of a wrong shape, too few, with a NaN, or with a symbol that is no state; for
            evidence that does not fit the model.
        BadSpec: for a bad number.
        ImpossibleEvidence: if the model allows nothing at all.
    """
    tree = told(checked_tree(tree), evidence) if evidence is not None else checked_tree(tree)
    whole("reference", reference, FEWEST)
    whole("seed", seed, 0)
    read = as_symbols(samples, tree, channel)
    x = read.symbols
    if len(x) < 2:
        raise BadEvidence(f"quality is that of at least 2 samples; got {len(x)}")
    nothing = infer(tree)
    exact = nothing.sample(reference, generator=_generator(seed)).leaves.flatten(1)
    measures = _of_inner(nothing, x, exact)
    measures[2:2] = _of_leaves(nothing, x, exact)
    return Quality(tuple(measures), len(x), reference, read.mean, read.largest)


def _generator(seed: int) -> torch.Generator:
    """Seeded by a number of its own: the samples may have been drawn with the same seed, and must not be these."""
    (own,) = np.random.SeedSequence([seed, *b"quality"]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(own >> 1))


def _of_inner(nothing: Posterior, x: Tensor, exact: Tensor) -> list[Measure]:
    """What needs the posterior: log likelihood, share of possible samples, roots and other inner variables.

    `nothing` is what the tree says without evidence; samples are ``(N, n)``, the exact ones ``(R, n)``.
    """
    tree = nothing.tree
    inner = np.flatnonzero(tree.inner)
    roots = evenly(inner[tree.level[inner] == 0], INNER)
    rest = evenly(inner[tree.level[inner] > 0], INNER)
    asked = np.concatenate([roots, rest])
    net = compile(tree, query=[tree.names[int(v)] for v in asked] or None).double()
    log_z = float(nothing.log_partition)
    possible, log_p, posterior = answers(net, x.unflatten(1, tree.leaf_shape))
    _, exact_log_p, exact_posterior = answers(net, exact.unflatten(1, tree.leaf_shape))
    found = [_likelihood(log_p - log_z, exact_log_p - log_z), _possible(tree, possible)]
    prior = nothing.marginals.numpy()[: posterior.shape[1], asked].T  # (m, S)
    for name, part in (("root", slice(None, len(roots))), ("inner", slice(len(roots), len(asked)))):
        if len(prior[part]):
            given = (y[:, :, part].transpose(0, 2, 1) for y in (posterior, exact_posterior))
            found.append(of_means(name, prior[part], *given))
    return found


def _likelihood(own: np.ndarray, exact: np.ndarray) -> Measure:
    """Welch's test. The mean of exact samples is minus the entropy of the leaves."""
    from scipy.special import stdtr, stdtrit  # here, because scipy is slow to import

    name, expected = "log likelihood", float(exact.mean())
    error = float(exact.std(ddof=1)) / len(exact) ** 0.5
    if len(own) < 2:
        mean = float(own.mean()) if len(own) else np.nan
        return Measure(name, mean, -np.inf, np.inf, expected, None, error=error)
    mean, spread = float(own.mean()), float(own.std(ddof=1)) / len(own) ** 0.5
    half = spread * float(stdtrit(len(own) - 1, 0.975))
    gap, both = abs(mean - expected), float(np.hypot(spread, error))
    rounding = 1e-9 * (1 + abs(expected))
    if both <= rounding:  # all exact samples are equally likely
        p = None if gap <= rounding else 0.0
    else:
        freedom = both**4 / (spread**4 / (len(own) - 1) + error**4 / (len(exact) - 1))
        p = float(2 * stdtr(freedom, -gap / both))
    return Measure(name, mean, mean - half, mean + half, expected, p, error=error)


def _possible(tree: Tree, possible: np.ndarray) -> Measure:
    """With the interval of Wilson for a share."""
    n, share, square = len(possible), float(possible.mean()), NORMAL**2
    middle = (share + square / 2 / n) / (1 + square / n)
    half = NORMAL / (1 + square / n) * float(np.sqrt(share * (1 - share) / n + square / 4 / n**2))
    zeros = any(not p.complete or np.isneginf(p.log_potential).any() for p in tree.potentials)
    p = 0.0 if not possible.all() else 1.0 if zeros else None
    return Measure("possible", share, max(0.0, middle - half), min(1.0, middle + half), 1.0, p)


def _of_leaves(nothing: Posterior, x: Tensor, exact: Tensor) -> list[Measure]:
    """Symbols, leaves, pairs and blocks: what is compared without looking at the inner variables."""
    tree, leaves, samples = nothing.tree, nothing.tree.leaves, len(x)
    states = int(tree.cardinality[leaves].max())
    marginals = nothing.marginals.numpy()[:states, leaves].T  # (n, S)
    found = [of_means("symbols", marginals.mean(0)[None], _shares(x, states), _shares(exact, states))]
    some = evenly(np.arange(len(leaves)), LEAVES)
    to, cells = merged(marginals[some], np.tile(np.arange(states), (len(some), 1)), samples)
    found.append(of_tables("leaves", cells, *(_cells(to, y[:, some].numpy()) for y in (x, exact))))
    for name, groups in (("pairs", pairs(tree)), ("blocks", blocks(tree))):
        if groups:
            joint, alone = joint_tables(nothing, groups)
            to, cells = merged(joint, joint / np.where(alone > 0, alone, 1.0), samples)
            found.append(of_tables(name, cells, *(_cells(to, codes(y.numpy(), groups, states)) for y in (x, exact))))
    return found


def _shares(x: Tensor, states: int) -> np.ndarray:
    """``(N, 1, S)`` the share of leaves in each state."""
    count = torch.zeros(len(x), states, dtype=torch.float64)
    return count.scatter_add_(1, x, torch.ones_like(x, dtype=torch.float64)).div_(x.shape[1]).unsqueeze(1).numpy()


def _cells(to: np.ndarray, states: np.ndarray) -> np.ndarray:
    """``(N, T)`` cells of states ``(N, T)``, with the cell of each state ``(T, M)``."""
    return to[np.arange(len(to)), states]
