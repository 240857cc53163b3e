"""States are called by their labels, which keep their types; by a number only where it cannot be mistaken."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

import hgm
from hgm.tree.labels import StateNames, distinct_labels, read_states

NAN = float("nan")


@pytest.mark.parametrize("labels", [torch.tensor([3, 4]), [torch.tensor(3), np.array(4)], pd.Index([3, 4])])
def test_numbers_of_arrays_and_tensors_are_labels_as_plain_python_has_them(labels):
    size, read = read_states(labels, "x")
    assert (size, read) == (2, (3, 4)) and [type(label) for label in read] == [int, int]


def test_states_are_a_number_or_labels():
    assert read_states(3, "x") == (3, None) and read_states(np.int64(3), "x") == (3, None)
    for labels in (["u", 1], [True, False], [1.5, ("a", 0)], np.array([2, 1]), np.array(["p", "q"])):
        listed = [x.item() if isinstance(x, np.generic) else x for x in labels]
        size, read = read_states(iter(labels), "x")
        assert size == 2 and [(type(x), x) for x in read] == [(type(x), x) for x in listed]


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (0, "x has 0 states; at least one is needed"),
        (True, "x needs a number of states or a list of their labels; got True"),
        ("ab", "x needs a number of states or a list"),
        (2.0, "x needs a number of states or a list"),
        ([], "x has an empty list of states"),
        ({"a", "b"}, "x has a set of labels, which has no order; give a list"),
        (["a", "a"], "x has the state label 'a' twice: a, a"),
        ([1, True], "x has 1 and True, which are equal: 1, True"),
        ([0, 1.0, 1], "x has 1.0 and 1, which are equal"),
        ([None, 1], "a state label of x cannot be None, which stands for a missing value"),
        ([NAN, 1], "a state label of x cannot be nan, which stands for a missing value"),
        ([["a"], 1], "a state label of x must be a string, number, boolean or tuple; got ['a'] (list)"),
        ([frozenset("a"), 1], "a state label of x cannot be a set, which stands for a choice of labels"),
    ],
)
def test_what_is_no_declaration_of_states(states, message):
    with pytest.raises(hgm.BadSpec) as error:
        read_states(states, "x")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("labels", "called", "state"),
    [
        (None, 2, 2), (None, 2.0, 2), (None, np.int8(2), 2), (None, True, None), (None, 3, None), (None, -1, None),
        (None, 1.5, None), (None, "1", None), (None, NAN, None), (None, float("inf"), None), (None, [1], None),
        (("no", "yes", "so"), "yes", 1), (("no", "yes", "so"), np.str_("yes"), 1), (("no", "yes", "so"), 1, 1),
        (("no", "yes", "so"), 1.0, 1), (("no", "yes", "so"), True, None), (("no", "yes", "so"), 3, None),
        ((1, 2, 3), 2, 1), ((1, 2, 3), 2.0, 1), ((1, 2, 3), 0, None), ((1, 2, 3), "2", None), ((1, 2, 3), True, 0),
        (("1", "2", "3"), 2, None), (("1", "2", "3"), "2", 1), (("0", "1", "2"), 2, 2), (("0", "one", "2"), 1, 1),
        ((True, False), True, 0), ((True, False), 1, 0), ((True, False), 0, 1), ((True, False), "True", None),
        (("True", "False"), True, None), (("True", "False"), 1, 1), (("a", 0), 1, None), ((-1, 1), -1, 0),
        ((("A", 0), ("A", 1)), ("A", 1), 1), ((0.5, 1.5), 0.5, 0), ((0.5, 1.5), 1, None), ((0, 1), 1, 1),
    ],
)  # fmt: skip
def test_a_state_is_found_by_its_label_and_by_a_number_only_where_that_is_safe(labels, called, state):
    assert StateNames(3 if labels is None else len(labels), labels).find(called) == state


def test_what_is_not_found_is_told_with_what_there_is():
    for labels, called, message in [
        (("1", "2"), 2, "variable 'v' has no state 2; its labels are '1', '2'; did you mean '2'?"),
        (("no", "yes"), "Yes", "variable 'v' has no state 'Yes'; its states are no, yes; did you mean 'yes'?"),
        (None, "x", "variable 'v' has no state labels; give 'x' as a number 0 to 1"),
        (None, 0.7, "variable 'v' has no state 0.7; its states are 0 to 1"),
        (tuple(range(100, 400)), 5, "(300 in all)"),
    ]:
        with pytest.raises(hgm.BadEvidence) as error:
            StateNames(len(labels or (0, 0)), labels).state(called, "v")
        assert message in str(error.value)


def test_label_sets_that_are_equal_but_of_other_types_are_two():
    sets, which = distinct_labels([(0, 1), None, (False, True), (0, 1), ((1,), 2), ((True,), 2)])
    assert which.tolist() == [0, -1, 1, 0, 2, 3] and repr(sets) == "((0, 1), (False, True), ((1,), 2), ((True,), 2))"
    tree = hgm.Tree.from_factors([], {"a": [0, 1], "b": [False, True]})
    assert repr([tree.labels(0), tree.labels(1)]) == "[(0, 1), (False, True)]"


def test_finding_among_many_labels_takes_no_time():
    labels = tuple(f"w{i}" for i in range(100_000))
    names = StateNames(len(labels), labels)
    assert [names.find(label) for label in labels] == list(range(100_000))


# ---------------------------------------------------------------------- ambiguity codes

DNA = hgm.LabelSet(["A", "C", "G", "T"], codes={"R": {"A", "G"}, "N": ["A", "C", "G", "T"], 7: ("C",)})


def test_a_label_set_is_its_labels_and_keeps_its_codes():
    assert DNA == ("A", "C", "G", "T") and dict(DNA.codes) == {"R": {"A", "G"}, "N": set("ACGT"), 7: {"C"}}
    for copied in (pickle.loads(pickle.dumps(DNA)), copy.deepcopy(DNA), hgm.LabelSet(DNA)):
        assert copied == DNA and copied.codes == DNA.codes and type(copied) is hgm.LabelSet
    tree = hgm.Tree.from_edges([("a", "b", np.eye(4))], variables={"a": DNA, "b": list("ACGT")})
    assert len(tree.label_sets) == 2 and tree == hgm.Tree.from_edges(
        [("a", "b", np.eye(4))], variables={"a": list("ACGT"), "b": DNA}
    )
    again = hgm.from_networkx(hgm.to_networkx(tree.reroot("b")))
    assert again.labels(again.index("a")).codes == DNA.codes
    with pytest.raises(TypeError):
        DNA.codes["X"] = frozenset("A")


@pytest.mark.parametrize(
    ("labels", "codes", "message"),
    [
        (3, None, "a label set is made of a list of labels; got 3"),
        ("AC", None, "a label set needs a number of states or a list"),
        (["A", "C"], {"A": ["C"]}, "the ambiguity code 'A' is also a label"),
        (["A", "C"], {"R": ["A", "G"]}, "the ambiguity code 'R' stands for 'G', which is no label; labels are A, C"),
        (["A", "C"], {"R": []}, "the ambiguity code 'R' stands for nothing"),
        (["A", "C"], {"R": "AC"}, "the ambiguity code 'R' stands for a set of labels; got 'AC'"),
        (["A", "C"], {None: ["A"]}, "an ambiguity code cannot be None"),
    ],
)
def test_what_is_no_label_set(labels, codes, message):
    with pytest.raises(hgm.BadSpec) as error:
        hgm.LabelSet(labels, codes)
    assert message in str(error.value)
