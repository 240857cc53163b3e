"""The laws of samplers of discrete data, and what schedules cost, by summing over all data. Tiny data only.

Data are a table ``P`` of shape ``(S,) * n``. Laws come back as such tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np


def conditional(P: np.ndarray, known: Sequence[int], v: int) -> np.ndarray:
    """p(x_v | x_known) as a table over all x, 0 where the condition is impossible."""
    others = tuple(u for u in range(P.ndim) if u not in (*known, v))
    joint = P.sum(others, keepdims=True)
    below = joint.sum(v, keepdims=True) if v not in known else joint
    with np.errstate(invalid="ignore"):
        return np.broadcast_to(np.where(below > 0, joint / below, 0.0), P.shape)


def blockwise(P: np.ndarray, blocks: Sequence[Sequence[int]]) -> np.ndarray:
    """The law of drawing the symbols of each block independently, given all blocks before."""
    q, known = np.ones(P.shape), []
    for block in blocks:
        for v in block:
            q = q * conditional(P, known, v)
        known += block
    return q


def cut(order: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    ends = np.cumsum(sizes)
    return [list(order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def over_orders(P: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """The laws `blockwise` of all orders."""
    return [blockwise(P, cut(order, sizes)) for order in itertools.permutations(range(P.ndim))]


def in_time(P: np.ndarray, times: Sequence[float]) -> np.ndarray:
    """The law of revealing each symbol in step i with probability times[i] - times[i + 1], independently."""
    share = -np.diff(times)
    law = np.zeros(P.shape)
    for steps in itertools.product(range(len(share)), repeat=P.ndim):
        blocks = [[v for v in range(P.ndim) if steps[v] == i] for i in range(len(share))]
        law = law + np.prod(share[list(steps)]) * blockwise(P, blocks)
    return law


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """In nats."""
    p, q = p.ravel(), q.ravel()
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def posterior(P: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    """``(n, S)`` marginals of the data given a likelihood ``(n, S)``."""
    joint = P.copy()
    for v in range(P.ndim):
        joint = joint * likelihood[v].reshape([-1 if u == v else 1 for u in range(P.ndim)])
    return np.stack([joint.sum(tuple(u for u in range(P.ndim) if u != v)) for v in range(P.ndim)]) / joint.sum()


def reverse_kernel(P: np.ndarray, before: np.ndarray, step: np.ndarray, z: Sequence[int]) -> np.ndarray:
    """``(n, R)`` p(x_s,v | x_t = z) = sum over x_0,v of q(x_s,v | x_t,v, x_0,v) p(x_0,v | x_t = z).

    `before` ``(S, R)`` is q(x_s | x_0) of a symbol, `step` ``(R, R)`` is q(x_t | x_s).
    """
    both = before @ step  # q(x_t | x_0)
    clean = posterior(P, both[:, list(z)].T)
    rows = []
    for v, seen in enumerate(z):
        with np.errstate(invalid="ignore"):
            bridge = before * step[:, seen] / both[:, seen][:, None]
        rows.append(clean[v] @ np.nan_to_num(bridge))
    return np.stack(rows)


def chain(P: np.ndarray, start: np.ndarray, steps: Sequence[np.ndarray]) -> np.ndarray:
    """The law of a sampler whose kernel is the product of `reverse_kernel` over the symbols.

    `steps` are the matrices q(x_t | x_s) of a symbol in the order of the forward process, the first ``(S, R)``; each
    symbol begins at the other end with the law `start` ``(R,)``.
    """
    n, wide = P.ndim, steps[0].shape[1]
    law = np.ones((1,) * n)
    for v in range(n):
        law = law * start.reshape([-1 if u == v else 1 for u in range(n)])
    for i in reversed(range(len(steps))):
        before = np.eye(P.shape[0])
        for step in steps[:i]:
            before = before @ step
        new = np.zeros((before.shape[1],) * n)
        for z in itertools.product(range(wide), repeat=n):
            if law[z] > 0:
                rows = reverse_kernel(P, before, steps[i], z)
                product = np.ones((1,) * n)
                for v in range(n):
                    product = product * rows[v].reshape([-1 if u == v else 1 for u in range(n)])
                new = new + law[z] * product
        law = new
    return law
