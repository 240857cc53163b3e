"""Questions: bad options are refused, and the limits are the certificate's formulas, solved."""

import numpy as np
import pytest

import hgm
from hgm.compiler.levels import by_levels as plan
from hgm.errors import BadSpec
from hgm.relu.question import Question

TREE = hgm.random_ghm(2, 3, 2, seed=0)


def question(tree=TREE, query=None, channel=None, **options):
    channel = (channel or hgm.Soft()).bound(int(tree.cardinality.max()))
    asked = tree.leaves if query is None else np.array(query)
    return Question(plan(tree), channel, (len(tree.leaves),), asked, down=True, **{"tol": 0.01} | options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tol": 0.0}, "positive and finite"),
        ({"tol": float("nan")}, "positive and finite"),
        ({"floor": -1.0}, "floored at -B"),
        ({"floor": float("inf")}, "floored at -B"),
        ({"bound": "l2"}, "'log_posterior', 'tv' or 'mean'; got 'l2'"),
        ({"allocation": "best"}, "'optimal' or 'uniform'; got 'best'"),
        ({"construction": "E"}, "construction must be 'constant', 'A', 'B', 'C' or 'D'; got 'E'"),
    ],
)
def test_bad_options_are_refused(options, said):
    with pytest.raises(BadSpec, match=said):
        question(**options)


def test_asked_are_the_places_of_the_query():
    mine = question(query=[TREE.index("x2"), TREE.index("root")] if "root" in TREE.names else [0, len(TREE) - 1])
    found = [int(level.order[i]) for level, at in zip(mine.plan.levels, mine.asked, strict=True) for i in at]
    assert sorted(found) == sorted(mine.query.tolist())


@pytest.mark.parametrize("bound", ["log_posterior", "tv", "mean"])
def test_at_its_limit_the_tolerance_is_reached(bound):
    channel = hgm.Gaussian(values=[-3.0, 0.0, 1.0])
    e = question(channel=channel, bound=bound).limits[-1]
    reached = {"log_posterior": e, "tv": np.tanh(e / 4), "mean": 4.0 * np.tanh(e / 4)}[bound]
    np.testing.assert_allclose(reached, 0.01)


def test_values_are_the_channels_at_the_leaves_and_numbers_elsewhere():
    spans, sizes = question(channel=hgm.Gaussian(values=[[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]])).values
    leaves = np.isin(np.arange(len(TREE)), TREE.leaves)
    assert set(spans[leaves]) == {5.0} and set(sizes[leaves]) == {5.0}
    assert set(spans[~leaves]) == set(sizes[~leaves]) == {2.0}
