"""Evidence by name becomes log likelihoods: every form, against likelihoods written out by hand; and every error."""

import math

import numpy as np
import pytest
import torch
from oracles.trees import CASES, KINDS, draw_evidence

import hgm
from hgm.evidence.named import log_evidence
from hgm.tree.tree import Tree

INF = math.inf


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
        (1, [[-INF, 0, -INF]]),
        (np.int64(1), [[-INF, 0, -INF]]),
        (torch.tensor(1), [[-INF, 0, -INF]]),
        (np.array(1), [[-INF, 0, -INF]]),
        ("green", [[-INF, 0, -INF]]),
        (None, [[0, 0, 0]]),
        ([1, -1], [[-INF, 0, -INF], [0, 0, 0]]),
        ([1, None], [[-INF, 0, -INF], [0, 0, 0]]),
        (["green", None], [[-INF, 0, -INF], [0, 0, 0]]),
        (["green", 2], [[-INF, 0, -INF], [-INF, -INF, 0]]),
        (("green", "red"), [[-INF, 0, -INF], [0, -INF, -INF]]),
        (np.array(["green", "red"]), [[-INF, 0, -INF], [0, -INF, -INF]]),
        (np.array([1, 0], dtype=np.uint8), [[-INF, 0, -INF], [0, -INF, -INF]]),
        ([torch.tensor(1), torch.tensor(-1)], [[-INF, 0, -INF], [0, 0, 0]]),
        ([False, True, True], [[-INF, 0, 0]]),
        (torch.tensor([[False, True, True]]), [[-INF, 0, 0]]),
        ([0.0, 1.0, math.e], [[-INF, 0, 1]]),
        ([0, 1, math.e], [[-INF, 0, 1]]),
        (np.array([[0.0, 1.0, math.e]] * 2, dtype=np.float64), [[-INF, 0, 1]] * 2),
        ([torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.0])], [[-INF, 0, 0], [0, 0, -INF]]),
        ([1e-300, 1e300, 0.0], [[math.log(1e-300), math.log(1e300), -INF]]),
        ([5e-324, 1.0, 0.0], [[math.log(5e-324), 0, -INF]]),
        ([0.0, 0.0, 0.0], [[-INF, -INF, -INF]]),
    ],
)
def test_a_form_of_evidence(tree, given, expected):
    e = log_evidence(tree, {"b": given})
    np.testing.assert_allclose(column(tree, e, "b"), expected, rtol=1e-14, atol=1e-15)
    assert column(tree, e, "a") == [[0, 0, -INF]] * len(e)
    assert column(tree, e, "c") == [[0, -INF, -INF]] * len(e)


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
    evidence = {"a": torch.tensor([0.25, 0.5], dtype=torch.float32), "b": "red"}
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
        ({"d": 0}, r"no variable 'd'; it has a, b, c"),
        ({3: 0}, r"names of variables, which are strings; got 3"),
        ([0, 1], r"a mapping from variable names.*got list"),
        ({"b": 3}, r"variable 'b' has no state 3; its states are 0 to 2"),
        ({"b": -1}, r"variable 'b' has no state -1; its states are 0 to 2"),
        ({"b": torch.tensor(-1)}, r"variable 'b' has no state -1"),
        ({"b": "mauve"}, r"variable 'b' has no state 'mauve'; its states are red, green, blue"),
        ({"a": "red"}, r"variable 'a' has no state labels; give 'red' as a number 0 to 1"),
        ({"b": [0, 3]}, r"variable 'b' has no state 3 \(batch row 1\); its states are 0 to 2, and -1 for missing"),
        ({"b": [0, -2]}, r"variable 'b' has no state -2 \(batch row 1\)"),
        ({"b": ["red", "mauve"]}, r"variable 'b' has no state 'mauve'.*\(batch row 1\)"),
        ({"b": ["red", 1.5]}, r"variable 'b' got 1.5 in batch row 1"),
        ({"b": [None, 1.5]}, r"variable 'b' got 1.5 in batch row 1 among states; its states are red, green, blue"),
        ({"b": True}, r"variable 'b' takes a state \(number or label\) or None; .*got True"),
        ({"b": 1.0}, r"variable 'b' takes a state.*got 1.0"),
        ({"b": 1 + 2j}, r"variable 'b' takes"),
        ({"b": {"red": 1}}, r"variable 'b' takes"),
        ({"b": [[0.1], [0.2, 0.3]]}, r"variable 'b' takes"),
        ({"b": [0.1, 0.9]}, r"'b' has 3 states, so a likelihood must have shape \(3,\) or \(B, 3\); got \(2,\)"),
        ({"b": [[0.1, 0.9]]}, r"a likelihood must have shape \(3,\) or \(B, 3\); got \(1, 2\)"),
        ({"b": np.ones((1, 1, 3))}, r"got \(1, 1, 3\)"),
        ({"b": [True, False]}, r"allowed states must have shape \(3,\) or \(B, 3\); got \(2,\)"),
        ({"b": [[1, 0, 1]]}, r"variable 'b' got integers of shape \(1, 3\).*must be floats"),
        ({"b": [1.0, -0.5, 0.0]}, r"variable 'b', state 1, is -0.5 in batch row 0; expected a finite number"),
        ({"b": [[1.0] * 3, [1.0, math.nan, 0.0]]}, r"likelihood of variable 'b', state 1, is nan in batch row 1"),
        ({"b": [1.0, INF, 0.0]}, r"likelihood of variable 'b', state 1, is inf"),
        ({"a": [0, 1], "b": [0, 1, 2]}, r"variable 'b' has a batch of 3, but 'a' has one of 2"),
        ({"a": [0], "b": [0, 1, 2], "c": [0, 0]}, r"variable 'c' has a batch of 2, but 'b' has one of 3"),
    ],
)  # fmt: skip
def test_bad_evidence_says_what_is_wrong_and_where(tree, evidence, message):
    with pytest.raises(hgm.BadEvidence, match=message):
        log_evidence(tree, evidence)


def test_likelihoods_beyond_the_range_of_float32_keep_their_logs_in_it(tree):
    e = log_evidence(tree, {"b": [1e-300, 1e300, 1.0]}, dtype=torch.float32)
    np.testing.assert_allclose(column(tree, e, "b"), [[math.log(1e-300), math.log(1e300), 0]], rtol=1e-6)
