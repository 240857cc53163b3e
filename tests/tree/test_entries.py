"""Tables in the forms that users have them: read right or refused in one sentence, never with something dropped."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

import hgm
from hgm.tree.pool import as_potential

pd = pytest.importorskip("pandas")

SKY = {"sky": ["sun", "rain"], "mood": ["good", "bad", "none"]}
MOOD = [[0.1, 0.6, 0.3], [0.7, 0.2, 0.1]]
EIGHTH = [[0.125, 0.875], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (((True, False), (False, True)), np.eye(2)),
        ([np.array([0.125, 0.875]), (0.25, 0.75)], EIGHTH),
        ([[Fraction(1, 8), Fraction(7, 8)], [Decimal("0.25"), 0.75]], EIGHTH),
        (np.array(EIGHTH, dtype=np.float16), EIGHTH),
        (np.array(EIGHTH, dtype=np.longdouble), EIGHTH),
        (np.array(EIGHTH, dtype=object), EIGHTH),
        (np.array([[1, 2**63]], dtype=np.uint64), [[1, 2**63]]),
        ([[2**70, 1]], [[2.0**70, 1]]),
        (torch.tensor(EIGHTH), EIGHTH),
        (torch.tensor(EIGHTH, dtype=torch.bfloat16), EIGHTH),
        (torch.tensor(EIGHTH).to_sparse(), EIGHTH),
        ([torch.tensor([0.125, 0.875]), torch.tensor([0.25, 0.75])], EIGHTH),
        (np.ma.array(EIGHTH, mask=np.zeros((2, 2), dtype=bool)), EIGHTH),
        (pd.DataFrame(EIGHTH), EIGHTH),
        (pd.DataFrame([[0.75, 0.25], [0.875, 0.125]], index=[1, 0], columns=[1, 0]), EIGHTH),
        ([pd.Series([0.125, 0.875]), pd.Series([0.75, 0.25], index=[1, 0])], EIGHTH),
    ],
)
@pytest.mark.parametrize("make", [hgm.Edge, hgm.Table, as_potential])
def test_numbers_are_read(make, given, want):
    assert make(given).values.tolist() == np.asarray(want, dtype=float).tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1 + 2j, 1], [1, 1]], "an array of numbers; got complex numbers"),
        (torch.ones(2, 2, dtype=torch.complex64), "got complex numbers"),
        (np.full((2, 2), "2020-01-01", dtype="M8[D]"), "got dates"),
        ([[datetime.date(2020, 1, 1), 1], [1, 1]], r"got datetime.date\(2020, 1, 1\) \(date\)"),
        ([[np.datetime64("2020-01-01"), 1.0], [1, 1]], "numbers"),
        (np.full((2, 2), 5, dtype="m8[s]"), "got time differences"),
        ([["0.5", "0.5"], ["0.5", "0.5"]], "got strings"),
        ([["0.5", 0.5], [0.5, 0.5]], "got strings"),
        (np.array([["0.5", 0.5]], dtype=object), r"got '0.5' \(str\)"),
        ([[None, 1], [1, 1]], r"got None \(NoneType\)"),
        ([[pd.NA, 1], [1, 1]], "got <NA>"),
        ([[{1}, 1], [1, 1]], r"got \{1\} \(set\)"),
        ({(0, 0): 1.0}, "numbers"),
        ([[10**400, 1], [1, 1]], "that float64 holds; give logs"),
        ([[Decimal("1e-400"), 1], [1, 1]], r"entry \(0, 0\) of values of a potential is 1E-400, smaller than float64"),
        (np.array([[np.longdouble("1e-400"), 1]]), "smaller than float64 holds"),
        (torch.ones(2, 2, requires_grad=True), r"keep no gradient; give tensor.detach\(\)"),
        ([torch.ones(2, requires_grad=True), torch.ones(2)], "keep no gradient"),
        (np.ma.array(EIGHTH, mask=[[False, True], [False, False]]), r"must be known; entry \(0, 1\) is masked"),
        ([np.ma.array([1.0, 2.0], mask=[True, False]), [1.0, 2.0]], "is masked"),
        (pd.DataFrame(EIGHTH, index=["sun", "rain"]), r"axis 0 of a table is labelled 'sun', 'rain', not by the numb"),
        (pd.DataFrame(EIGHTH, columns=[1, 1]), "axis 1 of a table is labelled 1, 1"),
        ([pd.Series([1.0, 2.0], index=["b", "a"]), [1.0, 2.0]], "is labelled 'b', 'a'"),
        ([[1.0], [1.0, 2.0]], "array of numbers"),
    ],
)
@pytest.mark.parametrize("make", [hgm.Edge, as_potential, lambda given: hgm.ghm([hgm.Level(1, 2, [given])], 2)])
def test_what_is_no_table_of_numbers_is_refused_in_one_sentence(make, given, message):
    with pytest.raises(hgm.BadPotential, match=message) as caught:
        make(given)
    assert "\n" not in str(caught.value)


def test_logs_and_weights_of_rules_are_read_the_same_way():
    for make in (hgm.Edge.from_log, lambda logs: hgm.Rules.from_log((2, 2), [[0, 0], [1, 1]], logs)):
        with pytest.raises(hgm.BadPotential, match=r"log_(potential|weights) of a potential"):
            make(torch.zeros(2, requires_grad=True))
    with pytest.raises(hgm.BadPotential, match="weights of a potential"):
        hgm.Rules((2, 2), [[0, 0], [1, 1]], np.ma.array([1.0, 2.0], mask=[0, 1]))
    with pytest.raises(hgm.BadPotential, match="some of them are masked"):
        hgm.Rules((2, 2), np.ma.array([[0, 0], [1, 1]], mask=[[0, 0], [0, 1]]))


# ---------------------------------------------------------------------- labelled rows and columns


def tree(table, variables=SKY):
    return hgm.Tree.from_factors([(("sky", "mood"), table)], variables)


@pytest.mark.parametrize("rows", [["sun", "rain"], ["rain", "sun"]])
@pytest.mark.parametrize("columns", [["good", "bad", "none"], ["none", "good", "bad"], ["bad", "none", "good"]])
def test_a_table_is_read_by_its_labels(rows, columns):
    full = pd.DataFrame(MOOD, SKY["sky"], SKY["mood"])
    (got,) = tree(full.loc[rows, columns]).potentials
    assert got.values.tolist() == MOOD


def test_labels_keep_their_types_and_may_be_partly_numbers():
    states = {"a": [1, 2, 3], "b": [False, True]}
    frame = pd.DataFrame([[6.0, 5.0], [2.0, 1.0], [4.0, 3.0]], index=[3, 1, 2], columns=[True, False])
    (got,) = hgm.Tree.from_factors([(("a", "b"), frame)], states).potentials
    assert got.values.tolist() == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(hgm.BadPotential, match=r"factor \(a, b\): axis 0 of a table is labelled 0, 1, 2, not by the"):
        hgm.Tree.from_factors([(("a", "b"), pd.DataFrame(np.ones((3, 2)), columns=[True, False]))], states)


def test_a_series_is_a_prior_by_its_labels_and_plain_frames_are_plain():
    prior = pd.Series({"rain": 0.25, "sun": 0.75})
    frame = pd.DataFrame(MOOD)
    got = hgm.Tree.from_edges([("sky", "mood", frame)], {"sky": prior}, SKY).potentials
    assert [p.values.tolist() for p in got] == [[0.75, 0.25], MOOD]


def test_a_frame_ties_the_factors_whose_states_are_called_alike():
    step = pd.DataFrame([[0.9, 0.1], [0.4, 0.6]], ["sun", "rain"], ["sun", "rain"])
    states = {"a": ["sun", "rain"], "b": ["sun", "rain"], "c": ["sun", "rain"], "d": ["rain", "sun"]}
    got = hgm.Tree.from_factors([((x, y), step) for x, y in ("ab", "bc", "cd")], states)
    assert got.potential_id.tolist() == [0, 0, 1]
    assert [p.values.tolist() for p in got.potentials] == [[[0.9, 0.1], [0.4, 0.6]], [[0.1, 0.9], [0.6, 0.4]]]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            None,
            r"factor \(sky, mood\): axis 0 of a table is labelled 'sun', 'rain', not by the numbers 0 to 1 of states",
        ),
        ({**SKY, "mood": ["good", "bad", "sad"]}, "axis 1 .* not by the states of 'mood', which are good, bad, sad"),
        ({"sky": 2, "mood": 3}, "not by the states of 'sky', which are 0 to 1"),
    ],
)
def test_labels_that_are_not_the_states_are_refused(variables, message):
    with pytest.raises(hgm.BadPotential, match=message):
        tree(pd.DataFrame(MOOD, SKY["sky"], SKY["mood"]), variables)


@pytest.mark.parametrize("library", ["xarray.core", "polars.dataframe"])
def test_labels_of_other_libraries_are_not_dropped(library):
    class Table:
        __module__ = library

        def __init__(self, numbers):
            self.numbers = numbers

        def to_numpy(self):
            return np.array(self.numbers)

        def __array__(self, dtype=None, copy=None):
            return self.to_numpy()

    for given in (Table(MOOD), [Table(MOOD[0]), MOOD[1]]):
        with pytest.raises(hgm.BadPotential, match=f"a table of {library[:6]}"):
            tree(given)
