"""Keys of a model file: unknown, missing and contradicting ones get one clear error; the JSON Schema names them all."""

import json
import re

from files.models import EXPLICIT, LAYERED, each, refused_when

from hgm.files.model import json_schema

BAD_EXPLICIT = [
    ("0.7", "null", "expected a non-negative number; got null"),
    ("scope: [a, b]", "scope: a", "expected a list; got \"a\""),
    ("scope: [a, b]", "scope: []", "expected at least one entry"),
    ("scope: [a, b]", "scop: [a, b]", r"line 5: factors\[1\].scop: unknown key; did you mean 'scope'\? known here are"),
    ("{a: 2, b: [x, y]}", "{}", "variables: expected at least one entry|variables: .* at least 1 item"),
    ("{a: 2, b: [x, y]}", "[a, b]", "line 2: variables: expected a mapping"),
    ("hgm: 1", "hgm: 2", "line 1: hgm: expected 1; got 2"),
    ("hgm: 1", "foo: 3", "line 1: foo: unknown key; known here are hgm, variables, factors, roots, potentials"),
    ("hgm: 1", "seed: 3", "line 1: seed: unknown key"),
    ("hgm: 1", "roots: null", "line 1: roots: expected a value; got null"),
    ("hgm: 1", "potentials: {p: {table: [1]}, q: {}}", "potentials.q: expected exactly one of .*; got none"),
    ("hgm: 1", "potentials: {p: 3}", "potentials.p: expected a mapping with the keys .*; got 3"),
    ("table: [0.5, 0.5]", "table: [1, 1], log_table: [0, 0]", "exactly one of .*; got table and log_table"),
    ("table: [0.5, 0.5]", "table: [0.5, 0.5], kind: matrix", "kind: expected 'edge' or 'table'; got \"matrix\""),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0]]}, kind: table", "'kind' is about a table or log_table"),
    ("table: [0.5, 0.5]", "rules: {shape: [2]}", "rules: the key 'states' is missing"),
    ("table: [0.5, 0.5]", "rules: []", "rules: expected a mapping with the keys shape, states"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0]], weights: [1], log_weights: [0]}", "got both"),
]  # fmt: skip

BAD_LAYERED = [
    ("arity: 2, ", "", r"line 3: levels\[0\]: the key 'arity' is missing"),
    ("{states: 3}", "{states: 3, prior: 3}", "root.prior: expected a mapping"),
    ("{states: 3}", "3", "line 1: root: expected a mapping with the keys states, name, prior; got 3"),
    ("root: {states: 3}\n", "", "the key 'root' is missing"),
    ("root:", "seed: -1\nroot:", "line 1: seed: expected a number of at least 0; got -1"),
    ("root:", "seed: 1.5\nroot:", "seed: expected a whole number; got 1.5"),
    ("root:", "variables: {}\nroot:", "line 1: variables: unknown key"),
    ("states: 2}", "states: 2, tie: positions}", "tie: expected 'position', 'level' or 'none'; got \"positions\""),
    ("states: 2}", "states: 2, tie: level, potential: {table: [[1, 2]]}}", "'tie' is for random tables"),
    ("states: 2}", "states: 2, potential: [[1, 2], [1, 2]]}", r"potential\[0\]: expected a mapping .* \(and 1 more\)"),
    ("states: 2}", "states: 2, potential: []}", "potential: expected at least one entry"),
    ("states: 2}", "states: 2, potential: 3}", "potential: expected a mapping"),
]  # fmt: skip


@each(BAD_EXPLICIT)
def test_bad_explicit_files(path, good, bad, message):
    refused_when(path, EXPLICIT, good, bad, message)


@each(BAD_LAYERED)
def test_bad_layered_files(path, good, bad, message):
    refused_when(path, LAYERED, good, bad, message)


def test_the_json_schema_names_every_key():
    schema = json_schema()
    assert [choice["$ref"] for choice in schema["oneOf"]] == ["#/$defs/Layered", "#/$defs/Explicit"]
    layered, explicit = (schema["$defs"][name] for name in ("Layered", "Explicit"))
    assert set(layered["properties"]) == {"hgm", "root", "levels", "grid", "seed", "potentials"}
    assert set(explicit["properties"]) == {"hgm", "variables", "factors", "roots", "potentials"}
    assert layered["additionalProperties"] is explicit["additionalProperties"] is False
    assert [choice["type"] for choice in explicit["properties"]["variables"]["anyOf"]] == ["object", "array"]
    text = json.dumps(schema)
    assert '"null"' not in text and json.loads(text) == schema
    for reference in re.findall(r'"\$ref": "#/\$defs/(\w+)"', text):
        assert reference in schema["$defs"]
