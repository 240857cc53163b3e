"""The demonstration: what it must reach, that it repeats itself, its report, and its errors."""

import contextlib
import io
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import hgm
from hgm.demo.diffusion import diffuse
from hgm.demo.digits import Settings, clusters, declare, learn, load
from hgm.demo.measure import Networks, add_noise, linear_denoiser, naive_bayes, prior_denoiser, psnr
from hgm.demo.run import run

pytest.importorskip("sklearn")
pytest.importorskip("diffusers")
pytestmark = pytest.mark.long
SMALL = Settings(styles=12, parts=6, patches=8, iterations=2)


@pytest.fixture(scope="module")
def digits():
    return load()


@pytest.fixture(scope="module")
def learned(digits):
    tree = learn(digits, Settings()).tree
    return tree, Networks.of(tree)


@pytest.fixture(scope="module")
def small_and_printed(tmp_path_factory):
    printed, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        results = run(tmp_path_factory.mktemp("demo") / "new" / "place", settings=SMALL)
    return results, printed.getvalue(), complaints.getvalue()


@pytest.fixture(scope="module")
def small(small_and_printed):
    return small_and_printed[0]


# ---------------------------------------------------------------------- the data


def test_the_split_is_stratified_and_has_no_image_twice(digits):
    assert (len(digits.train), len(digits.test)) == (1347, 450)
    assert np.bincount(digits.test_labels).min() >= 43
    from sklearn.datasets import load_digits

    everything = np.sort(load_digits().images.reshape(1797, -1).astype(int), axis=0)
    mine = np.sort(torch.cat([digits.train, digits.test]).reshape(1797, -1).numpy(), axis=0)
    assert np.array_equal(mine, everything)


def test_validation_uses_training_images_only(digits):
    test = {image.tobytes() for image in digits.test.numpy()}
    for split in range(3):
        part = load(validation=split)
        assert len(part.train) + len(part.test) == len(digits.train)
        assert not test & {image.tobytes() for image in torch.cat([part.train, part.test]).numpy()}


def test_clusters_give_every_hidden_variable_a_state(digits):
    tree = declare(SMALL)
    states = clusters(digits, SMALL, seed=0)
    hidden = {name for name in tree.names if not name.startswith("pixel")} - {"digit"}
    assert states.keys() == hidden
    for name, of_images in states.items():
        assert of_images.shape == (1347,) and of_images.min() >= 0
        assert of_images.max() < tree.cardinality[tree.index(name)]
    for style in range(SMALL.styles):  # a style belongs to one digit
        assert len(np.unique(digits.train_labels[states["style0_0"] == style])) == 1


# ---------------------------------------------------------------------- what it must reach


def test_the_model_reaches_what_it_should(digits, learned):
    settings = Settings()
    _, networks = learned
    posterior = networks.noisy_classifier(digits.test.double(), settings.slack)
    strict = networks.classifier(digits.test)
    assert (posterior.argmax(1) == digits.test_labels).double().mean() >= 0.965
    assert (strict.argmax(1) == digits.test_labels).double().mean() >= 0.94
    for sigma, least in ((1.0, 27.2), (2.0, 22.4), (4.0, 18.5)):
        noisy = add_noise(digits.test, sigma, seed=3)
        reached = psnr(networks.denoiser(noisy, sigma), digits.test)
        assert reached >= least
        assert reached > psnr(prior_denoiser(digits, noisy, sigma), digits.test) + 0.3
        assert reached > psnr(linear_denoiser(digits, noisy, sigma), digits.test) + 1.0
    assert psnr(add_noise(digits.test, 4.0, seed=3), digits.test) == pytest.approx(12.04, abs=0.1)


def test_diffusion_reaches_what_it_should(digits, learned):
    tree, networks = learned
    holes = digits.test.clone()
    holes[:, :, 4:] = -1
    drawn = diffuse(tree, networks, digits, holes, Settings().slack, seed=5)
    read, completed = drawn.figures["read"], drawn.figures["completed"]
    assert read["DDIM"] >= 0.98 and read["exact samples"] >= 0.98
    assert completed["kept"] == 1.0 and bool((drawn.completed[..., :4] == digits.test[..., :4]).all())
    log_p = completed["log_likelihood"]
    assert log_p["DDIM"] == pytest.approx(log_p["exact samples"], abs=2.0)
    for sampler, rows in drawn.figures["quality"].items():
        found = {row["name"]: row for row in rows}
        assert found["log likelihood"]["estimate"] == pytest.approx(found["log likelihood"]["expected"], abs=2.0), (
            sampler
        )
        assert found["possible"]["estimate"] == 1.0
        assert found["symbols"]["estimate"] < 0.025 and found["root"]["p"] > 1e-4
    symbols = {name: next(r for r in rows if r["name"] == "symbols") for name, rows in drawn.figures["quality"].items()}
    assert symbols["DDIM"]["p"] < 1e-9 < symbols["Heun"]["p"]  # what the page says of the two
    # the images are what they are called: the digits differ, and the right halves of an image do
    guess = networks.noisy_classifier(drawn.by_digit.flatten(0, 1).double(), Settings().slack).argmax(1)
    assert float((guess.reshape(-1, 10) == torch.arange(10)).double().mean()) == read["DDIM"]
    assert bool((drawn.completed[0] != drawn.completed[1]).flatten(1).any(1).double().mean() > 0.99)
    share = drawn.free.flatten().bincount(minlength=17) / drawn.free.numel()
    mine = digits.train.flatten().bincount(minlength=17) / digits.train.numel()
    assert float((share - mine).abs().sum()) / 2 < 0.05


