"""All weights as one vector: where each potential stands in it, and that it comes back."""

import numpy as np
import pytest
from oracles.trees import CASES

import hgm
from hgm.tree.flat import flatten, offsets, owners, pieces, unflatten


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_vector_holds_every_entry_and_gives_the_potentials_back(case):
    potentials = case.tree.potentials
    flat, start = flatten(potentials), offsets(potentials)
    assert flat.dtype == np.float64 and len(flat) == len(owners(potentials)) == start[-1]
    for i, p in enumerate(potentials):
        assert flat[start[i] : start[i + 1]].tolist() == p.log_potential.ravel().tolist()
        assert (owners(potentials)[start[i] : start[i + 1]] == i).all()
    assert unflatten(potentials, flat) == potentials
    assert [piece.shape for piece in pieces(potentials, flat)] == [p.log_potential.shape for p in potentials]


def test_a_bad_entry_is_refused():
    with pytest.raises(hgm.BadPotential, match=r"finite; entry \(1,\) is nan"):
        unflatten([hgm.Table([1.0, 2.0])], np.array([0.0, np.nan]))
