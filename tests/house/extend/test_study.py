"""A study from outside: listed and run by the command line."""

import pytest

from hgm.cli import main
from hgm.errors import HgmError
from hgm.study import STUDIES, study


@pytest.fixture
def toy():
    before = dict(STUDIES)

    @study("toy")
    def toy(out, *, quick):
        """How many sides a coin has.

        Two.
        """
        out.mkdir()
        (out / "sides.md").write_text("2" if quick else "2, after a long search")

    yield toy
    STUDIES.clear()
    STUDIES.update(before)


def test_it_is_listed(toy, capsys):
    assert STUDIES["toy"].text == "How many sides a coin has."
    assert main(["study"]) == 0
    listed = capsys.readouterr().out
    assert "How many sides a coin has." in listed and "ReLU networks" in listed


@pytest.mark.parametrize("quick", [True, False])
def test_it_runs(toy, tmp_path, quick):
    assert main(["study", "toy", "-o", str(tmp_path / "toy"), *["--quick"] * quick]) == 0
    assert (tmp_path / "toy" / "sides.md").read_text() == ("2" if quick else "2, after a long search")


def test_a_name_is_taken_once(toy):
    with pytest.raises(HgmError, match="there is a study 'toy' already: How many sides"):
        study("toy")(toy)


def test_an_unknown_study_is_one_line(capsys):
    assert main(["study", "coin"]) != 0
    assert "there is no study 'coin'; the studies are " in capsys.readouterr().err
