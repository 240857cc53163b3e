"""Construction C: transposed matrices, and zeros, which it alone takes."""

import numpy as np
import pytest
from relu.matrices import error, inputs, matrix

from hgm.errors import Uncertifiable
from hgm.relu.constructions.choose import build


def test_a_transposed_table_breaks_the_bound():
    table = matrix("4x4")
    module = build("C", table.T, 0.02)
    assert error(module, table, inputs(4, np.random.default_rng(7))).max() > module.error


def test_the_backward_message_is_the_transposed_matrix():
    table, rng = matrix("3x5"), np.random.default_rng(8)
    module = build("C", table.T, 0.02)
    u = inputs(3, rng)
    exact = np.log(np.exp(table).T @ np.exp(u.numpy()))
    assert np.ptp(module(u).detach().numpy() - exact, axis=0).max() <= 0.02 + 1e-8


@pytest.mark.parametrize("kind", ["A", "B", "D", "constant"])
def test_zeros_need_construction_c(kind):
    with pytest.raises(Uncertifiable, match=r"zeros.*construction C"):
        build(kind, matrix("2x2 with a zero"), 0.1)
