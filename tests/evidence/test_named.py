"""Evidence by name becomes log likelihoods: every form, against likelihoods written out by hand; and every error."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from oracles.trees import CASES, KINDS, draw_evidence
from torch.masked import masked_tensor

import hgm
from hgm.evidence.given import log_evidence
from hgm.tree.tree import Tree

INF = math.inf
RED, GREEN, BLUE, ANY = [0, -INF, -INF], [-INF, 0, -INF], [-INF, -INF, 0], [0, 0, 0]


@pytest.fixture
def tree() -> Tree:
    """Variables a (2 states), b (3, labelled), c (1)."""
    return Tree.from_edges(
        [("a", "b", np.ones((2, 3))), ("a", "c", np.ones((2, 1)))], variables={"a": 2, "b": ["red", "green", "blue"]}
    )


def column(tree: Tree, e: torch.Tensor, name: str) -> list:
    return e[..., tree.index(name)].tolist()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_gives_the_likelihoods_that_were_meant(case, kind):
    evidence = draw_evidence(case, kind)
    e = log_evidence(case.tree, evidence.given)
    torch.testing.assert_close(e, evidence.log_tensor(case).expand_as(e), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # a state
        (1, [GREEN]), (1.0, [GREEN]), (np.int64(1), [GREEN]), (torch.tensor(1), [GREEN]), (np.array(1), [GREEN]),
        ("green", [GREEN]), (np.str_("green"), [GREEN]),
        # nothing
        (None, [ANY]), (math.nan, [ANY]), (np.float32("nan"), [ANY]), (pd.NA, [ANY]), (pd.NaT, [ANY]), (-1, [ANY]),
        (np.int8(-1), [ANY]), (torch.tensor(-1), [ANY]),
        # a column of states
        ([1, -1], [GREEN, ANY]), ([1, None], [GREEN, ANY]), (["green", None], [GREEN, ANY]),
        (["green", 2], [GREEN, BLUE]),
        (("green", "red"), [GREEN, RED]), (np.array(["green", "red"]), [GREEN, RED]), ([1.0, math.nan], [GREEN, ANY]),
        (np.array(["green", None, math.nan], dtype=object), [GREEN, ANY, ANY]),
        (np.array([1, 0], dtype=np.uint8), [GREEN, RED]), (np.array([1.0, 0, 2.0]), [GREEN, RED, BLUE]),
        (np.array([1.0, math.nan], dtype=np.float16), [GREEN, ANY]),
        (torch.tensor([1.0, 0.0, math.nan]), [GREEN, RED, ANY]),
        ([torch.tensor(1), torch.tensor(-1)], [GREEN, ANY]), ([np.int64(1), "red"], [GREEN, RED]), ([1], [GREEN]),
        ([], []),
        (pd.Series(["green", None]), [GREEN, ANY]), (pd.Series([1, None]), [GREEN, ANY]),
        (pd.Series([1, None], dtype="Int64"), [GREEN, ANY]), (pd.Series(["green", None], dtype="string"), [GREEN, ANY]),
        (pd.Categorical(["green", None, "red"]), [GREEN, ANY, RED]), (pd.Index(["green", "red"]), [GREEN, RED]),
        (pd.Series(["green", "red"], index=[7, 5]).astype("category"), [GREEN, RED]),
        (np.ma.array([1, 7, 0], mask=[0, 1, 0]), [GREEN, ANY, RED]), (np.ma.masked, [ANY]),
        # allowed states
        ({"green", "blue"}, [[-INF, 0, 0]]), (frozenset({"green", 2}), [[-INF, 0, 0]]), ({"red": 1}.keys(), [RED]),
        ([{"green", "blue"}, None, "red", {2}], [[-INF, 0, 0], ANY, RED, BLUE]),
        (torch.tensor([[False, True, True]]), [[-INF, 0, 0]]), ([[False, True, True]] * 2, [[-INF, 0, 0]] * 2),
        # a likelihood
        ({"green": 1.0, "blue": math.e}, [[-INF, 0, 1]]), ({0: 0, 1: 1, 2: math.e}, [[-INF, 0, 1]]),
        ({"red": 0.0, "green": [1.0, math.e], "blue": torch.ones(2)}, [[-INF, 0, 0], [-INF, 1, 0]]),
        (hgm.Likelihood([0, 1, math.e]), [[-INF, 0, 1]]), (hgm.Likelihood([[0, 1, math.e]] * 2), [[-INF, 0, 1]] * 2),
        (hgm.Likelihood.log([-INF, 0, 800]), [[-INF, 0, 800]]), (hgm.Likelihood.log(np.zeros((2, 3))), [ANY, ANY]),
        (np.array([[0.0, 1.0, math.e]] * 2), [[-INF, 0, 1]] * 2), ([[0, 1, math.e]], [[-INF, 0, 1]]),
        (np.eye(3, dtype=int)[[1, 0]], [GREEN, RED]), (pd.DataFrame(np.eye(3)[[1, 0]]), [GREEN, RED]),
        (pd.DataFrame({"blue": [1.0, 0], "red": [0, 1.0]}), [BLUE, RED]),
        ([torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.0])], [[-INF, 0, 0], [0, 0, -INF]]),
        (np.ma.array(np.eye(3)[:2], mask=[[1] * 3, [0] * 3]), [ANY, GREEN]),
        ([[1e-300, 1e300, 0.0]], [[math.log(1e-300), math.log(1e300), -INF]]),
        ([[5e-324, 1.0, 0.0]], [[math.log(5e-324), 0, -INF]]), ([[0.0, 0.0, 0.0]], [[-INF, -INF, -INF]]),
    ],
)  # fmt: skip
def test_a_form_of_evidence(tree, given, expected):
    e = log_evidence(tree, {"b": given})
    np.testing.assert_allclose(e[..., tree.index("b")], np.reshape(expected, (-1, 3)), rtol=1e-14, atol=1e-15)
    assert column(tree, e, "a") == [[0, 0, -INF]] * len(e)
    assert column(tree, e, "c") == [[0, -INF, -INF]] * len(e)


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
def test_a_masked_tensor_is_missing_where_it_is_masked(tree):
    seen = masked_tensor(torch.tensor([1, 7]), torch.tensor([True, False]))
    assert column(tree, log_evidence(tree, {"b": seen}), "b") == [GREEN, ANY]


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, pd.Series, tuple])
def test_what_has_one_dimension_is_a_column_whatever_it_holds_and_however_many_rows_it_has(tree, kind, rows):
    states = np.array([1, 0, 2, 1])[:rows]
    for dtype in (int, float) if rows > 2 else (int, float, bool):
        e = log_evidence(tree, {"a": kind((states % 2).astype(dtype).tolist())})
        assert e.shape == (rows, 3, 3)
        assert e[:, :2, tree.index("a")].argmax(1).tolist() == (states % 2).tolist()


def test_no_evidence_is_all_zero_but_for_the_padding(tree):
    for evidence in (None, {}):
        e = log_evidence(tree, evidence)
        assert e.shape == (1, 3, 3)
        assert e.dtype == torch.float64
        assert e[0].T.tolist() == [[0, 0, -INF], [0, 0, 0], [0, -INF, -INF]]


def test_a_batch_of_one_broadcasts_against_a_larger_one(tree):
    e = log_evidence(tree, {"a": [0], "b": [0, 1, 2], "c": torch.ones(1, 1)})
    assert column(tree, e, "a") == [[0, -INF, -INF]] * 3
    assert column(tree, e, "b") == [[0, -INF, -INF], [-INF, 0, -INF], [-INF, -INF, 0]]


def test_an_empty_batch_is_a_batch(tree):
    assert log_evidence(tree, {"a": torch.zeros(0, dtype=torch.int64)}).shape == (0, 3, 3)
    assert hgm.infer(tree, {"a": torch.zeros((0, 2))}).marginals.shape == (0, 3, 3)


def test_the_dtype_is_as_asked_for(tree):
    evidence = {"a": torch.tensor([[0.25, 0.5]], dtype=torch.float32), "b": "red"}
    assert log_evidence(tree, evidence).dtype == torch.float64
    assert log_evidence(tree, evidence, dtype=torch.float32).dtype == torch.float32


def test_the_gradient_reaches_the_likelihoods_and_is_zero_at_zero(tree):
    likelihood = torch.tensor([[0.5, 0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    e = log_evidence(tree, {"b": likelihood, "a": 1})
    e[e > -INF].sum().backward()
    assert likelihood.grad.tolist() == [[2.0, 0.0, 0.5]]


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({"d": 0}, "no variable 'd'; it has a, b, c"),
        ({3: 0}, "no variable 3; it has a, b, c"),
        ({"b": 3}, "variable 'b' has no state 3; its labels are 'red', 'green', 'blue'"),
        ({"b": -2}, "variable 'b' has no state -2"),
        ({"b": torch.tensor(-2)}, "variable 'b' has no state -2"),
        ({"b": "mauve"}, "variable 'b' has no state 'mauve'; its states are red, green, blue"),
        ({"b": "Green"}, "did you mean 'green'?"),
        ({"a": "red"}, "variable 'a' has no state labels; give 'red' as a number 0 to 1"),
        ({"b": [0, 3]}, "variable 'b' has no state 3; its labels are 'red', 'green', 'blue' (batch row 1)"),
        ({"b": [0, -2]}, "variable 'b' has no state -2; its labels are 'red', 'green', 'blue' (batch row 1)"),
        ({"b": ["red", "mauve"]}, "variable 'b' has no state 'mauve'; its states are red, green, blue (batch row 1)"),
        ({"b": [None, 1.5]}, "variable 'b' has no state 1.5; its labels are 'red', 'green', 'blue' (batch row 1). A "
         "column has a "
         "state for each row; a likelihood of each state is {'red': 1.5, ...} or hgm.Likelihood([...])"),
        ({"a": [0.1, 0.9]}, "variable 'a' has no state 0.1; its states are 0 to 1 (batch row 0). A column has "
         "a state for "
         "each row; a likelihood of each state is {0: 0.1, ...} or hgm.Likelihood([...])"),
        ({"b": torch.tensor([0.2, 0.3, 0.5])}, "hgm.Likelihood([...])"),
        ({"b": 0.7}, "variable 'b' has no state 0.7"),
        ({"b": True}, "variable 'b' has no state True; its labels are 'red', 'green', 'blue'"),
        ({"b": [True, False, True]}, "variable 'b' has no state True"),
        ({"b": 1 + 2j}, "variable 'b' takes a state; a column of states, one for each row; a likelihood "
         "{label: number}"),
        ({"b": np.array([1j])}, "must be an array of states or real numbers; got complex128"),
        ({"b": torch.tensor([1j])}, "got a complex tensor"),
        ({"b": torch.eye(3).to_sparse()}, "got a sparse tensor"),
        ({"b": np.array(["2020-01-01"], dtype="datetime64[ns]")}, "variable 'b' has no state"),
        ({"b": object()}, "variable 'b' takes a state"),
        ({"b": print}, "variable 'b' takes a state"),
        ({"b": {"mauve": 1}}, "variable 'b' has no state 'mauve'"),
        ({"b": {"red": -1}}, "the likelihood of variable 'b', state 0, is -1.0 in batch row 0"),
        ({"b": {"red": "much"}}, "a likelihood of variable 'b' must be an array of numbers; got a str"),
        ({"b": {"red": 1, 0: 1}}, "the likelihood of variable 'b' names a state twice"),
        ({"b": {"red": [1, 2], "blue": [1, 2, 3]}}, "the likelihoods of variable 'b' have batches of 2 and 3"),
        ({"b": {}}, "variable 'b' has an empty likelihood"),
        ({"b": set()}, "an empty set allows variable 'b' no state"),
        ({"b": {"mauve"}}, "variable 'b' has no state 'mauve'"),
        ({"b": [{"red"}, {"mauve"}]}, "variable 'b' has no state 'mauve'; its states are red, green, blue "
         "(batch row 1)"),
        ({"b": [[0.1], [0.2, 0.3]]}, "the likelihoods of variable 'b' must be an array of numbers"),
        ({"b": [[0.1, 0.9]]}, "variable 'b' has 3 states, so a likelihood must have shape (B, 3); got (1, 2)"),
        ({"b": hgm.Likelihood([0.1, 0.9])}, "a likelihood must have shape (B, 3); got (2,)"),
        ({"b": np.ones((1, 1, 3))}, "got an array of shape (1, 1, 3)"),
        ({"b": [[True, False]]}, "allowed states must have shape (B, 3); got (1, 2)"),
        ({"b": [[1.0, -0.5, 0.0]]}, "variable 'b', state 1, is -0.5 in batch row 0; expected a finite number"),
        ({"b": [[1.0] * 3, [1.0, math.nan, 0.0]]}, "likelihood of variable 'b', state 1, is nan in batch row 1"),
        ({"b": [[1.0, INF, 0.0]]}, "likelihood of variable 'b', state 1, is inf"),
        ({"b": hgm.Likelihood.log([1.0, math.nan, 0.0])}, "log likelihood of variable 'b', state 1, is nan"),
        ({"b": np.ma.array(np.eye(3)[:1], mask=[[1, 0, 0]])}, "is masked in part"),
        ({"a": [0, 1], "b": [0, 1, 2]}, "variable 'b' has a batch of 3, but 'a' has one of 2"),
        ({"a": [0], "b": [0, 1, 2], "c": [0, 0]}, "variable 'c' has a batch of 2, but 'b' has one of 3"),
    ],
)  # fmt: skip
def test_bad_evidence_says_what_is_wrong_and_where(tree, evidence, message):
    with pytest.raises(hgm.BadEvidence) as error:
        log_evidence(tree, evidence)
    assert message in str(error.value)


def test_likelihoods_beyond_the_range_of_float32_keep_their_logs_in_it(tree):
    e = log_evidence(tree, {"b": [[1e-300, 1e300, 1.0]]}, dtype=torch.float32)
    np.testing.assert_allclose(column(tree, e, "b"), [[math.log(1e-300), math.log(1e300), 0]], rtol=1e-6)


@pytest.fixture
def dna() -> Tree:
    labels = hgm.LabelSet(["A", "C", "G", "T"], codes={"R": {"A", "G"}, "N": list("ACGT"), 7: ("C",)})
    return Tree.from_edges([("a", "b", np.eye(4) + 0.1)], {"a": [0.1, 0.2, 0.3, 0.4]}, {"a": labels, "b": labels})


@pytest.mark.parametrize(
    ("coded", "plain"),
    [
        ("R", {"A", "G"}),
        (7, "C"),
        (["A", "R", "N", None, 7], [{"A"}, {"A", "G"}, None, None, {"C"}]),
        (np.array(["A", "R", "N", "T"]), [{"A"}, {"A", "G"}, None, {"T"}]),
        (pd.Series(["A", "R", None]), [{"A"}, {"A", "G"}, None]),
        (pd.Categorical(["R", "C"]), [{"A", "G"}, {"C"}]),
        ({"R", "C"}, {"A", "C", "G"}),
        ([{"R", "C"}, "R"], [{"A", "C", "G"}, {"A", "G"}]),
    ],
)
def test_an_ambiguity_code_is_the_set_of_its_labels(dna, coded, plain):
    got, want = hgm.infer(dna, {"b": coded}), hgm.infer(dna, {"b": plain})
    assert torch.equal(got["a"], want["a"]) and got.batched == want.batched
    assert torch.equal(
        hgm.compile(dna, "classify").given({"b": coded}), hgm.compile(dna, "classify").given({"b": plain})
    )
    if got.batched:
        assert hgm.fit(dna, {"b": coded}, iterations=2).history == hgm.fit(dna, {"b": plain}, iterations=2).history


def test_an_ambiguity_code_is_no_state(dna):
    for wrong in ({"b": "X"}, {"b": ["A", "X"]}, {"b": {"X"}}, {"b": {"R": 0.5}}):
        with pytest.raises(hgm.BadEvidence, match=r"variable 'b' has no state '[XR]'"):
            hgm.infer(dna, wrong)
    with pytest.raises(hgm.BadEvidence, match="needs a state in each row"):
        hgm.log_likelihood(dna, {"a": "R", "b": "A"})


def test_an_ambiguity_code_that_is_a_number_is_no_index_and_no_hole():
    for code, own in ((1, [0, -INF]), (-1, [0, -INF]), ("0", [-INF, 0])):
        labels = hgm.LabelSet(["a", "b"], codes={code: ["a"] if own[0] == 0 else ["b"]})
        tree = Tree.from_edges([("x", "y", np.ones((2, 2)))], variables={"x": labels, "y": labels})
        forms = (
            code,
            [code],
            np.array([code]),
            pd.Series([code]),
            {code},
            [{code}],
            pd.Series([code], dtype="category"),
        )
        for given in forms:
            assert column(tree, log_evidence(tree, {"x": given}), "x") == [own]
        with pytest.raises(hgm.BadEvidence, match="has no state 0"):
            log_evidence(tree, {"x": 0})
        with pytest.raises(hgm.BadEvidence, match="labels or their indices"):
            hgm.infer(tree, np.array([[1]]))
