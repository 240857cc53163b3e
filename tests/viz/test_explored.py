"""The explorer in a real browser: what it computes, and that clicks, keys and sliders do what the page says."""

import json
import re

import numpy as np
import pytest
import torch
from oracles.trees import CASES
from places import ROOT, needs_checkout, page
from viz.browser import DESKTOP, PHONE, browser, open_page  # noqa: F401  fixtures

import hgm
from hgm.bp.passes import Distributed, collect
from hgm.viz.explorer.bundle import bundled
from hgm.viz.explorer.explore import Page

pytestmark = pytest.mark.long

VALUES = [-1.0, 0.0, 1.0]
LINE = hgm.broadcast(3, 3, 2, eps=0.15)  # 8 leaves on a line
ZEROS = hgm.ghm([hgm.Level(2, 2, np.array([[1.0, 0.0], [0.0, 1.0]]))], 2)  # both leaves are as the root


@pytest.fixture(scope="module")
def line():
    return hgm.explore(LINE, channel=hgm.Gaussian(VALUES))


@pytest.fixture
def tab(open_page, line):  # noqa: F811
    return open_page(line)


def classes(tab, selector):
    """The values of an attribute of all elements that match."""
    return set(tab.page.locator(selector).evaluate_all("(all) => all.map((x) => x.dataset.v ?? x.dataset.block)"))


def variables(*names):
    return {str(LINE.index(name)) for name in names}


def slide(tab, slider, value):
    tab.page.locator(slider).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


# ---------------------------------------------------------------------- the sum-product

READ = """(leaves) => {
  explorer.change({ leaves });
  const messages = explorer.messages();
  const plain = (all) => all.map((log) => Array.from(log, Math.exp));
  return messages && Object.fromEntries("hbqu".split("").map((kind) => [kind, plain(messages[kind])]));
}"""


def likelihoods(tree, leaves):
    """The evidence that the page's leaves are: ``(S, V)`` logs."""
    log = torch.zeros(1, int(tree.cardinality.max()), len(tree), dtype=torch.float64)
    for v, leaf in zip(tree.leaves.tolist(), leaves, strict=True):
        states = int(tree.cardinality[v])
        if leaf["mode"] == "sharp":
            p = [0.0] * states
        elif leaf["mode"] == "blurred":
            p = [0.3 / (states - 1) if states > 1 else 0.0] * states
        else:
            continue
        p[leaf["symbol"]] = 1.0 if leaf["mode"] == "sharp" else 0.7
        log[0, :states, v] = torch.tensor(p).log()
    for v, states in enumerate(tree.cardinality.tolist()):
        log[0, states:, v] = -torch.inf
    return log


def scaled(message, possible):
    """A message with a largest of 1 among the states that its variable can have; the library leaves out the others."""
    kept = np.where(possible, message, 0.0)
    return kept / kept.max()


@pytest.mark.parametrize("name", CASES)
def test_all_messages_are_those_of_the_library(open_page, name):  # noqa: F811
    tree = CASES[name].tree
    tab = open_page(hgm.explore(tree, channel=hgm.Clamp()))
    rng = np.random.default_rng(0)
    possible = hgm.infer(tree).marginals.T.numpy() > 0  # (V, S)
    owner = {"h": range(len(tree)), "b": range(len(tree)), "q": tree.parent, "u": tree.parent}
    found = 0
    for _ in range(12):
        leaves = [
            {"symbol": int(rng.integers(tree.cardinality[v])), "mode": str(rng.choice(["sharp", "blurred", "erased"]))}
            for v in tree.leaves
        ]
        found_here, evidence = tab.page.evaluate(READ, leaves), likelihoods(tree, leaves)
        try:
            want = hgm.infer(tree, evidence).marginals[0].T.numpy()
        except hgm.ImpossibleEvidence:
            assert found_here is None
            continue
        found += 1
        for v, states in enumerate(tree.cardinality.tolist()):
            belief = np.array(found_here["b"][v])
            np.testing.assert_allclose(belief / belief.sum(), want[v, :states], atol=1e-6)
        up = collect(tree, evidence)
        down = Distributed(up).down_to(tree.depth)
        for kind, levels in {"h": up.h, "b": down.b, "q": up.q, "u": down.u}.items():
            rows = [row for level in levels for row in level[0].T.exp().numpy()]
            for i, (mine, row) in enumerate(zip(found_here[kind], rows, strict=False)):
                can = possible[owner[kind][i], : len(mine)]
                np.testing.assert_allclose(
                    scaled(mine, can), scaled(row[: len(mine)], can), atol=1e-6, err_msg=f"{kind} {i}"
                )
    assert found


