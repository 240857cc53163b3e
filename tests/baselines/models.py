"""Small models that the tests of baselines share: leaves 4x4, 8 in a row, and 9, which no halving fits."""

import functools

import torch

import hgm

VALUES = [-1.0, 0.2, 1.3]


@functools.cache
def tree(kind="image"):
    arity = {"image": (2, 2), "sequence": 2, "odd": 3}[kind]
    return hgm.random_ghm({"image": 2, "sequence": 3, "odd": 2}[kind], 3, arity, bound=5, seed=0)


def channel():
    return hgm.Gaussian(VALUES)


def noisy(kind="image", rows=5, seed=0, dtype=torch.float32):
    return torch.randn(rows, *tree(kind).leaf_shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SIGMA = torch.linspace(0.3, 2.0, 5)
