"""Model files: what is saved comes back equal, the manual's examples load, and every bad file gets one clear error."""

import json
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.trees import CASES, random_cases

import hgm
from hgm import Level
from hgm.files.model import json_schema

MANUAL = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
EXAMPLES = re.findall(r"^```(yaml|json)\n(.*?)^```", MANUAL, re.M | re.S)
ENDINGS = ["yaml", "json"]

TREES = {
    **{name: case.tree for name, case in CASES.items()},
    "random_ghm": hgm.random_ghm(2, [3, ("no", "null")], [(2, 2), (1, 3)], root=("a b", "1")),
    "untied": hgm.random_ghm(2, 3, 2, tie="none"),
    "joint": hgm.random_ghm(2, 2, 2, joint=True),
    "joint untied": hgm.random_ghm(2, 2, 2, joint=True, tie="none"),
    "rhm 2-D": hgm.rhm(3, 2, (2, 2), 2),
    "filtered": hgm.filtered_hierarchy(3, 3, k=2),
    "broadcast": hgm.broadcast(eps=0.0),
    "hmm": hgm.hmm(4, ["hot", "cold"]),
    "hidden_markov_tree": hgm.hidden_markov_tree(2),
    "random_tree": hgm.random_tree(20, joint=0.5, zeros=0.3),
    "rerooted": hgm.random_ghm(2, 3, 2).reroot("x3"),
    "kinds and logs": hgm.Tree.from_factors(
        [
            (("a", "b"), hgm.Table([[1, 2], [3, 4]])),
            (("b", "c"), hgm.Table.from_log([[0, -np.inf], [-1.5, 2]])),
            (("c", "d"), hgm.Edge.from_log([[0, -np.inf], [-1.5, 2]])),
            (("d", "e"), hgm.Rules.from_log((2, 2), [[1, 0], [0, 1]], [-np.inf, -0.25])),
            (("e", "f"), hgm.Rules((2, 2), [[1, 0], [0, 1]], [0.0, 0.25])),
        ]
    ),
    "no levels": hgm.ghm([], 2, prior=hgm.Table.from_log([0.0, -np.inf])),
    "tied across levels": hgm.ghm(
        [Level(2, 2, e := hgm.Edge([[1, 2], [3, 4]])), Level(2, 2, [e, [[1, 1], [2, 1]]])], 2
    ),
    "repeated positions": hgm.ghm([Level((1, 3), 2, [e, hgm.Edge([[1, 1], [2, 1]]), e])], 2),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.yaml"


def again(tree, path):
    hgm.save(tree, path)
    return hgm.load(path)


# ---------------------------------------------------------------------- round trips


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_saved_tree_comes_back_equal(tree, ending, tmp_path):
    back = again(tree, tmp_path / f"model.{ending}")
    assert back == tree and back.grid == tree.grid
    assert [p.has_values for p in back.potentials] == [p.has_values for p in tree.potentials]


@settings(max_examples=40)
@given(random_cases(), st.sampled_from(ENDINGS))
def test_random_trees_come_back_equal(tmp_path_factory, case, ending):
    assert again(case.tree, tmp_path_factory.getbasetemp() / f"random.{ending}") == case.tree


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.0, allow_nan=False, allow_infinity=False), min_size=2, max_size=5).filter(any),
    st.lists(st.floats(max_value=1e308, allow_nan=False) | st.just(-np.inf), min_size=2, max_size=5).filter(
        lambda logs: max(logs) > -np.inf
    ),
    st.sampled_from(ENDINGS),
)
def test_numbers_come_back_to_the_last_bit(tmp_path_factory, values, logs, ending):
    tree = hgm.Tree.from_factors([("a", values), ("b", hgm.Table.from_log(logs))])
    a, b = again(tree, tmp_path_factory.getbasetemp() / f"numbers.{ending}").potentials
    assert a.values.tobytes() == np.array(values).tobytes()
    assert b.log_potential.tobytes() == np.array(logs).tobytes()


ODD = ["no", "1", "1e5", "~", "-", "? x", "#", "a: b", "<<", "\x85", "\ufeff", "😀"]


@settings(max_examples=40)
@given(st.lists(st.text() | st.sampled_from(ODD), min_size=3, max_size=5, unique=True), st.sampled_from(ENDINGS))
def test_any_names_and_labels_come_back(tmp_path_factory, names, ending):
    tree = hgm.Tree.from_edges(
        [(names[0], names[1], np.ones((len(names), 2)))], variables={names[0]: names, names[2]: 3}
    )
    assert again(tree, tmp_path_factory.getbasetemp() / f"names.{ending}") == tree


