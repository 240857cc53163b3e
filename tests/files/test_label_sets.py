"""Label sets with ambiguity codes come back from files with their codes."""

import numpy as np
import pytest

import hgm

CODES = {"R": ["A", 1], 7: [("t", True)], ("N", 0): ["A", 1, ("t", True)], "1": [1]}
LABELS = hgm.LabelSet(["A", 1, ("t", True)], CODES)
TREES = {
    "explicit": hgm.Tree.from_edges([("a", "b", np.eye(3) + 1)], variables={"a": LABELS, "b": ["x", "y", "z"]}),
    "layered": hgm.ghm([hgm.Level(2, LABELS), hgm.Level(2, 3)], LABELS, seed=0),
}


def codes(tree):
    return [
        None if labels is None else dict(getattr(labels, "codes", {})) for labels in map(tree.labels, range(len(tree)))
    ]


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("ending", ["yaml", "json", "network"])
def test_codes_come_back(tmp_path, name, ending):
    tree, path = TREES[name], tmp_path / f"it.{ending}"
    if ending == "network":
        hgm.save_network(hgm.compile(tree), tmp_path / "it.safetensors")
        again = hgm.load_network(tmp_path / "it.safetensors").tree()
    else:
        hgm.save(tree, path)
        again = hgm.load(path)
    assert again == tree and any(codes(again)) and codes(again) == codes(tree)
    assert repr(again.label_sets) == repr(tree.label_sets)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ("{labels: [A, C]}", "expected labels, and codes"),
        ("{labels: [A, C], codes: [R]}", "expected labels, and codes"),
        ("{labels: [A, C], codes: {R: A}}", "expected labels; got"),
        ("{labels: [A, C], codes: {R: [G]}}", "stands for 'G', which is no label"),
        ("{labels: [A, C], codes: {A: [C]}}", "'A' is also a label"),
        ("{labels: 3, codes: {A: [C]}}", "made of a list of labels"),
        ("{labels: [A, A], codes: {R: [A]}}", "twice"),
    ],
)
def test_a_wrong_label_set_is_one_line(tmp_path, states, message):
    path = tmp_path / "m.yaml"
    path.write_text(f"variables:\n  a: {states}\n")
    with pytest.raises(hgm.BadSpec) as error:
        hgm.load(path)
    assert message in str(error.value) and "line 2" in str(error.value)
