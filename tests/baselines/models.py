"""Small models that the tests of baselines share: leaves 8x8, 16 in a row, and 9, which no halving fits."""

import functools

import torch

import hgm

VALUES = [-1.0, 0.2, 1.3]


@functools.cache
def tree(kind="image"):
    arity = {"image": (2, 2), "sequence": 2, "odd": 3}[kind]
    return hgm.random_ghm({"image": 3, "sequence": 4, "odd": 2}[kind], 3, arity, bound=5, seed=0)


def channel():
    return hgm.Gaussian(VALUES)


def noisy(kind="image", rows=5, seed=0, dtype=torch.float32):
    return torch.randn(rows, *tree(kind).leaf_shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SIGMA = torch.linspace(0.3, 2.0, 5)


def both(names):
    """Names with an image and with a sequence, where they can be: 8 is halved twice, so it has no skip at level 2."""
    return [(name, kind) for name in names for kind in ("image", "sequence") if (name, kind) != ("unet_cut_2", "image")]
