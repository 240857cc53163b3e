"""Evidence on the command line and in files, with names and labels of every type."""

import json

import numpy as np
import pytest

import hgm


def marginal(out, name):
    return json.loads(out)["marginals"][name]


SEEN = [  # on the command line, in a YAML file, in a JSON file, and as hgm.infer takes it
    ("('A', 0)=2", "[[[A, 0], 2]]", '[[["A", 0], 2]]', {("A", 0): 2}),
    ("('A', 0)=1,2,4", "[[[A, 0], [1, 2, 4]]]", '[[["A", 0], [1, 2, 4]]]', {("A", 0): {3: 1.0, 2: 2.0, 1: 4.0}}),
    ("('A', 0)=0,3,1", "[[[A, 0], {2: 3, 1: 1}]]", '[[["A", 0], [[2, 3], [1, 1]]]]', {("A", 0): {3: 0, 2: 3, 1: 1}}),
    ("2.5=-1", "2.5: -1", "[[2.5, -1]]", {2.5: -1}),
    ("2.5=0.5", "2.5: 0.5", "[[2.5, 0.5]]", {2.5: 0.5}),
    ("2.5=2,1", "2.5: {0.5: 2, -1: 1}", "[[2.5, [[-1, 1], [0.5, 2]]]]", {2.5: {0.5: 2.0, -1: 1.0}}),
    ("y=(2, 1)", "y: [[[2, 1], 1]]", '{"y": [[[2, 1], 1]]}', {"y": (2, 1)}),
    ("y=(1, 2)", "y: [[[1, 2], 1], [[2, 1], 0]]", '[["y", [[[1, 2], 1]]]]', {"y": (1, 2)}),
    (None, "2: true", "[[2, true]]", {2: True}),
    (None, "2: x", '[[2, "x"]]', {2: "x"}),
    (None, '"2": 1', '{"2": 1}', {"2": 1}),
    (None, "x: 1", '{"x": 1}', {"x": 1}),
    (None, 'x: "1"', '{"x": "1"}', {"x": "1"}),
    (None, '"2": {0: 3, 1: 1}', '[["2", [[0, 3], [1, 1]]]]', {"2": {0: 3.0, 1: 1.0}}),
]


@pytest.mark.parametrize(("word", "yaml", "text", "evidence"), SEEN, ids=[text for _, _, text, _ in SEEN])
def test_typed_names_and_labels_as_evidence(typed, tmp_path, run, word, yaml, text, evidence):
    (tmp_path / "seen.yaml").write_text(yaml)
    (tmp_path / "seen.json").write_text(text)
    tree = hgm.load(typed)
    want = log_joint(tree, evidence)
    for args in (
        ["--evidence-file", tmp_path / "seen.yaml"],
        ["--evidence-file", tmp_path / "seen.json"],
        ["-e", word],
    ):
        if args != ["-e", None]:
            out = run("infer", typed, *args, "-q", "('A', 0)", "-q", "y", "--json")
            assert list(marginal(out, "('A', 0)").values()) == pytest.approx(want.sum((0, 1, 2, 4, 5)), abs=1e-12)
            assert list(marginal(out, "y").values()) == pytest.approx(want.sum((0, 1, 2, 3, 4)), abs=1e-12)
            assert list(marginal(out, "('A', 0)")) == ["3", "2", "1"]


def log_joint(tree, evidence):
    """The posterior over (2, "2", x, A, 2.5, y), from one product of its tables."""
    joint = np.einsum("ab,bc,cd,de,ef->abcdef", *([[[1, 2], [3, 4]], [[1, 2], [3, 5]], [[1, 2, 4], [3, 5, 7]],
                      [[1, 2], [3, 5], [2, 3]], [[1, 2], [3, 5]]]))  # fmt: skip
    labels = {"2": (0, 1), 2: (True, "x"), "x": (1, "1"), ("A", 0): (3, 2, 1), 2.5: (0.5, -1), "y": ((1, 2), (2, 1))}
    for axis, (name, called) in enumerate(labels.items()):
        seen = evidence.get(name, dict.fromkeys(called, 1.0))
        weights = seen if isinstance(seen, dict) else {seen: 1.0}
        joint = joint * np.reshape(
            [weights.get(label, 0.0) for label in called], [-1 if i == axis else 1 for i in range(6)]
        )
    return joint / joint.sum()
