"""Values of a model file: what is no state, name or table of numbers gets one clear error."""

import json

import numpy as np
import pytest
from files.models import ENDINGS, EXPLICIT, LAYERED, each, refused, refused_when

import hgm

BAD_EXPLICIT = [
    ("0.7", "-0.7", r"line 8: factors\[1\].table\[1\]\[1\]: expected a non-negative number; got -0.7"),
    ("0.7", "x", r"line 8: factors\[1\].table\[1\]\[1\]: expected a non-negative number; got \"x\""),
    ("0.7", ".nan", r"table\[1\]\[1\]: expected a non-negative number; got NaN"),
    ("0.7", ".inf", "got Infinity"),
    ("0.7", "1e999", r"line 8: .*\[1\]\[1\]: expected a non-negative number that float64 can hold; got 1e999"),
    ("0.7", "1e-400", r"\[1\]: expected a non-negative number that float64 can hold; got 1e-400: write .* log_table"),
    ("0.7", "0." + "0" * 330 + "7", r"can hold; got 0\.0*7: write "),
    ("0.7", "-1e-400", "can hold; got -1e-400: write "),
    ("table: [0.5, 0.5]", "log_table: [0, -1e400]", r"log_table\[1\]: expected a number or -inf that float64 can hold"),
    ("table: [0.5, 0.5]", "log_table: [0, 1e400]", r"log_table\[1\]: expected a number or -inf that float64 can hold"),
    ("table: [0.5, 0.5]", "log_table: [0, 1e-400]", r"can hold; got 1e-400: write .* 0 for the log of 1"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0], [1]], weights: [1e-330, 1]}", r"weights\[0\]: .*1e-330"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0]], log_weights: [-1e309]}", r"log_weights\[0\]: .*-1e309"),
    ("0.7", "true", "expected a non-negative number; got true"),
    ("[0.3, 0.7]", "[0.3]", r"line 8: factors\[1\].table\[1\]: expected 2 entries, like the lists before it; got 1"),
    ("[0.3, 0.7]", "0.3", r"table\[1\]: expected a list of 2, like those before it; got 0.3"),
    ("[0.3, 0.7]", "[[1], [2]]", r"table\[1\]\[0\]: expected a non-negative number; got \[1\]"),
    ("[0.5, 0.5]", "[]", r"factors\[0\].table: expected numbers; got an empty list"),
    ("[0.5, 0.5]", "[[], []]", "got an empty list"),
    ("[0.5, 0.5]", "0.5", "expected a list of numbers; got 0.5"),
    ("[0.5, 0.5]", "[0.5, 1" + "0" * 350 + "]", r"table\[1\]: .* too large for a float"),
    ("scope: [a, b]", "scope: [a, 1]", r"scope\[1\]: there is no variable 1 in the section 'variables'"),
    ("scope: [a, b]", "scope: [a, null]", r"scope\[1\]: a name is wrong: .*got null; if it is text, put it in quotes"),
    ("scope: [a, b]", "scope: [a, .nan]", r"scope\[1\]: a name is wrong: expected .* a finite number, .*; got NaN"),
    ("a: 2", "a: 0", "line 2: variables.a: expected at least one state; got 0"),
    ("a: 2", "a: 2.0", "expected a number of states or a list of state labels; got 2.0"),
    ("a: 2", "a: true", "got true"),
    ("a: 2", "a: 99999999999", r"expected less than 2\^31 states; got 99999999999"),
    ("a: 2", "a: [u, u]", r"line 2: variables.a\[1\]: the variable has the state label 'u' twice: u, u"),
    ("a: 2", "a: [0, 1,\n true]", r"line 3: variables.a\[2\]: the variable has 1 and True, which are equal: 0, 1, Tr"),
    ("a: 2", "a: [[0, 1], [false, 1.0]]", r"a\[1\]: the variable has \(0, 1\) and \(False, 1.0\), which are equal"),
    ("a: 2", "a: [u, null]", r"variables.a\[1\]: a state label is wrong: expected a string, .*; got null"),
    ("a: 2", "a: [u, {v: 1}]", r'variables.a\[1\]: a state label is wrong: expected a string, .*; got {"v": 1}$'),
    ("a: 2", "a: [u, [1, .inf]]", r"variables.a\[1\]: a state label is wrong: expected .* a finite .*; got Infinity"),
    ("a: 2", "a: [-.inf, 1]", r"variables.a\[0\]: a state label is wrong: expected .* a finite .*; got -Infinity"),
    ("a: 2", "a: [0, 1e-400]", r'variables.a\[1\]: a state label is wrong: .*got "1e-400"; if it is text, put it in'),
    ("a: 2", "a: [1" + "0" * 400 + "]", r"line 2: the number 1000.* has 401 digits"),
    ("a: 2", "a: 2, .nan: 2", r"a name is wrong: expected .* a finite number, .*; got NaN"),
    ("{a: 2, b: [x, y]}", "[[a, 2],\n [b, [x, y]], [true, 2], [1, 2]]", r"line 3: variables\[3\]\[1\]: the name 1"),
    ("{a: 2, b: [x, y]}", "[[a, 2],\n [b, [x, x]]]", r"line 3: variables\[1\]\[1\]\[1\]: .* label 'x' twice"),
    ("{a: 2, b: [x, y]}", "[[a, 2], [b, [x, y], 1]]", r"expected a mapping from names to states, or a list of pairs"),
    ("{a: 2, b: [x, y]}", "[[a, 2], [b, [x, y]], [null, 2]]", r"a name is wrong: .*; got null"),
    ("a: 2", "a: []", "got an empty list"),
    ("table: [0.5, 0.5]", "log_table: [-.inf, .inf]", r"log_table\[1\]: expected a number or -inf; got Infinity"),
    ("table: [0.5, 0.5]", "log_table: [-.inf, .nan]", "expected a number or -inf; got NaN"),
    ("table: [0.5, 0.5]", "rules: {shape: 2, states: [[0]]}", "shape: expected a list of whole numbers"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [0]}", "states: expected a list of lists"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0], [1.5]]}", r"states\[1\]\[0\]: .* got 1.5"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0, 1], [1]]}", r"states\[1\]: expected 2 states"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: []}", "expected at least one rule"),
]  # fmt: skip