def test_a_very_long_name_comes_back(path):
    tree = hgm.Tree.from_factors([], {"x" * 5000: 2, "y": ["z" * 5000]})
    assert again(tree, path) == tree


def test_ties_and_the_order_of_potentials_come_back(path):
    one, two, spare = hgm.Edge([[1, 2], [3, 4]]), hgm.Edge([[1, 2], [3, 4]]), hgm.Table([1, 1])
    tree = hgm.Tree.from_edges([("b", "c", two), ("a", "b", one), ("a", "d", one)])
    back = again(tree, path)
    assert back.potential_id.tolist() == tree.potential_id.tolist() == [1, 1, 0]
    built = hgm.Tree.build(tree.names, tree.cardinality, tree.scope_ptr, tree.scope, tree.potential_id,
                           (*tree.potentials, spare))  # fmt: skip
    assert again(built, path) == built and len(hgm.load(path).potentials) == 3, "also one that nothing uses"


def test_a_comparison_of_saved_trees_can_fail(path):
    tree = hgm.random_ghm(1, 2, 2)
    hgm.save(tree, path)
    text = path.read_text()
    number = re.search(r"\d\.\d{8,}", text)[0]
    path.write_text(text.replace(number, number[:-1] + str(9 - int(number[-1])), 1))
    assert hgm.load(path) != tree


# ---------------------------------------------------------------------- the text


def test_layered_trees_take_the_layered_form_and_others_the_explicit_one(path):
    for name, tree in TREES.items():
        hgm.save(tree, path)
        assert ("levels" in yaml.safe_load(path.read_text())) == (tree.grid is not None), name


def test_a_layered_form_that_would_lose_something_is_not_used(path):
    tree = hgm.random_ghm(2, 3, 2)
    other = hgm.Tree.build(tree.names, tree.cardinality, tree.scope_ptr, tree.scope, 4 - tree.potential_id,
                           tree.potentials[::-1], grid=tree.grid)  # fmt: skip
    assert other != tree, "its potentials are numbered from the other end"
    assert again(other, path) == other and "variables" in yaml.safe_load(path.read_text())


def test_a_large_tied_tree_makes_a_small_file(path):
    tree = hgm.ghm([Level((2, 2), 2, tie="level") for _ in range(8)], 2)
    assert again(tree, path) == tree and len(tree) > 80_000
    assert path.stat().st_size < 3000


@pytest.mark.parametrize("name", ["random_ghm", "hmm", "random_tree", "rhm", "hard_zeros", "no levels"])
def test_other_readers_see_the_same_data_in_both_formats(name, tmp_path):
    """PyYAML's own loader, by the rules of YAML 1.1, and the json module."""
    for ending in ENDINGS:
        hgm.save(TREES[name], tmp_path / f"model.{ending}")
    from_yaml = yaml.safe_load((tmp_path / "model.yaml").read_text(encoding="utf-8"))
    from_json = json.loads((tmp_path / "model.json").read_text(encoding="utf-8").replace('"-inf"', "-Infinity"))
    assert from_yaml == from_json


def test_yaml_is_read_by_the_rules_of_version_1_2(path):
    path.write_text("variables: {a: [no, on, 1_0, 12:30], b: 2}\nfactors: [{scope: [b], table: [1e-5, 1E5]}]")
    tree = hgm.load(path)
    assert tree.labels(tree.index("a")) == ("no", "on", "1_0", "12:30")
    assert tree.potentials[0].values.tolist() == [1e-5, 1e5]


# ---------------------------------------------------------------------- the manual