@pytest.mark.parametrize("index", [0, 8, 20])
def test_noisy_leaves_are_those_of_the_gaussian_channel(tab, index):
    slide(tab, "#sigma", index)
    example = tab.page.evaluate("JSON.parse(document.getElementById('facts').textContent).example")
    sigma = example["sigmas"][index]
    z = np.array(VALUES)[example["symbols"]] + sigma * np.array(example["noise"])
    net = hgm.compile(LINE, channel=hgm.Gaussian(VALUES), query="all").double()
    want = net(torch.from_numpy(z)[None], sigma)[0]
    np.testing.assert_allclose(tab.posterior(), want.T, atol=1e-6)


# ---------------------------------------------------------------------- what lights up


def test_the_page_is_alive_at_once_and_asks_for_nothing(tab):
    assert len(tab.requests) == 1 and tab.requests[0].startswith("file:")
    assert tab.page.locator(".node .bars[d^=M]").count() == len(LINE)


def test_a_block_lights_up_what_it_computes(tab):
    level2 = {str(v) for v in LINE.at_level(2)}
    tab.page.click("[data-block=h2]")
    tab.page.mouse.move(2, 2)
    assert classes(tab, ".node.lit") == level2 == classes(tab, ".node.up")
    tab.page.click("[data-block=q3]")
    tab.page.mouse.move(2, 2)
    assert classes(tab, ".node.lit") == level2 and tab.page.locator(".factor.says").count() == 8
    card = tab.page.locator("#card").inner_text()
    for words in ("Layer q, level 3", "3 states × 8 positions", "conv1d", "1 of 8 leaves", "parameters\n9"):
        assert words in card, card
    tab.page.click("#card .close")
    tab.page.mouse.move(2, 2)
    assert classes(tab, ".node.lit") == set()
    tab.page.click("[data-block=h2]")
    tab.page.mouse.move(2, 2)
    tab.page.keyboard.press("Escape")
    assert classes(tab, ".node.lit") == set()


def test_pointing_at_a_block_is_enough_and_passes(tab):
    tab.page.hover("[data-block=b1]")
    assert classes(tab, ".node.lit") == {str(v) for v in LINE.at_level(1)}
    assert "Transposed layer b, level 1" in tab.page.locator("#card").inner_text()
    tab.page.mouse.move(2, 2)
    assert classes(tab, ".node.lit") == set()
    assert "Choose a variable" in tab.page.locator("#card").inner_text()


def test_pointing_takes_no_form_away(tab):
    leaf = int(LINE.leaves[2])
    tab.page.click(f"[data-v='{leaf}']")
    tab.page.get_by_label("set: the symbol itself").check()
    tab.page.hover("[data-block=b1]")
    assert tab.page.evaluate("document.activeElement.dataset.key").startswith("mode set")
    assert "x2: leaf" in tab.page.locator("#card").inner_text()


def test_a_variable_lights_up_the_blocks_that_compute_it(tab):
    v = LINE.at_level(2)[1]
    tab.page.click(f"[data-v='{v}']")
    tab.page.mouse.move(2, 2)
    assert classes(tab, ".block.lit") == {"h2", "b2", "q3", "u3"}
    tab.page.click(f"[data-v='{LINE.leaves[0]}']")
    tab.page.mouse.move(2, 2)
    assert classes(tab, ".block.lit") == {"channel", "h3", "b3", "mean"}
    tab.page.get_by_role("button", name="Pool h, level 3", exact=True).click()
    assert "Pool h, level 3" in tab.page.locator("#card h2").inner_text()