def test_the_relu_unet_keeps_its_proof_and_the_psnr(small):
    assert 0 < small.relu["measured"] <= small.relu["proved"] <= 1.0
    assert small.relu["units"] > 10_000
    for sigma, exact in small.psnr["U-Net"].items():
        assert small.psnr["ReLU U-Net"][sigma] == pytest.approx(exact, abs=0.05)


def test_the_networks_are_the_reference(small):
    for name, difference in small.differences.items():
        assert difference < (1e-12 if "float64" in name else 1e-5), name


def test_a_network_that_is_not_the_reference_would_show(digits):
    from hgm.demo.measure import compare

    tree = declare(SMALL)
    networks = Networks.of(tree)
    other = hgm.ghm(
        [hgm.Level((1, 1), 12), hgm.Level((2, 2), 6), hgm.Level((2, 2), 8), hgm.Level((2, 2), 17)], 10, seed=1
    )
    noisy = add_noise(digits.test[:5], 2.0, seed=0)
    assert max(compare(tree, networks, digits.test[:5], noisy, 2.0).values()) < 1e-5
    assert min(compare(other, networks, digits.test[:5], noisy, 2.0).values()) > 1e-2


def test_naive_bayes_counts(digits):
    tree = naive_bayes(digits)
    digit, (row, column) = 3, (2, 5)
    expected = np.bincount(digits.train[digits.train_labels == digit, row, column], minlength=17) + 0.1
    table = tree.potential_of(int(tree.parent_factor[tree.index(f"x{row}_{column}")])).values
    np.testing.assert_allclose(table[digit], expected / expected.sum(), rtol=1e-9)


def test_the_per_pixel_prior_is_bayes_rule(digits):
    noisy = add_noise(digits.test[:1], 2.0, seed=0)
    mine = prior_denoiser(digits, noisy, 2.0)[0, 3, 4]
    prior = np.bincount(digits.train[:, 3, 4], minlength=17)
    weight = prior * np.exp(-((float(noisy[0, 3, 4]) - np.arange(17)) ** 2) / 8)
    assert float(mine) == pytest.approx((weight * np.arange(17)).sum() / weight.sum(), rel=1e-9)


# ---------------------------------------------------------------------- what it writes


def test_the_same_seed_learns_the_same(small, digits):
    assert learn(digits, SMALL, seed=0).tree == small.fit.tree
    assert learn(digits, SMALL, seed=1).tree != small.fit.tree


@pytest.mark.slow
def test_the_same_seed_gives_the_same(small, tmp_path):
    again = run(tmp_path, settings=SMALL)
    assert again.accuracy == small.accuracy and again.psnr == small.psnr and again.differences == small.differences
    for kind in ("picture", "model"):
        assert again.files[kind].read_bytes() == small.files[kind].read_bytes()
    assert run(tmp_path, settings=SMALL, seed=1).psnr != small.psnr


def test_the_files_are_what_they_should_be(small):
    assert {path.name for path in small.files.values()} == {"report.html", "digits.png", "digits.yaml", "figures.json"}
    assert hgm.load(small.files["model"]) == small.fit.tree
    figures = json.loads(small.files["figures"].read_text())
    assert figures["accuracy"] == small.accuracy and figures["psnr"] == small.psnr
    assert figures["diffusion"] == small.diffusion
    from matplotlib.image import imread

    picture = imread(small.files["picture"])
    assert picture.shape[0] > 900 and picture.shape[1] > 1800 and picture[..., :3].std() > 0.1


class Page(HTMLParser):
    """The tags of a page, whether they nest, and all that it would fetch."""

    EMPTY = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self.fetched += [value for key, value in attrs if key in ("src", "href", "xlink:href") and value[0] != "#"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_one_page_that_fetches_nothing(small):
    text = small.files["report"].read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.fetched and all(value.startswith("data:image/png;base64,") for value in page.fetched)
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"url\((?!#)|@import", text)
    assert len(text) < 4_000_000
    for number in (small.accuracy["ConvNet"]["clean"], small.accuracy["logistic regression"]["4"]):
        assert f"{100 * number:.1f}%" in text
    for row in small.psnr.values():
        assert all(f"{value:.2f}" in text for value in row.values())
    for rows in small.diffusion["quality"].values():
        assert all(f"{row['estimate']:.4f}" in text for row in rows if row["name"] != "log likelihood")
    assert f"{small.fit.tree!r}. Every part" in text and "---" not in re.sub(
        "<pre>.*?</pre>|<!--|-->", "", text, flags=re.S
    )
    assert "Conv2d" in text and "nan" not in re.sub(r"<svg.*?</svg>|base64,[^\"]*", "", text, flags=re.S).lower()


def test_it_says_what_it_does(small_and_printed):
    results, printed, complaints = small_and_printed
    assert f"{results.diffusion['completed']['log_likelihood']['DDIM']:.2f}" in printed
    for word in (
        "1,347 images",
        "1,000 images by diffusion",
        "given a digit",
        "100% of its pixels are kept",
        "ConvNet",
        "largest difference",
        "logistic regression",
        "ReLU U-Net",
        "report.html",
    ):
        assert word in printed
    assert f"{results.psnr['U-Net']['4']:.2f}" in printed
    assert complaints == ""


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("library", ["sklearn", "matplotlib", "jinja2", "diffusers"])
def test_a_missing_library_is_one_clear_error(monkeypatch, tmp_path, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(hgm.HgmError, match=rf"needs more libraries.*{library}.*pip install 'hgm\[demo\]'"):
        run(tmp_path)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(hgm.BadSpec, match=r"cannot be written.*give another"):
            run(place)