@pytest.mark.parametrize(("ending", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_of_the_manual_load_and_come_back(ending, text, tmp_path):
    path = tmp_path / f"example.{ending}"
    path.write_text(text)
    tree = hgm.load(path)
    assert again(tree, tmp_path / "again.yaml") == tree


def test_the_manual_shows_each_form_and_what_it_says_holds(tmp_path):
    trees = []
    for i, (ending, text) in enumerate(EXAMPLES):
        (tmp_path / f"{i}.{ending}").write_text(text)
        trees.append(hgm.load(tmp_path / f"{i}.{ending}"))
    digits, grammar, weather, short = trees
    assert digits.grid == ((), (2, 2), (4, 4), (8, 8)) and digits.names[0] == "digit"
    assert len(digits.potentials) == 1 + 1 + 1 + 4 and digits.labels(len(digits) - 1) == ("dark", "light")
    assert digits.index("part_3_3") in digits.at_level(2)
    assert digits == hgm.ghm(
        [Level((2, 2), 3, digits.potentials[1]), Level((2, 2), 3, tie="level", name="part_"),
         Level((2, 2), ["dark", "light"])],
        10, prior=digits.potentials[0], seed=7, root_name="digit",
    )  # fmt: skip
    assert isinstance(grammar.potentials[1], hgm.Rules) and len(grammar.potentials) == 4
    assert len(weather.potentials) == 3 and weather.labels(weather.index("mood2")) == ("good", "bad", "unknown")
    assert short.potentials[0].values.tolist() == [1.0, 0.0]


def test_the_manual_quotes_real_messages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weather = EXAMPLES[2][1]
    wrong = {
        "table: [0.6, 0.4]": "table: [0.6, -0.4]",
        "{scope: [day0, mood0]": "{scop: [day0, mood0]",
        "[0.2, 0.7, 0.1]": "[0.2, 0.7]",
    }
    for good, bad in wrong.items():
        assert weather.count(good) == 1
        Path("weather.yaml").write_text(weather.replace(good, bad))
        with pytest.raises(hgm.BadSpec) as caught:
            hgm.load("weather.yaml")
        assert str(caught.value) in MANUAL


def test_the_json_schema_names_every_key():
    schema = json_schema()
    assert [choice["$ref"] for choice in schema["oneOf"]] == ["#/$defs/Layered", "#/$defs/Explicit"]
    layered, explicit = (schema["$defs"][name] for name in ("Layered", "Explicit"))
    assert set(layered["properties"]) == {"hgm", "root", "levels", "grid", "seed", "potentials"}
    assert set(explicit["properties"]) == {"hgm", "variables", "factors", "roots", "potentials"}
    assert layered["additionalProperties"] is explicit["additionalProperties"] is False
    text = json.dumps(schema)
    assert '"null"' not in text and json.loads(text) == schema
    for reference in re.findall(r'"\$ref": "#/\$defs/(\w+)"', text):
        assert reference in schema["$defs"]


# ---------------------------------------------------------------------- bad files

EXPLICIT = """\
hgm: 1
variables: {a: 2, b: [x, y]}
factors:
  - {scope: [a], table: [0.5, 0.5]}
  - scope: [a, b]
    table:
      - [0.1, 0.9]
      - [0.3, 0.7]
"""
LAYERED = """\
root: {states: 3}
levels:
  - {arity: 2, states: 2}
  - arity: 2
    states: 2
"""

BAD_EXPLICIT = [
    ("0.7", "-0.7", r"line 8: factors\[1\].table\[1\]\[1\]: expected a non-negative number; got -0.7"),
    ("0.7", "x", r"line 8: factors\[1\].table\[1\]\[1\]: expected a non-negative number; got \"x\""),
    ("0.7", ".nan", r"table\[1\]\[1\]: expected a non-negative number; got NaN"),
    ("0.7", ".inf", "got Infinity"),
    ("0.7", "1e999", "got Infinity"),
    ("0.7", "true", "expected a non-negative number; got true"),
    ("0.7", "null", "expected a non-negative number; got null"),
    ("[0.3, 0.7]", "[0.3]", r"line 8: factors\[1\].table\[1\]: expected 2 entries, like the lists before it; got 1"),
    ("[0.3, 0.7]", "0.3", r"table\[1\]: expected a list of 2, like those before it; got 0.3"),
    ("[0.3, 0.7]", "[[1], [2]]", r"table\[1\]\[0\]: expected a non-negative number; got \[1\]"),
    ("[0.3, 0.7]", "[0.3, 0.7]\n      - [1, 1]", r"line 5: factors\[1\]: .* \(a, b\) has shape \(3, 2\), .* \(2, 2\)"),
    ("[0.5, 0.5]", "[]", r"factors\[0\].table: expected numbers; got an empty list"),
    ("[0.5, 0.5]", "[[], []]", "got an empty list"),
    ("[0.5, 0.5]", "0.5", "expected a list of numbers; got 0.5"),
    ("[0.5, 0.5]", "[0, 0]", r"line 4: factors\[0\]: .* zero everywhere"),
    ("[0.5, 0.5]", "[0.5, 1" + "0" * 350 + "]", r"table\[1\]: .* too large for a float"),
    ("[0.5, 0.5]", "[0.5, 1" + "0" * 9000 + "]", "line 4: the number .* has 9001 digits"),
    ("scope: [a, b]", "scope: [a, c]", r"line 5: factors\[1\].scope\[1\]: there is no variable 'c'"),
    ("scope: [a, b]", "scope: [a, a]", r"scope\[1\]: variable 'a' comes twice"),
    ("scope: [a, b]", "scope: [a, 1]", r'scope\[1\]: expected a name, which is a string; got 1: write "1"'),
    ("scope: [a, b]", "scope: a", "expected a list; got \"a\""),
    ("scope: [a, b]", "scope: []", "expected at least one entry"),
    ("scope: [a, b]", "scop: [a, b]", r"line 5: factors\[1\].scop: unknown key; did you mean 'scope'\? known here are"),
    ("a: 2", "a: 0", "line 2: variables.a: expected at least one state; got 0"),
    ("a: 2", "a: 2.0", "expected a number of states or a list of state labels; got 2.0"),
    ("a: 2", "a: true", "got true"),
    ("a: 2", "a: 99999999999", r"expected less than 2\^31 states; got 99999999999"),
    ("a: 2", "a: [u, u]", r"variables.a\[1\]: expected distinct state labels; got \"u\" twice"),
    ("a: 2", "a: [true, false]", r'variables.a\[0\]: expected a state label, .*; got true: write "true"'),
    ("a: 2", "a: []", "got an empty list"),
    ("a: 2", "a: 2, a: 2", "line 2: the key 'a' comes twice"),
    ("a: 2", "1: 2", "line 2: a key must be a string; put 1 in quotes"),
    ("a: 2", "[1]: 2", "line 2: a key must be a string, not a list"),
    ("{a: 2, b: [x, y]}", "{}", "variables: expected at least one entry|variables: .* at least 1 item"),
    ("{a: 2, b: [x, y]}", "[a, b]", "line 2: variables: expected a mapping"),
    ("hgm: 1", "hgm: 2", "line 1: hgm: expected 1; got 2"),
    ("hgm: 1", "foo: 3", "line 1: foo: unknown key; known here are hgm, variables, factors, roots, potentials"),
    ("hgm: 1", "seed: 3", "line 1: seed: unknown key"),
    ("hgm: 1", "roots: [q]", r"line 1: roots\[0\]: there is no variable 'q'"),
    ("hgm: 1", "roots: [a, a]", r"roots\[1\]: variable 'a' comes twice"),
    ("hgm: 1", "roots: null", "line 1: roots: expected a value; got null"),
    ("hgm: 1", "potentials: {p: {table: [1]}, q: {}}", "potentials.q: expected exactly one of .*; got none"),
    ("hgm: 1", "potentials: {p: 3}", "potentials.p: expected a mapping with the keys .*; got 3"),
    ("hgm: 1", "hgm: &x 1", r"line 1: anchors and aliases \('x'\) are not used"),
    ("[0.5, 0.5]}", "*x}", r"line 4: anchors and aliases|line 4: this is not YAML"),
    ("hgm: 1", "hgm: !!int 1", "line 1: tags .* are not used"),
    ("hgm: 1", "hgm: !!python/object/apply:os.getcwd []", "line 1: tags .* are not used"),
    ("hgm: 1", "hgm: 1\n---\na: 1", "line 2: a file holds one model"),
    ("hgm: 1", "hgm: 1\n  bad: : x", "line 2: this is not YAML"),
    ("hgm: 1", "hgm: [1", "line 2: this is not YAML"),
    ("hgm: 1", "hgm: \x07", "this is not YAML"),
    ("table: [0.5, 0.5]", "table: [1, 1], log_table: [0, 0]", "exactly one of .*; got table and log_table"),
    ("table: [0.5, 0.5]", "potential: p", r"factors\[0\].potential: no potential is called 'p' .*; there are none"),
    ("table: [0.5, 0.5]", "log_table: [-.inf, .inf]", r"log_table\[1\]: expected a number or -inf; got Infinity"),
    ("table: [0.5, 0.5]", "log_table: [-.inf, .nan]", "expected a number or -inf; got NaN"),
    ("table: [0.5, 0.5]", "log_table: [-.inf, -.inf]", "zero everywhere"),
    ("table: [0.5, 0.5]", "table: [0.5, 0.5], kind: edge", r"factors\[0\]: an Edge is a matrix"),
    ("table: [0.5, 0.5]", "table: [0.5, 0.5], kind: matrix", "kind: expected 'edge' or 'table'; got \"matrix\""),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0]]}, kind: table", "'kind' is about a table or log_table"),
    ("table: [0.5, 0.5]", "rules: {shape: [2]}", "rules: the key 'states' is missing"),
    ("table: [0.5, 0.5]", "rules: []", "rules: expected a mapping with the keys shape, states"),
    ("table: [0.5, 0.5]", "rules: {shape: 2, states: [[0]]}", "shape: expected a list of whole numbers"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [0]}", "states: expected a list of lists"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0], [0]]}", "listed twice"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0], [2]]}", "rule 1 has state 2 on axis 0"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0], [1.5]]}", r"states\[1\]\[0\]: .* got 1.5"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0, 1], [1]]}", r"states\[1\]: expected 2 states"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: []}", "expected at least one rule"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0]], weights: [1, 2]}", "1 rules need as many weights"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0]], weights: [1], log_weights: [0]}", "got both"),
    ("table: [0.5, 0.5]", "rules: {shape: [3], states: [[0]]}", r"has shape \(3,\), but these variables have \(2,\)"),
]  # fmt: skip

