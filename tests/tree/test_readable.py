"""A tree tells of itself: every variable in its outline, one factor with its labels, a table of its levels."""

import numpy as np
import pytest
from oracles.trees import CASES

import hgm
from hgm.tree.readable import CHILDREN, LEVELS, LINES, outline

WEATHER = hgm.Tree.from_edges(
    [("sky", "wet", hgm.Edge([[0.1, 0.9], [0.8, 0.2]], name="rain")), ("sky", "n", [[1, 0, 0], [0, 0, 1]])],
    {"sky": [0.3, 0.7]},
    {"sky": ["sun", "<rain>"], "wet": ["yes", "no"]},
)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_outline_has_each_variable_under_its_parent(case):
    tree, above = case.tree, {}
    lines = outline(tree).splitlines()
    assert len(lines) == len(tree)
    for line in lines:
        bare = line.lstrip("│├└─ ")
        depth, name = (len(line) - len(bare)) // 3, bare.partition("  ")[0]
        above[depth] = name
        v = tree.index(name)
        assert depth == tree.level[v]
        assert depth == 0 or tree.names[int(tree.above[v])] == above[depth - 1]


def test_an_outline_says_states_priors_and_the_names_of_tables(capsys):
    WEATHER.show()
    assert capsys.readouterr().out == ("sky  (sun, <rain>)  prior\n├─ wet  (yes, no)  by 'rain'\n└─ n  (3 states)\n")


def test_large_trees_are_cut_and_say_so():
    assert f"... and {10_000 - CHILDREN + 1:,} more" in outline(hgm.star(10_000, seed=0))
    long = outline(hgm.chain(500, 2, seed=0)).splitlines()
    assert len(long) == LINES + 1 and long[-1] == f"... and {500 - LINES} more variables"
    assert len(str(hgm.chain(500, 2, seed=0)).splitlines()) == 1 + 2 + LEVELS + 1


def test_a_factor_has_its_labels():
    wet = WEATHER.factor("wet")
    assert wet.scope == ("sky", "wet") and wet.states == (("sun", "<rain>"), ("yes", "no")) and wet.parent == "sky"
    np.testing.assert_allclose(wet.table, [[0.1, 0.9], [0.8, 0.2]])
    assert "<rain>" in str(wet) and "&lt;rain&gt;" in wet._repr_html_() and "<rain>" not in wet._repr_html_()
    assert WEATHER.factor("sky").scope == ("sky",) and WEATHER.factor(("n", "sky")).states[1] == (0, 1, 2)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_factor_above_each_variable_is_found(case):
    for v in range(len(case.tree)):
        if case.tree.parent_factor[v] >= 0:
            factor = case.tree.factor(case.tree.names[v])
            assert factor.number == case.tree.parent_factor[v] and str(factor)


def test_what_is_no_factor_is_refused():
    with pytest.raises(hgm.BadSpec, match="no factor over wet, n"):
        WEATHER.factor(("wet", "n"))
    with pytest.raises(hgm.BadEvidence, match="no variable 'snow'"):
        WEATHER.factor("snow")
    with pytest.raises(hgm.BadSpec, match="several factors over b"):
        CASES["unary_factors"].tree.factor(("b",))
    with pytest.raises(hgm.BadSpec, match="no factor over only"):
        CASES["single_without_factor"].tree.factor("only")
