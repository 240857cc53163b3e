"""A layered model of one variable goes through every door: its root is its only leaf, and a grid without axes a row."""

import numpy as np
import pytest
import torch

import hgm

PRIOR = np.array([0.5, 0.3, 0.2])
LIKELIHOOD = np.array([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]])
WANT = torch.from_numpy(PRIOR * LIKELIHOOD / (PRIOR * LIKELIHOOD).sum(1, keepdims=True))
LOG_Z = torch.from_numpy(np.log((PRIOR * LIKELIHOOD).sum(1)))


@pytest.fixture
def tree():
    return hgm.ghm([], 3, prior=PRIOR)


@pytest.fixture
def e():
    return torch.from_numpy(LIKELIHOOD).log()[..., None]  # (B, S, 1)


def test_the_reference(tree, e):
    full = hgm.log_evidence(tree, e, dtype=e.dtype)
    assert torch.equal(full, e)
    posterior = hgm.infer(tree, full)
    torch.testing.assert_close(posterior.marginals[..., 0], WANT)
    torch.testing.assert_close(posterior.log_partition, LOG_Z)


@pytest.mark.parametrize("task", ["classify", "posterior", "denoise"])
def test_networks(tree, e, task, tmp_path):
    channel = hgm.Gaussian([0.0, 1.0, 5.0]) if task == "denoise" else None
    net = hgm.compile(tree, task, channel=channel)
    assert net.leaf_shape == (1,)
    if channel is None:
        args, want = (e,), WANT if task == "classify" else WANT[..., None]
        torch.testing.assert_close(net.log_partition(*args), LOG_Z)
    else:
        z, values = torch.tensor([[0.4], [3.0]], dtype=torch.float64), torch.tensor([0.0, 1.0, 5.0]).double()
        p = torch.from_numpy(PRIOR) * torch.exp(-((z - values) ** 2) / 2)
        args, want = (z, 1.0), (p @ values / p.sum(1))[:, None]
    torch.testing.assert_close(net(*args), want)
    path = tmp_path / "net.safetensors"
    hgm.save_network(net, path)
    assert torch.equal(hgm.load_network(path)(*args), net(*args))


def test_verify(tree):
    assert hgm.verify(tree).ok


def test_learning(tree):
    data = torch.tensor([[0], [0], [1]])
    values = hgm.fit(tree, data).tree.potentials[0].values
    np.testing.assert_allclose(values, [2 / 3, 1 / 3, 0.0], atol=1e-12)
    logs = torch.log(torch.nn.functional.one_hot(data[:, 0], 3).double())[..., None]
    np.testing.assert_allclose(hgm.fit(tree, logs).tree.potentials[0].values, values, atol=1e-12)


def test_files(tree, tmp_path):
    hgm.save(tree, tmp_path / "model.yaml")
    back = hgm.load(tmp_path / "model.yaml")
    assert back == tree and back.grid == tree.grid
