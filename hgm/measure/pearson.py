"""Pearson's chi-square for many tables of the same samples, whose cells have known probabilities.

Samples are independent, but tables of one sample (its leaves, its pairs) are not, so the sum over tables

    X^2 = N sum_t sum_k (q_tk - p_tk)^2 / p_tk = N |mean of f|^2,   f = (1[in cell k of t] - p_tk) / sqrt(p_tk)

is no chi-square but a weighted sum of squares, with the eigenvalues of C = Cov f for weights. Its first three moments
follow from tr C, which is known, and from tr C^2 and tr C^3, which are estimated without bias from exact samples of the
tree: their inner products g_ij = f_i . f_j, i != j, have mean squares tr C^2, and closed triangles of mean tr C^3. A
shifted gamma distribution with these moments gives the p-value. It needs no inverse of C, so there may be more cells
than samples, and samples that are all the same are no special case.

J. N. K. Rao and A. J. Scott, "On chi-squared tests for multiway contingency tables with cell proportions estimated from
survey data", Annals of Statistics 12 (1984); the third moment as in H. Liu, Y. Tang and H. H. Zhang, "A new chi-square
approximation to the distribution of non-negative definite quadratic forms", Comput. Statist. Data Anal. 53 (2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["CELL", "Measure", "merged", "of_means", "of_tables"]

CELL = 5  # samples that a cell is expected to hold, at least
GRAM = 1024  # exact samples whose inner products are taken
LEAST = 20  # samples, for a p-value
WIDTH = 4096  # columns of features that are held at a time
TINY = 1e-12  # a probability that may be rounding
POWERS = 20  # by which vectors turn to the largest eigenvalue
WIDEST, STEPS = 12.0, 801  # of the integral over one normal variable
NORMAL = 1.959964  # 97.5% quantile


@dataclass(frozen=True)
class Measure:
    """One way in which samples may differ from exact ones.

    Attributes:
        name: what is measured.
        estimate: of the samples; NaN if no sample can be measured.
        low, high: 95% confidence interval of what this sampler gives on average, in as many samples.
        expected: what exact samples give on average, in as many samples.
        p: p-value of the hypothesis that these are exact and independent samples of the tree; ``None`` if there is
            none.
        kl: for distributions KL(samples || tree) in nats, averaged like the total variation, less what exact samples
            have on average: so it is 0 on average for those, and may be negative. ``inf`` if the tree excludes what was
            seen.
        error: standard error of `expected`, where that is itself estimated.
    """

    name: str
    estimate: float
    low: float
    high: float
    expected: float
    p: float | None
    kl: float | None = None
    error: float = 0.0


def merged(p: np.ndarray, key: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells that hold enough: states that are rare are merged, in the order of a key.

    Args:
        p: ``(T, M)`` probability of each state of each table.
        key: ``(T, M)`` what merged states should have in common.
        samples: N.

    Returns:
        The cell of each state ``(T, M)``, and the probability of each cell ``(T, K)``, 0 where there is none. States of
        probability zero have a cell of their own, the last.
    """
    bins = [_bins(own, by, CELL / samples) for own, by in zip(p, key, strict=True)]
    last = max(len(of) for of in bins)
    to, cells = np.full(p.shape, last), np.zeros((len(p), last + 1))
    for t, of in enumerate(bins):
        for i, (members, share) in enumerate(of):
            to[t, members], cells[t, i] = i, share
    return to, cells


def _bins(p: np.ndarray, key: np.ndarray, least: float) -> list[tuple[list[int], float]]:
    """The cells of one table: their states and probabilities."""
    bins = [([k], float(p[k])) for k in np.flatnonzero(p >= least).tolist()]
    rare = np.flatnonzero((p > 0) & (p < least))
    rare = rare[np.argsort(key[rare], kind="stable")]
    heap: list[int] = []
    share = 0.0
    for k, own in zip(rare.tolist(), p[rare].tolist(), strict=True):
        heap.append(k)
        share += own
        if share >= least:
            bins.append((heap, share))
            heap, share = [], 0.0
    if heap and bins:  # what is left joins the smallest
        smallest = min(range(len(bins)), key=lambda i: bins[i][1])
        bins[smallest] = (bins[smallest][0] + heap, bins[smallest][1] + share)
    elif heap:
        bins.append((heap, share))
    return bins


