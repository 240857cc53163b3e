"""ReLU networks in files come back: constructions, what they share, the certificate; no other file is taken for one."""

import copy
import json
from itertools import product

import pytest
import torch
from files.networks import TREE, assert_equal, changed, observe, saved
from oracles.trees import CASES
from safetensors import safe_open
from safetensors.torch import load_file

import hgm


def relu(name="joint_table", task="posterior", **options):
    case = CASES[name]
    query = {"classify": case.names[-1], "posterior": "all"}.get(task)
    return hgm.compile(
        case.tree, task, query=query, observed=case.names, **{"activation": "relu", "tol": 0.3, **options}
    )


def constructions(net):
    """The distinct ones."""
    return {matrix for matrix in net.engine.design.built if matrix is not None}


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *product(["joint_table", "rhm", "ragged"], ["classify", "posterior"]),
        *product(["hard_zeros", "quad_2d"], ["classify", "denoise"]),
        *product(["binary_tied", "zero_rows", "cardinality_1", "single_without_factor"], ["posterior"]),
    ],
)
def test_a_relu_network_comes_back(tmp_path, name, task):
    net = relu(name, task)
    again = saved(net, tmp_path)
    assert_equal(net, again)
    e, more = observe(net)
    for dtype in (torch.float64, torch.float32):
        assert torch.equal(net(e.to(dtype), evidence=more), again(e.to(dtype), evidence=more))


@pytest.mark.parametrize("construction", ["A", "B", "C", "D", None])
def test_every_construction_comes_back(tmp_path, construction):
    tree = hgm.random_ghm(3, 2, 2, bound=3.0, seed=1)
    net = hgm.compile(tree, activation="relu", tol=0.3, construction=construction, floor=20.0)
    again = saved(net, tmp_path)
    assert_equal(net, again)
    assert again.certificate.floor == 20.0
    symbols = torch.tensor([[0, 1, -1, 1, 1, 0, 0, -1]])
    assert torch.equal(net(symbols), again(symbols))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_trained_relu_network_comes_back(tmp_path, dtype):
    """Its certificate stays that of the start."""
    start = relu("ragged", trainable=True).to(dtype)
    assert_equal(start, saved(start, tmp_path))
    net = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.01)
    again = saved(net, tmp_path)
    assert_equal(net, again)
    assert again.certificate == start.certificate
    assert all(parameter.requires_grad for parameter in again.parameters())
    e, more = observe(net)
    assert torch.equal(net(e, evidence=more), again(e, evidence=more))
    assert not torch.equal(net(e, evidence=more), start(e, evidence=more))


def test_tied_constructions_stay_one_and_are_stored_once(tmp_path):
    tree = hgm.chain(6, 2, transition=[[0.9, 0.1], [0.1, 0.9]])
    net = hgm.compile(tree, query="all", activation="relu", tol=0.3, allocation="uniform", trainable=True)
    again = saved(net, tmp_path)
    maps = sum(matrix is not None for matrix in net.engine.design.built)
    assert len(constructions(net)) == len(constructions(again)) < maps
    assert [p.shape for p in net.parameters()] == [p.shape for p in again.parameters()]
    weights = sum(name.startswith("state.") for name in load_file(tmp_path / "net.safetensors"))
    assert weights < len(net.state_dict())
    e, _ = observe(again)
    for one in (net, again):
        one(e).square().sum().backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(net.parameters(), again.parameters(), strict=True))


def test_a_relu_network_keeps_its_channel(tmp_path):
    channel = hgm.Missing(hgm.Gaussian([-1.0, 0.1]))
    net = hgm.compile(TREE, "denoise", channel=channel, activation="relu", tol=0.3)
    again = saved(net, tmp_path)
    assert_equal(net, again)
    z = torch.randn(4, *net.leaf_shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(z, 0.7), again(z, 0.7))


def test_a_relu_file_made_to_mislead_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    net = relu("ragged", construction=None)
    hgm.save_network(net, path)
    content, tensors = path.read_bytes(), load_file(path)
    with safe_open(path, "pt") as file:
        good = json.loads(file.metadata()["hgm"])["relu"]
    kinds, certificate = good["kinds"], json.loads(good["certificate"])
    assert len(set(kinds)) > 1
    number = next(name for name, t in tensors.items() if name.startswith("state.") and not t.is_floating_point())
    weight = next(name for name in tensors if name.endswith(".matrix.changes") or name.endswith(".matrix.psi"))
    table = {
        "kinds: constant pieces": {"relu": {**good, "kinds": ["constant"] * len(kinds)}},
        "kinds: C does not fit": {"relu": {**good, "kinds": ["C"] * len(kinds)}},
        "kinds: D does not fit": {"relu": {**good, "kinds": ["D"] * len(kinds)}},
        "kinds: unknown": {"relu": {**good, "kinds": ["E"] * len(kinds)}},
        "kinds: too few": {"relu": {**good, "kinds": kinds[1:]}},
        "certificate: no JSON": {"relu": {**good, "certificate": "{"}},
        "certificate: empty": {"relu": {**good, "certificate": "{}"}},
        "certificate: other types": {"relu": {**good, "certificate": json.dumps({**certificate, "floor": "low"})}},
        "no design": {"relu": None},
        "another network": {"relu": None, "task": "denoise"},
        "less of a network": {"task": "classify"},
        "sizes: sum": {"relu.sizes": tensors["relu.sizes"] + 1},
        "sizes: signs": {"relu.sizes": -tensors["relu.sizes"]},
        "sizes: type": {"relu.sizes": tensors["relu.sizes"].double()},
        "parts: sum": {"relu.parts": tensors["relu.parts"] + 1},
        "part: no such piece": {"relu.part": tensors["relu.part"] + 10**6},
        "knots: not increasing": {"relu.knots": tensors["relu.knots"].flip(0)},
        "knots: too few": {"relu.knots": tensors["relu.knots"][1:]},
        "knots: none": {"relu.knots": None},
        "values: NaN": {"relu.values": tensors["relu.values"] * torch.nan},
        "slopes: too few": {"relu.left": tensors["relu.left"][1:]},
        "slopes: a matrix": {"relu.left": tensors["relu.left"][:, None]},
        "matrix: too few": {"relu.matrix": tensors["relu.matrix"][1:]},
        "matrix: too many": {"relu.matrix": tensors["relu.matrix"].repeat(2)},
        "matrix: for other tables": {"relu.matrix": tensors["relu.matrix"] * 0},
        "state: lost": {weight: None},
        "state: shape": {weight: tensors[weight][None]},
        "state: another number": {number: tensors[number] + 1},
    }
    for name, change in table.items():
        path.write_bytes(content)
        changed(path, change)
        with pytest.raises(hgm.BadSpec, match="cannot be read as a network of hgm") as caught:
            hgm.load_network(path)
            pytest.fail(name)
        assert "\n" not in str(caught.value), name
    path.write_bytes(content)
    changed(path, {})
    assert_equal(net, hgm.load_network(path))
