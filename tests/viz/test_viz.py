"""Pictures: where the nodes of a tree go, what is coloured alike, and that every tree and network can be drawn."""

import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from kinds import Circulant
from oracles.trees import CASES

import hgm
from hgm.viz.layout import children_in_order, tidy
from hgm.viz.places import MOST, shown_levels
from hgm.viz.potentials import color_scheme, stage_families
from hgm.viz.style import GREY, PALETTE
from hgm.viz.words import counted, level_lines, title

TREES = {
    **{name: case.tree for name, case in CASES.items()},
    "digits": hgm.ghm([hgm.Level((2, 2), s) for s in (32, 16, 17)], 10),
    "rows": hgm.ghm([hgm.Level((1, 8), 3), hgm.Level((2, 2), 3)], 10),
    "a million": hgm.ghm([hgm.Level((2, 2), 4)] * 10, 4),
    "rules on a grid": hgm.rhm(4, 2, (2, 2), 2),
    "irregular": hgm.random_tree(300, joint=0.3, seed=1),
    "large and irregular": hgm.random_tree(2000, joint=0.3, seed=1),
    "a chain": hgm.chain(20),
    "a long chain": hgm.hmm(3000, 3, 4),
    "a wide star": hgm.star(200),
    "many stars": hgm.Tree.from_factors([((f"r{i}", f"c{i}_{j}"), np.eye(2)) for i in range(20) for j in range(5)]),
    "odd names": hgm.Tree.from_factors([(("$x^", "a\nb"), np.eye(2)), (("a\nb", "a name of some length"), np.eye(2))]),
}


def layout(tree, **options):
    return tidy(children_in_order(tree, range(len(tree))), tree.roots.tolist(), **options)


# ---------------------------------------------------------------------- layout


