"""Integer symbols as log evidence."""

import numpy as np
import pytest
import torch

from hgm.errors import BadEvidence
from hgm.evidence.symbols import MISSING, allowed, checked_symbols, clamped

INF = float("inf")


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8])
def test_a_symbol_allows_itself_and_a_missing_one_everything(dtype):
    z = torch.tensor([[0, 2, MISSING]]) if dtype != torch.uint8 else torch.tensor([[0, 2, 1]])
    for dim in range(3):
        got = allowed(z.to(dtype), 3, dim).movedim(dim, 0)
        for at in np.ndindex(1, 3):
            assert got[(slice(None), *at)].tolist() == [s == z[at] or z[at] < 0 for s in range(3)]


def test_states_beyond_the_type_of_the_symbols_are_states():
    assert allowed(torch.tensor([255, 3], dtype=torch.uint8), 300, 0).nonzero().tolist() == [[3, 1], [255, 0]]


def test_log_evidence_is_zero_or_minus_infinity():
    assert clamped(torch.tensor([1, -1]), 2).tolist() == [[-INF, 0], [0, 0]]
    assert clamped(torch.tensor([1]), 2, torch.float64).dtype == torch.float64
    assert clamped(torch.zeros(0, 4, dtype=torch.int64), 2).shape == (2, 0, 4)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(2), r"integers 0 to 2 \(-1 = missing\); got torch.float32"),
        (torch.ones(2, dtype=torch.bool), "got torch.bool"),
        (torch.tensor([0, 3]), "got 0 to 3"),
        (torch.tensor([-2, 1]), "got -2 to 1"),
    ],
)
def test_what_is_no_symbol_is_refused(z, message):
    with pytest.raises(BadEvidence, match=message):
        checked_symbols(z, 3)
