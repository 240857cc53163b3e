"""Construction D: one function of one number, for inputs of any size, and no other shape than 2x2."""

import numpy as np
import pytest
import torch
from relu.matrices import matrix

from hgm.errors import BadSpec, Uncertifiable
from hgm.relu.constructions.choose import assemble
from hgm.relu.constructions.difference import Difference, log_ratio


@pytest.mark.parametrize("name", ["2x2", "2x2 steep", "2x2 falling"])
def test_the_ratio_is_the_difference_of_the_messages(name):
    table, x = matrix(name), np.linspace(-30, 30, 301)
    h = np.stack([np.zeros_like(x), x])
    f = np.logaddexp(table[:, :1] + h[0], table[:, 1:] + h[1])
    np.testing.assert_allclose(log_ratio(table)(x), f[1] - f[0], atol=1e-12)


def test_inputs_far_out_are_as_good_as_the_outermost_kinks():
    module = Difference.build(matrix("2x2"), 0.01)
    far = torch.tensor([[0.0, 0.0], [1e15, 1e300]], dtype=torch.float64)
    torch.testing.assert_close(module(far)[:, 0], module(far)[:, 1], rtol=0, atol=0)


def test_it_is_made_of_one_piece_and_for_two_states():
    (piece,) = Difference.build(matrix("2x2"), 0.1).pieces
    with pytest.raises(BadSpec, match="do not make a construction D"):
        assemble("D", matrix("2x2"), [piece, piece])
    with pytest.raises(Uncertifiable, match="3x5; use C"):
        Difference.build(matrix("3x5"), 0.1)
