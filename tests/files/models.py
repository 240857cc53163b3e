"""What the tests of model files share: trees of every kind to be written, and two small files to be spoiled."""

import numpy as np
import pytest
from hypothesis import strategies as st
from oracles.trees import CASES

import hgm
from hgm import Level

ENDINGS = ["yaml", "json"]

#: names and labels of every type that a file holds
SCALARS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.integers()
    | st.integers(-(10**400) + 1, 10**400 - 1)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "no", "1", "1e5", "true", "True", "~", "-", "? x", "#", "a: b", "<<", "=", "-inf", ".nan", "0x1F", "007",
         "1_000", "12:30", "2024-01-01", "\x85", "\ufeff", "😀", 1e-5, 1e22, 1e16, 5e-324, -0.0, 1.0, -1, 0, True]
    )
)  # fmt: skip
LABELS = SCALARS | st.recursive(
    st.lists(SCALARS, max_size=3).map(tuple), lambda inner: st.lists(SCALARS | inner, max_size=3).map(tuple)
)

TREES = {
    **{name: case.tree for name, case in CASES.items()},
    "random_ghm": hgm.random_ghm(2, [3, ("no", "null")], [(2, 2), (1, 3)], root=("a b", "1")),
    "untied": hgm.random_ghm(2, 3, 2, tie="none"),
    "joint": hgm.random_ghm(2, 2, 2, joint=True),
    "joint untied": hgm.random_ghm(2, 2, 2, joint=True, tie="none"),
    "rhm 2-D": hgm.rhm(3, 2, (2, 2), 2),
    "filtered": hgm.filtered_hierarchy(3, 3, k=2),
    "broadcast": hgm.broadcast(eps=0.0),
    "hmm": hgm.hmm(4, ["hot", "cold"]),
    "hidden_markov_tree": hgm.hidden_markov_tree(2),
    "random_tree": hgm.random_tree(20, joint=0.5, zeros=0.3),
    "rerooted": hgm.random_ghm(2, 3, 2).reroot("x3"),
    "kinds and logs": hgm.Tree.from_factors(
        [
            (("a", "b"), hgm.Table([[1, 2], [3, 4]])),
            (("b", "c"), hgm.Table.from_log([[0, -np.inf], [-1.5, 2]])),
            (("c", "d"), hgm.Edge.from_log([[0, -np.inf], [-1.5, 2]])),
            (("d", "e"), hgm.Rules.from_log((2, 2), [[1, 0], [0, 1]], [-np.inf, -0.25])),
            (("e", "f"), hgm.Rules((2, 2), [[1, 0], [0, 1]], [0.0, 0.25])),
        ]
    ),
    "no levels": hgm.ghm([], 2, prior=hgm.Table.from_log([0.0, -np.inf])),
    "tied across levels": hgm.ghm(
        [Level(2, 2, e := hgm.Edge([[1, 2], [3, 4]])), Level(2, 2, [e, [[1, 1], [2, 1]]])], 2
    ),
    "repeated positions": hgm.ghm([Level((1, 3), 2, [e, hgm.Edge([[1, 1], [2, 1]]), e])], 2),
}


def again(tree, path):
    hgm.save(tree, path)
    return hgm.load(path)


EXPLICIT = """\
hgm: 1
variables: {a: 2, b: [x, y]}
factors:
  - {scope: [a], table: [0.5, 0.5]}
  - scope: [a, b]
    table:
      - [0.1, 0.9]
      - [0.3, 0.7]
"""
LAYERED = """\
root: {states: 3}
levels:
  - {arity: 2, states: 2}
  - arity: 2
    states: 2
"""


def refused(path, message, error=hgm.BadSpec):
    with pytest.raises(error, match=message) as caught:
        hgm.load(path)
    assert type(caught.value) is error and str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def refused_when(path, text, good, bad, message):
    """The text makes a model, and no longer with `bad` where `good` stands."""
    assert good in text
    path.write_text(text)
    assert len(hgm.load(path)) > 0
    path.write_text(text.replace(good, bad, 1))
    refused(path, message)


def each(rows):
    """A test for every row ``(good, bad, message)``."""
    return pytest.mark.parametrize(("good", "bad", "message"), rows, ids=[bad[:40] for _, bad, _ in rows])
