"""Kinds of potentials that hgm does not know: a circulant table, tied inside, and a sparse one with a part."""

import numpy as np

import hgm


class Circulant(hgm.Potential):
    """psi[s, a] = weights[a - s mod S]: S weights, each in S places."""

    def __init__(self, weights):
        with np.errstate(divide="ignore"):
            super().__init__((len(weights),) * 2, np.log(weights))

    def entries(self):
        s = np.arange(self.size)
        return (s - s[:, None]) % self.size


class Band(hgm.Potential):
    """psi[s, s + k] = weights[k] for the offsets k that are listed, else 0."""

    def __init__(self, shape, offsets, weights):
        super().__init__(shape, np.log(weights), {"offsets": np.array(offsets)})

    def parts(self):
        return {"offsets": self.offsets}

    def entries(self):
        rows, columns = np.indices(self.shape)
        entries = np.full(self.shape, -1)
        for i, k in enumerate(self.offsets):
            entries[columns - rows == k] = i
        return entries
