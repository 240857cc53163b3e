"""Values of a model file: what is no state, name or table of numbers gets one clear error."""

import pytest
from files.models import EXPLICIT, LAYERED, refused_when

BAD_EXPLICIT = [
    ("0.7", "-0.7", r"line 8: factors\[1\].table\[1\]\[1\]: expected a non-negative number; got -0.7"),
    ("0.7", "x", r"line 8: factors\[1\].table\[1\]\[1\]: expected a non-negative number; got \"x\""),
    ("0.7", ".nan", r"table\[1\]\[1\]: expected a non-negative number; got NaN"),
    ("0.7", ".inf", "got Infinity"),
    ("0.7", "1e999", "got Infinity"),
    ("0.7", "true", "expected a non-negative number; got true"),
    ("[0.3, 0.7]", "[0.3]", r"line 8: factors\[1\].table\[1\]: expected 2 entries, like the lists before it; got 1"),
    ("[0.3, 0.7]", "0.3", r"table\[1\]: expected a list of 2, like those before it; got 0.3"),
    ("[0.3, 0.7]", "[[1], [2]]", r"table\[1\]\[0\]: expected a non-negative number; got \[1\]"),
    ("[0.5, 0.5]", "[]", r"factors\[0\].table: expected numbers; got an empty list"),
    ("[0.5, 0.5]", "[[], []]", "got an empty list"),
    ("[0.5, 0.5]", "0.5", "expected a list of numbers; got 0.5"),
    ("[0.5, 0.5]", "[0.5, 1" + "0" * 350 + "]", r"table\[1\]: .* too large for a float"),
    ("scope: [a, b]", "scope: [a, 1]", r'scope\[1\]: expected a name, which is a string; got 1: write "1"'),
    ("a: 2", "a: 0", "line 2: variables.a: expected at least one state; got 0"),
    ("a: 2", "a: 2.0", "expected a number of states or a list of state labels; got 2.0"),
    ("a: 2", "a: true", "got true"),
    ("a: 2", "a: 99999999999", r"expected less than 2\^31 states; got 99999999999"),
    ("a: 2", "a: [u, u]", r"variables.a\[1\]: expected distinct state labels; got \"u\" twice"),
    ("a: 2", "a: [true, false]", r'variables.a\[0\]: expected a state label, .*; got true: write "true"'),
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


@pytest.mark.parametrize(("good", "bad", "message"), BAD_EXPLICIT, ids=[bad[:40] for _, bad, _ in BAD_EXPLICIT])
def test_bad_explicit_files(path, good, bad, message):
    refused_when(path, EXPLICIT, good, bad, message)


@pytest.mark.parametrize(("good", "bad", "message"), BAD_LAYERED, ids=[bad[:40] for _, bad, _ in BAD_LAYERED])
def test_bad_layered_files(path, good, bad, message):
    refused_when(path, LAYERED, good, bad, message)
