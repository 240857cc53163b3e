"""A study in cells: what is finished is a line, what is a line is not measured again, and nothing is lost."""

import json
from operator import itemgetter

import pytest

from hgm.errors import HgmError
from hgm.study.cells import FILE, finished

CELLS = [{"seed": seed, "found": {"twice": 2 * seed}} for seed in range(4)]
FOUND = itemgetter("found")  # what workers can import


def test_cells_come_in_their_order_and_each_is_a_line(tmp_path, capsys):
    done = finished(CELLS, FOUND, tmp_path / "out")
    assert [(one.cell, one.found) for one in done] == [(cell, cell["found"]) for cell in CELLS]
    lines = [json.loads(line) for line in (tmp_path / "out" / FILE).read_text().splitlines()]
    assert sorted(line["cell"]["seed"] for line in lines) == [0, 1, 2, 3]
    assert all(set(line) == {"cell", "seconds", "found"} for line in lines)
    assert "0 of 4 cells are done" in capsys.readouterr().out


def test_what_is_finished_is_not_measured_again(tmp_path, capsys):
    lines = [json.dumps({"cell": cell, "seconds": 7, "found": {"twice": -1}}) + "\n" for cell in CELLS[:3]]
    (tmp_path / FILE).write_text("".join(lines))
    done = finished(CELLS, FOUND, tmp_path, workers=1)
    assert [one.found["twice"] for one in done] == [-1, -1, -1, 6] and done[0].seconds == 7
    assert "3 of 4 cells are done" in capsys.readouterr().out
    assert (tmp_path / FILE).read_text().startswith("".join(lines))
    assert finished(CELLS, itemgetter("nothing"), tmp_path) == done  # nothing is left to fail


def test_a_line_that_a_stop_has_torn_is_measured_again(tmp_path):
    first = json.dumps({"cell": CELLS[0], "seconds": 7, "found": {"twice": -1}}) + "\n"
    (tmp_path / FILE).write_text(first + '{"cell": {"seed": 1, "fou')
    done = finished(CELLS[:2], FOUND, tmp_path, workers=1)
    assert [one.found["twice"] for one in done] == [-1, 2]
    assert [json.loads(line)["cell"]["seed"] for line in (tmp_path / FILE).read_text().splitlines()] == [0, 1]


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"cell": {}}', '{"cell": 1, "found": {}, "seconds": 1}'])
def test_a_line_of_something_else_is_one_clear_error(tmp_path, line):
    (tmp_path / FILE).write_text(f"{line}\n")
    with pytest.raises(HgmError, match=r"cells.jsonl, line 1, is no finished cell; remove the line"):
        finished(CELLS, FOUND, tmp_path)
    assert (tmp_path / FILE).read_text() == f"{line}\n"


def test_a_cell_that_fails_is_named_and_the_others_are_kept(tmp_path):
    cells = [CELLS[1], {"seed": 9}]
    with pytest.raises(HgmError, match=r'the cell {"seed": 9} failed: KeyError'):
        finished(cells, FOUND, tmp_path, workers=1)
    assert json.loads((tmp_path / FILE).read_text())["cell"] == CELLS[1]
    with pytest.raises(HgmError, match=r"failed: ValueError"):
        finished([{"found": {"x": float("nan")}}], FOUND, tmp_path / "other", workers=1)


def test_a_cell_of_another_version_of_a_study_stays_where_it_is(tmp_path):
    old = json.dumps({"cell": {"seed": 77}, "seconds": 1, "found": {}}) + "\n"
    (tmp_path / FILE).write_text(old)
    assert len(finished(CELLS[:1], FOUND, tmp_path, workers=1)) == 1
    assert (tmp_path / FILE).read_text().startswith(old)
