"""What the tests of network files share."""

import json

import torch
from oracles.trees import CASES
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import hgm
from hgm.files.sealed import checksum

TREE = CASES["quad_2d"].tree


def observe(net, seed=0):
    """Random log evidence of the leaves, and of the observed variables."""
    generator = torch.Generator().manual_seed(seed)
    e = torch.randn(3, net.leaf_states, *net.leaf_shape, generator=generator, dtype=torch.float64)
    more = torch.randn(3, net.states_in, net.extra, generator=generator, dtype=torch.float64) if net.extra else None
    return e, more


def assert_equal(one, two):
    """Two networks are the same: as modules, in what they know, and bit for bit in what they say."""
    assert str(one) == str(two)
    assert one.inputs == two.inputs and one.plan.tree == two.plan.tree and one.trainable == two.trainable
    assert one.certificate == two.certificate and one.tree() == two.tree()
    assert one.state_dict().keys() == two.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert tensor.dtype == two.state_dict()[name].dtype and torch.equal(tensor, two.state_dict()[name])


def saved(net, folder):
    """The network as it comes back from a file."""
    hgm.save_network(net, folder / "net.safetensors")
    return hgm.load_network(folder / "net.safetensors")


def changed(path, change):
    """Change a file, with the checksum that then is right."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["hgm"])
    del header["checksum"]
    for key, value in change.items():
        if isinstance(value, torch.Tensor) or (value is None and key in tensors):
            tensors[key] = value
        else:
            header[key] = value
    tensors = {key: value for key, value in tensors.items() if value is not None}
    header["checksum"] = checksum(header, tensors)
    save_file(tensors, path, {"hgm": json.dumps(header)})
