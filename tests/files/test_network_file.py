"""Network files: what comes back is equal bit for bit, and no other file is taken for one."""

import copy
import json
import os
import stat
from itertools import product

import pytest
import torch
from oracles.trees import CASES
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import hgm

TREE = CASES["quad_2d"].tree
VALUES = torch.tensor([[0.5, 1.0], [-2.0, 3.0]])
CHANNELS = {
    "soft": hgm.Soft(),
    "clamp": hgm.Clamp([3.0, 1.5]),
    "erasure": hgm.Erasure(),
    "flip": hgm.Flip(),
    "gaussian": hgm.Gaussian([-1.0, 0.1]),
    "gaussian on an embedding": hgm.Gaussian(VALUES),
    "missing": hgm.Missing(hgm.Gaussian([-1.0, 0.1])),
}


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
    if isinstance(one, hgm.ReluConvNet | hgm.ReluUNet):
        assert one.certificate == two.certificate
    else:
        assert one.tree() == two.tree()
    assert one.state_dict().keys() == two.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert tensor.dtype == two.state_dict()[name].dtype and torch.equal(tensor, two.state_dict()[name])


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


@pytest.mark.parametrize("name", CHANNELS)
def test_every_channel_comes_back(tmp_path, name):
    net = hgm.compile(TREE, "denoise", channel=CHANNELS[name])
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert_equal(net, again)
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(4, *net.leaf_shape, generator=generator)
    if "embedding" in name:
        z = torch.stack([z, -z], 1)
    given = {
        "soft": (torch.stack([z, -z], 1),),
        "clamp": ((z > 0).long(),),
        "erasure": ((z > 0).long(), z.abs() > 0.3),
        "flip": ((z > 0).long(), 0.2),
        "missing": (torch.where(z > 1, torch.nan, z), 0.7),
    }.get(name, (z, 0.7))
    assert torch.equal(net(*given), again(*given))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_trained_weights_are_kept(tmp_path, dtype):
    net = hgm.compile(CASES["ragged"].tree, "posterior", query="all", trainable=True).to(dtype)
    with torch.no_grad():
        net.weights.log_potential.add_(torch.randn(net.weights.log_potential.shape, dtype=dtype))
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert_equal(net, again)
    assert again.weights.log_potential.requires_grad
    assert torch.equal(net(observe(net)[0]), again(observe(net)[0]))
    assert again.tree() != CASES["ragged"].tree


def test_a_rerooted_grid_with_its_names_comes_back(tmp_path):
    tree = hgm.ghm([hgm.Level((2, 2), 3, name="part"), hgm.Level((2, 2), ["off", "on"])], ["cat", "dog"])
    net = hgm.compile(tree, "classify", query="part1_0")
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert_equal(net, again)
    assert list(again.plan.tree.names) == list(net.plan.tree.names)
    assert torch.equal(net.given({"x3_3": "on"}), again.given({"x3_3": "on"}))


# ---------------------------------------------------------------------- ReLU networks


def relu(name="joint_table", task="posterior", **options):
    case = CASES[name]
    query = {"classify": case.names[-1], "posterior": "all"}.get(task)
    return hgm.compile(
        case.tree, task, query=query, observed=case.names, **{"activation": "relu", "tol": 0.3, **options}
    )


def saved(net, folder):
    """The network as it comes back from a file."""
    hgm.save_network(net, folder / "net.safetensors")
    return hgm.load_network(folder / "net.safetensors")


def constructions(net):
    """The distinct ones."""
    return {matrix for matrix in net.design.built if matrix is not None}


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
    assert again.floor == again.certificate.floor == 20.0
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
    maps = sum(matrix is not None for matrix in net.design.built)
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


# ---------------------------------------------------------------------- files


