"""Headers of network files: what does not fit its schema, its tensors or a registry is refused in one line."""

import pytest
import torch
from files.networks import TREE, changed

import hgm


@pytest.mark.parametrize(
    "change",
    [
        {"query": torch.tensor([99])},
        {"inputs": torch.tensor([-1])},
        {"inputs": torch.zeros(2)},
        {"tree.scope": torch.zeros(30, dtype=torch.int64)},
        {"tree.potential_id": torch.full((12,), 5)},
        {"tree.cardinality": torch.full((11,), 9)},
        {"tree.log_potential": torch.zeros(3, dtype=torch.float64)},
        {"state.engine.weights.log_potential": torch.zeros(3, dtype=torch.float64)},
        {"state.channel.values": None},
        {"task": "generate"},
        {"task": "classify"},
        {"schedule": "none"},
        {"format": 1},
        {"leaf_shape": [3, 3]},
        {"leaf_shape": "8"},
        {"channel": {"kind": "os.system"}},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_file_made_to_mislead_is_refused(tmp_path, change):
    """Also where the checksum is right: a header or tensor that does not fit is one clear error."""
    path = tmp_path / "net.safetensors"
    hgm.save_network(hgm.compile(TREE, "posterior"), path)
    changed(path, change)
    with pytest.raises(hgm.BadSpec, match="cannot be read as a network of hgm") as caught:
        hgm.load_network(path)
    assert "\n" not in str(caught.value)


def test_a_schedule_that_is_not_registered_is_said(tmp_path):
    hgm.save_network(hgm.compile(TREE, "posterior"), tmp_path / "net.safetensors")
    changed(tmp_path / "net.safetensors", {"schedule": "mine"})
    with pytest.raises(hgm.BadSpec, match=r"no schedule 'mine'.*SCHEDULES\[name\] = function"):
        hgm.load_network(tmp_path / "net.safetensors")


def test_a_channel_that_is_not_defined_is_said(tmp_path):
    net = hgm.compile(TREE, "posterior")
    hgm.save_network(net, tmp_path / "net.safetensors")
    changed(tmp_path / "net.safetensors", {"channel": {"kind": "mine"}})
    with pytest.raises(hgm.BadSpec, match=r"no channel is named 'mine'.*import the module that defines it"):
        hgm.load_network(tmp_path / "net.safetensors")
