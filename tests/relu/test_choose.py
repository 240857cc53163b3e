"""The choice of a construction: as few units as any, as many as its cost says, and refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from relu.matrices import NO, error, inputs, matrix

from hgm.errors import BadPotential, HgmError, Uncertifiable
from hgm.relu.constructions.choose import baseline_size, build, cheapest, cost


@given(data=st.data())
@settings(max_examples=40)
def test_the_cheapest_construction_keeps_its_bound(data):
    outs, ins = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    entry = st.one_of(st.floats(-4, 4), st.just(NO)) if data.draw(st.booleans()) else st.floats(-4, 4)
    table = np.array(data.draw(st.lists(st.lists(entry, min_size=ins, max_size=ins), min_size=outs, max_size=outs)))
    tol = data.draw(st.sampled_from([0.5, 0.05, 0.01]))
    if np.isneginf(table).all(axis=1).any():
        with pytest.raises(Uncertifiable, match="impossible"):
            cheapest(table, tol)
        return
    module = cheapest(table, tol)
    assert module.error <= tol
    h = inputs(ins, np.random.default_rng(data.draw(st.integers(0, 99))), 300)
    allowance = module.rounding_steps(1e6) * torch.finfo(torch.float64).eps + 1e-9  # of the oracle
    assert error(module, table, h).max() <= module.error + allowance


@pytest.mark.parametrize("name", ["2x2", "4x4", "rules", "5x2"])
def test_the_cheapest_has_the_fewest_units(name):
    table = matrix(name)
    units = {}
    for kind in "ABCD":
        try:
            units[kind] = build(kind, table, 0.03).units
        except Uncertifiable:
            continue
    best = cheapest(table, 0.03)
    assert best.units == min(units.values()) == units[best.kind]


# Median units over 7 matrices with log psi uniform on [-log K, log K], at an error of 0.01 in oscillation.
@pytest.mark.parametrize(
    ("states", "k", "most"),
    [(2, 10, {"B": 60, "C": 12, "D": 9}), (4, 10, {"B": 178, "C": 100}), (4, 100, {"B": 300, "C": 100})],
)
def test_units_at_one_percent(states, k, most):
    rng = np.random.default_rng(1)
    tables = [rng.uniform(-math.log(k), math.log(k), (states, states)) for _ in range(7)]
    for kind, bound in most.items():
        assert np.median([build(kind, table, 0.01).units for table in tables]) <= bound, kind
    baseline = np.median([baseline_size(table, 0.01)[0] for table in tables])
    assert baseline > 100 * min(most.values())


@pytest.mark.parametrize("name", ["2x2", "2x2 steep", "4x4", "3x5", "rules", "8x8", "joint 3x12"])
def test_cost_predicts_the_units(name):
    table = matrix(name)
    tol = 1e-4
    assert cheapest(table, tol).units == pytest.approx(cost(table) / math.sqrt(tol), rel=0.12)


def test_what_cannot_be_built_is_refused():
    with pytest.raises(Uncertifiable, match="2x2 potentials"):
        build("D", matrix("4x4"), 0.1)
    with pytest.raises(Uncertifiable, match="output state 1 is impossible"):
        build("C", [[0.0, 1.0], [NO, NO]], 0.1)
    with pytest.raises(Uncertifiable, match="reaches only"):
        build("constant", matrix("4x4"), 0.1)
    with pytest.raises(HgmError, match="positive"):
        build("C", matrix("4x4"), 0.0)
    with pytest.raises(HgmError, match="construction must be"):
        build("E", matrix("4x4"), 0.1)
    with pytest.raises(BadPotential, match="matrix"):
        build("C", [0.0, 1.0], 0.1)
    with pytest.raises(BadPotential, match="NaN"):
        build("C", [[0.0, np.nan]], 0.1)
