"""A lower bound on a divergence of two laws that only samples are known of: how well the two are told apart.

For any set A    KL(p || q) >= kl(p(A) || q(A)),    kl(a || b) = a log a/b + (1 - a) log (1 - a)/(1 - b)

because what A says of a sample is a function of it. A is where a logistic regression on features, fitted to one half of
the samples, is above a threshold; p(A) and q(A) are then bounded from the other half (Clopper and Pearson), each with
confidence 97.5%, so the bound holds with 95%. With n samples in that half it is never more than about log(n / 4), which
it reaches where the two are told apart without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Apart", "binary", "told_apart"]

RIDGE = 1e-2
MISS = 0.025
TRIED = 99  # thresholds, the median among them


class Apart(NamedTuple):
    """What samples say of a divergence.

    Attributes:
        hit: the share of samples of p in A.
        false: the share of samples of q in A.
        bound: on KL(p || q), in nats, with confidence 95%.
        most: what the bound would be if no sample were told wrongly.
    """

    hit: float
    false: float
    bound: float
    most: float


def binary(a: float, b: float) -> float:
    """Kl of two shares in nats, 0 unless a > b."""
    if a <= b:
        return 0.0
    x = torch.tensor([a, 1 - a], dtype=torch.float64)
    y = torch.tensor([b, 1 - b], dtype=torch.float64)
    return float((torch.xlogy(x, x) - torch.xlogy(x, y)).sum())


def told_apart(p: Tensor, q: Tensor) -> Apart:
    """The bound from features ``(n, k)`` of samples of p and ``(m, k)`` of q, independent of one another."""
    fitted, kept = (p[::2], q[::2]), (p[1::2], q[1::2])
    score = _regression(*fitted)
    own_p, own_q = (score(part) for part in fitted)
    shares = torch.linspace(0.01, 0.99, TRIED, dtype=torch.float64)

    def bound_at(t: float) -> float:
        return _bound(int((own_p > t).sum()), int((own_q > t).sum()), len(own_p), len(own_q))

    at = max(torch.quantile(torch.cat([own_p, own_q]), shares).tolist(), key=bound_at)
    hit, false = (int((score(part) > at).sum()) for part in kept)
    n, m = map(len, kept)
    return Apart(hit / n, false / m, _bound(hit, false, n, m), _bound(n, 0, n, m))


def _bound(hit: int, false: int, n: int, m: int) -> float:
    from scipy.special import betaincinv  # here, because scipy is slow to import

    low = float(betaincinv(hit, n - hit + 1, MISS)) if hit else 0.0
    high = float(betaincinv(false + 1, m - false, 1 - MISS)) if false < m else 1.0
    return binary(low, high)


def _regression(p: Tensor, q: Tensor) -> Callable[[Tensor], Tensor]:
    """The log odds of p against q, as a function of features: a logistic regression on them and their squares."""
    both = torch.cat([p, q]).double()
    centre, spread = both.mean(0), both.std(0).clamp_min(1e-9)

    def prepared(x: Tensor) -> Tensor:
        y = ((x.double() - centre) / spread).clamp(-6, 6)
        return torch.cat([y, y.square(), torch.ones(len(y), 1, dtype=torch.float64)], 1)

    seen = prepared(both)
    sign = torch.cat([torch.ones(len(p)), -torch.ones(len(q))]).double()
    weights = torch.zeros(seen.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = torch.nn.functional.softplus(-sign * (seen @ weights)).mean() + RIDGE * weights[:-1].square().mean()
        loss.backward()
        return loss

    solver.step(closure)
    found = weights.detach()
    return lambda x: prepared(x) @ found
