"""Floating point stays within its allowance."""

import pytest
import torch
from relu.nets import evidence

import hgm
from hgm.errors import Uncertifiable


@pytest.mark.long
def test_means_of_large_values_keep_their_bound():
    tree = hgm.random_ghm(2, 2, 2, bound=3.0, seed=0)
    far = hgm.Gaussian(values=[1e9, 1e9 + 1])
    net = hgm.compile(tree, "denoise", channel=far, activation="relu", tol=1e-4, bound="mean")
    near = hgm.compile(tree, "denoise", channel=hgm.Gaussian(values=[0.0, 1.0]))
    z = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e9
    assert (net(z, 1.0) - 1e9 - near(z - 1e9, 1.0)).abs().max() <= net.certificate.mean <= 1e-4
    with pytest.raises(Uncertifiable):  # float64 has no such means
        hgm.compile(tree, "denoise", channel=far, activation="relu", tol=1e-7, bound="mean")


def test_float32_stays_within_its_allowance():
    tree = hgm.random_ghm(5, 3, 2, seed=1)
    net = hgm.compile(tree, activation="relu")
    e = evidence(tree, 200, 5.0, torch.Generator().manual_seed(0))[:, :, torch.tensor(tree.leaves)]
    double = net(e)
    single = net.float()(e.float()).double()
    assert (single.log() - double.log()).abs().max() <= net.certificate.rounding["float32"]
