"""From a checked model file to a tree: parts that do not fit together get one clear error."""

import pytest
from files.models import EXPLICIT, LAYERED, each, refused, refused_when

import hgm

BAD_EXPLICIT = [
    ("[0.3, 0.7]", "[0.3, 0.7]\n      - [1, 1]", r"line 5: factors\[1\]: .* \(a, b\) has shape \(3, 2\), .* \(2, 2\)"),
    ("[0.5, 0.5]", "[0, 0]", r"line 4: factors\[0\]: .* zero everywhere"),
    ("scope: [a, b]", "scope: [a, c]", r"line 5: factors\[1\].scope\[1\]: there is no variable 'c'"),
    ("scope: [a, b]", "scope: [a, a]", r"scope\[1\]: variable 'a' comes twice"),
    ("hgm: 1", "roots: [q]", r"line 1: roots\[0\]: there is no variable 'q'"),
    ("hgm: 1", "roots: [a, a]", r"roots\[1\]: variable 'a' comes twice"),
    ("table: [0.5, 0.5]", "potential: p", r"factors\[0\].potential: no potential is called 'p' .*, which is empty"),
    ("table: [0.5, 0.5]", "log_table: [-.inf, -.inf]", "zero everywhere"),
    ("table: [0.5, 0.5]", "table: [0.5, 0.5], kind: edge", r"factors\[0\]: an Edge is a matrix"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0], [0]]}", "listed twice"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0], [2]]}", "rule 1 has state 2 on axis 0"),
    ("table: [0.5, 0.5]", "rules: {shape: [2], states: [[0]], weights: [1, 2]}", "1 rules need as many weights"),
    ("table: [0.5, 0.5]", "rules: {shape: [3], states: [[0]]}", r"has shape \(3,\), but these variables have \(2,\)"),
]  # fmt: skip

BAD_LAYERED = [
    ("arity: 2, ", "arity: [2, 2], ", r"line 4: levels\[1\]: level 2 has arity 2; .* \(rows, columns\)"),
    ("arity: 2, ", "arity: 1000000000000000000000, ", r"line 3: levels\[0\]: level 1 has 1000000000000000000000 nodes"),
    ("{states: 3}", "{states: 3, prior: [1, 1]}", r"line 1: root: the prior has shape \(2,\); the root has 3 states"),
    ("{states: 3}", "{states: 3, prior: p}", "root.prior: no potential is called 'p'"),
    ("root:", "grid: [5]\nroot:", r"line 1: grid: .* multiply to \(4,\)"),
    ("states: 2}", "states: 2, potential: {table: [[1, 2], [1, 2]]}}", r"line 3: levels\[0\]: .* expected \(3, 2\)"),
    ("states: 2}", "states: 2, potential: [p, q]}", r"potential\[0\]: no potential is called 'p'"),
    ("states: 2}", "states: 2, name: x}", "must be distinct; got label, x, x"),
]  # fmt: skip


@each(BAD_EXPLICIT)
def test_bad_explicit_files(path, good, bad, message):
    refused_when(path, EXPLICIT, good, bad, message)


@each(BAD_LAYERED)
def test_bad_layered_files(path, good, bad, message):
    refused_when(path, LAYERED, good, bad, message)


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