BAD_LAYERED = [
    ("arity: 2, ", "arity: 0, ", r"line 3: levels\[0\].arity: expected a whole number of at least 1, or two"),
    ("arity: 2, ", "arity: [2, 2, 2], ", r"got \[2, 2, 2\]"),
    ("arity: 2, ", "arity: [2, 2], ", r"line 4: levels\[1\]: level 2 has arity 2; .* \(rows, columns\)"),
    ("arity: 2, ", "arity: two, ", 'got "two"'),
    ("arity: 2, ", "", r"line 3: levels\[0\]: the key 'arity' is missing"),
    ("arity: 2, ", "arity: 1000000000000000000000, ", r"line 3: levels\[0\]: level 1 has 1000000000000000000000 nodes"),
    ("{states: 3}", "{states: 3, prior: [1, 1]}", r"line 1: root: the prior has shape \(2,\); the root has 3 states"),
    ("{states: 3}", "{states: 3, prior: [1, -1, 1]}", r"root.prior\[1\]: expected a non-negative number; got -1"),
    ("{states: 3}", "{states: 3, prior: p}", "root.prior: no potential is called 'p'"),
    ("{states: 3}", "{states: 3, prior: 3}", "root.prior: expected a mapping"),
    ("{states: 3}", "3", "line 1: root: expected a mapping with the keys states, name, prior; got 3"),
    ("root: {states: 3}\n", "", "the key 'root' is missing"),
    ("root:", "grid: [5]\nroot:", r"line 1: grid: .* multiply to \(4,\)"),
    ("root:", "grid: 4\nroot:", "line 1: grid: expected a list of whole numbers"),
    ("root:", "seed: -1\nroot:", "line 1: seed: expected a number of at least 0; got -1"),
    ("root:", "seed: 1.5\nroot:", "seed: expected a whole number; got 1.5"),
    ("root:", "variables: {}\nroot:", "line 1: variables: unknown key"),
    ("states: 2}", "states: 2, tie: positions}", "tie: expected 'position', 'level' or 'none'; got \"positions\""),
    ("states: 2}", "states: 2, tie: level, potential: {table: [[1, 2]]}}", "'tie' is for random tables"),
    ("states: 2}", "states: 2, potential: {table: [[1, 2], [1, 2]]}}", r"line 3: levels\[0\]: .* expected \(3, 2\)"),
    ("states: 2}", "states: 2, potential: [[1, 2], [1, 2]]}", r"potential\[0\]: expected a mapping .* \(and 1 more\)"),
    ("states: 2}", "states: 2, potential: []}", "potential: expected at least one entry"),
    ("states: 2}", "states: 2, potential: [p, q]}", r"potential\[0\]: no potential is called 'p'"),
    ("states: 2}", "states: 2, potential: 3}", "potential: expected a mapping"),
    ("states: 2}", "states: 2, name: x}", "must be distinct; got label, x, x"),
    ("states: 2}", "states: 2, name: 5}", 'name: expected a name, which is a string; got 5: write "5"'),
]  # fmt: skip


