"""Tables tell names and labels apart, and what readers of CSV make of samples is right or refused."""

import io
import re

import pytest
import torch
from cli.typed import row

import hgm


def test_tables_tell_names_and_labels_apart(typed, run):
    out = run("infer", typed, "--mode")
    assert row(out, "'2'")[-2:][0].startswith("0 ") and row(out, "2")[1] in ("True", "x")
    assert re.search(r"^'x' .* 1 0\.\d+  '1' 0\.\d+$", out, re.M)
    (mode,) = re.findall(r"^mode: (.*)$", out, re.M)
    assert "'x'='1'" in mode and "('A', 0)=" in mode
    header = run("sample", typed, "-n", 3).splitlines()[0]
    assert "'2'" in header and "('A', 0)" in header


@pytest.mark.parametrize(
    "labels",
    [
        ["1", "0"], ["0", "1"], ["01", "02"], [1, 0], [3, 2], [True, False], [False, True], ["True", "False"], [0.5, 2],
        ["true", "false"], [("a", 1), "b"], ["1", "x"], ["0", "x"], ["a\rb", "c\nd"], ['"', ","], [" a", "a"],
        ["-1", 5], ["inf", "-inf"], ["1e5", "y"], 2,
    ],
    ids=repr,
)  # fmt: skip
def test_what_pandas_reads_back_is_right_or_refused(tmp_path, run, labels):
    pandas = pytest.importorskip("pandas")
    tree = hgm.Tree.from_factors([("v", [0.25, 0.75])], {"v": labels})
    hgm.save(tree, tmp_path / "m.json")
    text = run("sample", tmp_path / "m.json", "-n", 40, "-f", "csv")
    frame = pandas.read_csv(io.StringIO(text), lineterminator="\n")
    states = hgm.infer(tree).sample(40, generator=torch.Generator().manual_seed(0)).states[:, 0].tolist()
    for state, read in zip(states, frame["v"], strict=True):
        assert tree.state_names(0).find(read) in (state, None)
