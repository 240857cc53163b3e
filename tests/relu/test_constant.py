"""Factors that say (almost) nothing take no units."""

import numpy as np
import pytest
import torch
from relu.matrices import matrix

from hgm.errors import BadSpec, Uncertifiable
from hgm.relu.constructions.choose import assemble, cheapest
from hgm.relu.constructions.constant import Constant
from hgm.relu.pieces.targets import Exp, minimax


@pytest.mark.parametrize(
    ("name", "units"),
    [("proportional rows", 0), ("one input", 0), ("permutation", 0), ("nearly equal", 0), ("2x2 weak", 2)],
)
def test_easy_factors_cost_nothing(name, units):
    assert cheapest(matrix(name), 0.02).units == units


def test_the_message_is_in_the_middle_of_what_the_rows_say():
    """log psi(0, a) - log psi(1, a) is 1 at one input and 0.5 at the other: 0.75 is off by 0.25 at both."""
    module = Constant([[1.0, 0.5], [0.0, 0.0]])
    assert module.error == pytest.approx(0.25)
    assert module(torch.zeros(2, 1))[:, 0].diff() == pytest.approx(-0.75)


def test_it_has_no_pieces_and_no_zeros():
    with pytest.raises(BadSpec, match="do not make a construction constant"):
        assemble("constant", [[0.0, 1.0]], [minimax(Exp(), units=2)])
    with pytest.raises(Uncertifiable, match="zeros"):
        Constant([[0.0, 1.0], [0.0, -np.inf]])
    assert Constant([[0.0, -np.inf], [1.0, -np.inf]]).error < 1e-12  # an input that never comes says nothing
