"""Files are written whole or not at all."""

import os
import stat

import pytest

import hgm


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
