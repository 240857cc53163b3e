"""The plot of a comparison shows its numbers, and what is zero to rounding as a bound."""

import numpy as np
import pytest

import hgm
from hgm.viz import plot

TREE = hgm.broadcast(2, 3, 2, eps=0.1)


def lines(figure):
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata() for line in axes.lines} | {
        c.get_label(): c.lines[0].get_xydata() for c in axes.containers
    }


def test_it_is_a_module_by_a_short_name():
    assert hgm.plot is plot


def test_optimum_and_excess_stand_where_they_are():
    gap = hgm.compare(lambda z, s: z, TREE, noise=[0.5, 1.0, 4.0], n=40)
    figure = hgm.plot.gap(gap)
    found = lines(figure)
    rows = gap.rows()
    np.testing.assert_allclose(found["optimum"], [(row["noise"], row["optimum"]) for row in rows])
    np.testing.assert_allclose(found["excess"], [(row["noise"], row["excess"]) for row in rows])
    low, high = figure.axes[0].get_ylim()
    assert all(low < x < high for row in rows for x in (row["optimum"], row["low"], row["high"]))


def test_what_is_zero_is_no_line():
    gap = hgm.compare(hgm.compile(TREE, "denoise", channel=hgm.Gaussian()), TREE, noise=[0.5, 1.0], n=10)
    assert np.isnan(lines(hgm.plot.gap(gap))["excess"][:, 1]).all()


def test_levels_of_the_tree_have_a_line_each():
    gap = hgm.compare(lambda z, s: z, TREE, n=20, per="level")
    assert {"level 0", "level 1", "level 2"} <= lines(hgm.plot.gap(gap)).keys()


@pytest.mark.parametrize("noise", [[0.0, 0.5], [0.5]])
@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_pictures_of_every_kind(tmp_path, kind, noise):
    net = hgm.compile(TREE, channel=hgm.Erasure())
    hgm.plot.gap(hgm.compare(net, TREE, noise=noise, n=5), tmp_path / f"gap.{kind}")
    assert (tmp_path / f"gap.{kind}").stat().st_size > 1000


def test_bad_input_is_one_clear_error(tmp_path):
    gap = hgm.compare(lambda z, s: z, TREE, noise=[0.5], n=5)
    with pytest.raises(hgm.BadSpec, match="must end in"):
        hgm.plot.gap(gap, tmp_path / "gap.gif")
    with pytest.raises(hgm.BadSpec, match=r"what hgm\.compare gives; got 3"):
        hgm.plot.gap(3)
