"""The text of a model file: YAML and JSON as they are read, and what is neither gets one clear error."""

import json
from pathlib import Path

import pytest
from files.models import EXPLICIT, each, refused, refused_when

import hgm
from hgm.files.text import read

BAD_EXPLICIT = [
    ("[0.5, 0.5]", "[0.5, 1" + "0" * 9000 + "]", "line 4: the number .* has 9001 digits"),
    ("a: 2", "a: 2, a: 2", "line 2: the key 'a' comes twice"),
    ("a: 2", "1: 2, true: 2", "line 2: the key True comes twice in one mapping, as 1, which is equal"),
    ("a: 2", "null: 2", "line 2: a key must be a string, number or boolean; put null in quotes"),
    ("a: 2", "1e-400: 2", "line 2: a key must be a string, number or boolean; put 1e-400 in quotes"),
    ("a: 2", "[1]: 2", "line 2: a key must be .* not a list or mapping; write the mapping as a list of pairs"),
    ("hgm: 1", "1: 1", "line 1: 1: unknown key; known here are hgm, variables"),
    ("hgm: 1", "potentials: {1: {table: [1, 2]}}", "line 1: potentials.1: expected a string; got 1"),
    ("hgm: 1", "hgm: &x 1", r"line 1: anchors and aliases \('x'\) are not used"),
    ("[0.5, 0.5]}", "*x}", r"line 4: anchors and aliases|line 4: this is not YAML"),
    ("hgm: 1", "hgm: !!int 1", "line 1: tags .* are not used"),
    ("hgm: 1", "hgm: !!python/object/apply:os.getcwd []", "line 1: tags .* are not used"),
    ("hgm: 1", "hgm: 1\n---\na: 1", "line 2: a file holds one model"),
    ("hgm: 1", "hgm: 1\n  bad: : x", "line 2: this is not YAML"),
    ("hgm: 1", "hgm: [1", "line 2: this is not YAML"),
    ("hgm: 1", "hgm: \x07", "this is not YAML"),
]  # fmt: skip


@each(BAD_EXPLICIT)
def test_bad_explicit_files(path, good, bad, message):
    refused_when(path, EXPLICIT, good, bad, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"", "is empty"),
        ("a.yaml", b" \n\t\n", "is empty"),
        ("a.json", b"", "is empty"),
        ("a.yaml", b"# nothing\n", "is empty"),
        ("a.yaml", b"~\n", "is empty"),
        ("a.yaml", b"hello", "expected a mapping with the key 'levels' .* or 'variables'"),
        ("a.yaml", b"[1, 2]", "expected a mapping"),
        ("a.yaml", b"a: 1", "expected a mapping with the key 'levels'"),
        ("a.yaml", b"\xff\xfe\x00\x01", "not a text file in UTF-8: byte 0 is 0xff"),
        ("a.yaml", b"\x89PNG\r\n\x1a\n\x00", "not a text file in UTF-8: byte 0 is 0x89"),
        ("a.yaml", b"\x00\x01\x02", "this is not YAML: .* are not allowed at position 0"),
        ("a.json", b"\x00\x01\x02", "line 1: this is not JSON"),
        ("a.json", b'{"variables": {"a": 2},\n "roots" ["a"]}', "line 2: this is not JSON: .* column"),
        ("a.json", b'{"variables": {"a": 2},\n "roots": [],\n "roots": []}', "line 3: the key 'roots' comes twice"),
        ("a.json", b'{"variables":\n {"a": 2, "a": 3}}', "line 2: the key 'a' comes twice"),
        ("a.json", b'{"variables": {"a": 2},\n "root": ["a"]}', "line 2: root: unknown key; did you mean 'roots'"),
        ("a.json", b'{"variables": {\n "\\"[{": 2,\n "b": "x"}}', "line 3: variables.b: expected a number of states"),
        (
            "a.json",
            b'{"variables": {"a": 1, "b": 1},\n "factors": [\n {"scope": ["a"], "table": [1]},\n'
            b' {"scope": ["b"],\n "table": [\n NaN]}]}',
            r"line 6: factors\[1\].table\[0\]: expected a non-negative number; got NaN",
        ),
        ("a.json", b'{"levels": ' + b"[" * 100_000, "nested|not JSON"),
        ("a.json", b'{"levels": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper than 50 levels"),
        ("a.json", b'{"levels": ' + b"[" * 60 + b"]" * 60 + b"}", "nested deeper than 50 levels"),
        ("a.yaml", b"levels: " + b"[" * 100_000, "line 1: nested deeper than 50 levels"),
        ("a.json", b'{"variables": {"a": ' + b"9" * 5000 + b"}}", "the number .* has 5000 digits"),
        ("a.txt", b"variables: {a: 2}", "must end in .yaml, .yml or .json"),
        ("a", b"variables: {a: 2}", "must end in"),
    ],
    ids=range(25),
)
def test_files_that_hold_no_model(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, message)


def test_paths_that_are_no_file(tmp_path):
    refused(tmp_path / "none.yaml", "there is no such file")
    refused(tmp_path / "none" / "a.json", "there is no such file")
    (tmp_path / "dir.yaml").mkdir()
    refused(tmp_path / "dir.yaml", "is a directory; a model file is one file")


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    def too_much(_):
        raise MemoryError

    (tmp_path / "large.yaml").write_text(EXPLICIT)
    monkeypatch.setattr(Path, "read_bytes", too_much)
    refused(tmp_path / "large.yaml", "large.yaml is too large for this machine")


def test_a_byte_order_mark_and_windows_lines_are_read(path):
    path.write_bytes(b"\xef\xbb\xbf" + EXPLICIT.replace("\n", "\r\n").encode())
    assert len(hgm.load(path)) == 2


def test_yaml_is_read_by_the_rules_of_version_1_2(path):
    path.write_text("variables: {a: [no, on, 1_0, 12:30], b: 2}\nfactors: [{scope: [b], table: [1e-5, 1E5]}]")
    tree = hgm.load(path)
    assert tree.labels(tree.index("a")) == ("no", "on", "1_0", "12:30")
    assert tree.potentials[0].values.tolist() == [1e-5, 1e5]


def test_lines_below_keys_that_are_numbers(path):
    path.write_text("1:\n  0: a\n  1:\n  - b\n  - {true: c,\n     2.5: d}\n0: e\n")
    ways = [(1, 0), (1, 1, 0), (1, 1, 1, True), (1, 1, 1, 2.5), (0,)]
    document = read(path)
    assert [document.line(way) for way in ways] == [2, 4, 5, 6, 7]
    assert str(document.error((1, 1, 1, 2.5), "no")) == f"{path}, line 6: 1.1[1].2.5: no"


def test_lines_of_json_are_those_of_the_same_text_read_as_yaml(tmp_path):
    data = {"a": [1, {"b": [], "c:": [[2.5, "]"], []]}, "x"], 'q"': {"d": {"e": None}}, "{": -1e3}
    text = json.dumps(data, indent=1)
    one, other = tmp_path / "a.json", tmp_path / "a.yaml"
    for path in (one, other):
        path.write_text(text)
    assert read(one).data == read(other).data == data
    ways = [
        (),
        ("a",),
        ("a", 0),
        ("a", 1, "b"),
        ("a", 1, "c:", 0, 1),
        ("a", 1, "c:", 1),
        ("a", 2),
        ('q"', "d", "e"),
        ("{",),
    ]
    lines = [read(one).line(way) for way in ways]
    assert lines == [read(other).line(way) for way in ways] and len(set(lines)) == len(ways)