def refused(path, message, error=hgm.BadSpec):
    with pytest.raises(error, match=message) as caught:
        hgm.load(path)
    assert type(caught.value) is error and str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("good", "bad", "message"), BAD_EXPLICIT, ids=[bad[:40] for _, bad, _ in BAD_EXPLICIT])
def test_bad_explicit_files(path, good, bad, message):
    assert good in EXPLICIT
    path.write_text(EXPLICIT)
    assert len(hgm.load(path)) == 2
    path.write_text(EXPLICIT.replace(good, bad, 1))
    refused(path, message)


@pytest.mark.parametrize(("good", "bad", "message"), BAD_LAYERED, ids=[bad[:40] for _, bad, _ in BAD_LAYERED])
def test_bad_layered_files(path, good, bad, message):
    assert good in LAYERED
    path.write_text(LAYERED)
    assert len(hgm.load(path)) == 7
    path.write_text(LAYERED.replace(good, bad, 1))
    refused(path, message)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("  - {scope: [b, a], table: [[1, 1], [1, 1]]}\n", "cycle: a and b share two factors"),
        ("roots: [a, b]\n", "'a' and 'b' are both wanted as roots"),
    ],
)
def test_a_file_that_is_no_tree(path, extra, message):
    path.write_text(EXPLICIT + extra)
    refused(path, message, hgm.NotATree)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"", "is empty"),
        ("a.yaml", b" \n\t\n", "is empty"),
        ("a.json", b"", "is empty"),
        ("a.yaml", b"# nothing\n", "comments only"),
        ("a.yaml", b"hello", "expected a mapping with the key 'levels' .* or 'variables'"),
        ("a.yaml", b"[1, 2]", "expected a mapping"),
        ("a.yaml", b"a: 1", "expected a mapping with the key 'levels'"),
        ("a.yaml", b"\xff\xfe\x00\x01", "not a text file in UTF-8: byte 0 is 0xff"),
        ("a.yaml", b"\x89PNG\r\n\x1a\n\x00", "not a text file in UTF-8: byte 0 is 0x89"),
        ("a.yaml", b"\x00\x01\x02", "this is not YAML"),
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
    ids=range(24),
)
def test_files_that_hold_no_model(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, message)


