"""Small models and networks that the tests of diffusion share."""

import functools

import torch

import hgm

VALUES = [-1.0, 0.2, 1.3]


@functools.cache
def tree():
    return hgm.random_ghm(2, 3, (2, 2), bound=5, seed=0)


@functools.cache
def tokens():
    return hgm.random_ghm(3, 3, 2, bound=5, seed=1)


def channel():
    return hgm.Gaussian(VALUES)


def unet(of=None):
    return hgm.compile(tree() if of is None else of, "denoise", channel=channel())


def noisy(rows=5, shape=(4, 4), seed=0, dtype=torch.float64):
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
