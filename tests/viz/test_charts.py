"""Plots show the numbers that they are given, and refuse what they are not for."""

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

import hgm

TREE = hgm.broadcast(2, 3, 2, eps=0.1)
WEATHER = hgm.Tree.from_edges(
    [("sky", "$wet^", [[0.1, 0.9], [0.8, 0.2]])], {"sky": [0.3, 0.7]}, {"sky": ["sun", "rain"], "$wet^": 2}
)


def heights(axis):
    return [patch.get_height() for patch in axis.patches if isinstance(patch, Rectangle)]


def test_a_posterior_is_bars_as_high_as_its_marginals(tmp_path):
    post = hgm.infer(WEATHER, {"$wet^": 0})
    figure = hgm.plot.posterior(post, path=tmp_path / "bars.svg")
    for axis, name in zip(figure.axes, WEATHER.names, strict=True):
        assert axis.get_title() == name
        np.testing.assert_allclose(heights(axis), post[name])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["sun", "rain"]
    assert "<svg" in (tmp_path / "bars.svg").read_text()
    rows = hgm.plot.posterior(hgm.infer(WEATHER, {"$wet^": [1, 0]}), ["sky"])
    np.testing.assert_allclose(heights(rows.axes[0]), hgm.infer(WEATHER, {"$wet^": 1})["sky"])


def test_images_are_shown_row_by_row_in_one_scale():
    clean, noisy = np.arange(24.0).reshape(2, 3, 4), torch.full((2, 3, 4), 99.0)
    figure = hgm.plot.images({"clean": clean, "noisy": noisy})
    shown = [axis.images[0] for axis in figure.axes]
    np.testing.assert_array_equal([image.get_array() for image in shown[:2]], clean)
    assert all(image.get_clim() == (0, 23) for image in shown) and (shown[3].get_array() == 99).all()
    assert [figure.axes[i].get_ylabel() for i in (0, 2)] == ["clean", "noisy"]
    assert len(hgm.plot.images({"in a line": np.zeros((3, 5))}, low=0, high=1).axes) == 3


def test_a_certificate_is_its_budget():
    certificate = hgm.compile(TREE, activation="relu", tol=0.5).certificate
    axis = hgm.plot.certificate(certificate).axes[0]
    want = [b.error for b in certificate.levels] + [b.total for b in certificate.levels]
    np.testing.assert_allclose(heights(axis), want)
    assert axis.lines[0].get_ydata()[0] == certificate.log_posterior


def test_ablations_have_a_line_each():
    gaps = {str(a): hgm.compare(lambda z, s, a=a: a * z, TREE, noise=[0.5, 1.0], n=20) for a in (0.5, 2.0)}
    axis = hgm.plot.ablations(gaps).axes[0]
    found = {c.get_label(): c.lines[0].get_ydata() for c in axis.containers}
    assert list(found) == list(gaps)
    for name, gap in gaps.items():
        np.testing.assert_allclose(np.asarray(found[name], dtype=float), [row.excess for row in gap.levels])


def test_training_is_its_history():
    net = torch.nn.Sequential()
    net.forward = lambda z, s: net.a * z
    net.a = torch.nn.Parameter(torch.tensor(0.1))
    done = hgm.train(net, TREE, channel=hgm.Gaussian(), steps=20, every=5, progress=False)
    axis = hgm.plot.training(done, optimum=0.1).axes[0]
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [(row.step, row.loss) for row in done.history])
    assert axis.lines[-1].get_label() == "optimum"
    fit = hgm.fit(WEATHER, {"$wet^": [0, 1, 1]}, iterations=3)
    (line,) = hgm.plot.training(fit).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), np.array(fit.log_likelihood) / 3)


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (lambda: hgm.plot.posterior(WEATHER), "what hgm.infer gives"),
        (lambda: hgm.plot.posterior(hgm.infer(hgm.star(40, seed=0))), r"1 to 24 variables; give names"),
        (lambda: hgm.plot.posterior(hgm.infer(WEATHER), []), "1 to 24 variables"),
        (lambda: hgm.plot.posterior(hgm.infer(WEATHER), path="a.gif"), "must end in"),
        (lambda: hgm.plot.images({"a": np.zeros((2, 3)), "b": np.zeros((2, 4))}), "of one shape"),
        (lambda: hgm.plot.images(np.zeros((2, 3))), "mapping from names"),
        (lambda: hgm.plot.images({"a": np.zeros((0, 3))}), "of one shape"),
        (lambda: hgm.plot.certificate(None), r"net\.certificate; got None"),
        (lambda: hgm.plot.training(3), "hgm.train or hgm.fit"),
        (lambda: hgm.plot.ablations({}), "mapping from names"),
        (lambda: hgm.plot.ablations({"a": 3}), "mapping from names"),
        (lambda: hgm.plot.images({"x": torch.zeros(2, 3)}, low=1.0), r"high must be .* at least low, 1; got 0"),
        (lambda: hgm.plot.images({"x": torch.zeros(2, 3)}, high="white"), "high must be a finite number"),
        (lambda: hgm.plot.images({"x": torch.full((2, 3), torch.nan)}), "low must be a finite number"),
        (lambda: hgm.plot.images({"x": torch.zeros(2, 0)}), "images of one shape"),
        (lambda: hgm.plot.posterior(hgm.infer(TREE), names=3), "names must be a list of names"),
    ],
)
def test_what_cannot_be_plotted_is_an_error(draw, text):
    with pytest.raises(hgm.BadSpec, match=text):
        draw()


def test_an_image_is_an_array_of_numbers():
    with pytest.raises(hgm.BadEvidence, match="the row 'x' must be an array of numbers"):
        hgm.plot.images({"x": [["a"]]})


def test_gaps_of_other_channels_are_not_mixed():
    one = hgm.compare(lambda z, s: z, TREE, noise=[1.0], n=5)
    two = hgm.compare(hgm.compile(TREE, channel=hgm.Flip()), TREE, noise=[0.1], n=5)
    with pytest.raises(hgm.BadSpec, match="several tasks or channels"):
        hgm.plot.ablations({"one": one, "two": two})
