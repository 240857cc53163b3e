"""Trees in network files come back equal, with their names, labels and grid."""

import pytest
import torch
from files.networks import assert_equal, changed, observe, saved
from kinds import Band
from oracles.trees import CASES

import hgm


@pytest.mark.parametrize("name", CASES)
def test_every_tree_comes_back(tmp_path, name):
    case = CASES[name]
    for task, query in [("classify", case.names[-1]), ("posterior", list(case.names[:3][::-1])), ("denoise", None)]:
        net = hgm.compile(case.tree, task, query=query, observed=case.names)
        hgm.save_network(net, tmp_path / "net.safetensors")
        again = hgm.load_network(tmp_path / "net.safetensors")
        assert_equal(net, again)
        e, more = observe(net)
        for dtype in (torch.float64, torch.float32):
            assert torch.equal(net(e.to(dtype), evidence=more), again(e.to(dtype), evidence=more))
            assert torch.equal(net.log_partition(e.to(dtype)), again.log_partition(e.to(dtype)))
    assert again.plan.tree == case.tree and again.plan.tree.grid == case.tree.grid


def test_a_rerooted_grid_with_its_names_comes_back(tmp_path):
    tree = hgm.ghm([hgm.Level((2, 2), 3, name="part"), hgm.Level((2, 2), ["off", "on"])], ["cat", "dog"])
    net = hgm.compile(tree, "classify", query="part1_0")
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert_equal(net, again)
    assert list(again.plan.tree.names) == list(net.plan.tree.names)
    assert torch.equal(net.given({"x3_3": "on"}), again.given({"x3_3": "on"}))


BAND = Band((3, 3), [0, -1, 2], [1.0, 0.5, 2.0])
BANDED = hgm.Tree.from_edges([("a", "b", BAND), ("b", "c", BAND)])


@pytest.mark.parametrize("options", [{}, {"trainable": True}, {"activation": "relu", "tol": 0.5, "floor": 30.0}])
def test_a_potential_of_ones_own_kind_comes_back(tmp_path, options):
    net = hgm.compile(BANDED, query="all", **options)
    again = saved(net, tmp_path)
    assert_equal(net, again)
    assert type(again.plan.tree.potentials[0]) is Band and len(again.plan.tree.potentials) == 1
    assert torch.equal(net(observe(net)[0]), again(observe(net)[0]))


def test_a_kind_of_potential_that_is_not_defined_is_said(tmp_path):
    hgm.save_network(hgm.compile(BANDED), tmp_path / "net.safetensors")
    entry = {"names": {"listed": ["a", "b", "c"]}, "roots": 1, "grid": None, "label_sets": [],
             "potentials": [{"kind": "Nobodys", "shape": [3, 3], "size": 3, "parts": ["offsets"]}]}  # fmt: skip
    changed(tmp_path / "net.safetensors", {"tree": entry})
    with pytest.raises(hgm.BadSpec, match="no kind of potential is named 'Nobodys'; import the module that defines it"):
        hgm.load_network(tmp_path / "net.safetensors")