BAD_LAYERED = [
    ("arity: 2, ", "arity: 0, ", r"line 3: levels\[0\].arity: expected a whole number of at least 1, or two"),
    ("arity: 2, ", "arity: [2, 2, 2], ", r"got \[2, 2, 2\]"),
    ("arity: 2, ", "arity: two, ", 'got "two"'),
    ("{states: 3}", "{states: 3, prior: [1, -1, 1]}", r"root.prior\[1\]: expected a non-negative number; got -1"),
    ("root:", "grid: 4\nroot:", "line 1: grid: expected a list of whole numbers"),
    ("states: 2}", "states: 2, name: 5}", 'name: expected a name, which is a string; got 5: write "5"'),
]  # fmt: skip


@each(BAD_EXPLICIT)
def test_bad_explicit_files(path, good, bad, message):
    refused_when(path, EXPLICIT, good, bad, message)


@each(BAD_LAYERED)
def test_bad_layered_files(path, good, bad, message):
    refused_when(path, LAYERED, good, bad, message)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("key", "number"), [("table", "1e-400"), ("table", "2e308"), ("log_table", "-1e400"), ("log_table", "-3E-999")]
)
def test_a_number_that_float64_does_not_hold_is_refused_in_every_format(tmp_path, ending, key, number):
    path = tmp_path / f"m.{ending}"
    path.write_text(f'{{"variables": {{"a": 2}}, "factors": [{{"scope": ["a"], "{key}": [{number}, 0.5]}}]}}')
    refused(path, rf"line 1: factors\[0\]\.{key}\[0\]: expected .* that float64 can hold; got {number}: write ")


@pytest.mark.parametrize("ending", ENDINGS)
def test_zeros_and_the_smallest_numbers_are_read_as_they_are(tmp_path, ending):
    written = ["0", "0.0", "0e5", "0.00E-900", "-0.0", "5e-324", "2.5e-324", "1e-310", "1.7976931348623157e308", "1"]
    path = tmp_path / f"m.{ending}"
    path.write_text(f'{{"variables": {{"a": 10}}, "factors": [{{"scope": ["a"], "table": [{", ".join(written)}]}}]}}')
    with np.errstate(divide="ignore"):
        expected = np.log([abs(json.loads(number)) for number in written])
    np.testing.assert_array_equal(hgm.load(path).potentials[0].log_potential, expected)


@pytest.mark.parametrize("ending", ENDINGS)
def test_labels_of_very_many_states_are_read(tmp_path, ending):
    size = 40_000  # one comparison with every other label would be 1.6 billion
    tree = hgm.Tree.from_factors([(("x",), np.ones(size))], {"x": [f"s{i}" for i in range(size)]})
    hgm.save(tree, tmp_path / f"m.{ending}")
    assert hgm.load(tmp_path / f"m.{ending}") == tree
