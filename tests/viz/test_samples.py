"""Pictures of samples: each is there, in its order and place, white at the lowest value and black at the highest."""

from itertools import pairwise

import numpy as np
import pytest

import hgm
from hgm.viz.samples import MOST, draw_samples


def shown(figure):
    """The images and where they stand: left, right, bottom, top in inches."""
    (axes,) = figure.axes
    return [(np.asarray(image.get_array()), image.get_extent()) for image in axes.images]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (7, 3), (16, 4)])
def test_images_fill_a_grid_row_by_row(count, columns):
    samples = np.arange(count * 25.0).reshape(count, 5, 5)
    found = shown(draw_samples(samples, 0, 10))
    assert [image[0, 0] for image, _ in found] == [25.0 * i for i in range(count)]
    for i, (image, (left, right, low, top)) in enumerate(found):
        np.testing.assert_array_equal(image, samples[i])
        assert right - left == pytest.approx(top - low)  # pixels are square
        if i % columns:
            before = found[i - 1][1]
            assert left > before[1] and top == pytest.approx(before[3])
        elif i:
            assert top < found[i - 1][1][2] and left == pytest.approx(found[0][1][0])


def test_leaves_in_a_line_are_strips_one_below_the_other():
    samples = np.arange(60.0).reshape(3, 20)
    found = shown(draw_samples(samples, 0, 60))
    assert [image.tolist() for image, _ in found] == [[row] for row in samples.tolist()]
    for (_, (left, _, low, _)), (_, (next_left, _, _, next_top)) in pairwise(found):
        assert left == next_left and next_top < low


def test_everything_is_on_the_page_and_high_values_are_dark():
    figure = draw_samples(np.array([[[-1.0, 3.0]]] * 30), -1, 3)
    width, height = figure.get_size_inches()
    for _, (left, right, low, top) in shown(figure):
        assert 0 < left < right < width and 0 < low < top < height
    image = figure.axes[0].images[0]
    assert image.cmap(image.norm(-1.0))[0] == 1.0 and image.cmap(image.norm(3.0))[0] == 0.0


def test_more_than_a_page_holds_is_refused():
    with pytest.raises(hgm.BadSpec, match=f"at most {MOST} samples; got {MOST + 1}"):
        draw_samples(np.zeros((MOST + 1, 2)), 0, 1)
