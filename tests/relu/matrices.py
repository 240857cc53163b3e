"""Matrices for constructions, inputs that could break their bounds, and the error of a construction."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

NO = -np.inf

MATRICES = {
    "2x2": [[1.1, -0.4], [-2.0, 0.7]],
    "2x2 steep": np.log([[0.999, 0.001], [0.002, 0.998]]),
    "2x2 weak": [[0.0, 0.05], [0.03, 0.0]],
    "2x2 with a zero": [[0.0, NO], [-1.0, 0.5]],
    "2x2 falling": [[-1.0, 2.0], [1.5, -0.5]],
    "4x4": np.random.default_rng(4).uniform(-2.3, 2.3, (4, 4)),
    "3x5": np.random.default_rng(5).uniform(-3, 1, (3, 5)),
    "5x2": np.random.default_rng(6).uniform(-1, 4, (5, 2)),
    "8x8": np.random.default_rng(8).uniform(-2.3, 2.3, (8, 8)),
    "joint 3x12": np.random.default_rng(12).uniform(-1, 1, (3, 12)),
    "rules": [[0.1, 0.2, NO, NO, NO, NO, NO], [NO, NO, -1.0, 0.0, 2.0, NO, NO], [NO, NO, NO, NO, NO, 0.3, NO]],
    "permutation": [[NO, 0.2, NO], [NO, NO, -1.0], [3.0, NO, NO]],
    "proportional rows": np.add.outer([0.0, 2.0, -1.0], [0.3, -0.2, 1.0, 0.0]),
    "one input": [[0.4], [-1.0], [2.0]],
    "one output": [[0.4, NO, 2.0]],
    "nearly equal": np.random.default_rng(9).uniform(-0.001, 0.001, (3, 3)),
}


def matrix(name):
    return np.asarray(MATRICES[name], dtype=np.float64)


def built():
    """All pairs of a matrix and a construction that applies to it."""
    for name in MATRICES:
        table = matrix(name)
        positive = np.isfinite(table).all()
        yield name, "C"
        if positive:
            yield from ((name, kind) for kind in "AB")
        if positive and table.shape == (2, 2):
            yield name, "D"
        if name in ("proportional rows", "one input", "one output"):
            yield name, "constant"


PAIRS = [pytest.param(name, kind, id=f"{name} {kind}") for name, kind in built()]


def error(module, table, h):
    """osc(module(h) - f(h)) for every column of h, f by scipy in float64."""
    with np.errstate(divide="ignore"), torch.no_grad():
        exact = logsumexp(np.asarray(table)[:, :, None] + h.double().numpy()[None], axis=1)
    return np.ptp(module(h).detach().double().numpy() - exact, axis=0)


def inputs(states, rng, columns=2000):
    """Normalised columns: Gaussian of many widths, ties, one-hot and other corners."""
    wide = rng.standard_normal((states, columns)) * 10 ** rng.uniform(-2, 1.5, columns)
    levels = np.array([0.0, -0.7, -3.0, -30.0, -1e6])
    if states <= 4:
        corners = np.array(list(itertools.product(levels, repeat=states))).T
    else:
        corners = rng.choice(levels, (states, 500))
    one_hot = np.where(np.eye(states) == 1, 0.0, -1e6)
    h = np.concatenate((wide, corners, one_hot, np.zeros((states, 1))), axis=1)
    return torch.tensor(h - h.max(axis=0))


def ascended(module, table, rng, columns=60, steps=30):
    """Inputs that gradient ascent finds to be worst, from random starts."""
    psi = torch.tensor(np.asarray(table))[:, :, None]
    u = torch.tensor(rng.standard_normal((psi.shape[1], columns)) * 3, requires_grad=True)
    optimiser = torch.optim.Adam([u], lr=0.05)
    for _ in range(steps):
        h = u - u.max(dim=0).values
        gap = module(h) - torch.logsumexp(psi + h, dim=1)
        loss = -(gap.amax(dim=0) - gap.amin(dim=0)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    h = u.detach()
    return h - h.max(dim=0).values
