"""The explorer's page is complete in itself, small, and made of modules that fit. What it does: test_explored.py."""

import json
import re

import numpy as np
import pytest
import torch
from oracles.trees import CASES

import hgm
from hgm.viz.explorer.bundle import PAGE, modules
from hgm.viz.explorer.network import leaves_below, network_facts

TREE = hgm.broadcast(2, 3, 2, eps=0.2)


def facts_of(page):
    return json.loads(re.search(r'<script id="facts" type="application/json">(.*?)</script>', page.html, re.S)[1])


@pytest.fixture(scope="module")
def cheap():
    return hgm.explore(TREE, costs=False)


@pytest.fixture(scope="module")
def costly():
    return hgm.explore(TREE, channel=hgm.Gaussian([-1, 0, 1]))


# ---------------------------------------------------------------------- one file


def declared(code):
    return re.findall(r"^(?:function|const|let|class) (\w+)", code, re.M)


def test_modules_share_one_scope_without_a_clash():
    names = [name for code in modules().values() for name in declared(code)]
    assert len(names) > 50 and len(names) == len(set(names))
    assert set(modules()) == {path.name for path in PAGE.iterdir() if path.name.endswith(".js")}


def test_no_module_keeps_words_that_only_modules_know():
    assert not [name for name, code in modules().items() if re.search(r"^(import|export)\b", code, re.M)]


def test_a_module_stands_behind_those_that_it_imports():
    order = list(modules())
    for name in order:
        wanted = re.findall(r'from "\./(\w+\.js)"', (PAGE / name).read_text())
        assert all(order.index(other) < order.index(name) for other in wanted)


def test_the_page_names_no_address_and_no_framework(cheap):
    addresses = set(re.findall(r"https?://[^\"' )]+", cheap.html))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which nothing fetches


def test_a_name_cannot_end_the_element_that_the_facts_stand_in():
    tree = hgm.Tree.from_edges([("</script><b>", "<!--", np.eye(2) + 1)])
    page = hgm.explore(tree, costs=False)
    assert "</script><b>" not in page.html and "<!--" not in page.html
    assert facts_of(page)["tree"]["names"] == ["</script><b>", "<!--"]


def test_three_hundred_variables_take_less_than_two_megabytes():
    page = hgm.explore(hgm.random_tree(300, joint=0.3, seed=1))
    assert len(page.html.encode()) < 2e6


@pytest.mark.long
def test_the_page_is_the_same_for_the_same_tree(costly):
    assert hgm.explore(TREE, channel=hgm.Gaussian([-1, 0, 1])).html == costly.html


def test_a_page_is_saved_and_shows_itself(tmp_path):
    page = hgm.explore(TREE, tmp_path / "page.html", costs=False)
    assert (tmp_path / "page.html").read_text() == page.html
    assert page._repr_html_().startswith("<iframe") and "<script" not in page._repr_html_()
    assert "7 variables" in repr(page)


# ---------------------------------------------------------------------- what it is told


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_variable_and_factor_stands_in_one_row(case):
    rows = network_facts(hgm.compile(case.tree).plan)["rows"]
    assert sorted(v for row in rows for v in row["nodes"]) == list(range(len(case.tree)))
    several = np.flatnonzero(np.diff(case.tree.scope_ptr) > 1).tolist()
    assert sorted(f for row in rows if row["stage"] for f in row["stage"]["factors"]) == several


def test_a_message_sees_the_leaves_below_it():
    rows = network_facts(hgm.compile(hgm.broadcast(2, 2, (2, 2))).plan)["rows"]
    assert [row["sees"] for row in rows] == [f"{n}×{n} of 4×4 leaves" for n in (4, 2, 1)]
    ragged = CASES["ragged"].tree
    count = leaves_below(ragged)
    assert [int(count[v]) for v in ragged.leaves] == [1] * len(ragged.leaves)
    assert sum(int(count[v]) for v in ragged.roots) == len(ragged.leaves)


@pytest.mark.long
@pytest.mark.parametrize("part", ["level 1", "skip 2", "own", "noise"])
def test_a_cost_is_what_the_ablation_costs(costly, part):
    told = facts_of(costly)["costs"]
    channel, noise = hgm.Gaussian([-1, 0, 1]), told["noise"]
    kind, options = {
        "level 1": ("block", {"level": 2}),  # levels 0 and 1 are gone
        "skip 2": ("skips", {"level": 1}),  # the skips of level 2 are cut: beliefs of level 1 are left
        "own": ("own", {}),
        "noise": ("blind", {"noise": noise[::4]}),
    }[part]
    lacking = hgm.ablate(TREE, kind, channel=channel, **options)
    gap = hgm.compare(lacking, TREE, n=told["samples"])
    assert [row["noise"] for row in gap.rows()] == noise
    np.testing.assert_allclose(told["parts"][part]["excess"], [row["excess"] for row in gap.rows()], rtol=1e-3)
    assert (told["parts"][part]["nats"] is None) == (part in ("skip 2", "own"))
    if gap.nats is not None:
        assert told["parts"][part]["nats"][0] == pytest.approx(gap.nats.value, rel=1e-3)


def test_costs_need_a_grid_and_gaussian_noise():
    assert facts_of(hgm.explore(TREE, costs=False))["costs"] is None
    assert facts_of(hgm.explore(TREE, channel=hgm.Clamp()))["costs"] is None
    assert facts_of(hgm.explore(CASES["ragged"].tree, channel=hgm.Gaussian()))["costs"] is None


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channel": hgm.Flip()}, "through hgm.Gaussian or hgm.Clamp"),
        ({"channel": hgm.Missing(hgm.Gaussian())}, "through hgm.Gaussian or hgm.Clamp"),
        ({"channel": hgm.Gaussian(torch.eye(3))}, "values are vectors"),
        ({"channel": "gaussian"}, "through hgm.Gaussian or hgm.Clamp"),
        ({"costs": 1}, "costs"),
        ({"path": "page.pdf"}, ".html"),
    ],
)
def test_bad_arguments_are_refused(options, says):
    with pytest.raises(hgm.BadSpec, match=re.escape(says)):
        hgm.explore(TREE, **options)


def test_values_of_another_number_of_states_are_refused():
    with pytest.raises(hgm.BadEvidence, match="2 states"):
        hgm.explore(TREE, channel=hgm.Gaussian([0, 1]))


def test_what_is_too_large_for_a_page_is_refused_with_a_way_out():
    with pytest.raises(hgm.BadSpec, match=r"hgm\.draw"):
        hgm.explore(hgm.broadcast(14, 2, 2))
    with pytest.raises(hgm.BadSpec, match="Tree"):
        hgm.explore(hgm.compile(TREE))
