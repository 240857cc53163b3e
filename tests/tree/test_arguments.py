"""What callers hand in: taken as it is, or refused in one line that names the argument and what was given."""

import numpy as np
import pandas as pd
import pytest
import torch

import hgm
from hgm.errors import brief
from hgm.tree.arguments import choice, flag, listed, mapping, number, whole


def test_what_is_right_is_given_back():
    assert whole("n", np.int64(3), 0) == 3
    assert number(np.float32(0.5), "x must be small", lambda x: x < 1) == 0.5
    assert flag("tied", np.bool_(True)) is True
    assert choice("task", "denoise", ["classify", "denoise"]) == "denoise"
    assert mapping("priors", None, "{name: vector}") == {}
    assert listed("roots", (name for name in "ab"), "names") == ["a", "b"]
    assert listed("sizes", np.array([1, 2]), "numbers") == [1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: whole("n", 2.5, 0), "n must be a whole number of at least 0; got 2.5"),
        (lambda: whole("n", True, 0), "n must be a whole number of at least 0; got True"),
        (lambda: whole("n", 10**30, 0, 7), f"n must be a whole number of at most 7; got {10**30}"),
        (lambda: whole("n", 10**5000, 0), "n must be a whole number of at most 9223372036854775807; got a int"),
        (lambda: number("1", "x must be small", lambda x: x < 1), "x must be small; got '1'"),
        (lambda: number(10**400, "x must be big", lambda x: True), f"x must be big; got {str(10**400)[:96]} ..."),
        (lambda: flag("tied", 1), "tied must be True or False; got 1"),
        (lambda: choice("task", "denoize", ["classify", "denoise"]), "task must be 'classify' or 'denoise'; got "
         "'denoize'; did you mean 'denoise'?"),
        (lambda: choice("task", np.zeros(3), ["a", "b", "c"]),
         "task must be 'a', 'b' or 'c'; got a ndarray of shape (3,)"),
        (lambda: mapping("priors", ["a"], "{name: vector}"), "priors must be a mapping {name: vector}; got ['a']"),
        (lambda: listed("roots", {"a"}, "names"), "roots must be a list of names; got {'a'}"),
        (lambda: listed("roots", np.zeros((2, 2)), "names"),
         "roots must be a list of names; got a ndarray of shape (2, 2)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(hgm.HgmError) as caught:
        call()
    assert str(caught.value) == message


def test_what_was_given_is_shown_in_one_line():
    assert brief("a\n  b") == r"'a\n  b'"
    assert brief([1, torch.zeros(2, 2)]) == "[1, tensor([[0., 0.], [0., 0.]])]"
    assert brief(pd.DataFrame({"a": [1]})) == "a DataFrame of shape (1, 1)"
    assert brief(hgm.Gaussian) == "the class Gaussian"
    assert brief(hgm.Edge([[1.0]])) == "Edge(1x1)"
    assert brief(hgm.compile(hgm.star(2))) == "a UNet"
    assert brief(print) == "a builtin_function_or_method"
    assert brief(list(range(100)), most=20) == "[0, 1, 2, 3, 4,  ..."


TREE = hgm.Tree.from_edges([("a", "b", np.eye(2))])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hgm.Tree.from_edges([("a", "b")]), "edge 0 must be (parent, child, matrix); got 2 things"),
        (lambda: hgm.Tree.from_edges([(["a"], "b", np.eye(2))]), "a variable's name (edge 0) must be a string, number, "
         "boolean or tuple; got ['a'] (list)"),
        (lambda: hgm.Tree.from_factors([(("a",), [0.5, 0.5])], ["a"]),
         "variables must be a mapping {name: states}; got ['a']"),
        (lambda: hgm.Tree.from_factors([("a", [1.0, 1.0])], roots=["aa"]), "'aa' is wanted as a root, but there is no "
         "such variable"),
        (lambda: hgm.Tree.from_factors("model.yaml"),
         "factors must be a list of pairs (scope, potential); got 'model.yaml'"),
        (lambda: hgm.Tree.from_factors([((1, 2), np.eye(2)), ((2, 3), np.eye(2)), ((3, 1), np.eye(2))]), "the factor "
         "graph has a cycle: 1 - 3 - 2 - 1. hgm is exact on trees only: multiply factors over the same variables into "
         "one, merge the variables of the cycle, or condition on one of them (observed=...)"),
        (lambda: TREE.reroot(["b"]), "the model has no variable ['b']; it has a, b"),
        (lambda: TREE.scope_of(-1), "the tree has no factor -1; their numbers are 0 to 0"),
        (lambda: TREE.at_level("1"), "the number of a level is a whole number, 0 to 1; got '1'"),
        (lambda: hgm.forest(3), "sizes must be a list of numbers of variables; got 3"),
        (lambda: hgm.chain(3, seed=-1), "seed must be a whole number of at least 0; got -1"),
        (lambda: hgm.ghm([(2, 2)], 2), "level 1 must be an hgm.Level; got (2, 2)"),
        (lambda: hgm.ghm([hgm.Level(2, {"no": 0, "yes": 1})], 2), "level 1 needs a number of states or a list of their "
         "labels; got {'no': 0, 'yes': 1}"),
        (lambda: hgm.random_ghm(tie="levle"),
         "tie must be 'position', 'level' or 'none'; got 'levle'; did you mean 'level'?"),
        (lambda: hgm.rhm(arity=10**9), "arity must be a whole number of at most 100000000; got 1000000000"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_trees_are_named(call, message):
    with pytest.raises(hgm.HgmError) as caught:
        call()
    assert str(caught.value) == message