def test_the_slider_steps_through_collect_and_distribute(tab):
    tab.page.focus("#step")
    tab.page.keyboard.press("Home")
    assert classes(tab, ".node.seen") == {str(v) for v in LINE.leaves} and tab.page.locator(".node.down").count() == 0
    order = []
    for _ in range(14):
        tab.page.keyboard.press("ArrowRight")
        order += classes(tab, ".block.lit")
    assert order == ["h3", "q3", "h2", "q2", "h1", "q1", "h0", "b0", "u1", "b1", "u2", "b2", "u3", "b3"]
    assert tab.page.locator(".block.waiting").count() == 1  # the mean is left
    tab.page.keyboard.press("End")
    assert tab.page.locator(".node.down").count() == len(LINE)


# ---------------------------------------------------------------------- what the reader changes


def test_a_leaf_is_edited_by_keys_alone(tab):
    leaf = int(LINE.leaves[3])
    tab.page.focus(f"[data-v='{leaf}']")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_label("set: the symbol itself").focus()
    tab.page.keyboard.press("Space")
    tab.page.locator("[data-key='symbol 2']").focus()
    tab.page.keyboard.press("Space")
    assert tab.page.evaluate("document.activeElement.dataset.key") == "symbol 2"  # the focus stays where it was
    assert tab.posterior()[leaf] == [0, 0, 1]
    tab.page.get_by_label("erased: nothing").check()
    v, sent = LINE.above[leaf], np.array(tab.posterior()[leaf])
    np.testing.assert_allclose(
        sent, np.array(tab.posterior()[v]) @ np.exp(LINE.potentials[-1].log_potential), atol=1e-6
    )


def test_impossible_observations_are_said_and_not_computed(open_page):  # noqa: F811
    tab = open_page(hgm.explore(ZEROS, channel=hgm.Clamp()))
    for leaf, symbol in zip(ZEROS.leaves, (0, 1), strict=True):
        tab.page.click(f"[data-v='{leaf}']")
        tab.page.get_by_label("set: the symbol itself").check()
        tab.page.locator(f"[data-key='symbol {symbol}']").check()
    assert tab.posterior() is None
    assert "impossible" in tab.page.locator("[role=alert]").inner_text()
    tab.page.get_by_label("erased: nothing").check()
    assert tab.posterior() is not None and tab.page.locator("[role=alert]").count() == 0


def test_the_noise_slider_says_what_has_flipped(tab):
    sigmas = tab.page.evaluate("JSON.parse(document.getElementById('facts').textContent).example.sigmas")
    likeliest = []
    for index in (0, len(sigmas) - 1):
        slide(tab, "#sigma", index)
        likeliest.append(np.argmax(tab.posterior(), 1))
    flipped = likeliest[0] != likeliest[1]
    assert flipped.any()
    parts = [
        f"{flipped[LINE.at_level(k)].sum()} of {len(LINE.at_level(k))} on level {k}"
        for k in reversed(range(LINE.depth + 1))
        if flipped[LINE.at_level(k)].any()
    ]
    assert tab.page.locator("#flips-said").inner_text() == f"Flipped: {', '.join(parts)}."
    assert classes(tab, ".node.flipped") == {str(v) for v in np.flatnonzero(flipped)}
    slide(tab, "#sigma", 0)
    assert tab.page.locator("#flips-said").inner_text() == "No likeliest state has flipped."