@pytest.mark.parametrize("straight", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_no_two_nodes_of_a_level_come_close(seed, straight):
    tree = hgm.forest((60, 30, 1, 1), joint=0.3, seed=seed)
    x = layout(tree, straight=straight)
    assert len(x) == len(tree) and min(x.values()) == pytest.approx(0)
    for level in range(tree.depth + 1):
        places = np.sort([x[v] for v in tree.at_level(level).tolist()])
        assert (np.diff(places) >= 1 - 1e-9).all()


def test_parents_stand_over_the_middle_and_children_keep_their_order():
    tree = hgm.random_tree(100, seed=3)
    x = layout(tree)
    for v, below in children_in_order(tree, range(len(tree))).items():
        if below:
            places = [x[c] for c in below]
            assert places == sorted(places)
            assert x[v] == pytest.approx((places[0] + places[-1]) / 2)


def test_a_small_tree_is_as_narrow_as_it_can_be():
    x = layout(CASES["binary_tied"].tree)
    assert max(x.values()) == pytest.approx(4 * 1 + 3 * 1.4)  # four pairs of siblings, cousins 1.4 apart


def test_a_long_chain_is_straight_and_needs_no_recursion():
    tree = hgm.caterpillar(3000)
    x = layout(tree, straight=True)
    assert {x[tree.index(f"z{i}")] for i in range(2999)} == {x[tree.index("z0")]}


# ---------------------------------------------------------------------- colours and words


def test_tied_potentials_and_no_others_have_a_colour():
    tree = CASES["binary_tied"].tree
    color = color_scheme(tree).color
    uses = np.bincount(tree.potential_id)
    assert [c == GREY for c in color] == (uses == 1).tolist()
    tied = [c for c in color if c != GREY]
    assert len(set(tied)) == len(tied) == 4 and set(tied) <= set(PALETTE)


def test_many_tied_potentials_get_tones_by_level():
    tree = hgm.ghm([hgm.Level(3, 2)] * 5, 2)
    scheme = color_scheme(tree)
    tied = [c for c in scheme.color if c != GREY]
    assert len(tied) == 12 == len(set(tied))
    assert [len(f.potentials) for f in scheme.families if f.colors != (GREY,)] == [3, 3, 3, 3]


def test_the_legend_says_what_there_is():
    texts = [family.text for family in color_scheme(CASES["binary_tied"].tree).families]
    assert texts == [
        "2 matrices 3×2, each in 2 factors",
        "2 matrices 2×2, each in 4 factors",
        "1 prior of 2 states, in 1 factor",
        "2 matrices 2×3, each in 1 factor",
    ]
    (rules,) = stage_families(TREES["rules on a grid"], color_scheme(TREES["rules on a grid"]), 1)
    assert rules.text == "1 rule table 4×4×4×4×4 with 8 rules, in 4 factors" and rules.kind == "rules"


def test_a_potential_of_a_kind_from_outside_is_drawn_as_what_it_is():
    ring = Circulant([0.5, 0.3, 0.2])
    tree = hgm.Tree.from_edges([("a", "b", ring), ("b", "c", ring)])
    assert [f.text for f in color_scheme(tree).families] == ["1 matrix 3×3, in 2 factors"]
    for style in ("nodes", "levels"):
        hgm.draw(tree, style=style)


def test_words():
    assert [counted(n, "leaf") for n in (1, 2, 1024)] == ["1 leaf", "2 leaves", "1,024 leaves"]
    assert title(CASES["forest"].tree).startswith("4 trees, 7 variables, 4 leaves")
    assert level_lines(TREES["a chain"]) == ["levels 0 to 19: 1 variable, 3 states each"]
    assert level_lines(CASES["quad_2d"].tree)[2] == "level 2: 2×4 variables, 2 states"


# ---------------------------------------------------------------------- pictures


def circles(figure):
    """Places and diameters, in inches, of the variables that a picture by nodes shows."""
    (axes,) = figure.axes
    (found,) = [c for c in axes.collections if c.get_zorder() == 3 and len(c.get_offsets())]
    return np.asarray(found.get_offsets()), np.sqrt(found.get_sizes()[0]) / 72


@pytest.mark.parametrize("name", [name for name, tree in TREES.items() if shown_levels(tree) is not None])
def test_every_node_is_drawn_inside_the_picture_and_none_on_another(name):
    tree = TREES[name]
    figure = hgm.draw(tree, style="nodes")
    places, size = circles(figure)
    first, last = shown_levels(tree)
    assert len(places) == sum(len(tree.at_level(level)) for level in first + last) <= MOST
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e9 * np.eye(len(places))
    assert apart.min() > size
    assert (places - size / 2 > 0).all() and (places + size / 2 < figure.get_size_inches()).all()
    assert max(figure.get_size_inches()) < 60


@pytest.mark.long
@pytest.mark.parametrize("name", TREES)
def test_every_tree_has_a_picture(name, tmp_path):
    figure = hgm.draw(TREES[name], tmp_path / "tree.svg")
    assert ET.parse(tmp_path / "tree.svg").getroot().tag.endswith("svg")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert title(TREES[name]) in texts


@pytest.mark.long
@pytest.mark.parametrize("name", TREES)
def test_every_tree_can_be_drawn_by_levels(name):
    hgm.draw(TREES[name], style="levels")


@pytest.mark.long
def test_the_style_follows_the_tree():
    def same(name, style):
        one, two = (hgm.draw(TREES[name], style=s) for s in ("auto", style))
        return [t.get_text() for t in one.axes[0].texts] == [t.get_text() for t in two.axes[0].texts]

    assert same("digits", "planes") and same("a million", "planes")
    assert same("irregular", "nodes") and same("a long chain", "nodes")
    assert same("large and irregular", "levels")


NETWORKS = {
    "denoise": lambda tree: hgm.compile(tree, "denoise", channel=hgm.Gaussian()),
    "classify": lambda tree: hgm.compile(tree, "classify", query=tree.names[len(tree) - 1]),
    "posterior": lambda tree: hgm.compile(tree, query="all", observed=[tree.names[0]]),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", ["binary_tied", "quad_2d", "ragged", "rhm", "forest", "single", "polytree", "digits"])
def test_every_network_has_a_picture(name, kind):
    net = NETWORKS[kind](TREES[name])
    figure = hgm.draw(net)
    texts = [text.get_text() for text in figure.axes[0].texts]
    levels = net.plan.levels
    shown = [*levels[:2], *levels[-2:]] if len(levels) > 4 else levels
    assert texts.count("h") == len(shown)
    assert texts.count("b") == (len(shown) if kind != "classify" else 0)
    assert {f"level {level.level}" for level in shown} <= set(texts)
    for stage in net.plan.stages if kind != "classify" else ():
        if levels[stage.level + 1] not in shown:
            continue
        above, factors = net.plan.levels[stage.level], sum(len(op.factors) for op in stage.ops)
        grid = net.plan.tree.grid and len(net.plan.tree.grid[-1]) == 2 and stage.level + 1 > 0
        if not grid:
            assert f"$q$  {above.states:,} × {factors:,}" in texts


@pytest.mark.parametrize("task", ["classify", "posterior"])
def test_a_relu_network_has_a_picture(task):
    net = hgm.compile(TREES["binary_tied"], task, activation="relu", tol=0.1)
    texts = [text.get_text() for text in hgm.draw(net).axes[0].texts]
    assert texts.count("h") == 4 and "ReLU\nlayers" in texts


def test_another_module_has_none():
    with pytest.raises(hgm.BadSpec, match="Linear"):
        hgm.draw(torch.nn.Linear(2, 2))


def test_paths_are_drawn_as_what_they_are():
    figure = hgm.draw(hgm.compile(hgm.hmm(60)))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any(text.startswith("2 paths") for text in texts) and texts.count("o") == 1
    assert any(text.startswith("along all paths of a level at once") for text in texts)


def test_a_deep_network_is_cut_in_the_middle():
    figure = hgm.draw(hgm.compile(hgm.chain(60), schedule="levels"))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "56 more stages" in texts and texts.count("h") == 4
    assert max(figure.get_size_inches()) < 60


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_the_same_picture_gives_the_same_file(tmp_path, ending):
    for name in ("one", "two"):
        hgm.draw(TREES["ragged"], tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_no_global_state_of_matplotlib_is_touched():
    hgm.draw(TREES["ragged"])
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("ragged", {"path": "tree.gif"}, "must end in .svg, .png or .pdf"),
        ("ragged", {"path": "nowhere/tree.svg"}, "nowhere/tree.svg cannot be written"),
        ("ragged", {"style": "planes"}, "2-D grid"),
        ("ragged", {"style": "tree"}, "style must be"),
        ("large and irregular", {"style": "nodes"}, "too large"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(name, options, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(hgm.BadSpec, match=text):
        hgm.draw(TREES[name], **options)


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(hgm.HgmError, match=r"pip install 'hgm\[demo\]'"):
        hgm.draw(TREES["ragged"])
    with pytest.raises(hgm.HgmError, match="matplotlib"):
        hgm.draw(hgm.compile(TREES["ragged"]))