def of_tables(name: str, p: np.ndarray, seen: np.ndarray, exact: np.ndarray) -> Measure:
    """Mean total variation of tables whose cells have probabilities p ``(T, K)``.

    `seen` ``(N, T)`` and `exact` ``(R, T)`` are the cells of samples, and of exact ones.
    """
    samples, (tables, width) = len(seen), p.shape
    columns = np.arange(tables)
    q = np.bincount((seen + width * columns).ravel(), minlength=p.size).reshape(p.shape) / samples
    gap = q - p
    influence = (np.sign(gap)[columns, seen] - (np.sign(gap) * q).sum(1)).mean(1) / 2
    possible = p > 0
    freedom = float(possible.sum() - tables)
    chance = freedom / 2 / samples + float((1 / p[possible]).sum() - tables) / 12 / samples**2  # E KL, to order 1 / N^3
    statistic = np.inf if (q[~possible] > 0).any() else samples * float((gap[possible] ** 2 / p[possible]).sum())
    return _measure(
        name,
        float(np.abs(gap).sum() / 2 / tables),
        influence,
        expected=float(_mean_gap(p, samples).sum() / 2 / tables),
        p=_tail(statistic, samples, _gram(p, exact[:GRAM]), freedom),
        kl=(_kl(q, p) - chance) / tables,
    )


def of_means(name: str, p: np.ndarray, seen: np.ndarray, exact: np.ndarray) -> Measure:
    """Mean total variation of averages from what exact samples have on average.

    `seen` ``(N, m, S)`` are m distributions of each sample, `exact` ``(R, m, S)`` those of exact ones, p ``(m, S)`` the
    exact mean.
    """
    samples, tables = len(seen), len(p)
    if not samples:
        return Measure(name, np.nan, np.nan, np.nan, np.nan, None)
    q, square = seen.mean(0), ((exact - p) ** 2).mean(0)
    influence = np.einsum("nms,ms->n", seen - q, np.sign(q - p)) / 2 / tables
    spread = np.sqrt(square * 2 / np.pi / samples)  # E |normal| = sd sqrt(2 / pi)
    kept = samples * p >= CELL  # a sum over few samples is far from normal
    features = (exact - p)[:, kept] / np.sqrt(p[kept])
    few = torch.from_numpy(features[:GRAM].astype(np.float32))
    excluded = bool((q[p == 0] > TINY).any())
    statistic = np.inf if excluded else samples * float(((q - p)[kept] ** 2 / p[kept]).sum())
    chance = float((square[p > 0] / p[p > 0]).sum()) / 2 / samples
    return _measure(
        name,
        float(np.abs(q - p).sum() / 2 / tables),
        influence,
        expected=float(spread.sum() / 2 / tables),
        p=_tail(statistic, samples, (few @ few.T).double().numpy(), float((features**2).sum(1).mean())),
        kl=(_kl(q, p) - chance) / tables,
    )


def _measure(name: str, estimate: float, influence: np.ndarray, expected: float, p: float | None, kl: float) -> Measure:
    """With the interval of the delta method: of what each sample adds, `influence` ``(N,)``, to the estimate."""
    half = NORMAL * float(influence.std(ddof=1)) / len(influence) ** 0.5 if len(influence) > 1 else np.inf
    return Measure(name, estimate, max(0.0, estimate - half), min(1.0, estimate + half), expected, p, kl)


def _kl(q: np.ndarray, p: np.ndarray) -> float:
    at = (q > TINY) | ((q > 0) & (p > 0))
    with np.errstate(divide="ignore"):
        return float((q[at] * (np.log(q[at]) - np.log(p[at]))).sum())


