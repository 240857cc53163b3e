"""Network files: what comes back is equal bit for bit, and no other file is taken for one."""

import json
import os
import stat
from dataclasses import replace

import pytest
import torch
from files.networks import TREE, assert_equal, observe, saved
from oracles.trees import CASES
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import hgm
from hgm.compiler.schedule import SCHEDULES

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
        net.engine.weights.log_potential.add_(torch.randn(net.engine.weights.log_potential.shape, dtype=dtype))
    hgm.save_network(net, tmp_path / "net.safetensors")
    again = hgm.load_network(tmp_path / "net.safetensors")
    assert_equal(net, again)
    assert again.engine.weights.log_potential.requires_grad
    assert torch.equal(net(observe(net)[0]), again(observe(net)[0]))
    assert again.tree() != CASES["ragged"].tree


NAMES = [("A", 0), 1, "1", 2.5, ((True, "x"),)]  # the last but two have the first for a parent
LABELS = [(0, 1, "x"), (False, True, "x"), (("a", 1), 2.5), None, ("1", 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_symbols_give_what_they_gave(tmp_path, dtype):
    net = hgm.compile(TREE).to(dtype)
    hgm.save_network(net, tmp_path / "net.safetensors")
    loaded, x = hgm.load_network(tmp_path / "net.safetensors"), torch.zeros(2, *net.leaf_shape, dtype=torch.int64)
    assert loaded.dtype == dtype and torch.equal(loaded(x), net(x)) and loaded.log_partition(x).dtype == dtype


@pytest.mark.parametrize("activation", ["exact", "relu"])
def test_names_and_labels_of_every_type_come_back(tmp_path, activation):
    sizes = [3, 3, 2, 2, 2]
    tree = hgm.Tree.from_edges(
        [
            (NAMES[i], NAMES[j], torch.eye(sizes[i], sizes[j]).numpy() + 0.1)
            for i, j in ((0, 1), (0, 2), (1, 3), (1, 4))
        ],
        variables={name: labels for name, labels in zip(NAMES, LABELS, strict=True) if labels is not None},
    )
    net = hgm.compile(tree, "posterior", query="all", activation=activation)
    again = saved(net, tmp_path)
    assert_equal(net, again)
    assert sorted(map(repr, again.plan.tree.names)) == sorted(map(repr, NAMES))
    for name, labels in zip(NAMES, LABELS, strict=True):
        assert repr(again.plan.tree.labels(again.plan.tree.index(name))) == repr(labels)
    if activation == "relu":
        assert net.certificate.worst in NAMES and repr(again.certificate.worst) == repr(net.certificate.worst)


def test_a_file_is_text_and_tensors_only(tmp_path):
    hgm.save_network(hgm.compile(TREE, "classify"), tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        header = json.loads(file.metadata()["hgm"])
        assert file.get_tensor("state.engine.weights.log_potential").dtype == torch.float64
    assert header["task"] == "classify" and header["channel"] == {"kind": "soft"} and header["schedule"] == "levels"
    assert header["format"] == 2 and header["hgm"]


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
    yield rewrite("later.safetensors", {"format": 3}), "format 3"
    yield rewrite("edited.safetensors", {"task": "denoise"}), "checksum"
    yield rewrite("lost.safetensors", inputs=None), "checksum"


def test_other_files_are_refused(tmp_path):
    for path, text in bad_files(tmp_path):
        with pytest.raises(hgm.BadSpec, match=text) as caught:
            hgm.load_network(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


class Drift(hgm.Gaussian, name="test_drift"):
    """A channel with a setting, and a tensor besides the values of its states."""

    def __init__(self, values=None, steps=1):
        super().__init__(values)
        self.steps = steps
        self.register_buffer("drift", torch.zeros(()))

    def states_first(self, z, *noise):
        return super().states_first(z - self.steps * self.drift, *noise)

    def entry(self):
        return super().entry() | {"steps": self.steps}


@pytest.mark.parametrize("around", [lambda channel: channel, hgm.Missing])
def test_a_channel_of_ones_own_comes_back_with_its_settings_and_tensors(tmp_path, around):
    net = hgm.compile(TREE, "denoise", channel=around(Drift([-1.0, 0.1], steps=3)))
    inner = getattr(net.channel, "channel", net.channel)
    inner.drift.fill_(0.25)
    again = saved(net, tmp_path)
    assert_equal(net, again)
    assert getattr(again.channel, "channel", again.channel).steps == 3
    z = torch.randn(4, *net.leaf_shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(z, 0.7), again(z, 0.7))


def test_a_schedule_of_ones_own_is_found_again(tmp_path, monkeypatch):
    calls = []

    def mine(tree, inputs, ranges=None):
        calls.append(len(inputs))
        return replace(SCHEDULES["levels"](tree, inputs, ranges), schedule="mine")

    monkeypatch.setitem(SCHEDULES, "mine", mine)
    net = hgm.compile(TREE, "posterior", schedule="mine")
    again = saved(net, tmp_path)
    assert_equal(net, again)
    assert again.plan.schedule == "mine" and len(calls) == 2


class Nameless(hgm.Soft):
    pass


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (lambda: hgm.compile(TREE, "posterior", channel=Nameless()), "Nameless"),
        (lambda: hgm.compile(TREE, "posterior", channel=hgm.Missing(Nameless())), "Nameless"),
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
