"""Files are written whole or not at all."""

import os
import re
import stat

import pytest

import hgm
from hgm.errors import brief


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    hgm.save(hgm.chain(3), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(hgm.BadSpec, match="cannot be written: No space left on device"):
        hgm.save(hgm.chain(4), path)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["model.yaml"]


def test_a_write_keeps_permissions_and_links(tmp_path):
    target, link = tmp_path / "target.yaml", tmp_path / "link.yaml"
    hgm.save(hgm.chain(3), target)
    target.chmod(0o640)
    link.symlink_to(target)
    hgm.save(hgm.chain(4), link)
    assert link.is_symlink() and len(hgm.load(target)) == 4 and stat.S_IMODE(target.stat().st_mode) == 0o640


TREE = hgm.chain(3)
NET = hgm.compile(TREE)
NO_PATHS = [None, 3, True, b"m.yaml", TREE, NET, [], {}, object(), "a\0.yaml", "\ud800.yaml", ""]
DOORS = {
    "load": hgm.load,
    "load_network": hgm.load_network,
    "save": lambda path: hgm.save(TREE, path),
    "save_network": lambda path: hgm.save_network(NET, path),
    "export": lambda path: hgm.export(NET, path),
}


@pytest.mark.parametrize("path", NO_PATHS, ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_path_is_refused_in_one_line(door, path):
    with pytest.raises(hgm.BadSpec, match=r"^the path of .* got |^no file can be called |must end in ") as caught:
        DOORS[door](path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [None, 3, "m.yaml", TREE, NET, [], object()], ids=lambda given: type(given).__name__)
def test_a_tree_is_no_network_and_a_path_is_neither(tmp_path, given):
    kind = re.escape(f"got {brief(given)}")
    if given is not TREE:
        with pytest.raises(hgm.BadSpec, match=f"hgm.save takes a Tree.*{kind}"):
            hgm.save(given, tmp_path / "m.yaml")
    if given is not NET:
        with pytest.raises(hgm.BadSpec, match=f"network that hgm.compile made; {kind}"):
            hgm.save_network(given, tmp_path / "m.safetensors")
        with pytest.raises(hgm.BadSpec, match=f"network that hgm.compile made; {kind}"):
            hgm.export(given, tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [None, 3, [], "float32", float])
def test_a_type_that_is_none_is_refused(tmp_path, dtype):
    with pytest.raises(hgm.BadSpec, match="exported for float32 or float64; got "):
        hgm.export(NET, tmp_path / "m.pt2", dtype=dtype)