@pytest.mark.parametrize("part", ["level 1", "skip 2", "own", "noise"])
def test_a_deleted_part_shows_its_cost(tab, part):
    costs = tab.page.evaluate("JSON.parse(document.getElementById('facts').textContent).costs")
    tab.page.check(f"input[value='{part}']")
    sigma = float(tab.page.locator("output[for=sigma]").inner_text())
    at = int(np.abs(np.log(np.array(costs["noise"]) / sigma)).argmin())
    text = tab.page.locator("#costs .result").inner_text()
    told = costs["parts"][part]
    before, after = map(float, re.search(r"([\d.e-]+) → ([\d.e-]+)", text).groups())
    assert before == pytest.approx(costs["optimum"][at], rel=0.01)
    assert after == pytest.approx(costs["optimum"][at] + told["excess"][at], rel=0.01)
    if told["nats"] is None:
        assert "no finite number" in text
    else:
        assert float(re.search(r"([\d.e-]+) nats", text)[1]) == pytest.approx(told["nats"][0], rel=0.01)


def test_a_skip_is_deleted_by_a_click_and_comes_back_by_another(tab):
    skips = "[data-part^=skip].gone, [data-part=own].gone"
    tab.page.locator("[data-part='skip 2'] .touch").last.click(force=True)
    assert tab.page.locator(skips).count() == 4 and tab.page.is_checked("input[value='skip 2']")
    tab.page.locator("[data-part='skip 2'] .touch").last.click(force=True)
    assert tab.page.locator(skips).count() == 0 and tab.page.is_checked("input[value='']")
    tab.page.locator("[data-part=own] .touch").click(force=True)
    assert tab.page.locator(skips).count() == 1 and tab.page.is_checked("input[value='own']")


# ---------------------------------------------------------------------- for everybody


def test_keys_walk_the_tree_and_the_network(tab):
    tab.page.focus(f"[data-v='{LINE.leaves[0]}']")
    walked = []
    for key in ("ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft"):
        tab.page.keyboard.press(key)
        walked.append(tab.page.evaluate("document.activeElement.dataset.v"))
    assert walked == [str(LINE.index(name)) for name in ("h2_0", "h2_1", "x2", "x1")]
    assert tab.page.locator("[role=treeitem][tabindex='0']").count() == 1
    tab.page.focus("[data-block=h3]")
    tab.page.keyboard.press("ArrowRight")
    assert tab.page.evaluate("document.activeElement.dataset.block") == "q3"
    tab.page.keyboard.press(" ")
    assert tab.page.get_attribute("[data-block=q3]", "aria-pressed") == "true"


def test_everything_that_can_be_chosen_has_a_name(tab):
    tab.page.click(f"[data-v='{LINE.leaves[0]}']")
    unnamed = tab.page.evaluate(
        """() => [...document.querySelectorAll("button, input, [role=treeitem], [role=button], [role=img]")]
             .filter((x) => !(x.ariaLabel || x.textContent || [...(x.labels ?? [])].map((l) => l.textContent).join("")))
             .map((x) => x.outerHTML)"""
    )
    assert unnamed == []
    seen = tab.page.locator("main").aria_snapshot()
    for role in ("tree", "treeitem", "button", "slider", "radio", "heading"):
        assert re.search(rf"^\s*- '?{role} ", seen, re.M), role


def test_long_names_are_shown_where_there_is_room(open_page):  # noqa: F811
    names = ("Wetter \u2600", "Gehweg \u00b7 na\u00df", "a name that is much longer than its place")
    tree = hgm.Tree.from_edges([(names[0], names[1], np.eye(2) + 1), (names[0], names[2], np.eye(2) + 1)])
    tab = open_page(hgm.explore(tree))
    shown = tab.page.locator("svg .name").all_text_contents()
    assert sorted(shown) == sorted([names[0], names[1], names[2][:17] + "\u2026"])


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["line", "quad_2d", "ragged", "wide"])
def test_the_page_fits_and_letters_can_be_read(open_page, line, name, size):  # noqa: F811
    trees = {"quad_2d": CASES["quad_2d"].tree, "ragged": CASES["ragged"].tree, "wide": hgm.broadcast(9, 2)}
    tab = open_page(line if name == "line" else hgm.explore(trees[name], costs=False), size)
    tab.page.click("[data-block=h0]")
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    small = tab.page.evaluate(
        """() => [...document.querySelectorAll("text, p, label, td, dd, figcaption")]
             .filter((x) => x.getClientRects().length && parseFloat(getComputedStyle(x).fontSize) < 11)
             .map((x) => x.textContent)"""
    )
    assert small == []