def test_paths_that_are_no_file(tmp_path):
    refused(tmp_path / "none.yaml", "there is no such file")
    refused(tmp_path / "none" / "a.json", "there is no such file")
    (tmp_path / "dir.yaml").mkdir()
    refused(tmp_path / "dir.yaml", "is a directory")


@pytest.mark.parametrize("name", ["a.YAML", "a.yml", "a.Json"])
def test_endings_and_strings_as_paths(tmp_path, name):
    tree = hgm.chain(3)
    hgm.save(tree, str(tmp_path / name))
    assert hgm.load(str(tmp_path / name)) == tree


def test_a_byte_order_mark_and_windows_lines_are_read(path):
    path.write_bytes(b"\xef\xbb\xbf" + EXPLICIT.replace("\n", "\r\n").encode())
    assert len(hgm.load(path)) == 2


# ---------------------------------------------------------------------- writing


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


def test_what_cannot_be_written_is_refused(tmp_path):
    tree = hgm.chain(3)
    (tmp_path / "dir.yaml").mkdir()
    for name, message in [
        ("a.txt", "must end in"),
        ("none/a.yaml", "cannot be written: No such file"),
        ("dir.yaml", "cannot be written: Is a directory"),
    ]:
        with pytest.raises(hgm.BadSpec, match=message):
            hgm.save(tree, tmp_path / name)
    for ending in ENDINGS:
        with pytest.raises(hgm.BadSpec, match="a name or label is not valid text"):
            hgm.save(hgm.Tree.from_factors([], {"a\ud800": 2}), tmp_path / f"a.{ending}")

    class Other(hgm.Table):
        pass

    with pytest.raises(hgm.BadSpec, match="a potential of the kind Other cannot be written"):
        hgm.save(hgm.Tree.from_factors([("a", Other([1, 2]))]), tmp_path / "a.yaml")
    assert [p.name for p in tmp_path.iterdir()] == ["dir.yaml"]
