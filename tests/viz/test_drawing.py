"""Pictures show themselves, are read at the size at which they are shown, and follow dark pages; posteriors as bars."""

import pickle
import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from oracles.trees import CASES, draw_evidence
from viz.browser import browser  # noqa: F401  a fixture

import hgm
from hgm.viz.drawing import dark
from hgm.viz.style import GREY, INK, PALETTE

PAGE = 700  # pixels
LEAST = 10  # pixels of a letter's size


def letters(figure, wide=PAGE):
    """The sizes of a picture's letters in pixels, shown as wide as a page, or at its own size if that is less."""
    own = figure.get_size_inches()[0] * 96
    return [text.get_fontsize() / 72 * 96 * min(1, wide / own) for text in figure.axes[0].texts if text.get_text()]


DIGITS = hgm.ghm([hgm.Level((2, 2), s) for s in (32, 16, 17)], 10)
SHOWN = {
    "the digits' tree": DIGITS,
    "the digits' U-Net": lambda: hgm.compile(DIGITS, "denoise", channel=hgm.Gaussian()),
    "the digits' ConvNet": lambda: hgm.compile(DIGITS, "classify"),
    "a binary tree": hgm.ghm([hgm.Level(2, 3)] * 4, 3),
    "a tree of 60 variables": hgm.random_tree(60, joint=0.3, seed=1),
    "a long chain": hgm.hmm(100, 3, 4),
    "a tree of 2000 variables": hgm.random_tree(2000, joint=0.3, seed=1),
    "a posterior": lambda: hgm.infer(hgm.ghm([hgm.Level(2, 3)] * 3, 3)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_letters_are_read_on_a_page(name):
    what = SHOWN[name]
    assert min(letters(hgm.draw(what() if callable(what) else what))) >= LEAST


def test_letters_that_are_too_small_are_found():
    figure = hgm.draw(SHOWN["a binary tree"])
    assert min(letters(figure, wide=300)) < LEAST


def test_names_of_variables_do_not_touch():
    figure = hgm.draw(hgm.ghm([hgm.Level(2, 3)] * 4, 3))
    draw = FigureCanvasAgg(figure).get_renderer()
    names = [t for t in figure.axes[0].texts if re.fullmatch(r"label|[hx]\d+(_\d+)?", t.get_text())]
    boxes = [text.get_window_extent(draw) for text in names]
    assert len(boxes) == 31
    assert [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)] == []


# ---------------------------------------------------------------------- light and dark


def contrast(one, two):
    """Of two colours, as the guidelines for web pages have it: 1 to 21."""

    def luminance(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["light", "dark"])
def test_letters_and_colours_stand_out_from_the_page(page):
    there = dark if page == "dark" else str
    assert contrast(there(INK), there("#ffffff")) > 10
    assert contrast(there(GREY), there("#ffffff")) > 3.9
    assert all(contrast(there(color), there("#ffffff")) > 2.3 for color in PALETTE)


def test_every_colour_of_a_picture_has_a_rule_for_dark_pages():
    svg = hgm.draw(CASES["ragged"].tree)._repr_svg_()
    used = set(re.findall(r'style="[^"]*(?:fill|stroke): (#[0-9a-f]{6})', svg))
    ruled = set(re.findall(r"light-dark\((#[0-9a-f]{6})", svg))
    assert "#ffffff" in used and used <= ruled
    assert f"light-dark(#ffffff, {dark('#ffffff')})" in svg and 'class="hgm"' in svg


def test_a_notebook_shows_the_picture_that_follows_the_page(monkeypatch):
    """Also where matplotlib is told to show every figure as SVG in its own way."""
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    figure = hgm.draw(CASES["ragged"].tree)
    figure._ipython_display_()
    ((data, raw),) = shown
    assert raw and data["image/svg+xml"] == figure._repr_svg_() and "light-dark" in data["image/svg+xml"]


def test_a_drawing_is_pickled():
    figure = pickle.loads(pickle.dumps(hgm.draw(CASES["ragged"].tree)))
    assert figure._repr_svg_().startswith("<?xml")


# ---------------------------------------------------------------------- posteriors


@pytest.mark.parametrize("kind", ["none", "soft", "zeros", "inner", "batch"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bars_are_as_high_as_the_marginals(case, kind):
    evidence = draw_evidence(case, kind)
    figure = hgm.draw(hgm.infer(case.tree, evidence.given))
    axes, joint = figure.axes[0], evidence.joints(case)[0]
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    bars = next(c for c in axes.collections if type(c).__name__ == "PatchCollection").get_paths()
    assert len(boxes) == len(case.names) and len(bars) == sum(case.cards)
    heights = [np.ptp(path.vertices[:, 1]) / boxes[0].get_height() for path in bars]
    drawn = [text.get_text() for text in axes.texts if text.get_text() in case.names]
    assert sorted(drawn) == sorted(case.names)
    np.testing.assert_allclose(heights, np.concatenate([joint.marginal(name) for name in drawn]), atol=1e-9)


def test_a_posterior_that_cannot_be_drawn_is_an_error():
    with pytest.raises(hgm.BadSpec, match="too large for bars in its nodes"):
        hgm.draw(hgm.infer(hgm.random_tree(2000, seed=0)))
    with pytest.raises(hgm.BadSpec, match="no rows"):
        hgm.draw(hgm.infer(hgm.star(2, 2, seed=0), torch.zeros(0, 2, 3)))


# ---------------------------------------------------------------------- in a browser


def test_letters_without_a_colour_follow_the_page_too(browser, tmp_path):  # noqa: F811
    figure = hgm.draw(CASES["ragged"].tree)
    figure.axes[0].text(1, 1, "black", gid="black")
    svg = figure._repr_svg_()
    (tmp_path / "dark.html").write_text(f"<html style='color-scheme: dark'>{svg[svg.index('<svg') :]}</html>")
    tab = browser.new_page()
    tab.goto((tmp_path / "dark.html").as_uri())
    assert tab.evaluate("getComputedStyle(document.querySelector('#black use')).fill") == "rgb(255, 255, 255)"
    tab.close()


@pytest.mark.long
def test_a_picture_follows_the_page_and_alone_the_reader(browser, tmp_path):  # noqa: F811
    svg = hgm.draw(CASES["ragged"].tree)._repr_svg_()
    (tmp_path / "alone.svg").write_text(svg)
    inline = svg[svg.index("<svg") :]
    for scheme in ("light", "dark"):
        (tmp_path / f"{scheme}.html").write_text(f"<html style='color-scheme: {scheme}'>{inline}</html>")
    ask = """() => getComputedStyle(document.querySelector('[style*="fill: #ffffff"]')).fill"""
    white, black = "rgb(255, 255, 255)", "rgb(25, 25, 25)"
    for reader in ("light", "dark"):
        tab = browser.new_page(color_scheme=reader)
        for page, want in (
            ("light.html", white),
            ("dark.html", black),
            ("alone.svg", white if reader == "light" else black),
        ):
            tab.goto((tmp_path / page).as_uri())
            assert tab.evaluate(ask) == want, (reader, page)
        tab.close()