def test_dark_and_light_are_pages_of_their_own(open_page, line):  # noqa: F811
    def shade(scheme):
        tab = open_page(line, scheme=scheme)
        rgb = re.findall(r"\d+", tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        return sum(map(int, rgb)), tab.page.screenshot()

    light, dark = shade("light"), shade("dark")
    assert light[0] > 700 and dark[0] < 120 and light[1] != dark[1]


def test_a_page_around_it_says_whether_it_is_dark(tab):
    shade = "getComputedStyle(document.body).backgroundColor"
    light = tab.page.evaluate(shade)
    tab.page.evaluate(
        "new Promise((done) => { addEventListener('message', done); postMessage({ scheme: 'dark' }, '*'); })"
    )
    assert tab.page.evaluate(shade) != light


@needs_checkout
def test_the_front_page_frames_the_explorer_that_make_writes(open_page):  # noqa: F811
    (name,) = re.findall(r'<iframe src="([\w.]+)"', page("docs/index.md"))
    assert f"\ndocs/{name}: docs/explorer.yaml " in page("Makefile") and f"/docs/{name}\n" in page(".gitignore")
    tab = open_page(hgm.explore(hgm.load(ROOT / "docs" / "explorer.yaml"), channel=hgm.Gaussian(VALUES), costs=False))
    assert tab.page.locator(".node").count() == 31  # nothing is folded


# ---------------------------------------------------------------------- other plans, large trees


def test_the_rows_of_a_network_need_not_be_the_levels_of_the_tree(open_page, line):  # noqa: F811
    facts = json.loads(re.search(r'type="application/json">(.*?)</script>', line.html, re.S)[1])
    top, middle, low, last = facts["network"]["rows"]
    for key in ("factors", "ops", "potentials"):  # one row of what were two, as a plan of paths may have it
        middle["stage"][key] += low["stage"][key]
    middle["nodes"] += low["nodes"]
    facts["network"]["rows"] = [top, middle, last]
    tab = open_page(Page(bundled(facts), "other rows"))
    assert classes(tab, ".block") == {"channel", "h2", "q2", "h1", "q1", "h0", "b0", "u1", "b1", "u2", "b2", "mean"}
    tab.page.click("[data-block=h1]")
    tab.page.mouse.move(2, 2)
    assert classes(tab, ".node.lit") == {str(v) for level in (1, 2) for v in LINE.at_level(level)}


@pytest.mark.parametrize(
    "tree", [hgm.broadcast(9, 2), hgm.broadcast(6, 2, (2, 2)), hgm.chain(200)], ids=["wide", "grid", "deep"]
)
def test_a_large_tree_is_folded_and_unfolds(open_page, tree):  # noqa: F811
    tab = open_page(hgm.explore(tree, costs=False))
    before = classes(tab, ".node")
    assert 0 < len(before) < len(tree)
    tab.page.locator(".fold").first.click()
    after = classes(tab, ".node")
    assert after - before and "chosen" in tab.page.locator(".node.chosen").get_attribute("class")


def test_arrows_reach_what_is_folded(open_page):  # noqa: F811
    tree = hgm.chain(200)
    tab = open_page(hgm.explore(tree, costs=False))
    tab.page.focus("[data-v='0']")
    for _ in range(60):
        tab.page.keyboard.press("ArrowUp")
    assert tab.page.evaluate("document.activeElement.dataset.v") == str(tree.at_level(60)[0])


def test_it_runs_inside_a_notebook(browser, line):  # noqa: F811
    notebook = browser.new_page()
    errors = []
    notebook.on("pageerror", lambda error: errors.append(str(error)))
    notebook.set_content(line._repr_html_())
    frame = notebook.frame_locator("iframe")
    frame.locator("[data-block=h2]").click()
    assert errors == [] and "Pool h" in frame.locator("#card").inner_text()
    notebook.close()