def test_a_file_is_text_and_tensors_only(tmp_path):
    hgm.save_network(hgm.compile(TREE, "classify"), tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        header = json.loads(file.metadata()["hgm"])
        assert file.get_tensor("state.weights.log_potential").dtype == torch.float64
    assert header["network"] == "ConvNet" and header["channel"] == {"kind": "Soft"} and header["hgm"]


def test_writing_is_atomic_and_keeps_permissions(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    net = hgm.compile(TREE, "classify")
    hgm.save_network(net, path)
    path.chmod(0o640)
    hgm.save_network(net, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(hgm.BadSpec, match="No space left"):
        hgm.save_network(hgm.compile(TREE, "denoise"), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]


def bad_files(folder):
    """Files that are no network of hgm, and what must be said of them."""
    good = folder / "good.safetensors"
    hgm.save_network(hgm.compile(TREE, "posterior"), good)
    content = good.read_bytes()
    with safe_open(good, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(good)

    def write(name, content):
        (folder / name).write_bytes(content)
        return folder / name

    def rewrite(name, header=None, **changed):
        new = {**tensors, **changed}
        data = {**metadata, "hgm": json.dumps({**json.loads(metadata["hgm"]), **(header or {})})}
        save_file({key: t.contiguous() for key, t in new.items() if t is not None}, folder / name, data)
        return folder / name

    flipped = bytearray(content)
    flipped[-5] ^= 1
    save_file({"x": torch.zeros(2)}, folder / "other.safetensors")
    save_file({"x": torch.zeros(2)}, folder / "list.safetensors", {"hgm": "[1]"})
    save_file({"x": torch.zeros(2)}, folder / "text.safetensors", {"hgm": "{"})
    yield folder / "absent.safetensors", "there is no such file"
    yield folder, "must end in .safetensors"
    yield write("net.pt", content), "must end in .safetensors"
    yield write("empty.safetensors", b""), "not a safetensors file"
    yield write("noise.safetensors", b"\x80\x04\x95" * 99), "not a safetensors file"
    yield write("short.safetensors", content[: len(content) // 2]), "not a safetensors file"
    yield write("long.safetensors", content + b"\0" * 8), "not a safetensors file"
    yield write("flipped.safetensors", bytes(flipped)), "checksum"
    yield folder / "other.safetensors", "not a network that hgm saved"
    yield folder / "list.safetensors", "not a network that hgm saved"
    yield folder / "text.safetensors", "not a safetensors file, or a damaged one"
    yield rewrite("later.safetensors", {"format": 2}), "format 2"
    yield rewrite("edited.safetensors", {"mean": True}), "checksum"
    yield rewrite("lost.safetensors", inputs=None), "checksum"


def test_other_files_are_refused(tmp_path):
    for path, text in bad_files(tmp_path):
        with pytest.raises(hgm.BadSpec, match=text) as caught:
            hgm.load_network(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def changed(path, change):
    """Change a file, with the checksum that then is right."""
    from hgm.files.network import _checksum

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
    header["checksum"] = _checksum(header, tensors)
    save_file(tensors, path, {"hgm": json.dumps(header)})


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
        {"state.weights.log_potential": torch.zeros(3, dtype=torch.float64)},
        {"state.channel.values": None},
        {"network": "Sequential"},
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
        "another network": {"network": "UNet"},
        "less of a network": {"network": "ReluConvNet"},
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


class MyChannel(hgm.Soft):
    pass


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (lambda: hgm.compile(TREE, "posterior", channel=MyChannel()), "MyChannel"),
        (lambda: hgm.compile(TREE, "posterior", channel=hgm.Missing(MyChannel())), "MyChannel"),
        (lambda: torch.nn.Linear(2, 2), "Linear"),
        (lambda: hgm.compile(TREE, "posterior").bfloat16(), "bfloat16"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(tmp_path, net, text):
    with pytest.raises(hgm.BadSpec, match=text):
        hgm.save_network(net(), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_bad_places(tmp_path):
    net = hgm.compile(TREE, "classify")
    with pytest.raises(hgm.BadSpec, match=r"must end in \.safetensors"):
        hgm.save_network(net, tmp_path / "net.bin")
    with pytest.raises(hgm.BadSpec, match="cannot be written: No such file"):
        hgm.save_network(net, tmp_path / "nowhere" / "net.safetensors")
