"""Checkpoints: what is written comes back, and another file is refused in one line."""

import json
from dataclasses import replace

import pytest

import hgm
from hgm.files.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

STATE = Checkpoint({"tree": "a1", "seed": "3"}, [-3.5, -3.25], [-7.0, -6.5], [0.25, 1e-300, 0.1])


def test_a_checkpoint_comes_back(tmp_path):
    write_checkpoint(tmp_path / "fit.json", STATE)
    assert read_checkpoint(tmp_path / "fit.json", STATE.identity, 3) == STATE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hgm_fit": 1}, "has format 1; this version reads format 2"),
        ({"entries": [0.25, 1e-300, 0.2]}, "is damaged: it is not as it was written"),
        ({"history": [-3.5]}, "is damaged: it is not as it was written"),
        ({"identity": {"tree": "a1", "seed": "4"}}, "is damaged: it is not as it was written"),
        ({"checksum": "0" * 64}, "is damaged: it is not as it was written"),
        ({"checksum": None}, "is damaged: it is not as it was written"),
        ({"more": 1}, "is damaged: it is not as it was written"),
        ({"entries": [10**400]}, "is no checkpoint of hgm.fit, or is damaged"),
        ({"log_likelihood": "none"}, "is no checkpoint of hgm.fit, or is damaged"),
        ({"identity": None}, "is no checkpoint of hgm.fit, or is damaged"),
    ],
    ids=str,
)
def test_another_file_is_refused(tmp_path, change, message):
    path = tmp_path / "fit.json"
    write_checkpoint(path, STATE)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    is_refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identity": {"tree": "b2", "seed": "3"}}, "belongs to another fit: it differs in tree"),
        ({"entries": [0.25, 0.5]}, "its numbers do not fit the model"),
        ({"entries": [0.25, -0.5, 0.1]}, "its numbers do not fit the model"),
        ({"history": [1.0]}, "its numbers do not fit the model"),
    ],
    ids=str,
)
def test_the_state_of_another_fit_is_refused(tmp_path, change, message):
    write_checkpoint(tmp_path / "fit.json", replace(STATE, **change))
    is_refused(tmp_path / "fit.json", message)


def test_how_a_file_is_laid_out_does_not_matter(tmp_path):
    path = tmp_path / "fit.json"
    write_checkpoint(path, STATE)
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items())), indent=2))
    assert read_checkpoint(path, STATE.identity, 3) == STATE


def is_refused(path, message):
    with pytest.raises(hgm.BadSpec, match=message) as caught:
        read_checkpoint(path, STATE.identity, 3)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_checkpoint_that_is_not_there_is_said(tmp_path):
    with pytest.raises(hgm.BadSpec, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "fit.json", STATE.identity, 3)
