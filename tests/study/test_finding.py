"""A finding is written as words, tables, figures and numbers."""

import json

from matplotlib.figure import Figure

from hgm.study.finding import Finding, Table


def test_it_is_written_as_text_json_and_pictures(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2])
    table = Table("Numbers", ["what", "how many"], [["apples", "3"], ["pears", "1,000"]])
    data = {"third": 1 / 3, "rows": [(1, 2.0)], "none": None}
    finding = Finding("Fruit", ["There is some.", "And more."], [table], data, {"curve": figure})
    finding.write(tmp_path / "new")
    text = (tmp_path / "new" / "study.md").read_text()
    assert text.startswith("# Fruit\n\nThere is some.\n\nAnd more.\n\n## Numbers\n\n| what ")
    assert "| pears  |      1,000 |" in text and "![curve](curve.svg)" in text and str(finding) in text
    assert json.loads((tmp_path / "new" / "study.json").read_text()) == {
        "third": 0.333333,
        "rows": [[1, 2.0]],
        "none": None,
    }
    assert (tmp_path / "new" / "curve.svg").read_text().startswith("<?xml")