def _mean_gap(p: np.ndarray, samples: int) -> np.ndarray:
    """E |q - p| where N q is binomial: 2 v C(N, v) p^v (1 - p)^(N - v + 1) / N, v = floor(N p) + 1 (de Moivre)."""
    from scipy.special import gammaln  # here, because scipy is slow to import

    mean = np.zeros(p.shape)
    at = (p > 0) & (p < 1)
    v = np.floor(samples * p[at]) + 1
    choose = gammaln(samples + 1) - gammaln(v + 1) - gammaln(samples - v + 1)
    mean[at] = 2 * v / samples * np.exp(choose + v * np.log(p[at]) + (samples - v + 1) * np.log1p(-p[at]))
    return mean


def _gram(p: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """``(R, R)`` inner products of the features of cells ``(R, T)``: sum_t [k_it = k_jt] / p_tk - 1."""
    rows, tables = cells.shape
    width = p.shape[1]
    weight = torch.from_numpy(np.where(p > 0, 1 / np.sqrt(np.where(p > 0, p, 1.0)), 0.0).astype(np.float32))
    index = torch.from_numpy(cells)
    gram = torch.full((rows, rows), -float(tables), dtype=torch.float32)
    step = max(1, WIDTH // width)
    for first in range(0, tables, step):
        part = index[:, first : first + step]
        near = weight[first : first + step]
        f = torch.zeros(rows, part.shape[1], width, dtype=torch.float32)
        f = f.scatter_(2, part[:, :, None], near.gather(1, part.T).T[:, :, None]).flatten(1)
        gram += f @ f.T
    return gram.double().numpy()


def _tail(statistic: float, samples: int, gram: np.ndarray, trace: float) -> float | None:
    """P(X^2 >= statistic) for exact samples; ``None`` if X^2 is a constant, or the samples are too few.

    `gram` holds the inner products of features of exact samples, `trace` is tr C.
    """
    from scipy.special import gammaincc

    if np.isinf(statistic):
        return 0.0
    n = len(gram)
    off = torch.from_numpy((gram - np.diag(gram.diagonal())).astype(np.float32))
    second = float((off.double() ** 2).sum()) / (n * (n - 1))
    variance = float(gram.diagonal().var()) / samples + 2 * (1 - 1 / samples) * second
    if samples < LEAST or trace < 1e-9 or variance < 1e-12:
        return None
    paths = off @ off
    third = float((paths * off).sum()) / (n * (n - 1) * (n - 2))
    third = min(max(third, second**2 / trace), second**1.5)  # as for every C
    first = min(max(_largest(off, paths) / (n - 1), 0.0), trace)
    z = np.linspace(0.0, WIDEST, STEPS)
    left = statistic - first * z**2
    trace, variance, third = trace - first, variance - 2 * first**2, third - first**3
    if trace < 1e-3 * first or variance <= 0 or third <= 0:
        return float(gammaincc(0.5, max(0.0, statistic / first / 2)))
    skewness = 8 * third / variance**1.5
    # the gamma distribution of shape 4 / skewness^2, scaled and shifted to this mean and variance
    shape, scale = 4 / skewness**2, variance**0.5 * skewness / 2
    beyond = gammaincc(shape, np.maximum(0.0, (left - trace) / scale + shape))
    density = np.exp(-(z**2) / 2) * (2 / np.pi) ** 0.5 * z[1]
    density[0] /= 2
    return float(min(1.0, density @ beyond))


def _largest(matrix: torch.Tensor, square: torch.Tensor) -> float:
    """The largest eigenvalue of a symmetric matrix whose square is given, by power iteration."""
    v = matrix[:, square.diagonal().argmax()]
    for _ in range(POWERS):
        v = square @ (v / torch.linalg.vector_norm(v).clamp_min(TINY))
    v = v / torch.linalg.vector_norm(v).clamp_min(TINY)
    return float(v @ matrix @ v)
