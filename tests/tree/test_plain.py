"""Names and labels as a file holds them."""

import json
from math import inf

import numpy as np
import pytest

import hgm
from hgm.tree.plain import held, label_of

LABELS = ["", "1", 1, True, 1.0, -0.0, 1e-5, 10**399, (), ("A", 0), ((1, (True, "x")), 2.5)]


@pytest.mark.parametrize("label", LABELS, ids=repr)
def test_a_label_comes_back_through_json_with_its_type(label):
    assert repr(held(label, "it")) == repr(label)
    assert repr(label_of(json.loads(json.dumps(held(label, "it"))))) == repr(label)


def test_numbers_of_numpy_inside_become_those_of_python():
    label = held(("a", (np.int64(1), np.float32(0.5), np.False_, np.str_("b"))), "it")
    assert repr(label) == "('a', (1, 0.5, False, 'b'))"


def nested(levels):
    return (nested(levels - 1),) if levels else ()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (inf, "it cannot be written to a file: is inf; files hold strings, booleans, finite numbers"),
        (("a", inf), "it cannot be written to a file: in it is inf;"),
        (-(10**400), "is a whole number of more than 400 digits"),
        (10**5000, "is a whole number of more than 400 digits"),
        (b"a", r"is b'a' \(bytes\)"),
        (frozenset({1}), r"is frozenset\(\{1\}\) \(frozenset\)"),
        (np.datetime64("2024-01-01"), r"is .*2024-01-01.* \(datetime64\)"),
        (nested(40), "levels deep"),
    ],
    ids=lambda x: str(x)[:20] if isinstance(x, str) else type(x).__name__,
)
def test_what_no_file_holds_is_refused(label, message):
    with pytest.raises(hgm.BadSpec, match=message):
        held(label, "it")


@pytest.mark.parametrize("plain", [None, {}, {"a": 1}, inf, [1, None], [[{}]]], ids=repr)
def test_what_is_no_label_is_refused(plain):
    with pytest.raises(hgm.BadSpec, match=r"^expected a string, a boolean, a finite number, or a list of these; got "):
        label_of(plain)
